//! Docker Model Runner: `models.json` names manifests, these name blobs; a bundle is hard links to blobs.

use super::{
    Environment, Found, FoundFile, Known, Step, Store, Unit, Visit, ask::Ask, handle, ollama::license, web,
    weights,
};
use crate::{App, Confidence, Format, Kind, Role, Source, SourceKind};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub(super) const INDEX: &str = "models.json";
const VOLUME: &str = "var/lib/docker/volumes/docker-model-runner-models/_data";
const LAYER: &str = "application/vnd.docker.ai.";

/// A store with more models than this is not one of Docker's making.
const MOST: usize = 4096;

pub(super) struct DockerModelRunner;

impl Store for DockerModelRunner {
    fn app(&self) -> App {
        App::DockerModelRunner
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let volumes = environment.volumes().filter(|volume| environment.has_entry(volume, INDEX));
        let usual = environment.in_home(".docker/models").into_iter();
        let usual = usual.chain([environment.in_system(VOLUME)]);
        super::distinct(usual.chain(volumes.map(Path::to_path_buf)))
    }

    fn visit(&self, dir: &Path) -> Visit {
        if dir.as_os_str().is_empty() { Visit::Whole } else { Visit::Skip }
    }

    fn incoming(&self, _dir: &Path) -> &'static [&'static str] {
        &["blobs/sha256"]
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        let mut ask = Ask::new(known);
        let found = found(&mut ask, unit);
        ask.step(found)
    }
}

/// Returns the models of a store, whichever place it is in.
pub(super) fn found(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let path = unit.path().join(INDEX);
    let Some(content) = ask.read(&path) else { return Vec::new() };
    let index: Option<Value> = serde_json::from_slice(content).ok();
    let Some(models) = index.as_ref().and_then(|index| index.get("models")?.as_array()) else {
        ask.damaged(&path, "it is no list of models");
        return Vec::new();
    };
    models.iter().take(MOST).flat_map(|entry| model(ask, unit.root, &path, entry)).collect()
}

/// One location a tag; a model without a tag goes by its digest.
fn model(ask: &mut Ask<'_>, root: &Path, index: &Path, entry: &Value) -> Vec<Found> {
    let Some(digest) = entry.get("id").and_then(Value::as_str).and_then(hex) else { return Vec::new() };
    let manifest_path = root.join("manifests/sha256").join(&digest);
    let Some(content) = ask.read(&manifest_path) else { return Vec::new() };
    let Ok(manifest) = serde_json::from_slice::<Value>(content) else {
        ask.damaged(&manifest_path, "it is not the JSON that says which files the model has");
        return Vec::new();
    };
    let mut found = Found::new(App::DockerModelRunner, String::new());
    found.revision = Some(format!("sha256:{digest}"));
    found.depends.extend([index.to_owned(), manifest_path]);
    let layers = manifest.get("layers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for layer in layers.iter().take(MOST) {
        put_layer(ask, root, layer, &mut found);
    }
    bundled(ask, &root.join("bundles/sha256").join(&digest).join("model"), &mut found);
    put_config(ask, root, &manifest, &mut found);
    let tags = entry.get("tags").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let tags: Vec<&str> = tags.iter().filter_map(Value::as_str).collect();
    let named = tags.iter().map(|tag| Found {
        id: handle::fit((*tag).to_owned()),
        name: handle::bounded(tag.rsplit('/').next().unwrap_or(tag).split(':').next().unwrap_or(tag)),
        source: Some(source(tag)),
        ..found.clone()
    });
    match tags.is_empty() {
        true => vec![Found { id: format!("sha256:{digest}"), ..found.clone() }],
        false => named.collect(),
    }
}

fn put_layer(ask: &mut Ask<'_>, root: &Path, layer: &Value, found: &mut Found) {
    let kind = layer.get("mediaType").and_then(Value::as_str).unwrap_or_default();
    let kind = kind.strip_prefix(LAYER).unwrap_or_default();
    let Some(digest) = layer.get("digest").and_then(Value::as_str).and_then(hex) else { return };
    let path = root.join("blobs/sha256").join(&digest);
    let role = match kind {
        "license" => {
            let text = ask.read(&path);
            found.license = found.license.take().or_else(|| license::name(text?));
            found.depends.push(path);
            return;
        }
        "mmproj" => Role::Companion,
        "safetensors" | "dduf" => Role::Weights,
        _ if kind.starts_with("gguf") => {
            found.hints.format = Some(Format::Gguf);
            found.hints.placed_as = Some(Kind::Llm);
            Role::Weights
        }
        // A model in its own folder structure: the layer says where the file goes.
        "model.file" if is_weights(layer) => Role::Weights,
        _ => return,
    };
    if ask.stat(&path).is_none() {
        found.partial = Some("manifest names a blob that is not there".to_owned());
        found.depends.push(path.clone());
    }
    found.files.push(FoundFile { path, role, sha256: Some(digest) });
}

fn is_weights(layer: &Value) -> bool {
    let path = layer.get("annotations").and_then(|notes| notes.get("org.cncf.model.filepath")?.as_str());
    path.is_some_and(|path| weights::is_candidate(path.as_ref()))
}

/// The names under which an engine gets the same bytes.
fn bundled(ask: &mut Ask<'_>, dir: &Path, found: &mut Found) {
    let names = ask.list(dir).filter(|entry| weights::is_candidate(&entry.name));
    let files =
        names.map(|entry| FoundFile { path: dir.join(&entry.name), role: Role::Bundle, sha256: None });
    found.files.extend(files);
}

fn put_config(ask: &mut Ask<'_>, root: &Path, manifest: &Value, found: &mut Found) {
    let digest = manifest.get("config").and_then(|config| hex(config.get("digest")?.as_str()?));
    let Some(path) = digest.map(|digest| root.join("blobs/sha256").join(digest)) else { return };
    let config = ask.json(&path).unwrap_or_default();
    let config = config.get("config").unwrap_or(&config);
    let text = |field: &str| config.get(field).and_then(Value::as_str).and_then(handle::bounded);
    found.hints.quant = text("quantization").map(|name| name.trim_start_matches("MOSTLY_").to_owned());
    found.hints.architecture = text("architecture");
    found.depends.push(path);
}

/// `ai/smollm2:360M`: Docker Hub where the first part is no host.
fn source(tag: &str) -> Source {
    let plain = tag.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(tag, |(name, _)| name);
    let (host, repo) =
        plain.split_once('/').filter(|(host, _)| host.contains(['.', ':'])).unwrap_or(("", plain));
    let evidence = format!("models.json tag {tag}");
    if let "hf.co" | "huggingface.co" = host {
        return web::hugging_face(repo, Confidence::Recorded, evidence);
    }
    let is_hub = matches!(host, "" | "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let url = is_hub.then(|| format!("https://hub.docker.com/r/{}", web::encode(repo)));
    let repo = if is_hub { format!("docker.io/{repo}") } else { plain.to_owned() };
    let (kind, repo) = (Some(SourceKind::Oci), handle::bounded(&repo));
    Source { kind, repo, url, confidence: Confidence::Recorded, evidence: vec![handle::fit(evidence)] }
}

/// Returns the hex digits of `sha256:…`: they become a path.
fn hex(digest: &str) -> Option<String> {
    handle::sha256(digest.strip_prefix("sha256:")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::drive::{Tree, environment, files};

    const ROOT: &str = "/d";

    fn digest(letter: char) -> String {
        letter.to_string().repeat(64)
    }

    fn blob(letter: char) -> String {
        format!("{ROOT}/blobs/sha256/{}", digest(letter))
    }

    fn layer(kind: &str, letter: char) -> Value {
        serde_json::json!({"mediaType": format!("{LAYER}{kind}"), "digest": format!("sha256:{}", digest(letter))})
    }

    fn store(layers: &[Value], tags: &[&str]) -> Tree {
        let manifest =
            serde_json::json!({"config": {"digest": format!("sha256:{}", digest('c'))}, "layers": layers});
        let index = serde_json::json!({"models": [{"id": format!("sha256:{}", digest('0')), "tags": tags}]});
        Tree::default()
            .file(format!("{ROOT}/models.json"), index.to_string())
            .file(format!("{ROOT}/manifests/sha256/{}", digest('0')), manifest.to_string())
            .file(blob('c'), r#"{"config":{"quantization":"MOSTLY_Q4_K_M","architecture":"llama"}}"#)
    }

    #[test]
    fn a_tag_is_a_location_with_its_blob_and_its_bundle() {
        let tree =
            store(&[layer("gguf.v3", 'a'), layer("license", 'b'), layer("mmproj", 'e')], &["ai/t:1B", "t2"])
                .file(blob('a'), "")
                .file(blob('e'), "")
                .file(blob('b'), "Apache License\nVersion 2.0")
                .file(format!("{ROOT}/bundles/sha256/{}/model/model.gguf", digest('0')), "");
        let found = tree.found(&DockerModelRunner, ROOT);
        let [one, other] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((one.id.as_str(), other.id.as_str(), one.name.as_deref()), ("ai/t:1B", "t2", Some("t")));
        let (weights, projector) = (format!("w:{}", digest('a')), format!("+:{}", digest('e')));
        assert_eq!(files(one), [weights, projector, "b:model.gguf".into()]);
        assert_eq!(
            (one.license.as_deref(), one.hints.quant.as_deref()),
            (Some("apache-2.0"), Some("Q4_K_M"))
        );
        assert_eq!(one.revision, Some(format!("sha256:{}", digest('0'))));
        let source = one.source.as_ref().unwrap();
        assert_eq!((source.kind, source.repo.as_deref()), (Some(SourceKind::Oci), Some("docker.io/ai/t")));
        assert_eq!(source.url.as_deref(), Some("https://hub.docker.com/r/ai/t"));
    }

    #[test]
    fn tags_of_other_registries_are_told_apart() {
        let repo = |tag: &str| (source(tag).kind.unwrap(), source(tag).repo.unwrap());
        assert_eq!(repo("hf.co/o/n:Q8_0"), (SourceKind::HuggingFace, "o/n".into()));
        assert_eq!(repo("localhost:5000/x/y:z"), (SourceKind::Oci, "localhost:5000/x/y".into()));
        assert_eq!(repo("docker.io/ai/x"), (SourceKind::Oci, "docker.io/ai/x".into()));
    }

    #[test]
    fn what_is_missing_or_damaged_is_said() {
        let found = store(&[layer("gguf.v3", 'a')], &[]).found(&DockerModelRunner, ROOT);
        assert_eq!(found[0].id, format!("sha256:{}", digest('0')));
        assert_eq!(found[0].partial.as_deref(), Some("manifest names a blob that is not there"));
        let tree = Tree::default().file("/d/models.json", r#"{"models":["#);
        let unit = Unit { root: Path::new(ROOT), dir: Path::new(""), place: Path::new("") };
        assert_eq!(tree.damage(&DockerModelRunner, &unit), [PathBuf::from("/d/models.json")]);
        let hostile = r#"{"models":[{"id":"sha256:../../etc/passwd"}]}"#;
        assert!(Tree::default().file("/d/models.json", hostile).found(&DockerModelRunner, ROOT).is_empty());
        let roots = DockerModelRunner.roots(&environment(&[], &[]));
        assert_eq!(roots, ["/home/u/.docker/models", &format!("/{VOLUME}")].map(PathBuf::from));
    }
}
