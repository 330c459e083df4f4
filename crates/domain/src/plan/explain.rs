//! A plan in words: what goes where, what it takes, what limited it.

use super::{
    Goal, Limit, Measured, MeasuredUse, Planned, Speed, alternatives,
    devices::Left,
    ground::{Answer, Ground},
    room::Place,
    warnings,
};
use crate::{
    ByteSize,
    engines::HOST,
    memory::{CacheType, Charge, Settings},
};

/// `measured` is the run that a plan is told with.
pub(super) fn tell(
    planned: &mut Planned,
    ground: &Ground<'_>,
    answer: &Answer<'_>,
    measured: Option<&Measured>,
) {
    let mut explain = Vec::new();
    explain.extend(missing(answer));
    explain.extend(place(planned, ground));
    explain.extend(left_out(answer));
    explain.extend(memory(planned));
    explain.push(context(planned, ground));
    if planned.fits {
        explain.push(speed(planned, ground, answer));
    }
    explain.extend(warnings::of(planned, ground));
    match measured {
        Some(run) if run.same_settings => {}
        _ => explain.extend(more(answer)),
    }
    explain.extend(measured.into_iter().flat_map(|run| taken(planned, run)));
    planned.explain = explain;
    planned.alternatives = alternatives::all(planned, ground, answer);
}

fn missing(answer: &Answer<'_>) -> Option<String> {
    let counted = &answer.found.counted;
    let places = answer.site.room.places.iter().zip(&counted.breakdown.devices);
    let lacking = places.filter_map(|(place, charge): (&Place<'_>, &Charge)| {
        let bytes = place.missing(charge);
        (bytes > 0).then(|| format!("{} are missing on {}", ByteSize(bytes), place.gpu.id))
    });
    let mut lacking: Vec<String> = lacking.collect();
    match (counted.missing.1, lacking.len()) {
        (0, _) => {}
        (bytes, 0) => lacking.push(format!("{} of main memory are missing", ByteSize(bytes))),
        (bytes, _) => lacking.push(format!("{} of main memory", ByteSize(bytes))),
    }
    (!lacking.is_empty()).then(|| format!("it does not fit: {}", lacking.join(" and ")))
}

fn place(planned: &Planned, ground: &Ground<'_>) -> Vec<String> {
    let Settings { gpu_layers, n_cpu_moe, .. } = planned.settings;
    let all = planned.layers;
    if planned.devices.is_empty() {
        let why = if planned.avoids_devices { "as asked" } else { "the engine sees no device" };
        return vec![format!("all {all} layers are computed by the processor: {why}")];
    }
    let why = if ground.fixed.gpu_layers.is_some() || ground.knobs.n_cpu_moe.is_some() {
        "as asked"
    } else if !planned.fits {
        "what comes closest"
    } else if gpu_layers < all || n_cpu_moe > 0 {
        "more does not fit at this context"
    } else {
        "everything fits"
    };
    let experts = if n_cpu_moe > 0 {
        format!(", the experts of the first {} in main memory", n_cpu_moe.min(ground.shape.expert_layers()))
    } else {
        String::new()
    };
    let called = |device: &super::DeviceUse| format!("{} ({})", device.id, device.name);
    if let [device] = planned.devices.as_slice() {
        return vec![format!("{gpu_layers} of {all} layers on {}{experts}: {why}", called(device))];
    }
    let parts: Vec<String> =
        planned.devices.iter().map(|device| format!("{} on {}", device.layers, called(device))).collect();
    vec![format!("{gpu_layers} of {all} layers, {}{experts}: {why}", parts.join(", "))]
}

/// Devices that are not used, by the reason for it.
fn left_out(answer: &Answer<'_>) -> Vec<String> {
    let mut by_reason: Vec<(Left, Vec<&str>)> = Vec::new();
    for (gpu, why) in &answer.left {
        match by_reason.iter_mut().find(|(other, _)| other == why) {
            Some((_, ids)) => ids.push(&gpu.id),
            None => by_reason.push((*why, vec![&gpu.id])),
        }
    }
    let told = |(why, ids): (Left, Vec<&str>)| match ids.as_slice() {
        [id] => format!("{id} is left out: {}", why.said(true)),
        ids => format!("{} are left out: {}", ids.join(", "), why.said(false)),
    };
    by_reason.into_iter().map(told).collect()
}

/// What the figures do not say of themselves.
fn memory(planned: &Planned) -> Vec<String> {
    let mut lines = Vec::new();
    for device in planned.devices.iter().filter(|device| device.slack > SMALL) {
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

/// What is planned beyond what was reckoned.
fn more(answer: &Answer<'_>) -> Vec<String> {
    let places = answer.site.room.places.iter().zip(&answer.found.counted.breakdown.devices);
    let told = places.map(|(place, charge)| (format!("on {}", place.gpu.id), place.more(charge).total()));
    let main = Some(("of main memory".to_owned(), answer.site.room.host_excess));
    let told = told.chain(main).filter(|(_, bytes)| *bytes > 0);
    told.map(|(place, bytes)| {
        let bytes = ByteSize(bytes);
        format!("{bytes} more {place} is planned: a launch took so much more than was reckoned")
    })
    .collect()
}

/// What a run took for compute, and what was planned for it.
fn taken(planned: &Planned, run: &Measured) -> Vec<String> {
    let how = if run.same_settings { "with these settings" } else { "with like settings" };
    let said = |place: &MeasuredUse, on: &str| {
        let (taken, expected) = (ByteSize(place.taken.compute), ByteSize(place.planned.compute));
        format!("measured on {} {how}: compute{on} {taken}, planned {expected}", run.day())
    };
    if planned.devices.is_empty() {
        let main = run.place(HOST).filter(|_| run.same_settings);
        return main.map(|place| said(place, "")).into_iter().collect();
    }
    let devices = planned.devices.iter().filter_map(|device| {
        let place = run.place(&device.id)?;
        Some(said(place, &format!(" on {}", device.id)))
    });
    devices.collect()
}

/// A slack that is not worth a word, bytes.
const SMALL: u64 = 8 << 20;

fn context(planned: &Planned, ground: &Ground<'_>) -> String {
    let Settings { ctx, parallel, kv_unified, cache_type_k, cache_type_v, .. } = &planned.settings;
    let why = match planned.limited_by {
        Limit::GpuMemory | Limit::HostMemory if !planned.fits => "even so little does not fit".to_owned(),
        Limit::Training => "as much as it was trained for".to_owned(),
        Limit::GpuMemory => match planned.devices.len() {
            0 | 1 => "one step more does not fit on the device".to_owned(),
            _ => "one step more does not fit on the devices".to_owned(),
        },
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
        if planned.goal == Goal::MaxCtx || ground.knobs.ctx.is_some() { "" } else { planned.goal.name() };
    let goal = if goal.is_empty() { String::new() } else { format!(" ({goal})") };
    format!("context {ctx} tokens{slots}{cache}{goal}: {why}")
}

fn speed(planned: &Planned, ground: &Ground<'_>, answer: &Answer<'_>) -> String {
    match &planned.speed {
        Some(speed) => format!("about {} tokens/s ({})", range(speed), speed.basis),
        None => answer.speed(ground).err().unwrap_or_default(),
    }
}

/// Whole tokens where there are many.
fn range(speed: &Speed) -> String {
    let shown = |number: f64| if number >= 10.0 { format!("{number:.0}") } else { format!("{number:.1}") };
    format!("{}–{}", shown(speed.low), shown(speed.high))
}
