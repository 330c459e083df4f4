//! AnythingLLM: downloaded GGUFs, the embedder and the transcriber in a folder each, an Ollama of its own. The keys
//! in `.env` and the lists of remote models are left alone.

use super::{
    Environment, Found, Known, Step, Store, Unit, Visit,
    ask::Ask,
    bundle::{self, Together},
    handle, ollama,
    plain::{self, Links},
    web,
};
use crate::{App, Confidence, Kind};
use std::path::{Path, PathBuf};

const DESKTOP: &str = "anythingllm-desktop/storage";
const DOWNLOADED: &str = "downloaded";
const XENOVA: &str = "Xenova";
const OLLAMA: &str = "ollama";
const MARK: &str = "anythingllm.db";

pub(super) struct AnythingLlm;

impl Store for AnythingLlm {
    fn app(&self) -> App {
        App::AnythingLlm
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let config = [environment.xdg("XDG_CONFIG_HOME", ".config"), environment.in_home(".config")];
        let desktop = config.into_iter().flatten().map(|config| config.join(DESKTOP));
        let mounted = environment.with_marks(&[MARK, "models"]).map(Path::to_path_buf);
        let all = environment.path("STORAGE_DIR").into_iter().chain(desktop).chain(mounted);
        super::distinct(all.map(|storage| storage.join("models")))
    }

    fn visit(&self, dir: &Path) -> Visit {
        let mut parts = dir.iter();
        let Some(first) = parts.next().and_then(|part| part.to_str()) else { return Visit::Pass };
        match (first, parts.count()) {
            (DOWNLOADED, _) => Visit::Unit,
            (XENOVA, 0) => Visit::Pass,
            (XENOVA, 1) => Visit::Whole,
            (OLLAMA, _) => ollama::visit(dir.strip_prefix(OLLAMA).unwrap_or(dir)),
            _ => Visit::Skip,
        }
    }

    fn incoming(&self, dir: &Path) -> &'static [&'static str] {
        if dir == Path::new(OLLAMA) { &[ollama::BLOBS] } else { &[] }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        if let Ok(dir) = unit.dir.strip_prefix(OLLAMA) {
            let root = unit.root.join(OLLAMA);
            return ollama::step(App::AnythingLlm, &Unit { root: &root, dir, place: Path::new("") }, known);
        }
        let mut ask = Ask::new(known);
        let found =
            if unit.dir.starts_with(XENOVA) { xenova(&mut ask, unit) } else { downloaded(&mut ask, unit) };
        ask.step(found)
    }
}

fn downloaded(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let files = plain::files(ask, unit, Links::All);
    let bundles = bundle::bundles(ask, &unit.path(), Together::Heap, &files);
    let id = |label: &Path| handle::fit(handle::of_path(&unit.dir.join(label)));
    bundles
        .into_iter()
        .map(|bundle| Found::of(App::AnythingLlm, id(&bundle.label), &unit.path(), bundle))
        .collect()
}

/// A repository of the hub by its name, with nothing more recorded.
fn xenova(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let files = plain::tree(ask, unit, Links::Inside);
    let bundles = bundle::bundles(ask, &unit.path(), Together::Repository, &files);
    let is_only = bundles.len() == 1;
    let repo = handle::of_path(unit.dir);
    let kind = if repo.to_lowercase().contains("whisper") { Kind::Asr } else { Kind::Embedding };
    let found = bundles.into_iter().map(|bundle| {
        let label = handle::of_path(&bundle.label);
        let id = if is_only || label.is_empty() { repo.clone() } else { format!("{repo}:{label}") };
        let mut found = Found::of(App::AnythingLlm, handle::fit(id), &unit.path(), bundle);
        found.name = unit.dir.file_name().and_then(|name| handle::bounded(name.to_str()?));
        found.source = Some(web::hugging_face(&repo, Confidence::Inferred, format!("folders {repo}")));
        found.hints.kind = Some(kind);
        found
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::drive::{Tree, environment};

    const ROOT: &str = "/home/u/.config/anythingllm-desktop/storage/models";

    #[test]
    fn its_three_kinds_of_models_are_found() {
        let roots = AnythingLlm.roots(&environment(&[("STORAGE_DIR", "/srv/a")], &[]));
        assert_eq!(roots, ["/srv/a/models", ROOT].map(PathBuf::from));
        let digest = "ab".repeat(32);
        let manifest = format!(
            r#"{{"layers":[{{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:{digest}"}}]}}"#
        );
        let tree = Tree::default()
            .file(format!("{ROOT}/downloaded/x.gguf"), "")
            .file(format!("{ROOT}/Xenova/all-MiniLM-L6-v2/model.safetensors"), "")
            .file(format!("{ROOT}/ollama/manifests/registry.ollama.ai/library/o/latest"), manifest)
            .file(format!("{ROOT}/ollama/blobs/sha256-{digest}"), "")
            .file(format!("{ROOT}/openrouter/models.safetensors"), "");
        let found = tree.found(&AnythingLlm, ROOT);
        let [xenova, downloaded, ollama] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (xenova.id.as_str(), xenova.hints.kind),
            ("Xenova/all-MiniLM-L6-v2", Some(Kind::Embedding))
        );
        assert_eq!(xenova.source.as_ref().unwrap().repo.as_deref(), Some("Xenova/all-MiniLM-L6-v2"));
        assert_eq!((downloaded.id.as_str(), ollama.id.as_str()), ("downloaded/x.gguf", "o:latest"));
        assert_eq!(ollama.app, App::AnythingLlm);
    }
}
