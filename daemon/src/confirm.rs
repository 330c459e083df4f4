//! Has a plan counted again by the engine's own tool, which lies beside the engine. Starts no engine, and no shell.

use crate::{
    engine::Prepared,
    engines::{beside, count},
};
use api::ApiError;
use domain::engines::{Confirmed, ConfirmedUse, Counted, HOST, Plan, find, flags_of};
use std::{collections::BTreeMap, path::Path, time::Instant};

/// Puts into a plan what the engine's own tool counts for its settings; blocking. Nothing is counted of the words that are
/// passed on to the engine besides.
pub(crate) fn confirm(prepared: Prepared, extra: &[String]) -> anyhow::Result<Plan> {
    let Prepared { launch, plan, environment, is_imagined, .. } = prepared;
    let refuse = |why: String, hint: &str| ApiError::Refused { why, hint: Some(hint.to_owned()) };
    if is_imagined {
        let why = "a plan for another machine cannot be confirmed on this one".to_owned();
        return Err(refuse(why, "leave --hardware or --confirm out").into());
    }
    if plan.llama.is_none() {
        let why =
            "there is no plan of our own to confirm: context and layers are left to the engine".to_owned();
        return Err(refuse(why, "leave --confirm out: modelctl plan says why").into());
    }
    let engine = find(&plan.engine).filter(|engine| !engine.counters().is_empty());
    let engine = engine.ok_or_else(|| {
        refuse(format!("{} has no tool that counts what settings take", plan.engine), "leave --confirm out")
    })?;
    let server = launch.argv.first().map(Path::new).unwrap_or(Path::new(""));
    let names: Vec<String> = engine
        .counters()
        .iter()
        .map(|program| [&[program.name], program.arguments].concat().join(" "))
        .collect();
    let names = names.join(" or ");
    let counter = beside(engine.counters(), server).ok_or_else(|| {
        let why =
            format!("{names} is not beside {}: there is nothing to confirm the plan with", server.display());
        refuse(why, "install the one of the same build, or leave --confirm out")
    })?;
    let began = Instant::now();
    let (out, mut left_out) = count(engine, &counter, &launch.argv, &environment).map_err(|why| {
        refuse(
            format!("{} failed: {why}", counter.program.display()),
            "leave --confirm out: the plan stands by itself",
        )
    })?;
    left_out.extend(flags_of(extra));
    let seconds = began.elapsed().as_secs_f64();
    let devices = compare(&plan, &out);
    let program = [&[&*counter.program.to_string_lossy()], counter.arguments].concat().join(" ");
    Ok(Plan { confirmed: Some(Confirmed { program, seconds, devices, left_out }), ..plan })
}

fn compare(plan: &Plan, counted: &BTreeMap<String, Counted>) -> Vec<ConfirmedUse> {
    let on_device =
        plan.devices.iter().map(|device| (&*device.id, device.weights, device.context, device.compute));
    let main = plan.host.iter().map(|host| (HOST, host.weights, host.context, host.compute));
    let places = on_device.chain(main);
    let compared = places.filter_map(|(id, weights, context, compute)| {
        let counted = *counted.get(id)?;
        let planned = Counted { weights, context, compute }.total();
        let difference = i64::try_from(i128::from(counted.total()) - i128::from(planned)).unwrap_or(i64::MAX);
        Some(ConfirmedUse { id: id.to_owned(), counted, difference })
    });
    compared.collect()
}
