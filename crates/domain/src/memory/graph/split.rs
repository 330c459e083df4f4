//! What is copied between backends, and the order in which everything is allocated (pass 5 of
//! `ggml_backend_sched_split_graph`, ggml-backend.cpp).

use super::{
    schedule::{Rules, is_view},
    template::Operation,
    tensor::{Graph, Kind, NONE, UNASSIGNED},
};

/// What is allocated in the order in which it happens.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    pub(super) steps: Vec<Step>,
    /// Copies that live as long as the graph, where several batches are under way.
    pub(super) lasting: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A tensor is read for a copy.
    Read(u32),
    Copy(u32),
    Compute(u32),
    /// Sources of an operation that is computed with others stay until here.
    Keep(u32),
}

/// Divides a graph at every change of backend and before every weight that must be fetched; inputs of a split are copied.
pub(super) fn split(graph: &mut Graph, rules: &Rules) -> Schedule {
    let order = std::mem::take(&mut graph.order);
    let first = order.iter().copied().find(|id| graph.get(*id).is_some_and(|tensor| !is_view(tensor)));
    let mut splitter = Splitter {
        schedule: Schedule::default(),
        copies: vec![NONE; graph.tensors.len() * (usize::from(rules.host) + 1)],
        current: first.map_or(UNASSIGNED, |id| graph.backend(id)),
        steps: Vec::new(),
        inputs: Vec::new(),
        graph,
        rules,
    };
    for id in &order {
        splitter.add(*id);
    }
    splitter.close();
    splitter.schedule
}

struct Splitter<'a> {
    graph: &'a mut Graph,
    rules: &'a Rules,
    schedule: Schedule,
    /// Of every tensor on every backend.
    copies: Vec<u32>,
    /// The backend of the split under way, its steps, and how its inputs are copied, which comes before them.
    current: u8,
    steps: Vec<Step>,
    inputs: Vec<Step>,
}

/// Where the copy of a tensor on a backend stands.
fn key(tensor: u32, backend: u8, rules: &Rules) -> usize {
    tensor as usize * (usize::from(rules.host) + 1) + usize::from(backend)
}

impl Splitter<'_> {
    fn close(&mut self) {
        self.schedule.steps.append(&mut self.inputs);
        self.schedule.steps.append(&mut self.steps);
    }

    fn add(&mut self, id: u32) {
        let Some(tensor) = self.graph.get(id) else { return };
        match tensor.operation {
            Operation::Keep | Operation::KeepChoice => return self.keep(id),
            Operation::View => return self.steps.push(Step::Compute(id)),
            Operation::Other | Operation::Rope | Operation::FlashAttention | Operation::Leaf => {}
        }
        let own = tensor.backend;
        if own != self.current || !self.inputs.is_empty() && self.fetches(id) {
            self.close();
            self.current = own;
        }
        for at in self.graph.range(id) {
            let Some(source) = self.graph.sources.get(at).copied() else { continue };
            let from = self.graph.backend(source);
            if from == self.current || from == UNASSIGNED {
                continue;
            }
            let copy = self.copy(source);
            if let Some(own) = self.graph.sources.get_mut(at) {
                *own = copy;
            }
        }
        self.steps.push(Step::Compute(id));
    }

    /// Only devices compute several operations as one.
    fn keep(&mut self, id: u32) {
        if self.current == self.rules.host {
            return;
        }
        for at in self.graph.range(id) {
            let Some(source) = self.graph.sources.get_mut(at) else { continue };
            let key = key(*source, self.current, self.rules);
            if let Some(copy) = self.copies.get(key).filter(|copy| **copy != NONE) {
                *source = *copy;
            }
        }
        self.steps.push(Step::Keep(id));
    }

    /// The copy of a tensor here; copies come at the start of the split, in the order in which they are met.
    fn copy(&mut self, source: u32) -> u32 {
        let key = key(source, self.current, self.rules);
        if let Some(known) = self.copies.get(key).filter(|copy| **copy != NONE) {
            return *known;
        }
        let copy = self.graph.copy(source, self.current);
        if let Some(kept) = self.copies.get_mut(key) {
            *kept = copy;
        }
        self.inputs.extend([Step::Read(source), Step::Copy(copy)]);
        if self.rules.is_pipelined {
            self.schedule.lasting.push(copy);
        }
        copy
    }

    /// Whether an operation needs a weight that is elsewhere.
    fn fetches(&self, id: u32) -> bool {
        let Some(tensor) = self.graph.get(id) else { return false };
        let mut sources = self.graph.sources(tensor).iter().filter_map(|source| self.graph.get(*source));
        sources.any(|source| source.kind == Kind::Weight && source.backend != self.current)
    }
}
