//! Ollama: `manifests/HOST/NAMESPACE/MODEL/TAG` names blobs by digest. The private key beside it is left alone.

pub(super) mod license;
mod manifest;
mod tag;
#[cfg(test)]
mod tests;

use super::{EntryKind, Environment, Found, Known, Step, Store, Unit, Visit, ask::Ask, docker_model_runner};
use crate::App;
use std::path::{Path, PathBuf};

/// Where blobs lie, and grow.
pub(super) const BLOBS: &str = "blobs";

const SYSTEM: &[&str] = &[
    "usr/share/ollama/.ollama/models",
    "var/lib/ollama/models",
    "var/lib/ollama/.ollama/models",
    "var/snap/ollama/common/models",
];

const MANIFESTS: &str = "manifests";
const MARKS: &[&str] = &[MANIFESTS, BLOBS];

pub(super) struct Ollama;

impl Store for Ollama {
    fn app(&self) -> App {
        App::Ollama
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let named = environment.path("OLLAMA_MODELS");
        let home = environment.in_home(".ollama/models");
        let system = SYSTEM.iter().map(|path| environment.in_system(path));
        // The image's home is mounted from a volume.
        let volumes = environment.volumes().map(|volume| volume.join("models"));
        let volumes = volumes.filter(|models| environment.has_entry(models, MANIFESTS));
        // Wherever else a start script puts it. Docker's has the same folders, and a list of its own.
        let is_dockers = |dir: &Path| environment.has_entry(dir, docker_model_runner::INDEX);
        let marked = environment.with_marks(MARKS).filter(|dir| !is_dockers(dir)).map(Path::to_path_buf);
        super::distinct(named.into_iter().chain(home).chain(system).chain(volumes).chain(marked))
    }

    fn visit(&self, dir: &Path) -> Visit {
        visit(dir)
    }

    fn incoming(&self, dir: &Path) -> &'static [&'static str] {
        if dir.as_os_str().is_empty() { &[BLOBS] } else { &[] }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        step(App::Ollama, unit, known)
    }
}

/// Says what a directory of this layout is, whichever app keeps it.
pub(super) fn visit(dir: &Path) -> Visit {
    let mut parts = dir.components();
    match (parts.next(), parts.count()) {
        (None, _) => Visit::Pass,
        (Some(first), 0..=2) if first.as_os_str() == MANIFESTS => Visit::Pass,
        (Some(first), 3) if first.as_os_str() == MANIFESTS => Visit::Whole,
        _ => Visit::Skip,
    }
}

/// Returns where a store would begin, if this is the directory of a model in one.
pub(super) fn top_of(dir: &Path) -> Option<&Path> {
    let manifests = dir.ancestors().nth(3)?;
    if manifests.file_name()? == MANIFESTS { manifests.parent() } else { None }
}

/// Whether what a directory of a model is in is a store.
pub(super) fn is_store(ask: &mut Ask<'_>, top: &Path) -> bool {
    ask.stat(&top.join(BLOBS)).is_some_and(|stat| stat.kind == EntryKind::Dir)
}

/// Steps over the tags of one model, whichever app keeps them.
pub(super) fn step(app: App, unit: &Unit<'_>, known: &Known) -> Step {
    let mut ask = Ask::new(known);
    let found = found(&mut ask, app, unit);
    ask.step(found)
}

/// Says what the tags of one model are.
pub(super) fn found(ask: &mut Ask<'_>, app: App, unit: &Unit<'_>) -> Vec<Found> {
    let entries = ask.list(&unit.path());
    let tags = entries.filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Symlink));
    tags.filter_map(|entry| tag::found(ask, app, unit, &entry.name)).collect()
}
