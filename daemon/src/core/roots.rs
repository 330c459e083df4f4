//! Which places are watched, whether they are there, and how well they are watched.

use super::{Core, Effect, naming::Names, queue::Why};
use crate::{index::UnitRow, seats::Seats, work::Job};
use domain::{App, RootStatus};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// How often everything is looked at that may have changed unseen, seconds: stores into mapped pages raise no event.
const WALK_SECONDS: u64 = 24 * 60 * 60;

/// A place where a root is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub path: PathBuf,
    /// None for a root that the user named: what lies in it decides.
    pub app: Option<App>,
    /// The link that led there.
    pub derived_from: Option<PathBuf>,
    /// Where it stands in its app's own layout; mostly empty.
    pub place: PathBuf,
}

#[derive(Debug, Default)]
pub(super) struct Roots {
    /// By the path that was configured.
    pub(super) wanted: BTreeMap<PathBuf, Root>,
    pub(super) last_tick: Option<Timestamp>,
    last_poll: Option<Timestamp>,
    last_walk: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Root {
    pub(super) app: Option<App>,
    pub(super) derived_from: Option<PathBuf>,
    pub(super) names: Names,
    /// Where it stands in its app's own layout.
    pub(super) place: PathBuf,
    /// None while it has never been seen.
    pub(super) status: Option<RootStatus>,
    /// Device and inode of the directory.
    pub(super) identity: Option<(u64, u64)>,
    /// The same of the one that was there last, and may be away.
    pub(super) watched_as: Option<(u64, u64)>,
    /// Which filesystems are seen there and below; empty where that is not known.
    pub(super) seats: Arc<Seats>,
    pub(super) has_events: bool,
    /// Directories that cannot be read, and why.
    unreadable: BTreeMap<PathBuf, String>,
    /// Units and their directories that have no watch, and why there is none: there may be tens of thousands.
    unwatched: BTreeMap<(PathBuf, PathBuf), String>,
    /// Directories of units with files of the app's own that cannot be understood: the first, and why.
    damaged: BTreeMap<PathBuf, (PathBuf, String)>,
    /// What is stored.
    stored: Option<RootStatus>,
    /// How many answers to the question whether it is there are still to come.
    pub(super) unanswered: u32,
    /// Since when.
    pub(super) asked: Option<Timestamp>,
    /// It did not answer; whether it does now is asked, and not waited for.
    pub(super) is_silent: bool,
}

impl Root {
    /// A root that is still to be probed: until then it is as absent as a disk that was unplugged meanwhile.
    pub(super) fn wanted(
        app: Option<App>,
        derived_from: Option<PathBuf>,
        place: PathBuf,
        before: Option<RootStatus>,
    ) -> Self {
        Self {
            app,
            derived_from,
            names: Names::default(),
            place,
            stored: before.clone(),
            status: before.map(|status| RootStatus { online: false, ..status }),
            identity: None,
            watched_as: None,
            seats: Arc::default(),
            has_events: true,
            unreadable: BTreeMap::new(),
            unwatched: BTreeMap::new(),
            damaged: BTreeMap::new(),
            unanswered: 0,
            asked: None,
            is_silent: false,
        }
    }

    /// Nothing is known of it any more.
    pub(super) fn was_never_seen(&mut self) {
        (self.status, self.stored, self.identity) = (None, None, None);
        self.seats = Arc::default();
    }

    /// It is there, and nothing is known of its directories yet.
    pub(super) fn start_anew(&mut self, status: RootStatus) {
        self.unreadable.clear();
        self.unwatched.clear();
        self.damaged.clear();
        self.status = Some(status);
        self.judge();
    }

    /// Whether there was ever a directory that could be read.
    pub(super) fn was_there(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.volume.is_some())
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        self.status.as_ref().map(|status| status.path.to_path())
    }

    pub(super) fn is_online_at(&self, path: &Path) -> bool {
        self.status.as_ref().is_some_and(|status| status.online && status.path.to_path() == path)
    }

    /// Says in words how well it is watched.
    pub(super) fn judge(&mut self) {
        let Some(status) = &mut self.status else { return };
        let others =
            |count: usize| if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
        status.watched = status.online && self.has_events && self.unwatched.is_empty();
        status.reason = if !status.online {
            Some("it is not there now; what it held is kept as offline".into())
        } else if let Some(((_, dir), why)) = self.unwatched.first_key_value() {
            Some(format!("{} is not watched: {why}{}", dir.display(), others(self.unwatched.len())))
        } else if let Some((dir, why)) = self.unreadable.first_key_value() {
            Some(format!("{} cannot be read: {why}{}", dir.display(), others(self.unreadable.len())))
        } else if let Some((file, why)) = self.damaged.values().next() {
            Some(format!("{} is damaged: {why}{}", file.display(), others(self.damaged.len())))
        } else if let Some((file, why)) = &self.names.illegible {
            Some(format!("{} does not say where models are: {why}", file.display()))
        } else if !self.has_events {
            Some("its filesystem does not tell of changes: it is looked at every `poll_seconds` (60 unless set)".into())
        } else {
            None
        };
        status.degraded = status.reason.is_some();
    }
}

/// Whether it is time again, by a clock that may be set; if so, the time counts from now.
fn is_over(last: &mut Option<Timestamp>, seconds: u64, now: Timestamp) -> bool {
    let since = now.duration_since(*last.get_or_insert(now));
    let is_over = since.is_negative() || since >= jiff::SignedDuration::from_secs(seconds.cast_signed());
    if is_over {
        *last = Some(now);
    }
    is_over
}

impl Roots {
    /// Paths of roots that have been seen.
    pub(super) fn paths(&self) -> Arc<BTreeSet<PathBuf>> {
        Arc::new(self.wanted.values().filter_map(Root::path).collect())
    }

    /// The app of an online root.
    pub(super) fn app_of(&self, path: &Path) -> Option<App> {
        self.at(path).filter(|root| root.is_online_at(path))?.app
    }

    pub(super) fn at(&self, path: &Path) -> Option<&Root> {
        self.wanted.values().find(|root| root.path().as_deref() == Some(path))
    }

    /// The deepest root that a path lies in, there or not.
    pub(super) fn around(&self, path: &Path) -> Option<(PathBuf, &Root)> {
        let roots = self.wanted.values().filter_map(|root| Some((root.path()?, root)));
        let around = roots.filter(|(root, _)| path.starts_with(root) && path != root);
        around.max_by_key(|(root, _)| root.as_os_str().len())
    }

    pub(super) fn at_mut(&mut self, path: &Path) -> Option<&mut Root> {
        self.wanted.values_mut().find(|root| root.path().as_deref() == Some(path))
    }

    /// Every root is to be found anew.
    pub(super) fn forget_all(&mut self) {
        self.wanted.values_mut().for_each(Root::was_never_seen);
    }

    /// In how many seconds something has to be looked at by itself.
    pub(super) fn next_look(&self, poll_seconds: u64) -> u64 {
        if self.has_unwatched() { poll_seconds } else { WALK_SECONDS }
    }

    fn has_unwatched(&self) -> bool {
        self.wanted
            .values()
            .any(|root| root.status.as_ref().is_some_and(|status| status.online && !status.watched))
    }

    pub(super) fn can_read(&mut self, unit: &UnitRow) {
        if let Some(root) = self.at_mut(&unit.root)
            && root.unreadable.remove(&unit.dir).is_some()
        {
            root.judge();
        }
    }

    /// Whether a unit could not be read when it was looked at last.
    pub(super) fn is_unreadable(&self, unit: &UnitRow) -> bool {
        self.at(&unit.root).is_some_and(|root| root.unreadable.contains_key(&unit.dir))
    }

    pub(super) fn cannot_read(&mut self, unit: &UnitRow, why: &str) {
        let Some(root) = self.at_mut(&unit.root) else { return };
        if root.unreadable.insert(unit.dir.clone(), why.to_owned()).is_none() {
            tracing::warn!(path = %unit.dir.display(), why, "directory cannot be read");
        }
        root.judge();
    }

    /// Notes which file of a unit its app could not have written so; none clears what was noted.
    pub(super) fn damaged(&mut self, unit: &UnitRow, file: Option<Box<(PathBuf, String)>>) {
        let Some(root) = self.at_mut(&unit.root) else { return };
        let before = root.damaged.remove(&unit.dir);
        if let Some((file, why)) = file.map(|file| *file) {
            if before.is_none() {
                tracing::warn!(path = %file.display(), why, "a file of an app is damaged");
            }
            root.damaged.insert(unit.dir.clone(), (file, why));
        }
        root.judge();
    }

    /// Notes which directories of a unit have no watch; none clears what was noted.
    pub(super) fn unwatched(&mut self, unit: &UnitRow, dirs: Vec<(PathBuf, String)>) {
        let Some(root) = self.at_mut(&unit.root) else { return };
        let was_watched = root.unwatched.is_empty();
        let from = root.unwatched.range((unit.dir.clone(), PathBuf::new())..);
        let before = from.map(|(key, _)| key).take_while(|(wanted_by, _)| *wanted_by == unit.dir);
        let before: Vec<(PathBuf, PathBuf)> = before.cloned().collect();
        before.iter().for_each(|key| drop(root.unwatched.remove(key)));
        root.unwatched.extend(dirs.into_iter().map(|(dir, why)| ((unit.dir.clone(), dir), why)));
        match root.unwatched.first_key_value() {
            Some(((_, dir), why)) if was_watched => {
                tracing::warn!(path = %dir.display(), why, "directory cannot be watched, looking at it from time to time");
            }
            None if !was_watched => {
                tracing::info!(path = %unit.root.display(), "all of the root is watched again");
            }
            Some(_) | None => {}
        }
        root.judge();
    }

    pub(super) fn forget(&mut self, unit: &UnitRow) {
        if let Some(root) = self.at_mut(&unit.root) {
            root.unreadable.retain(|dir, _| !dir.starts_with(&unit.dir));
            root.unwatched.retain(|(_, dir), _| !dir.starts_with(&unit.dir));
            root.damaged.retain(|dir, _| !dir.starts_with(&unit.dir));
            root.judge();
        }
    }

    /// Notes that all of what is there has been looked at.
    fn scanned(&mut self, now: Timestamp) {
        for status in self.wanted.values_mut().filter_map(|root| root.status.as_mut()) {
            if status.online && status.last_scan.is_none() {
                status.last_scan = Some(now);
            }
        }
    }
}

impl Core {
    /// Queues every known unit of a root, or its top where none is known.
    pub(super) fn look_at_root(&mut self, path: &Path, why: Why) -> anyhow::Result<()> {
        self.queue.push(UnitRow { root: path.to_owned(), dir: path.to_owned() }, why);
        for unit in self.index.units(path)? {
            self.queue.push(unit, why);
        }
        Ok(())
    }

    /// Roots inside a directory whose watches have become void need theirs again.
    pub(super) fn look_at_roots_below(&mut self, path: &Path) -> anyhow::Result<()> {
        for root in self.online_roots() {
            if root.starts_with(path) && root != path {
                self.look_at_root(&root, Why::Check)?;
            }
        }
        Ok(())
    }

    pub(super) fn look_everywhere(&mut self) -> anyhow::Result<()> {
        for path in self.online_roots() {
            self.look_at_root(&path, Why::Scan)?;
        }
        Ok(())
    }

    /// Events were lost: everything may have changed, as far as stamps tell.
    pub(super) fn lost(&mut self, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        tracing::warn!("events were lost, looking at everything again");
        for path in self.online_roots() {
            if let Some(status) = self.roots.at_mut(&path).and_then(|root| root.status.as_mut()) {
                status.rescans = status.rescans.saturating_add(1);
            }
            self.look_at_root(&path, Why::Check)?;
        }
        self.put_roots()?;
        self.doubt_sight();
        self.probe_all(effects);
        Ok(())
    }

    pub(super) fn mounted(&mut self, effects: &mut Vec<Effect>) {
        self.doubt_sight();
        effects.push(Effect::Do(Job::Anew));
        self.probe_all(effects);
    }

    /// Looks at what the kernel does not tell of.
    pub(super) fn poll_unwatched(&mut self) -> anyhow::Result<()> {
        let unwatched =
            |root: &Root| root.status.as_ref().is_some_and(|status| status.online && !status.watched);
        let paths: Vec<(PathBuf, bool)> = self
            .roots
            .wanted
            .values()
            .filter(|root| unwatched(root))
            .filter_map(|root| Some((root.path()?, root.has_events)))
            .collect();
        for (path, has_events) in paths {
            // Without events times prove nothing either: a merged directory keeps those of its upper layer.
            self.look_at_root(&path, if has_events { Why::Check } else { Why::Scan })?;
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let now = self.now;
        self.try_again(effects)?;
        self.queue.release_all();
        self.give_up_silent(effects)?;
        self.look_at_growing(effects);
        self.look_at_links(effects);
        if is_over(&mut self.roots.last_poll, self.poll_seconds, now) {
            self.poll_unwatched()?;
        }
        if is_over(&mut self.roots.last_walk, WALK_SECONDS, now) {
            self.probe_all(effects);
            for path in self.online_roots() {
                self.look_at_root(&path, Why::Check)?;
            }
        }
        Ok(())
    }

    /// Looks at what could not be stored, where there is such.
    pub(super) fn try_again(&mut self, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        if std::mem::take(&mut self.is_troubled) {
            self.probe_all(effects);
            for path in self.online_roots() {
                self.look_at_root(&path, Why::Check)?;
            }
        }
        Ok(())
    }

    fn online_roots(&self) -> Vec<PathBuf> {
        let online = |root: &&Root| root.status.as_ref().is_some_and(|status| status.online);
        self.roots.wanted.values().filter(online).filter_map(Root::path).collect()
    }

    /// Stores the health of roots when all has been looked at, and before who waits is answered: in between it changes
    /// with every directory.
    pub(super) fn settle_roots(&mut self) -> anyhow::Result<()> {
        if self.is_settled() {
            self.roots.scanned(self.now);
        } else if self.waiting.is_empty() {
            return Ok(());
        }
        self.put_roots()
    }

    /// Stores the health of roots where it has changed.
    pub(super) fn put_roots(&mut self) -> anyhow::Result<()> {
        for root in self.roots.wanted.values_mut() {
            if root.status != root.stored
                && let Some(status) = &root.status
            {
                self.index.put_root(status)?;
                root.stored = Some(status.clone());
            }
        }
        Ok(())
    }
}
