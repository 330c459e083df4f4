//! Finds an engine where the caller's shell would, asks it what flags it has, and prepares the launch.

use api::{ApiError, LaunchRequest};
use domain::{
    Location, Model, Role, State,
    engines::{self, Engine, Launch, Order, Plan, Program},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// A launch that only needs to be started.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) engine: &'static dyn Engine,
    pub(crate) launch: Launch,
    pub(crate) plan: Plan,
    /// The engine's whole environment: nothing is inherited.
    pub(crate) environment: BTreeMap<String, OsString>,
}

/// Variables of the daemon that an engine needs to run at all.
const INHERITED: &[&str] =
    &["HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "USER", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"];

/// A `--help` that says nothing for this long is not waited for.
const HELP: Duration = Duration::from_secs(20);

/// Plans a launch; blocking.
pub(crate) fn prepare(
    request: &LaunchRequest,
    model: &Model,
    own_path: Option<&OsStr>,
) -> anyhow::Result<Prepared> {
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
    let (program, found) = find(engine, request, own_path)?;
    let environment = environment(request);
    let order = Order {
        model,
        location,
        flags: flags(&found, program.arguments, &environment)?,
        program: found,
        program_arguments: program.arguments,
        port: free_port()?,
        max_ctx: request.max_ctx,
        extra: request.extra.clone(),
        environment: shown(request),
    };
    let launch = engine.render(&order);
    let plan = engines::plan(engine, &order, &launch);
    Ok(Prepared { engine, launch, plan, environment })
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

/// Looks along the caller's PATH, then along the daemon's own.
fn find(
    engine: &dyn Engine,
    request: &LaunchRequest,
    own_path: Option<&OsStr>,
) -> Result<(Program, PathBuf), ApiError> {
    let callers = request.environment.get("PATH").map(OsStr::new);
    let mut dirs: Vec<PathBuf> = Vec::new();
    for path in [callers, own_path].into_iter().flatten() {
        for dir in std::env::split_paths(path).filter(|dir| dir.is_absolute()) {
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
    }
    let programs = engine.programs();
    let found = programs
        .iter()
        .flat_map(|program| dirs.iter().map(move |dir| (*program, dir.join(program.name))))
        .find(|(_, path)| is_executable(path));
    found.ok_or_else(|| ApiError::EngineMissing {
        engine: engine.name().to_owned(),
        program: programs.iter().map(|program| program.name).collect::<Vec<_>>().join(" or "),
        looked: dirs.iter().map(|dir| dir.display().to_string()).collect(),
    })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What the caller sent and the engine is placed by; `LLAMA_ARG_*` and tokens can never be among it.
fn shown(request: &LaunchRequest) -> BTreeMap<String, String> {
    let is_shown = |name: &String| name.as_str() != "PATH" && api::LAUNCH_VARIABLES.contains(&name.as_str());
    request
        .environment
        .iter()
        .filter(|(name, _)| is_shown(name))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

fn environment(request: &LaunchRequest) -> BTreeMap<String, OsString> {
    let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?)));
    let mut environment: BTreeMap<String, OsString> = inherited.collect();
    environment.extend(shown(request).into_iter().map(|(name, value)| (name, value.into())));
    if let Some(path) = request.environment.get("PATH") {
        environment.insert("PATH".into(), path.into());
    }
    environment
}

/// Every flag that `--help` lists.
fn flags(
    program: &Path,
    arguments: &[&str],
    environment: &BTreeMap<String, OsString>,
) -> Result<BTreeSet<String>, ApiError> {
    let broken = |why: String| ApiError::Refused {
        why: format!("{} --help failed: {why}", program.display()),
        hint: Some(format!("try it by hand: {} --help", program.display())),
    };
    let mut child = Command::new(program)
        .args(arguments)
        .arg("--help")
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| broken(error.to_string()))?;
    let stdout = child.stdout.take();
    let (read, reading) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let capped = stdout.map(|stdout| std::io::Read::take(stdout, 4 << 20));
        let done = capped.map(|mut stdout| std::io::Read::read_to_end(&mut stdout, &mut text)).transpose();
        drop(read.send(done.map(|_| text))); // nobody waits for ever
    });
    let until = Instant::now() + HELP;
    let status = loop {
        match child.try_wait().map_err(|error| broken(error.to_string()))? {
            Some(status) => break status,
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            None => {
                drop(child.kill()); // it may have ended just now
                drop(child.wait());
                return Err(broken(format!("no answer in {} s", HELP.as_secs())));
            }
        }
    };
    // A wrapper may leave a child behind that holds the pipe.
    let left = until.saturating_duration_since(Instant::now());
    let text = reading.recv_timeout(left).map_err(|_| broken("its output does not end".into()))?;
    let text = String::from_utf8_lossy(&text.map_err(|error| broken(error.to_string()))?).into_owned();
    if !status.success() {
        return Err(broken(status.to_string()));
    }
    let is_flag = |word: &&str| word.starts_with('-') && word.len() > 1;
    let words =
        text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '=' | '|' | '[' | ']' | '(' | ')'));
    Ok(words.filter(is_flag).map(str::to_owned).collect())
}

/// A loopback port that is free now.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
