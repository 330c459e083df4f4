//! Prepares a launch: the model's files, the engine and what it can do, the command.

mod told;

use crate::{
    engines::{Engines, LISTED, LOOK, Probed, environment, placing, shown},
    hardware::Wish,
    process,
};
use api::{ApiError, LaunchRequest};
use domain::{
    Location, Model, Role, State,
    engines::{self, Engine, HOST, Launch, Order, Plan},
    facts::Facts,
    hardware::{Hardware, Seen},
    memory::{Shape, countable},
    plan::{Expected, Extras, Goal, Informed, Knobs, Planned, Refusal, Runs, check_described, plan_with},
    safety,
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    net::TcpListener,
    path::PathBuf,
    time::Duration,
};

use told::Told;

/// A launch that only needs to be started.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) launch: Launch,
    pub(crate) plan: Plan,
    /// The engine's whole environment: nothing is inherited.
    pub(crate) environment: BTreeMap<String, OsString>,
    pub(crate) port: u16,
    /// Bytes by device (and `host`) that it will take.
    pub(crate) reserve: BTreeMap<String, u64>,
    /// The same by what a device is called by everybody; other launches plan without them until it holds them.
    pub(crate) booked: BTreeMap<String, u64>,
    /// What it is compared with when it is ready.
    pub(crate) expected: Option<Expected>,
    /// The port is the one that was asked for.
    pub(crate) is_port_fixed: bool,
    /// It was planned for a machine that the caller described.
    pub(crate) is_imagined: bool,
}

impl Prepared {
    /// The same on another port: the first was taken meanwhile.
    pub(crate) fn moved_to(&self, port: u16) -> Self {
        let mut moved = self.clone();
        let (old, new) = (self.port.to_string(), port.to_string());
        let flag = moved.launch.argv.iter().position(|word| word == "--port");
        if let Some(value) = flag.and_then(|at| moved.launch.argv.get_mut(at + 1)) {
            *value = new.clone().into();
        }
        let at_port =
            |url: &str| url.strip_suffix(&old).map_or_else(|| url.to_owned(), |host| format!("{host}{new}"));
        moved.launch.url = at_port(&self.launch.url);
        moved.plan.url = at_port(&self.plan.url);
        moved.plan = moved.plan.with_command(&moved.launch.argv);
        Self { port, ..moved }
    }

    /// The plan as it is shown to whoever follows the launch: without keys.
    pub(crate) fn shown_plan(&self) -> Plan {
        self.plan.clone().with_command(&engines::redacted(&self.launch.argv))
    }

    /// Refuses to start what does not fit, or what was planned for another machine.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        if self.is_imagined {
            let why = "a plan for another machine cannot be launched on this one".to_owned();
            let hint = Some("leave --hardware out, or see the plan alone: modelctl plan".to_owned());
            return Err(ApiError::Refused { why, hint });
        }
        self.plan.refusal().map_or(Ok(()), |refusal| Err(refused(refusal)))
    }

    /// Refuses to wait for a port that somebody else has.
    pub(crate) fn check_port(&self) -> Result<(), ApiError> {
        let port = self.port;
        if !self.is_port_fixed {
            return Ok(());
        }
        let Err(error) = TcpListener::bind(("127.0.0.1", port)) else { return Ok(()) };
        let why = match process::listener(port) {
            Some((pid, name)) => format!("port {port} is taken by {name} (pid {pid})"),
            None => format!("port {port} cannot be had: {error}"),
        };
        let hint = Some("give another --port, or leave it out: a free one is found".to_owned());
        Err(ApiError::Refused { why, hint })
    }
}

/// Two launches with one key mean the same run: the same program on the same model with the same wishes. What the plan
/// makes of them does not count, as the first run takes the memory that the second would be planned with.
pub(crate) fn key(request: &LaunchRequest, model: &str, found: &Engines) -> anyhow::Result<String> {
    let programs = match engines::find(&request.engine) {
        Some(engine) => found.find(engine, &request.environment)?.0,
        None => Vec::new(),
    };
    let program = programs.first().map(|found| found.program.display().to_string());
    let wishes = LaunchRequest {
        model: model.to_owned(),
        detach: false,
        max_ctx: false, // a goal among the knobs
        knobs: knobs(request),
        environment: shown(&request.environment),
        ..request.clone()
    };
    let text = serde_json::to_vec(&(wishes, program))?;
    Ok(blake3::hash(&text).to_hex().chars().take(32).collect())
}

/// How old what is free may be: a plan is only looked at, a launch takes what is there.
pub(crate) const PLANNED: Duration = Duration::from_secs(2);
pub(crate) const LAUNCHED: Duration = Duration::ZERO;

/// What a launch is prepared with.
pub(crate) struct World<'a> {
    pub(crate) engines: &'a Engines,
    /// What is booked by launches that did not hold it yet at a time.
    pub(crate) reserved: &'a dyn Fn(Timestamp) -> BTreeMap<String, u64>,
    pub(crate) max_age: Duration,
    /// What runs of a model took before, with this build of an engine.
    pub(crate) learned: &'a dyn Fn(&str, &str, &str) -> anyhow::Result<Runs>,
}

/// Returns the engine of that name, or refuses it. What is asked of it comes after.
pub(crate) fn named(name: &str) -> Result<&'static dyn Engine, ApiError> {
    engines::find(name).ok_or_else(|| ApiError::NoSuchEngine {
        name: name.to_owned(),
        known: engines::ENGINES.iter().map(|engine| engine.name().to_owned()).collect(),
    })
}

/// Plans a launch; blocking.
pub(crate) fn prepare(
    request: &LaunchRequest,
    (model, facts): (&Model, Option<&Facts>),
    world: &World<'_>,
) -> anyhow::Result<Prepared> {
    let engine = named(&request.engine)?;
    let caution = match safety::check(model) {
        Ok(caution) => caution,
        Err(refusal) if request.allow_unsafe => Some(refusal.why),
        Err(Refusal { why, hint }) => return Err(ApiError::Unsafe { why, hint }.into()),
    };
    engine.accepts(model).map_err(unsupported)?;
    engine.check_extra(&request.extra).map_err(refused)?;
    let location = usable(model, &request.model).ok_or_else(|| ApiError::Unsupported {
        why: format!("{} has no files here to run", model.name),
        hint: None,
    })?;
    let knobs = knobs(request);
    knobs.check().map_err(refused)?;
    request.hardware.as_ref().map_or(Ok(()), check_described).map_err(refused)?;
    let mut tools = tools(engine, request, world)?;
    let knobs = engine.able(knobs, &tools.flags).map_err(refused)?;
    let program = tools.build.as_deref().map(|build| (build, &tools.flags));
    let extras = engine.extras(model, location, program);
    let runs = match (&tools.build, &request.hardware) {
        (Some(build), None) => (world.learned)(&model.id, engine.name(), build)?,
        _ => Runs::default(),
    };
    let shape = countable(&model.warnings, facts);
    let informed = informed(&knobs, shape.as_ref(), &tools.machine, extras, &runs)?;
    let planned = informed.as_ref().map(|informed| &informed.planned);
    let order = Order {
        model,
        location,
        environment: std::mem::take(&mut tools.placing),
        flags: std::mem::take(&mut tools.flags),
        program: std::mem::take(&mut tools.program),
        program_arguments: tools.arguments,
        port: request.port.map_or_else(free_port, Ok)?,
        planned: planned.ok(),
        knobs: &knobs,
        extra: request.extra.clone(),
    };
    let launch = engine.render(&order);
    let mut plan = engines::plan(engine, &order, &launch);
    plan.measured = informed.as_ref().ok().and_then(|informed| informed.measured.clone());
    plan.explain.extend(informed.as_ref().err().cloned());
    plan.explain.append(&mut tools.notes);
    plan.explain.extend(caution);
    let (shape, machine) = (shape.as_ref().ok(), &tools.machine);
    let told = Told { request, knobs: &knobs, facts, shape, machine, extras, runs: &runs };
    told.add_to(&mut plan, world.engines)?;
    let reserve = planned.map(reserve).unwrap_or_default();
    let booked = booked(&reserve, &tools.machine);
    let build = tools.build.as_deref().zip(informed.as_ref().ok());
    let expected = build.map(|(build, informed)| Expected::of(informed, extras, build));
    let environment = environment(&request.environment);
    let (port, is_port_fixed, is_imagined) = (order.port, request.port.is_some(), request.hardware.is_some());
    Ok(Prepared { launch, plan, environment, port, reserve, booked, expected, is_port_fixed, is_imagined })
}

fn refused(refusal: Refusal) -> ApiError {
    ApiError::Refused { why: refusal.why, hint: refusal.hint }
}

fn unsupported(refusal: Refusal) -> ApiError {
    ApiError::Unsupported { why: refusal.why, hint: refusal.hint }
}

/// The program and the machine as it sees it.
struct Tools {
    program: PathBuf,
    arguments: &'static [&'static str],
    flags: BTreeSet<String>,
    placing: BTreeMap<String, String>,
    machine: Hardware,
    /// Its version, as it prints it; None where no program is there.
    build: Option<String>,
    /// What one would not expect of them.
    notes: Vec<String>,
}

fn tools(engine: &dyn Engine, request: &LaunchRequest, world: &World<'_>) -> anyhow::Result<Tools> {
    let callers = &request.environment;
    let asked_at = Timestamp::now();
    let max_age = if world.max_age > LAUNCHED { world.engines.list_age()? } else { LISTED };
    let mut probed = match (world.engines.probe(engine, callers, max_age), &request.hardware) {
        (Ok(probed), _) => probed,
        (Err(error), Some(machine)) if error.is::<ApiError>() => {
            return Ok(imagined(engine, machine, &error));
        }
        (Err(error), _) => return Err(error),
    };
    let (machine, notes) = match &request.hardware {
        Some(machine) => (machine.clone(), Vec::new()),
        None => {
            let since = if max_age > LISTED { Timestamp::MIN } else { asked_at - world.max_age };
            let (seen, at) = see(engine, callers, &mut probed, (world, since))?;
            (without(seen.hardware, &(world.reserved)(at)), seen.notes)
        }
    };
    Ok(Tools {
        placing: placing(callers, &probed),
        program: probed.program,
        arguments: probed.arguments,
        flags: probed.flags,
        build: Some(probed.version.unwrap_or_default()),
        machine,
        notes,
    })
}

/// The machine as the engine sees it, as it was `since` then: where nobody but the engine knows a card, it is asked again.
fn see(
    engine: &dyn Engine,
    callers: &BTreeMap<String, String>,
    probed: &mut Probed,
    (world, since): (&World<'_>, Timestamp),
) -> anyhow::Result<(Seen, Timestamp)> {
    let (seen, at) = world.engines.see(probed, callers, (world.max_age.min(LOOK), Wish::PLANNED))?;
    if at >= since {
        return Ok((seen, at));
    }
    *probed = world.engines.probe(engine, callers, Duration::ZERO)?;
    world.engines.see(probed, callers, (LOOK, Wish::PLANNED))
}

/// A plan for another machine needs no engine on this one.
fn imagined(engine: &dyn Engine, machine: &Hardware, error: &anyhow::Error) -> Tools {
    let program = engine.programs().first().map_or("", |program| program.name);
    let why = match error.downcast_ref() {
        Some(ApiError::EngineMissing { .. }) => format!("{program} is not installed here"),
        _ => format!("{error:#}"),
    };
    Tools {
        program: program.into(),
        arguments: &[],
        flags: engine.usual_flags().iter().map(|flag| (*flag).to_owned()).collect(),
        placing: BTreeMap::new(),
        machine: machine.clone(),
        build: None,
        notes: vec![format!("{why}: the command is for a current version")],
    }
}

/// The machine without what launches on their way will take.
pub(crate) fn without(mut machine: Hardware, reserved: &BTreeMap<String, u64>) -> Hardware {
    let taken = |name: &str| reserved.get(name).copied().unwrap_or(0);
    for gpu in &mut machine.gpus {
        let name = if gpu.shares_ram { HOST } else { gpu.known_as() };
        gpu.free = gpu.free.saturating_sub(taken(name));
    }
    machine.ram.available = machine.ram.available.saturating_sub(taken(HOST));
    machine
}

fn knobs(request: &LaunchRequest) -> Knobs {
    let goal = request.knobs.goal.or(request.max_ctx.then_some(Goal::MaxCtx));
    Knobs { goal, ..request.knobs.clone() }
}

/// Returns what was planned, or in words why nothing could be.
fn informed(
    knobs: &Knobs,
    shape: Result<&Shape, &String>,
    machine: &Hardware,
    extras: Extras,
    runs: &Runs,
) -> Result<Result<Informed, String>, ApiError> {
    match shape {
        Ok(shape) => plan_with(shape, machine, knobs, extras, runs).map(Ok).map_err(refused),
        Err(why) => {
            let left = "context and layers are left to llama.cpp's own fit";
            Ok(Err(format!("no plan of our own: {why}; {left}")))
        }
    }
}

/// Bytes by device and of main memory.
fn reserve(planned: &Planned) -> BTreeMap<String, u64> {
    let host = planned.host;
    let parts = [host.weights, host.context, host.compute, host.overhead];
    let main = parts.into_iter().fold(0, u64::saturating_add);
    let devices = planned.devices.iter();
    let devices = devices.map(|device| (device.id.clone(), device.used.saturating_add(device.slack)));
    devices.chain([(HOST.to_owned(), main)]).collect()
}

/// Books what is reserved where everybody looks for it: what shares the machine's memory is taken from that.
fn booked(reserve: &BTreeMap<String, u64>, machine: &Hardware) -> BTreeMap<String, u64> {
    let mut booked = BTreeMap::new();
    for (id, bytes) in reserve {
        let name = match machine.gpu(id) {
            Some(gpu) if gpu.shares_ram => HOST,
            Some(gpu) => gpu.known_as(),
            None => id,
        };
        let all: &mut u64 = booked.entry(name.to_owned()).or_default();
        *all = all.saturating_add(*bytes);
    }
    booked
}

/// A whole location that is there, with weights: the one whose path was typed, else the first.
pub(crate) fn usable<'a>(model: &'a Model, typed: &str) -> Option<&'a Location> {
    let has_weights = |location: &&Location| location.files.iter().any(|file| file.role == Role::Weights);
    let is_meant = |location: &&Location| location.files.iter().any(|file| file.path.text() == typed);
    let whole = || {
        let usable = model.locations.iter().filter(|location| location.online && !location.is_partial);
        usable.filter(has_weights)
    };
    whole().find(is_meant).or_else(|| whole().next()).filter(|_| model.state != State::Offline)
}

/// A loopback port that is free now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::hardware::{Cpu, Gpu, Ram};

    const GIB: u64 = 1 << 30;

    fn machine(id: &str, uuid: Option<&str>, shares_ram: bool) -> Hardware {
        let uuid = uuid.map(str::to_owned);
        let gpu = Gpu { id: id.into(), free: 20 * GIB, uuid, shares_ram, ..Gpu::default() };
        Hardware { gpus: vec![gpu], ram: Ram { total: 64 * GIB, available: 20 * GIB }, cpu: Cpu::default() }
    }

    #[test]
    fn what_is_booked_is_missing_wherever_it_is_looked_for() {
        let reserve = BTreeMap::from([("CUDA0".to_owned(), 8 * GIB), (HOST.to_owned(), GIB)]);
        let left = |machine: Hardware, booked| {
            let machine = without(machine, &booked);
            (machine.gpus[0].free / GIB, machine.ram.available / GIB)
        };
        // CUDA_VISIBLE_DEVICES=1 makes the second card the first.
        let booked_on = |uuid| booked(&reserve, &machine("CUDA0", Some(uuid), false));
        assert_eq!(left(machine("CUDA1", Some("GPU-b"), false), booked_on("GPU-b")), (12, 19));
        assert_eq!(left(machine("CUDA0", Some("GPU-a"), false), booked_on("GPU-b")), (20, 19));
        let shared = booked(&reserve, &machine("CUDA0", None, true));
        assert_eq!(left(machine("CUDA0", None, true), shared), (11, 11));
    }
}
