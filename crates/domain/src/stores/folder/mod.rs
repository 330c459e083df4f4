//! Plain folders: models that someone put somewhere, with whatever says where they came from.

#[cfg(test)]
mod graph_tests;
mod local_dir;
mod origin;
#[cfg(test)]
mod tests;

use super::{
    Entry, Environment, Found, FoundFile, Known, Step, Store, Unit, VOLUME, Visit,
    ask::Ask,
    bundle::{self, Bundle, Together},
    handle, hf_hub,
    image::{
        places::{self, Extra},
        sidecar::Sidecars,
    },
    incoming, ollama, package, partial,
    plain::{self, Links},
    weights,
};
use crate::{App, names::with_suffix};
use local_dir::{LocalDir, Record};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Copies of everything, other programs' insides, and what has a store of its own.
const SKIPPED: &[&str] = &[
    ".git",
    ".cache",
    ".snapshots",
    ".zfs",
    "node_modules",
    "__pycache__",
    ".venv",
    "lost+found",
    "@eaDir",
    ".locks",
    ".no_exist",
];
const SKIPPED_STARTS: &[&str] = &[".Trash", "datasets--", "spaces--", "kernels--"];

pub(super) struct Folder;

impl Store for Folder {
    fn app(&self) -> App {
        App::Loose
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let usual = usual(environment);
        let is_new = |dir: &PathBuf| !usual.iter().any(|root| dir.starts_with(root));
        let others = local_dir::marked(environment).into_iter().chain(caches(environment)).filter(is_new);
        let others = others.map(|path| Extra { path, place: PathBuf::new() }).collect();
        let others = places::outside(environment, others).into_iter().map(|extra| extra.path);
        let others: Vec<PathBuf> = others.collect();
        super::distinct(usual.into_iter().chain(others))
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        user_dirs(environment).into_iter().chain(local_dir::pointers(environment)).collect()
    }

    /// A folder that one download made is as one below a heap.
    fn place(&self, environment: &Environment, root: &Path) -> PathBuf {
        let is_usual = usual(environment).iter().any(|usual| usual == root);
        let name = root.file_name().filter(|_| !is_usual && local_dir::is_one(environment, root));
        name.map(PathBuf::from).unwrap_or_default()
    }

    fn visit(&self, dir: &Path) -> Visit {
        let Some(name) = dir.file_name() else { return Visit::Unit };
        let text = name.to_str().unwrap_or_default();
        match text {
            _ if SKIPPED.contains(&text) || partial::is_partial(name) => Visit::Skip,
            _ if SKIPPED_STARTS.iter().any(|start| text.starts_with(start)) => Visit::Skip,
            _ if package::is_package(name) => Visit::Skip, // read with the directory above
            _ if hf_hub::is_repository(dir) || ollama::top_of(dir).is_some() => Visit::Whole,
            _ => Visit::Unit,
        }
    }

    fn incoming(&self, dir: &Path) -> &'static [&'static str] {
        if hf_hub::is_repository(dir) { incoming::usual(dir) } else { &[local_dir::RECORDS] }
    }

    /// A hub cache in a plain folder (`--cache-dir`, `--download-dir`) is read as what it is, and so is a store of
    /// Ollama's (a backup, a disk of another machine).
    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        if hf_hub::is_repository(unit.dir) {
            return hf_hub::step(App::HuggingFace, unit, known);
        }
        let mut ask = Ask::new(known);
        let top = ollama::top_of(unit.dir).map(|top| (top, unit.root.join(top)));
        let found = match top {
            Some((top, path)) if ollama::is_store(&mut ask, &path) => {
                let dir = unit.dir.strip_prefix(top).unwrap_or(unit.dir);
                ollama::found(&mut ask, App::Ollama, &Unit::new(&path, dir))
            }
            _ => found(&mut ask, unit),
        };
        ask.step(found)
    }
}

fn usual(environment: &Environment) -> Vec<PathBuf> {
    let usual = ["models", "Downloads"].into_iter().filter_map(|name| environment.in_home(name));
    super::distinct(usual.chain(downloads(environment)))
}

/// Returns the folders of the home that hold repositories of the hub (`cache_dir=`, `--download-dir`). One with GGUFs
/// beside them is llama.cpp's.
fn caches(environment: &Environment) -> Vec<PathBuf> {
    let is_cache = |entries: &[Entry]| {
        entries.iter().any(|entry| hf_hub::is_repository(Path::new(&entry.name)))
            && !entries.iter().any(|entry| weights::is_gguf(&entry.name))
    };
    let home = environment.home.as_deref();
    let is_one = |dir: &Path, entries: &[Entry]| {
        let is_below = home.is_some_and(|home| dir.starts_with(home) && dir != home);
        is_below && !dir.iter().any(|part| part == VOLUME) && is_cache(entries)
    };
    let found = environment.places.iter().filter(|(dir, entries)| is_one(dir, entries));
    found.map(|(dir, _)| dir.clone()).collect()
}

fn user_dirs(environment: &Environment) -> Option<PathBuf> {
    Some(environment.xdg("XDG_CONFIG_HOME", ".config")?.join("user-dirs.dirs"))
}

/// Returns the download folder in the user's language; the home itself means that there is none.
fn downloads(environment: &Environment) -> Option<PathBuf> {
    let home = environment.home.as_ref()?;
    let text = String::from_utf8_lossy(environment.pointers.get(&user_dirs(environment)?)?);
    let value = text.lines().filter_map(|line| line.trim().strip_prefix("XDG_DOWNLOAD_DIR=")).next_back()?;
    let value = value.trim().trim_matches('"');
    let path = match value.strip_prefix("$HOME").filter(|below| below.is_empty() || below.starts_with('/')) {
        Some(below) => home.join(below.trim_matches('/')),
        None => PathBuf::from(value),
    };
    (path.is_absolute() && !home.starts_with(&path)).then_some(path)
}

/// A directory of a folder and what lies beside its files.
struct Place<'u> {
    unit: &'u Unit<'u>,
    dir: PathBuf,
    local: Option<LocalDir>,
    /// `NAME.aria2`: NAME has its full size and is not whole.
    controls: BTreeSet<PathBuf>,
}

fn found(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let dir = unit.path();
    let is_heap = unit.layout().as_os_str().is_empty();
    let is_tree = !is_heap && ask.list(&dir).any(|entry| entry.name == bundle::PIPELINE);
    let files =
        if is_tree { plain::tree(ask, unit, Links::Inside) } else { plain::files(ask, unit, Links::Inside) };
    if !weights::any(&files) || plain::is_in_pipeline(ask, unit) {
        return Vec::new();
    }
    let local = LocalDir::around(ask, unit);
    let together = match (is_heap, &local) {
        (true, _) => Together::Heap,
        (false, Some(_)) => Together::Repository,
        (false, None) => Together::Folder,
    };
    let bundles = bundle::bundles(ask, &dir, together, &files);
    let place = Place { unit, controls: controls(ask, &dir, &files), dir, local };
    let names = files.iter().map(|file| file.as_os_str()).collect();
    let found = bundles.into_iter().map(|bundle| {
        let mut found = place.found(ask, bundle);
        place.add_sidecars(ask, &names, &mut found);
        found
    });
    found.collect()
}

fn controls(ask: &mut Ask<'_>, base: &Path, files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let dirs: BTreeSet<PathBuf> = files.iter().filter_map(|file| Some(base.join(file.parent()?))).collect();
    let listed = dirs.iter().flat_map(|dir| ask.list_all(dir).iter().map(move |entry| dir.join(&entry.name)));
    listed.filter(|path| path.extension().is_some_and(|extension| extension == "aria2")).collect()
}

impl Place<'_> {
    fn found(&self, ask: &mut Ask<'_>, bundle: Bundle) -> Found {
        let records: Vec<Option<Record>> =
            bundle.files.iter().map(|(path, _)| self.record(ask, path)).collect();
        let files = bundle.files.iter().zip(&records).map(|((path, role), record)| FoundFile {
            path: self.dir.join(path),
            role: *role,
            sha256: record.as_ref().and_then(|record| record.sha256.clone()),
        });
        let files: Vec<FoundFile> = files.collect();
        let control = files
            .iter()
            .map(|file| with_suffix(&file.path, ".aria2"))
            .find(|path| self.controls.contains(path));
        let records_read =
            bundle.files.iter().filter_map(|(path, _)| self.local.as_ref()?.path_of(&self.dir.join(path)));
        let depends = bundle.depends.iter().cloned().chain(control.clone()).chain(records_read).collect();
        let origin = files.first().and_then(|file| origin::of(ask, &file.path));
        let (origin, branch) = origin.map_or((None, None), |(source, revision)| (Some(source), revision));
        let record = records.into_iter().next().flatten();
        let is_recorded = record.is_some();
        Found {
            app: if is_recorded { App::HuggingFaceLocalDir } else { App::Loose },
            id: self.id(&bundle),
            name: self.name(&bundle),
            revision: record.as_ref().map(|record| record.revision.clone()).or(branch),
            claims: if is_recorded { origin.iter().cloned().collect() } else { Vec::new() },
            source: record.map(Record::source).or(origin),
            refs: Vec::new(),
            license: bundle.license,
            base_models: bundle.base_models,
            lineage: bundle.lineage,
            files,
            partial: control.map(|_| ".aria2 control file beside it".to_owned()).or(bundle.missing),
            hints: bundle.hints,
            depends,
        }
    }

    /// Adds what a downloader of images' models recorded beside a file; without such a record, `NAME.txt` beside
    /// `NAME.gguf` may be anything.
    fn add_sidecars(&self, ask: &mut Ask<'_>, names: &BTreeSet<&OsStr>, found: &mut Found) {
        let [file] = found.files.as_slice() else { return };
        let Some(name) = file.path.strip_prefix(&self.dir).ok().map(Path::to_path_buf) else { return };
        let sidecars = Sidecars::of(ask, &self.dir, name.as_os_str(), names);
        if sidecars.are_records() {
            found.hints.placed_as = found.hints.placed_as.or(sidecars.kind());
            sidecars.add_to(&self.dir, found);
        }
    }

    fn record(&self, ask: &mut Ask<'_>, path: &Path) -> Option<Record> {
        self.local.as_ref()?.record(ask, &self.dir.join(path))
    }

    /// The root's own name and the path below it: `Downloads/x.gguf`.
    fn id(&self, bundle: &Bundle) -> String {
        let root = Path::new(self.unit.root.file_name().unwrap_or_default());
        let parts = [self.unit.dir, &bundle.label].into_iter().filter(|part| !part.as_os_str().is_empty());
        handle::fit(handle::of_path(&parts.fold(root.to_path_buf(), |path, part| path.join(part))))
    }

    fn name(&self, bundle: &Bundle) -> Option<String> {
        let label = self.unit.layout().join(&bundle.label);
        let dir = label.file_name().map(|name| name.to_string_lossy()).filter(|_| bundle.is_directory);
        handle::bounded(dir.as_deref().unwrap_or(&bundle.stem))
    }
}
