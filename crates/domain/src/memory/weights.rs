//! Where each tensor goes (`llama_model::load_tensors`), and how many bytes it takes there.

use super::{Backend, Breakdown, Settings, Shape, matrix::Matrix, settings::Split, shape::Block, sum};
use std::ops::Range;

/// Bytes of every layer in one kind of place, added up from the first: a range of layers is one difference.
#[derive(Debug)]
pub(super) struct Sizes {
    /// Before each layer, and after the last.
    dense: Vec<u64>,
    experts: Vec<u64>,
    input: u64,
    output: u64,
    /// On a device only: in main memory the embedding serves.
    tied: u64,
    /// The same in main memory, where it is made a second time.
    copied: u64,
    shared: u64,
    /// Layers that have what is shared, before each layer and before the end.
    sharing: Vec<u64>,
}

fn of(matrices: &[Matrix], place: Backend) -> u64 {
    sum(matrices.iter().map(|matrix| place.size(matrix)))
}

impl Sizes {
    pub(super) fn of(shape: &Shape, place: Backend) -> Self {
        let added = |size: &dyn Fn(&Block) -> u64| sums(shape.blocks.iter().map(size));
        let is_sharing = |block: &Block| !(shape.family.ropes_full_only && block.kept.is_windowed);
        Self {
            dense: added(&|block| of(&block.matrices, place)),
            experts: added(&|block| of(&block.experts, place)),
            input: of(&shape.input, place),
            output: of(&shape.output, place),
            tied: of(shape.tied.as_slice(), place),
            copied: of(shape.copied(), place),
            shared: of(&shape.shared, place),
            sharing: added(&|block| u64::from(is_sharing(block))),
        }
    }

    /// Bytes on a device that has these layers, and the output layer or not.
    pub(super) fn held(&self, layers: &Range<u64>, has_output: bool, n_cpu_moe: u64) -> u64 {
        let outputs = if has_output { self.output.saturating_add(self.tied) } else { 0 };
        sum([self.layers(layers, n_cpu_moe), outputs, self.shared(layers)])
    }

    /// Bytes of what layers share, where these have it.
    pub(super) fn shared(&self, layers: &Range<u64>) -> u64 {
        if between(&self.sharing, layers) > 0 { self.shared } else { 0 }
    }

    /// Bytes of whole layers, of which the first `n_cpu_moe` of the model have their experts elsewhere.
    fn layers(&self, layers: &Range<u64>, n_cpu_moe: u64) -> u64 {
        let (dense, experts) = self.parts(layers, n_cpu_moe);
        dense.saturating_add(experts)
    }

    /// The same apart: what is no expert, and experts.
    fn parts(&self, layers: &Range<u64>, n_cpu_moe: u64) -> (u64, u64) {
        let with_experts = layers.start.max(n_cpu_moe)..layers.end;
        (between(&self.dense, layers), between(&self.experts, &with_experts))
    }
}

/// How many of the experts work on a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Worked {
    used: u64,
    count: u64,
}

impl Worked {
    pub(super) fn of(shape: &Shape) -> Self {
        let count = shape.widths.experts.max(1);
        Self { used: shape.widths.experts_used.clamp(1, count), count }
    }

    /// Bytes of these layers that a token reads; the experts of the first `n_cpu_moe` of the model are elsewhere.
    fn layers(self, sizes: &Sizes, layers: &Range<u64>, n_cpu_moe: u64) -> u64 {
        let (dense, experts) = sizes.parts(layers, n_cpu_moe);
        dense.saturating_add(self.part(experts))
    }

    fn part(self, experts: u64) -> u64 {
        (experts / self.count).saturating_mul(self.used)
    }

    pub(super) fn on_device(self, sizes: &Sizes, split: &Split, device: usize, n_cpu_moe: u64) -> u64 {
        let outputs = if split.has_output(device) { sizes.output.saturating_add(sizes.tied) } else { 0 };
        self.layers(sizes, &split.layers(device), n_cpu_moe).saturating_add(outputs)
    }

    /// In main memory.
    pub(super) fn elsewhere(self, host: &Sizes, split: &Split, n_cpu_moe: u64) -> u64 {
        let moved = between(&host.experts, &(split.first..n_cpu_moe));
        let outputs = if split.has_output { 0 } else { host.output.saturating_add(host.tied) };
        sum([self.layers(host, &(0..split.first), 0), self.part(moved), outputs])
    }
}

/// What comes before each of a row of sizes, and after the last.
pub(super) fn sums(sizes: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut total = 0_u64;
    let ends = sizes.map(|size| {
        total = total.saturating_add(size);
        total
    });
    std::iter::once(0).chain(ends).collect()
}

/// What lies in a range, of sums that only grow; nothing in one that ends before it begins.
pub(super) fn between(sums: &[u64], range: &Range<u64>) -> u64 {
    let at = |layer: u64| usize::try_from(layer).ok().and_then(|at| sums.get(at)).copied();
    let last = sums.last().copied().unwrap_or(0);
    at(range.end).unwrap_or(last).saturating_sub(at(range.start).unwrap_or(last))
}

pub(super) fn add(
    breakdown: &mut Breakdown,
    devices: &[Sizes],
    host: &Sizes,
    split: &Split,
    settings: &Settings,
) {
    for (device, (charge, sizes)) in breakdown.devices.iter_mut().zip(devices).enumerate() {
        charge.weights = sizes.held(&split.layers(device), split.has_output(device), settings.n_cpu_moe);
    }
    let experts = between(&host.experts, &(split.first..settings.n_cpu_moe));
    let mut weights = sum([host.input, host.layers(&(0..split.first), 0), experts]);
    if !split.has_output {
        weights = sum([weights, host.output, host.copied]);
    }
    breakdown.host.weights = weights.saturating_add(host.shared(&(0..split.first)));
}
