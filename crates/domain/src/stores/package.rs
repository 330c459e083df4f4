//! CoreML's directories that are one model: a package to be compiled (`.mlpackage`) and a compiled one (`.mlmodelc`).

use super::{ask::Ask, bundle::Bundle, handle};
use crate::{Format, Kind, Role};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// What a compiled model always has.
pub(super) const COMPILED: &str = "coremldata.bin";
const MANIFEST: &str = "Manifest.json";
const METADATA: &str = "metadata.json";

/// Returns whether a directory is a model by its name.
pub(super) fn is_package(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    matches!(extension, Some("mlpackage" | "mlmodelc"))
}

/// Returns the outermost such directory that a path lies in, or is.
pub(super) fn around(path: &Path) -> Option<&Path> {
    let outermost = path.ancestors().filter(|dir| dir.file_name().is_some_and(is_package));
    outermost.last()
}

/// Says what a package is, from its files (all paths below `base`). None where it has no weights.
pub(super) fn bundle(ask: &mut Ask<'_>, base: &Path, root: &Path, files: &[&Path]) -> Option<Bundle> {
    let names: BTreeSet<&Path> = files.iter().filter_map(|file| file.strip_prefix(root).ok()).collect();
    let is_compiled = root.extension().is_some_and(|extension| extension == "mlmodelc");
    let mut weights: Vec<&Path> = names.iter().copied().filter(|file| is_weights(file)).collect();
    if weights.is_empty() && is_compiled {
        weights.extend(names.get(Path::new(COMPILED)));
    }
    // The description first: it alone says what it is.
    weights.sort_by_key(|file| file.extension().is_none_or(|extension| extension != "mlmodel"));
    if weights.is_empty() {
        return None;
    }
    let mut bundle = Bundle {
        label: root.to_path_buf(),
        is_directory: true,
        is_graph: true,
        stem: root.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        files: weights.iter().map(|file| (root.join(file), Role::Weights)).collect(),
        ..Bundle::default()
    };
    bundle.hints.format = Some(Format::CoreMl);
    bundle.hints.kind = Some(Kind::Other);
    let absent = if is_compiled {
        compiled(ask, base, root, &names, &mut bundle)
    } else {
        manifest(ask, base, root, &names, &mut bundle)
    };
    bundle.missing = absent.and_then(|name| handle::bounded(&format!("missing-sibling: {name}")));
    Some(bundle)
}

fn is_weights(file: &Path) -> bool {
    let is_below = file.parent().is_some_and(|dir| dir.iter().any(|part| part == "weights"));
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    is_below || name.ends_with(".mlmodel") || name == "weight.bin" || name.ends_with(".espresso.weights")
}

/// Reads what a compiled model says of itself; returns what it lacks.
fn compiled(
    ask: &mut Ask<'_>,
    base: &Path,
    root: &Path,
    names: &BTreeSet<&Path>,
    bundle: &mut Bundle,
) -> Option<String> {
    if names.contains(Path::new(METADATA)) {
        let path = base.join(root).join(METADATA);
        let said = ask.json(&path);
        let license = said.as_ref().and_then(|said| said.get(0)?.get("license")?.as_str());
        bundle.license = license.and_then(handle::bounded);
        bundle.depends.push(path);
    }
    (!names.contains(Path::new(COMPILED))).then(|| COMPILED.to_owned())
}

/// Reads which parts a package has; returns the first that is not there.
fn manifest(
    ask: &mut Ask<'_>,
    base: &Path,
    root: &Path,
    names: &BTreeSet<&Path>,
    bundle: &mut Bundle,
) -> Option<String> {
    let path = base.join(root).join(MANIFEST);
    if !names.contains(Path::new(MANIFEST)) {
        bundle.depends.push(path);
        return Some(MANIFEST.to_owned());
    }
    let said = ask.json(&path);
    bundle.depends.push(path);
    let items = said.as_ref().and_then(|said| said.get("itemInfoEntries")?.as_object());
    let mut paths =
        items.into_iter().flat_map(|items| items.values()).filter_map(|item| item.get("path")?.as_str());
    let absent = paths.find(|path| {
        let part: PathBuf = Path::new("Data").join(path.trim_start_matches('/'));
        !names.iter().any(|name| name.starts_with(&part))
    });
    absent.map(str::to_owned)
}
