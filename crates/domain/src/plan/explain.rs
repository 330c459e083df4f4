//! A plan in words: what goes where, what it takes, what limited it, what would be otherwise.

use super::{
    Goal, Knobs, Limit, Planned, QUANTIZED,
    knobs::Fixed,
    search::{Found, STEP, Task, USABLE},
};
use crate::{
    ByteSize,
    hardware::Hardware,
    memory::{CacheType, FlashAttention, Settings},
};

pub(super) fn tell(planned: &mut Planned, task: &Task<'_>, found: &Found, machine: &Hardware) {
    let mut explain = Vec::new();
    explain.extend(fit(planned, task, found));
    explain.push(place(planned, task));
    explain.extend(memory(planned));
    explain.push(context(planned, task));
    explain.extend(warnings(planned, task));
    explain.extend(devices(planned, machine));
    planned.explain = explain;
    planned.alternatives = alternatives(planned, task);
}

fn fit(planned: &Planned, task: &Task<'_>, found: &Found) -> Option<String> {
    let (on_device, on_host) = task.room.missing(&found.breakdown);
    let missing = match (on_device, on_host, &planned.device) {
        (0, 0, _) => return None,
        (0, host, _) => format!("{} of main memory are missing", ByteSize(host)),
        (device, 0, Some(gpu)) => format!("{} are missing on {}", ByteSize(device), gpu.id),
        (device, host, Some(gpu)) => {
            format!("{} are missing on {} and {} of main memory", ByteSize(device), gpu.id, ByteSize(host))
        }
        (_, host, None) => format!("{} of main memory are missing", ByteSize(host)),
    };
    Some(format!("it does not fit: {missing}"))
}

fn place(planned: &Planned, task: &Task<'_>) -> String {
    let Settings { gpu_layers, n_cpu_moe, .. } = planned.settings;
    let Some(device) = &planned.device else {
        let why = if planned.avoids_devices { "as asked" } else { "the engine sees no device" };
        return format!("all {} layers are computed by the processor: {why}", planned.layers);
    };
    let why = if task.fixed.gpu_layers.is_some() || task.knobs.n_cpu_moe.is_some() {
        "as asked"
    } else if gpu_layers < planned.layers || n_cpu_moe > 0 {
        "more does not fit at this context"
    } else {
        "everything fits"
    };
    let experts = if n_cpu_moe > 0 {
        format!(", the experts of the first {} in main memory", n_cpu_moe.min(task.shape.expert_layers()))
    } else {
        String::new()
    };
    format!("{} of {} layers on {} ({}){experts}: {why}", gpu_layers, planned.layers, device.id, device.name)
}

/// What the figures do not say of themselves.
fn memory(planned: &Planned) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(device) = planned.device.as_ref().filter(|device| device.slack > SMALL) {
        let slack = ByteSize(device.slack);
        lines.push(format!(
            "compute on {} may take up to {slack} more: kept free besides the margin",
            device.id
        ));
    }
    let host = &planned.host;
    let checkpoints = planned.ctx_checkpoints.filter(|count| *count > 0).map_or_else(String::new, |count| {
        format!(", {count} checkpoints a slot in up to {}", ByteSize(host.checkpoints))
    });
    lines.push(match host.cache_ram {
        0 => format!("no prompt cache: main memory has no room for one{checkpoints}"),
        bytes => format!("prompts are cached in up to {} of main memory{checkpoints}", ByteSize(bytes)),
    });
    lines
}

/// A slack that is not worth a word, bytes.
const SMALL: u64 = 8 << 20;

fn context(planned: &Planned, task: &Task<'_>) -> String {
    let Settings { ctx, parallel, kv_unified, cache_type_k, cache_type_v, .. } = &planned.settings;
    let why = match planned.limited_by {
        Limit::Training => "as much as it was trained for".to_owned(),
        Limit::GpuMemory => "one step more does not fit on the device".to_owned(),
        Limit::HostMemory => "one step more does not fit into main memory".to_owned(),
        Limit::Request => "as asked".to_owned(),
    };
    let slots = match (parallel, kv_unified) {
        (1, _) => String::new(),
        (slots, true) => format!(", shared by {slots} slots"),
        (slots, false) => format!(", {} for each of {slots} slots", planned.settings.ctx_per_slot()),
    };
    let cache = match (cache_type_k, cache_type_v) {
        (CacheType::F16, CacheType::F16) => String::new(),
        (keys, values) => format!(", keys {} and values {}", keys.name(), values.name()),
    };
    let goal =
        if planned.goal == Goal::MaxCtx || task.knobs.ctx.is_some() { "" } else { planned.goal.name() };
    let goal = if goal.is_empty() { String::new() } else { format!(" ({goal})") };
    format!("context {ctx} tokens{slots}{cache}{goal}: {why}")
}

fn warnings(planned: &Planned, task: &Task<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(beyond_training(&planned.settings, task.shape.trained));
    if !task.shape.is_measured() {
        lines.push(format!(
            "{} was never measured: its compute buffer is estimated, and a quarter more is kept free",
            task.shape.architecture
        ));
    }
    if planned.settings.flash_attn == FlashAttention::Off && task.shape.has_cache() {
        lines.push("without flash attention, which takes memory with every token of context".to_owned());
    }
    lines
}

/// llama-server caps every slot at the trained context, whatever the cache holds (tools/server/server-context.cpp).
fn beyond_training(settings: &Settings, trained: u64) -> Option<String> {
    // Contexts are rounded up to whole steps.
    let is_beyond = |tokens: u64, used: u64| tokens > used.saturating_add(STEP - 1);
    if !is_beyond(settings.ctx_per_slot(), trained) {
        return None;
    }
    let slots = if settings.kv_unified { settings.parallel.max(1) } else { 1 };
    let rest = if is_beyond(settings.ctx_per_slot(), trained.saturating_mul(slots)) {
        ": the rest takes memory for nothing"
    } else {
        ""
    };
    Some(format!("the server gives a slot at most the {trained} tokens that the model was trained for{rest}"))
}

fn devices(planned: &Planned, machine: &Hardware) -> Option<String> {
    let used = planned.device.as_ref()?;
    let others: Vec<&str> =
        machine.gpus.iter().map(|gpu| gpu.id.as_str()).filter(|id| *id != used.id).collect();
    let are = if others.len() == 1 { "is" } else { "are" };
    (!others.is_empty())
        .then(|| format!("{} {are} left alone: a plan uses one device so far", others.join(", ")))
}

/// What else could be had, and its price.
fn alternatives(planned: &Planned, task: &Task<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if task.knobs.ctx.is_none()
        && task.knobs.allow_kv_quant != Some(true)
        && planned.limited_by != Limit::Training
    {
        lines.extend(quantized(planned, task));
    }
    if planned.fits && planned.goal == Goal::MaxCtx && planned.settings.gpu_layers < planned.layers {
        lines.extend(other_goal(planned, task, Goal::Balanced));
    }
    if planned.fits
        && planned.goal != Goal::MaxCtx
        && planned.limited_by != Limit::Training
        && task.knobs.ctx.is_none()
    {
        lines.extend(other_goal(planned, task, Goal::MaxCtx));
    }
    if !planned.fits {
        lines.extend(smaller(planned, task));
    }
    lines
}

fn with_knobs(task: &Task<'_>, knobs: &Knobs) -> Found {
    Task { knobs, ..*task }.best()
}

fn quantized(planned: &Planned, task: &Task<'_>) -> Option<String> {
    let other = with_knobs(task, &Knobs { allow_kv_quant: Some(true), ..task.knobs.clone() });
    let is_better = other.settings.cache_type_k == QUANTIZED && task.fits(&other.settings);
    is_better.then(|| {
        format!(
            "--allow-kv-quant: {} KV, {} tokens instead of {}{}",
            QUANTIZED.name(),
            other.settings.ctx,
            planned.settings.ctx,
            moved(planned, &other.settings),
        )
    })
}

fn other_goal(planned: &Planned, task: &Task<'_>, goal: Goal) -> Option<String> {
    let other = with_knobs(task, &Knobs { goal: Some(goal), ..task.knobs.clone() });
    let is_other = other.settings != planned.settings && task.fits(&other.settings);
    is_other.then(|| {
        format!("--goal {}: {} tokens{}", goal.name(), other.settings.ctx, moved(planned, &other.settings))
    })
}

fn moved(planned: &Planned, other: &Settings) -> String {
    let mut text = String::new();
    if other.gpu_layers != planned.settings.gpu_layers {
        text.push_str(&format!(
            ", {} layers on the device instead of {}",
            other.gpu_layers, planned.settings.gpu_layers
        ));
    }
    if other.n_cpu_moe != planned.settings.n_cpu_moe {
        text.push_str(&format!(
            ", experts of {} layers in main memory instead of {}",
            other.n_cpu_moe, planned.settings.n_cpu_moe
        ));
    }
    text
}

/// What is left where a device is full.
pub(super) fn by_processor(other: &Planned) -> String {
    format!("--device none: {} tokens, all computed by the processor", other.settings.ctx)
}

/// What would fit where this does not.
fn smaller(planned: &Planned, task: &Task<'_>) -> Option<String> {
    // Device and margin are the room's, and stay.
    let knobs = Knobs::default();
    let free = Task { knobs: &knobs, ..*task };
    let without = Task { fixed: &Fixed::default(), ..free };
    let mut others = [free, without].into_iter().map(|other| other.best());
    if let Some(other) = others.find(|other| task.fits(&other.settings)) {
        let what = format!("{} tokens{}", other.settings.ctx, moved(planned, &other.settings));
        return Some(format!("without the fixed knobs it fits: {what}"));
    }
    let ctx = task.knobs.ctx.unwrap_or(USABLE.min(task.shape.trained));
    let part = task.part_that_fits(ctx).filter(|part| *part >= SMALLEST)?;
    let size = task.shape.size() / 100 * part;
    // One decimal is printed, and must not be rounded up.
    let tenth = (1 << 30) / 10;
    let size = if size < 10 * tenth { size } else { size / tenth * tenth };
    Some(format!("a quantization of at most {} would fit with {ctx} tokens", ByteSize(size)))
}

/// Below this part of a model's size, in percent, there is no quantization of it: F16 to about two bits.
const SMALLEST: u64 = 12;
