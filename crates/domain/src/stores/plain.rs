//! Files that lie in a directory as people put them there: links checked, unfinished ones left out.

use super::{EntryKind, Unit, ask, ask::Ask, bundle, package, weights};
use std::path::{Path, PathBuf};

/// Which links to weights count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Those that stay below the root: what leads out belongs to whoever keeps it.
    Inside,
    All,
}

/// Pipelines have one level of components.
const DEEPEST: usize = 4;

/// Returns the files directly in a unit, by name, and those of the directories there that are one model. Such a
/// directory has none as a unit of its own.
pub(super) fn files(ask: &mut Ask<'_>, unit: &Unit<'_>, links: Links) -> Vec<PathBuf> {
    if package::around(unit.dir).is_some() {
        return Vec::new();
    }
    let mut files = Vec::new();
    add(ask, unit, Path::new(""), links, &mut files);
    let dirs = ask.list(&unit.path()).filter(|entry| entry.kind == EntryKind::Dir);
    for entry in dirs.filter(|entry| package::is_package(&entry.name)) {
        files.extend(below(ask, unit, Path::new(&entry.name), links));
    }
    files
}

/// Returns the files in a unit and below it.
pub(super) fn tree(ask: &mut Ask<'_>, unit: &Unit<'_>, links: Links) -> Vec<PathBuf> {
    below(ask, unit, Path::new(""), links)
}

fn below(ask: &mut Ask<'_>, unit: &Unit<'_>, dir: &Path, links: Links) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![(dir.to_path_buf(), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        add(ask, unit, &dir, links, &mut files);
        let entries = ask.list(&unit.path().join(&dir)).filter(|entry| entry.kind == EntryKind::Dir);
        let entries = entries.filter(|entry| !entry.name.as_encoded_bytes().starts_with(b"."));
        dirs.extend(entries.filter(|_| depth < DEEPEST).map(|entry| (dir.join(&entry.name), depth + 1)));
    }
    files.sort();
    files
}

/// Whether a directory above is a diffusers tree: then its components are not models of their own.
pub(super) fn is_in_pipeline(ask: &mut Ask<'_>, unit: &Unit<'_>) -> bool {
    let is_heap = |dir: &Path| unit.place.join(dir).as_os_str().is_empty();
    let above = unit.dir.ancestors().skip(1).filter(|dir| !is_heap(dir));
    let indexes: Vec<_> = above.map(|dir| ask.stat(&unit.root.join(dir).join(bundle::PIPELINE))).collect();
    indexes.into_iter().flatten().any(|stat| stat.kind == EntryKind::File)
}

fn add(ask: &mut Ask<'_>, unit: &Unit<'_>, dir: &Path, links: Links, files: &mut Vec<PathBuf>) {
    let base = unit.path().join(dir);
    for entry in ask.list(&base) {
        let is_file = match entry.kind {
            EntryKind::File => true,
            EntryKind::Symlink if weights::is_candidate(&entry.name) => {
                leads_to_file(ask, unit.root, &base.join(&entry.name), links)
            }
            EntryKind::Symlink => true,
            EntryKind::Dir | EntryKind::Special => false,
        };
        if is_file {
            files.push(dir.join(&entry.name));
        }
    }
}

fn leads_to_file(ask: &mut Ask<'_>, root: &Path, path: &Path, links: Links) -> bool {
    let target = ask.link(path).and_then(|target| Some(ask::lexical(path.parent()?, target)));
    let counts = links == Links::All || target.is_some_and(|target| target.starts_with(root));
    counts && ask.stat(path).is_some_and(|stat| stat.kind == EntryKind::File)
}
