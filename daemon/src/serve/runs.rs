//! Answers about runs: launches and whoever follows them, what runs, its end, its log.

use super::{
    answer::{Done, Failure, meant, off_the_loop, refusal},
    hub::Hub,
    kin,
    varlink::Out,
};
use crate::{
    engine,
    engines::Engines,
    index::{User, UserChange},
    process::Tree,
    runs::{Log, PIECES},
};
use api::{ApiError, LaunchRequest, LaunchUpdate, Logged, Run, RunState, Stopped};
use domain::{Model, engines::HOST, facts::Facts};
use serde_json::value::RawValue;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::unix::OwnedReadHalf,
    time::sleep,
};

/// How often new output is looked at, while somebody follows it.
const BEAT: Duration = Duration::from_millis(100);

/// Lines of a log in one answer.
const CHUNK: usize = 1000;

/// Plans a launch where it holds nobody up; `max_age` is how old what is free may be.
pub(super) async fn prepare(
    hub: &Hub,
    order: LaunchRequest,
    (model, facts): (Model, Option<Facts>),
    max_age: Duration,
) -> Result<engine::Prepared, Failure> {
    let (model, facts, notes) = kin::fitted(hub, (model, facts), order.model.clone()).await?;
    let (engines, runs, user) = (Arc::clone(&hub.engines), hub.runs.clone(), hub.config.user());
    off_the_loop(move || {
        let world = engine::World {
            engines: &engines,
            reserved: &|since| runs.reserved(since),
            max_age,
            learned: &|model, engine, build| User::reader(&user)?.measured(model, engine, build),
        };
        let mut prepared = engine::prepare(&order, (&model, facts.as_ref()), &world)?;
        prepared.plan.explain.extend(notes);
        anyhow::Ok(prepared)
    })
    .await
}

/// What the launch is known by.
async fn key(hub: &Hub, order: &LaunchRequest, model: &Model) -> Result<String, Failure> {
    let (engines, order, id) = (Arc::clone(&hub.engines), order.clone(), model.id.clone());
    off_the_loop(move || engine::key(&order, &id, &engines)).await
}

/// Starts a run or joins the one that is meant, and tells how it goes.
pub(super) async fn launch(
    hub: &Hub,
    order: LaunchRequest,
    out: &mut Out<'_>,
    read: &mut BufReader<OwnedReadHalf>,
) -> Done {
    let is_detached = order.detach;
    let (run, is_new) = begin(hub, order, out).await?;
    let mut following = Following { hub, run, is_detached, was_ready: false };
    let told = following.tell(is_new, out, read).await;
    let word = following.run.run.clone();
    let has_left = matches!(told, Ok(Told::HungUp)) && is_new;
    if is_new && !hub.runs.is_detached(&word) {
        // Whatever happened to the peer, its run does not outlive it.
        if let Some(run) = hub.runs.stop(&word).await.filter(|_| has_left) {
            return Ok(out.last(&exited(run, true)).await?);
        }
    } else if has_left && !is_detached {
        let line =
            format!("[modeld: {word} was launched with --detach too: it goes on; modelctl stop {word}]");
        return Ok(out.last(&LaunchUpdate::Log { line }).await?);
    }
    told.map(drop)
}

/// Returns the run, and whether this launch has started it.
async fn begin(hub: &Hub, order: LaunchRequest, out: &mut Out<'_>) -> Result<(Run, bool), Failure> {
    engine::named(&order.engine)?;
    let (model, facts) = meant(hub, &order.model).await?;
    let key = key(hub, &order, &model).await?;
    if let Some(run) = hub.runs.join(&key, order.detach) {
        return Ok((run, false));
    }
    let admission = hub.runs.admission().await?;
    if let Some(run) = hub.runs.join(&key, order.detach) {
        return Ok((run, false)); // others have waited for the same
    }
    let is_detached = order.detach;
    let (id, engine) = (model.id.clone(), order.engine.clone());
    let prepared = prepare(hub, order, (model, facts), engine::LAUNCHED).await?;
    prepared.check()?;
    let plan = Box::new(prepared.shown_plan());
    let run = hub.runs.launch(prepared, key, is_detached).map_err(refusal)?;
    drop(admission);
    let told = out.more(&LaunchUpdate::Planned { plan }).await;
    let used = hub.memory.change(UserChange::Used { model: id.clone(), engine }).await;
    let said = hub.said(id).await;
    if let Err(error) = used.and(said) {
        tracing::warn!(error = format!("{error:#}"), "a launch is not remembered");
    }
    if let Err(error) = told {
        if !hub.runs.is_detached(&run.run) {
            hub.runs.stop(&run.run).await;
        }
        return Err(error.into());
    }
    Ok((run, true))
}

enum Told {
    /// The last answer is given.
    All,
    HungUp,
}

/// Somebody who follows a launch.
struct Following<'a> {
    hub: &'a Hub,
    run: Run,
    is_detached: bool,
    was_ready: bool,
}

impl Following<'_> {
    async fn tell(
        &mut self,
        is_new: bool,
        out: &mut Out<'_>,
        read: &mut BufReader<OwnedReadHalf>,
    ) -> Result<Told, Failure> {
        let mut changes = self.hub.runs.changes();
        out.more(&LaunchUpdate::Started { run: self.run.clone() }).await?;
        // From the first line for whoever has started it, else from now on.
        let mut log = self.hub.runs.log(&self.run.run, is_new);
        loop {
            // First how it stands, then what it has said: the last lines come before the end.
            let run = self.hub.runs.get(&self.run.run);
            let lines;
            (log, lines) = read_on(log).await?;
            for line in lines {
                out.more(&LaunchUpdate::Log { line }).await?;
            }
            match run {
                Some(run) => self.run = run,
                None => return Err(ApiError::Internal { message: "the run was forgotten".into() }.into()),
            }
            if !self.run.state.is_live() {
                return self.end(log, out).await.map(|()| Told::All);
            }
            if self.run.state == RunState::Ready && !self.was_ready {
                self.was_ready = true;
                let update = LaunchUpdate::Ready { run: self.run.clone() };
                if self.is_detached {
                    out.last(&update).await?;
                    return Ok(Told::All);
                }
                out.more(&update).await?;
            }
            let pause = if log.is_behind() { Duration::ZERO } else { BEAT };
            tokio::select! {
                biased;
                // A byte here would be a call inside a stream: nobody who speaks Varlink does that.
                _ = read.fill_buf() => return Ok(Told::HungUp),
                () = changes.next() => {}
                () = sleep(pause) => {}
            }
        }
    }

    async fn end(&mut self, mut log: Log, out: &mut Out<'_>) -> Done {
        loop {
            let lines;
            (log, lines) = read_on(log).await?;
            let is_all = lines.is_empty();
            for line in if is_all { log.last_line() } else { lines } {
                out.more(&LaunchUpdate::Log { line }).await?;
            }
            if is_all {
                break;
            }
        }
        let run = self.run.clone();
        if run.state == RunState::Failed && !self.was_ready {
            let Run { engine, why, hint, last_lines, .. } = run;
            let why = why.unwrap_or_else(|| "it vanished".into());
            return Err(ApiError::RunFailed { engine, why, last_lines, hint }.into());
        }
        let stopped = self.hub.runs.was_stopped(&run.run);
        Ok(out.last(&exited(run, stopped)).await?)
    }
}

fn exited(run: Run, stopped: bool) -> LaunchUpdate {
    LaunchUpdate::Exited { code: run.code, signal: run.signal, stopped, run }
}

pub(super) async fn all(hub: &Hub) -> Result<Vec<Run>, Failure> {
    let (runs, engines) = (hub.runs.clone(), Arc::clone(&hub.engines));
    off_the_loop(move || {
        let mut all = runs.all();
        held(&mut all, &engines);
        anyhow::Ok(all)
    })
    .await
}

/// What the driver says that runs hold on a card, in place of what the engine has said that it allocates.
fn held(runs: &mut [Run], engines: &Engines) {
    let is_on_card = |run: &&mut Run| run.pid.is_some() && run.memory.keys().any(|id| id.starts_with("CUDA"));
    let on_cards: Vec<&mut Run> = runs.iter_mut().filter(is_on_card).collect();
    if on_cards.is_empty() {
        return; // no look is taken for nothing: it may wake a card
    }
    let Ok(look) = engines.machine() else { return };
    let processes = Tree::now();
    for run in on_cards {
        let below = run.pid.map(|pid| processes.below(pid)).unwrap_or_default();
        let pids: Vec<u32> = run.pid.into_iter().chain(below.iter().map(|process| process.pid)).collect();
        let devices: Vec<String> = run.memory.keys().filter(|id| *id != HOST).cloned().collect();
        for card in &look.hardware.gpus {
            let bytes: u64 = pids.iter().filter_map(|pid| card.processes.get(pid)).sum();
            // Where CUDA_VISIBLE_DEVICES renumbers cards, the one that is held is the one that is meant.
            let id = if let [only] = devices.as_slice() { only } else { &card.id };
            if bytes > 0 {
                run.memory.insert(id.clone(), bytes);
            }
        }
    }
}

pub(super) async fn stop(hub: &Hub, typed: &str) -> Result<Stopped, Failure> {
    let word = hub.runs.resolve_live(typed)?;
    let run = hub.runs.stop(&word).await;
    let run = run.ok_or_else(|| ApiError::NoSuchRun { name: typed.to_owned(), runs: Vec::new() })?;
    if run.state.is_live() {
        let why = format!("{word} does not end: the kernel holds a process of it (pid {:?})", run.pid);
        return Err(
            ApiError::Refused { why, hint: Some("modelctl ps shows whether it goes later".into()) }.into()
        );
    }
    Ok(Stopped { run })
}

/// The end of a log as one answer, which is made off the event loop too.
pub(super) async fn log_end(hub: &Hub, typed: &str) -> Result<Box<RawValue>, Failure> {
    let (runs, word) = (hub.runs.clone(), hub.runs.resolve(typed)?);
    off_the_loop(move || serde_json::value::to_raw_value(&Logged { lines: runs.log_end(&word) })).await
}

/// Sends what is kept of a log now.
pub(super) async fn whole_log(hub: &Hub, typed: &str, out: &mut Out<'_>) -> Done {
    let mut log = hub.runs.log(&hub.runs.resolve(typed)?, true);
    for _ in 0..PIECES {
        let lines;
        (log, lines) = read_on(log).await?;
        if lines.is_empty() {
            break;
        }
        send(&lines, out).await?;
    }
    Ok(out.last(&Logged { lines: log.last_line() }).await?)
}

/// Sends a log until the run ends or the peer hangs up.
pub(super) async fn follow(
    hub: &Hub,
    typed: &str,
    out: &mut Out<'_>,
    read: &mut BufReader<OwnedReadHalf>,
) -> Done {
    let word = hub.runs.resolve(typed)?;
    let mut log = hub.runs.log(&word, true);
    let mut changes = hub.runs.changes();
    loop {
        let is_over = hub.runs.get(&word).is_none_or(|run| !run.state.is_live());
        let lines;
        (log, lines) = read_on(log).await?;
        if lines.is_empty() && is_over {
            return Ok(out.last(&Logged { lines: log.last_line() }).await?);
        }
        send(&lines, out).await?;
        if lines.is_empty() {
            tokio::select! {
                () = changes.next() => {}
                () = sleep(BEAT) => {}
                _ = read.fill_buf() => return Ok(()),
            }
        }
    }
}

async fn send(lines: &[String], out: &mut Out<'_>) -> Done {
    for chunk in lines.chunks(CHUNK) {
        out.more(&Logged { lines: chunk.to_vec() }).await?;
    }
    Ok(())
}

/// Reads the next lines, off the event loop: there may be as many as bytes, and the disk may be slow.
async fn read_on(mut log: Log) -> Result<(Log, Vec<String>), Failure> {
    off_the_loop(move || {
        let lines = log.new_lines();
        anyhow::Ok((log, lines))
    })
    .await
}
