//! Downloads that have a name of their own while they last: which of them a unit shows. Those that have not grown
//! under our eyes are left alone, however long they lie there.

use super::{
    Worker,
    unit::{Ground, store_of},
};
use crate::{index::UnitBefore, look::Beneath, work::UnitJob};
use domain::stores::{Entry, EntryKind, Found, Store, incoming, partial};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// `download/DIR/DIR/NAME`: repositories have few levels.
const DEEPEST: usize = 4;

/// Directories of one unit in which downloads grow; none has that many.
const MOST: usize = 256;

impl Worker {
    /// Adds the downloads of a unit that are worth showing to what its store has found; returns those of which it is
    /// not known whether they grow.
    pub(super) fn downloads(
        &self,
        (store, job): (&dyn Store, &UnitJob),
        beneath: &Beneath<'_>,
        (ground, before): (&mut Ground, &UnitBefore),
        found: &mut Vec<Found>,
    ) -> Vec<PathBuf> {
        let unit = job.as_unit();
        let named = incoming::dirs(&unit, store.incoming(&unit.layout()));
        let staged = ground.lists().flat_map(|(dir, entries)| staging(dir, entries));
        let staged: Vec<PathBuf> = staged.collect();
        // Before the list, as everywhere. Where there is no watch left, what is whole is found all the same.
        drop(self.watch.add(named.iter().filter(|dir| dir.is_dir()).cloned().collect()));
        let is_part = |found: &Found| found.partial.is_some();
        let was_shown = before.locations.keys().any(|(_, handle)| incoming::is_handle(handle));
        let grows = job.growing.iter().any(|(path, _)| named.iter().any(|dir| path.starts_with(dir)));
        let is_worth = grows || was_shown || found.is_empty() || found.iter().any(is_part);
        let dirs = staged.into_iter().chain(named.into_iter().filter(|_| is_worth)).collect();
        let mut paths: BTreeSet<PathBuf> = self.listed(beneath, dirs).into_iter().collect();
        paths.extend(ground.lists().flat_map(|(dir, entries)| unfinished(dir, entries)));
        let taken: BTreeSet<&Path> =
            found.iter().flat_map(|found| &found.files).map(|file| file.path.as_path()).collect();
        let growing: BTreeMap<&Path, bool> =
            job.growing.iter().map(|(path, is_shown)| (path.as_path(), *is_shown)).collect();
        let (mut shown, mut unknown) = (Vec::new(), Vec::new());
        for path in paths.iter().filter(|path| !taken.contains(path.as_path())) {
            let Ok(below) = path.strip_prefix(&job.unit.dir) else { continue };
            let Some(download) = partial::download(below) else { continue };
            let location = incoming::found(job.app, &unit, below, &download);
            let was_shown = || before.locations.contains_key(&(location.app, location.id.clone()));
            match growing.get(path.as_path()) {
                Some(true) => shown.push(location),
                Some(false) => {}
                None if was_shown() => shown.push(location),
                None => unknown.push(path.clone()),
            }
        }
        found.extend(shown);
        unknown
    }

    /// Files at any depth in directories that downloads grow in, which are watched from now on.
    fn listed(&self, beneath: &Beneath<'_>, dirs: Vec<PathBuf>) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut dirs: Vec<(PathBuf, usize)> = dirs.into_iter().map(|dir| (dir, 0)).collect();
        let mut seen = 0;
        while let Some((dir, depth)) = dirs.pop() {
            seen += 1;
            if seen > MOST || !dir.is_dir() {
                continue;
            }
            drop(self.watch.add(vec![dir.clone()]));
            for entry in beneath.list(&dir).unwrap_or_default() {
                let path = dir.join(&entry.name);
                match entry.kind {
                    EntryKind::Dir if depth < DEEPEST => dirs.push((path, depth + 1)),
                    EntryKind::File => files.push(path),
                    EntryKind::Dir | EntryKind::Symlink | EntryKind::Special => {}
                }
            }
        }
        files
    }

    /// Directories that are watched for a unit's downloads, whether they are there or not.
    pub(super) fn incoming(job: &UnitJob) -> Vec<PathBuf> {
        let Ok(store) = store_of(job) else { return Vec::new() };
        let unit = job.as_unit();
        incoming::dirs(&unit, store.incoming(&unit.layout()))
    }
}

fn staging<'a>(dir: &'a Path, entries: &'a [Entry]) -> impl Iterator<Item = PathBuf> + 'a {
    let dirs = entries.iter().filter(|entry| entry.kind == EntryKind::Dir);
    dirs.filter(|entry| partial::is_staging(&entry.name)).map(|entry| dir.join(&entry.name))
}

fn unfinished<'a>(dir: &'a Path, entries: &'a [Entry]) -> impl Iterator<Item = PathBuf> + 'a {
    let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
    files.filter(|entry| partial::is_partial(&entry.name)).map(|entry| dir.join(&entry.name))
}
