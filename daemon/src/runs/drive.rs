//! One task a run: starts its supervisor, asks whether the engine is ready, and sleeps until the end. A port that was taken
//! meanwhile is changed and tried again.

use super::{Entry, LAST_LINES, Runs, adopt, http, log};
use crate::{
    engine::{self, Prepared},
    fault,
    process::{self, Process},
    rundir::{self, Ended, Order, State},
};
use anyhow::{Context as _, bail};
use api::{Run, RunState};
use domain::engines::{self, Diagnosis, End, EndClass, Engine};
use jiff::Timestamp;
use rustix::process::Signal;
use std::{os::fd::OwnedFd, path::Path, time::Duration};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Child,
    time::{Instant, sleep},
};

/// How often readiness is asked for, at first and later.
const BEAT: Duration = Duration::from_millis(100);
const SLOW_BEAT: Duration = Duration::from_millis(500);

/// An engine that is not ready by then loads a large model from a slow disk.
const SOON: Duration = Duration::from_secs(15);

/// One that neither gets ready nor prints anything for so long is stuck.
const SILENCE: Duration = Duration::from_secs(30 * 60);

/// Lines that are told of one that never got ready.
const STUCK_LINES: usize = 50;

/// How long a supervisor may take until it reports.
const STARTING: Duration = Duration::from_secs(20);

const STARTING_BEAT: Duration = Duration::from_millis(10);

/// The first start, and one more for each port that was taken.
const ATTEMPTS: usize = 4;

impl Runs {
    pub(super) async fn drive(self, word: String, mut prepared: Prepared) {
        let mut attempt = 1;
        loop {
            let ended = match self.start(&word, &prepared, attempt).await {
                Ok(supervisor) => self.attend(&word, supervisor).await,
                Err(error) => failed(with_advice(&error)),
            };
            let may_move = attempt < ATTEMPTS && !prepared.is_port_fixed;
            let again = may_move && self.lost_its_port(&word, &ended);
            match engine::free_port().ok().filter(|_| again) {
                Some(port) => prepared = prepared.moved_to(port),
                None => return self.finish(&word, &ended),
            }
            tracing::info!(run = word, port = prepared.port, "the port was taken, trying another");
            attempt += 1;
            rundir::clear(&self.dir(&word));
        }
    }

    /// Returns the supervisor when it has reported.
    async fn start(&self, word: &str, prepared: &Prepared, attempt: usize) -> anyhow::Result<Process> {
        let dir = self.dir(word);
        let manager = self.0.starter.manager();
        let unit = manager.as_ref().map(|_| match attempt {
            1 => format!("modelctl-{word}.service"),
            // The unit before may not be gone yet.
            again => format!("modelctl-{word}-{again}.service"),
        });
        let linger = unit.as_ref().and_then(|_| self.0.starter.warning());
        self.change(word, |entry| {
            entry.port = prepared.port;
            entry.run.url = Some(prepared.plan.url.clone());
            entry.run.unit.clone_from(&unit);
            entry.run.notes = linger.filter(|_| entry.is_detached).into_iter().collect();
        });
        let entry = self.entry(word)?;
        let mut environment = prepared.environment.clone();
        environment.insert(process::MARK.into(), dir.clone().into());
        rundir::write_order(&dir, &Order::new(&prepared.launch.argv, &environment, entry.ordered()))?;
        let asked = match (&manager, &unit) {
            (Some(manager), Some(unit)) => Some(manager.start(unit, &dir).await),
            _ => None,
        };
        let child = match asked {
            Some(Ok(())) => None,
            // A manager that is slow to answer may have started it.
            Some(Err(_)) if rundir::state(&dir).is_some() => None,
            Some(Err(error)) => {
                tracing::warn!(run = word, error = format!("{error:#}"), "started without a unit");
                self.change(word, |entry| entry.run.unit = None);
                Some(super::start::detached(&dir)?)
            }
            None => Some(super::start::detached(&dir)?),
        };
        let state = reported(&dir, child).await?;
        self.started(word, &state)
    }

    fn started(&self, word: &str, state: &State) -> anyhow::Result<Process> {
        let supervisor = state.supervisor.context("the supervisor has no number")?;
        self.change(word, |entry| {
            entry.supervisor = Some(supervisor);
            entry.run.pid = state.engine.map(|engine| engine.pid);
        });
        let entry = self.entry(word)?;
        let Run { engine, model, pid, unit, .. } = &entry.run;
        tracing::info!(run = word, engine, model = model.name, pid, unit, "launched");
        if entry.is_stop_asked {
            supervisor.signal(Signal::TERM);
        }
        Ok(supervisor)
    }

    /// Waits for the end of a run, and for its readiness on the way.
    pub(super) async fn attend(&self, word: &str, supervisor: Process) -> Ended {
        let dir = self.dir(word);
        let fd = match supervisor.open().map(watched) {
            None => return outcome(&dir, supervisor).await,
            Some(Ok(fd)) => fd,
            Some(Err(error)) => return failed(format!("it cannot be followed: {error}")),
        };
        let began = Instant::now();
        let (mut printed, mut last_word) = (log::size(&dir), began);
        while self.entry(word).is_ok_and(|entry| entry.run.state == RunState::Starting) {
            let pause = if began.elapsed() < SOON { BEAT } else { SLOW_BEAT };
            let ended = tokio::select! {
                ended = fd.readable() => ended.is_ok(),
                () = sleep(pause) => false,
            };
            if ended {
                return outcome(&dir, supervisor).await;
            }
            self.ask(word, supervisor).await;
            if log::size(&dir) != printed {
                (printed, last_word) = (log::size(&dir), Instant::now());
            }
            if last_word.elapsed() > SILENCE {
                supervisor.signal(Signal::TERM);
                drop(fd.readable().await); // it ends either way
                let why =
                    format!("it did not get ready, and said nothing for {} minutes", SILENCE.as_secs() / 60);
                return failed(why);
            }
        }
        drop(fd.readable().await); // it ends either way
        outcome(&dir, supervisor).await
    }

    /// Asks the engine whether it is ready, and notes it.
    async fn ask(&self, word: &str, supervisor: Process) {
        let Ok(entry) = self.entry(word) else { return };
        let (Some(url), Some(engine)) = (entry.run.url, engines::find(&entry.run.engine)) else { return };
        if http::get(&url, engine.ready().health, None).await.is_none() {
            return;
        }
        // Another program may have the port, and answer.
        let port = entry.port;
        let is_ours = move || process::listens(port, &process::descendants(supervisor.pid));
        if !tokio::task::spawn_blocking(is_ours).await.unwrap_or(false) {
            return;
        }
        let key = rundir::order(&self.dir(word)).ok().and_then(|order| engines::api_key(&order.argv()));
        let ctx = context(engine, &url, key.as_ref()).await;
        let allocated = engine.allocated(&log::first_lines(&self.dir(word)));
        if entry.ready_at.is_none() {
            self.learn(word, supervisor, &allocated).await;
        }
        self.change(word, |entry| {
            if let (Some(planned), Some(ctx)) = (entry.planned_ctx, ctx)
                && planned != ctx
            {
                let note = format!("its context has {ctx} tokens; {planned} were planned");
                entry.run.notes.push(note);
            }
            entry.run.ctx = ctx;
            entry.allocate(&allocated);
            entry.ready_at.get_or_insert_with(Timestamp::now);
            if entry.run.state == RunState::Starting {
                entry.run.state = RunState::Ready;
            }
        });
    }

    fn lost_its_port(&self, word: &str, ended: &Ended) -> bool {
        let Ok(entry) = self.entry(word) else { return false };
        !entry.is_stop_asked
            && entry.ready_at.is_none()
            && !ended.stopped
            && self.diagnose(&entry, ended).class == EndClass::PortTaken
    }

    fn diagnose(&self, entry: &Entry, ended: &Ended) -> Diagnosis {
        if let Some(why) = &ended.error {
            return Diagnosis { class: EndClass::Other, why: why.clone(), hint: None };
        }
        let run = &entry.run;
        let lines = self.last_lines(&run.run, LAST_LINES, &entry.secrets);
        let mut diagnosis = engines::diagnose(&End {
            engine: &run.engine,
            model: &run.model.name,
            ctx: run.ctx.or(entry.planned_ctx),
            lines: &lines,
            code: ended.code,
            signal: ended.signal,
            oom_kill: ended.oom_kill,
            was_ready: entry.ready_at.is_some(),
        });
        if diagnosis.class == EndClass::PortTaken
            && let Some((pid, name)) = process::listener(entry.port)
        {
            diagnosis.why.push_str(&format!("; {name} (pid {pid}) has port {}", entry.port));
        }
        diagnosis
    }

    /// Notes how a run has ended.
    pub(super) fn finish(&self, word: &str, ended: &Ended) {
        let Ok(entry) = self.entry(word) else { return };
        let was_stopped = ended.stopped || entry.is_stop_asked;
        let went_well = entry.ready_at.is_some() && ended.error.is_none() && ended.code == Some(0);
        let has_failed = !was_stopped && !went_well;
        self.learn_speed(&entry);
        let diagnosis = has_failed.then(|| self.diagnose(&entry, ended));
        let count = if ended.error.is_some() { STUCK_LINES } else { LAST_LINES };
        let last_lines = self.last_lines(word, count, &entry.secrets);
        self.change(word, |entry| {
            let run = &mut entry.run;
            run.state = if has_failed { RunState::Failed } else { RunState::Exited };
            (run.pid, run.code, run.signal) = (None, ended.code, ended.signal);
            run.memory.clear();
            (run.why, run.hint) = diagnosis.map_or((None, None), |found| (Some(found.why), found.hint));
            run.last_lines = last_lines;
            entry.ended = Some(ended.at);
            entry.is_stop_asked = was_stopped;
        });
        let run = self.get(word);
        tracing::info!(run = word, state = ?run.as_ref().map(|run| run.state), why = run.and_then(|run| run.why), "ended");
        self.prune();
    }

    pub(super) fn entry(&self, word: &str) -> anyhow::Result<Entry> {
        self.0.table.borrow().get(word).cloned().with_context(|| format!("the run {word} is gone"))
    }
}

/// The alternative that is not deprecated is unsafe: a type may change its descriptor meanwhile. This one cannot.
#[expect(deprecated, reason = "an OwnedFd is the same descriptor for ever")]
fn watched(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

async fn context(engine: &dyn Engine, url: &str, key: Option<&String>) -> Option<u64> {
    let (page, pointer) = engine.ready().context;
    let json: serde_json::Value = serde_json::from_slice(&http::get(url, page, key).await?).ok()?;
    json.pointer(pointer)?.as_u64()
}

/// Waits until a supervisor says what it has started.
async fn reported(dir: &Path, mut child: Option<Child>) -> anyhow::Result<State> {
    let until = Instant::now() + STARTING;
    loop {
        if let Some(state) = rundir::state(dir) {
            return Ok(state);
        }
        let status = child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        if let Some(status) = status {
            return rundir::state(dir).with_context(|| format!("its supervisor ended at once, {status}"));
        }
        if Instant::now() > until {
            adopt::give_up(dir, failed("its supervisor does not start".into()));
            bail!("its supervisor does not start");
        }
        sleep(STARTING_BEAT).await;
    }
}

/// How a run has ended whose supervisor is gone.
pub(super) async fn outcome(dir: &Path, supervisor: Process) -> Ended {
    if let Some(ended) = rundir::state(dir).and_then(|state| state.ended) {
        return ended;
    }
    // The engine dies with its supervisor; what the engine had started does not.
    let until = Instant::now() + SOON;
    loop {
        let left = process::left_behind(supervisor, dir);
        if left.is_empty() || Instant::now() > until {
            break;
        }
        left.into_iter().for_each(|process| process.signal(Signal::KILL));
        sleep(STARTING_BEAT).await;
    }
    let ended = failed("its supervisor was killed, and the engine with it".into());
    adopt::give_up(dir, ended.clone());
    ended
}

fn with_advice(error: &anyhow::Error) -> String {
    match fault::advice(error) {
        Some(advice) => format!("{error:#}; {advice}"),
        None => format!("{error:#}"),
    }
}

pub(super) fn failed(why: String) -> Ended {
    Ended { error: Some(why), at: Timestamp::now(), ..Ended::default() }
}
