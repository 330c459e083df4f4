//! Tensors of one graph.

use super::template::Operation;

/// No tensor, and no slot.
pub(super) const NONE: u32 = u32::MAX;

/// No backend yet.
pub(super) const UNASSIGNED: u8 = u8::MAX;

#[derive(Debug, Clone, Copy)]
pub(super) struct Tensor {
    pub(super) kind: Kind,
    pub(super) operation: Operation,
    /// Where it is computed, or lies.
    pub(super) backend: u8,
    /// Sources whose memory it may take over, a bit each.
    pub(super) reusable: u8,
    pub(super) flags: Flags,
    /// What it is a view of, never itself a view; `NONE` for what is no view.
    pub(super) view: u32,
    /// Where its size stands among those of the graph; `NONE` where `bytes` are known already.
    pub(super) slot: u32,
    /// Of a weight, as a device has it.
    pub(super) bytes: u64,
    /// The cache that it is of, or is a view of.
    pub(super) cache: Option<Contents>,
    /// Where its sources stand among those of the graph.
    pub(super) sources: (u32, u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Node,
    Input,
    /// It has its memory already.
    Weight,
    Cache,
    /// Made where a backend needs what another has.
    Copy,
}

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    Keys,
    Values,
    State,
}

/// Few bits, tested often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    /// No device computes it.
    pub(super) const FOR_HOST: Self = Self(1);
    /// Read after the graph.
    pub(super) const OUTPUT: Self = Self(2);
    /// It has a weight, and enough rows for a device to fetch it.
    pub(super) const LARGE: Self = Self(4);

    pub(super) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(super) fn with(self, flag: Self, is_set: bool) -> Self {
        Self(if is_set { self.0 | flag.0 } else { self.0 })
    }
}

impl Tensor {
    pub(super) fn new(kind: Kind, backend: u8, bytes: u64) -> Self {
        Self {
            kind,
            operation: Operation::Other,
            backend,
            reusable: 0,
            flags: Flags::default(),
            view: NONE,
            slot: NONE,
            bytes,
            cache: None,
            sources: (0, 0),
        }
    }

    pub(super) fn is_external(&self) -> bool {
        matches!(self.kind, Kind::Weight | Kind::Cache)
    }
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) tensors: Vec<Tensor>,
    /// Of all tensors, one after the other.
    pub(super) sources: Vec<u32>,
    /// What is computed, in order.
    pub(super) order: Vec<u32>,
    /// Inputs come first of all tensors.
    pub(super) inputs: u32,
    /// Memory of operations that is taken with the inputs.
    pub(super) leaves: Vec<u32>,
}

impl Graph {
    /// Room for so many nodes, their weights and copies.
    pub(super) fn reserve(&mut self, nodes: usize) {
        self.tensors.reserve(nodes * 2);
        self.sources.reserve(nodes * 2);
        self.order.reserve(nodes);
    }

    pub(super) fn push(&mut self, tensor: Tensor) -> u32 {
        self.tensors.push(tensor);
        small(self.tensors.len() - 1)
    }

    /// Adds a node whose sources are the last ones from `start`.
    pub(super) fn push_node(&mut self, tensor: Tensor, start: usize) -> u32 {
        let sources = (small(start), small(self.sources.len()));
        let id = self.push(Tensor { sources, ..tensor });
        self.order.push(id);
        id
    }

    pub(super) fn get(&self, id: u32) -> Option<&Tensor> {
        self.tensors.get(id as usize)
    }

    pub(super) fn sources(&self, tensor: &Tensor) -> &[u32] {
        self.sources.get(tensor.sources.0 as usize..tensor.sources.1 as usize).unwrap_or(&[])
    }

    /// Where the sources of a tensor stand.
    pub(super) fn range(&self, id: u32) -> std::ops::Range<usize> {
        let sources = self.get(id).map_or((0, 0), |tensor| tensor.sources);
        sources.0 as usize..sources.1 as usize
    }

    pub(super) fn backend(&self, id: u32) -> u8 {
        self.get(id).map_or(UNASSIGNED, |tensor| tensor.backend)
    }

    pub(super) fn assign(&mut self, id: u32, backend: u8) {
        if let Some(tensor) = self.tensors.get_mut(id as usize) {
            tensor.backend = backend;
        }
    }

    /// A copy of a tensor on another backend.
    pub(super) fn copy(&mut self, of: u32, backend: u8) -> u32 {
        let Some(tensor) = self.get(of) else { return NONE };
        let copy = Tensor {
            kind: Kind::Copy,
            operation: Operation::Other,
            backend,
            view: NONE,
            flags: Flags::default(),
            sources: (0, 0),
            ..*tensor
        };
        self.push(copy)
    }
}

pub(super) fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}
