//! Engines that were started: each in a process group of its own, its output in a file of its own.
//! A run ends when whoever asked for it hangs up, or with the daemon. Knows no engine.

mod http;

use crate::{
    engine::Prepared,
    serve::{Failure, Out},
};
use anyhow::Context as _;
use api::{ApiError, Event, EventKind, LaunchUpdate, ModelRef, RunRef, RunState};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::{fs::OpenOptionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::unix::OwnedReadHalf,
    process::{Child, Command},
    sync::{broadcast, watch},
    time::{Instant, sleep, timeout},
};

/// How often readiness is asked for and new output looked at, while somebody waits.
const BEAT: Duration = Duration::from_millis(100);

/// Between asking to end and killing: llama-server needs about a second to free a large model.
const GRACE: Duration = Duration::from_secs(4);

/// Lines that are told when a run fails.
const LAST_LINES: usize = 20;

/// Longest piece of output that is read at once, bytes.
const PIECE: u64 = 64 << 10;

/// The runs of this daemon.
#[derive(Debug)]
pub(crate) struct Runs {
    dir: PathBuf,
    published: broadcast::Sender<Arc<Event>>,
    state: watch::Sender<Table>,
}

#[derive(Debug, Default)]
struct Table {
    runs: BTreeMap<u64, RunRef>,
    next: u64,
    is_stopping: bool,
}

/// One started engine.
struct Run {
    number: u64,
    shown: RunRef,
    child: Child,
    log: Log,
}

impl Runs {
    pub(crate) fn new(dir: PathBuf, published: broadcast::Sender<Arc<Event>>) -> Self {
        Self { dir, published, state: watch::Sender::new(Table::default()) }
    }

    pub(crate) fn all(&self) -> Vec<RunRef> {
        self.state.borrow().runs.values().cloned().collect()
    }

    /// Ends every run; returns when all are gone, or when they have had time enough.
    pub(crate) async fn stop_all(&self) {
        self.state.send_modify(|table| table.is_stopping = true);
        let mut state = self.state.subscribe();
        let gone = state.wait_for(|table| table.runs.is_empty());
        drop(timeout(GRACE + Duration::from_secs(1), gone).await); // they were killed by then
    }

    /// Starts an engine, tells what becomes of it, and stops it when the peer hangs up.
    pub(crate) async fn launch(
        &self,
        prepared: Prepared,
        out: &mut Out<'_>,
        read: &mut BufReader<OwnedReadHalf>,
    ) -> Result<(), Failure> {
        out.more(&LaunchUpdate::Planned { plan: prepared.plan.clone() }).await?;
        let mut run = self.start(&prepared)?;
        let told = self.attend(&prepared, &mut run, out, read).await;
        // Whatever happened to the peer, nothing is left running.
        let is_ours = run.child.try_wait().ok().flatten().is_none();
        self.update(&mut run, RunState::Stopping);
        let status = end(run.shown.pid, &mut run.child).await;
        self.forget(&mut run, status.filter(|_| !is_ours));
        let was_ready = told?;
        let (code, signal) = (status.and_then(|s| s.code()), status.and_then(|s| s.signal()));
        if !was_ready && !is_ours {
            let last_lines = run.log.last_lines();
            let why = status.map_or_else(|| "it vanished".into(), |status| status.to_string());
            return Err(ApiError::RunFailed { engine: run.shown.engine, why, last_lines }.into());
        }
        Ok(out.last(&LaunchUpdate::Exited { run: run.shown, code, signal, stopped: is_ours }).await?)
    }

    fn start(&self, prepared: &Prepared) -> Result<Run, Failure> {
        let mut number = 0;
        self.state.send_modify(|table| {
            table.next += 1;
            number = table.next;
        });
        let word: String = crate::run::mint().chars().take(6).collect();
        let name = format!("r{word}");
        let dir = self.dir.join(&name);
        crate::config::make_private(&dir)?;
        let path = dir.join("log");
        let log = OpenOptions::new()
            .create_new(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .context("making the log")?;
        let (program, arguments) = prepared.launch.argv.split_first().context("an empty command")?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(&prepared.environment)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing the log")?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| ApiError::RunFailed {
                engine: prepared.plan.engine.clone(),
                why: format!("{} cannot be started: {error}", Path::new(program).display()),
                last_lines: Vec::new(),
            })?;
        let model = ModelRef { id: prepared.plan.model.id.clone(), name: prepared.plan.model.name.clone() };
        let shown = RunRef {
            run: name,
            engine: prepared.plan.engine.clone(),
            model,
            state: RunState::Starting,
            pid: child.id(),
            url: Some(prepared.plan.url.clone()),
            ctx: None,
            since: Timestamp::now(),
        };
        tracing::info!(
            run = shown.run,
            engine = shown.engine,
            model = shown.model.name,
            pid = shown.pid,
            "launched"
        );
        let mut run = Run { number, shown, child, log: Log { path, at: 0, partial: Vec::new() } };
        self.update(&mut run, RunState::Starting);
        Ok(run)
    }

    /// Tells the peer how the run goes until it ends or the peer hangs up; returns whether it was ever ready.
    async fn attend(
        &self,
        prepared: &Prepared,
        run: &mut Run,
        out: &mut Out<'_>,
        read: &mut BufReader<OwnedReadHalf>,
    ) -> Result<bool, Failure> {
        out.more(&LaunchUpdate::Started { run: run.shown.clone() }).await?;
        let mut state = self.state.subscribe();
        let mut is_ready = false;
        loop {
            let stopping = state.wait_for(|table| table.is_stopping);
            let has_ended = tokio::select! {
                ended = run.child.wait() => { ended.context("waiting for the engine")?; true }
                hung_up = read.fill_buf() => {
                    // A byte here would be a call inside a stream: nobody who speaks Varlink does that.
                    drop(hung_up);
                    return Ok(is_ready);
                }
                _ = stopping => return Ok(is_ready),
                () = sleep(BEAT) => false,
            };
            for line in run.log.new_lines() {
                out.more(&LaunchUpdate::Log { line }).await?;
            }
            if has_ended {
                return Ok(is_ready);
            }
            if !is_ready && http::is_ok(&prepared.launch.url, prepared.engine.ready().health).await {
                is_ready = true;
                let (page, pointer) = prepared.engine.ready().context;
                let page = http::get(&prepared.launch.url, page).await;
                let json: Option<serde_json::Value> =
                    page.and_then(|body| serde_json::from_slice(&body).ok());
                run.shown.ctx = json.and_then(|json| json.pointer(pointer)?.as_u64());
                self.update(run, RunState::Ready);
                out.more(&LaunchUpdate::Ready { run: run.shown.clone() }).await?;
            }
        }
    }

    fn update(&self, run: &mut Run, state: RunState) {
        run.shown.state = state;
        self.state.send_modify(|table| drop(table.runs.insert(run.number, run.shown.clone())));
        self.publish(&run.shown);
    }

    /// `ended_by_itself` is its status where we did not stop it.
    fn forget(&self, run: &mut Run, ended_by_itself: Option<ExitStatus>) {
        let has_failed = ended_by_itself.is_some_and(|status| !status.success());
        run.shown.state = if has_failed { RunState::Failed } else { RunState::Exited };
        tracing::info!(run = run.shown.run, state = ?run.shown.state, "ended");
        self.state.send_modify(|table| drop(table.runs.remove(&run.number)));
        self.publish(&run.shown);
    }

    fn publish(&self, run: &RunRef) {
        let event =
            Event { at: Timestamp::now(), event: EventKind::RunChanged, model: None, run: Some(run.clone()) };
        drop(self.published.send(Arc::new(event))); // nobody may be listening
    }
}

/// Ends the whole group: asks, waits, kills. Also what the engine has left behind when it ended by itself.
async fn end(pid: Option<u32>, child: &mut Child) -> Option<ExitStatus> {
    // The group's number is the first process's; nobody else gets it while one of the group is left.
    let group = pid.and_then(|id| Pid::from_raw(id.cast_signed()));
    let signal = |signal| {
        if let Some(group) = group {
            kill_process_group(group, signal).ok(); // it may be gone
        }
    };
    signal(Signal::TERM);
    let until = Instant::now() + GRACE;
    let status = match timeout(GRACE, child.wait()).await {
        Ok(status) => status.ok(),
        Err(_) => {
            signal(Signal::KILL);
            child.wait().await.ok()
        }
    };
    while group.is_some_and(|group| kill_process_group(group, Signal::CONT).is_ok()) {
        if Instant::now() >= until {
            signal(Signal::KILL);
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    status
}

/// What an engine has printed, read as it grows.
struct Log {
    path: PathBuf,
    at: u64,
    partial: Vec<u8>,
}

impl Log {
    /// Whole lines since the last look; the rest waits for its end.
    fn new_lines(&mut self) -> Vec<String> {
        let mut bytes = std::mem::take(&mut self.partial);
        let before = bytes.len();
        let piece = self.read_from(self.at).unwrap_or_default();
        self.at += piece.len() as u64;
        bytes.extend(piece);
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.partial = bytes.split_off(end);
        if self.partial.len() as u64 > PIECE {
            bytes.append(&mut self.partial); // a line without end is cut
        }
        debug_assert!(before as u64 <= PIECE);
        let text = String::from_utf8_lossy(&bytes);
        text.lines().map(str::to_owned).collect()
    }

    fn last_lines(&self) -> Vec<String> {
        let len = self.path.metadata().map_or(0, |meta| meta.len());
        let bytes = self.read_from(len.saturating_sub(PIECE)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(LAST_LINES)).map(|line| (*line).to_owned()).collect()
    }

    fn read_from(&self, at: u64) -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        file.take(PIECE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
