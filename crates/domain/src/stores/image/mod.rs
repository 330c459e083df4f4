//! What image generators have in common: folders by kind, in which a file is a model, with its sidecars beside it.
//! What a folder is for never stands against what the weights say.

pub(super) mod civitai;
pub(super) mod kinds;
pub(super) mod places;
pub(super) mod sidecar;

use super::{
    EntryKind, Found, Known, Step, Unit, Visit,
    ask::Ask,
    bundle::{self, Bundle, Together},
    handle, hf_hub, partial,
    plain::{self, Links},
};
use crate::{App, Kind, Role};
use sidecar::Sidecars;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// What the loaders of these apps take, by extension; the first bytes decide.
const EXTENSIONS: &[&str] = &["safetensors", "sft", "gguf", "ckpt", "pt", "pt2", "pth", "bin", "pkl", "onnx"];

const CONTROL: &str = ".aria2";

/// Not models, whatever is in them.
const SKIPPED: &[&str] = &["__pycache__", "node_modules", "lost+found", "@eaDir", "configs"];

/// How one app differs from the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub app: App,
    /// What handles go without.
    pub top: &'static str,
    /// Handles end as the file does, as the app's own lists do.
    pub has_extension: bool,
}

/// Says what a directory of models is.
pub(super) fn visit(dir: &Path) -> Visit {
    let Some(name) = dir.file_name() else { return Visit::Unit };
    let text = name.to_string_lossy();
    match text.as_ref() {
        _ if text.starts_with('.') || SKIPPED.contains(&text.as_ref()) || partial::is_partial(name) => {
            Visit::Skip
        }
        _ if hf_hub::is_repository(dir) => Visit::Whole,
        _ => Visit::Unit,
    }
}

pub(super) fn step(style: Style, unit: &Unit<'_>, known: &Known) -> Step {
    if hf_hub::is_repository(&unit.layout()) {
        return hf_hub::step(style.app, unit, known);
    }
    let mut ask = Ask::new(known);
    let found = found(&mut ask, style, unit);
    ask.step(found)
}

pub(super) fn is_weights(name: &OsStr) -> bool {
    let extension = Path::new(name).extension();
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// Says what is in a directory.
pub(super) fn found(ask: &mut Ask<'_>, style: Style, unit: &Unit<'_>) -> Vec<Found> {
    let dir = unit.path();
    let names = names(ask, &dir);
    let is_tree = names.contains(OsStr::new(bundle::PIPELINE)) && unit.layout() != Path::new("");
    let has_weights = is_tree || names.iter().any(|name| is_weights(name));
    if !has_weights || plain::is_in_pipeline(ask, unit) {
        return Vec::new();
    }
    let files: Vec<PathBuf> =
        if is_tree { plain::tree(ask, unit, Links::All) } else { names.iter().map(PathBuf::from).collect() };
    let is_repository = is_tree || names.contains(OsStr::new("config.json"));
    let together = if is_repository { Together::Folder } else { Together::Heap };
    let mut bundles = bundle::bundles(ask, &dir, together, &files);
    bundles.extend(singles(&bundles, &names));
    let kind = category(&unit.layout(), style.top).and_then(kinds::of);
    if kind.is_some_and(|kind| kind != Kind::ImagePipeline) {
        bundles.iter_mut().for_each(go_by_file);
    }
    let mut stems = BTreeMap::new();
    for bundle in &bundles {
        *stems.entry(stem(&bundle.label).to_owned()).or_default() += 1;
    }
    let controls = ask.list_all(&dir).iter().map(|entry| entry.name.as_os_str());
    let controls = controls.filter(|name| name.as_encoded_bytes().ends_with(CONTROL.as_bytes())).collect();
    let place = Place { style, layout: unit.layout(), root: unit.root, dir, names, stems, controls };
    bundles.into_iter().map(|bundle| place.found(ask, bundle)).collect()
}

/// Names of files, and of links that lead to one where that matters.
fn names<'a>(ask: &mut Ask<'a>, dir: &Path) -> BTreeSet<&'a OsStr> {
    let mut names = BTreeSet::new();
    for entry in ask.list(dir) {
        let is_file = match entry.kind {
            EntryKind::File => true,
            EntryKind::Symlink if is_weights(&entry.name) => {
                ask.stat(&dir.join(&entry.name)).is_some_and(|stat| stat.kind == EntryKind::File)
            }
            EntryKind::Symlink => true,
            EntryKind::Dir | EntryKind::Special => false,
        };
        if is_file {
            names.insert(entry.name.as_os_str());
        }
    }
    names
}

/// Files of weights that are no part of a bundle.
fn singles(bundles: &[Bundle], names: &BTreeSet<&OsStr>) -> Vec<Bundle> {
    let taken: BTreeSet<&Path> = bundles.iter().flat_map(Bundle::weights).collect();
    let rest = names.iter().filter(|name| is_weights(name) && !taken.contains(Path::new(name)));
    let single = |name: &&OsStr| Bundle {
        label: name.into(),
        stem: stem(Path::new(name)).to_string_lossy().into_owned(),
        files: vec![(name.into(), Role::Weights)],
        ..Bundle::default()
    };
    rest.map(single).collect()
}

/// What is for one kind of file is loaded by the file, also where that came with its folder from the hub.
fn go_by_file(bundle: &mut Bundle) {
    let weights: Vec<&Path> = bundle.weights().collect();
    if let (true, &[only]) = (bundle.is_directory, weights.as_slice()) {
        bundle.label = only.to_path_buf();
    }
}

fn stem(file: &Path) -> &OsStr {
    file.file_stem().unwrap_or_default()
}

/// A directory of models.
struct Place<'u> {
    style: Style,
    /// The directory in the app's own layout.
    layout: PathBuf,
    root: &'u Path,
    dir: PathBuf,
    names: BTreeSet<&'u OsStr>,
    /// How often each stem occurs: `x.ckpt` and `x.safetensors` may lie side by side.
    stems: BTreeMap<OsString, usize>,
    controls: BTreeSet<&'u OsStr>,
}

impl Place<'_> {
    fn found(&self, ask: &mut Ask<'_>, bundle: Bundle) -> Found {
        let file = bundle.files.first().map(|(path, _)| path.clone()).filter(|path| *path == bundle.label);
        let beside = file.as_ref().map(|file| Sidecars::of(ask, &self.dir, file.as_os_str(), &self.names));
        let beside = beside.unwrap_or_default();
        let is_only = self.stems.get(stem(&bundle.label)) == Some(&1);
        let is_short = file.is_some() && is_only && (!self.style.has_extension || beside.is_managed());
        let id = self.id(&bundle.label, is_short);
        let directory = bundle.is_directory.then(|| self.directory()).flatten();
        let mut found = Found::of(self.style.app, id, &self.dir, bundle);
        found.name = directory.or(found.name);
        found.hints.placed_as = self.kind(file.as_deref()).or(beside.kind());
        beside.add_to(&self.dir, &mut found);
        self.control(file, &mut found);
        found
    }

    /// `models/Lora/sub/x.safetensors` is `Lora/sub/x`.
    fn id(&self, label: &Path, is_short: bool) -> String {
        let dir = self.layout.strip_prefix(self.style.top).unwrap_or(&self.layout);
        let path = match label.as_os_str() {
            _ if is_short => dir.join(stem(label)),
            label if label.is_empty() => dir.to_path_buf(),
            label => dir.join(label),
        };
        let root = || PathBuf::from(self.root.file_name().unwrap_or_default());
        handle::fit(handle::of_path(&if path.as_os_str().is_empty() { root() } else { path }))
    }

    fn directory(&self) -> Option<String> {
        handle::bounded(&self.dir.file_name()?.to_string_lossy())
    }

    /// What the folder is for; `NAME.vae.pt` is a VAE wherever it lies.
    fn kind(&self, file: Option<&Path>) -> Option<Kind> {
        if file.is_some_and(|file| stem(file).as_encoded_bytes().ends_with(b".vae")) {
            return Some(Kind::Vae);
        }
        category(&self.layout, self.style.top).and_then(kinds::of)
    }

    /// aria2's record of a download under way: the file has its full size and is not whole.
    fn control(&self, file: Option<PathBuf>, found: &mut Found) {
        let Some(mut name) = file.map(PathBuf::into_os_string) else { return };
        name.push(CONTROL);
        if self.controls.contains(name.as_os_str()) {
            found.partial = Some(".aria2 control file beside it".into());
            found.depends.push(self.dir.join(name));
        }
    }
}

/// Returns the folder that says what everything below it is for.
pub(super) fn category<'a>(layout: &'a Path, top: &str) -> Option<&'a str> {
    layout.strip_prefix(top).unwrap_or(layout).iter().next()?.to_str()
}
