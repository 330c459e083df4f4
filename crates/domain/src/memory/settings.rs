//! What decides how much memory a model takes, each knob under llama.cpp's own name.

use super::{Shape, padded};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Settings of one llama.cpp process, all of them known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of llama.cpp")]
pub struct Settings {
    /// `--ctx-size`, tokens.
    pub ctx: u64,
    /// `--gpu-layers`; the output layer counts as one.
    pub gpu_layers: u64,
    /// `--tensor-split`: how `gpu_layers` are divided among the devices.
    pub tensor_split: TensorSplit,
    /// `--n-cpu-moe`: the first so many layers keep their experts in main memory.
    pub n_cpu_moe: u64,
    pub cache_type_k: CacheType,
    pub cache_type_v: CacheType,
    pub flash_attn: FlashAttention,
    pub batch: u64,
    pub ubatch: u64,
    /// `--parallel`: slots.
    pub parallel: u64,
    pub kv_unified: bool,
    pub swa_full: bool,
    pub kv_offload: bool,
    pub op_offload: bool,
    /// Tokens of a batch whose logits are computed.
    pub n_outputs: u64,
}

/// What llama-server takes where nothing is said, with flash attention and nothing on a device.
impl Default for Settings {
    fn default() -> Self {
        Self {
            ctx: 0,
            gpu_layers: 0,
            tensor_split: TensorSplit::default(),
            n_cpu_moe: 0,
            cache_type_k: CacheType::F16,
            cache_type_v: CacheType::F16,
            flash_attn: FlashAttention::On,
            batch: 2048,
            ubatch: 512,
            parallel: 1,
            kv_unified: false,
            swa_full: false,
            kv_offload: true,
            op_offload: true,
            n_outputs: 1,
        }
    }
}

/// Resolved: `auto` is decided before memory is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlashAttention {
    On,
    Off,
}

/// Declares the cache types with their name, elements and bytes of a block.
macro_rules! cache_types {
    ($($variant:ident = $name:literal, $length:literal, $size:literal);+ $(;)?) => {
        /// A type of KV cache (`kv_cache_types` in llama.cpp's common/arg.cpp).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum CacheType { $(#[serde(rename = $name)] $variant),+ }

        impl CacheType {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Elements and bytes of a block.
            fn block(self) -> (u64, u64) {
                match self { $(Self::$variant => ($length, $size)),+ }
            }
        }
    };
}

cache_types! {
    F32 = "f32", 1, 4;
    F16 = "f16", 1, 2;
    Bf16 = "bf16", 1, 2;
    Q8_0 = "q8_0", 32, 34;
    Q4_0 = "q4_0", 32, 18;
    Q4_1 = "q4_1", 32, 20;
    Iq4Nl = "iq4_nl", 32, 18;
    Q5_0 = "q5_0", 32, 22;
    Q5_1 = "q5_1", 32, 24;
}

impl CacheType {
    pub fn is_quantized(self) -> bool {
        self.block().0 > 1
    }

    /// Bytes of a row; rows are whole blocks.
    pub(super) fn row_size(self, elements: u64) -> u64 {
        let (length, size) = self.block();
        elements.div_ceil(length).saturating_mul(size)
    }

    /// Whether a row of so many elements is whole blocks, which llama.cpp insists on.
    pub fn fits(self, elements: u64) -> bool {
        elements.is_multiple_of(self.block().0)
    }
}

/// The most devices of one process (`GGML_CUDA_MAX_DEVICES`).
pub const MOST_DEVICES: usize = 16;

/// Layers on each device, in order, the output layer included. All zeros: everything is on the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<u64>", into = "Vec<u64>")]
pub struct TensorSplit([u16; MOST_DEVICES]);

impl TensorSplit {
    /// So many layers on each device.
    pub fn of_layers(layers: impl IntoIterator<Item = u64>) -> Self {
        let mut split = Self::default();
        for (own, layers) in split.0.iter_mut().zip(layers) {
            *own = u16::try_from(layers).unwrap_or(u16::MAX);
        }
        split
    }

    /// As llama.cpp divides that many layers by proportions: a layer goes to the first device whose share, added to those
    /// before it, lies above the layer's (`llama_model::load_tensors`, in single precision as there).
    pub fn of_parts(parts: &[f32], layers: u64) -> Self {
        let all: f32 = parts.iter().sum();
        let ends = parts.iter().scan(0.0_f32, |end, part| {
            *end += part;
            Some(*end / all)
        });
        let ends: Vec<f32> = ends.take(MOST_DEVICES).collect();
        let mut split = Self::default();
        for layer in 0..layers {
            let at = single(layer) / single(layers);
            let device = ends.iter().position(|end| at < *end).unwrap_or(ends.len().saturating_sub(1));
            if let Some(own) = split.0.get_mut(device) {
                *own = own.saturating_add(1);
            }
        }
        split
    }

    /// Layers on each device, as many devices as have any or come before one that has.
    pub fn layers(&self) -> Vec<u64> {
        let used = self.0.iter().rposition(|layers| *layers > 0).map_or(0, |last| last + 1);
        self.0.iter().take(used).map(|layers| u64::from(*layers)).collect()
    }
}

impl From<Vec<u64>> for TensorSplit {
    fn from(layers: Vec<u64>) -> Self {
        Self::of_layers(layers)
    }
}

impl From<TensorSplit> for Vec<u64> {
    fn from(split: TensorSplit) -> Self {
        split.layers()
    }
}

/// Layers are few.
fn single(layers: u64) -> f32 {
    f32::from(u16::try_from(layers).unwrap_or(u16::MAX))
}

/// Which layers are on which device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    /// The first layer on a device; the number of layers where none is.
    pub(super) first: u64,
    /// For each device the layer after its last one; the output layer is number `layers`.
    ends: [u64; MOST_DEVICES],
    layers: u64,
    pub(super) has_output: bool,
}

impl Split {
    /// The layers of a device, without the output layer.
    pub(super) fn layers(&self, device: usize) -> Range<u64> {
        let start = device.checked_sub(1).map_or(self.first, |before| self.end(before));
        start.min(self.layers)..self.end(device).min(self.layers)
    }

    pub(super) fn has_output(&self, device: usize) -> bool {
        let start = device.checked_sub(1).map_or(0, |before| self.end(before));
        self.has_output && start <= self.layers && self.layers < self.end(device)
    }

    /// The backend of each of so many layers; `host` is that of main memory.
    pub(super) fn places(&self, layers: usize, host: u8) -> impl Iterator<Item = u8> {
        let mut device = 0_u8;
        (0_u64..).take(layers).map(move |layer| {
            while device < host && self.end(usize::from(device)) <= layer {
                device += 1;
            }
            if layer < self.first { host } else { device }
        })
    }

    fn end(&self, device: usize) -> u64 {
        self.ends.get(device).copied().unwrap_or(self.layers.saturating_add(1))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Cells {
    /// Of one stream.
    pub(super) per_stream: u64,
    pub(super) streams: u64,
}

impl Cells {
    pub(super) fn all(self) -> u64 {
        self.per_stream.saturating_mul(self.streams)
    }

    fn windowed(self, tokens: u64, settings: &Settings) -> Self {
        if settings.swa_full {
            return self;
        }
        let needed = padded(tokens.saturating_add(settings.ubatch), CONTEXT_STEP);
        Self { per_stream: self.per_stream.min(needed), ..self }
    }

    /// Cells of a cache in which one stands for several tokens.
    pub(super) fn compressed(self, ratio: u64) -> Self {
        let needed = self.per_stream.checked_div(ratio).map_or(0, |_| self.per_stream.div_ceil(ratio).max(1));
        Self { per_stream: padded(needed, CONTEXT_STEP), ..self }
    }
}

/// llama.cpp pads contexts to this many tokens.
pub(super) const CONTEXT_STEP: u64 = 256;

impl Settings {
    pub(super) fn split(&self, shape: &Shape, has_device: bool) -> Split {
        let on_device = if has_device { self.gpu_layers } else { 0 };
        let layers = shape.layers;
        let start = (layers + 1).saturating_sub(on_device);
        let mut ends = [layers + 1; MOST_DEVICES];
        if self.tensor_split != TensorSplit::default() {
            let mut end = start;
            for (own, count) in ends.iter_mut().zip(self.tensor_split.0) {
                end = end.saturating_add(u64::from(count));
                *own = end;
            }
            // Whatever the counts leave over is the last device's that has any.
            let last = self.tensor_split.0.iter().rposition(|count| *count > 0).unwrap_or(0);
            ends.iter_mut().skip(last).for_each(|end| *end = layers + 1);
        }
        Split { first: start.min(layers), ends, layers, has_output: on_device > 0 }
    }

    /// As `llama_context` sizes the cache (src/llama-context.cpp).
    pub(super) fn cells(&self) -> Cells {
        let ctx = padded(self.ctx, CONTEXT_STEP);
        if self.kv_unified {
            return Cells { per_stream: ctx, streams: 1 };
        }
        let slots = self.parallel.max(1);
        Cells { per_stream: padded(ctx / slots, CONTEXT_STEP), streams: slots }
    }

    /// Cells of a layer with a sliding window (src/llama-kv-cache-iswa.cpp), or without one.
    pub(super) fn windowed_cells(&self, window: Option<u64>) -> Cells {
        let shared = if self.kv_unified { self.parallel.max(1) } else { 1 };
        let cells = self.cells();
        window.map_or(cells, |window| cells.windowed(window.saturating_mul(shared), self))
    }

    /// The same for caches that are each sequence's own, also where others are unified (src/llama-kv-cache-dsv4.cpp).
    pub(super) fn own_cells(&self, window: Option<u64>) -> Cells {
        let own = Cells { streams: self.parallel.max(1), ..self.cells() };
        window.map_or(own, |window| own.windowed(window, self))
    }

    /// Tokens that are computed at once.
    pub(super) fn tokens(&self) -> u64 {
        self.ubatch.min(self.batch).min(self.cells().all())
    }

    /// Context that one slot has, tokens.
    pub fn ctx_per_slot(&self) -> u64 {
        self.cells().per_stream
    }
}
