//! What llama.cpp allocates for a model and its settings, in bytes: weights and context by adding up,
//! compute buffers by laying out the graph as ggml does. Knows no goals and searches nothing.
//!
//! Measured on llama.cpp 0.5.0-dev (ggml 0.25.3): `crates/domain/tests/truth.rs` prints how far this is off.

mod backend;
mod context;
mod doubt;
mod families;
mod graph;
mod kept;
mod keys;
mod matrix;
mod parts;
mod reads;
mod settings;
mod shape;
mod weights;

pub use backend::Backend;
pub use doubt::countable;
pub use parts::{Keep, Part, Parts};
pub use reads::{Read, Reads};
pub use settings::{CacheType, FlashAttention, MOST_DEVICES, Settings, TensorSplit};
pub use shape::{Shape, Unplannable};
use std::ops::Range;

/// Bytes that are allocated in one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    pub weights: u64,
    /// KV cache and recurrent state.
    pub context: u64,
    pub compute: u64,
    /// Bytes by which `compute` of a device may turn out larger.
    pub slack: u64,
}

impl Charge {
    /// Without the slack.
    pub fn total(self) -> u64 {
        self.weights.saturating_add(self.context).saturating_add(self.compute)
    }
}

/// Everything that is allocated; `devices` are in the order in which the estimate was given them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breakdown {
    pub devices: Vec<Charge>,
    pub host: Charge,
}

/// A model whose sizes on certain devices are added up already: a search asks for hundreds of breakdowns.
#[derive(Debug)]
pub struct Estimate<'a> {
    shape: &'a Shape,
    /// None: everything is in main memory.
    devices: Vec<Backend>,
    sizes: Vec<weights::Sizes>,
    host: weights::Sizes,
    graphs: graph::Graphs,
}

impl<'a> Estimate<'a> {
    /// Of one process on these devices, in the engine's order; with none, everything is in main memory.
    pub fn new(shape: &'a Shape, devices: &[Backend]) -> Self {
        Self {
            shape,
            devices: devices.to_vec(),
            sizes: devices.iter().map(|device| weights::Sizes::of(shape, *device)).collect(),
            host: weights::Sizes::of(shape, Backend::HOST),
            graphs: graph::Graphs::default(),
        }
    }

    /// The same for another model on the same devices.
    pub fn of<'b>(&self, shape: &'b Shape) -> Estimate<'b> {
        Estimate::new(shape, &self.devices)
    }

    /// Returns what these settings allocate, without compute buffers: exact, and a small part of the work.
    pub fn kept(&self, settings: &Settings) -> Breakdown {
        let split = settings.split(self.shape, !self.devices.is_empty());
        let devices = vec![Charge::default(); self.devices.len()];
        let mut breakdown = Breakdown { devices, host: Charge::default() };
        weights::add(&mut breakdown, &self.sizes, &self.host, &split, settings);
        context::add(&mut breakdown, self.shape, &split, settings, &self.devices);
        breakdown
    }

    /// Bytes of weights and context on a device that has these layers; the output layer's number is `block_count`.
    pub fn kept_by(&self, device: usize, layers: &Range<u64>, settings: &Settings) -> u64 {
        let (Some(sizes), Some(place)) = (self.sizes.get(device), self.devices.get(device)) else { return 0 };
        let has_output = layers.contains(&self.shape.layers);
        let own = layers.start..layers.end.min(self.shape.layers);
        let context =
            if settings.kv_offload { context::of_layers(self.shape, &own, settings, *place) } else { 0 };
        sizes.held(&own, has_output, settings.n_cpu_moe).saturating_add(context)
    }

    /// Returns what these settings allocate.
    pub fn breakdown(&self, settings: &Settings) -> Breakdown {
        let split = settings.split(self.shape, !self.devices.is_empty());
        let mut breakdown = self.kept(settings);
        let (computed, is_stand_in) = self.graphs.sizes(self.shape, &self.devices, &split, settings);
        for (charge, size) in breakdown.devices.iter_mut().zip(&computed) {
            charge.compute = *size;
        }
        breakdown.host.compute = computed.last().copied().unwrap_or(0);
        self.add_slack(&mut breakdown, settings, is_stand_in);
        breakdown
    }

    /// Whether flash attention can be on where most of the model is.
    pub fn flash_attention(&self) -> FlashAttention {
        self.devices.first().copied().unwrap_or(Backend::HOST).flash_attention(self.shape)
    }

    /// Bytes of a copy of one slot's windows and recurrent state, which llama-server keeps to go back to; 0 where the model
    /// has none of either.
    pub fn checkpoint(&self, settings: &Settings) -> u64 {
        context::checkpoint(self.shape, settings)
    }

    /// Adds what the compute buffers of devices may take beyond what is counted. What was measured with CUDA is met to the byte
    /// for most models, wherever their layers are.
    fn add_slack(&self, breakdown: &mut Breakdown, settings: &Settings, is_stand_in: bool) {
        // Experts in main memory are fetched one matrix at a time, and change nothing else.
        let is_whole = settings.gpu_layers > self.shape.layers && settings.kv_offload;
        let is_understood = self.shape.is_understood();
        let cells = product([settings.tokens(), settings.cells().per_stream]);
        // An index that chooses tokens scores each of a batch with each cell, in F32, and other graphs have none: of three
        // such architectures without a graph the one that was the farthest off took 7.4 times that.
        let index = if !is_understood && self.shape.has_index() { product([8, 4, cells]) } else { 0 };
        // Where embeddings are put out, of all tokens, the mask (F16) may be there beside the logits.
        let embeds = self.shape.has_cache() && self.shape.number("pooling_type") > 0;
        let mask = if embeds { product([2, cells]) } else { 0 };
        for (charge, device) in breakdown.devices.iter_mut().zip(&self.devices) {
            let compute = charge.compute;
            let part = match (device.is_measured, self.shape.is_met_roughly() || is_stand_in, is_whole) {
                // Twice what is counted more: without an index nothing that was measured took as much.
                _ if !is_understood => compute.saturating_mul(2).saturating_add(UNKNOWN),
                (true, false, true) => SMALL / 16,
                (true, false, false) => SMALL,
                // Recurrent layers leave buffers a little different after each repetition.
                (true, true, true) => 8 * SMALL,
                (true, true, false) => (compute / 8).saturating_add(16 * SMALL),
                // An older build took 898 MiB where the measured one takes 450 (llama.cpp's tools/fit-params/README.md,
                // Qwen3-30B-A3B).
                (false, _, _) if device.is_other_build && !(is_whole && settings.n_cpu_moe == 0) => {
                    compute.saturating_add(UNKNOWN)
                }
                (false, _, _) => (compute / 4).saturating_add(UNKNOWN),
            };
            charge.slack = if charge.total() > 0 { sum([part, index, mask]) } else { 0 };
        }
    }
}

/// The build of llama.cpp whose compute buffers are known (with ggml 0.25.3), as its `--version` begins.
pub const MEASURED_BUILD: &str = "0.5.0-dev";

/// Every architecture with a graph of its own.
#[cfg(test)]
pub(crate) fn architectures() -> impl Iterator<Item = &'static str> {
    graph::architectures()
}

/// Bytes; tensors of a few hundred bytes each come and go between builds.
const SMALL: u64 = 1 << 20;

/// Bytes more where a graph is another one than was measured.
const UNKNOWN: u64 = 64 << 20;

/// `GGML_PAD`; saturates.
fn padded(size: u64, alignment: u64) -> u64 {
    if alignment.is_power_of_two() {
        // Without a division: this is asked of every tensor.
        return size.checked_add(alignment - 1).map_or(u64::MAX, |size| size & !(alignment - 1));
    }
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
