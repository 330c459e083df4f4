//! `modeld supervise RUNDIR`: the process that stands between one engine and everybody else. It outlives the daemon, keeps
//! the log within bounds, and leaves nothing behind. Knows no socket and no database; decides nothing about models.
//!
//! The engine dies with it: `modeld exec-engine` asks the kernel for that, then becomes the engine. What an engine
//! starts and lets go of comes back here, as this process is the subreaper of all that is below it.

mod log;

pub(crate) use log::HALF;

use crate::{
    process::{self, Process},
    rundir::{self, Ended, State},
};
use anyhow::{Context as _, bail};
use jiff::Timestamp;
use rustix::process::{Signal, WaitOptions, WaitStatus};
use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};

/// This program, also where its file was replaced meanwhile.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// Between asking to end and killing: llama-server needs about a second to free a large model.
const GRACE: Duration = Duration::from_millis(3500);

/// What a process that the kernel cannot end may take after it was killed.
const KILLING: Duration = Duration::from_millis(1500);

const BEAT: Duration = Duration::from_millis(20);

/// How the daemon starts itself beside an engine, with words that nobody types; None for any others. A failure comes with
/// the exit code for it.
pub fn beside_an_engine(arguments: &[OsString]) -> Option<Result<(), (u8, anyhow::Error)>> {
    match arguments {
        [command, dir] if command == "supervise" => {
            crate::be_frugal();
            Some(supervise(Path::new(dir)).map_err(|error| (1, error)))
        }
        [command, dir, supervisor] if command == "exec-engine" => {
            let Err(error) = exec_engine(Path::new(dir), supervisor);
            Some(Err((NOT_STARTED, error)))
        }
        _ => None,
    }
}

/// What a shell exits with where a command cannot be started.
const NOT_STARTED: u8 = 127;

/// Starts what the directory orders and stays until nothing of it is left.
fn supervise(dir: &Path) -> anyhow::Result<()> {
    let lock = rundir::lock_file(dir).context("opening the lock")?;
    // The daemon holds it for moments only, to see whether anybody is here.
    lock.lock().context("taking the lock")?;
    if rundir::state(dir).is_some_and(|state| state.ended.is_some()) {
        return Ok(()); // it was given up before this process came to it
    }
    rustix::process::setsid().ok(); // a unit's process leads a session already
    let own = Process::of(std::process::id());
    let mut state = State { boot: process::boot(), supervisor: own, engine: None, ended: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(run(dir, &mut state)).unwrap_or_else(|error| Ended {
        error: Some(format!("{error:#}")),
        at: Timestamp::now(),
        ..Ended::default()
    });
    state.ended = Some(ended);
    rundir::write_state(dir, &state)
}

/// Becomes the engine of a directory, and dies with the supervisor.
fn exec_engine(dir: &Path, supervisor: &OsStr) -> anyhow::Result<Infallible> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.as_deref().map(OsStr::new) != Some(supervisor) {
        bail!("the supervisor has ended");
    }
    let order = rundir::order(dir)?;
    let argv = order.argv();
    let (program, arguments) = argv.split_first().context("an empty command")?;
    let error = Command::new(program).args(arguments).env_clear().envs(order.environment()).exec();
    Err(error).with_context(|| format!("{} cannot be started", Path::new(program).display()))
}

async fn run(dir: &Path, state: &mut State) -> anyhow::Result<Ended> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut children = signal(SignalKind::child())?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .context("becoming the subreaper")?;
    let kills = oom_kills();
    let (engine, log) = start(dir)?;
    state.engine = Process::of(engine);
    rundir::write_state(dir, state)?;
    let mut stopped = false;
    let mut status = None;
    while status.is_none() && !stopped {
        tokio::select! {
            _ = terminate.recv() => stopped = true,
            _ = interrupt.recv() => stopped = true,
            _ = hangup.recv() => stopped = true,
            _ = children.recv() => status = reap(engine).0,
        }
    }
    // Also what the engine has left behind when it ended by itself.
    let late = end_all(engine).await;
    let status = status.or(late);
    log::wait(&log);
    let signal = status.and_then(WaitStatus::terminating_signal);
    Ok(Ended {
        code: status.and_then(WaitStatus::exit_status),
        signal,
        stopped,
        // The cgroup may be shared with others, where there is no unit.
        oom_kill: signal == Some(Signal::KILL.as_raw()) && oom_kills() > kills,
        error: None,
        at: Timestamp::now(),
    })
}

/// Starts the engine in a group of its own. From the main thread: the kernel ends it with the thread that made it.
fn start(dir: &Path) -> anyhow::Result<(u32, log::Done)> {
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    let log = log::keep(dir, reader)?;
    let child = Command::new(OWN_PROGRAM)
        .arg("exec-engine")
        .arg(dir)
        .arg(std::process::id().to_string())
        .env_clear()
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("sharing the pipe")?)
        .stderr(writer)
        .process_group(0)
        .spawn()
        .context("starting the engine")?;
    Ok((child.id(), log))
}

/// Fetches every child that has ended; returns how the engine did, and whether there are children left.
fn reap(engine: u32) -> (Option<WaitStatus>, bool) {
    let mut found = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().cast_unsigned() == engine => {
                found = Some(status);
            }
            Ok(Some(_)) => {}
            Ok(None) => return (found, true),
            Err(_) => return (found, false), // ECHILD
        }
    }
}

/// Asks everything below to end, waits, kills; returns how the engine ended where that was not known yet.
async fn end_all(engine: u32) -> Option<WaitStatus> {
    let mut found = None;
    let asked = Instant::now();
    let mut told: Vec<Process> = Vec::new();
    loop {
        // A process whose first thread has ended looks dead while others of it still free its memory.
        let (status, has_children) = reap(engine);
        found = found.or(status);
        if !has_children || asked.elapsed() > GRACE + KILLING {
            return found;
        }
        for process in process::descendants(std::process::id()) {
            if asked.elapsed() > GRACE {
                process.signal(Signal::KILL);
            } else if !told.contains(&process) {
                told.push(process);
                process.signal(Signal::TERM);
            }
        }
        sleep(BEAT).await;
    }
}

/// How often the kernel has killed for memory in this process's cgroup.
fn oom_kills() -> u64 {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(group) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return 0 };
    let events = Path::new("/sys/fs/cgroup").join(group).join("memory.events");
    let text = fs::read_to_string(events).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}
