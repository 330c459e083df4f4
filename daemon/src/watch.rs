//! The kernel's file events, through notify, turned into changes of paths. Parses nothing, decides nothing.
//!
//! Watches are set one directory at a time, by whoever is about to list it: the library's own recursion loses most
//! of what is made quickly. The mask leaves out opens, reads and writes, so that other programs' reading and a
//! growing download wake nobody.

mod table;
#[cfg(test)]
mod tests;

use crate::core::{Event, Handle};
use notify::{
    Config, EventKind, EventKindMask,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};
use table::{Identity, SameAs, Table, identified};

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
}

enum Order {
    Add(Vec<(PathBuf, Option<Identity>)>, Sender<Failed>),
    RemoveBelow(PathBuf),
    /// The directory was deleted, moved or unmounted, as the kernel tells.
    Ended(PathBuf),
}

/// Directories that could not be watched, and why.
type Failed = Vec<(PathBuf, String)>;

/// Raw events wait here; when it is full the kernel's own queue fills, and overflows with a flag that we see.
const BACKLOG: usize = 4096;

/// Changes of one path within this time are one change. Small against the 20 ms that a client may wait.
const GATHER: Duration = Duration::from_millis(2);

impl Watch {
    /// Starts watching; events under `cookies` become `Event::Cookie`, in order with all others.
    pub(crate) fn start(inbox: Handle, cookies: PathBuf) -> anyhow::Result<Self> {
        let (raw, events) = sync_channel(BACKLOG);
        let (orders, ordered) = channel();
        let told = orders.clone();
        let table = Table::new(move |others| Forward {
            raw: raw.clone(),
            orders: told.clone(),
            others,
            names: BTreeMap::new(),
        });
        thread::Builder::new().name("watch".into()).spawn(move || table.run(&ordered))?;
        let gatherer = Gatherer { inbox, cookies };
        thread::Builder::new().name("gather".into()).spawn(move || gatherer.run(&events))?;
        Ok(Self { orders })
    }

    /// Watches what stands at these paths now; returns those that could not be, with the reason. Watching twice is
    /// watching once.
    pub(crate) fn add(&self, dirs: Vec<PathBuf>) -> Failed {
        let (answer, answered) = channel();
        if dirs.is_empty() || self.orders.send(Order::Add(identified(dirs), answer)).is_err() {
            return Vec::new();
        }
        answered.recv().unwrap_or_default()
    }

    /// As `add`, but does not wait until it is done.
    pub(crate) fn add_later(&self, dirs: Vec<PathBuf>) {
        drop(self.orders.send(Order::Add(identified(dirs), channel().0))); // the watching thread ends with the process
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

/// "Too many open files", which is also what the kernel says where a user has too many instances (inotify_init(2)).
const EMFILE: i32 = 24;

fn why(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "no inotify watches are left; raise the limit: sysctl fs.inotify.max_user_watches=1048576".into()
        }
        notify::ErrorKind::Io(error) if error.raw_os_error() == Some(EMFILE) => {
            "no inotify instances are left; raise the limit: sysctl fs.inotify.max_user_instances=1024".into()
        }
        notify::ErrorKind::Io(error) => error.to_string(),
        notify::ErrorKind::Generic(_)
        | notify::ErrorKind::PathNotFound
        | notify::ErrorKind::WatchNotFound
        | notify::ErrorKind::InvalidConfig(_) => error.to_string(),
    }
}

struct Forward {
    raw: SyncSender<notify::Result<notify::Event>>,
    orders: Sender<Order>,
    others: Receiver<SameAs>,
    /// Other names of directories.
    names: BTreeMap<Arc<Path>, BTreeSet<Arc<Path>>>,
}

impl notify::EventHandler for Forward {
    fn handle_event(&mut self, mut event: notify::Result<notify::Event>) {
        for (first, other) in self.others.try_iter() {
            self.names.entry(first).or_default().insert(other);
        }
        if let Ok(event) = &mut event {
            if is_end(event.kind) {
                let ended = event.paths.iter().cloned();
                ended.for_each(|dir| drop(self.orders.send(Order::Ended(dir)))); // as all that is ordered
            }
            let elsewhere: Vec<PathBuf> = event.paths.iter().flat_map(|path| self.elsewhere(path)).collect();
            event.paths.extend(elsewhere);
        }
        drop(self.raw.send(event)); // the gatherer ends with the process
    }
}

impl Forward {
    /// The same place by other names of its directory.
    fn elsewhere(&self, path: &Path) -> Vec<PathBuf> {
        if self.names.is_empty() {
            return Vec::new();
        }
        let of = |dir: &Path| self.names.get(dir).into_iter().flatten();
        let inside = path.parent().zip(path.file_name());
        let inside = inside.into_iter().flat_map(|(dir, name)| of(dir).map(move |other| other.join(name)));
        of(path).map(|other| other.to_path_buf()).chain(inside).collect()
    }
}

/// Whether a watch of a directory that is told of has ended.
fn is_end(kind: EventKind) -> bool {
    match kind {
        EventKind::Remove(kind) => kind != RemoveKind::File,
        EventKind::Modify(ModifyKind::Name(mode)) => mode == RenameMode::From,
        EventKind::Modify(_) | EventKind::Create(_) | EventKind::Access(_) => false,
        EventKind::Any | EventKind::Other => false,
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

fn change(kind: EventKind) -> Option<Change> {
    match kind {
        EventKind::Create(CreateKind::File | CreateKind::Any | CreateKind::Other) => Some(Change::Begun),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Change::Closed),
        EventKind::Create(CreateKind::Folder)
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
