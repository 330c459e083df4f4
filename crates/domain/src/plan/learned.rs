//! What launches have taken, beside what was planned; and plans that go by it. Where settings are equal, what was measured
//! is what is planned; where they are alike, only more than was planned counts.

mod account;
#[cfg(test)]
mod tests;

use super::{
    DeviceUse, Extras, Knobs, PastRun, Planned, Refusal, explain::may_take, ground::ask, plan_after, told,
};
use crate::{
    ByteSize,
    engines::{Allocated, HOST, Rates},
    hardware::{Gpu, Hardware},
    memory::{Backend, Estimate, Settings, Shape, sum},
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

impl Expected {
    /// `called` says what everybody calls a device.
    pub fn of(informed: &Informed, extras: Extras, build: &str, called: impl Fn(&str) -> String) -> Self {
        let Informed { planned, plain, .. } = informed;
        Self {
            build: build.to_owned(),
            settings: Kept::of(&planned.settings, planned.layers, extras),
            devices: plain
                .iter()
                .map(|place| MeasuredUse { device: called(&place.id), ..place.clone() })
                .collect(),
        }
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

/// More than was planned, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Excess {
    compute: u64,
    overhead: u64,
}

impl Excess {
    fn total(self) -> u64 {
        self.compute.saturating_add(self.overhead)
    }

    fn most(self, other: Self) -> Self {
        Self { compute: self.compute.max(other.compute), overhead: self.overhead.max(other.overhead) }
    }

    fn of(one: &MeasuredUse) -> Self {
        let expected = one.planned.compute.saturating_add(one.slack);
        let overhead = one.taken.overhead.zip(one.planned.overhead);
        Self {
            compute: one.taken.compute.saturating_sub(expected),
            overhead: overhead.map_or(0, |(taken, planned)| taken.saturating_sub(planned)),
        }
    }
}

impl Runs {
    /// Those that this machine can have seen: a log is text, and what is read there may be wrong.
    fn believed(&self, machine: &Hardware) -> Self {
        let can_be = |place: &MeasuredUse| {
            let gpu = machine.known(&place.device);
            let total = gpu.map_or(machine.ram.total, |gpu| gpu.total);
            let Amounts { context, compute, overhead, .. } = place.taken; // weights are not planned by
            total == 0 || sum([context, compute, overhead.unwrap_or(0)]) <= total
        };
        Self(self.0.iter().filter(|run| run.devices.iter().all(can_be)).cloned().collect())
    }

    /// The most that a run with like settings took of a device beyond what was planned.
    fn excess(&self, device: &str, settings: &Kept) -> Excess {
        let alike = self.0.iter().filter(|run| run.settings.is_like(settings));
        let places = alike.flat_map(|run| &run.devices).filter(|place| place.device == device);
        places.map(Excess::of).fold(Excess::default(), Excess::most)
    }

    /// The machine with less room, by what runs with like settings took beyond what was planned; None where none did.
    fn dearer(&self, machine: &Hardware, settings: &Kept) -> Option<Hardware> {
        let mut dearer = machine.clone();
        for gpu in &mut dearer.gpus {
            gpu.overhead = gpu.overhead.saturating_add(self.excess(gpu.known_as(), settings).total());
        }
        let on_host = self.excess(HOST, settings).compute;
        dearer.ram.available = dearer.ram.available.saturating_sub(on_host);
        (dearer != *machine).then_some(dearer)
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
    fn told(&self, settings: &Kept, devices: &[String]) -> Option<Measured> {
        let is_there = |run: &&Measured| {
            devices.iter().all(|device| run.devices.iter().any(|place| place.device == *device))
        };
        let mut there = self.0.iter().filter(is_there);
        let same = there.clone().find(|run| run.settings == *settings);
        let like = || there.find(|run| run.settings.is_like(settings));
        let run = same.or_else(like)?;
        Some(Measured { same_settings: run.settings == *settings, ..run.clone() })
    }
}

/// What everybody calls the device that an engine calls so.
pub fn called<'a>(machine: &'a Hardware, id: &'a str) -> &'a str {
    machine.gpu(id).map_or(id, Gpu::known_as)
}

/// A plan, and what it was told by.
#[derive(Debug, Clone)]
pub struct Informed {
    pub planned: Planned,
    /// The latest run with its settings, else one with like settings.
    pub measured: Option<Measured>,
    /// What would have been planned for its settings without any run, on each device and in main memory.
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
    let runs = &runs.believed(machine);
    let past = runs.past(machine);
    let (settings, first) = ask(shape, machine, knobs, (extras, &past), |ground, answer| {
        let settings = Kept::of(answer.found.settings(), shape.layers + 1, extras);
        let first = match runs.dearer(machine, &settings) {
            None => Ok(told(ground, answer)),
            Some(dearer) => Err(dearer),
        };
        (settings, first)
    })?;
    let mut planned = match first {
        Ok(planned) => planned,
        Err(dearer) => plan_after(shape, &dearer, knobs, extras, &past)?,
    };
    let called = |id: &str| called(machine, id).to_owned();
    let on_host = runs.excess(HOST, &settings).compute;
    let on_devices = planned.devices.iter().map(|device| runs.excess(&called(&device.id), &settings));
    let on_devices: Vec<Excess> = on_devices.collect();
    for (device, more) in planned.devices.iter_mut().zip(&on_devices) {
        device.overhead = device.overhead.saturating_sub(more.total());
    }
    planned.host.available = machine.ram.available;
    let plain = plain(&planned, shape);
    planned.host.compute = planned.host.compute.saturating_add(on_host);
    for (device, more) in planned.devices.iter_mut().zip(on_devices) {
        device.compute = device.compute.saturating_add(more.compute);
        device.overhead = device.overhead.saturating_add(more.overhead);
        if more.total() > 0 {
            account::add_more(&mut planned.terms, &device.id, more.total());
            let more = ByteSize(more.total());
            planned
                .explain
                .push(format!("{more} more on {} is planned: a run with like settings took it", device.id));
        }
    }
    let settings = Kept::of(&planned.settings, planned.layers, extras);
    let devices: Vec<String> = planned.devices.iter().map(|device| called(&device.id)).collect();
    let measured = runs.told(&settings, &devices);
    if let Some(run) = &measured {
        take(&mut planned, run, called);
    }
    Ok(Informed { planned, measured, plain })
}

fn plain(planned: &Planned, shape: &Shape) -> Vec<MeasuredUse> {
    let backends: Vec<Backend> =
        planned.devices.iter().map(|device| Backend::named(&device.backend)).collect();
    let reads = Estimate::new(shape, &backends).reads(&planned.settings);
    let place = |id: &str, planned: Amounts, slack: u64, read: u64| MeasuredUse {
        id: id.into(),
        device: id.into(),
        taken: Amounts::default(),
        planned,
        slack,
        read,
    };
    let on_device = planned.devices.iter().zip(&reads.devices).map(|(device, read)| {
        let (weights, context, compute) = (device.weights, device.context, device.compute);
        let amounts = Amounts { weights, context, compute, overhead: Some(device.overhead) };
        place(&device.id, amounts, device.slack, read.total())
    });
    let host = planned.host;
    let (weights, context, compute) = (host.weights, host.context, host.compute);
    let main = Amounts { weights, context, compute, overhead: Some(host.overhead) };
    on_device.chain([place(HOST, main, 0, reads.host.total())]).collect()
}

/// Puts what was measured into a plan, and says so.
fn take(planned: &mut Planned, run: &Measured, called: impl Fn(&str) -> String) {
    let date = run.at.strftime("%Y-%m-%d").to_string();
    let mut lines = Vec::new();
    for device in &mut planned.devices {
        let known = called(&device.id);
        let Some(place) = run.devices.iter().find(|place| place.device == known) else { continue };
        let (taken, expected) = (ByteSize(place.taken.compute), ByteSize(place.planned.compute));
        let how = if run.same_settings { "with these settings" } else { "with like settings" };
        let id = &device.id;
        lines.push(format!("measured on {date} {how}: compute on {id} {taken}, planned {expected}"));
        if !run.same_settings {
            continue;
        }
        let may = may_take(&device.id);
        planned.explain.retain(|line| !line.starts_with(&may));
        account::set(&mut planned.terms, &device.id, (place.taken.compute, place.taken.overhead), &date);
        device.compute = place.taken.compute;
        device.slack = 0;
        device.overhead = place.taken.overhead.unwrap_or(device.overhead);
        device.used = sum([device.weights, device.context, device.compute, device.overhead]);
        device.left = DeviceUse::left(device.free, device.used, device.margin);
    }
    if run.same_settings
        && let Some(place) = run.devices.iter().find(|place| place.device == HOST)
    {
        if planned.devices.is_empty() {
            let (taken, expected) = (ByteSize(place.taken.compute), ByteSize(place.planned.compute));
            lines
                .push(format!("measured on {date} with these settings: compute {taken}, planned {expected}"));
        }
        account::set(&mut planned.terms, HOST, (place.taken.compute, None), &date);
        planned.host.compute = place.taken.compute;
    }
    planned.explain.extend(lines);
}
