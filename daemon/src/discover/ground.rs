//! What a discovery rests on: has it watched before it is looked at, and keeps its names. Decides nothing.

use crate::{
    look::{Beneath, resolved, small_file},
    watch::Watch,
};
use domain::stores::Entry;
use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// Folders in which an app may appear get at most so many watches, and at most this part of what the user has: the rest
/// is for models, and for other programs.
const MOST_WATCHED: usize = 1024;
const SHARE: usize = 8;
/// A path that is made while its watch is set is followed down this often; no way to a settings file is longer.
const ROUNDS: usize = 8;

/// What a discovery has looked at: a change of it may be an app that was installed, or set otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Concerns {
    /// Folders whose entries count.
    pub(crate) dirs: BTreeSet<PathBuf>,
    /// Small files, there or not, whose content counts.
    pub(crate) files: BTreeSet<PathBuf>,
    /// Folders of these that have no watch.
    pub(crate) unwatched: usize,
}

impl Concerns {
    /// Whether what is there now at a path may be news: one of the files, something on the way to what is looked at, or
    /// a new entry.
    pub(crate) fn has(&self, path: &Path, is_entry_new: bool) -> bool {
        self.is_around(path) || (is_entry_new && self.has_entry(path))
    }

    /// Whether a directory is one of these, or above one.
    pub(crate) fn is_around(&self, path: &Path) -> bool {
        let is_above = |paths: &BTreeSet<PathBuf>| {
            paths.range(path.to_owned()..).next().is_some_and(|next| next.starts_with(path))
        };
        is_above(&self.dirs) || is_above(&self.files)
    }

    /// Whether a new entry in one of the folders says something: hidden ones do not, but for a clone's.
    fn has_entry(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        (!name.starts_with(b".") || name.starts_with(b".git"))
            && path.parent().is_some_and(|parent| self.dirs.contains(parent))
    }
}

/// Looks for one discovery.
pub(super) struct Ground<'w> {
    /// None where nobody waits for changes.
    watch: Option<&'w Watch>,
    concerns: Concerns,
    /// Watches that may still be spent on folders.
    budget: usize,
}

impl<'w> Ground<'w> {
    pub(super) fn new(watch: Option<&'w Watch>) -> Self {
        Self { watch, concerns: Concerns::default(), budget: MOST_WATCHED.min(limit() / SHARE) }
    }

    pub(super) fn concerns(self) -> Concerns {
        self.concerns
    }

    /// Lists directories, each watched before, as far as watches reach.
    pub(super) fn list_all(&mut self, dirs: Vec<PathBuf>) -> Vec<(PathBuf, Vec<Entry>)> {
        let few = dirs.len().min(self.budget);
        let failed = self.hold(dirs.get(..few).unwrap_or_default());
        self.budget = if failed > 0 { 0 } else { self.budget.saturating_sub(few) };
        self.concerns.unwatched += dirs.len().saturating_sub(few) + failed;
        self.concerns.dirs.extend(dirs.iter().cloned());
        dirs.into_iter().map(|dir| (dir.clone(), list(&dir))).collect()
    }

    /// Lists one of the few directories whose files say where stores are.
    pub(super) fn list(&mut self, dir: &Path) -> Vec<Entry> {
        self.concerns.unwatched += self.hold(&[dir.to_owned()]);
        self.concerns.dirs.insert(dir.to_owned());
        list(dir)
    }

    /// Reads small files; those that are not there are waited for.
    pub(super) fn read_all(&mut self, files: Vec<PathBuf>) -> Vec<(PathBuf, Vec<u8>)> {
        // Settings may be links into a folder that is kept elsewhere.
        let behind = files.iter().filter_map(|file| resolved(file));
        let all: BTreeSet<PathBuf> = behind.chain(files.iter().cloned()).collect();
        let dirs: Vec<PathBuf> = all.iter().filter_map(|file| file.parent()).map(Path::to_owned).collect();
        self.concerns.unwatched += self.hold(&dirs);
        self.concerns.files.extend(all);
        files.into_iter().filter_map(|file| small_file(&file).map(|content| (file, content))).collect()
    }

    /// Leaves the directories that are there; the others are waited for.
    pub(super) fn those_there(&mut self, dirs: Vec<PathBuf>) -> Vec<PathBuf> {
        let (there, missing): (Vec<PathBuf>, Vec<PathBuf>) = dirs.into_iter().partition(|dir| dir.is_dir());
        self.concerns.unwatched += self.hold(&missing);
        self.concerns.files.extend(missing);
        there
    }

    /// Watches directories or, where one is not there, the nearest above it; returns how many are not watched.
    fn hold(&self, dirs: &[PathBuf]) -> usize {
        let Some(watch) = self.watch else { return 0 };
        let mut held = BTreeSet::new();
        for _ in 0..ROUNDS {
            let nearest: BTreeSet<PathBuf> = dirs.iter().filter_map(|dir| nearest(dir)).collect();
            let fresh: Vec<PathBuf> = nearest.difference(&held).cloned().collect();
            if fresh.is_empty() {
                break;
            }
            let failed = watch.add(fresh);
            if !failed.is_empty() {
                return failed.len();
            }
            held = nearest;
        }
        0
    }
}

/// Why a file that is there could not be read.
pub(super) fn why_unread(file: &Path) -> Option<String> {
    match fs::metadata(file) {
        Ok(meta) => meta.is_file().then(|| "it cannot be read, or is far too long".to_owned()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
        Err(error) => Some(error.to_string()),
    }
}

fn nearest(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().find(|above| above.is_dir()).map(Path::to_owned)
}

fn list(dir: &Path) -> Vec<Entry> {
    Beneath::open(dir).and_then(|beneath| beneath.list(dir)).unwrap_or_default()
}

/// How many watches the user may have, here and in this namespace; few where the kernel does not tell.
fn limit() -> usize {
    ["/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
        .unwrap_or(MOST_WATCHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_at_the_way_to_it_and_new_entries_count_and_nothing_else() {
        let concerns = Concerns {
            dirs: ["/home/u", "/home/u/projects"].map(PathBuf::from).into(),
            files: ["/home/u/.lmstudio/settings.json"].map(PathBuf::from).into(),
            unwatched: 0,
        };
        for (path, is_entry_new, counts) in [
            ("/home/u/.lmstudio/settings.json", false, true),
            ("/home/u/.lmstudio", true, true),
            ("/home/u/.lmstudio/log.txt", true, false),
            ("/home/u/.lmstudio-other", true, false),
            ("/home/u/ComfyUI", true, true),
            ("/home/u/projects/clone", true, true),
            ("/home/u/projects/.git", true, true),
            ("/home/u/.xsession-errors", true, false),
            ("/home/u/app.log", false, false),
            ("/home/u/projects/clone/src", true, false),
            ("/elsewhere", true, false),
        ] {
            assert_eq!(concerns.has(Path::new(path), is_entry_new), counts, "{path}");
        }
    }
}
