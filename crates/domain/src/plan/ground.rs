//! One question to the planner, and its answer over all devices: which of them are used.

use super::{
    CHECKPOINTS, Extras, Goal, Knobs, Limit, PastRun, Planned, Refusal,
    devices::{self, Choice, Left},
    knobs::Fixed,
    place::{Counted, Seen},
    room::{Excess, MARGIN, Place, Room},
    search::{Found, Task},
    speed::{self, Speed},
};
use crate::{
    hardware::{Gpu, Hardware},
    memory::{Backend, Estimate, Settings, Shape, sum},
};
use std::collections::BTreeMap;

/// A figure that moved with every megabyte would make no two plans alike.
const CACHE_STEP: u64 = 256 << 20;

/// `--cache-ram` of llama.cpp, bytes.
const CACHE_RAM: u64 = 8192 << 20;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) shape: &'a Shape,
    pub(super) machine: &'a Hardware,
    pub(super) knobs: &'a Knobs,
    pub(super) fixed: &'a Fixed,
    pub(super) known: Known<'a>,
}

/// What is known besides the model, the machine and what the user wishes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) extras: Extras,
    /// How fast runs were, the latest last.
    pub(super) past: &'a [PastRun],
    /// What runs with like settings took beyond what is reckoned, by the device's id and in main memory.
    pub(super) excess: &'a BTreeMap<String, Excess>,
}

impl Known<'_> {
    /// Nothing ran yet.
    pub(super) fn of(extras: Extras) -> Self {
        static NO_EXCESS: BTreeMap<String, Excess> = BTreeMap::new();
        Self { extras, past: &[], excess: &NO_EXCESS }
    }
}

/// Some devices, and what is known of them.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) estimate: Estimate<'a>,
    pub(super) room: Room<'a>,
    seen: Seen,
}

/// What was found, where, and which devices were left out for it.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) site: Site<'a>,
    pub(super) found: Found,
    pub(super) left: Vec<(&'a Gpu, Left)>,
}

/// Asks what is found for these knobs, and has something made of it. Refuses knobs and machines that make no sense.
pub(super) fn ask<T>(
    shape: &Shape,
    machine: &Hardware,
    knobs: &Knobs,
    known: Known<'_>,
    then: impl FnOnce(&Ground<'_>, &Answer<'_>) -> T,
) -> Result<T, Refusal> {
    let fixed = knobs.read(shape)?;
    devices::check(machine)?;
    let ground = Ground { shape, machine, knobs, fixed: &fixed, known };
    let answer = ground.search()?;
    Ok(then(&ground, &answer))
}

impl<'a> Ground<'a> {
    pub(super) fn search(&self) -> Result<Answer<'a>, Refusal> {
        let named = devices::named(self.machine, self.knobs)?;
        let is_named = named.is_some();
        let choice = match named {
            Some(set) => Choice { sets: vec![set], left: Vec::new() },
            None => devices::choose(self.machine, self.knobs.margin.unwrap_or(MARGIN)),
        };
        let Choice { mut sets, mut left } = choice;
        let rest = sets.split_off(sets.len().min(1));
        let first = sets.pop().unwrap_or_default();
        if first.is_empty() && self.fixed.gpu_layers.is_some_and(|layers| layers > 0) {
            let why = "--gpu-layers puts layers on a device, and there is none".to_owned();
            let hint = Some("leave it out; what engines see here: modelctl hardware".to_owned());
            return Err(Refusal { why, hint });
        }
        let mut best = self.answer(&first);
        for set in rest {
            if best.task(self).is_enough(&best.found) {
                break;
            }
            let other = self.answer(&set);
            if self.is_better(&other, &best) {
                best = other;
            }
        }
        if !is_named {
            best = self.with_fewer(best);
            left.extend(self.unused(&best, &left));
        }
        best.left = left;
        Ok(best)
    }

    /// The faster of two, where both are known to be and one is by a tenth, and the goal is no context; else by what is
    /// on devices.
    fn is_better(&self, one: &Answer<'_>, other: &Answer<'_>) -> bool {
        let (task, found) = (other.task(self), (&one.found, &other.found));
        let is_usable = |found: &Found| found.fits() && found.settings().ctx >= task.usable(found.settings());
        let is_even = task.goal() == Goal::Fastest || is_usable(found.0) == is_usable(found.1);
        if task.goal() != Goal::MaxCtx && found.0.fits() && found.1.fits() && is_even {
            let seconds = |answer: &Answer<'_>| answer.seconds(self);
            if let Some((one, other)) = seconds(one)
                .zip(seconds(other))
                .filter(|(one, other)| one.max(*other) > 1.1 * one.min(*other))
            {
                return one < other;
            }
        }
        task.worth(found.0) > task.worth(found.1)
    }

    /// What is found for the same question with other knobs; None where they contradict themselves.
    pub(super) fn found_with(&self, knobs: &Knobs) -> Option<Found> {
        let fixed = knobs.read(self.shape).ok()?;
        Some(Ground { knobs, fixed: &fixed, ..*self }.search().ok()?.found)
    }

    fn site(&self, devices: &[&'a Gpu]) -> Site<'a> {
        let backend = |gpu: &&Gpu| Backend::named(&gpu.backend).of_build(self.known.extras.build.is_other);
        let backends: Vec<Backend> = devices.iter().map(backend).collect();
        let estimate = Estimate::new(self.shape, &backends);
        let room = Room::of(devices, self.machine, self.knobs, self.known);
        Site { estimate, room, seen: Seen::default() }
    }

    fn answer(&self, devices: &[&'a Gpu]) -> Answer<'a> {
        let site = self.site(devices);
        let found = site.task(self).best();
        Answer { site, found, left: Vec::new() }
    }

    /// The same settings on as few devices as hold them, where nothing more could be had with all.
    fn with_fewer(&self, answer: Answer<'a>) -> Answer<'a> {
        let idle = answer.found.counted.settings.tensor_split.layers();
        let works = |at: usize| idle.is_empty() || idle.get(at).is_some_and(|layers| *layers > 0);
        let places = answer.site.room.places.iter();
        let working = places.clone().enumerate().filter(|(at, _)| works(*at)).map(|(_, place)| place);
        let mut by_room: Vec<&Place<'_>> = working.collect();
        let has_all = matches!(answer.found.limit, Limit::Training | Limit::Request);
        let is_whole = answer.found.fits() && answer.task(self).is_whole(&answer.found);
        let least = if has_all && is_whole { 1 } else { by_room.len() };
        by_room.sort_by_key(|place| std::cmp::Reverse(place.gpu.free));
        let mut by_speed = by_room.clone();
        by_speed.sort_by_key(|place| std::cmp::Reverse(place.bandwidth));
        let charges = answer.found.counted.breakdown.devices.iter();
        let needed = sum(charges.map(|charge| charge.weights.saturating_add(charge.context)));
        for count in least..places.len() {
            for order in [&by_speed, &by_room] {
                let kept: Vec<&str> = order.iter().take(count).map(|place| place.gpu.id.as_str()).collect();
                let fewer = self.on_fewer(&answer, &kept, needed);
                if let Some(fewer) = fewer.filter(|fewer| !self.is_slower(fewer, &answer)) {
                    return fewer;
                }
            }
        }
        answer
    }

    /// The same settings on the devices that are kept, where they hold them as well.
    fn on_fewer(&self, answer: &Answer<'a>, kept: &[&str], needed: u64) -> Option<Answer<'a>> {
        let places = answer.site.room.places.iter().filter(|place| kept.contains(&place.gpu.id.as_str()));
        if needed > sum(places.clone().map(Place::room)) {
            return None;
        }
        let site = self.site(&places.map(|place| place.gpu).collect::<Vec<_>>());
        let task = site.task(self);
        let counted = task.count(&answer.found.counted.settings, None);
        if counted.fits() != answer.found.fits() || counted.missing.0 > answer.found.counted.missing.0 {
            return None;
        }
        let found = task.found(counted, answer.found.limit);
        Some(Answer { site, found, left: Vec::new() })
    }

    /// By a tenth, where both are known; where context is all that counts, speed is not asked.
    fn is_slower(&self, one: &Answer<'_>, other: &Answer<'_>) -> bool {
        let seconds = one.seconds(self).zip(other.seconds(self));
        other.task(self).goal() != Goal::MaxCtx && seconds.is_some_and(|(one, other)| one > 1.1 * other)
    }

    /// Devices that could have been used.
    fn unused(&self, answer: &Answer<'a>, left: &[(&'a Gpu, Left)]) -> Vec<(&'a Gpu, Left)> {
        let used = answer.site.room.places.iter().map(|place| place.gpu);
        let known: Vec<&str> = used.chain(left.iter().map(|(gpu, _)| *gpu)).map(|gpu| &*gpu.id).collect();
        let slowest = answer.site.room.places.iter().map(|place| place.bandwidth).min().flatten();
        let has_all = matches!(answer.found.limit, Limit::Training | Limit::Request);
        let why = |gpu: &Gpu| {
            let own = super::bandwidth::of(gpu);
            match super::bandwidth::differ(slowest, own) && own < slowest {
                true if has_all => Left::SlowerUnneeded,
                true => Left::Slower,
                false => Left::Unneeded,
            }
        };
        let others = self.machine.gpus.iter().filter(|gpu| gpu.total > 0 && !known.contains(&&*gpu.id));
        others.map(|gpu| (gpu, why(gpu))).collect()
    }
}

impl Site<'_> {
    pub(super) fn task<'b>(&'b self, ground: &'b Ground<'_>) -> Task<'b> {
        Task {
            shape: ground.shape,
            estimate: &self.estimate,
            room: &self.room,
            seen: &self.seen,
            knobs: ground.knobs,
            fixed: ground.fixed,
            extras: ground.known.extras,
        }
    }
}

impl<'a> Answer<'a> {
    /// Those that are used, in the order in which the engine is told of them.
    pub(super) fn devices(&self) -> impl Iterator<Item = &'a Gpu> {
        self.site.room.places.iter().map(|place| place.gpu)
    }

    pub(super) fn task<'b>(&'b self, ground: &'b Ground<'_>) -> Task<'b> {
        self.site.task(ground)
    }

    /// Of one token, where it is known.
    fn seconds(&self, ground: &Ground<'_>) -> Option<f64> {
        let speed =
            speed::of(&self.site, self.found.settings(), ground.shape.layers, ground.known.past).ok()?;
        Some(2.0 / (speed.low + speed.high)).filter(|seconds| seconds.is_normal())
    }

    /// Or why it is not known.
    pub(super) fn speed(&self, ground: &Ground<'_>) -> Result<Speed, String> {
        match ground.known.extras.embeds {
            true => Err("no speed is given: this model does not answer token by token".to_owned()),
            false => speed::of(&self.site, self.found.settings(), ground.shape.layers, ground.known.past),
        }
    }

    pub(super) fn planned(&self, ground: &Ground<'_>) -> Planned {
        let Found { counted, limit } = &self.found;
        let Counted { settings, breakdown, .. } = counted;
        let room = &self.site.room;
        let mut host = room.host_use(breakdown);
        let spare = room.ram.available.saturating_sub(room.taken(breakdown));
        let checkpoint = self.site.estimate.checkpoint(settings);
        let slots = settings.parallel.max(1);
        let checkpoints = (checkpoint > 0)
            .then(|| (spare / 2).checked_div(checkpoint.saturating_mul(slots)).unwrap_or(0).min(CHECKPOINTS));
        host.checkpoints = checkpoints.unwrap_or(0).saturating_mul(slots).saturating_mul(checkpoint);
        let spare = spare.saturating_sub(host.checkpoints);
        host.cache_ram = (spare / 2 / CACHE_STEP).saturating_mul(CACHE_STEP).min(CACHE_RAM);
        let layers = self.layers(settings);
        let uses = room.places.iter().zip(&breakdown.devices).zip(layers);
        Planned {
            goal: self.task(ground).goal(),
            settings: *settings,
            fits: self.found.fits(),
            limited_by: *limit,
            layers: ground.shape.layers + 1,
            devices: uses.map(|((place, charge), layers)| place.device_use(charge, layers)).collect(),
            tensor_split: self.split(ground),
            avoids_devices: room.places.is_empty() && !ground.machine.gpus.is_empty(),
            host,
            ctx_checkpoints: checkpoints,
            speed: self.speed(ground).ok(),
            terms: Vec::new(),
            explain: Vec::new(),
            alternatives: Vec::new(),
        }
    }

    /// Layers of each device.
    fn layers(&self, settings: &Settings) -> Vec<u64> {
        let count = self.site.room.places.len();
        let mut layers = settings.tensor_split.layers();
        if layers.is_empty() {
            layers.push(settings.gpu_layers);
        }
        layers.resize(count, 0);
        layers
    }

    fn split(&self, ground: &Ground<'_>) -> Vec<f64> {
        if self.site.room.places.len() < 2 {
            return Vec::new();
        }
        let counts = || {
            let layers = self.layers(&self.found.counted.settings);
            layers.into_iter().map(|layers| u32::try_from(layers).map_or(f64::MAX, f64::from)).collect()
        };
        ground.knobs.tensor_split.clone().unwrap_or_else(counts)
    }
}
