//! What else could be had, and its price: searches with one knob turned.

use super::{
    Goal, Knobs, Limit, Planned, QUANTIZED, bandwidth,
    devices::NONE,
    ground::{Answer, Ground},
    knobs::Fixed,
    search::{Found, USABLE},
};
use crate::{
    ByteSize,
    memory::{CacheType, Settings},
};

pub(super) fn all(planned: &Planned, ground: &Ground<'_>, answer: &Answer<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if !planned.fits {
        lines.extend(by_processor(planned, ground));
    }
    let is_short = ground.knobs.ctx.is_none() && planned.limited_by != Limit::Training;
    if is_short {
        lines.extend(quantized(planned, ground, answer));
    }
    if planned.fits {
        if is_short {
            lines.extend(longer(planned, ground, answer));
        }
        lines.extend(goals(planned, ground));
        lines.extend(one_less(planned, ground));
    } else {
        lines.extend(smaller(planned, ground, answer));
    }
    lines
}

/// What is found with other knobs, where it fits and is something else.
fn other(planned: &Planned, ground: &Ground<'_>, knobs: &Knobs) -> Option<Found> {
    let found = ground.found_with(knobs)?;
    (found.fits() && *found.settings() != planned.settings).then_some(found)
}

/// Types of cache that keep more in the same memory, each with what it gives. The smallest costs answers some quality.
fn quantized(planned: &Planned, ground: &Ground<'_>, answer: &Answer<'_>) -> Vec<String> {
    let task = answer.task(ground);
    let mut lines = Vec::new();
    if ground.knobs.allow_kv_quant != Some(true) && task.can_cache(QUANTIZED) {
        let knobs = Knobs { allow_kv_quant: Some(true), ..ground.knobs.clone() };
        let other = other(planned, ground, &knobs).filter(|other| other.settings().cache_type_k == QUANTIZED);
        lines.extend(other.map(|other| with_cache("--allow-kv-quant", planned, &other)));
    }
    let is_long = planned.settings.cache_type_k == QUANTIZED || ground.knobs.goal == Some(Goal::MaxCtx);
    if is_long && task.can_cache(CacheType::Q4_0) {
        let kind = Some(CacheType::Q4_0.name().to_owned());
        let knobs = Knobs { cache_type_k: kind.clone(), cache_type_v: kind, ..ground.knobs.clone() };
        let found = ground.found_with(&knobs);
        let is_more = |other: &Found| other.fits() && other.settings().ctx > planned.settings.ctx;
        let flags = "--cache-type-k q4_0 --cache-type-v q4_0";
        lines.extend(found.filter(is_more).map(|other| with_cache(flags, planned, &other)));
    }
    lines
}

fn with_cache(flags: &str, planned: &Planned, other: &Found) -> String {
    let settings = other.settings();
    let (kind, ctx, moved) = (settings.cache_type_k.name(), settings.ctx, moved(planned, settings));
    format!("{flags}: {kind} KV, {ctx} tokens instead of {}{moved}", planned.settings.ctx)
}

/// A usable context, or all of it, at the price of what has to leave the devices for it.
fn longer(planned: &Planned, ground: &Ground<'_>, answer: &Answer<'_>) -> Option<String> {
    let task = answer.task(ground);
    let (usable, most) = (task.usable(&planned.settings), task.most(&planned.settings));
    let total = if planned.settings.ctx < usable { usable } else { most };
    let ctx = total / ground.knobs.users.unwrap_or(1);
    let goal = ground.knobs.goal.filter(|goal| *goal != Goal::MaxCtx);
    let other = other(planned, ground, &Knobs { ctx: Some(ctx), goal, ..ground.knobs.clone() })?;
    let price = moved(planned, other.settings());
    let each = if ground.knobs.users.is_some() { " for each user" } else { "" };
    let instead = if ground.knobs.goal == Some(Goal::MaxCtx) { " in place of --max-ctx" } else { "" };
    (!price.is_empty()).then(|| format!("--ctx {ctx}{each}{instead}{price}"))
}

/// What is left without the slowest of several devices, of equally fast ones the smallest.
fn one_less(planned: &Planned, ground: &Ground<'_>) -> Option<String> {
    if planned.devices.len() < 2 || ground.knobs.device.is_some() || ground.knobs.tensor_split.is_some() {
        return None;
    }
    let speed = |id: &str| ground.machine.gpu(id).and_then(bandwidth::of);
    let least = planned.devices.iter().min_by_key(|device| (speed(&device.id), device.free))?;
    let kept = planned.devices.iter().filter(|device| device.id != least.id);
    let ids: Vec<String> = kept.map(|device| device.id.clone()).collect();
    let named = ids.join(",");
    let other = other(planned, ground, &Knobs { device: Some(ids), ..ground.knobs.clone() })?;
    let ctx = other.settings().ctx;
    Some(format!("--device {named}: {ctx} tokens{}", moved(planned, other.settings())))
}

/// What the other goals would give.
fn goals(planned: &Planned, ground: &Ground<'_>) -> Vec<String> {
    let is_whole = planned.settings.gpu_layers == planned.layers && planned.settings.n_cpu_moe == 0;
    let is_long = planned.limited_by == Limit::Training || ground.knobs.ctx.is_some();
    let goals = Goal::ALL.iter().filter(|goal| match goal {
        _ if **goal == planned.goal => false,
        Goal::MaxCtx => !is_long,
        Goal::Balanced | Goal::Fastest => !is_whole && ground.knobs.ctx.is_none(),
    });
    let mut seen: Vec<Settings> = Vec::new();
    let mut lines = Vec::new();
    for goal in goals {
        let knobs = Knobs { goal: Some(*goal), ..ground.knobs.clone() };
        let Some(other) = other(planned, ground, &knobs) else { continue };
        let settings = *other.settings();
        if !seen.contains(&settings) {
            lines.push(format!(
                "--goal {}: {} tokens{}",
                goal.name(),
                settings.ctx,
                moved(planned, &settings)
            ));
            seen.push(settings);
        }
    }
    lines
}

fn moved(planned: &Planned, other: &Settings) -> String {
    let mut text = String::new();
    if other.gpu_layers != planned.settings.gpu_layers {
        let place = if planned.devices.len() > 1 { "devices" } else { "the device" };
        text.push_str(&format!(
            ", {} layers on {place} instead of {}",
            other.gpu_layers, planned.settings.gpu_layers
        ));
    }
    if other.n_cpu_moe != planned.settings.n_cpu_moe {
        text.push_str(&format!(
            ", experts of {} layers in main memory instead of {}",
            other.n_cpu_moe, planned.settings.n_cpu_moe
        ));
    }
    if other.ubatch != planned.settings.ubatch {
        text.push_str(&format!(", in batches of {} instead of {}", other.ubatch, planned.settings.ubatch));
    }
    text
}

/// What is left where devices are full.
fn by_processor(planned: &Planned, ground: &Ground<'_>) -> Option<String> {
    let has_own = planned.devices.iter().any(|device| !device.shares_ram);
    let knobs = Knobs { device: Some(vec![NONE.into()]), tensor_split: None, ..ground.knobs.clone() };
    let is_open = ground.knobs.device.is_none() && ground.fixed.gpu_layers.is_none_or(|layers| layers == 0);
    let other = (has_own && is_open).then(|| other(planned, ground, &knobs))??;
    Some(format!("--device none: {} tokens, all computed by the processor", other.settings().ctx))
}

/// What would fit where this does not.
fn smaller(planned: &Planned, ground: &Ground<'_>, answer: &Answer<'_>) -> Option<String> {
    // Devices and margin are no such knobs.
    let Knobs { device, margin, .. } = ground.knobs.clone();
    let knobs = Knobs { device, margin, ..Knobs::default() };
    let free = Ground { knobs: &knobs, ..*ground };
    let without = Ground { fixed: &Fixed::default(), ..free };
    let mut others = [free, without].into_iter().filter_map(|other| Some(other.search().ok()?.found));
    if let Some(other) = others.find(Found::fits) {
        let what = format!("{} tokens{}", other.settings().ctx, moved(planned, other.settings()));
        return Some(format!("without the fixed knobs it fits: {what}"));
    }
    let ctx = ground.knobs.total_ctx().unwrap_or(USABLE.min(ground.shape.trained));
    let part = answer.task(ground).part_that_fits(ctx).filter(|part| *part >= SMALLEST)?;
    let size = ground.shape.size() / 100 * part;
    // One decimal is printed, and must not be rounded up.
    let tenth = (1 << 30) / 10;
    let size = if size < 10 * tenth { size } else { size / tenth * tenth };
    Some(format!("a quantization of at most {} would fit with {ctx} tokens", ByteSize(size)))
}

/// Below this part of a model's size, in percent, there is no quantization of it: F16 to about two bits.
const SMALLEST: u64 = 12;
