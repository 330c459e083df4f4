//! LocalAI: `NAME.yaml` names a file beside it, `._gallery_NAME.yaml` where that came from; `.artifacts` has whole
//! repositories with a manifest each.

use super::{
    EntryKind, Environment, Found, FoundFile, Known, Step, Store, Unit, Visit,
    ask::{self, Ask},
    bundle::{self, Together},
    docker_model_runner, handle,
    plain::{self, Links},
    web::{self, Address},
    weights,
    yaml::Yaml,
};
use crate::{App, Confidence, Format, Role, Source, SourceKind};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

const GALLERY: &str = "._gallery_";
const ARTIFACTS: &str = ".artifacts";
const HUB: &str = ".artifacts/huggingface";
const STAGING: &str = ".artifacts/.partial";
const SYSTEM: &[&str] = &["var/lib/local-ai/models", "usr/share/local-ai/models"];

pub(super) struct LocalAi;

impl Store for LocalAi {
    fn app(&self) -> App {
        App::LocalAi
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let named =
            ["LOCALAI_MODELS_PATH", "MODELS_PATH"].into_iter().filter_map(|name| environment.path(name));
        let is_marked = |name: &str| name == ARTIFACTS || name.starts_with(GALLERY);
        let marked = environment
            .places
            .iter()
            .filter(|(_, entries)| entries.iter().any(|entry| entry.name.to_str().is_some_and(is_marked)));
        let is_called = |dir: &Path| {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            name == "localai" || name == "local-ai"
        };
        let called = environment.with_marks(&["models"]).filter(|dir| is_called(dir));
        let called = called.map(|dir| dir.join("models"));
        let system = SYSTEM.iter().map(|path| environment.in_system(path));
        super::distinct(named.chain(marked.map(|(dir, _)| dir.clone())).chain(called).chain(system))
    }

    fn visit(&self, dir: &Path) -> Visit {
        match dir.parent() {
            None => Visit::Unit,
            _ if Path::new(HUB).starts_with(dir) => Visit::Pass,
            Some(above) if above == Path::new(HUB) => Visit::Whole,
            _ => Visit::Skip,
        }
    }

    fn incoming(&self, dir: &Path) -> &'static [&'static str] {
        if dir.as_os_str().is_empty() { &[STAGING, "blobs/sha256"] } else { &[] }
    }

    /// Docker Model Runner calls the variable that names its store the same.
    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        let mut ask = Ask::new(known);
        let found = if unit.dir.as_os_str().is_empty() {
            let is_docker = ask.list(unit.root).any(|entry| entry.name == docker_model_runner::INDEX);
            if is_docker { docker_model_runner::found(&mut ask, unit) } else { configured(&mut ask, unit) }
        } else {
            artifact(&mut ask, unit)
        };
        ask.step(found)
    }
}

/// Models with a configuration, then the weights that none of these names.
fn configured(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let files = plain::files(ask, unit, Links::All);
    let names: BTreeSet<&str> = files.iter().filter_map(|file| file.to_str()).collect();
    let stem =
        |name: &&str| name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")).map(str::to_owned);
    let mut found: Vec<Found> = Vec::new();
    for name in names.iter().filter(|name| !name.starts_with('.')) {
        if let Some(stem) = stem(name) {
            found.extend(one(ask, unit, name, &stem, &names));
        }
    }
    let taken: BTreeSet<PathBuf> =
        found.iter().flat_map(|found| &found.files).map(|file| file.path.clone()).collect();
    for bundle in bundle::bundles(ask, unit.root, Together::Heap, &files) {
        if !bundle.weights().any(|path| taken.contains(&unit.root.join(path))) {
            let id = handle::fit(handle::of_path(&bundle.label));
            found.push(Found::of(App::LocalAi, id, unit.root, bundle));
        }
    }
    found
}

fn one(ask: &mut Ask<'_>, unit: &Unit<'_>, file: &str, stem: &str, names: &BTreeSet<&str>) -> Option<Found> {
    let path = unit.root.join(file);
    let content = ask.read(&path)?;
    let Some(yaml) = Yaml::parse(content) else {
        ask.damaged(&path, "it is no configuration of a model");
        return None;
    };
    let name = yaml.get("name").and_then(handle::bounded).unwrap_or_else(|| stem.to_owned());
    let model = within(unit.root, yaml.get("parameters.model").or_else(|| yaml.get("model"))?)?;
    let mut found = Found::new(App::LocalAi, handle::fit(name.clone()));
    found.name = handle::bounded(&name);
    let is_there = ask.stat(&model).is_some_and(|stat| stat.kind == EntryKind::File);
    let is_named = model.file_name().is_some_and(weights::is_candidate);
    if !is_there && !is_named {
        return None; // an address, or what the backend fetches itself
    }
    if !is_there {
        found.partial = Some("its configuration names a file that is not there".to_owned());
        found.hints.format = model.file_name().is_some_and(weights::is_gguf).then_some(Format::Gguf);
        found.depends.push(model.clone());
    }
    found.files.push(FoundFile { path: model.clone(), role: Role::Weights, sha256: None });
    let projector = yaml.get("mmproj").and_then(|name| within(unit.root, name));
    if let Some(projector) = projector.filter(|path| ask.stat(path).is_some()) {
        found.files.push(FoundFile { path: projector, role: Role::Companion, sha256: None });
    }
    let mut records = vec![path];
    let gallery = [".yaml", ".yml"].map(|end| format!("{GALLERY}{stem}{end}"));
    if let Some(gallery) = gallery.iter().find(|name| names.contains(name.as_str())) {
        let path = unit.root.join(gallery);
        match ask.read(&path).map(Yaml::parse) {
            Some(Some(yaml)) => from_gallery(&yaml, gallery, unit.root, &mut found),
            Some(None) => ask.damaged(&path, "it is no entry of a gallery"),
            None => {}
        }
        records.push(path);
    }
    found.files.extend(records.iter().map(|path| FoundFile {
        path: path.clone(),
        role: Role::Metadata,
        sha256: None,
    }));
    found.depends.extend(records);
    Some(found)
}

/// What the gallery said of a model when it was installed.
fn from_gallery(yaml: &Yaml, record: &str, root: &Path, found: &mut Found) {
    found.license = yaml.get("license").and_then(handle::bounded);
    let mut listed: BTreeMap<PathBuf, (Option<&str>, Option<&str>)> = BTreeMap::new();
    for (at, value) in yaml.entries() {
        let Some(number) = at.strip_prefix("files.").and_then(|rest| rest.strip_suffix(".filename")) else {
            continue;
        };
        let field = |field: &str| yaml.get(&format!("files.{number}.{field}"));
        if let Some(path) = within(root, value) {
            listed.insert(path, (field("sha256"), field("uri")));
        }
    }
    for file in &mut found.files {
        file.sha256 = listed.get(&file.path).and_then(|(sha256, _)| handle::sha256((*sha256)?));
    }
    let uri = found.files.first().and_then(|file| listed.get(&file.path)?.1);
    found.source = uri.into_iter().chain(yaml.all("urls")).find_map(|uri| source(uri, record));
}

/// Reads `huggingface://ORG/NAME/FILE` and web addresses.
fn source(uri: &str, record: &str) -> Option<Source> {
    let hub = ["huggingface://", "hf://"].iter().find_map(|scheme| uri.strip_prefix(scheme));
    if let Some(place) = hub {
        let mut parts = place.split('/');
        let repo = handle::bounded(&format!("{}/{}", parts.next()?, parts.next()?))?;
        return Some(web::hugging_face(&repo, Confidence::Recorded, record.to_owned()));
    }
    let address = Address::parse(uri)?;
    match (&address.repo, address.kind) {
        (Some(repo), SourceKind::HuggingFace) => {
            Some(web::hugging_face(repo, Confidence::Recorded, record.to_owned()))
        }
        (repo, kind) => Some(Source {
            kind: Some(kind),
            repo: repo.clone(),
            url: Some(address.url.clone()),
            confidence: Confidence::Recorded,
            evidence: vec![record.to_owned()],
        }),
    }
}

/// A file named by a configuration counts only in the folder of the models.
fn within(root: &Path, name: &str) -> Option<PathBuf> {
    if name.is_empty() || name.contains("://") {
        return None;
    }
    let path = ask::lexical(root, Path::new(name));
    (path != root && path.starts_with(root)).then_some(path)
}

/// A repository that was fetched whole: its manifest, and what lies in `snapshot`.
fn artifact(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let path = unit.path().join("manifest.json");
    let Some(content) = ask.read(&path) else { return Vec::new() };
    let Ok(manifest) = serde_json::from_slice::<Value>(content) else {
        ask.damaged(&path, "it is not the JSON that says which files the model has");
        return Vec::new();
    };
    let text = |at: &str| manifest.pointer(at).and_then(Value::as_str).and_then(handle::bounded);
    let key = unit.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let repo = text("/artifact/source/repo");
    let revision = text("/artifact/resolved/revision");
    let listed = manifest.get("files").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let hashes: BTreeMap<&str, String> = listed
        .iter()
        .filter_map(|file| {
            Some((file.get("path")?.as_str()?, handle::sha256(file.get("sha256")?.as_str()?)?))
        })
        .collect();
    let dir = unit.dir.join("snapshot");
    let snapshot = Unit { dir: &dir, ..*unit };
    let files = plain::tree(ask, &snapshot, Links::Inside);
    let bundles = bundle::bundles(ask, &snapshot.path(), Together::Repository, &files);
    let is_only = bundles.len() == 1;
    let found = bundles.into_iter().map(|bundle| {
        let name = format!("artifact:{}", repo.as_ref().unwrap_or(&key));
        let label = handle::of_path(&bundle.label);
        let id = if is_only || label.is_empty() { name } else { format!("{name}:{label}") };
        let mut found = Found::of(App::LocalAi, handle::fit(id), &snapshot.path(), bundle);
        for file in &mut found.files {
            let below = file.path.strip_prefix(snapshot.path()).ok().and_then(Path::to_str);
            file.sha256 = below.and_then(|below| hashes.get(below).cloned());
        }
        found.revision.clone_from(&revision);
        let evidence = || "manifest.json of the artifact".to_owned();
        found.source = repo.as_deref().map(|repo| web::hugging_face(repo, Confidence::Recorded, evidence()));
        found.files.push(FoundFile { path: path.clone(), role: Role::Metadata, sha256: None });
        found.depends.push(path.clone());
        found
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{
        Entry,
        drive::{Tree, environment, files},
    };

    const ROOT: &str = "/home/u/localai/models";

    #[test]
    fn its_folder_is_known_by_variable_name_and_marks() {
        let mut environment = environment(&[("MODELS_PATH", "/m")], &[]);
        let mut put = |dir: &str, name: &str| {
            environment.places.insert(dir.into(), vec![Entry { name: name.into(), kind: EntryKind::Dir }]);
        };
        put("/home/u/ai/gallery", "._gallery_x.yaml");
        put("/home/u/LocalAI", "models");
        put("/home/u/other", "models");
        let roots = LocalAi.roots(&environment);
        assert_eq!(roots[..3], ["/m", "/home/u/ai/gallery", "/home/u/LocalAI/models"].map(PathBuf::from));
        assert_eq!(roots.len(), 5);
    }

    #[test]
    fn a_configuration_and_its_gallery_entry_make_a_model() {
        let sha = "ab".repeat(32);
        let gallery = format!(
            "license: mit\nurls:\n- https://huggingface.co/o/base\nfiles:\n- filename: x.gguf\n  sha256: {sha}\n  uri: huggingface://o/n/x.gguf\n"
        );
        let tree = Tree::default()
            .file(format!("{ROOT}/x.gguf"), "")
            .file(format!("{ROOT}/tiny.yaml"), "name: tiny\nparameters:\n  model: x.gguf\n")
            .file(format!("{ROOT}/._gallery_tiny.yaml"), gallery)
            .file(
                format!("{ROOT}/sly.yaml"),
                "name: sly\nparameters:\n  model: ../../../../etc/passwd.gguf\n",
            )
            .file(format!("{ROOT}/far.yaml"), "name: far\nparameters:\n  model: huggingface://o/n/y.gguf\n")
            .file(format!("{ROOT}/gone.yaml"), "name: gone\nparameters:\n  model: gone.gguf\n")
            .file(format!("{ROOT}/alone.gguf"), "")
            .file(format!("{ROOT}/other.gguf.partial"), "");
        let found = tree.found(&LocalAi, ROOT);
        let [alone, gone, tiny] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(files(tiny), ["w:x.gguf", "m:tiny.yaml", "m:._gallery_tiny.yaml"]);
        assert_eq!((tiny.id.as_str(), tiny.license.as_deref()), ("tiny", Some("mit")));
        assert_eq!(
            (tiny.source.as_ref().unwrap().repo.as_deref(), &tiny.files[0].sha256),
            (Some("o/n"), &Some(sha))
        );
        assert_eq!(
            (alone.id.as_str(), gone.id.as_str(), gone.partial.is_some()),
            ("alone.gguf", "gone", true)
        );
    }

    #[test]
    fn an_artifact_is_the_repository_that_its_manifest_names() {
        let manifest =
            r#"{"artifact":{"source":{"repo":"o/lora"},"resolved":{"revision":"c0ffee"}},"files":[]}"#;
        let at = format!("{ROOT}/.artifacts/huggingface/k");
        let tree = Tree::default()
            .file(format!("{at}/manifest.json"), manifest)
            .file(format!("{at}/snapshot/adapter_model.safetensors"), "")
            .file(format!("{ROOT}/.artifacts/.partial/k/x.safetensors"), "");
        let found = tree.found(&LocalAi, ROOT);
        assert_eq!((found.len(), found[0].id.as_str()), (1, "artifact:o/lora"));
        assert_eq!(
            (found[0].revision.as_deref(), files(&found[0])),
            (Some("c0ffee"), vec!["w:adapter_model.safetensors".to_owned(), "m:manifest.json".into()])
        );
    }

    #[test]
    fn a_store_of_docker_model_runner_is_told_apart() {
        let tree =
            Tree::default().file("/m/models.json", r#"{"models":[]}"#).file("/m/blobs/sha256/x.gguf", "");
        assert!(tree.found(&LocalAi, "/m").is_empty());
        let tree = tree.file("/n/x.yaml", "- no\n");
        let unit = Unit { root: Path::new("/n"), dir: Path::new(""), place: Path::new("") };
        assert_eq!(tree.damage(&LocalAi, &unit), [PathBuf::from("/n/x.yaml")]);
    }
}
