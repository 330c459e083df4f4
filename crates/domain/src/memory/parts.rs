//! The account behind a breakdown: weights by what they are for, context by what keeps it. Sums are the breakdown's own.

use super::{Backend, Estimate, Settings, context, matrix::Matrix, settings::Split};
use std::{collections::BTreeMap, ops::Range};

/// What weights are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Embeddings,
    Attention,
    FeedForward,
    Experts,
    /// Convolutions and state spaces of recurrent layers.
    Recurrent,
    Output,
    /// Norms that are named after nothing else, rope factors.
    Others,
}

impl Part {
    /// By a tensor's name within its layer.
    pub(super) fn of(name: &str) -> Self {
        let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        match () {
            () if has(&["ssm_", "shortconv", "time_mix", "channel_mix"]) => Self::Recurrent,
            () if has(&["attn"]) => Self::Attention,
            () if has(&["ffn"]) => Self::FeedForward,
            () => Self::Others,
        }
    }
}

/// What keeps context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// Keys and values of all of the context.
    Full,
    /// Keys and values of a sliding window.
    Windowed,
    /// Recurrent state, whatever the context.
    State,
}

/// Bytes in one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    pub weights: BTreeMap<Part, u64>,
    /// With the number of layers.
    pub context: BTreeMap<Keep, (u64, u64)>,
    /// Of the weights those that a processor repacks for itself: copies that cannot be evicted as pages of the file are.
    pub repacked: u64,
}

impl Parts {
    fn add(&mut self, part: Part, matrices: &[Matrix], place: Backend) {
        let bytes = super::sum(matrices.iter().map(|matrix| place.size(matrix)));
        let repacked = matrices.iter().filter(|matrix| matrix.is_repacked).map(|matrix| place.size(matrix));
        self.repacked = self.repacked.saturating_add(super::sum(repacked));
        if bytes > 0 {
            let all = self.weights.entry(part).or_default();
            *all = all.saturating_add(bytes);
        }
    }
}

impl Estimate<'_> {
    /// Of each device in order, and of main memory.
    pub fn parts(&self, settings: &Settings) -> (Vec<Parts>, Parts) {
        let split = settings.split(self.shape, !self.devices.is_empty());
        let device = |(at, place): (usize, &Backend)| self.on_device(at, *place, &split, settings);
        (self.devices.iter().enumerate().map(device).collect(), self.in_main_memory(&split, settings))
    }

    fn on_device(&self, device: usize, place: Backend, split: &Split, settings: &Settings) -> Parts {
        let mut parts = Parts::default();
        let layers = split.layers(device);
        self.add_layers(&mut parts, &layers, place, |layer| layer >= settings.n_cpu_moe);
        if split.has_output(device) {
            parts.add(Part::Output, &self.shape.output, place);
            parts.add(Part::Output, self.shape.tied.as_slice(), place);
        }
        if self.host.shared(&layers) > 0 {
            parts.add(Part::Others, &self.shape.shared, place);
        }
        if settings.kv_offload {
            self.add_context(&mut parts, &layers, settings, place);
        }
        parts
    }

    fn in_main_memory(&self, split: &Split, settings: &Settings) -> Parts {
        let (mut parts, place) = (Parts::default(), Backend::HOST);
        parts.add(Part::Embeddings, &self.shape.input, place);
        self.add_layers(&mut parts, &(0..split.first), place, |_| true);
        let moved = self.shape.blocks.iter().zip(0..).skip_while(|(_, layer)| *layer < split.first);
        for (block, _) in moved.take_while(|(_, layer)| *layer < settings.n_cpu_moe) {
            parts.add(Part::Experts, &block.experts, place);
        }
        if !split.has_output {
            parts.add(Part::Output, &self.shape.output, place);
            parts.add(Part::Output, self.shape.copied(), place);
        }
        if self.host.shared(&(0..split.first)) > 0 {
            parts.add(Part::Others, &self.shape.shared, place);
        }
        let is_all = self.devices.is_empty() || !settings.kv_offload;
        let layers = if is_all { 0..self.shape.layers } else { 0..split.first };
        self.add_context(&mut parts, &layers, settings, place);
        parts
    }

    fn add_layers(
        &self,
        parts: &mut Parts,
        layers: &Range<u64>,
        place: Backend,
        has_experts: impl Fn(u64) -> bool,
    ) {
        for (block, layer) in self.shape.blocks.iter().zip(0..).filter(|(_, layer)| layers.contains(layer)) {
            for matrix in &block.matrices {
                parts.add(matrix.part, std::slice::from_ref(matrix), place);
            }
            if has_experts(layer) {
                parts.add(Part::Experts, &block.experts, place);
            }
        }
    }

    fn add_context(&self, parts: &mut Parts, layers: &Range<u64>, settings: &Settings, place: Backend) {
        for kind in &self.shape.kinds {
            let count = kind.count(layers);
            let cache = if kind.block.is_windowed && self.shape.window.is_some() {
                Keep::Windowed
            } else {
                Keep::Full
            };
            let (caches, state) = context::of_kind(self.shape, kind, settings, place);
            for (keep, bytes) in [(cache, caches), (Keep::State, state)] {
                if count > 0 && bytes > 0 {
                    let (number, all) = parts.context.entry(keep).or_default();
                    *number += count;
                    *all = all.saturating_add(bytes.saturating_mul(count));
                }
            }
        }
    }
}
