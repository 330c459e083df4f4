//! Which layers go to which device, and how far a knob can be turned until something no longer fits. Knows no goals.

use super::{
    room::{Place, Room},
    search::Task,
};
use crate::memory::{Breakdown, Settings, TensorSplit, sum};
use std::cell::RefCell;

/// Settings, and what they take.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    pub(super) settings: Settings,
    pub(super) breakdown: Breakdown,
    /// Bytes on all devices, and of main memory.
    pub(super) missing: (u64, u64),
    /// What would be missing one step further, where that was counted.
    pub(super) beyond: Option<(u64, u64)>,
}

impl Counted {
    pub(super) fn fits(&self) -> bool {
        self.missing == (0, 0)
    }
}

/// What was counted last: a search comes back to it.
pub(super) type Seen = RefCell<Vec<Counted>>;

/// More than one search counts.
const KEPT: usize = 32;

/// What must not be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Devices,
    All,
}

impl Bound {
    fn is_kept(self, missing: (u64, u64)) -> bool {
        missing.0 == 0 && (self == Self::Devices || missing.1 == 0)
    }
}

/// Compute buffers with their slack, bytes: of each device, of main memory.
#[derive(Debug, Clone)]
struct Buffers {
    devices: Vec<u64>,
    host: u64,
}

impl Buffers {
    fn of(breakdown: &Breakdown, room: &Room<'_>) -> Self {
        let devices = room.places.iter().zip(&breakdown.devices);
        let devices = devices.map(|(place, charge)| place.buffers(charge)).collect();
        Self { devices, host: breakdown.host.compute }
    }

    /// On the line through what was counted at two numbers.
    fn between(low: (u64, &Self), high: (u64, &Self), at: u64) -> Self {
        let ((low_at, low), (high_at, high)) = (low, high);
        let span = i128::from(high_at.saturating_sub(low_at).max(1));
        let on_line = |from: u64, to: u64| {
            let grown = (i128::from(to) - i128::from(from)) * i128::from(at.saturating_sub(low_at)) / span;
            u64::try_from(i128::from(from) + grown).unwrap_or(0)
        };
        Self {
            devices: low.devices.iter().zip(&high.devices).map(|(from, to)| on_line(*from, *to)).collect(),
            host: on_line(low.host, high.host),
        }
    }
}

/// Compute buffers depend on the split, and the split on them: after so many rounds the best is taken.
const ROUNDS: usize = 4;

impl Task<'_> {
    /// Counts settings whose layers are divided among the devices first.
    pub(super) fn count(&self, settings: &Settings, near: Option<&Counted>) -> Counted {
        let none = || Buffers { devices: vec![0; self.room.places.len()], host: 0 };
        let mut buffers = near.map_or_else(none, |near| Buffers::of(&near.breakdown, self.room));
        let mut best: Option<Counted> = None;
        for _ in 0..ROUNDS {
            let tensor_split = self.divided(settings, &buffers, 0);
            if best.as_ref().is_some_and(|best| best.settings.tensor_split == tensor_split) {
                break;
            }
            let counted = self.counted(Settings { tensor_split, ..*settings });
            if counted.missing.0 == 0 {
                return counted;
            }
            buffers = Buffers::of(&counted.breakdown, self.room);
            let is_hopeless = self.is_too_much(&counted.breakdown);
            if best.as_ref().is_none_or(|best| counted.missing.0 < best.missing.0) {
                best = Some(counted);
            }
            if is_hopeless {
                break;
            }
        }
        best.unwrap_or_else(|| self.counted(*settings))
    }

    fn counted(&self, settings: Settings) -> Counted {
        let is_same = |counted: &&Counted| counted.settings == settings;
        if let Some(counted) = self.seen.borrow().iter().rev().find(is_same) {
            return counted.clone();
        }
        let breakdown = self.estimate.breakdown(&settings);
        let missing = self.room.missing(&breakdown);
        let counted = Counted { settings, breakdown, missing, beyond: None };
        let mut seen = self.seen.borrow_mut();
        if seen.len() >= KEPT {
            seen.remove(0);
        }
        seen.push(counted.clone());
        counted
    }

    /// Whether no split would fit.
    fn is_too_much(&self, breakdown: &Breakdown) -> bool {
        let places = self.room.places.iter().zip(&breakdown.devices);
        let taken =
            places.map(|(place, charge)| sum([charge.weights, charge.context, place.buffers(charge)]));
        sum(taken) > sum(self.room.places.iter().map(Place::room))
    }

    /// As the user says, else each device in turn gets as many layers as it holds; the last one gets the rest. So much stays
    /// free on each besides.
    fn divided(&self, settings: &Settings, buffers: &Buffers, spare: u64) -> TensorSplit {
        if let Some(parts) = &self.fixed.parts {
            return TensorSplit::of_parts(parts, settings.gpu_layers);
        }
        if self.room.places.len() < 2 || settings.gpu_layers == 0 {
            return TensorSplit::default();
        }
        let end = self.shape.layers + 1;
        let mut start = end.saturating_sub(settings.gpu_layers);
        let last = self.room.places.len().saturating_sub(1);
        let mut counts = Vec::with_capacity(self.room.places.len());
        for (device, (place, buffer)) in self.room.places.iter().zip(&buffers.devices).enumerate() {
            let room = place.room().saturating_sub(*buffer).saturating_sub(spare);
            let holds =
                |layers: u64| self.estimate.kept_by(device, &(start..start + layers), settings) <= room;
            let most = end - start;
            let layers = if device == last { most } else { last_that(most, holds) };
            counts.push(layers);
            start += layers;
        }
        TensorSplit::of_layers(counts)
    }

    /// The same settings with what is free left over evenly, where no device is faster than another.
    pub(super) fn evened(&self, counted: Counted) -> Counted {
        let is_free = self.fixed.parts.is_none() && !self.room.is_uneven();
        if self.room.places.len() < 2 || !is_free || counted.settings.gpu_layers == 0 || counted.missing.0 > 0
        {
            return counted;
        }
        let buffers = Buffers::of(&counted.breakdown, self.room);
        let settings = counted.settings;
        let holds = |mib: u64| self.seems_kept(&settings, &buffers, (Bound::Devices, mib << 20));
        let most = self.room.places.iter().map(|place| place.room() >> 20).max().unwrap_or(0);
        let spare = last_that(most, holds) << 20;
        let even =
            self.counted(Settings { tensor_split: self.divided(&settings, &buffers, spare), ..settings });
        if even.fits() || !counted.fits() && even.missing.0 == 0 { even } else { counted }
    }

    /// Whether it would fit if compute buffers were these.
    fn seems_kept(&self, settings: &Settings, buffers: &Buffers, (bound, spare): (Bound, u64)) -> bool {
        let mut settings = *settings;
        settings.tensor_split = self.divided(&settings, buffers, spare);
        let mut breakdown = self.estimate.kept(&settings);
        for (charge, buffer) in breakdown.devices.iter_mut().zip(&buffers.devices) {
            charge.compute = buffer.saturating_add(spare);
        }
        breakdown.host.compute = buffers.host;
        bound.is_kept(self.room.missing(&breakdown))
    }

    /// The last number from `low` to `high` whose settings keep the bound, of which more only take more. What lies between
    /// is guessed from what was counted last, so that little is.
    pub(super) fn last(
        &self,
        (low, high): (u64, u64),
        bound: Bound,
        of: impl Fn(u64) -> Settings,
    ) -> Option<Counted> {
        let none = Buffers { devices: vec![0; self.room.places.len()], host: 0 };
        let may_be = |at: u64| self.seems_kept(&of(at), &none, (bound, 0));
        if !may_be(low) {
            return None;
        }
        let high = if may_be(high) { high } else { low + last_that(high - low, |more| may_be(low + more)) };
        let top = self.count(&of(high), None);
        if bound.is_kept(top.missing) {
            return Some(top);
        }
        let (mut above, mut below, mut round) = ((high, top), None::<(u64, Counted)>, 0_u32);
        loop {
            let first = below.as_ref().map_or(low, |(at, _)| at + 1);
            if first >= above.0 {
                return below.map(|(_, counted)| Counted { beyond: Some(above.1.missing), ..counted });
            }
            round += 1;
            let at = match &below {
                None if round > GUESSES => low,
                Some((at, _)) if round.is_multiple_of(GUESSES + 1) => at + (above.0 - at) / 2,
                _ => self.guess(low, (below.as_ref(), &above), bound, &of).clamp(first, above.0 - 1),
            };
            let seen = self.count(&of(at), Some(below.as_ref().map_or(&above.1, |(_, counted)| counted)));
            if bound.is_kept(seen.missing) {
                below = Some((at, seen));
            } else {
                above = (at, seen);
            }
        }
    }

    /// Where the last one that is kept may be, from what was counted on both sides of it, or above it alone.
    fn guess(
        &self,
        low: u64,
        (below, above): (Option<&(u64, Counted)>, &(u64, Counted)),
        bound: Bound,
        of: impl Fn(u64) -> Settings,
    ) -> u64 {
        let over = Buffers::of(&above.1.breakdown, self.room);
        let under = below.map(|(at, counted)| (*at, Buffers::of(&counted.breakdown, self.room)));
        let low = below.map_or(low, |(at, _)| *at);
        let holds = |more: u64| match &under {
            Some((at, under)) => {
                let buffers = Buffers::between((*at, under), (above.0, &over), low + more);
                self.seems_kept(&of(low + more), &buffers, (bound, 0))
            }
            None => self.seems_kept(&of(low + more), &over, (bound, 0)),
        };
        low + last_that(above.0 - low - 1, holds)
    }
}

/// So many guesses in a row are taken for good; then the least, or the middle, is counted.
const GUESSES: u32 = 3;

/// The last number up to `most` for which a condition holds that, once false, stays false; it holds for 0.
pub(super) fn last_that(most: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = high - (high - low) / 2;
        if holds(middle) { low = middle } else { high = middle - 1 }
    }
    low
}
