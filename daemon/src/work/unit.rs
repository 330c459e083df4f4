//! Looking at one unit: the store's steps, then the stats of what was found.

use super::{Looked, UnitJob, Worker, found::Site};
use crate::{
    index::{Depend, DependChange, UnitBefore, UnitChange, UnitRow, foreign},
    look::{Beneath, led_to, mount_of, resolved},
    read,
};
use anyhow::Context as _;
use domain::{
    Location, Role,
    filter::text,
    names::with_suffix,
    stores::{Entry, EntryKind, Found, Known, Look, Rows, STORES, Step, Store, Table, Visit},
};
use rustix::io::Errno;
use std::{
    collections::{BTreeSet, HashMap},
    fs::Metadata,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A store that still asks after this many rounds is broken; the deepest real one needs five.
const MAX_ROUNDS: usize = 64;

/// A missing path that is still missing has not changed.
const MISSING: &str = "-";

impl Worker {
    /// Looks at what is thought to be there: an empty mount point is no sign that anything was deleted.
    pub(super) fn look(&mut self, job: &UnitJob) -> anyhow::Result<Looked> {
        self.mind_mounts();
        let UnitRow { root, dir } = &job.unit;
        let before = self.volumes.seats(root).clone();
        if !before.are_in_place(&job.seats) {
            return Ok(Looked::Elsewhere);
        }
        let beneath = Beneath::open(root);
        let held = beneath.as_ref().map_err(|error| *error).and_then(|beneath| beneath.hold(dir));
        let looked = match &beneath {
            Ok(beneath) => self.look_here(job, beneath),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Looked::Gone),
            Err(error) => Ok(Looked::Unreadable(error.to_string())),
        };
        if self.mind_mounts() {
            let now = self.volumes.seats(root);
            // What went and came back meanwhile has the same number only if it was not held: then it is not this one.
            let is_held = beneath.is_ok_and(|beneath| beneath.mount() == now.number(root))
                && held.is_ok_and(|held| mount_of(held.as_fd()) == now.number(dir));
            if !is_held || !now.are_in_place(&before) {
                return Ok(Looked::Elsewhere);
            }
        }
        looked
    }

    fn look_here(&mut self, job: &UnitJob, beneath: &Beneath<'_>) -> anyhow::Result<Looked> {
        // One view of the index for the whole look.
        self.reader()?.begin()?;
        let looked = self.look_anew(job, beneath);
        self.reader()?.end()?;
        looked
    }

    fn look_anew(&mut self, job: &UnitJob, beneath: &Beneath<'_>) -> anyhow::Result<Looked> {
        let store = store_of(job)?;
        let reader = self.reader()?;
        let before =
            UnitBefore { locations: reader.fingerprints(&job.unit)?, depends: reader.depends(&job.unit)? };
        let mut ground = Ground::default();
        // Before the list: what appears after it is told by an event.
        ground.unwatched.extend(self.watch.add(vec![job.unit.dir.clone()]));
        let entries = match beneath.list(&job.unit.dir) {
            Ok(entries) => entries,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Looked::Gone),
            Err(error) => return Ok(Looked::Unreadable(error.to_string())),
        };
        let layout = job.as_unit().layout();
        let visit = store.visit(&layout);
        let (children, links) = match visit {
            Visit::Pass | Visit::Unit => below(store, job, &layout, &entries),
            Visit::Whole | Visit::Skip => (Vec::new(), Vec::new()),
        };
        ground.known.lists.insert(job.unit.dir.clone(), Some(entries));
        ground.dirs.insert(job.unit.dir.clone());
        let mut found = match visit {
            Visit::Unit | Visit::Whole => self.steps(store, job, beneath, &mut ground)?,
            Visit::Pass | Visit::Skip => Vec::new(),
        };
        let unknown = self.downloads((store, job), beneath, (&mut ground, &before), &mut found);
        let mut site = Site {
            job,
            beneath,
            change: UnitChange::default(),
            read: 0,
            restless: unknown,
            unreadable: Vec::new(),
        };
        self.place(&mut site, found, &before, &mut ground)?;
        let Site { mut change, read, restless, unreadable, .. } = site;
        ground.stamps.extend(unreadable.into_iter().map(|path| (path, None)));
        let depends = self.depends(&mut ground);
        // What is missing now is told of where it will appear.
        let missing = depends.iter().filter(|depend| depend.stamp.as_deref() == Some(MISSING));
        let to_watch: BTreeSet<PathBuf> =
            missing.filter_map(|depend| nearest_dir(depend.path.parent()?, &job.unit.root)).collect();
        ground.unwatched.extend(self.watch.add(to_watch.into_iter().collect()));
        change.depends = DependChange::between(before.depends, depends);
        let Ground { unwatched, damaged, .. } = ground;
        Ok(Looked::Different { change, children, links, unwatched, damaged, read, restless })
    }

    fn steps(
        &mut self,
        store: &dyn Store,
        job: &UnitJob,
        beneath: &Beneath<'_>,
        ground: &mut Ground,
    ) -> anyhow::Result<Vec<Found>> {
        let unit = job.as_unit();
        for _ in 0..MAX_ROUNDS {
            let looks = match store.step(&unit, &ground.known) {
                Step::Found(found) => return Ok(found),
                Step::Partly { found, damaged } => {
                    // No stamp: after a restart it is found out again.
                    ground.stamps.extend(damaged.iter().map(|(path, _)| (path.clone(), None)));
                    ground.damaged = damaged.into_iter().next().map(Box::new);
                    return Ok(found);
                }
                Step::Need(looks) => looks,
            };
            let to_watch = ground.note(&looks, unit.root);
            ground.unwatched.extend(self.watch.add(to_watch));
            for look in &looks {
                if let Look::Table(table) = look {
                    ground.known.tables.insert(table.clone(), self.table(beneath, table));
                } else {
                    beneath.perform(look, &mut ground.known);
                }
            }
        }
        anyhow::bail!("{} asked for more than {MAX_ROUNDS} rounds of {}", store.app(), unit.path().display())
    }

    /// Rows of another app's database, from a copy: opening it where it lies could leave files beside it.
    fn table(&self, beneath: &Beneath<'_>, table: &Table) -> Option<Result<Rows, String>> {
        let open = |path: &Path| beneath.open_anywhere(path).ok();
        foreign::rows(&self.index, table, open)
    }

    fn depends(&mut self, ground: &mut Ground) -> Vec<Depend> {
        let dirs = std::mem::take(&mut ground.dirs);
        let files = std::mem::take(&mut ground.files);
        let files = files.into_iter().filter(|file| !dirs.contains(file)).map(|file| (file, false));
        let all: Vec<_> = files.chain(dirs.iter().map(|dir| (dir.clone(), true))).collect();
        all.into_iter()
            .map(|(path, is_dir)| Depend { stamp: ground.stamp(self, &path), path, is_dir })
            .collect()
    }

    /// The stamp of whatever a path leads to; None where its times are too young to prove anything.
    pub(super) fn stamp_of(&mut self, path: &Path) -> Option<String> {
        let Ok(meta) = path.metadata() else { return Some(MISSING.into()) };
        (!read::is_racy(&meta, SystemTime::now())).then(|| self.stamp(path, &meta))
    }

    pub(super) fn stamp(&mut self, path: &Path, meta: &Metadata) -> String {
        read::stamp(self.volumes.of(meta.dev(), path), meta, path)
    }
}

/// What a unit's answer rests on, as it is found out.
#[derive(Default)]
pub(super) struct Ground {
    known: Known,
    stamps: HashMap<PathBuf, Option<String>>,
    dirs: BTreeSet<PathBuf>,
    pub(super) files: BTreeSet<PathBuf>,
    unwatched: Vec<(PathBuf, String)>,
    damaged: Option<Box<(PathBuf, String)>>,
}

impl Ground {
    /// A path's stamp, looked at once.
    pub(super) fn stamp(&mut self, worker: &mut Worker, path: &Path) -> Option<String> {
        if let Some(stamp) = self.stamps.get(path) {
            return stamp.clone();
        }
        let stamp = worker.stamp_of(path);
        self.stamps.insert(path.to_owned(), stamp.clone());
        stamp
    }

    /// Every directory that was listed, and could be.
    pub(super) fn lists(&self) -> impl Iterator<Item = (&Path, &[Entry])> {
        self.known.lists.iter().filter_map(|(dir, list)| Some((dir.as_path(), list.as_deref()?)))
    }

    /// What is searched of a location's card, which its store has read.
    pub(super) fn card(&self, location: &Location) -> Option<String> {
        let card = location.files.iter().find(|file| file.role == Role::Card)?;
        let bytes = self.known.contents.get(&card.path.to_path())?.as_ref()?;
        Some(text::of_card(bytes))
    }

    /// Notes what is going to be looked at; returns the directories that must be watched before.
    fn note(&mut self, looks: &[Look], root: &Path) -> Vec<PathBuf> {
        let mut to_watch = BTreeSet::new();
        for look in looks {
            match look {
                Look::List(dir) => {
                    self.dirs.insert(dir.clone());
                    to_watch.extend(nearest_dir(dir, root));
                }
                // Where it stands, or will.
                Look::Read(path) | Look::Stat(path) | Look::Parts(path) => {
                    self.files.insert(path.clone());
                    to_watch.extend(path.parent().and_then(|parent| nearest_dir(parent, root)));
                }
                Look::Record(path) => drop(self.files.insert(path.clone())),
                Look::Table(table) => {
                    let parts = ["", foreign::LOG].map(|suffix| with_suffix(&table.file, suffix));
                    self.files.extend(parts);
                    to_watch.extend(table.file.parent().and_then(|parent| nearest_dir(parent, root)));
                }
                // Their directory is listed, and tells.
                Look::Link(_) | Look::Origin(_) => {}
            }
        }
        to_watch.into_iter().collect()
    }
}

/// The directory, or the closest one above it that exists, not above the root.
fn nearest_dir(dir: &Path, root: &Path) -> Option<PathBuf> {
    dir.ancestors()
        .take_while(|above| above.starts_with(root))
        .find(|above| above.is_dir())
        .map(Path::to_owned)
}

pub(super) fn store_of(job: &UnitJob) -> anyhow::Result<&'static dyn Store> {
    STORES
        .iter()
        .copied()
        .find(|store| store.app() == job.app)
        .with_context(|| format!("no store for {}", job.app))
}

/// A link to a directory outside its own root.
fn leads_out(link: PathBuf, job: &UnitJob) -> Option<(PathBuf, PathBuf)> {
    let target = match resolved(&link) {
        Some(target) => Some(target).filter(|target| target.is_dir()),
        None => led_to(&link), // its disk may be out
    };
    let target = target.filter(|target| !target.starts_with(&job.unit.root))?;
    Some((link, target))
}

/// Sub-directories that are units of their own, and links that lead out of the root.
fn below(
    store: &dyn Store,
    job: &UnitJob,
    layout: &Path,
    entries: &[Entry],
) -> (Vec<PathBuf>, Vec<(PathBuf, PathBuf)>) {
    let (mut children, mut links) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = job.unit.dir.join(&entry.name);
        match entry.kind {
            EntryKind::Dir if job.roots.contains(&path) => {}
            EntryKind::Dir if store.visit(&layout.join(&entry.name)) != Visit::Skip => children.push(path),
            EntryKind::Symlink => links.extend(leads_out(path, job)),
            EntryKind::Dir | EntryKind::File | EntryKind::Special => {}
        }
    }
    (children, links)
}
