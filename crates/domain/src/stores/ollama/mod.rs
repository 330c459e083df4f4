//! Ollama: `manifests/HOST/NAMESPACE/MODEL/TAG` names blobs by digest. The private key beside it is left alone.

pub(super) mod license;
mod manifest;
mod tag;
#[cfg(test)]
mod tests;

use super::{EntryKind, Environment, Known, Step, Store, Unit, Visit, ask::Ask};
use crate::App;
use std::path::{Path, PathBuf};

const SYSTEM: &[&str] = &[
    "usr/share/ollama/.ollama/models",
    "var/lib/ollama/models",
    "var/lib/ollama/.ollama/models",
    "var/snap/ollama/common/models",
];

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
        let volumes = volumes.filter(|models| environment.has_entry(models, "manifests"));
        super::distinct(named.into_iter().chain(home).chain(system).chain(volumes))
    }

    fn visit(&self, dir: &Path) -> Visit {
        visit(dir)
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
        (Some(first), 0..=2) if first.as_os_str() == "manifests" => Visit::Pass,
        (Some(first), 3) if first.as_os_str() == "manifests" => Visit::Whole,
        _ => Visit::Skip,
    }
}

/// Steps over the tags of one model, whichever app keeps them.
pub(super) fn step(app: App, unit: &Unit<'_>, known: &Known) -> Step {
    let mut ask = Ask::new(known);
    let entries = ask.list(&unit.path());
    let tags = entries.filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Symlink));
    let found = tags.filter_map(|entry| tag::found(&mut ask, app, unit, &entry.name)).collect();
    ask.step(found)
}
