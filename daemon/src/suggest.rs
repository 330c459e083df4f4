//! A bounded look over the home and other disks for folders that hold models and are no roots. Adds nothing, writes
//! nothing, follows no link.

use crate::{
    look::{Beneath, resolved},
    read,
    volume::Volumes,
};
use domain::{
    App, State,
    names::looks_like_model,
    stores::{Entry, EntryKind, Environment, STORES, Visit, partial::is_partial},
    suggest::Spot,
};
use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A person waits for the answer.
const LONGEST: Duration = Duration::from_secs(5);
/// So many folders are listed in that time on a disk with a warm cache; more are a tree of something else.
const MOST_DIRS: usize = 50_000;
/// Models are kept no deeper than this below a home or a disk's top.
const DEEPEST: usize = 8;
/// Files of a folder whose header is read; the names of the others tell enough.
const MOST_READ: usize = 3;
/// More files of a folder are not measured.
const MOST_FILES: usize = 1000;

/// Where disks are mounted and data is put, below the system.
const PLACES: &[&str] = &["mnt", "media", "run/media", "data", "srv", "opt"];
/// What has its own apps, or is made by tools: never models that one keeps.
const SKIPPED: &[&str] = &[
    ".git",
    ".cargo",
    ".npm",
    ".rustup",
    "node_modules",
    "site-packages",
    "dist-packages",
    "venv",
    ".venv",
    "snap",
    "target",
];

/// What the look found.
pub(crate) struct Sighted {
    pub(crate) spots: Vec<Spot>,
    /// Folders that were listed.
    pub(crate) looked: u64,
    /// Whether it came to the end.
    pub(crate) is_complete: bool,
    /// Folders that hold more than models.
    pub(crate) never: BTreeSet<PathBuf>,
}

/// A folder to look at, the place it is opened beneath, and how deep below that it lies.
type Waiting = (PathBuf, PathBuf, usize);

/// Looks; `known` are roots and the daemon's own places, into which it does not go.
pub(crate) fn look(environment: &Environment, known: &BTreeSet<PathBuf>) -> Sighted {
    let mut volumes = Volumes::read();
    let places: Vec<PathBuf> = PLACES.iter().map(|place| environment.in_system(place)).collect();
    let never = never(environment, &places, &volumes);
    let tops = environment.home.iter().chain(&places).filter_map(|top| resolved(top));
    let mut waiting: VecDeque<Waiting> = tops.map(|top| (top.clone(), top, 0)).collect();
    let mut hidden = VecDeque::new();
    let mut sighted = Sighted { spots: Vec::new(), looked: 0, is_complete: true, never };
    let (mut seen, until) = (BTreeSet::new(), Instant::now() + LONGEST);
    // What is hidden last: there lie mostly apps' own things.
    while let Some((top, dir, depth)) = waiting.pop_front().or_else(|| hidden.pop_front()) {
        if seen.len() >= MOST_DIRS || Instant::now() > until {
            sighted.is_complete = false;
            break;
        }
        // A server that is gone would not even say what it is.
        let is_near = !volumes.is_far(&dir);
        let is_here = is_near && dir.metadata().is_ok_and(|meta| !volumes.of(meta.dev(), &dir).is_remote);
        if known.contains(&dir) || !is_here || !seen.insert(dir.clone()) {
            continue;
        }
        let Ok(entries) = Beneath::open(&top).and_then(|beneath| beneath.list(&dir)) else { continue };
        sighted.looked += 1;
        let spot = spot(&top, &dir, &entries);
        let is_layout = spot.as_ref().is_some_and(|spot| spot.mark.is_some());
        sighted.spots.extend(spot);
        let below = entries.iter().filter(|entry| !is_layout && depth < DEEPEST && is_entered(entry));
        for entry in below {
            let is_hidden = entry.name.as_bytes().starts_with(b".");
            let queue = if is_hidden { &mut hidden } else { &mut waiting };
            queue.push_back((top.clone(), dir.join(&entry.name), depth + 1));
        }
    }
    sighted
}

/// The home, places of disks, disks' tops, and all that is above them.
fn never(environment: &Environment, places: &[PathBuf], volumes: &Volumes) -> BTreeSet<PathBuf> {
    let disks = volumes.points_below(&environment.sysroot).map(Path::to_owned);
    let disks = disks.filter(|disk| places.iter().any(|place| disk.starts_with(place)));
    let all = disks.chain(places.iter().cloned()).chain(environment.home.clone());
    all.flat_map(|dir| dir.ancestors().map(Path::to_owned).collect::<Vec<_>>()).collect()
}

fn is_entered(entry: &Entry) -> bool {
    let is_plain = || {
        let plain = STORES.iter().find(|store| store.app() == App::Loose);
        plain.is_none_or(|store| store.visit(Path::new(&entry.name)) != Visit::Skip)
    };
    let is_cache = entry.name == ".cache"; // a plain folder's own, and a home's
    entry.kind == EntryKind::Dir
        && !SKIPPED.iter().any(|skipped| entry.name == *skipped)
        && (is_cache || is_plain())
}

/// What a folder looks like, if it looks like models.
fn spot(top: &Path, dir: &Path, entries: &[Entry]) -> Option<Spot> {
    let has = |name: &str| entries.iter().any(|entry| entry.kind == EntryKind::Dir && entry.name == name);
    let is_hub = entries.iter().any(|entry| entry.name.as_bytes().starts_with(b"models--"));
    let mark = if is_hub {
        Some((App::HuggingFace, "`models--…` folders"))
    } else if has("manifests") && has("blobs") {
        Some((App::Ollama, "`manifests` and `blobs`"))
    } else if has("checkpoints") && has("loras") {
        Some((App::ComfyUi, "`checkpoints` and `loras`"))
    } else {
        None
    };
    let beneath = Beneath::open(top).ok()?;
    let is_named = |name: &OsStr| looks_like_model(&name.to_string_lossy()) && !is_partial(name);
    let named = entries.iter().filter(|entry| entry.kind == EntryKind::File && is_named(&entry.name));
    let mut files: Vec<(u64, &OsStr)> = Vec::new();
    for entry in named.take(MOST_FILES) {
        let size = dir.join(&entry.name).symlink_metadata().map_or(0, |meta| meta.len());
        files.push((size, &entry.name));
    }
    files.sort_unstable_by(|a, b| b.cmp(a));
    let what = |name: &OsStr| {
        let file = beneath.open_regular(&dir.join(name)).ok()?;
        let verdict = read::read(&file, Some(name)).ok()?.verdict;
        let format = verdict.format.filter(|_| verdict.state != State::NotAModel)?;
        Some((name.to_string_lossy().into_owned(), format.to_string()))
    };
    let example = files.iter().take(MOST_READ).find_map(|(_, name)| what(name));
    if mark.is_none() && example.is_none() {
        return None;
    }
    let (app, mark) = mark.map_or((App::Loose, None), |(app, mark)| (app, Some(mark)));
    let bytes = files.iter().map(|(size, _)| *size).sum();
    Some(Spot { dir: dir.to_owned(), app, mark, models: files.len() as u64, bytes, example })
}
