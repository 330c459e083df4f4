//! InvokeAI: what it manages lies under keys, so name and source are in its database alone; what the database does
//! not name (an older version's folders, a damaged database) goes by its path. API keys are never read.

use super::{
    EntryKind, Environment, Found, FoundFile, Known, Step, Store, Table, Unit, Visit,
    ask::Ask,
    bundle::{self, Bundle, Together},
    handle,
    image::{self, kinds},
    plain::{self, Links},
    web::{self, Address},
    yaml::Yaml,
};
use crate::{App, Confidence, Kind, Role, Source};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const SETTINGS: &str = "invokeai.yaml";
const DATABASE: &str = "invokeai.db";

pub(super) struct InvokeAi;

impl Store for InvokeAi {
    fn app(&self) -> App {
        App::InvokeAi
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let elsewhere = elsewhere(environment).into_iter().map(|places| places.models);
        super::distinct(installations(environment).into_iter().chain(elsewhere))
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        installations(environment).into_iter().map(|dir| dir.join(SETTINGS)).collect()
    }

    /// Models that the settings put elsewhere stand for the database that names them.
    fn place(&self, environment: &Environment, root: &Path) -> PathBuf {
        let named = elsewhere(environment).into_iter().find(|places| places.models == root);
        named.map(|places| places.database).unwrap_or_default()
    }

    fn visit(&self, dir: &Path) -> Visit {
        if dir.as_os_str().is_empty() || dir.ends_with(DATABASE) { Visit::Whole } else { Visit::Skip }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        let mut ask = Ask::new(known);
        let found = found(&mut ask, unit);
        ask.step(found)
    }
}

fn installations(environment: &Environment) -> Vec<PathBuf> {
    let named = environment.path("INVOKEAI_ROOT");
    let marked = environment.with_marks(&[SETTINGS]).map(Path::to_path_buf);
    let by_database = environment.with_marks(&[DATABASE]).filter_map(Path::parent).map(Path::to_path_buf);
    let usual = environment.in_home("invokeai");
    super::distinct(named.into_iter().chain(usual).chain(marked).chain(by_database))
}

/// Returns where models are that no installation has below itself.
fn elsewhere(environment: &Environment) -> Vec<Places> {
    let of = |root: PathBuf| {
        let settings = environment.pointers.get(&root.join(SETTINGS)).and_then(|text| Yaml::parse(text));
        Some(Places::of(&root, settings.as_ref())).filter(|places| !places.models.starts_with(&root))
    };
    let is_wide = |places: &Places| {
        environment.home.as_ref().is_some_and(|home| home.starts_with(&places.models))
            || places.models.parent().is_none()
    };
    installations(environment).into_iter().filter_map(of).filter(|places| !is_wide(places)).collect()
}

/// Where the parts of an installation are, absolute.
struct Places {
    models: PathBuf,
    database: PathBuf,
}

/// A model, by the database or by its place.
struct Entry {
    id: String,
    name: Option<String>,
    /// A file or a directory.
    path: PathBuf,
    kind: Option<Kind>,
    source: Option<(Source, Option<String>)>,
    is_recorded: bool,
}

fn found(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let places = places(ask, unit);
    let table = Table { file: places.database.clone(), name: "models", columns: &["id", "config"] };
    let rows = ask.table(&table).map(Vec::as_slice).unwrap_or_default();
    let mut entries: Vec<Entry> = rows.iter().filter_map(|row| entry(row, &places)).collect();
    // Models elsewhere are of a root of their own; what was installed in place is the installation's.
    let has_below = places.models.starts_with(unit.root);
    entries.retain(|entry| match entry.path.starts_with(&places.models) {
        true => has_below,
        false => !unit.place.ends_with(DATABASE),
    });
    // What lies among the app's own models goes first by a name that two have.
    entries.sort_by_cached_key(|entry| (!entry.path.starts_with(&places.models), entry.path.clone()));
    let mut names = BTreeSet::new();
    for entry in &mut entries {
        if let (Some(name), true) = (&entry.name, entry.name.is_some()) {
            entry.id = if names.insert(name.clone()) { name.clone() } else { format!("{name}@{}", entry.id) };
        }
    }
    let rest = rest(ask, unit, &places, &entries);
    entries.extend(rest);
    entries.into_iter().filter_map(|entry| location(ask, unit, &places, entry)).collect()
}

impl Places {
    fn of(root: &Path, settings: Option<&Yaml>) -> Self {
        let dir = |name: &str, usual: &str| {
            // Before version 4 the settings were in groups.
            let old = format!("InvokeAI.Paths.{name}");
            let text = settings.and_then(|settings| settings.get(name).or_else(|| settings.get(&old)));
            super::lexical(root, Path::new(text.unwrap_or(usual)))
        };
        Self { models: dir("models_dir", "models"), database: dir("db_dir", "databases").join(DATABASE) }
    }
}

fn places(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Places {
    if unit.place.ends_with(DATABASE) {
        return Places { models: unit.root.to_path_buf(), database: unit.place.to_path_buf() };
    }
    let settings = ask.read(&unit.path().join(SETTINGS)).and_then(Yaml::parse);
    Places::of(unit.root, settings.as_ref())
}

fn entry(row: &[Option<String>], places: &Places) -> Option<Entry> {
    let [id, config] = row else { return None };
    let config: Value = serde_json::from_str(config.as_deref()?).ok()?;
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    let path = super::lexical(&places.models, Path::new(text("path").filter(|path| !path.is_empty())?));
    let source = text("source").and_then(|source| origin(source, text("source_type")));
    let is_tree = text("format") == Some("diffusers") && text("type") == Some("main");
    let kind = if is_tree { Some(Kind::ImagePipeline) } else { text("type").and_then(kind) };
    let id = id.as_deref().and_then(handle::bounded)?;
    Some(Entry { id, name: text("name").and_then(handle::bounded), path, kind, source, is_recorded: true })
}

fn kind(kind: &str) -> Option<Kind> {
    match kind {
        "t5_encoder" | "clip_embed" | "qwen3_encoder" => Some(Kind::TextEncoder),
        "spandrel_image_to_image" => Some(Kind::Upscaler),
        "clip_vision" | "ip_adapter" | "siglip" | "flux_redux" => Some(Kind::Other),
        _ => kinds::of(kind),
    }
}

/// Reads what a model was installed from: an address, a repository (`org/name:variant:folder`), or a path.
fn origin(source: &str, kind: Option<&str>) -> Option<(Source, Option<String>)> {
    let evidence = || DATABASE.to_owned();
    if let Some(address) = Address::parse(source) {
        let Address { kind, repo, revision, url } = address;
        let (kind, url) = (Some(kind), Some(url));
        let source = Source { kind, repo, url, confidence: Confidence::Recorded, evidence: vec![evidence()] };
        return Some((source, revision));
    }
    if kind.is_some_and(|kind| kind != "hf_repo_id") || source.starts_with(['/', '.', '~']) {
        return None;
    }
    let repo = handle::bounded(source.split(':').next()?)?;
    let is_repo = repo.split('/').count() == 2 && !repo.contains([' ', '\\']);
    is_repo.then(|| (web::hugging_face(&repo, Confidence::Recorded, evidence()), None))
}

/// Returns what lies among the models and is in no row: whole pipelines, and single files.
fn rest(ask: &mut Ask<'_>, unit: &Unit<'_>, places: &Places, entries: &[Entry]) -> Vec<Entry> {
    let Ok(dir) = places.models.strip_prefix(unit.root) else { return Vec::new() };
    let files = plain::tree(ask, &Unit { dir, ..*unit }, Links::All);
    let is_named = |path: &Path| entries.iter().any(|entry| path.starts_with(&entry.path));
    let files: Vec<PathBuf> = files.into_iter().filter(|file| !is_named(&places.models.join(file))).collect();
    let pipelines: BTreeSet<&Path> = files
        .iter()
        .filter(|file| file.ends_with(bundle::PIPELINE))
        .filter_map(|file| file.parent())
        .collect();
    let is_in_pipeline = |file: &Path| file.ancestors().any(|dir| pipelines.contains(dir));
    let single = files.iter().filter(|file| file.file_name().is_some_and(image::is_weights));
    let single = single.filter(|file| !is_in_pipeline(file)).map(PathBuf::as_path);
    let entry = |path: &Path| Entry {
        id: handle::of_path(path),
        name: path.file_stem().and_then(|stem| handle::bounded(&stem.to_string_lossy())),
        kind: path.iter().rev().skip(1).filter_map(|part| kind(part.to_str()?)).next(),
        path: places.models.join(path),
        source: None,
        is_recorded: false,
    };
    pipelines.iter().copied().chain(single).map(entry).collect()
}

/// None where nothing is there.
fn location(ask: &mut Ask<'_>, unit: &Unit<'_>, places: &Places, entry: Entry) -> Option<Found> {
    let id = handle::fit(entry.id.clone());
    let mut found = match ask.stat(&entry.path)?.kind {
        EntryKind::File => {
            let file = FoundFile { path: entry.path.clone(), role: Role::Weights, sha256: None };
            Found { files: vec![file], ..Found::new(App::InvokeAi, id) }
        }
        EntryKind::Dir => {
            let dir = entry.path.strip_prefix(unit.root).ok()?;
            let files = plain::tree(ask, &Unit { dir, ..*unit }, Links::All);
            let bundles = bundle::bundles(ask, &entry.path, Together::Folder, &files);
            Found::of(App::InvokeAi, id, &entry.path, whole(bundles)?)
        }
        EntryKind::Symlink | EntryKind::Special => return None,
    };
    found.name = entry.name.or(found.name);
    found.hints.placed_as = entry.kind;
    if let Some((source, revision)) = entry.source {
        found.source = Some(source);
        found.revision = revision;
    }
    if entry.is_recorded {
        found.files.push(FoundFile { path: places.database.clone(), role: Role::Metadata, sha256: None });
    }
    Some(found)
}

/// A directory that was installed is one model, whatever its parts.
fn whole(bundles: Vec<Bundle>) -> Option<Bundle> {
    let mut bundles = bundles.into_iter();
    let mut whole = bundles.next()?;
    for part in bundles {
        let new: Vec<_> = part.files.into_iter().filter(|file| !whole.files.contains(file)).collect();
        whole.files.extend(new);
        whole.depends.extend(part.depends);
        whole.missing = whole.missing.or(part.missing);
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SourceKind,
        stores::drive::{Tree, environment, files},
    };

    const ROOT: &str = "/home/u/invokeai";
    const DB: &str = "/home/u/invokeai/databases/invokeai.db";

    #[test]
    fn models_that_the_settings_put_elsewhere_are_known_by_the_same_database() {
        let settings = (format!("{ROOT}/invokeai.yaml"), "models_dir: /big/inv\n");
        let environment = environment(&[], &[(&settings.0, settings.1)]);
        assert_eq!(InvokeAi.roots(&environment), [ROOT, "/big/inv"].map(PathBuf::from));
        assert_eq!(InvokeAi.place(&environment, Path::new("/big/inv")), Path::new(DB));
        let row = |path: &str| format!(r#"{{"name": "{path}", "path": "{path}", "type": "lora"}}"#);
        let rows = [["k1", &row("k1/x.safetensors")], ["k2", &row("/mine/y.safetensors")]];
        let tree = Tree::default()
            .file(settings.0, settings.1)
            .table(DB, Some(&rows))
            .file("/big/inv/k1/x.safetensors", "")
            .file("/big/inv/sdxl/lora/old.safetensors", "")
            .file("/mine/y.safetensors", "");
        let ids = |found: Vec<Found>| found.into_iter().map(|found| found.id).collect::<Vec<_>>();
        assert_eq!(
            ids(tree.found_at(&InvokeAi, "/big/inv", DB)),
            ["k1/x.safetensors", "sdxl/lora/old.safetensors"]
        );
        assert_eq!(ids(tree.found(&InvokeAi, ROOT)), ["/mine/y.safetensors"]);
    }

    #[test]
    fn names_and_sources_are_in_the_database() {
        let rows = [
            [
                "in-place",
                r#"{"name": "style", "path": "/data/style.safetensors", "type": "lora",
                "source": "/data/style.safetensors", "source_type": "path"}"#,
            ],
            [
                "k1",
                r#"{"name": "style", "path": "k1/s.safetensors", "type": "lora",
                "source": "https://civitai.com/api/download/models/501?token=SECRET", "source_type": "url"}"#,
            ],
            [
                "k2",
                r#"{"name": "pipe", "path": "k2", "type": "main", "format": "diffusers",
                "source": "o/n:fp16", "source_type": "hf_repo_id"}"#,
            ],
            ["k3", r#"{"name": "gone", "path": "k3/x.safetensors"}"#],
            ["k4", "no JSON"],
        ];
        let tree = Tree::default()
            .table(DB, Some(&rows))
            .file("/data/style.safetensors", "")
            .file(format!("{ROOT}/models/k1/s.safetensors"), "")
            .file(format!("{ROOT}/models/k2/model_index.json"), r#"{"_class_name": "P"}"#)
            .file(format!("{ROOT}/models/k2/unet/diffusion_pytorch_model.safetensors"), "")
            .file(format!("{ROOT}/models/sd-1/vae/old.safetensors"), "")
            .file(format!("{ROOT}/models/tmpinstall_ab/x.safetensors"), "")
            .file(format!("{ROOT}/outputs/x.safetensors"), "")
            .file(format!("{ROOT}/api_keys.yaml"), "secret");
        let found = tree.found(&InvokeAi, ROOT);
        let seen: Vec<_> = found
            .iter()
            .map(|found| (found.id.as_str(), found.name.as_deref().unwrap(), found.hints.placed_as))
            .collect();
        let expected = [
            ("pipe", "pipe", Some(Kind::ImagePipeline)),
            ("sd-1/vae/old.safetensors", "old", Some(Kind::Vae)),
            ("style", "style", Some(Kind::Lora)),
            ("style@in-place", "style", Some(Kind::Lora)),
        ];
        assert_eq!(seen, expected);
        let style = found[2].source.as_ref().unwrap();
        assert_eq!((style.kind, style.repo.as_deref()), (Some(SourceKind::Civitai), None));
        assert_eq!(style.url.as_deref(), Some("https://civitai.com/api/download/models/501"));
        assert_eq!(found[2].revision.as_deref(), Some("501"));
        assert_eq!(files(&found[2]), ["w:s.safetensors", "m:invokeai.db"]);
        assert_eq!(found[0].source.as_ref().and_then(|source| source.repo.as_deref()), Some("o/n"));
        assert_eq!(found[3].source, None);
    }

    #[test]
    fn a_damaged_database_leaves_models_by_their_paths() {
        let tree = Tree::default()
            .table(DB, None)
            .file(format!("{ROOT}/models/sdxl/main/pipe/model_index.json"), "{}")
            .file(format!("{ROOT}/models/sdxl/main/pipe/vae/diffusion_pytorch_model.safetensors"), "")
            .file(format!("{ROOT}/models/k1/s.safetensors"), "");
        let ids: Vec<_> = tree.found(&InvokeAi, ROOT).into_iter().map(|found| found.id).collect();
        assert_eq!(ids, ["k1/s.safetensors", "sdxl/main/pipe"]);
        assert_eq!(tree.damage(&InvokeAi, &Unit::new(Path::new(ROOT), Path::new(""))), [PathBuf::from(DB)]);
    }

    #[test]
    fn settings_say_where_its_parts_are() {
        for settings in [
            "models_dir: store\ndb_dir: db\n",
            "InvokeAI:\n  Paths:\n    models_dir: store\n    db_dir: db\n",
        ] {
            let tree = Tree::default()
                .file(format!("{ROOT}/invokeai.yaml"), settings)
                .table(
                    &format!("{ROOT}/db/invokeai.db"),
                    Some(&[["k", r#"{"name": "n", "path": "x.gguf"}"#]]),
                )
                .file(format!("{ROOT}/store/x.gguf"), "");
            assert_eq!(tree.found(&InvokeAi, ROOT)[0].id, "n", "{settings}");
        }
        let roots = InvokeAi.roots(&environment(&[("INVOKEAI_ROOT", "/data/invoke")], &[]));
        assert_eq!(roots, ["/data/invoke", ROOT].map(PathBuf::from));
    }
}
