//! Prepares a launch: the model's files, the engine and what it can do, the command.

use crate::engines::{Engines, environment, placing};
use api::{ApiError, LaunchRequest};
use domain::{
    Location, Model, Role, State,
    engines::{self, Engine, Launch, Order, Plan},
};
use std::{collections::BTreeMap, ffi::OsString, net::TcpListener, time::Duration};

/// A launch that only needs to be started.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) engine: &'static dyn Engine,
    pub(crate) launch: Launch,
    pub(crate) plan: Plan,
    /// The engine's whole environment: nothing is inherited.
    pub(crate) environment: BTreeMap<String, OsString>,
}

/// A command depends on flags alone, and those only change with the program.
const ANY_AGE: Duration = Duration::MAX;

/// Plans a launch; blocking.
pub(crate) fn prepare(request: &LaunchRequest, model: &Model, found: &Engines) -> anyhow::Result<Prepared> {
    let engine = engines::find(&request.engine).ok_or_else(|| ApiError::NoSuchEngine {
        name: request.engine.clone(),
        known: engines::ENGINES.iter().map(|engine| engine.name().to_owned()).collect(),
    })?;
    engine
        .accepts(model)
        .map_err(|refusal| ApiError::Unsupported { why: refusal.why, hint: refusal.hint })?;
    if let Some(own) =
        request.extra.iter().find(|word| ["--host", "--port"].iter().any(|flag| word.starts_with(flag)))
    {
        let why = format!("{own} cannot be passed on: modelctl chooses host and port itself, on loopback");
        return Err(ApiError::Refused { why, hint: None }.into());
    }
    let location = usable(model, &request.model).ok_or_else(|| ApiError::Unsupported {
        why: format!("{} has no files here to run", model.name),
        hint: None,
    })?;
    let probed = found.probe(engine, &request.environment, ANY_AGE)?;
    let order = Order {
        model,
        location,
        environment: placing(&request.environment, &probed),
        flags: probed.flags,
        program: probed.program,
        program_arguments: probed.arguments,
        port: free_port()?,
        max_ctx: request.max_ctx,
        extra: request.extra.clone(),
    };
    let launch = engine.render(&order);
    let plan = engines::plan(engine, &order, &launch);
    Ok(Prepared { engine, launch, plan, environment: environment(&request.environment) })
}

/// A whole location that is there, with weights: the one whose path was typed, else the first.
fn usable<'a>(model: &'a Model, typed: &str) -> Option<&'a Location> {
    let has_weights = |location: &&Location| location.files.iter().any(|file| file.role == Role::Weights);
    let is_meant = |location: &&Location| location.files.iter().any(|file| file.path.text() == typed);
    let whole = || {
        let usable = model.locations.iter().filter(|location| location.online && !location.is_partial);
        usable.filter(has_weights)
    };
    whole().find(is_meant).or_else(|| whole().next()).filter(|_| model.state != State::Offline)
}

/// A loopback port that is free now.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
