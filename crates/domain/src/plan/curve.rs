//! Memory against context: what the planned placement would take with other contexts and types of cache.

use super::{
    Extras, Knobs, Refusal, Runs,
    ground::{Answer, Ground},
    learned::ask_after,
    search::STEP,
};
use crate::{
    hardware::Hardware,
    memory::{CacheType, Settings, Shape, sum},
};
use serde::{Deserialize, Serialize};

/// Bytes on the devices of a plan, or of main memory where it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Curve {
    /// What may be taken.
    pub limit: u64,
    /// The context of the plan, tokens.
    pub ctx: u64,
    pub series: Vec<Series>,
}

/// One type of cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    pub cache_type: CacheType,
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Tokens.
    pub ctx: u64,
    pub bytes: u64,
}

/// More would not show on a terminal.
const POINTS: u64 = 32;

const TYPES: [CacheType; 3] = [CacheType::F16, CacheType::Q8_0, CacheType::Q4_0];

/// Draws the plan of the same question.
pub fn curve(
    shape: &Shape,
    machine: &Hardware,
    knobs: &Knobs,
    extras: Extras,
    runs: &Runs,
) -> Result<Curve, Refusal> {
    ask_after((shape, machine, knobs, extras), &runs.believed(machine), drawn)
}

fn drawn(ground: &Ground<'_>, answer: &Answer<'_>) -> Curve {
    let task = answer.task(ground);
    let room = &answer.site.room;
    let planned = *answer.found.settings();
    let most = task.most(&planned).max(planned.ctx);
    let contexts: Vec<u64> = (1..=POINTS).map(|at| (most / POINTS * at / STEP * STEP).max(STEP)).collect();
    let bytes = |settings: &Settings| {
        let counted = task.count(settings, None);
        let devices = room.places.iter().zip(&counted.breakdown.devices);
        match room.places.is_empty() {
            true => room.taken(&counted.breakdown),
            false => sum(devices.map(|(place, charge)| place.taken(charge))),
        }
    };
    let series = |kind: &CacheType| {
        let at = |ctx: &u64| {
            let cache = Settings { ctx: *ctx, cache_type_k: *kind, cache_type_v: *kind, ..planned };
            Point { ctx: *ctx, bytes: bytes(&cache) }
        };
        Series { cache_type: *kind, points: contexts.iter().map(at).collect() }
    };
    let is_own =
        |kind: &CacheType| *kind == planned.cache_type_k && planned.cache_type_k == planned.cache_type_v;
    let legal = TYPES.iter().filter(|kind| is_own(kind) || task.has_cache(**kind));
    let limit = match room.places.is_empty() {
        true => room.ram.available,
        false => sum(room.places.iter().map(|place| place.gpu.free.saturating_sub(place.margin))),
    };
    Curve { limit, ctx: planned.ctx, series: legal.map(series).collect() }
}
