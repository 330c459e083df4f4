//! What launches have taken, beside what was planned; and plans that go by it. Where settings are equal, what was measured
//! is what is planned; where they are alike, only more than was planned counts.

#[cfg(test)]
mod tests;

use super::{
    Build, DeviceUse, Extras, Knobs, PastRun, Planned, Refusal, explain,
    ground::{Answer, Ground, Known, Site, ask},
    room::Excess,
    terms,
};
use crate::{
    engines::{Allocated, HOST, Rates},
    hardware::{Gpu, Hardware},
    memory::{Charge, Read, Settings, Shape, sum},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What decides how much memory a run takes, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    #[serde(flatten)]
    pub flags: Settings,
    pub layers: u64,
    /// Bytes of a projector, and of adapters.
    pub projector: u64,
    #[serde(default)]
    pub adapters: u64,
}

impl Kept {
    fn of(settings: &Settings, layers: u64, extras: Extras) -> Self {
        Self { flags: *settings, layers, projector: extras.projector, adapters: extras.adapters }
    }

    fn is_whole(&self) -> bool {
        self.flags.gpu_layers >= self.layers && self.flags.n_cpu_moe == 0
    }

    /// Whether compute buffers are laid out in the same way: context and how many layers are where may differ.
    fn is_like(&self, other: &Self) -> bool {
        let Settings { ctx, gpu_layers, n_cpu_moe, tensor_split, .. } = other.flags;
        let flags = Settings { ctx, gpu_layers, n_cpu_moe, tensor_split, ..self.flags };
        Self { flags, ..*self } == *other && self.is_whole() == other.is_whole()
    }
}

/// Bytes in one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    pub weights: u64,
    pub context: u64,
    pub compute: u64,
    /// Driver context and workspaces; None where no driver tells what the process holds.
    pub overhead: Option<u64>,
}

/// What a run took in one place, and what was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredUse {
    /// What the engine calls the device; `host` is main memory.
    pub id: String,
    /// What everybody calls it: a UUID, a PCI address, else the same.
    pub device: String,
    #[serde(flatten)]
    pub taken: Amounts,
    pub planned: Amounts,
    /// Bytes of compute that were kept free besides.
    pub slack: u64,
    /// Bytes that a token reads there.
    #[serde(default)]
    pub read: u64,
}

/// What one run has taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub at: Timestamp,
    pub settings: Kept,
    /// Devices, and main memory as `host`.
    pub devices: Vec<MeasuredUse>,
    /// Tokens a second, as the engine told after the last answers.
    #[serde(default)]
    pub speed: Option<Rates>,
    /// Its settings are those of the plan that it is told with.
    #[serde(default)]
    pub same_settings: bool,
}

/// What a run is expected to take: kept with it until it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// The engine's version, as it printed it.
    pub build: String,
    pub settings: Kept,
    devices: Vec<MeasuredUse>,
}

impl Measured {
    /// What everybody calls the devices, in the engine's order.
    fn on(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(|place| place.device.as_str()).filter(|device| *device != HOST)
    }

    /// By the engine's own name, which of a run that a plan is told with is the present one.
    pub(super) fn place(&self, id: &str) -> Option<&MeasuredUse> {
        self.devices.iter().find(|place| place.id == id)
    }

    pub(super) fn day(&self) -> String {
        self.at.strftime("%Y-%m-%d").to_string()
    }
}

impl MeasuredUse {
    /// What was taken beyond what was reckoned.
    fn excess(&self) -> Excess {
        let overhead = self.taken.overhead.zip(self.planned.overhead);
        Excess {
            compute: self.taken.compute.saturating_sub(self.planned.compute),
            overhead: overhead.map_or(0, |(taken, planned)| taken.saturating_sub(planned)),
        }
    }
}

impl Expected {
    pub fn of(informed: &Informed, extras: Extras, build: &str) -> Self {
        let Informed { planned, plain, .. } = informed;
        let settings = Kept::of(&planned.settings, planned.layers, extras);
        Self { build: build.to_owned(), settings, devices: plain.clone() }
    }

    /// What the engine says that it has allocated, and what drivers say that it holds, by what everybody calls a device.
    /// None where it does not say it of a place.
    pub fn measured(
        &self,
        at: Timestamp,
        allocated: &BTreeMap<String, Allocated>,
        held: &BTreeMap<String, u64>,
    ) -> Option<Measured> {
        let mut devices = Vec::new();
        for place in &self.devices {
            let buffers = allocated.get(&place.id).copied().unwrap_or_default();
            if buffers.total() == 0 && place.planned.compute > 0 {
                return None;
            }
            let taken = Amounts {
                weights: buffers.weights,
                context: buffers.context,
                compute: sum([buffers.compute, buffers.output]),
                overhead: held.get(&place.device).and_then(|held| held.checked_sub(buffers.total())),
            };
            devices.push(MeasuredUse { taken, ..place.clone() });
        }
        Some(Measured { at, settings: self.settings, devices, speed: None, same_settings: false })
    }

    /// What everybody calls the devices.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(|place| place.device.as_str()).filter(|device| *device != HOST)
    }
}

/// What runs of a model with one build of an engine took, the latest first.
#[derive(Debug, Clone, Default)]
pub struct Runs(pub Vec<Measured>);

/// Like runs that are gone by: what was once too much for the card is forgotten after so many that were not.
const RECENT: usize = 3;

impl Runs {
    /// Those that this machine can have seen: a log is text, and what is read there may be wrong.
    pub(super) fn believed(&self, machine: &Hardware) -> Self {
        let can_be = |place: &MeasuredUse| {
            let gpu = machine.known(&place.device);
            let total = gpu.map_or(machine.ram.total, |gpu| gpu.total);
            let Amounts { context, compute, overhead, .. } = place.taken; // weights are not planned by
            total == 0 || sum([context, compute, overhead.unwrap_or(0)]) <= total
        };
        Self(self.0.iter().filter(|run| run.devices.iter().all(can_be)).cloned().collect())
    }

    /// Runs with like settings on just these devices, the latest first.
    fn like<'a>(&'a self, settings: &'a Kept, gpus: &'a [&Gpu]) -> impl Iterator<Item = &'a Measured> {
        let is_there = |run: &&Measured| run.on().eq(gpus.iter().map(|gpu| gpu.known_as()));
        self.0.iter().filter(is_there).filter(|run| run.settings.is_like(settings))
    }

    /// The most that recent runs with like settings took beyond what was reckoned, by the engine's names, or what was known
    /// of it before.
    fn excess(
        &self,
        settings: &Kept,
        gpus: &[&Gpu],
        mut known: BTreeMap<String, Excess>,
    ) -> BTreeMap<String, Excess> {
        for place in self.like(settings, gpus).take(RECENT).flat_map(|run| &run.devices) {
            let excess = place.excess();
            if excess.total() > 0 {
                let gpu = gpus.iter().find(|gpu| gpu.known_as() == place.device);
                let most = known.entry(gpu.map_or(HOST, |gpu| &*gpu.id).to_owned()).or_default();
                *most = most.most(excess);
            }
        }
        known
    }

    /// How fast the runs were that tell it, the latest last, on the devices that are there.
    fn past(&self, machine: &Hardware) -> Vec<PastRun> {
        let run = |run: &Measured| {
            let tokens_per_second = run.speed?.answer?;
            let mut past = PastRun { tokens_per_second, ..PastRun::default() };
            for place in &run.devices {
                let gpu = machine.known(&place.device);
                match gpu {
                    Some(gpu) => drop(past.devices.insert(gpu.id.clone(), place.read)),
                    None if place.device == HOST => past.host = place.read,
                    None => return None,
                }
            }
            Some(past)
        };
        self.0.iter().rev().filter_map(run).collect()
    }

    /// The latest run with these settings, else the latest with like ones, on these devices.
    fn told(&self, settings: &Kept, gpus: &[&Gpu]) -> Option<Measured> {
        let recent = || self.like(settings, gpus).take(RECENT);
        let run = recent().find(|run| run.settings == *settings).or_else(|| recent().next())?;
        let mut told = Measured { same_settings: run.settings == *settings, ..run.clone() };
        // An engine may call them otherwise by now.
        let places = told.devices.iter_mut().filter(|place| place.device != HOST);
        for (place, gpu) in places.zip(gpus) {
            place.id.clone_from(&gpu.id);
        }
        Some(told)
    }
}

/// A plan, and what it was told by.
#[derive(Debug, Clone)]
pub struct Informed {
    pub planned: Planned,
    /// The latest run with its settings, else one with like settings.
    pub measured: Option<Measured>,
    /// What is reckoned for its settings without any run, on each device and in main memory.
    plain: Vec<MeasuredUse>,
}

/// Plans as `plan` does, and goes by what runs of this model with this engine took here.
pub fn plan_with(
    shape: &Shape,
    machine: &Hardware,
    knobs: &Knobs,
    extras: Extras,
    runs: &Runs,
) -> Result<Informed, Refusal> {
    let runs = runs.believed(machine);
    ask_after((shape, machine, knobs, extras), &runs, |ground, answer| {
        let mut planned = answer.planned(ground);
        let plain = plain(answer);
        let gpus: Vec<&Gpu> = answer.devices().collect();
        let measured = runs.told(&settings(ground, answer), &gpus);
        if let Some(run) = measured.as_ref().filter(|run| run.same_settings) {
            take(&mut planned, run);
        }
        planned.terms = terms::of(&planned, ground, answer, measured.as_ref());
        explain::tell(&mut planned, ground, answer, measured.as_ref());
        Informed { planned, measured, plain }
    })
}

/// A model, a machine, what is wished, and what besides is loaded.
pub(super) type Question<'a> = (&'a Shape, &'a Hardware, &'a Knobs, Extras);

/// An answer that runs tell of is asked for again so often; then what they took is kept free, whatever it is for.
const ROUNDS: usize = 3;

/// Asks, and asks again with what runs with settings like the answer's tell of it: what they took beyond what is reckoned,
/// and that the engine's build lays its buffers out as the measured one does.
pub(super) fn ask_after<T>(
    (shape, machine, knobs, extras): Question<'_>,
    runs: &Runs,
    then: impl Fn(&Ground<'_>, &Answer<'_>) -> T,
) -> Result<T, Refusal> {
    let past = runs.past(machine);
    let (mut excess, mut is_other) = (BTreeMap::new(), extras.build.is_other);
    for _ in 0..ROUNDS {
        let build = Build { is_other, ..extras.build };
        let known = Known { extras: Extras { build, ..extras }, past: &past, excess: &excess };
        let asked = ask(shape, machine, knobs, known, |ground, answer| {
            let (settings, gpus) = (settings(ground, answer), answer.devices().collect::<Vec<_>>());
            let more = runs.excess(&settings, &gpus, excess.clone());
            let is_still_other = extras.build.is_other && runs.like(&settings, &gpus).next().is_none();
            match more == excess && is_still_other == is_other {
                true => Ok(then(ground, answer)),
                false => Err((more, is_still_other)),
            }
        })?;
        match asked {
            Ok(answer) => return Ok(answer),
            Err(told) => (excess, is_other) = told,
        }
    }
    ask(shape, machine, knobs, Known { excess: &excess, past: &past, ..Known::of(extras) }, then)
}

fn settings(ground: &Ground<'_>, answer: &Answer<'_>) -> Kept {
    Kept::of(answer.found.settings(), ground.shape.layers + 1, ground.known.extras)
}

/// What is reckoned without any run, on each device and in main memory.
fn plain(answer: &Answer<'_>) -> Vec<MeasuredUse> {
    let Site { estimate, room, .. } = &answer.site;
    let reads = estimate.reads(answer.found.settings());
    let breakdown = &answer.found.counted.breakdown;
    let place = |(id, device): (&str, &str), charge: &Charge, overhead: u64, read: Read| {
        let Charge { weights, context, compute, slack } = *charge;
        let planned = Amounts { weights, context, compute, overhead: Some(overhead) };
        let (id, device) = (id.to_owned(), device.to_owned());
        MeasuredUse { id, device, taken: Amounts::default(), planned, slack, read: read.total() }
    };
    let on_devices = room.places.iter().zip(&breakdown.devices).zip(&reads.devices);
    let on_devices = on_devices
        .map(|((at, charge), read)| place((&at.gpu.id, at.gpu.known_as()), charge, at.overhead, *read));
    on_devices.chain([place((HOST, HOST), &breakdown.host, room.host_overhead, reads.host)]).collect()
}

/// Puts what was measured with the same settings into a plan.
fn take(planned: &mut Planned, run: &Measured) {
    for device in &mut planned.devices {
        let Some(place) = run.place(&device.id) else { continue };
        device.compute = place.taken.compute;
        device.slack = 0;
        device.overhead = place.taken.overhead.unwrap_or(device.overhead);
        device.used = sum([device.weights, device.context, device.compute, device.overhead]);
        device.left = DeviceUse::left(device.free, device.used, device.margin);
    }
    if let Some(place) = run.place(HOST) {
        planned.host.compute = place.taken.compute;
    }
}
