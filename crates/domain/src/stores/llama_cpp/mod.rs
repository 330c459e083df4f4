//! llama.cpp's own cache: flat files with sidecars, as before it took to the hub layout and as `-mu` and `-dr`
//! still make them; `LLAMA_CACHE` may hold both. And directories of models for its server (`models_dir`).
//! The tensor cache of `rpc-server` is no model.

mod flat;
mod models_dir;
#[cfg(test)]
mod tests;

use super::{
    Environment, Found, FoundFile, Known, Step, Store, Unit, Visit,
    ask::Ask,
    bundle::{self, Bundle, Together},
    handle, hf_hub,
    plain::{self, Links},
};
use crate::{App, Role};
use flat::Flat;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

pub(super) struct LlamaCpp;

impl Store for LlamaCpp {
    fn app(&self) -> App {
        App::LlamaCpp
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let cache = environment.xdg("XDG_CACHE_HOME", ".cache").map(|cache| cache.join("llama.cpp"));
        let usual = environment.in_home(".cache/llama.cpp");
        let caches = [environment.path("LLAMA_CACHE"), cache, usual].into_iter().flatten();
        super::distinct(caches.chain(models_dir::roots(environment)))
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        models_dir::pointers(environment)
    }

    fn visit(&self, dir: &Path) -> Visit {
        models_dir::visit(dir)
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        if hf_hub::is_repository(unit.dir) {
            return hf_hub::step(App::LlamaCpp, unit, known);
        }
        let mut ask = Ask::new(known);
        let found = match (is_cache(&mut ask, unit.root), unit.dir.as_os_str().is_empty()) {
            (true, true) => found(&mut ask, unit.root, unit),
            (true, false) => Vec::new(),
            (false, _) => models_dir::found(&mut ask, unit),
        };
        ask.step(found)
    }
}

/// A cache is called so, or shows by what downloads leave in it.
fn is_cache(ask: &mut Ask<'_>, root: &Path) -> bool {
    let is_left = |name: &str| {
        name.starts_with("manifest=") || name.ends_with(".gguf.json") || name.ends_with(".gguf.etag")
    };
    let is_of_cache = |entry: &super::Entry| {
        entry.name.to_str().is_some_and(is_left) || hf_hub::is_repository(Path::new(&entry.name))
    };
    // A checkout is called the same.
    let is_source = ask.list(root).any(|entry| entry.name == "CMakeLists.txt");
    ask.list(root).any(is_of_cache) || root.ends_with("llama.cpp") && !is_source
}

fn found(ask: &mut Ask<'_>, dir: &Path, unit: &Unit<'_>) -> Vec<Found> {
    let files = plain::files(ask, unit, Links::All);
    let names: BTreeSet<&str> = files.iter().filter_map(|file| file.to_str()).collect();
    let manifests = flat::manifests(ask, dir, &names);
    let bundles = bundle::bundles(ask, dir, Together::Heap, &files);
    let mut handles: BTreeMap<String, usize> = BTreeMap::new();
    let models: Vec<(Bundle, Flat)> = bundles
        .into_iter()
        .map(|bundle| {
            let flat = Flat::of(ask, dir, &bundle, &names, &manifests);
            *handles.entry(flat.id.clone()).or_default() += 1;
            (bundle, flat)
        })
        .collect();
    let is_shared = |flat: &Flat| handles.get(&flat.id).is_some_and(|users| *users > 1);
    models.into_iter().map(|(bundle, flat)| location(dir, bundle, is_shared(&flat), flat)).collect()
}

/// Two files may answer to one quantisation; then each goes by its own name.
fn location(dir: &Path, bundle: Bundle, is_shared: bool, flat: Flat) -> Found {
    let id = if is_shared { handle::of_path(&bundle.label) } else { flat.id };
    let sidecars = flat.sidecars.iter().map(|path| (path, Role::Sidecar));
    let files = bundle.files.iter().map(|(path, role)| (path, *role)).chain(sidecars);
    let files = files.map(|(path, role)| {
        let sha256 = flat.sha256.iter().find(|(name, _)| name == path).map(|(_, sha256)| sha256.clone());
        FoundFile { path: dir.join(path), role, sha256 }
    });
    Found {
        app: App::LlamaCpp,
        id: handle::fit(id),
        name: handle::bounded(flat.name.as_deref().unwrap_or(&bundle.stem)),
        source: flat.source,
        revision: None,
        refs: Vec::new(),
        license: None,
        base_models: Vec::new(),
        lineage: Vec::new(),
        claims: Vec::new(),
        files: files.collect(),
        partial: bundle.missing,
        hints: bundle.hints,
        depends: bundle.depends.into_iter().chain(flat.depends).collect(),
    }
}
