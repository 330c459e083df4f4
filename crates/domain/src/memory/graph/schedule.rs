//! Which backend computes what: `ggml_backend_sched_split_graph` (ggml-backend.cpp), whose passes have the same numbers
//! here. Backends that a caller sets are not among them: llama.cpp measures without.

use super::{
    template::Operation,
    tensor::{Flags, Graph, Kind, NONE, UNASSIGNED, small},
};

/// What backends can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// The backend that is main memory: the last.
    pub(super) host: u8,
    pub(super) op_offload: bool,
    /// A device has a kernel for this model's attention.
    pub(super) has_flash_attention: bool,
    /// Copies stay for batches that are under way at once.
    pub(super) is_pipelined: bool,
}

impl Rules {
    fn supports(&self, graph: &Graph, id: u32, backend: u8) -> bool {
        let Some(tensor) = graph.get(id) else { return false };
        let lacks_kernel = tensor.operation == Operation::FlashAttention && !self.has_flash_attention;
        backend == self.host || !(tensor.flags.has(Flags::FOR_HOST) || lacks_kernel)
    }
}

/// Whether nothing is computed.
pub(super) fn is_view(graph: &Graph, id: u32) -> bool {
    let operation = graph.get(id).map(|tensor| tensor.operation);
    matches!(operation, Some(Operation::View | Operation::Keep | Operation::KeepChoice))
}

pub(super) fn assign(graph: &mut Graph, rules: &Rules) {
    by_weights(graph, rules);
    expand(graph, rules);
    by_sources(graph, rules);
    the_rest(graph);
}

/// Pass 1: operations with weights go where the weights are, or to the first device that fetches them.
fn by_weights(graph: &mut Graph, rules: &Rules) {
    for at in 0..graph.order.len() {
        let Some(id) = graph.order.get(at).copied() else { continue };
        let Some(tensor) = graph.get(id) else { continue };
        let skips =
            matches!(tensor.operation, Operation::Rope | Operation::FlashAttention) || is_view(graph, id);
        if tensor.backend != UNASSIGNED || skips || tensor.view != NONE {
            continue;
        }
        let mut sources = graph.sources(tensor).iter().filter_map(|source| graph.get(*source));
        let Some(weight) = sources.find(|source| source.kind == Kind::Weight) else { continue };
        let fetches = rules.op_offload
            && weight.backend == rules.host
            && rules.host > 0
            && tensor.flags.has(Flags::LARGE)
            && rules.supports(graph, id, 0);
        let own = if fetches { 0 } else { weight.backend };
        let own = if rules.supports(graph, id, own) { own } else { rules.host };
        graph.assign(id, own);
    }
}

/// Pass 2: neighbors follow, those of devices first.
fn expand(graph: &mut Graph, rules: &Rules) {
    for (devices_only, is_up) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut current = UNASSIGNED;
        let count = graph.order.len();
        for step in 0..count {
            let at = if is_up { count - 1 - step } else { step };
            let Some(id) = graph.order.get(at).copied() else { continue };
            if is_view(graph, id) {
                continue;
            }
            let own = graph.backend(id);
            if own != UNASSIGNED {
                current = if devices_only && own == rules.host { UNASSIGNED } else { own };
            } else if current != UNASSIGNED && rules.supports(graph, id, current) {
                graph.assign(id, current);
            }
        }
    }
}

/// Pass 3: what is left goes where the most of its sources are.
fn by_sources(graph: &mut Graph, rules: &Rules) {
    for at in 0..graph.order.len() {
        let Some(id) = graph.order.get(at).copied() else { continue };
        if is_view(graph, id) || graph.backend(id) != UNASSIGNED {
            continue;
        }
        let mut best: Option<(usize, u8)> = None;
        for candidate in (0..=rules.host).filter(|candidate| rules.supports(graph, id, *candidate)) {
            let Some(tensor) = graph.get(id) else { continue };
            let here = graph.sources(tensor).iter().filter(|source| place(graph, **source) == candidate);
            let count = here.count();
            if best.is_none_or(|(most, _)| count > most) {
                best = Some((count, candidate));
            }
        }
        graph.assign(id, best.map_or(rules.host, |(_, backend)| backend));
    }
}

/// Where a tensor is, or what it is a view of.
fn place(graph: &Graph, id: u32) -> u8 {
    let Some(tensor) = graph.get(id) else { return UNASSIGNED };
    let is_open = tensor.backend == UNASSIGNED && tensor.view != NONE;
    if is_open { graph.backend(tensor.view) } else { tensor.backend }
}

/// Pass 4: views are where their memory is, and leaves where they are read.
fn the_rest(graph: &mut Graph) {
    for at in 0..graph.order.len() {
        let Some(id) = graph.order.get(at).copied() else { continue };
        let own = graph.backend(id);
        for at in graph.range(id) {
            let Some(source) = graph.sources.get(at).copied() else { continue };
            if place(graph, source) == UNASSIGNED {
                graph.assign(source, own);
            }
        }
    }
    for id in 0..small(graph.tensors.len()) {
        let own = place(graph, id);
        graph.assign(id, own);
    }
}
