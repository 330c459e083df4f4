//! The kernel's file events, turned into changes of paths. Parses nothing, decides nothing.
//!
//! Watches are set one directory at a time, for whoever is about to list it: setting them below a directory once it is
//! told of loses most of what is made quickly.

mod kernel;
mod table;
#[cfg(test)]
mod tests;

use crate::core::{Event, Handle};
use kernel::Kernel;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Something happened at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A file was made and is open for writing, or may be.
    Begun,
    /// Its attributes have changed.
    Touched,
    /// A file that was there before has been written and closed.
    Closed,
    /// What is there now is meant: closed after writing, renamed, linked; or gone.
    Settled,
}

/// Sets and removes watches; may be cloned to every worker.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    orders: Sender<Order>,
    /// Wakes who sleeps until there are orders or events. After `orders`: it is closed when nobody can order any more.
    bell: Arc<UnixStream>,
}

enum Order {
    Add(Vec<PathBuf>, Sender<Failed>),
    RemoveBelow(PathBuf),
}

/// Directories that could not be watched, and why.
type Failed = Vec<(PathBuf, String)>;

/// What the kernel tells.
#[derive(Debug, PartialEq, Eq)]
enum Raw {
    Changed(PathBuf, Change),
    /// Its queue was full: anything may have changed.
    Lost,
}

/// Raw events wait here; when it is full the kernel's own queue fills, and overflows with a flag that we see.
const BACKLOG: usize = 4096;

/// Changes of one path within this time are one change. Small against the 20 ms that a client may wait.
const GATHER: Duration = Duration::from_millis(2);

impl Watch {
    /// Starts watching; events under `cookies` become `Event::Cookie`, in order with all others.
    pub(crate) fn start(inbox: Handle, cookies: PathBuf) -> anyhow::Result<Self> {
        let (raw, events) = sync_channel(BACKLOG);
        let gatherer = Gatherer { inbox, cookies };
        thread::Builder::new().name("gather".into()).spawn(move || gatherer.run(&events))?;
        Ok(Self::telling(raw)?)
    }

    fn telling(raw: SyncSender<Raw>) -> io::Result<Self> {
        let (orders, ordered) = channel();
        let (bell, rung) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        let kernel = Kernel::new(ordered, rung, raw);
        thread::Builder::new().name("watch".into()).spawn(move || kernel.run())?;
        Ok(Self { orders, bell: Arc::new(bell) })
    }

    /// Watches what stands at these paths now; returns those that could not be, with the reason. Watching twice is
    /// watching once.
    pub(crate) fn add(&self, dirs: Vec<PathBuf>) -> Failed {
        if dirs.is_empty() {
            return Vec::new();
        }
        let (answer, answered) = channel();
        self.order(Order::Add(reached(dirs), answer));
        answered.recv().unwrap_or_default()
    }

    /// As `add`, but does not wait until it is done.
    pub(crate) fn add_later(&self, dirs: Vec<PathBuf>) {
        self.order(Order::Add(reached(dirs), channel().0));
    }

    /// Forgets a directory and all below it: a watch follows what was moved away, and would tell of it here.
    /// What is added afterwards is watched anew.
    pub(crate) fn remove_below(&self, dir: PathBuf) {
        self.order(Order::RemoveBelow(dir));
    }

    fn order(&self, order: Order) {
        drop(self.orders.send(order)); // the watching thread ends with the process
        drop((&*self.bell).write(&[0])); // where there is no room, it has been rung
    }
}

/// The filesystems are asked by who orders: one that does not answer must not keep everybody from his watches.
fn reached(dirs: Vec<PathBuf>) -> Vec<PathBuf> {
    dirs.into_iter().inspect(|dir| drop(dir.metadata())).collect()
}

/// Gathers raw events into changes of distinct paths.
struct Gatherer {
    inbox: Handle,
    cookies: PathBuf,
}

impl Gatherer {
    fn run(&self, events: &Receiver<Raw>) {
        while let Ok(first) = events.recv() {
            let mut batch = Batch::default();
            self.gather(first, &mut batch);
            let until = Instant::now() + GATHER;
            while let Ok(next) = events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                self.gather(next, &mut batch);
                if batch.changes.len() >= BACKLOG {
                    break;
                }
            }
            if batch.send(&self.inbox).is_err() {
                return;
            }
        }
    }

    fn gather(&self, raw: Raw, batch: &mut Batch) {
        match raw {
            Raw::Lost => batch.is_lost = true,
            Raw::Changed(path, change) => match path.strip_prefix(&self.cookies) {
                Ok(name) => batch.cookies.extend(name.to_str().map(str::to_owned)),
                Err(_) => batch.put(path, change),
            },
        }
    }
}

#[derive(Default)]
struct Batch {
    changes: BTreeMap<PathBuf, Change>,
    cookies: BTreeSet<String>,
    is_lost: bool,
}

impl Batch {
    /// The later change of a path counts, and a settled one is not undone by the begin before it.
    fn put(&mut self, path: PathBuf, change: Change) {
        let is_begun = change == Change::Begun;
        let change = if is_begun && !is_being_written(&path) { Change::Settled } else { change };
        let change = match (change, self.changes.get(&path)) {
            (Change::Touched, Some(before)) => *before,
            // It was made in the same moment.
            (Change::Closed, Some(Change::Begun | Change::Settled)) => Change::Settled,
            (change, _) => change,
        };
        self.changes.insert(path, change);
    }

    fn send(self, inbox: &Handle) -> Result<(), crate::core::Stopped> {
        if self.is_lost {
            inbox.send(Event::Lost)?;
        }
        if !self.changes.is_empty() {
            inbox.send(Event::Changed(self.changes.into_iter().collect()))?;
        }
        for cookie in self.cookies {
            inbox.send(Event::Cookie(cookie))?;
        }
        Ok(())
    }
}

/// Links and directories are whole when they appear; only a regular file with one name may still be written.
fn is_being_written(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.nlink() == 1)
}
