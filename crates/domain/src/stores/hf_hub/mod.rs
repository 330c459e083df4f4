//! The Hugging Face hub cache: `models--ORG--NAME/{refs,snapshots/COMMIT}`; llama.cpp keeps the same layout.
//! Blobs are reached only through snapshots; tokens, locks, datasets and the shared store are left alone.

mod revision;
#[cfg(test)]
mod tests;

use super::{Entry, EntryKind, Environment, Found, Known, Step, Store, Unit, Visit, ask::Ask, handle};
use crate::App;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Variables that name a cache, newest first. What libraries of before called theirs has the same layout.
const NAMED: &[&str] = &[
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "TRANSFORMERS_CACHE",
    "PYTORCH_TRANSFORMERS_CACHE",
    "DIFFUSERS_CACHE",
    "SENTENCE_TRANSFORMERS_HOME",
];
/// `refs/pr/1` lies three deep; nobody nests further.
const DEEPEST_REF: usize = 6;

pub(super) struct HfHub;

impl Store for HfHub {
    fn app(&self) -> App {
        App::HuggingFace
    }

    /// Returns every place that was ever the cache: variables change, old files stay.
    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let hub = |home: PathBuf| home.join("hub");
        let named = NAMED.iter().map(|name| environment.path(name));
        let homes = [
            environment.path("HF_HOME").map(hub),
            environment.xdg("XDG_CACHE_HOME", ".cache").map(|cache| hub(cache.join("huggingface"))),
            environment.in_home(".cache/huggingface/hub"),
        ];
        super::distinct(named.into_iter().chain(homes).flatten())
    }

    fn follows_links(&self) -> bool {
        true
    }

    fn visit(&self, dir: &Path) -> Visit {
        match dir.components().count() {
            0 => Visit::Pass,
            1 if is_repository(dir) => Visit::Whole,
            _ => Visit::Skip,
        }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        step(App::HuggingFace, unit, known)
    }
}

/// Returns whether a directory has the name of a model repository in a hub cache.
pub(super) fn is_repository(dir: &Path) -> bool {
    repository_of(dir).is_some()
}

/// Steps over one repository of a hub cache, whichever app keeps it.
pub(super) fn step(app: App, unit: &Unit<'_>, known: &Known) -> Step {
    let mut ask = Ask::new(known);
    let found = repository(&mut ask, app, unit);
    ask.step(found)
}

struct Repository {
    app: App,
    /// `org/name`, or just a name.
    name: String,
    path: PathBuf,
    /// Names by commit.
    refs: BTreeMap<String, Vec<String>>,
    has_trees: bool,
}

fn repository(ask: &mut Ask<'_>, app: App, unit: &Unit<'_>) -> Vec<Found> {
    let Some(name) = repository_of(&unit.layout()) else { return Vec::new() };
    let path = unit.path();
    let dirs: Vec<&Entry> = ask.list(&path).filter(|entry| entry.kind == EntryKind::Dir).collect();
    let has = |name: &str| dirs.iter().any(|entry| entry.name == name);
    let mut refs = BTreeMap::new();
    if has("refs") {
        read_refs(ask, &path.join("refs"), "", 0, &mut refs);
        refs.values_mut().for_each(|names: &mut Vec<String>| names.sort_unstable()); // a directory has no order
    }
    if !has("snapshots") {
        return Vec::new();
    }
    let snapshots = path.join("snapshots");
    let repository = Repository { app, name, path, refs, has_trees: has("trees") };
    let revisions = ask.list(&snapshots).filter(|entry| entry.kind == EntryKind::Dir);
    revisions.flat_map(|entry| revision::found(ask, &repository, &entry.name)).collect()
}

/// Ids have no `--` of their own on the hub; a folder someone made may, and keeps it, as it keeps what is no text.
pub(super) fn repository_of(dir: &Path) -> Option<String> {
    let name = dir.file_name()?.as_bytes().strip_prefix(b"models--").filter(|name| !name.is_empty())?;
    let name = handle::of_path(Path::new(OsStr::from_bytes(name))).replacen("--", "/", 1);
    Some(handle::bounded(&name).unwrap_or_else(|| handle::fit(name)))
}

fn read_refs(
    ask: &mut Ask<'_>,
    dir: &Path,
    prefix: &str,
    depth: usize,
    refs: &mut BTreeMap<String, Vec<String>>,
) {
    for entry in ask.list(dir) {
        let Some(name) = entry.name.to_str().map(|name| format!("{prefix}{name}")) else { continue };
        let path = dir.join(&entry.name);
        match entry.kind {
            EntryKind::Dir if depth < DEEPEST_REF => {
                read_refs(ask, &path, &format!("{name}/"), depth + 1, refs);
            }
            EntryKind::File | EntryKind::Symlink => {
                let commit =
                    ask.read(&path).and_then(|text| handle::bounded(std::str::from_utf8(text).ok()?));
                if let (Some(commit), Some(name)) = (commit, handle::bounded(&name)) {
                    refs.entry(commit).or_default().push(name);
                }
            }
            EntryKind::Dir | EntryKind::Special => {}
        }
    }
}
