//! What decides how much memory a model takes, each knob under llama.cpp's own name.

use super::{Shape, padded};
use serde::{Deserialize, Serialize};

/// Settings of one llama.cpp process, all of them known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of llama.cpp")]
pub struct Settings {
    /// `--ctx-size`, tokens.
    pub ctx: u64,
    /// `--gpu-layers`; the output layer counts as one.
    pub gpu_layers: u64,
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

/// Which layers are on the device, and how many cells the cache has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    /// The first layer on the device; the number of layers where none is.
    pub(super) first: u64,
    pub(super) has_output: bool,
    pub(super) cells: Cells,
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
}

/// llama.cpp pads contexts to this many tokens.
pub(super) const CONTEXT_STEP: u64 = 256;

impl Settings {
    pub(super) fn split(&self, shape: &Shape, has_device: bool) -> Split {
        let on_device = if has_device { self.gpu_layers } else { 0 };
        let first = (shape.layers + 1).saturating_sub(on_device).min(shape.layers);
        Split { first, has_output: on_device > 0, cells: self.cells() }
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

    /// Cells of a layer with a sliding window (src/llama-kv-cache-iswa.cpp).
    pub(super) fn windowed_cells(&self, window: u64) -> Cells {
        let Cells { per_stream, streams } = self.cells();
        if self.swa_full {
            return Cells { per_stream, streams };
        }
        let windows = if self.kv_unified { window.saturating_mul(self.parallel.max(1)) } else { window };
        let needed = padded(windows.saturating_add(self.ubatch), CONTEXT_STEP);
        Cells { per_stream: per_stream.min(needed), streams }
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
