//! ModelScope: `models/OWNER--NAME/snapshots/REVISION` with regular files, and the folders of older SDKs, which
//! spell a dot `___`. Its `.msc` files are pickles and are left alone.

use super::{
    EntryKind, Environment, Found, Known, Step, Store, Unit, Visit,
    ask::Ask,
    bundle::{self, Together},
    handle, partial,
    plain::{self, Links},
    web,
};
use crate::{App, Confidence, Source, SourceKind};
use std::path::{Path, PathBuf};

pub(super) struct ModelScope;

impl Store for ModelScope {
    fn app(&self) -> App {
        App::ModelScope
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let cache = [environment.xdg("XDG_CACHE_HOME", ".cache"), environment.in_home(".cache")];
        let cache = cache.into_iter().flatten().map(|cache| cache.join("modelscope"));
        super::distinct(environment.path("MODELSCOPE_CACHE").into_iter().chain(cache))
    }

    fn visit(&self, dir: &Path) -> Visit {
        let parts: Vec<&str> = dir.iter().map(|part| part.to_str().unwrap_or_default()).collect();
        let is_hidden = |name: &&str| name.starts_with('.') || partial::is_partial(name.as_ref());
        match parts.as_slice() {
            _ if parts.iter().any(is_hidden) => Visit::Skip,
            [] | ["models" | "hub"] | ["hub", "models"] => Visit::Pass,
            ["models", name] if name.contains("--") => Visit::Whole,
            ["models", ..] | ["hub", "datasets", ..] => Visit::Skip,
            ["hub", "models", _] => Visit::Pass,
            ["hub", "models", _, _] => Visit::Whole,
            ["hub", _] => Visit::Pass,
            ["hub", _, _] => Visit::Whole,
            _ => Visit::Skip,
        }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        let mut ask = Ask::new(known);
        let found =
            if unit.dir.starts_with("hub") { older(&mut ask, unit) } else { snapshots(&mut ask, unit) };
        ask.step(found)
    }
}

fn snapshots(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let folder = unit.dir.file_name().unwrap_or_default().to_string_lossy();
    let Some(repo) = handle::bounded(&folder.replacen("--", "/", 1)) else { return Vec::new() };
    let snapshots = unit.path().join("snapshots");
    let revisions: Vec<_> = ask.list(&snapshots).filter(|entry| entry.kind == EntryKind::Dir).collect();
    let is_only = revisions.len() == 1;
    let mut found = Vec::new();
    for entry in revisions {
        let revision = handle::of_path(Path::new(&entry.name));
        let name = if is_only { repo.clone() } else { format!("{repo}@{revision}") };
        let dir = unit.dir.join("snapshots").join(&entry.name);
        let mut models = models(ask, &Unit { dir: &dir, ..*unit }, &name, &repo, &format!("folder {folder}"));
        for model in &mut models {
            model.revision = handle::bounded(&revision);
        }
        found.extend(models);
    }
    found
}

/// `hub/models/OWNER/NAME`, or before that `hub/OWNER/NAME`.
fn older(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let mut parts = unit.dir.iter().rev().map(|part| part.to_string_lossy().replace("___", "."));
    let (Some(name), Some(owner)) = (parts.next(), parts.next()) else { return Vec::new() };
    let Some(repo) = handle::bounded(&format!("{owner}/{name}")) else { return Vec::new() };
    models(ask, unit, &format!("legacy:{repo}"), &repo, &format!("folders {}", unit.dir.display()))
}

fn models(ask: &mut Ask<'_>, unit: &Unit<'_>, name: &str, repo: &str, evidence: &str) -> Vec<Found> {
    let files = plain::tree(ask, unit, Links::Inside);
    let bundles = bundle::bundles(ask, &unit.path(), Together::Repository, &files);
    let found = bundles.into_iter().map(|bundle| {
        let label = handle::of_path(&bundle.label);
        let id = if label.is_empty() { name.to_owned() } else { format!("{name}:{label}") };
        let plain = repo.rsplit('/').next().filter(|_| bundle.is_directory);
        let shown = handle::bounded(plain.unwrap_or(&bundle.stem));
        let source = Source {
            kind: Some(SourceKind::ModelScope),
            repo: Some(repo.to_owned()),
            url: Some(format!("https://modelscope.cn/models/{}", web::encode(repo))),
            confidence: Confidence::Recorded,
            evidence: vec![handle::fit(evidence.to_owned())],
        };
        Found {
            name: shown,
            source: Some(source),
            ..Found::of(App::ModelScope, handle::fit(id), &unit.path(), bundle)
        }
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::drive::{Tree, environment};

    const ROOT: &str = "/ms";

    #[test]
    fn new_and_old_folders_are_repositories() {
        let tree = Tree::default()
            .file(format!("{ROOT}/models/Acme--Tiny-1.5B/snapshots/master/model.safetensors"), "")
            .file(format!("{ROOT}/models/Acme--Tiny-1.5B/snapshots/master/other.bin.incomplete"), "")
            .file(format!("{ROOT}/models/Acme--Two/snapshots/v1/x-Q8_0.gguf"), "")
            .file(format!("{ROOT}/models/Acme--Two/snapshots/v2/x-Q8_0.gguf"), "")
            .file(format!("{ROOT}/hub/models/Acme/Tiny-0___5B/model.safetensors"), "")
            .file(format!("{ROOT}/hub/models/Acme/._____temp/x.safetensors"), "")
            .file(format!("{ROOT}/hub/Old/N/model.safetensors"), "")
            .file(format!("{ROOT}/hub/datasets/a/b/x.safetensors"), "");
        let found = tree.found(&ModelScope, ROOT);
        let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
        let two = ["Acme/Two@v1:x-Q8_0.gguf", "Acme/Two@v2:x-Q8_0.gguf"];
        assert_eq!(ids, ["Acme/Tiny-1.5B", two[0], two[1], "legacy:Acme/Tiny-0.5B", "legacy:Old/N"]);
        let source = found[0].source.as_ref().unwrap();
        assert_eq!(
            (source.kind, source.repo.as_deref()),
            (Some(SourceKind::ModelScope), Some("Acme/Tiny-1.5B"))
        );
        assert_eq!(source.url.as_deref(), Some("https://modelscope.cn/models/Acme/Tiny-1.5B"));
        assert_eq!((found[0].revision.as_deref(), found[3].revision.as_deref()), (Some("master"), None));
        let roots = ModelScope.roots(&environment(&[("MODELSCOPE_CACHE", "/x")], &[]));
        assert_eq!(roots, ["/x", "/home/u/.cache/modelscope"].map(PathBuf::from));
    }
}
