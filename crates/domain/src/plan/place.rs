//! Which layers go to which device, and how far a knob can be turned until something no longer fits. Knows no goals.

use super::search::Task;
use crate::memory::{Breakdown, Settings, TensorSplit};

/// Settings, and what they take.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    pub(super) settings: Settings,
    pub(super) breakdown: Breakdown,
    /// Bytes on all devices, and of main memory.
    pub(super) missing: (u64, u64),
}

impl Counted {
    pub(super) fn fits(&self) -> bool {
        self.missing == (0, 0)
    }
}

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
    fn of(breakdown: &Breakdown) -> Self {
        let device = |charge: &crate::memory::Charge| charge.compute.saturating_add(charge.slack);
        Self { devices: breakdown.devices.iter().map(device).collect(), host: breakdown.host.compute }
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
        if let Some(parts) = &self.fixed.parts {
            let tensor_split = TensorSplit::of_parts(parts, settings.gpu_layers);
            return self.counted(Settings { tensor_split, ..*settings });
        }
        if self.room.places.len() < 2 || settings.gpu_layers == 0 {
            return self.counted(Settings { tensor_split: TensorSplit::default(), ..*settings });
        }
        let none = || Buffers { devices: vec![0; self.room.places.len()], host: 0 };
        let mut buffers = near.map_or_else(none, |near| Buffers::of(&near.breakdown));
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
            buffers = Buffers::of(&counted.breakdown);
            if best.as_ref().is_none_or(|best| counted.missing.0 < best.missing.0) {
                best = Some(counted);
            }
        }
        best.unwrap_or_else(|| self.counted(*settings))
    }

    fn counted(&self, settings: Settings) -> Counted {
        let breakdown = self.estimate.breakdown(&settings);
        let missing = self.room.missing(&breakdown);
        Counted { settings, breakdown, missing }
    }

    /// Each device in turn gets as many layers as it holds; the last one gets the rest. So much stays free on each besides.
    fn divided(&self, settings: &Settings, buffers: &Buffers, spare: u64) -> TensorSplit {
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
        let buffers = Buffers::of(&counted.breakdown);
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
        if self.room.places.len() > 1 && self.fixed.parts.is_none() && settings.gpu_layers > 0 {
            settings.tensor_split = self.divided(&settings, buffers, spare);
        }
        let mut breakdown = self.estimate.kept(&settings);
        for (charge, buffer) in breakdown.devices.iter_mut().zip(&buffers.devices) {
            charge.compute = buffer.saturating_add(spare);
        }
        breakdown.host.compute = buffers.host;
        bound.is_kept(self.room.missing(&breakdown))
    }

    /// The last number from `low` to `high` whose settings keep the bound, of which more only take more. What lies between
    /// two that were counted is guessed, so that few are.
    pub(super) fn last(
        &self,
        (low, high): (u64, u64),
        bound: Bound,
        of: impl Fn(u64) -> Settings,
    ) -> Option<Counted> {
        let is_kept = |counted: &Counted| bound.is_kept(counted.missing);
        let top = self.count(&of(high), None);
        if is_kept(&top) {
            return Some(top);
        }
        if low >= high {
            return None;
        }
        let bottom = self.count(&of(low), Some(&top));
        if !is_kept(&bottom) {
            return None;
        }
        let (mut low, mut high, mut round) = ((low, bottom), (high, top), 0_u32);
        while high.0 - low.0 > 1 {
            round += 1;
            let at = if round.is_multiple_of(4) {
                low.0 + (high.0 - low.0) / 2
            } else {
                self.guess(((low.0, &low.1), (high.0, &high.1)), bound, &of)
            };
            let seen = self.count(&of(at), Some(&low.1));
            if is_kept(&seen) {
                low = (at, seen);
            } else {
                high = (at, seen);
            }
        }
        Some(low.1)
    }

    /// Where between one that is kept and one that is not the last one that is may be.
    fn guess(
        &self,
        (low, high): ((u64, &Counted), (u64, &Counted)),
        bound: Bound,
        of: impl Fn(u64) -> Settings,
    ) -> u64 {
        let (below, above) = (Buffers::of(&low.1.breakdown), Buffers::of(&high.1.breakdown));
        let holds = |more: u64| {
            let at = low.0 + more;
            let buffers = Buffers::between((low.0, &below), (high.0, &above), at);
            more == 0 || self.seems_kept(&of(at), &buffers, (bound, 0))
        };
        let span = high.0 - low.0;
        low.0 + last_that(span - 1, holds).max(1)
    }
}

/// The last number up to `most` for which a condition holds that, once false, stays false; it holds for 0.
pub(super) fn last_that(most: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = high - (high - low) / 2;
        if holds(middle) { low = middle } else { high = middle - 1 }
    }
    low
}
