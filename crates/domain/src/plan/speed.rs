//! How fast answers will come, as a range: what one token reads, over the speed of the memory that it lies in. Where that
//! is not known, no range is given.

use super::{ground::Site, room::Place};
use crate::{
    ByteSize,
    memory::{Read, Settings},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tokens a second for one user, at half of the context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    pub low: f64,
    pub high: f64,
    /// What it is reckoned from, in words.
    pub basis: String,
}

/// A launch that has told how fast it was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PastRun {
    /// Bytes that a token read, by the device's id; main memory apart.
    pub devices: BTreeMap<String, u64>,
    pub host: u64,
    pub tokens_per_second: f64,
}

/// Of the memory's own speed, what reading weights reaches at the least and at the most. Measured: an 8B model in Q6_K on an
/// RTX 4090 93 tokens/s, 0.61; a 7B model in F16 on it 54.7, 0.73 (llama.cpp's pull request 3776); Q4_0 on an RTX A6000
/// 102.8, 0.51.
const EFFICIENCY: (f64, f64) = (0.5, 0.8);

/// Seconds for every layer besides, at the most and at the least: small kernels are launched one after another. A
/// judgement, which shows only where little is read.
const LAYER: (f64, f64) = (60e-6, 20e-6);

/// How far a run may be off another that was measured.
const MEASURED: (f64, f64) = (0.85, 1.1);

/// A run tells how fast one memory is where nearly all that it read lay there.
const ALONE: f64 = 0.9;

/// Bytes a second in one place, at the least and at the most.
struct Pool {
    low: f64,
    high: f64,
    said: String,
    /// A run told it: what layers cost is in it.
    is_measured: bool,
}

/// The speed of what was found, or why it is not known.
pub(super) fn of(
    site: &Site<'_>,
    settings: &Settings,
    layers: u64,
    past: &[PastRun],
) -> Result<Speed, String> {
    let reads = site.estimate.reads(settings);
    let mut seconds = (0.0, 0.0);
    let mut basis = Vec::new();
    let mut pools = Vec::new();
    let devices = site.room.places.iter().zip(&reads.devices);
    for (place, read) in devices.filter(|(_, read)| read.total() > 0) {
        pools.push((*read, on_device(place, past)?));
    }
    if reads.host.total() > 0 {
        pools.push((reads.host, in_main_memory(past)?));
    }
    for (read, pool) in &pools {
        add(&mut seconds, &mut basis, *read, pool);
    }
    if pools.iter().any(|(_, pool)| !pool.is_measured) {
        seconds.0 += number(layers) * LAYER.0;
        seconds.1 += number(layers) * LAYER.1;
        basis.push(format!("{layers} layers at 20–60 µs"));
    }
    let rounded = |seconds: f64| (10.0 / seconds).round() / 10.0;
    match pools.is_empty() || !seconds.0.is_normal() || !seconds.1.is_normal() {
        true => Err("the speed is not known: it is not known what a token reads".to_owned()),
        false => Ok(Speed { low: rounded(seconds.0), high: rounded(seconds.1), basis: basis.join("; ") }),
    }
}

fn add(seconds: &mut (f64, f64), basis: &mut Vec<String>, read: Read, pool: &Pool) {
    let bytes = number(read.total());
    seconds.0 += bytes / pool.low;
    seconds.1 += bytes / pool.high;
    let cache = match read.context {
        0 => String::new(),
        bytes => format!(" and KV {}", ByteSize(bytes)),
    };
    basis.push(format!("weights {}{cache} a token {}", ByteSize(read.weights), pool.said));
}

fn on_device(place: &Place<'_>, past: &[PastRun]) -> Result<Pool, String> {
    let own = |run: &PastRun| run.devices.get(&place.gpu.id).copied().unwrap_or(0);
    if let Some(pool) = measured(past, own) {
        return Ok(Pool { said: format!("on {}, {}", place.gpu.id, pool.said), ..pool });
    }
    let Some(speed) = place.bandwidth else {
        let name = if place.gpu.name.is_empty() { "a card without a name" } else { &place.gpu.name };
        return Err(format!("the speed is not known: how fast the memory of {} ({name}) is", place.gpu.id));
    };
    let (least, most) = EFFICIENCY;
    let gigabytes = speed / 1_000_000_000;
    Ok(Pool {
        low: number(speed) * least,
        high: number(speed) * most,
        said: format!("at {gigabytes} GB/s, efficiency {least}–{most}"),
        is_measured: false,
    })
}

fn in_main_memory(past: &[PastRun]) -> Result<Pool, String> {
    let unknown =
        || "the speed is not known: how fast main memory is, where a part of the model lies".to_owned();
    let pool = measured(past, |run| run.host).ok_or_else(unknown)?;
    Ok(Pool { said: format!("in main memory, {}", pool.said), ..pool })
}

/// The latest run that tells how fast one memory is.
fn measured(past: &[PastRun], own: impl Fn(&PastRun) -> u64) -> Option<Pool> {
    let speed = |run: &PastRun| {
        let all = run.devices.values().fold(run.host, |sum, bytes| sum.saturating_add(*bytes));
        let is_alone = number(own(run)) >= number(all) * ALONE && own(run) > 0;
        let speed = number(own(run)) * run.tokens_per_second;
        (is_alone && speed.is_normal() && speed > 0.0).then_some(speed)
    };
    let speed = past.iter().rev().find_map(speed)?;
    let places = if speed < 1e10 { 1 } else { 0 };
    let said = format!("{:.places$} GB/s as measured here", speed / 1e9);
    Some(Pool { low: speed * MEASURED.0, high: speed * MEASURED.1, said, is_measured: true })
}

/// Bytes are rounded where no one sees it.
fn number(of: u64) -> f64 {
    let (high, low) = (of >> 32, of & u64::from(u32::MAX));
    let part = |of: u64| u32::try_from(of).map_or(0.0, f64::from);
    part(high) * 4_294_967_296.0 + part(low)
}
