//! What else could be had, and its price: searches with one knob turned.

use super::{
    Goal, Knobs, Limit, Planned, QUANTIZED,
    ground::{Answer, Ground},
    knobs::Fixed,
    search::{Found, USABLE},
};
use crate::{ByteSize, memory::Settings};

pub(super) fn all(planned: &Planned, ground: &Ground<'_>, answer: &Answer<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if !planned.fits {
        lines.extend(by_processor(planned, ground));
    }
    if ground.knobs.ctx.is_none() && planned.limited_by != Limit::Training {
        lines.extend(quantized(planned, ground, answer));
    }
    if planned.fits {
        lines.extend(goals(planned, ground));
    } else {
        lines.extend(smaller(planned, ground, answer));
    }
    lines
}

/// What is found with other knobs, where it fits and is something else.
fn other(planned: &Planned, ground: &Ground<'_>, knobs: &Knobs) -> Option<Found> {
    let found = ground.with(knobs).search().ok()?.found;
    (found.fits() && *found.settings() != planned.settings).then_some(found)
}

fn quantized(planned: &Planned, ground: &Ground<'_>, answer: &Answer<'_>) -> Option<String> {
    if ground.knobs.allow_kv_quant == Some(true) || !answer.task(ground).can_cache(QUANTIZED) {
        return None;
    }
    let other = other(planned, ground, &Knobs { allow_kv_quant: Some(true), ..ground.knobs.clone() })?;
    let Settings { ctx, cache_type_k, .. } = *other.settings();
    (cache_type_k == QUANTIZED).then(|| {
        format!(
            "--allow-kv-quant: {} KV, {ctx} tokens instead of {}{}",
            QUANTIZED.name(),
            planned.settings.ctx,
            moved(planned, other.settings()),
        )
    })
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
        text.push_str(&format!(", --ubatch {}", other.ubatch));
    }
    text
}

/// What is left where devices are full.
fn by_processor(planned: &Planned, ground: &Ground<'_>) -> Option<String> {
    let has_own = planned.devices.iter().any(|device| !device.shares_ram);
    let knobs = Knobs { device: Some(vec!["none".into()]), tensor_split: None, ..ground.knobs.clone() };
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
