//! The kernel's file events, through notify, turned into changes of paths. Parses nothing, decides nothing.
//!
//! Watches are set one directory at a time, by whoever is about to list it: the library's own recursion loses most
//! of what is made quickly. The mask leaves out opens, reads and writes, so that other programs' reading and a
//! growing download wake nobody.

use crate::core::{Event, Handle};
use anyhow::Context as _;
use notify::{
    Config, EventKind, EventKindMask, INotifyWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
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
    /// What is there now is meant: closed after writing, renamed, linked; or gone.
    Settled,
}

/// Sets and removes watches; may be cloned to every worker.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    orders: Sender<Order>,
}

enum Order {
    Add(Vec<PathBuf>, Sender<Vec<(PathBuf, String)>>),
    Renew(Vec<PathBuf>),
    RemoveBelow(PathBuf),
}

/// Raw events wait here; when it is full the kernel's own queue fills, and overflows with a flag that we see.
const BACKLOG: usize = 4096;

/// Changes of one path within this time are one change. Small against the 20 ms that a client may wait.
const GATHER: Duration = Duration::from_millis(2);

impl Watch {
    /// Starts watching; events under `cookies` become `Event::Cookie`, in order with all others.
    pub(crate) fn start(inbox: Handle, cookies: PathBuf) -> anyhow::Result<Self> {
        let (raw, events) = sync_channel(BACKLOG);
        let (orders, ordered) = channel();
        let watcher = INotifyWatcher::new(Forward(raw), config()).context("starting inotify")?;
        thread::Builder::new().name("watch".into()).spawn(move || own(watcher, &ordered))?;
        let gatherer = Gatherer { inbox, cookies };
        thread::Builder::new().name("gather".into()).spawn(move || gatherer.run(&events))?;
        Ok(Self { orders })
    }

    /// Watches directories; returns those that could not be, with the reason. Watching twice is watching once.
    pub(crate) fn add(&self, dirs: Vec<PathBuf>) -> Vec<(PathBuf, String)> {
        let (answer, answered) = channel();
        if dirs.is_empty() || self.orders.send(Order::Add(dirs, answer)).is_err() {
            return Vec::new();
        }
        answered.recv().unwrap_or_default()
    }

    /// Watches directories whatever is known of them: another one may have taken the place.
    pub(crate) fn renew(&self, dirs: Vec<PathBuf>) {
        drop(self.orders.send(Order::Renew(dirs))); // the watching thread ends with the process
    }

    /// Forgets a directory and all below it: a watch follows what was moved away, and would tell of it here.
    /// What is added afterwards is watched anew.
    pub(crate) fn remove_below(&self, dir: PathBuf) {
        drop(self.orders.send(Order::RemoveBelow(dir))); // the watching thread ends with the process
    }
}

fn config() -> Config {
    let mask = EventKindMask::CREATE
        | EventKindMask::REMOVE
        | EventKindMask::MODIFY_NAME
        | EventKindMask::MODIFY_META
        | EventKindMask::ACCESS_CLOSE;
    Config::default().with_follow_symlinks(false).with_event_kinds(mask)
}

/// Owns notify's watcher and our table of what is watched.
fn own(mut watcher: INotifyWatcher, orders: &Receiver<Order>) {
    let mut watched: BTreeSet<PathBuf> = BTreeSet::new();
    for order in orders {
        match order {
            Order::Add(dirs, answer) => {
                let mut failed = Vec::new();
                for dir in dirs {
                    if watched.contains(&dir) {
                        continue;
                    }
                    match watcher.watch(&dir, RecursiveMode::NonRecursive) {
                        Ok(()) => drop(watched.insert(dir)),
                        Err(error) => failed.push((dir, why(&error))),
                    }
                }
                drop(answer.send(failed)); // the asker may have given up
            }
            Order::Renew(dirs) => {
                for dir in dirs {
                    // Adding to a watch that stands leaves no gap.
                    if watcher.watch(&dir, RecursiveMode::NonRecursive).is_ok() {
                        watched.insert(dir);
                    }
                }
            }
            Order::RemoveBelow(top) => {
                let below: Vec<PathBuf> =
                    watched.range(top.clone()..).take_while(|dir| dir.starts_with(&top)).cloned().collect();
                for dir in below {
                    watched.remove(&dir);
                    drop(watcher.unwatch(&dir)); // the kernel removes the watch of a deleted directory itself
                }
            }
        }
    }
}

fn why(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "no inotify watches are left; raise the limit: sysctl fs.inotify.max_user_watches=1048576".into()
        }
        notify::ErrorKind::Io(error) => error.to_string(),
        notify::ErrorKind::Generic(_)
        | notify::ErrorKind::PathNotFound
        | notify::ErrorKind::WatchNotFound
        | notify::ErrorKind::InvalidConfig(_) => error.to_string(),
    }
}

struct Forward(SyncSender<notify::Result<notify::Event>>);

impl notify::EventHandler for Forward {
    fn handle_event(&mut self, event: notify::Result<notify::Event>) {
        drop(self.0.send(event)); // the gatherer ends with the process
    }
}

/// Gathers raw events into changes of distinct paths.
struct Gatherer {
    inbox: Handle,
    cookies: PathBuf,
}

impl Gatherer {
    fn run(&self, events: &Receiver<notify::Result<notify::Event>>) {
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

    fn gather(&self, event: notify::Result<notify::Event>, batch: &mut Batch) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "watching failed, looking at everything again");
                batch.is_lost = true;
                return;
            }
        };
        // On the event, not on its paths: an overflow has none.
        if event.need_rescan() {
            batch.is_lost = true;
        }
        let Some(change) = change(event.kind) else { return };
        for path in event.paths {
            match path.strip_prefix(&self.cookies) {
                Ok(name) => batch.cookies.extend(name.to_str().map(str::to_owned)),
                Err(_) => batch.put(path, change),
            }
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
        if change == Change::Touched {
            self.changes.entry(path).or_insert(change);
        } else {
            self.changes.insert(path, change);
        }
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

fn change(kind: EventKind) -> Option<Change> {
    match kind {
        EventKind::Create(CreateKind::File | CreateKind::Any | CreateKind::Other) => Some(Change::Begun),
        EventKind::Create(CreateKind::Folder)
        | EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(
            RenameMode::From | RenameMode::To | RenameMode::Any | RenameMode::Other,
        ))
        | EventKind::Remove(RemoveKind::File | RemoveKind::Folder | RemoveKind::Any | RemoveKind::Other) => {
            Some(Change::Settled)
        }
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Change::Touched),
        // `Both` repeats From and To; reads and writes are not asked for.
        EventKind::Modify(_) | EventKind::Access(_) | EventKind::Any | EventKind::Other => None,
    }
}
