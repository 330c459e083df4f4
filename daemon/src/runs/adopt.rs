//! Runs that were there before this daemon: those that live go on under the same word, those that ended are told for a
//! while, and then their directories are removed. No other directory is touched.

use super::{Entry, Runs, drive, is_word};
use crate::{
    process,
    rundir::{self, Ended, Order, State},
};
use api::{Run, RunState};
use domain::engines;
use jiff::Timestamp;
use rustix::process::Signal;
use std::{fs, path::Path, time::Duration};
use tokio::time::{Instant, sleep};

/// Ended runs that are told, and how long.
pub(super) const KEPT: usize = 20;
const KEPT_HOURS: i64 = 24;

/// Whoever follows a run must see how it ended, also where many end at once.
const JUST_ENDED_SECONDS: i64 = 60;

/// A supervisor whose lock is held reports within this.
const REPORTING: Duration = Duration::from_secs(20);

impl Runs {
    pub(super) fn adopt(&self) {
        for entry in fs::read_dir(&self.0.dir).into_iter().flatten().flatten() {
            let Some(word) = entry.file_name().to_str().filter(|name| is_word(name)).map(str::to_owned)
            else {
                continue;
            };
            match rundir::order(&entry.path()) {
                Ok(order) => self.adopt_one(&word, order),
                Err(_) => remove_old(&entry.path()), // of a daemon that ended before it ordered anything
            }
        }
        self.prune();
    }

    fn adopt_one(&self, word: &str, order: Order) {
        let dir = self.dir(word);
        let state = rundir::state(&dir);
        let run = rundir::shown(&dir).unwrap_or_else(|| order.ordered.run.clone());
        let is_over = !run.state.is_live();
        let was_ready = run.state == RunState::Ready || run.ctx.is_some() && run.state == RunState::Stopping;
        let entry = Entry {
            secrets: engines::secrets(&order.argv()),
            key: order.ordered.key,
            port: order.ordered.port,
            planned_ctx: order.ordered.planned_ctx,
            expected: order.ordered.expected,
            booked: run.planned.clone(), // by the engine's own names: nobody has written down more
            supervisor: state.as_ref().and_then(|state| state.supervisor),
            ready_at: was_ready.then_some(run.since),
            is_stop_asked: run.state == RunState::Stopping,
            is_detached: true, // whoever had started it is gone
            ended: is_over.then(|| ended_at(state.as_ref(), &run)),
            run,
        };
        self.0.table.send_modify(|table| drop(table.insert(word.to_owned(), entry)));
        if !is_over {
            tokio::spawn(self.clone().go_on(word.to_owned(), state));
        }
    }

    /// Follows a run that another daemon has started.
    async fn go_on(self, word: String, state: Option<State>) {
        let dir = self.dir(&word);
        let until = Instant::now() + REPORTING;
        let mut state = state;
        while state.is_none() && is_held(&dir) && Instant::now() < until {
            sleep(Duration::from_millis(20)).await; // it is just starting
            state = rundir::state(&dir);
        }
        let supervisor = state.as_ref().and_then(|state| state.supervisor);
        let ended = match (state, supervisor) {
            (Some(State { ended: Some(ended), .. }), _) => ended,
            (Some(state), _) if state.boot != process::boot() => {
                drive::failed("the machine was started anew".into())
            }
            (Some(state), Some(supervisor)) => {
                self.change(&word, |entry| {
                    entry.supervisor = Some(supervisor);
                    entry.run.pid = state.engine.map(|engine| engine.pid);
                });
                if self.entry(&word).is_ok_and(|entry| entry.is_stop_asked) {
                    supervisor.signal(Signal::TERM); // the daemon before may not have come to it
                }
                tracing::info!(run = word, pid = state.engine.map(|engine| engine.pid), "goes on");
                self.attend(&word, supervisor).await
            }
            _ => drive::failed("it was never started".into()),
        };
        give_up(&dir, ended.clone());
        self.finish(&word, &ended);
    }

    /// Forgets runs that ended long ago, or that many have ended after.
    pub(super) fn prune(&self) {
        let now = Timestamp::now();
        let mut ended: Vec<(Timestamp, String)> = self
            .0
            .table
            .borrow()
            .iter()
            .filter_map(|(word, entry)| Some((entry.ended?, word.clone())))
            .collect();
        ended.sort_by(|(a, _), (b, _)| b.cmp(a));
        let seconds = |at: Timestamp| now.as_second() - at.as_second();
        let is_old = |rank: usize, at: Timestamp| {
            seconds(at) > KEPT_HOURS * 3600 || (rank >= KEPT && seconds(at) > JUST_ENDED_SECONDS)
        };
        let old: Vec<String> = ended
            .into_iter()
            .enumerate()
            .filter(|(rank, (at, _))| is_old(*rank, *at))
            .map(|(_, (_, word))| word)
            .collect();
        for word in old {
            // Another thread may have come to it first.
            if self.0.table.send_if_modified(|table| table.remove(&word).is_some()) {
                remove(&self.dir(&word));
            }
        }
    }
}

/// Says in the directory that it is over, where no supervisor is there to say so; one that comes late sees it and ends.
pub(super) fn give_up(dir: &Path, ended: Ended) {
    let Ok(lock) = rundir::lock_file(dir) else { return };
    if lock.try_lock().is_err() {
        return;
    }
    let state = rundir::state(dir);
    if state.as_ref().is_some_and(|state| state.ended.is_some()) {
        return;
    }
    let before =
        state.unwrap_or_else(|| State { boot: process::boot(), supervisor: None, engine: None, ended: None });
    if let Err(error) = rundir::write_state(dir, &State { ended: Some(ended), ..before }) {
        tracing::warn!(dir = %dir.display(), error = format!("{error:#}"), "the end of a run cannot be written down");
    }
}

/// Whether a supervisor lives there.
fn is_held(dir: &Path) -> bool {
    rundir::lock_file(dir).is_ok_and(|lock| lock.try_lock().is_err())
}

fn ended_at(state: Option<&State>, run: &Run) -> Timestamp {
    state.and_then(|state| state.ended.as_ref()).map_or(run.since, |ended| ended.at)
}

fn remove_old(dir: &Path) {
    let age = dir.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
    if age.is_some_and(|age| age > Duration::from_secs(24 * 3600)) && rundir::is_ours(dir) {
        remove(dir);
    }
}

/// Removes a directory that this module has made.
fn remove(dir: &Path) {
    if let Err(error) = fs::remove_dir_all(dir) {
        tracing::warn!(dir = %dir.display(), %error, "a run's directory cannot be removed");
    }
}
