//! Where each tensor goes (`llama_model::load_tensors`), and how many bytes it takes there.

use super::{
    Backend, Breakdown, Settings, Shape,
    settings::Split,
    shape::{Block, Matrix},
    sum,
};

/// Bytes of every layer, on the device and in main memory.
#[derive(Debug)]
pub(super) struct Sizes {
    blocks: Vec<Layer>,
    input: u64,
    output: Place,
    /// On the device only: in main memory the embedding serves.
    tied: u64,
    shared: Place,
    /// The largest single matrix outside the layers that main memory may hold.
    largest_output: u64,
}

#[derive(Debug, Clone, Copy)]
struct Layer {
    dense: Place,
    experts: Place,
    /// The largest single matrix, as it would be on the device.
    largest_dense: u64,
    largest_expert: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    device: u64,
    host: u64,
}

impl Place {
    fn of(matrices: &[Matrix], device: Backend) -> Self {
        Self {
            device: sum(matrices.iter().map(|matrix| device.size(matrix))),
            host: sum(matrices.iter().map(|matrix| Backend::HOST.size(matrix))),
        }
    }
}

impl Layer {
    fn of(block: &Block, device: Backend) -> Self {
        let largest =
            |matrices: &[Matrix]| matrices.iter().map(|matrix| device.size(matrix)).max().unwrap_or(0);
        Self {
            dense: Place::of(&block.matrices, device),
            experts: Place::of(&block.experts, device),
            largest_dense: largest(&block.matrices),
            largest_expert: largest(&block.experts),
        }
    }
}

impl Sizes {
    pub(super) fn of(shape: &Shape, device: Option<Backend>) -> Self {
        let device = device.unwrap_or(Backend::HOST);
        let tied = shape.tied.as_ref().map_or(0, |matrix| device.size(matrix));
        let outputs = shape.output.iter().chain(&shape.tied);
        Self {
            blocks: shape.blocks.iter().map(|block| Layer::of(block, device)).collect(),
            input: Place::of(&shape.input, device).host,
            output: Place::of(&shape.output, device),
            tied,
            shared: Place::of(&shape.shared, device),
            largest_output: outputs.map(|matrix| device.size(matrix)).max().unwrap_or(0),
        }
    }

    pub(super) fn weights(&self, split: &Split, settings: &Settings) -> Breakdown {
        let mut breakdown = Breakdown::default();
        let (mut device, mut host) = (0_u64, self.input);
        for (layer, block) in (0..).zip(&self.blocks) {
            let is_on_device = layer >= split.first;
            match is_on_device {
                true => device = device.saturating_add(block.dense.device),
                false => host = host.saturating_add(block.dense.host),
            }
            match is_on_device && layer >= settings.n_cpu_moe {
                true => device = device.saturating_add(block.experts.device),
                false => host = host.saturating_add(block.experts.host),
            }
        }
        if split.has_output {
            device = sum([device, self.output.device, self.tied]);
        } else {
            host = host.saturating_add(self.output.host);
        }
        if split.first < self.blocks.len() as u64 {
            device = device.saturating_add(self.shared.device);
        }
        if split.first > 0 {
            host = host.saturating_add(self.shared.host);
        }
        (breakdown.device.weights, breakdown.host.weights) = (device, host);
        breakdown
    }

    /// The largest single matrix in main memory whose product the device computes, bytes there.
    pub(super) fn largest_copied(&self, split: &Split, settings: &Settings) -> u64 {
        let of_layer = |(layer, block): (u64, &Layer)| {
            let dense = if layer < split.first { block.largest_dense } else { 0 };
            let is_expert_here = layer < split.first || layer < settings.n_cpu_moe;
            dense.max(if is_expert_here { block.largest_expert } else { 0 })
        };
        (0..).zip(&self.blocks).map(of_layer).max().unwrap_or(0)
    }

    pub(super) fn largest_output(&self) -> u64 {
        self.largest_output
    }
}
