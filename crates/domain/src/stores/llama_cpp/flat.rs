//! What a flat name and its sidecars say: `USER_REPO_FILE.gguf` with `.json` (address), `.etag` (hash) and
//! `manifest=USER_REPO=TAG.json`; `NAMESPACE_NAME_TAG.gguf` from a Docker registry.

use crate::{
    Confidence, Source, SourceKind,
    stores::{
        ask::Ask,
        bundle::Bundle,
        handle,
        web::{self, Address},
    },
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

#[derive(Default)]
pub(super) struct Flat {
    pub id: String,
    pub name: Option<String>,
    pub source: Option<Source>,
    /// By file name.
    pub sha256: Vec<(PathBuf, String)>,
    pub sidecars: Vec<PathBuf>,
    /// Absolute.
    pub depends: Vec<PathBuf>,
}

/// What a manifest says of a flat file.
pub(super) struct Listed {
    repo: String,
    file: String,
    sha256: Option<String>,
    path: PathBuf,
}

/// Reads `manifest=USER_REPO=TAG.json`: by flat name, the file in the repository.
pub(super) fn manifests(ask: &mut Ask<'_>, dir: &Path, names: &BTreeSet<&str>) -> BTreeMap<String, Listed> {
    let mut listed = BTreeMap::new();
    for name in names.iter().filter(|name| name.starts_with("manifest=")) {
        let path = dir.join(name);
        let Some(prefix) = name.split('=').nth(1) else { continue };
        let Some(file) = ask.json(&path).and_then(|value| value.get("ggufFile").cloned()) else { continue };
        let Some(repo_file) = file.get("rfilename").and_then(Value::as_str).and_then(handle::bounded) else {
            continue;
        };
        let Some((user, repo)) = prefix.split_once('_') else { continue };
        let sha256 = file
            .get("blobId")
            .and_then(Value::as_str)
            .and_then(|id| handle::sha256(id.trim_start_matches("sha256:")));
        let flat = format!("{prefix}_{}", repo_file.replace('/', "_"));
        drop(listed.insert(flat, Listed { repo: format!("{user}/{repo}"), file: repo_file, sha256, path }));
    }
    listed
}

impl Flat {
    pub(super) fn of(
        ask: &mut Ask<'_>,
        dir: &Path,
        bundle: &Bundle,
        names: &BTreeSet<&str>,
        manifests: &BTreeMap<String, Listed>,
    ) -> Self {
        let mut flat = Self::default();
        let mut address = None;
        for path in bundle.files.iter().map(|(path, _)| path) {
            let Some(name) = path.to_str() else { continue };
            let json = flat.sidecar(ask, dir, names, &format!("{name}.json"));
            let json = json.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            let etag = flat.sidecar(ask, dir, names, &format!("{name}.etag"));
            let etag = etag.and_then(|etag| String::from_utf8(etag).ok());
            let field = |field: &str| json.as_ref()?.get(field)?.as_str().map(str::to_owned);
            let listed = manifests.get(name);
            flat.depends.extend(listed.map(|listed| listed.path.clone()));
            let sha256 = [field("etag"), etag].into_iter().flatten().find_map(|etag| hash(&etag));
            let sha256 = sha256.or_else(|| listed?.sha256.clone());
            flat.sha256.extend(sha256.map(|sha256| (path.clone(), sha256)));
            address = address.or_else(|| Address::parse(&field("url")?));
        }
        let first = bundle.weights().next().and_then(Path::to_str);
        let listed = first.and_then(|name| manifests.get(name));
        flat.name_after(address, listed, &bundle.label);
        flat
    }

    fn sidecar(
        &mut self,
        ask: &mut Ask<'_>,
        dir: &Path,
        names: &BTreeSet<&str>,
        name: &str,
    ) -> Option<Vec<u8>> {
        let name = names.get(name)?;
        let path = dir.join(name);
        let content = ask.read(&path).map(<[u8]>::to_vec);
        self.sidecars.push(name.into());
        self.depends.push(path);
        content
    }

    /// Names it as llama.cpp does, by the surest of what there is.
    fn name_after(&mut self, address: Option<Address>, listed: Option<&Listed>, label: &Path) {
        let text = label.to_string_lossy();
        self.id = handle::of_path(label);
        if let Some(address) = address {
            let file = address.url.rsplit('/').next().unwrap_or_default();
            if let (Some(repo), SourceKind::HuggingFace) = (&address.repo, address.kind) {
                self.call(repo, file);
            }
            let Address { kind, repo, url, .. } = address;
            let evidence = vec!["url in the .json sidecar".to_owned()];
            let confidence = Confidence::Recorded;
            self.source = Some(Source { kind: Some(kind), repo, url: Some(url), confidence, evidence });
        } else if let Some(listed) = listed {
            self.call(&listed.repo, &listed.file);
            self.source =
                Some(web::hugging_face(&listed.repo, Confidence::Inferred, "manifest beside it".into()));
        } else if let Some((repo, tag)) = docker(&text) {
            self.id = format!("docker:{repo}:{tag}");
            self.name = handle::bounded(repo.rsplit('/').next().unwrap_or_default());
            self.source = Some(docker_hub(&repo));
        } else if let Some((repo, file)) = inferred(&text) {
            self.call(&repo, file);
            self.source = Some(web::hugging_face(&repo, Confidence::Inferred, "file name".into()));
        }
    }

    /// `user/repo:Q4_K_M`, what `-hf` takes; without a quantisation in the name, the file.
    fn call(&mut self, repo: &str, file: &str) {
        let stem = file.rsplit('/').next().unwrap_or(file);
        let stem = crate::names::display_name(stem);
        let tag = stem.rsplit(['-', '.']).next().filter(|tag| *tag != stem && is_tag(tag));
        self.id = format!("{repo}:{}", tag.unwrap_or(file));
        self.name = handle::bounded(&stem);
    }
}

fn is_tag(tag: &str) -> bool {
    !tag.is_empty()
        && tag.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// An etag of the hub is the hash in quotes.
fn hash(etag: &str) -> Option<String> {
    handle::sha256(etag.trim().trim_start_matches("W/").trim_matches('"'))
}

/// `ai_NAME_TAG.gguf`: `ai` is where Docker Hub keeps models, and nobody on the hub.
fn docker(name: &str) -> Option<(String, String)> {
    let (model, tag) = name.strip_prefix("ai_")?.strip_suffix(".gguf")?.split_once('_')?;
    Some((format!("ai/{model}"), tag.to_owned()))
}

fn docker_hub(repo: &str) -> Source {
    Source {
        kind: Some(SourceKind::Oci),
        repo: Some(format!("docker.io/{repo}")),
        url: Some(format!("https://hub.docker.com/r/{}", web::encode(repo))),
        confidence: Confidence::Inferred,
        evidence: vec!["file name".to_owned()],
    }
}

/// `USER_REPO-GGUF_FILE`: only where the repository's name shows its end.
fn inferred(name: &str) -> Option<(String, &str)> {
    let at = name.to_ascii_lowercase().find("-gguf_")? + "-gguf".len();
    let (user, repo) = name.get(..at)?.split_once('_')?;
    Some((format!("{user}/{repo}"), name.get(at + 1..)?))
}
