//! The runs: which there are, how they stand, how they end. Each has a supervisor of its own that outlives the daemon, so
//! this table can be made anew from their directories at any time. Knows no engine by name, and starts nothing itself.

mod adopt;
mod drive;
mod http;
mod learn;
mod log;
mod names;
mod start;
#[cfg(test)]
mod tests;

use crate::{
    config::Config,
    engine::Prepared,
    engines::Engines,
    process::{Process, Tree},
    remember::Memory,
    rundir::{self, Ordered},
};
use api::{ApiError, Event, EventKind, ModelRef, Run, RunState};
use domain::{
    ByteSize,
    engines::{self, Allocated, HOST},
    plan::Expected,
};
use jiff::Timestamp;
use rustix::process::Signal;
use std::{cmp::Reverse, collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, SemaphorePermit, broadcast, watch},
    time::timeout,
};

pub(crate) use log::{Log, PIECES};

/// A supervisor needs this long at most; one that was stopped itself is killed then, and its engine dies with it.
const STOPPING: Duration = Duration::from_millis(6500);

/// How much more than was planned is told, bytes.
const WORTH_A_NOTE: u64 = 64 << 20;

/// Lines that are told of a run.
const LAST_LINES: usize = 20;

/// The runs of this user.
#[derive(Debug, Clone)]
pub(crate) struct Runs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    starter: start::Starter,
    published: broadcast::Sender<Arc<Event>>,
    table: watch::Sender<Table>,
    admission: Semaphore,
    learning: learn::Learning,
}

/// Runs by their word.
type Table = BTreeMap<String, Entry>;

#[derive(Debug, Clone)]
struct Entry {
    run: Run,
    /// Two launches with one key mean the same run.
    key: String,
    port: u16,
    /// Tokens; the run has those that the engine tells.
    planned_ctx: Option<u64>,
    expected: Option<Expected>,
    /// Keys in its command, which are never shown.
    secrets: Vec<String>,
    /// What is planned for it, by what a device is called by everybody.
    booked: BTreeMap<String, u64>,
    /// None until it is there.
    supervisor: Option<Process>,
    /// None until it was ready for the first time.
    ready_at: Option<Timestamp>,
    is_stop_asked: bool,
    is_detached: bool,
    ended: Option<Timestamp>,
}

impl Runs {
    /// Finds the runs that there are already, and goes on with them.
    pub(crate) fn new(
        config: &Config,
        published: broadcast::Sender<Arc<Event>>,
        (memory, engines): (Memory, Arc<Engines>),
    ) -> Self {
        let shared = Shared {
            dir: config.runs(),
            starter: start::Starter::new(config),
            published,
            table: watch::Sender::new(Table::new()),
            admission: Semaphore::new(1),
            learning: learn::Learning { memory, engines },
        };
        let runs = Self(Arc::new(shared));
        runs.adopt();
        runs
    }

    /// Waits until no other launch plans: none may count on memory that another one is about to take.
    pub(crate) async fn admission(&self) -> anyhow::Result<SemaphorePermit<'_>> {
        Ok(self.0.admission.acquire().await?)
    }

    /// Bytes by device (and `host`) that runs will take which had not yet taken them at `since`, when the memory that
    /// is planned with was looked at.
    pub(crate) fn reserved(&self, since: Timestamp) -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        let table = self.0.table.borrow();
        let unseen = table.values().filter(|entry| entry.is_unseen(since));
        for (device, bytes) in unseen.flat_map(|entry| &entry.booked) {
            let all: &mut u64 = sum.entry(device.clone()).or_default();
            *all = all.saturating_add(*bytes);
        }
        sum
    }

    /// Returns the run that a launch with this key means, where it starts or runs. A detached launch is told that it
    /// runs on: it has no owner from then on.
    pub(crate) fn join(&self, key: &str, is_detached: bool) -> Option<Run> {
        let is_meant = |entry: &&Entry| {
            entry.key == key && matches!(entry.run.state, RunState::Starting | RunState::Ready)
        };
        let entry = self.0.table.borrow().values().find(is_meant).cloned()?;
        if is_detached && !entry.is_detached {
            let warning = entry.run.unit.as_ref().and_then(|_| self.0.starter.warning());
            self.change(&entry.run.run, |entry| {
                entry.is_detached = true;
                entry.run.notes.extend(warning);
            });
        }
        self.get(&entry.run.run)
    }

    /// Enters a run into the table and starts it; it has its port and its reservation from here on.
    pub(crate) fn launch(
        &self,
        mut prepared: Prepared,
        key: String,
        is_detached: bool,
    ) -> anyhow::Result<Run> {
        while let Some(holder) = self.holder(prepared.port) {
            if prepared.is_port_fixed {
                let why = format!("port {} is taken by the run {holder}", prepared.port);
                let hint = Some(format!("give another --port, or stop that one: modelctl stop {holder}"));
                return Err(ApiError::Refused { why, hint }.into());
            }
            prepared = prepared.moved_to(crate::engine::free_port()?);
        }
        prepared.check_port()?;
        let word = format!("r{}", crate::run::mint().chars().take(6).collect::<String>());
        crate::config::make_private(&self.dir(&word))?;
        let run = new_run(word.clone(), &prepared);
        let entry = Entry {
            run: run.clone(),
            key,
            port: prepared.port,
            planned_ctx: prepared.plan.llama.as_ref().map(|llama| llama.ctx_per_slot),
            expected: prepared.expected.clone(),
            secrets: engines::secrets(&prepared.launch.argv),
            booked: prepared.booked.clone(),
            supervisor: None,
            ready_at: None,
            is_stop_asked: false,
            is_detached,
            ended: None,
        };
        self.0.table.send_modify(|table| drop(table.insert(word.clone(), entry)));
        self.publish(&run);
        tokio::spawn(self.clone().drive(word, prepared));
        Ok(run)
    }

    /// The run that has a port or is about to take it.
    fn holder(&self, port: u16) -> Option<String> {
        let table = self.0.table.borrow();
        table.values().find(|entry| entry.holds(port)).map(|entry| entry.run.run.clone())
    }

    /// The runs that have processes, oldest first.
    pub(crate) fn live(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = self.0.table.borrow().values().map(|entry| entry.run.clone()).collect();
        runs.retain(|run| run.state.is_live());
        runs.sort_by_key(|run| run.since);
        runs
    }

    /// What runs, with its memory and last lines, then what has ended lately; blocking.
    pub(crate) fn all(&self) -> Vec<Run> {
        self.prune();
        let entries = self.0.table.borrow().values().cloned().collect::<Vec<Entry>>();
        let (mut ended, mut live): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.ended.is_some());
        live.sort_by_key(|entry| entry.run.since);
        ended.sort_by_key(|entry| Reverse((entry.ended, entry.run.since)));
        let processes = if live.is_empty() { Tree::default() } else { Tree::now() };
        live.into_iter()
            .chain(ended.into_iter().take(adopt::KEPT))
            .map(|mut entry| {
                if entry.run.state.is_live() {
                    entry.run.memory.extend(learn::memory(entry.supervisor, &processes));
                    entry.run.last_lines = self.last_lines(&entry.run.run, LAST_LINES, &entry.secrets);
                }
                entry.run
            })
            .collect()
    }

    /// Whether one is taking its memory.
    pub(crate) fn is_starting(&self) -> bool {
        self.0.table.borrow().values().any(|entry| entry.run.state == RunState::Starting)
    }

    /// Returns a run as it stands.
    pub(crate) fn get(&self, word: &str) -> Option<Run> {
        self.0.table.borrow().get(word).map(|entry| entry.run.clone())
    }

    /// Whether it goes on without whoever has started it.
    pub(crate) fn is_detached(&self, word: &str) -> bool {
        self.0.table.borrow().get(word).is_some_and(|entry| entry.is_detached)
    }

    /// Whether it has ended because somebody asked for it.
    pub(crate) fn was_stopped(&self, word: &str) -> bool {
        self.0.table.borrow().get(word).is_some_and(|entry| entry.is_stop_asked)
    }

    /// Tells of every change of any run.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.0.table.subscribe())
    }

    /// Returns what a run prints, from its first line or from now on.
    pub(crate) fn log(&self, word: &str, from_start: bool) -> Log {
        Log::open(&self.dir(word), from_start, &self.secrets(word))
    }

    /// The end of what a run has printed, as much as one answer takes; blocking.
    pub(crate) fn log_end(&self, word: &str) -> Vec<String> {
        log::end(&self.dir(word), &self.secrets(word))
    }

    fn secrets(&self, word: &str) -> Vec<String> {
        self.0.table.borrow().get(word).map(|entry| entry.secrets.clone()).unwrap_or_default()
    }

    /// Ends a run; returns when nothing of it is left.
    pub(crate) async fn stop(&self, word: &str) -> Option<Run> {
        self.change(word, |entry| {
            entry.is_stop_asked = true;
            entry.run.state = RunState::Stopping;
        });
        let supervisor = self.0.table.borrow().get(word).and_then(|entry| entry.supervisor);
        if let Some(supervisor) = supervisor {
            supervisor.signal(Signal::TERM);
        }
        if timeout(STOPPING, self.end_of(word)).await.is_err() {
            if let Some(supervisor) = supervisor {
                tracing::warn!(run = word, "its supervisor does not end, killing it");
                supervisor.signal(Signal::KILL);
            }
            drop(timeout(STOPPING, self.end_of(word)).await); // then as it stands
        }
        self.get(word)
    }

    async fn end_of(&self, word: &str) {
        let mut table = self.0.table.subscribe();
        let has_ended = |table: &Table| table.get(word).is_none_or(|entry| !entry.run.state.is_live());
        drop(table.wait_for(has_ended).await); // the sender lives as long as this
    }

    /// Changes a run that has not ended, and tells of it.
    fn change(&self, word: &str, change: impl FnOnce(&mut Entry)) {
        let mut changed = None;
        self.0.table.send_if_modified(|table| {
            let Some(entry) = table.get_mut(word).filter(|entry| entry.run.state.is_live()) else {
                return false;
            };
            change(entry);
            changed = Some(entry.run.clone());
            true
        });
        if let Some(run) = changed {
            self.publish(&run);
        }
    }

    fn publish(&self, run: &Run) {
        if let Err(error) = rundir::write_shown(&self.dir(&run.run), run) {
            tracing::warn!(run = run.run, error = format!("{error:#}"), "a run cannot be written down");
        }
        let event = Event::new(Timestamp::now(), EventKind::RunChanged);
        let event = Event { run: Some(Box::new(run.clone())), ..event };
        drop(self.0.published.send(Arc::new(event))); // nobody may be listening
    }

    fn dir(&self, word: &str) -> PathBuf {
        self.0.dir.join(word)
    }

    fn last_lines(&self, word: &str, count: usize, secrets: &[String]) -> Vec<String> {
        log::last_lines(&self.dir(word), count, secrets)
    }
}

impl Entry {
    /// Notes what the engine says that it has allocated, and whether that is more than was planned.
    fn allocate(&mut self, allocated: &BTreeMap<String, Allocated>) {
        let on_devices = || allocated.iter().filter(|(place, _)| *place != HOST);
        self.run.on_cpu = (!allocated.is_empty()).then(|| on_devices().all(|(_, bytes)| bytes.weights == 0));
        self.run.memory = on_devices().map(|(device, bytes)| (device.clone(), bytes.total())).collect();
        for (device, bytes) in &self.run.memory {
            let planned = self.run.planned.get(device).copied().unwrap_or(0);
            if !self.run.planned.is_empty() && *bytes > planned.saturating_add(WORTH_A_NOTE) {
                let (bytes, planned) = (ByteSize(*bytes), ByteSize(planned));
                self.run.notes.push(format!("it takes {bytes} on {device}; {planned} were planned"));
            }
        }
    }

    fn ordered(self) -> Ordered {
        let Self { key, port, planned_ctx, expected, run, .. } = self;
        Ordered { key, port, planned_ctx, expected, run }
    }

    /// Whether a look at the machine at `since` does not show all that it takes.
    fn is_unseen(&self, since: Timestamp) -> bool {
        match self.run.state {
            RunState::Starting => true,
            RunState::Ready => self.ready_at.is_some_and(|at| at > since),
            RunState::Stopping | RunState::Exited | RunState::Failed => false,
        }
    }

    fn holds(&self, port: u16) -> bool {
        self.run.state.is_live() && self.port == port
    }
}

/// Wakes whoever follows runs.
pub(crate) struct Changes(watch::Receiver<Table>);

impl Changes {
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await; // the daemon is ending
        }
    }
}

fn new_run(word: String, prepared: &Prepared) -> Run {
    let plan = &prepared.plan;
    Run {
        run: word,
        engine: plan.engine.clone(),
        model: ModelRef { id: plan.model.id.clone(), name: plan.model.name.clone() },
        state: RunState::Starting,
        ours: true,
        pid: None,
        unit: None,
        url: Some(plan.url.clone()),
        ctx: None,
        since: Timestamp::now(),
        memory: BTreeMap::new(),
        planned: prepared.reserve.clone(),
        on_cpu: None,
        last_lines: Vec::new(),
        why: None,
        hint: None,
        code: None,
        signal: None,
        notes: Vec::new(),
    }
}

/// Whether a file name is one that this module gives to runs.
fn is_word(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte);
    name.len() == 7 && name.starts_with('r') && name.bytes().all(is_letter)
}
