//! Which backend computes what: `ggml_backend_sched_split_graph` (ggml-backend.cpp), whose passes have the same numbers
//! here. Backends that a caller sets are not among them: llama.cpp measures without.

use super::{
    template::Operation,
    tensor::{Flags, Graph, Kind, NONE, Tensor, UNASSIGNED, small},
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
    fn supports(&self, tensor: &Tensor, backend: u8) -> bool {
        let lacks_kernel = tensor.operation == Operation::FlashAttention && !self.has_flash_attention;
        backend == self.host || !(tensor.flags.has(Flags::FOR_HOST) || lacks_kernel)
    }

    /// Where an operation with a weight goes.
    fn of_weight(&self, tensor: &Tensor, weight: &Tensor, fits_devices: bool) -> u8 {
        let is_here = weight.backend == self.host;
        let fetches = self.op_offload && is_here && self.host > 0 && tensor.flags.has(Flags::LARGE);
        match (fits_devices, fetches) {
            (false, _) => self.host,
            (true, true) => 0,
            (true, false) => weight.backend,
        }
    }
}

/// Whether nothing is computed.
pub(super) fn is_view(tensor: &Tensor) -> bool {
    matches!(tensor.operation, Operation::View | Operation::Keep | Operation::KeepChoice)
}

pub(super) fn assign(graph: &mut Graph, rules: &Rules) {
    let mut operations = by_weights(graph, rules);
    expand(&mut operations, rules);
    for Operated { id, backend, .. } in &operations {
        graph.assign(*id, *backend);
    }
    if operations.iter().any(|operation| operation.backend == UNASSIGNED) {
        by_sources(graph, rules);
    }
    the_rest(graph);
}

/// What is computed, and where; the passes go over it several times.
struct Operated {
    id: u32,
    backend: u8,
    fits_devices: bool,
}

/// Pass 1: operations with weights go where the weights are, or to the first device that fetches them.
fn by_weights(graph: &Graph, rules: &Rules) -> Vec<Operated> {
    let mut operations = Vec::with_capacity(graph.order.len());
    for id in graph.order.iter().copied() {
        let Some(tensor) = graph.get(id).filter(|tensor| !is_view(tensor)) else { continue };
        let mut operated = Operated { id, backend: tensor.backend, fits_devices: rules.supports(tensor, 0) };
        let skips = matches!(tensor.operation, Operation::Rope | Operation::FlashAttention);
        if tensor.backend == UNASSIGNED && !skips && tensor.view == NONE {
            let mut sources = graph.sources(tensor).iter().filter_map(|source| graph.get(*source));
            if let Some(weight) = sources.find(|source| source.kind == Kind::Weight) {
                operated.backend = rules.of_weight(tensor, weight, operated.fits_devices);
            }
        }
        operations.push(operated);
    }
    operations
}

/// Pass 2: neighbors follow, those of devices first.
fn expand(operations: &mut [Operated], rules: &Rules) {
    for devices_only in [true, false] {
        let mut current = UNASSIGNED;
        operations.iter_mut().for_each(|operation| operation.follow(&mut current, devices_only, rules));
        current = UNASSIGNED;
        operations.iter_mut().rev().for_each(|operation| operation.follow(&mut current, devices_only, rules));
    }
}

impl Operated {
    fn follow(&mut self, current: &mut u8, devices_only: bool, rules: &Rules) {
        if self.backend != UNASSIGNED {
            let is_passed = devices_only && self.backend == rules.host;
            *current = if is_passed { UNASSIGNED } else { self.backend };
        } else if *current != UNASSIGNED && (self.fits_devices || *current == rules.host) {
            self.backend = *current;
        }
    }
}

/// Pass 3: what is left goes where the most of its sources are.
fn by_sources(graph: &mut Graph, rules: &Rules) {
    for at in 0..graph.order.len() {
        let Some(id) = graph.order.get(at).copied() else { continue };
        let Some(tensor) = graph.get(id) else { continue };
        if is_view(tensor) || tensor.backend != UNASSIGNED {
            continue;
        }
        let mut best: Option<(usize, u8)> = None;
        for candidate in (0..=rules.host).filter(|candidate| rules.supports(tensor, *candidate)) {
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
            if graph.backend(source) == UNASSIGNED && place(graph, source) == UNASSIGNED {
                graph.assign(source, own);
            }
        }
    }
    for id in 0..small(graph.tensors.len()) {
        if graph.backend(id) == UNASSIGNED {
            let own = place(graph, id);
            graph.assign(id, own);
        }
    }
}
