//! The blocking workers: they look at units and files and report. They read the index, the core writes it.

mod check;
mod deal;
mod downloads;
mod found;
mod measure;
mod owner;
mod probe;
mod unit;

use crate::{
    core::{Event, Handle, Stopped},
    discover::discover,
    index::{Reader, UnitChange, UnitRow},
    mounts::Mounts,
    seats::Seats,
    volume::Volumes,
    watch::Watch,
};
use domain::{
    App,
    stores::{Environment, Unit},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread,
};

use deal::Deal;
pub(crate) use measure::Sight;
pub(crate) use probe::{Probed, There};
use probe::{probe_link, probe_root};

/// Two look, so that one slow disk does not hold up the other; more would not be faster on one disk.
const WORKERS: usize = 2;

/// What a worker is asked to do. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Look at a unit.
    Unit(UnitJob),
    /// Say which units of one root, of at least one, rest on something that has another stamp.
    Check(Vec<UnitJob>),
    /// Say whether a root is there, watching the way to it where it is not.
    Root { wanted: PathBuf },
    /// Say whether a link out of a root leads to a directory of models.
    Link { link: PathBuf, target: PathBuf },
    /// Say how far a file is that is being written; `total` is what its header said before.
    Growing { path: PathBuf, total: Option<u64> },
    /// Look where stores may live now.
    Discover,
    /// Read the mount table again, and open the index again: for every worker.
    Anew,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitJob {
    pub unit: UnitRow,
    /// The store whose rules apply.
    pub app: App,
    /// Where the root stands in the app's own layout.
    pub place: PathBuf,
    /// Which filesystems are thought to be seen at the root and below.
    pub seats: Arc<Seats>,
    /// Files that are being written: `false` while that is news, `true` once it is worth showing.
    pub growing: Vec<(PathBuf, bool)>,
    /// Every root, so that none is indexed as part of another.
    pub roots: Arc<BTreeSet<PathBuf>>,
}

impl UnitJob {
    /// Returns the unit as stores know it.
    pub(crate) fn as_unit(&self) -> Unit<'_> {
        let dir = self.unit.dir.strip_prefix(&self.unit.root).unwrap_or(Path::new(""));
        Unit { root: &self.unit.root, dir, place: &self.place }
    }
}

/// What looking at a unit has brought.
#[expect(clippy::large_enum_variant, reason = "one a look, moved once")]
#[derive(Debug, Clone, PartialEq)]
pub enum Looked {
    /// Nothing that it rests on has changed.
    Same,
    Different {
        change: UnitChange,
        /// Sub-directories that are units of their own.
        children: Vec<PathBuf>,
        /// Links that lead to directories outside the root, and where to.
        links: Vec<(PathBuf, PathBuf)>,
        /// Directories that cannot be watched, with the reason.
        unwatched: Vec<(PathBuf, String)>,
        /// One of the app's own files that cannot be understood, with the reason.
        damaged: Option<Box<(PathBuf, String)>>,
        /// Files whose header was read.
        read: u64,
        /// Files that changed while they were read: look again.
        restless: Vec<PathBuf>,
    },
    /// Other filesystems are seen in the root than was thought, or were for a moment: what was looked at may be
    /// another disk's. It is to be looked at again once it is known what is seen.
    Elsewhere,
    /// The directory is not there any more.
    Gone,
    /// The directory cannot be read; what was known of it stays.
    Unreadable(String),
}

/// Sends jobs to whichever worker is free.
#[derive(Debug)]
pub(crate) struct Workers {
    desk: Sender<Desk>,
}

/// What the dealing thread hears.
enum Desk {
    Job(Job),
    /// This worker has nothing to do.
    Free(usize),
}

struct Worker {
    inbox: Handle,
    watch: Watch,
    environment: Arc<Environment>,
    index: PathBuf,
    reader: Option<Reader>,
    mounts: Mounts,
    /// As they were when that table was read last.
    volumes: Volumes,
    /// `user:group` of ids met so far.
    owners: BTreeMap<(u32, u32), String>,
}

impl Workers {
    /// Starts the workers; they end with the process.
    pub(crate) fn start(
        inbox: &Handle,
        watch: &Watch,
        index: &Path,
        environment: &Environment,
    ) -> anyhow::Result<Self> {
        let (desk, heard) = channel();
        let environment = Arc::new(environment.clone());
        let crew = Crew {
            inbox: inbox.clone(),
            watch: watch.clone(),
            environment,
            index: index.to_owned(),
            desk: desk.clone(),
        };
        let deal = Deal::new(crew)?;
        thread::Builder::new().name("deal".into()).spawn(move || deal.run(&heard))?;
        Ok(Self { desk })
    }

    pub(crate) fn take(&self, job: Job) {
        drop(self.desk.send(Desk::Job(job))); // the workers end with the process
    }
}

/// What every worker needs.
struct Crew {
    inbox: Handle,
    watch: Watch,
    environment: Arc<Environment>,
    index: PathBuf,
    desk: Sender<Desk>,
}

impl Crew {
    fn hire(&self, number: usize) -> std::io::Result<Sender<Job>> {
        let (hand, taken) = channel();
        let mut worker = Worker {
            inbox: self.inbox.clone(),
            watch: self.watch.clone(),
            environment: Arc::clone(&self.environment),
            index: self.index.clone(),
            reader: None,
            mounts: Mounts::open()?, // before it is read, so that no change is missed
            volumes: Volumes::read(),
            owners: BTreeMap::new(),
        };
        let desk = self.desk.clone();
        thread::Builder::new().name(format!("work-{number}")).spawn(move || {
            while desk.send(Desk::Free(number)).is_ok()
                && let Ok(job) = taken.recv()
                && worker.run(job).is_ok()
            {}
        })?;
        Ok(hand)
    }
}

/// What is told of a job that failed by a bug, where somebody waits for an answer.
fn failed(job: &Job) -> Option<Event> {
    let why = || "a bug in modeld".to_owned();
    match job {
        Job::Unit(job) => Some(Event::Looked(job.unit.clone(), Looked::Unreadable(why()))),
        Job::Check(jobs) => Some(Event::Checked {
            same: Vec::new(),
            changed: jobs.iter().map(|job| job.unit.clone()).collect(),
        }),
        Job::Root { wanted } => Some(Event::Probed(Probed {
            wanted: wanted.clone(),
            there: None,
            spot: None,
            reason: Some(why()),
        })),
        Job::Discover => Some(Event::Discovered(None)),
        Job::Link { .. } | Job::Growing { .. } | Job::Anew => None,
    }
}

impl Worker {
    fn run(&mut self, job: Job) -> Result<(), Stopped> {
        let failed = failed(&job);
        // A parser's bug must not end the looking: the unit is reported, and the worker goes on.
        let report = catch_unwind(AssertUnwindSafe(|| self.perform(job))).unwrap_or_else(|_| {
            tracing::error!(?failed, "looking failed by a bug");
            self.reader = None; // it may stand inside a transaction
            failed
        });
        report.map_or(Ok(()), |report| self.inbox.send(report))
    }

    fn perform(&mut self, job: Job) -> Option<Event> {
        match job {
            Job::Unit(job) => {
                let looked = self.look(&job).unwrap_or_else(|error| Looked::Unreadable(format!("{error:#}")));
                Some(Event::Looked(job.unit, looked))
            }
            Job::Check(jobs) => {
                let (same, changed) = self.check(jobs);
                Some(Event::Checked { same, changed })
            }
            Job::Root { wanted } => {
                self.mind_mounts();
                Some(Event::Probed(probe_root(&wanted, &mut self.volumes, &self.watch)))
            }
            Job::Link { link, target } => {
                probe_link(&link, &target).then_some(Event::LinkLeads { link, target })
            }
            Job::Growing { path, total } => {
                let sight = measure::sight(&path, total);
                Some(Event::Grown(path, sight))
            }
            Job::Discover => {
                let found = discover(&self.environment, Some(&self.watch));
                Some(Event::Discovered(Some(Box::new(found))))
            }
            Job::Anew => {
                self.volumes = Volumes::read();
                self.reader = None;
                None
            }
        }
    }

    /// Whether something was mounted or unmounted since this was asked last.
    fn mind_mounts(&mut self) -> bool {
        let have_changed = self.mounts.have_changed();
        if have_changed {
            self.volumes = Volumes::read();
        }
        have_changed
    }

    /// Returns the worker's own connection, made when it is first needed.
    fn reader(&mut self) -> anyhow::Result<&Reader> {
        if self.reader.is_none() {
            self.reader = Some(Reader::open(&self.index)?);
        }
        self.reader.as_ref().ok_or_else(|| anyhow::anyhow!("no connection to the index"))
    }
}
