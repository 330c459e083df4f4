//! Hands each job to a worker that is free, in order. A worker that does not come back (from a server that is gone) is
//! replaced, and nobody else is sent where it is. Does no job itself.

use super::{Crew, Desk, Job, WORKERS};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

/// Longer than a look takes on a disk that is not very busy.
const LONG: Duration = Duration::from_secs(5);
/// Workers at most, those that do not come back among them.
const MOST: usize = 32;
/// Workers that one place may keep, whatever is mounted meanwhile.
const LOST: usize = 4;

struct Busy {
    place: PathBuf,
    since: Instant,
    /// Something was mounted since: it may be another place.
    is_past: bool,
}

impl Busy {
    fn is_late(&self) -> bool {
        self.since.elapsed() > LONG
    }
}

pub(super) struct Deal {
    crew: Crew,
    hands: Vec<Sender<Job>>,
    free: BTreeSet<usize>,
    busy: BTreeMap<usize, Busy>,
    waiting: VecDeque<Job>,
}

impl Deal {
    pub(super) fn new(crew: Crew) -> std::io::Result<Self> {
        let hands = (0..WORKERS).map(|number| crew.hire(number)).collect::<std::io::Result<_>>()?;
        let (free, busy, waiting) = (BTreeSet::new(), BTreeMap::new(), VecDeque::new());
        Ok(Self { crew, hands, free, busy, waiting })
    }

    pub(super) fn run(mut self, heard: &Receiver<Desk>) {
        loop {
            let news = if self.waiting.is_empty() {
                heard.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                heard.recv_timeout(LONG)
            };
            match news {
                Ok(Desk::Job(Job::Anew)) => self.anew(),
                Ok(Desk::Job(job)) => self.waiting.push_back(job),
                Ok(Desk::Free(number)) => {
                    self.busy.remove(&number);
                    self.free.insert(number);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Some(at) = self.next()
                && let Some(hand) = self.hand()
            {
                self.give(at, hand);
            }
        }
    }

    /// What concerns all workers. What did not answer may do so under another mount table.
    fn anew(&mut self) {
        self.hands.iter().for_each(|hand| drop(hand.send(Job::Anew)));
        self.busy.values_mut().filter(|busy| busy.is_late()).for_each(|busy| busy.is_past = true);
    }

    /// The first job at a place from which everybody comes back.
    fn next(&self) -> Option<usize> {
        let late: Vec<&Busy> = self.busy.values().filter(|busy| busy.is_late()).collect();
        let is_stuck = |place: &Path| {
            let mut there = late.iter().filter(|busy| place.starts_with(&busy.place));
            there.clone().count() >= LOST || there.any(|busy| !busy.is_past)
        };
        self.waiting.iter().position(|job| !is_stuck(place(job)))
    }

    fn hand(&mut self) -> Option<usize> {
        if let Some(number) = self.free.pop_first() {
            return Some(number);
        }
        let number = self.hands.len();
        // One that was hired a moment ago is neither busy nor free.
        let is_nobody_left = self.busy.len() == number && self.busy.values().all(Busy::is_late);
        if number >= MOST || !is_nobody_left {
            return None;
        }
        let places: Vec<&Path> = self.busy.values().map(|busy| &*busy.place).collect();
        tracing::warn!(?places, "no worker has come back for a while: another one goes on");
        // It says that it is free, as all do.
        match self.crew.hire(number) {
            Ok(hand) => self.hands.push(hand),
            Err(error) => tracing::error!(%error, "no other worker could be started"),
        }
        None
    }

    fn give(&mut self, at: usize, number: usize) {
        let Some((job, hand)) = self.waiting.remove(at).zip(self.hands.get(number)) else { return };
        let busy = Busy { place: place(&job).to_owned(), since: Instant::now(), is_past: false };
        self.busy.insert(number, busy);
        drop(hand.send(job)); // the workers end with the process
    }
}

/// The place that has to answer for a job to end.
fn place(job: &Job) -> &Path {
    match job {
        Job::Unit(job) => &job.unit.root,
        Job::Check(jobs) => jobs.first().map_or(Path::new(""), |job| &job.unit.root),
        Job::Root { wanted: path } | Job::Link { target: path, .. } | Job::Growing { path, .. } => path,
        Job::Discover => Path::new("discovery"), // keeps nobody from any other place
        Job::Anew => Path::new(""),
    }
}
