//! Which directories are watched: each by the name it has now, and for what stood there when the watch was set. Tells
//! nobody of events.

use super::{Forward, Order, config, why};
use notify::{INotifyWatcher, RecursiveMode, Watcher as _};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    ops::Bound,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::SystemTime,
};

/// Which directory it is. Inodes are used again at once, so when it was made counts as well, where that is known.
pub(super) type Identity = (u64, u64, Option<SystemTime>);

fn identity(dir: &Path) -> Option<Identity> {
    let meta = fs::metadata(dir).ok()?;
    Some((meta.dev(), meta.ino(), meta.created().ok()))
}

/// Looked at by who orders: a filesystem that does not answer must not keep everybody from his watches.
pub(super) fn identified(dirs: Vec<PathBuf>) -> Vec<(PathBuf, Option<Identity>)> {
    dirs.into_iter().map(|dir| (identity(&dir), dir)).map(|(is, dir)| (dir, is)).collect()
}

/// Two names of one directory: the first is the one by which the kernel tells of it.
pub(super) type SameAs = (Arc<Path>, Arc<Path>);

pub(super) struct Table {
    /// None until the kernel gives us one.
    inotify: Option<Inotify>,
    make: Box<dyn Fn(Receiver<SameAs>) -> Forward + Send>,
    /// None where the watch has ended by itself.
    watched: BTreeMap<Arc<Path>, Option<Identity>>,
    /// inotify has one watch for a directory, whatever its names (bind mounts): the one that it was set by.
    first: HashMap<Identity, Arc<Path>>,
    /// Other names by the first.
    others: BTreeMap<Arc<Path>, Vec<Arc<Path>>>,
}

struct Inotify {
    watcher: INotifyWatcher,
    /// Tells who hears of events which directories have two names.
    same: Sender<SameAs>,
}

impl Table {
    pub(super) fn new(make: impl Fn(Receiver<SameAs>) -> Forward + Send + 'static) -> Self {
        let (watched, first, others) = (BTreeMap::new(), HashMap::new(), BTreeMap::new());
        Self { inotify: None, make: Box::new(make), watched, first, others }
    }

    /// Other programs may have all that a user is allowed, and may let go of one later.
    fn inotify(&mut self) -> Result<&mut Inotify, String> {
        if self.inotify.is_none() {
            let (same, others) = channel();
            let watcher = INotifyWatcher::new((self.make)(others), config()).map_err(|error| why(&error))?;
            self.inotify = Some(Inotify { watcher, same });
        }
        self.inotify.as_mut().ok_or_else(|| "there is no inotify".into())
    }

    /// Obeys as long as somebody may order.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        for order in orders {
            match order {
                Order::Add(dirs, answer) => {
                    let failed = dirs
                        .into_iter()
                        .filter_map(|(dir, is)| Some((dir.clone(), self.add(dir, is).err()?)));
                    drop(answer.send(failed.collect())); // the asker may have given up
                }
                Order::RemoveBelow(top) => {
                    let from = self.watched.range::<Path, _>((Bound::Included(&*top), Bound::Unbounded));
                    let below = from.map(|(dir, _)| Arc::clone(dir)).take_while(|dir| dir.starts_with(&top));
                    below.collect::<Vec<_>>().iter().for_each(|dir| self.remove(dir));
                }
                Order::Ended(dir) => self.ended(&dir),
            }
        }
    }

    fn add(&mut self, dir: PathBuf, is: Option<Identity>) -> Result<(), String> {
        if let Some((known, was)) = self.watched.get_key_value(&*dir) {
            if was.is_some() && *was == is {
                return Ok(());
            }
            // Another one has taken the place, and the watch may have followed the one before.
            let known = Arc::clone(known);
            self.remove(&known);
        }
        self.set(dir.into(), is)
    }

    fn set(&mut self, dir: Arc<Path>, is: Option<Identity>) -> Result<(), String> {
        let first = is.as_ref().and_then(|is| self.first.get(is)).cloned();
        match first.filter(|first| identity(first) == is) {
            Some(first) => {
                let same = &self.inotify()?.same;
                drop(same.send((Arc::clone(&first), Arc::clone(&dir)))); // who hears lives as long as we do
                self.others.entry(first).or_default().push(Arc::clone(&dir));
            }
            None => {
                let watcher = &mut self.inotify()?.watcher;
                watcher.watch(&dir, RecursiveMode::NonRecursive).map_err(|error| why(&error))?;
                self.first.extend(is.map(|is| (is, Arc::clone(&dir))));
            }
        }
        self.watched.insert(dir, is);
        Ok(())
    }

    fn remove(&mut self, dir: &Arc<Path>) {
        let was = self.watched.remove(dir).flatten();
        let is_first = was.as_ref().and_then(|was| self.first.get(was)).is_some_and(|first| first == dir);
        if let (Some(was), true) = (was, is_first) {
            self.first.remove(&was);
        }
        // Before the watch of the first name goes, so that no event is missed.
        for other in self.others.remove(dir).unwrap_or_default() {
            if self.watched.remove(&other).is_some() {
                let is = identity(&other);
                drop(self.set(other, is)); // one that is gone is told of from above
            }
        }
        if let Some(inotify) = &mut self.inotify {
            drop(inotify.watcher.unwatch(dir)); // the kernel removes the watch of a deleted directory itself
        }
    }

    /// The kernel has ended the watch of a directory, or has told that it went elsewhere.
    fn ended(&mut self, dir: &Path) {
        let others = self.others.get(dir).into_iter().flatten();
        for name in others.map(|other| &**other).chain([dir]) {
            if let Some(was) = self.watched.get_mut(name)
                && let Some(was) = was.take()
            {
                self.first.remove(&was);
            }
        }
    }
}
