//! One tag of a model: its manifest and blobs, as a location.

use super::{
    license,
    manifest::{Config, Layer, Manifest},
};
use crate::{
    Ancestor, App, Confidence, Format, Kind, Relation, Source, SourceKind, facts,
    stores::{Found, FoundFile, Hints, Unit, ask::Ask, config, handle, web},
};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Where the names of `ollama pull` live when none is given.
const HOST: &str = "registry.ollama.ai";

struct Name {
    host: String,
    namespace: String,
    model: String,
    tag: String,
}

/// Says what a tag is; a manifest that does not parse is damaged, or still being written.
pub(super) fn found(ask: &mut Ask<'_>, app: App, unit: &Unit<'_>, tag: &OsStr) -> Option<Found> {
    let name = Name::of(unit.dir, tag)?;
    let manifest_path = unit.path().join(tag);
    let manifest = serde_json::from_slice::<Manifest>(ask.read(&manifest_path)?);
    let Some(manifest) = manifest.ok().filter(Manifest::is_clear) else {
        ask.damaged(&manifest_path, "it is not the JSON that says which files the model has");
        return None;
    };
    let mut depends = vec![manifest_path];
    let mut read = |ask: &mut Ask<'_>, layer: &Layer| {
        let path = layer.digest?.path(unit.root);
        let content = ask.read(&path).map(<[u8]>::to_vec);
        depends.push(path);
        content
    };
    let config = manifest.config.as_ref().and_then(|layer| read(ask, layer));
    let config: Config = config.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let licenses = manifest.layers.iter().filter(|layer| layer.kind() == "license");
    let licenses: Vec<String> = licenses.filter_map(|layer| license::name(&read(ask, layer)?)).collect();
    let transformers = manifest.layers.iter().find(|layer| layer.name.as_deref() == Some("config.json"));
    let transformers = transformers.and_then(|layer| serde_json::from_slice(&read(ask, layer)?).ok());

    let (files, absent) = blobs(ask, unit.root, &manifest);
    let is_partial = !absent.is_empty();
    depends.extend(absent);
    let is_remote = !config.remote_host.is_empty();
    if files.is_empty() && !is_remote {
        return None;
    }
    // `ollama create` writes the same kind of name as a pull.
    let is_made_here = manifest.layers.iter().any(|layer| layer.from.is_some());
    let confidence = if is_made_here { Confidence::Inferred } else { Confidence::Recorded };
    Some(Found {
        app,
        id: name.id(),
        source: Some(name.source(is_remote, confidence)),
        name: handle::bounded(&name.model),
        revision: None,
        refs: Vec::new(),
        license: licenses.into_iter().next(),
        lineage: lineage(&manifest),
        base_models: base_models(&manifest),
        claims: Vec::new(),
        files,
        partial: is_partial.then(|| "manifest names a blob that is not there".to_owned()),
        hints: hints(&manifest, &config, transformers.as_ref(), is_partial),
        depends,
    })
}

impl Name {
    fn of(dir: &Path, tag: &OsStr) -> Option<Self> {
        let mut parts = dir.iter().skip(1).map(|part| part.to_str().map(str::to_owned));
        let (host, namespace, model) = (parts.next()??, parts.next()??, parts.next()??);
        let tag = tag.to_str().filter(|tag| !tag.starts_with('.'))?.to_owned();
        Some(Self { host, namespace, model, tag })
    }

    /// As `ollama list` shows it.
    fn id(&self) -> String {
        let Self { host, namespace, model, tag } = self;
        handle::fit(match (host.as_str(), namespace.as_str()) {
            (HOST, "library") => format!("{model}:{tag}"),
            (HOST, _) => format!("{namespace}/{model}:{tag}"),
            _ => format!("{host}/{namespace}/{model}:{tag}"),
        })
    }

    fn source(&self, is_remote: bool, confidence: Confidence) -> Source {
        let Self { host, namespace, model, tag } = self;
        let repo = format!("{namespace}/{model}");
        let evidence = format!("manifest {host}/{repo}/{tag}");
        let page = format!("/{}", web::encode(&repo));
        let (kind, repo, url) = match host.as_str() {
            "hf.co" | "huggingface.co" => return web::hugging_face(&repo, confidence, evidence),
            "modelscope.cn" => {
                (SourceKind::ModelScope, repo, Some("https://modelscope.cn/models".to_owned() + &page))
            }
            HOST if is_remote => {
                (SourceKind::OllamaCloud, repo, Some("https://ollama.com".to_owned() + &page))
            }
            HOST => (SourceKind::Ollama, repo, Some("https://ollama.com".to_owned() + &page)),
            _ => (SourceKind::Oci, format!("{host}/{repo}"), None),
        };
        Source { kind: Some(kind), repo: Some(repo), url, confidence, evidence: vec![evidence] }
    }
}

/// Returns the files that make the model, and which of them are not there.
fn blobs(ask: &mut Ask<'_>, root: &Path, manifest: &Manifest) -> (Vec<FoundFile>, Vec<PathBuf>) {
    let (mut files, mut absent) = (Vec::new(), Vec::new());
    for layer in &manifest.layers {
        let (Some(role), Some(digest)) = (layer.role(), layer.digest) else { continue };
        let mut path = digest.path(root);
        if ask.stat(&path).is_none() {
            absent.push(path.clone());
            let old = digest.old_path(root);
            if ask.stat(&old).is_some() {
                drop(absent.pop());
                path = old;
            }
        }
        files.push(FoundFile { path, role, sha256: Some(digest.hex()) });
    }
    (files, absent)
}

/// A path says where someone once built it, a name says from what.
fn base_models(manifest: &Manifest) -> Vec<String> {
    let bases = manifest.layers.iter().filter_map(|layer| layer.from.as_deref());
    let names = bases.filter(|base| !base.contains(['\\', '@']) && !base.starts_with(['/', '.', '~']));
    let mut names: Vec<String> = names.filter_map(handle::bounded).collect();
    names.dedup();
    names
}

fn lineage(manifest: &Manifest) -> Vec<Ancestor> {
    let evidence = "`from` of a layer in the manifest";
    let one = |name: &String| Ancestor::named(Relation::Base, name, Confidence::Recorded, evidence);
    base_models(manifest).iter().map(one).collect()
}

fn hints(
    manifest: &Manifest,
    config: &Config,
    transformers: Option<&serde_json::Value>,
    is_partial: bool,
) -> Hints {
    let mut hints = transformers.map(|value| config::hints(value, None)).unwrap_or_default();
    let has_tensors = manifest.layers.iter().any(|layer| layer.kind() == "tensor");
    let is_pipeline = manifest.layers.iter().any(|layer| layer.name.as_deref() == Some("model_index.json"));
    let known = |text: &str| handle::bounded(text).filter(|text| text != "unknown");
    if !config.remote_host.is_empty() {
        (hints.format, hints.kind) = (Some(Format::Remote), Some(Kind::Llm));
    } else if has_tensors || config.model_format == "safetensors" {
        hints.format = Some(Format::Safetensors);
        hints.kind = if is_pipeline { Some(Kind::ImagePipeline) } else { hints.kind };
    } else if config.model_format == "gguf" {
        hints.format = Some(Format::Gguf);
    }
    if manifest.layers.iter().any(|layer| layer.kind() == "model") {
        // A GGUF of a language model, of which some make vectors; in the first releases, of what came before GGUF.
        let is_able = |wanted: &str| config.capabilities.iter().flatten().any(|name| name == wanted);
        let is_embedding = is_able("embedding") || facts::is_encoder(&config.model_family);
        hints.format = hints.format.or(is_partial.then_some(Format::Gguf));
        hints.placed_as = Some(if is_embedding { Kind::Embedding } else { Kind::Llm });
    }
    hints.quant = known(&config.file_type).or(hints.quant);
    hints.architecture = hints.architecture.or_else(|| known(&config.model_family));
    hints.context_length = config.context_length.or(hints.context_length);
    let capabilities = config.capabilities.iter().flatten().take(32);
    hints.capabilities = capabilities.filter_map(|name| handle::bounded(name)).collect();
    hints
}
