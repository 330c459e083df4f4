//! Hashing while nothing else is to do: one file at a time, slowly, at idle priority, and not at all on battery.
//! Sleeps without a timer where every file has its hash.

use super::{
    Desk, Hasher, NoHash,
    idle::{is_on_battery, why_not_now},
};
use crate::{config::Config, core::Handle, hash::Pages, index::Reader, remember::Memory};
use api::{EventKind, Job};
use domain::{Model, Verification, hashes::Waiting};
use jiff::Timestamp;
use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    unix::thread_native_id,
};
use tokio::sync::{broadcast, watch};

/// How long everything has to be still before anything is hashed.
const SETTLE: Duration = Duration::from_secs(2);
/// When it is looked again whether the machine has become idle.
const LATER: Duration = Duration::from_secs(30);
/// How long the background rests while somebody waits for hashes, before it looks again.
const REST: Duration = Duration::from_millis(200);
/// How often progress is told.
const BEAT: Duration = Duration::from_secs(1);
/// The lowest priority, for kernels and control groups that weigh by it alone.
const LOWEST: i32 = 19;

/// Tells the background that the index has settled.
#[derive(Debug, Clone)]
pub(crate) struct Kick(SyncSender<()>);

impl Kick {
    pub(crate) fn kick(&self) {
        self.0.try_send(()).ok(); // one that waits says the same
    }
}

struct Background {
    config: Config,
    memory: Memory,
    core: Handle,
    published: broadcast::Sender<Arc<api::Event>>,
    kicked: Receiver<()>,
    asked: Arc<AtomicUsize>,
    job: watch::Sender<Option<Job>>,
    /// Files that could not be hashed, as they were then.
    given_up: BTreeSet<(PathBuf, i64, i64)>,
}

/// Starts the thread, unless the user does not want it; it ends with the process.
pub(crate) fn start(
    config: &Config,
    memory: &Memory,
    core: &Handle,
    published: &broadcast::Sender<Arc<api::Event>>,
) -> anyhow::Result<(Kick, Desk)> {
    let (kick, kicked) = sync_channel(1);
    let (job, shown) = watch::channel(None);
    let asked = Arc::new(AtomicUsize::new(0));
    let desk = Desk { asked: Arc::clone(&asked), job: shown };
    let background = Background {
        config: config.clone(),
        memory: memory.clone(),
        core: core.clone(),
        published: published.clone(),
        kicked,
        asked,
        job,
        given_up: BTreeSet::new(),
    };
    if config.verify_rate.is_some() {
        thread::Builder::new().name("verify".into()).spawn(move || background.run())?;
    }
    Ok((Kick(kick), desk))
}

/// When to look again.
enum Next {
    /// When something changes.
    News,
    After(Duration),
    /// When the machine is idle, or something changes.
    Idle,
}

impl Background {
    fn run(mut self) {
        step_back();
        while self.kicked.recv().is_ok() {
            loop {
                while self.kicked.recv_timeout(SETTLE).is_ok() {}
                let next = self.pass().unwrap_or_else(|error| {
                    tracing::warn!(error = format!("{error:#}"), "hashing in the background has failed");
                    Next::After(LATER)
                });
                self.job.send_replace(None);
                match next {
                    Next::News => break,
                    Next::After(wait) => drop(self.kicked.recv_timeout(wait)), // news or time, both will do
                    Next::Idle => self.wait_until_idle(),
                }
            }
        }
    }

    /// What waits is not read again each time that the machine turns out to be busy.
    fn wait_until_idle(&self) {
        while why_not_now(&self.config.environment.sysroot).is_some()
            && self.kicked.recv_timeout(LATER) == Err(RecvTimeoutError::Timeout)
        {}
    }

    /// Hashes what waits, until there is news or nothing left.
    fn pass(&mut self) -> anyhow::Result<Next> {
        let reader = Reader::open(&self.config.index())?;
        let mut waiting: Vec<Waiting> = Vec::new();
        reader.models(|_, text| {
            let model: Model = serde_json::from_str(text)?;
            waiting.extend(Waiting::of(&model));
            Ok(())
        })?;
        drop(reader);
        waiting.retain(|waiting| !self.given_up.contains(&key(waiting)));
        if waiting.is_empty() {
            return Ok(Next::News);
        }
        waiting.sort_by_key(Waiting::urgency);
        let paths = (self.config.index(), self.config.user());
        let places = (paths.0.as_path(), paths.1.as_path());
        let mut hasher = Hasher::open(places, self.memory.clone(), self.core.clone(), Pages::Return)?;
        let total = waiting.iter().map(|waiting| waiting.file.size).fold(0, u64::saturating_add);
        let (mut done, mut is_young) = (0, false);
        for waiting in &waiting {
            if why_not_now(&self.config.environment.sysroot).is_some() {
                return Ok(Next::Idle);
            }
            if is_young_file(waiting) {
                is_young = true;
                continue;
            }
            self.one(&mut hasher, waiting, (done, total));
            done = waiting.file.size.saturating_add(done);
            if self.kicked.try_recv().is_ok() {
                return Ok(Next::After(Duration::ZERO));
            }
        }
        self.tell(None, total, total);
        Ok(if is_young { Next::After(SETTLE) } else { Next::News })
    }

    fn one(&mut self, hasher: &mut Hasher, waiting: &Waiting, (before, total): (u64, u64)) {
        if hasher.is_remote(&waiting.file) {
            self.given_up.insert(key(waiting));
            return;
        }
        let mut pace = Pace::new(self.config.verify_rate.unwrap_or(u64::MAX));
        let mut told = None;
        let hashed = hasher.hashes((&waiting.model, &waiting.file), false, &mut |done| {
            if told.is_none_or(|at: Instant| at.elapsed() >= BEAT) {
                told = Some(Instant::now());
                self.tell(Some(&waiting.name), before.saturating_add(done), total);
                if is_on_battery(&self.config.environment.sysroot) {
                    return false;
                }
            }
            pace.keep(done);
            while self.asked.load(Ordering::Relaxed) > 0 {
                thread::sleep(REST);
            }
            true
        });
        let path = waiting.file.path.text();
        match hashed {
            Ok(hashes) => {
                let mut file = waiting.file.clone();
                file.put_hashes(hashes);
                if file.verification() == Verification::Mismatch {
                    tracing::warn!(path, "the file is not what its source recorded");
                }
            }
            Err(NoHash::Stopped) => {}
            Err(why) => {
                tracing::debug!(path, ?why, "a file could not be hashed");
                self.given_up.insert(key(waiting));
            }
        }
    }

    fn tell(&self, name: Option<&str>, done: u64, total: u64) {
        let job = Job { job: "verify".into(), name: name.map(str::to_owned), done, total };
        self.job.send_replace(Some(job.clone()).filter(|_| done < total));
        let event = api::Event::new(Timestamp::now(), EventKind::JobChanged);
        let event = api::Event { job: Some(job), ..event };
        drop(self.published.send(Arc::new(event))); // nobody may be listening
    }
}

/// Lets everybody else go first: with this policy processor and disk are given where nobody else wants them (the kernel
/// takes the class of reading from it, `task_nice_ioclass`). Threads that are started inherit it.
fn step_back() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let idle = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle);
    if let Err(error) = idle {
        tracing::warn!(?error, "hashing in the background does not wait for an idle processor and disk");
    }
    if let Err(error) = rustix::process::nice(LOWEST) {
        tracing::warn!(%error, "hashing in the background runs at a usual priority");
    }
}

/// A file as it is now; one that cannot be looked at is the same each time.
fn key(waiting: &Waiting) -> (PathBuf, i64, i64) {
    let path = waiting.file.path.to_path();
    let changed = path.metadata().map_or((0, 0), |meta| (meta.ctime(), meta.ctime_nsec()));
    (path, changed.0, changed.1)
}

/// It has not been still for long enough.
fn is_young_file(waiting: &Waiting) -> bool {
    let modified = waiting.file.path.to_path().metadata().and_then(|meta| meta.modified());
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < SETTLE))
}

/// Keeps to a rate.
struct Pace {
    /// Bytes a second.
    rate: u64,
    /// When how many bytes were done.
    last: (Instant, u64),
}

impl Pace {
    fn new(rate: u64) -> Self {
        Self { rate, last: (Instant::now(), 0) }
    }

    /// Waits for as long as what was done since the last time may take.
    fn keep(&mut self, done: u64) {
        let (at, before) = self.last;
        let due = Duration::from_millis(done.saturating_sub(before).saturating_mul(1000) / self.rate.max(1));
        thread::sleep(due.saturating_sub(at.elapsed()));
        self.last = (Instant::now(), done);
    }
}
