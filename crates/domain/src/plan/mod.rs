//! From a model, a machine and a goal to settings that fit. Knows no engine's flags and no clock.

mod explain;
mod knobs;
mod search;
#[cfg(test)]
mod tests;

use crate::{
    ByteSize,
    hardware::{Gpu, Hardware, Ram},
    memory::{Breakdown, CacheType, Charge, Estimate, Settings, Shape, sum},
};
use serde::{Deserialize, Serialize};

pub use knobs::{Goal, Knobs};

/// Why something is not done, and the next thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    pub hint: Option<String>,
}

/// What besides the model itself is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// Bytes of a projector, which goes to the device.
    pub projector: u64,
    /// The model turns whole batches into embeddings.
    pub embeds: bool,
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
    pub device: Option<DeviceUse>,
    /// The processor alone was asked for where there are devices.
    pub avoids_devices: bool,
    pub host: HostUse,
    /// `--cache-ram`, MiB.
    pub cache_ram: u64,
    /// `--ctx-checkpoints` for each slot; None where the model has no use for them.
    pub ctx_checkpoints: Option<u64>,
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
    /// Driver context and projector.
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

/// `--fit-target` of llama.cpp: bytes of a device that stay free.
pub const MARGIN: u64 = 1024 << 20;

/// Main memory that stays free beside what is available, bytes, at most; and at most this part of all of it.
const HOST_MARGIN: u64 = 1 << 30;
const HOST_MARGIN_PART: u64 = 16;

/// A llama-server process beside its buffers: 150 MiB without a device, measured with version 0.7.0; its vocabulary
/// tables take up to 100 MiB more.
const PROCESS: u64 = 256 << 20;

/// `--batch-size` and `--ubatch-size` of llama.cpp.
const BATCH: u64 = 2048;
const UBATCH: u64 = 512;

/// A figure that moved with every megabyte would make no two plans alike.
const CACHE_STEP: u64 = 256 << 20;

/// `--cache-ram` of llama.cpp, MiB.
const CACHE_RAM: u64 = 8192;

/// Finds the settings that serve the goal best. Every knob that the user fixed stays as it is, also where it does not fit.
pub fn plan(shape: &Shape, machine: &Hardware, knobs: &Knobs, extras: Extras) -> Result<Planned, Refusal> {
    let fixed = knobs.read(shape)?;
    check_machine(machine)?;
    let device = choose(machine, knobs)?;
    let avoids_devices = device.is_none() && !machine.gpus.is_empty();
    let backend = device.map(|gpu| crate::memory::Backend::named(&gpu.backend));
    let estimate = Estimate::new(shape, backend.as_slice());
    let room = Room::of(device, machine.ram, knobs, extras);
    let task =
        search::Task { shape, estimate: &estimate, room: &room, knobs, fixed: &fixed, embeds: extras.embeds };
    let found = task.best();
    let mut planned = room.planned(&task, &found, avoids_devices);
    explain::tell(&mut planned, &task, &found, machine);
    if !planned.fits && knobs.device.is_none() && device.is_some_and(|gpu| !gpu.shares_ram) {
        let by_processor = Knobs { device: Some(vec!["none".into()]), ..knobs.clone() };
        let other = plan(shape, machine, &by_processor, extras).ok().filter(|other| other.fits);
        planned.alternatives.splice(0..0, other.map(|other| explain::by_processor(&other)));
    }
    Ok(planned)
}

/// More memory than any machine has, bytes.
const ABSURD: u64 = 1 << 50;

/// A machine may be described by hand.
fn check_machine(machine: &Hardware) -> Result<(), Refusal> {
    let ram = [("main memory", machine.ram.total), ("main memory", machine.ram.available)];
    let gpus =
        machine.gpus.iter().flat_map(|gpu| [gpu.total, gpu.free, gpu.overhead].map(|size| (&*gpu.id, size)));
    match gpus.chain(ram).find(|(_, size)| *size > ABSURD) {
        Some((place, size)) => Err(Refusal {
            why: format!("{} of {place} is more than any machine has", ByteSize(size)),
            hint: Some("sizes of a machine are bytes: see modelctl hardware --json".to_owned()),
        }),
        None => Ok(()),
    }
}

/// The device to use: the one that was named, else the one with the most free memory of its own.
fn choose<'a>(machine: &'a Hardware, knobs: &Knobs) -> Result<Option<&'a Gpu>, Refusal> {
    let Some(named) = knobs.device.as_deref().filter(|named| !named.is_empty()) else {
        let usable = machine.gpus.iter().filter(|gpu| gpu.total > 0);
        return Ok(usable.max_by_key(|gpu| (!gpu.shares_ram, gpu.free)));
    };
    let known: Vec<&str> = machine.gpus.iter().map(|gpu| gpu.id.as_str()).collect();
    let refuse = |why: String| {
        let hint = if known.is_empty() {
            "the engine sees no device here: modelctl hardware".to_owned()
        } else {
            format!("there are: {} none", known.join(" "))
        };
        Refusal { why, hint: Some(hint) }
    };
    match named {
        [none] if none == "none" => Ok(None),
        [id] => match machine.gpus.iter().find(|gpu| gpu.id == *id) {
            Some(gpu) => Ok(Some(gpu)),
            None => Err(refuse(format!("no device is called {id}"))),
        },
        several => {
            Err(refuse(format!("a plan uses one device so far, and these are {}", several.join(", "))))
        }
    }
}

/// The memory that there is.
#[derive(Debug)]
pub(super) struct Room<'a> {
    device: Option<&'a Gpu>,
    /// Bytes on the device besides buffers.
    overhead: u64,
    margin: u64,
    ram: Ram,
    host_margin: u64,
    /// Bytes in main memory besides buffers.
    host_overhead: u64,
}

impl<'a> Room<'a> {
    fn of(device: Option<&'a Gpu>, ram: Ram, knobs: &Knobs, extras: Extras) -> Self {
        let beside = if device.is_some() { 0 } else { extras.projector };
        Self {
            device,
            overhead: device.map_or(0, |gpu| gpu.overhead.saturating_add(extras.projector)),
            margin: knobs.margin.unwrap_or(MARGIN),
            ram,
            host_margin: HOST_MARGIN.min(ram.total / HOST_MARGIN_PART),
            host_overhead: PROCESS.saturating_add(beside),
        }
    }

    /// What is taken, bytes: on the device besides its margin, and of main memory with its own.
    fn taken(&self, breakdown: &Breakdown) -> (u64, u64) {
        let on_device = match self.device {
            Some(_) => sum([on_first(breakdown).total(), on_first(breakdown).slack, self.overhead]),
            None => 0,
        };
        let shared = if self.device.is_some_and(|gpu| gpu.shares_ram) { on_device } else { 0 };
        (on_device, sum([breakdown.host.total(), self.host_overhead, self.host_margin, shared]))
    }

    /// What is missing, bytes: on the device, in main memory.
    fn missing(&self, breakdown: &Breakdown) -> (u64, u64) {
        let (on_device, on_host) = self.taken(breakdown);
        let on_device =
            self.device.map_or(0, |gpu| on_device.saturating_add(self.margin).saturating_sub(gpu.free));
        (on_device, on_host.saturating_sub(self.ram.available))
    }

    fn planned(&self, task: &search::Task<'_>, found: &search::Found, avoids_devices: bool) -> Planned {
        let search::Found { settings, breakdown, limit, goal } = found;
        let checkpoint = task.estimate.checkpoint(settings);
        let (_, taken) = self.taken(breakdown);
        let spare = self.ram.available.saturating_sub(taken);
        let slots = settings.parallel.max(1);
        let checkpoints = (checkpoint > 0)
            .then(|| (spare / 2).checked_div(checkpoint.saturating_mul(slots)).unwrap_or(0).min(CHECKPOINTS));
        let kept = checkpoints.unwrap_or(0).saturating_mul(slots).saturating_mul(checkpoint);
        let cache_ram =
            (spare.saturating_sub(kept) / 2 / CACHE_STEP).saturating_mul(CACHE_STEP >> 20).min(CACHE_RAM);
        let (on_device, on_host) = self.missing(breakdown);
        Planned {
            goal: *goal,
            settings: *settings,
            fits: on_device == 0 && on_host == 0,
            limited_by: *limit,
            layers: task.shape.layers + 1,
            device: self.device.map(|gpu| self.device_use(gpu, on_first(breakdown))),
            avoids_devices,
            host: HostUse {
                weights: breakdown.host.weights,
                context: breakdown.host.context,
                compute: breakdown.host.compute,
                available: self.ram.available,
                cache_ram: cache_ram << 20,
                checkpoints: kept,
                overhead: self.host_overhead,
                margin: self.host_margin,
            },
            cache_ram,
            ctx_checkpoints: checkpoints,
            explain: Vec::new(),
            alternatives: Vec::new(),
        }
    }

    fn device_use(&self, gpu: &Gpu, charge: Charge) -> DeviceUse {
        let used = charge.total().saturating_add(self.overhead);
        let left = i128::from(gpu.free) - i128::from(used) - i128::from(self.margin);
        let farthest = if left < 0 { i64::MIN } else { i64::MAX };
        DeviceUse {
            id: gpu.id.clone(),
            name: gpu.name.clone(),
            backend: gpu.backend.clone(),
            total: gpu.total,
            free: gpu.free,
            weights: charge.weights,
            context: charge.context,
            compute: charge.compute,
            overhead: self.overhead,
            margin: self.margin,
            used,
            left: i64::try_from(left).unwrap_or(farthest),
            shares_ram: gpu.shares_ram,
            slack: charge.slack,
        }
    }
}

fn on_first(breakdown: &Breakdown) -> Charge {
    breakdown.devices.first().copied().unwrap_or_default()
}

/// `--ctx-checkpoints` of llama.cpp.
const CHECKPOINTS: u64 = 32;

/// The type of cache that is tried where the user allows a quantized one.
const QUANTIZED: CacheType = CacheType::Q8_0;
