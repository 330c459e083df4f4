//! What llama.cpp allocates for a model and its settings, in bytes: weights and context exactly, compute buffers by the
//! largest phase of a layer's graph. Knows no goals and searches nothing.
//!
//! Measured on llama.cpp 0.5.0-dev (ggml 0.25.3): `crates/domain/tests/truth.rs` prints how far this is off.

mod backend;
mod compute;
mod context;
mod families;
mod settings;
mod shape;
mod weights;

pub use backend::Backend;
use families::Known;
pub use settings::{CacheType, FlashAttention, Settings};
pub use shape::{Shape, Unplannable};

/// Bytes that are allocated in one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    pub weights: u64,
    /// KV cache and recurrent state.
    pub context: u64,
    pub compute: u64,
}

impl Charge {
    pub fn total(self) -> u64 {
        self.weights.saturating_add(self.context).saturating_add(self.compute)
    }
}

/// Everything that is allocated; `device` is empty where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Breakdown {
    pub device: Charge,
    pub host: Charge,
}

/// A model whose sizes on one kind of device are added up already: a search asks for hundreds of breakdowns.
#[derive(Debug)]
pub struct Estimate<'a> {
    shape: &'a Shape,
    /// None: everything is in main memory.
    device: Option<Backend>,
    sizes: weights::Sizes,
}

impl<'a> Estimate<'a> {
    pub fn new(shape: &'a Shape, device: Option<Backend>) -> Self {
        Self { shape, device, sizes: weights::Sizes::of(shape, device) }
    }

    /// The same for another model on the same device.
    pub fn of<'b>(&self, shape: &'b Shape) -> Estimate<'b> {
        Estimate::new(shape, self.device)
    }

    /// Returns what these settings allocate.
    pub fn breakdown(&self, settings: &Settings) -> Breakdown {
        let layers_on = settings.split(self.shape, self.device.is_some());
        let mut breakdown = self.sizes.weights(&layers_on, settings);
        context::add(&mut breakdown, self.shape, &layers_on, settings, self.device);
        compute::add(&mut breakdown, self, &layers_on, settings);
        breakdown
    }

    /// Whether flash attention can be on where most of the model is.
    pub fn flash_attention(&self) -> FlashAttention {
        self.device.unwrap_or(Backend::HOST).flash_attention(self.shape)
    }

    /// Bytes of a copy of one slot's windows and recurrent state, which llama-server keeps to go back to; 0 where the model
    /// has none of either.
    pub fn checkpoint(&self, settings: &Settings) -> u64 {
        context::checkpoint(self.shape, settings)
    }

    /// Bytes by which the device's compute buffer may be larger than said. Over all that was measured with 1 or 4 slots,
    /// batches of 512 and flash attention, no buffer was larger than this. All of it was measured with CUDA: other
    /// backends are given as much as a family that never was.
    pub fn slack(&self, settings: &Settings, breakdown: &Breakdown) -> u64 {
        let is_whole =
            settings.gpu_layers > self.shape.layers && settings.n_cpu_moe == 0 && settings.kv_offload;
        let compute = breakdown.device.compute;
        let is_plain = !settings.cache_type_k.is_quantized() && !settings.cache_type_v.is_quantized();
        let is_measured = self.device.is_some_and(|device| device.is_measured);
        match self.shape.family.known {
            Known::Exactly if is_measured && is_whole && is_plain => SMALL,
            Known::Exactly | Known::Measured if is_measured && is_whole => {
                (compute / 8).saturating_add(SMALL)
            }
            Known::Exactly | Known::Measured | Known::Never => (compute / 4).saturating_add(64 << 20),
        }
    }
}

/// Every architecture with rules of its own.
#[cfg(test)]
pub(crate) fn architectures() -> impl Iterator<Item = &'static str> {
    families::architectures()
}

/// Buffers of a few hundred bytes each that are not laid out here, and their alignment.
const SMALL: u64 = 1 << 20;

/// `GGML_PAD`; saturates.
fn padded(size: u64, alignment: u64) -> u64 {
    size.checked_next_multiple_of(alignment).unwrap_or(u64::MAX)
}

/// Adds up, saturating.
pub(crate) fn sum(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(0, u64::saturating_add)
}

/// Multiplies, saturating.
fn product(factors: impl IntoIterator<Item = u64>) -> u64 {
    factors.into_iter().fold(1, u64::saturating_mul)
}
