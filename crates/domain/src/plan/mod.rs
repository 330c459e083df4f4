//! From a model, a machine and a goal to settings that fit. Knows no engine's flags and no clock.

mod alternatives;
mod bandwidth;
mod curve;
mod devices;
mod explain;
mod fits;
mod ground;
mod knobs;
mod learned;
mod place;
mod room;
mod search;
mod speed;
mod terms;
#[cfg(test)]
mod tests;
mod warnings;

use crate::{
    hardware::Hardware,
    memory::{CacheType, Settings, Shape},
};
use ground::{Known, ask};
use serde::{Deserialize, Serialize};

pub use curve::{Curve, Point, Series, curve};
pub use devices::check_described;
pub use fits::{Fit, How, fit};
pub use knobs::{Goal, Knobs};
pub use learned::{Amounts, Expected, Informed, Kept, Measured, MeasuredUse, Runs, plan_with};
pub use room::MARGIN;
pub use speed::{PastRun, Speed};
pub use terms::Term;
pub use warnings::caution;

/// Why something is not done, and the next thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    pub hint: Option<String>,
}

/// What besides the model itself is loaded, and by what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// Bytes of a projector, which goes to the first device.
    pub projector: u64,
    /// Bytes of adapters. Their parts lie with the layers that they change: each device may get nearly all of them.
    pub adapters: u64,
    /// The model turns whole batches into embeddings.
    pub embeds: bool,
    pub build: Build,
}

/// What an engine's build cannot be told, and how far it is known. By default it is the build that was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Build {
    /// Another than that whose buffers were measured.
    pub is_other: bool,
    /// Experts of single layers cannot be kept in main memory.
    pub lacks_n_cpu_moe: bool,
    /// The types of a cache cannot be chosen.
    pub lacks_cache_types: bool,
}

/// Settings that were found, and what they take.
#[derive(Debug, Clone)]
pub struct Planned {
    pub goal: Goal,
    pub settings: Settings,
    pub fits: bool,
    pub limited_by: Limit,
    /// All of them, the output layer included.
    pub layers: u64,
    /// Those that are used, in the order in which the engine is told of them.
    pub devices: Vec<DeviceUse>,
    /// What each device gets of the layers, as `--tensor-split` says it; empty for fewer than two.
    pub tensor_split: Vec<f64>,
    /// The processor alone was asked for where there are devices.
    pub avoids_devices: bool,
    pub host: HostUse,
    /// `--ctx-checkpoints` for each slot; None where the model has no use for them.
    pub ctx_checkpoints: Option<u64>,
    /// None where it is not known how fast a memory is that is read.
    pub speed: Option<Speed>,
    /// The account, line by line.
    pub terms: Vec<Term>,
    pub explain: Vec<String>,
    pub alternatives: Vec<String>,
}

/// What kept the context from being larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The model was trained for no more.
    Training,
    GpuMemory,
    HostMemory,
    /// The user asked for just that.
    Request,
}

/// Bytes on one device. `used` = weights + context + compute + overhead; `left` = free − used − margin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceUse {
    pub id: String,
    pub name: String,
    pub backend: String,
    pub total: u64,
    pub free: u64,
    pub weights: u64,
    pub context: u64,
    pub compute: u64,
    /// Driver context, projector and adapters.
    pub overhead: u64,
    pub margin: u64,
    pub used: u64,
    pub left: i64,
    /// Its memory is the machine's own.
    #[serde(default)]
    pub shares_ram: bool,
    /// Bytes by which `compute` may turn out larger; they are kept free besides the margin.
    #[serde(default)]
    pub slack: u64,
    /// Layers that it computes, the output layer included.
    #[serde(default)]
    pub layers: u64,
}

impl DeviceUse {
    /// Bytes that stay free besides the margin; less than none where more is taken than there is.
    fn left(free: u64, used: u64, margin: u64) -> i64 {
        let left = i128::from(free) - i128::from(used) - i128::from(margin);
        i64::try_from(left).unwrap_or(if left < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Bytes of main memory. `cache_ram` and `checkpoints` grow while the engine is used, up to this.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostUse {
    pub weights: u64,
    pub context: u64,
    pub compute: u64,
    pub available: u64,
    #[serde(default)]
    pub cache_ram: u64,
    #[serde(default)]
    pub checkpoints: u64,
    /// The engine itself: its code, its vocabulary, its threads.
    #[serde(default)]
    pub overhead: u64,
    /// Kept free for everything else.
    #[serde(default)]
    pub margin: u64,
}

/// Finds the settings that serve the goal best. Every knob that the user fixed stays as it is, also where it does not fit.
pub fn plan(shape: &Shape, machine: &Hardware, knobs: &Knobs, extras: Extras) -> Result<Planned, Refusal> {
    plan_with(shape, machine, knobs, extras, &Runs::default()).map(|informed| informed.planned)
}

/// The settings and what they take, without a word about them: the search alone.
pub fn outline(shape: &Shape, machine: &Hardware, knobs: &Knobs, extras: Extras) -> Result<Planned, Refusal> {
    ask(shape, machine, knobs, Known::of(extras), |ground, answer| answer.planned(ground))
}

/// More memory than any machine has, bytes.
const ABSURD: u64 = 1 << 50;

/// `--ctx-checkpoints` of llama.cpp.
const CHECKPOINTS: u64 = 32;

/// The type of cache that is tried where the user allows a quantized one.
const QUANTIZED: CacheType = CacheType::Q8_0;
