//! Compute buffers: the largest of a layer's phases, each the tensors that are alive in it at once. They follow
//! src/llama-graph.cpp and src/models/*; ggml's allocator reuses what is no longer needed (ggml-alloc.c).

use super::{
    Breakdown, Estimate, FlashAttention, Settings,
    families::Activations,
    product,
    settings::Split,
    shape::{Shape, Widths},
    sum,
};

/// Activations are F32.
const F32: u64 = 4;
/// Positions, indices of cache cells and the like, bytes for each token.
const INDICES: u64 = 20;
/// The same for the second cache of models with sliding windows.
const WINDOW_INDICES: u64 = 16;
/// `GGML_OP_OFFLOAD_MIN_BATCH`: products of fewer tokens are computed where the matrix is.
const BATCH_TO_OFFLOAD: u64 = 32;
/// Hadamard matrices for keys and values of a quantized cache; the largest that was measured (heads of 256).
const ROTATIONS: u64 = 540_672;

pub(super) fn add(breakdown: &mut Breakdown, estimate: &Estimate<'_>, split: &Split, settings: &Settings) {
    let phases = Phases::of(estimate.shape, split, settings);
    let mut is_used = false;
    for charge in &mut breakdown.devices {
        if charge.weights > 0 || charge.context > 0 || settings.op_offload {
            charge.compute = phases.on_device(estimate, split, settings);
            is_used = true;
        }
    }
    let computes_alone = !is_used || split.first > 0 && !settings.op_offload;
    breakdown.host.compute =
        if computes_alone { phases.without_device() } else { phases.beside_device(settings) };
}

/// Bytes of what is alive at once, by phase.
struct Phases<'a> {
    shape: &'a Shape,
    tokens: u64,
    /// Masks and indices: they live as long as the graph.
    inputs: u64,
    mask: u64,
    activations: u64,
    attention: u64,
    outputs: u64,
    logits: u64,
    /// F16 copies of a quantized layer's keys and values.
    unpacked: u64,
    /// Keys of one layer.
    keys: u64,
}

/// Bytes on their way to the device.
#[derive(Default)]
struct Copied {
    /// One matrix at a time.
    matrices: u64,
    /// A layer's keys and values, and where they are made ready.
    cache: u64,
    output: u64,
}

impl<'a> Phases<'a> {
    fn of(shape: &'a Shape, split: &Split, settings: &Settings) -> Self {
        let tokens = settings.tokens();
        let Widths { embedding, vocabulary, keys, values, .. } = shape.widths;
        let mask = mask(shape, split, settings, tokens);
        let windowed = if shape.window.is_some() { WINDOW_INDICES } else { 0 };
        let outputs = tokens.min(settings.n_outputs);
        let cells = split.cells.all();
        let copy = |kind: super::CacheType, elements: u64| if kind.is_quantized() { elements } else { 0 };
        let unpacked = product([
            cells,
            copy(settings.cache_type_k, keys).saturating_add(copy(settings.cache_type_v, values)),
            2,
        ]);
        Self {
            shape,
            tokens,
            mask,
            inputs: mask.saturating_add(tokens.saturating_mul(INDICES + windowed)),
            activations: activations(shape, settings, tokens),
            attention: attention(shape, split, settings, tokens),
            outputs,
            logits: product([F32, outputs, vocabulary.saturating_add(embedding)]),
            unpacked,
            keys: settings.cache_type_k.row_size(keys).saturating_mul(cells),
        }
    }

    fn on_device(&self, estimate: &Estimate<'_>, split: &Split, settings: &Settings) -> u64 {
        let copied = self.copied(estimate, split, settings);
        let rotations = if self.unpacked > 0 { ROTATIONS } else { 0 };
        let phases = [
            sum([self.inputs, self.activations, copied.matrices]),
            sum([self.inputs, self.attention, self.unpacked, copied.cache, rotations]),
            self.all_logits().saturating_add(copied.output),
        ];
        phases.into_iter().max().unwrap_or(0)
    }

    /// What the scheduler brings to the device of layers that are in main memory.
    fn copied(&self, estimate: &Estimate<'_>, split: &Split, settings: &Settings) -> Copied {
        let mut copied = Copied::default();
        if !settings.op_offload {
            return copied;
        }
        copied.matrices = estimate.largest.copied(split, settings);
        if self.shape.family.copies_two_experts && self.shape.expert_layers() > 0 {
            copied.matrices = copied.matrices.saturating_mul(2);
        }
        if (split.first > 0 || !settings.kv_offload) && self.keys > 0 {
            // With shared KV heads there is one more copy on the way.
            let is_shared = self.shape.widths.keys < self.shape.widths.queries;
            let copies = if is_shared || self.unpacked > 0 { 3 } else { 2 };
            let experts = if self.shape.expert_layers() > 0 { copied.matrices } else { 0 };
            copied.cache =
                sum([self.keys.saturating_mul(copies), self.row(self.shape.widths.embedding), experts]);
        }
        if !split.has_output && self.outputs >= BATCH_TO_OFFLOAD {
            copied.output = estimate.largest.output;
        }
        copied
    }

    /// Main memory's part where a device computes: embeddings, masks and indices on their way.
    fn beside_device(&self, settings: &Settings) -> u64 {
        let embeddings = self.row(self.shape.widths.embedding.saturating_mul(2));
        let outputs = super::padded(F32.saturating_mul(settings.n_outputs.min(self.tokens)), 32);
        let rotations = if self.unpacked > 0 { ROTATIONS } else { 0 };
        sum([embeddings, self.mask, self.tokens.saturating_mul(24), outputs, rotations])
    }

    fn without_device(&self) -> u64 {
        let largest = self.activations.max(self.attention);
        self.all_logits().max(sum([self.inputs, largest, self.row(self.shape.widths.embedding)]))
    }

    /// The logits of many tokens of a mixture of experts find no room among what its last layer leaves.
    fn all_logits(&self) -> u64 {
        let is_beside = self.outputs >= BATCH_TO_OFFLOAD && self.shape.widths.experts_used > 0;
        self.logits.saturating_add(if is_beside { self.activations } else { 0 })
    }

    /// Bytes of so many elements for every token.
    fn row(&self, elements: u64) -> u64 {
        product([F32, self.tokens, elements])
    }
}

/// The mask of every cell and token; F16 for flash attention.
fn mask(shape: &Shape, split: &Split, settings: &Settings, tokens: u64) -> u64 {
    if !shape.has_cache() {
        return 0;
    }
    let element = if settings.flash_attn == FlashAttention::On { 2 } else { F32 };
    let windowed = shape.window.filter(|_| shape.kinds.iter().any(|kind| kind.block.is_windowed));
    let windowed = windowed.map_or(0, |window| settings.windowed_cells(window).per_stream);
    product([element, tokens, split.cells.per_stream.saturating_add(windowed)])
}

fn activations(shape: &Shape, settings: &Settings, tokens: u64) -> u64 {
    let Widths { embedding, queries, heads, inner, recurrent, feed_forward, .. } = shape.widths;
    let row = |elements: u64| product([F32, tokens, elements]);
    let state =
        |convolved: u64, rest: u64| product([F32, settings.parallel.max(1), convolved.saturating_add(rest)]);
    let times = u64::saturating_mul;
    match shape.family.activations {
        Activations::Gated => row(gated(&shape.widths)),
        Activations::FusedGate => row(sum([times(embedding, 2), times(feed_forward, 3)])),
        Activations::GatedAnd(percent) => {
            let row = row(gated(&shape.widths).max(times(inner, 8)));
            sum([row, times(row / 100, percent), state(times(recurrent.0, 2), times(recurrent.1, 2))])
        }
        Activations::Scan => row(times(inner, 6)).saturating_add(state(times(recurrent.0, 2), recurrent.1)),
        Activations::TimeMix => row(times(embedding, 18).saturating_add(embedding / 16))
            .saturating_add(state(recurrent.0, times(recurrent.1, 2))),
        Activations::RelativeBias => {
            let positions = shape.trained.min(settings.ctx);
            row(gated(&shape.widths))
                .saturating_add(product([6, heads, positions, F32, tokens]))
                .max(row(queries))
        }
    }
}

/// Elements that a gated feed-forward keeps for a token: dense, or the experts that work on it.
fn gated(widths: &Widths) -> u64 {
    let Widths { embedding, queries, feed_forward, expert_feed_forward, experts_used, .. } = *widths;
    let times = u64::saturating_mul;
    if experts_used == 0 {
        return sum([times(embedding, 2), queries, times(feed_forward, 3)]);
    }
    let inside = sum([times(embedding, 2), queries, product([3, experts_used, expert_feed_forward])]);
    let outside = sum([times(embedding, 3), queries, product([2, experts_used, embedding])]);
    inside.max(outside)
}

/// What is alive around a layer's attention.
fn attention(shape: &Shape, split: &Split, settings: &Settings, tokens: u64) -> u64 {
    let Widths { embedding, queries, keys, values, heads, .. } = shape.widths;
    if !shape.has_cache() {
        return 0;
    }
    let row = |elements: u64| product([F32, tokens, elements]);
    // Keys and values that are one cache go through more steps: no fewer are alive than in the feed-forward.
    let is_quantized = settings.cache_type_k.is_quantized() || settings.cache_type_v.is_quantized();
    let is_long = values == 0 || is_quantized && shape.family.unpacks_beside;
    let least = if is_long { gated(&shape.widths) } else { 0 };
    let around = embedding.saturating_add(queries).saturating_mul(2).max(least);
    if settings.flash_attn == FlashAttention::Off {
        let scores = product([heads, split.cells.per_stream, tokens, F32]);
        return scores.saturating_add(row(around.saturating_add(keys.saturating_mul(2))));
    }
    // Kernels without shared KV heads write partial results of up to eight parts.
    let is_shared = keys < queries && heads.is_power_of_two();
    let parts = if is_quantized && !is_shared { queries.saturating_mul(9) } else { 0 };
    row(around.saturating_add(parts))
}
