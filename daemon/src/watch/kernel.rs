//! The thread that speaks with inotify: sets and removes watches as it is ordered, and says what the kernel tells by
//! the names that directories have now. Decides nothing.

use super::{
    Change, Order, Raw,
    table::{Table, Wd},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};
use std::{
    ffi::OsStr,
    io::{self, ErrorKind, Read as _},
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender},
};

/// No opens, reads and writes: other programs' reading and a growing download wake nobody. Nor is it told what is done
/// to a file that has lost its name: another may have that by now.
const MASK: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);

/// The kernel ends a watch with these, but for `MOVE_SELF`: that one follows the directory to where nobody asked for it.
const ENDS: ReadFlags =
    ReadFlags::DELETE_SELF.union(ReadFlags::MOVE_SELF).union(ReadFlags::UNMOUNT).union(ReadFlags::IGNORED);

/// Some hundred events.
const BUFFER: usize = 16 << 10;

pub(super) struct Kernel {
    orders: Receiver<Order>,
    bell: UnixStream,
    raw: SyncSender<Raw>,
    /// None until the kernel gives us one: other programs may have all that a user is allowed, and may let go of one
    /// later.
    inotify: Option<OwnedFd>,
    table: Table,
}

impl Kernel {
    /// The bell rings after each order, and is closed when nobody may order any more.
    pub(super) fn new(orders: Receiver<Order>, bell: UnixStream, raw: SyncSender<Raw>) -> Self {
        Self { orders, bell, raw, inotify: None, table: Table::new() }
    }

    /// Obeys as long as somebody may order.
    pub(super) fn run(mut self) {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        while self.wait() {
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order);
            }
            if let Err(error) = self.hear(&mut buffer) {
                tracing::warn!(%error, "watching failed, looking at everything again");
                (self.inotify, self.table) = (None, Table::new());
                drop(self.raw.send(Raw::Lost)); // the gatherer ends with the process
            }
        }
    }

    /// Sleeps until there are orders or events. Returns false where nobody may order any more.
    fn wait(&mut self) -> bool {
        let bell = PollFd::new(&self.bell, PollFlags::IN);
        let woken = match &self.inotify {
            Some(inotify) => poll(&mut [bell, PollFd::new(inotify, PollFlags::IN)], None),
            None => poll(&mut [bell], None),
        };
        woken.ok(); // by a signal: it looks once more than it must
        match self.bell.read(&mut [0; 64]) {
            Ok(rung) => rung > 0,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Add(dirs, answer) => {
                let failed = dirs.into_iter().filter_map(|dir| {
                    let error = self.add(&dir).err()?;
                    Some((dir, why(error)))
                });
                drop(answer.send(failed.collect())); // the asker may have given up
            }
            Order::RemoveBelow(dir) => {
                self.table.forget_below(&dir).into_iter().for_each(|watch| self.let_go(watch));
            }
        }
    }

    /// What stands there may be another directory than before: the kernel knows.
    fn add(&mut self, dir: &Path) -> Result<(), Errno> {
        let set = self.set(dir);
        let left = match set {
            Ok(watch) => self.table.put(dir, watch),
            Err(_) => self.table.forget(dir),
        };
        left.into_iter().for_each(|watch| self.let_go(watch));
        set.map(drop)
    }

    fn set(&mut self, dir: &Path) -> Result<Wd, Errno> {
        let inotify = match self.inotify.take() {
            Some(inotify) => inotify,
            None => inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
        };
        let watch = inotify::add_watch(self.inotify.insert(inotify), dir, MASK)?;
        Wd::new(watch).ok_or(Errno::INVAL)
    }

    fn let_go(&self, watch: Wd) {
        if let Some(inotify) = &self.inotify {
            inotify::remove_watch(inotify, watch.get()).ok(); // the kernel may have done it
        }
    }

    /// Says what has happened, as far as one read tells: orders do not wait for the end of a storm.
    fn hear(&mut self, buffer: &mut [MaybeUninit<u8>]) -> Result<(), Errno> {
        let Self { inotify: Some(inotify), table, raw, .. } = self else { return Ok(()) };
        let mut events = Reader::new(&*inotify, buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(error) => return Err(error),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                drop(raw.send(Raw::Lost)); // the gatherer ends with the process
            }
            let paths = places(&event, table);
            // Before anybody hears of it, and has it watched again.
            if event.events().intersects(ENDS) {
                Wd::new(event.wd()).into_iter().for_each(|watch| table.end(watch));
            }
            if event.events().contains(ReadFlags::MOVE_SELF) {
                inotify::remove_watch(&*inotify, event.wd()).ok(); // it may have been let go
            }
            if let Some(change) = change(event.events()) {
                paths.into_iter().for_each(|path| drop(raw.send(Raw::Changed(path, change)))); // as above
            }
            if events.is_buffer_empty() {
                return Ok(());
            }
        }
    }
}

/// By every name of the directory; none where its watch was let go while this was on its way.
fn places(event: &inotify::Event<'_>, table: &Table) -> Vec<PathBuf> {
    let dirs = Wd::new(event.wd()).map(|watch| table.names(watch)).unwrap_or_default();
    match event.file_name() {
        Some(name) => dirs.iter().map(|dir| dir.join(OsStr::from_bytes(name.to_bytes()))).collect(),
        None => dirs,
    }
}

fn change(kinds: ReadFlags) -> Option<Change> {
    const SETTLED: ReadFlags = ReadFlags::MOVED_FROM
        .union(ReadFlags::MOVED_TO)
        .union(ReadFlags::DELETE)
        .union(ReadFlags::DELETE_SELF)
        .union(ReadFlags::MOVE_SELF)
        .union(ReadFlags::UNMOUNT);
    let is_dir_made = kinds.contains(ReadFlags::CREATE | ReadFlags::ISDIR);
    if kinds.intersects(SETTLED) || is_dir_made {
        Some(Change::Settled)
    } else if kinds.contains(ReadFlags::CREATE) {
        Some(Change::Begun)
    } else if kinds.contains(ReadFlags::CLOSE_WRITE) {
        Some(Change::Closed)
    } else {
        kinds.contains(ReadFlags::ATTRIB).then_some(Change::Touched)
    }
}

fn why(error: Errno) -> String {
    match error {
        Errno::NOSPC => {
            "no inotify watches are left; raise the limit: sysctl fs.inotify.max_user_watches=1048576".into()
        }
        // "Too many open files", which is also said where a user has too many instances (inotify_init(2)).
        Errno::MFILE => {
            "no inotify instances are left; raise the limit: sysctl fs.inotify.max_user_instances=1024".into()
        }
        error => io::Error::from(error).to_string(),
    }
}
