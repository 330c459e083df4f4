//! RamaLama: `store/TRANSPORT/ORG/NAME` with `refs/TAG.json` that names the files of a snapshot, which are hard
//! links to blobs. Models in podman's image storage are not here.

use super::{
    EntryKind, Environment, Found, FoundFile, Known, Step, Store, Unit, Visit, ask::Ask, config, handle, ini,
    partial, web,
};
use crate::{App, Confidence, Format, Kind, Role, Source, SourceKind};
use serde_json::Value;
use std::path::{Path, PathBuf};

const CONFIG: &str = "ramalama/ramalama.conf";
const SYSTEM: &[&str] = &["etc", "usr/share", "usr/local/share"];

/// A handle of the hub has an organisation, a repository and a file at most; others have a host before that.
const DEEPEST: usize = 8;

pub(super) struct RamaLama;

impl Store for RamaLama {
    fn app(&self) -> App {
        App::RamaLama
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let configured = self.pointers(environment).into_iter().filter_map(|path| {
            let text = String::from_utf8_lossy(environment.pointers.get(&path)?).into_owned();
            let store = ini::settings(&text).find(|setting| setting.key == "store")?.value.to_owned();
            Some(PathBuf::from(store)).filter(|path| path.is_absolute())
        });
        let data = environment.xdg("XDG_DATA_HOME", ".local/share").map(|data| data.join("ramalama"));
        let usual = environment.in_home(".local/share/ramalama");
        let named = environment.path("RAMALAMA_STORE").into_iter().chain(configured);
        let usual = [data, usual, Some(environment.in_system("var/lib/ramalama"))];
        super::distinct(named.chain(usual.into_iter().flatten()))
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        let own = [("XDG_DATA_HOME", ".local/share"), ("XDG_CONFIG_HOME", ".config")];
        let own = own.into_iter().filter_map(|(variable, default)| environment.xdg(variable, default));
        let system = SYSTEM.iter().map(|dir| environment.in_system(dir));
        let all = own.chain(system).map(|dir| dir.join(CONFIG));
        environment.path("RAMALAMA_CONFIG").into_iter().chain(all).collect()
    }

    /// Where a name ends is not seen from its path; `refs` beside `blobs` is the end of one.
    fn visit(&self, dir: &Path) -> Visit {
        let depth = dir.components().count();
        let name = dir.file_name().unwrap_or_default();
        match depth {
            0 => Visit::Pass,
            _ if !dir.starts_with("store") || depth > DEEPEST || partial::is_partial(name) => Visit::Skip,
            1 | 2 => Visit::Pass,
            _ if ["refs", "blobs", "snapshots"].iter().any(|part| name == *part) => Visit::Skip,
            _ => Visit::Unit,
        }
    }

    fn incoming(&self, dir: &Path) -> &'static [&'static str] {
        if dir.components().count() > 2 { &["blobs"] } else { &[] }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        let mut ask = Ask::new(known);
        let found = found(&mut ask, unit);
        ask.step(found)
    }
}

/// A tag's record, in either of its forms.
#[derive(Default)]
struct Ref {
    hash: String,
    /// Name, type, hash.
    files: Vec<(String, String, Option<String>)>,
}

fn found(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let dir = unit.path();
    let has_refs = ask.list(&dir).any(|entry| entry.name == "refs" && entry.kind == EntryKind::Dir);
    if !has_refs {
        return Vec::new();
    }
    let refs = dir.join("refs");
    let names = ask.list(&refs).filter(|entry| entry.kind == EntryKind::File);
    let names = names.filter_map(|entry| entry.name.to_str());
    names.filter_map(|name| tag(ask, unit, &refs.join(name), name)).collect()
}

fn tag(ask: &mut Ask<'_>, unit: &Unit<'_>, path: &Path, name: &str) -> Option<Found> {
    let mut parts = unit.dir.iter().skip(1).map(|part| part.to_str());
    let transport = parts.next()??;
    let parts: Vec<&str> = parts.collect::<Option<_>>()?;
    let place = parts.join("/");
    let content = ask.read(path)?;
    let (tag, read) = match name.strip_suffix(".json") {
        Some(tag) => (tag, of_json(content)),
        None => (name, of_lines(content)),
    };
    let Some(read) = read else {
        ask.damaged(path, "it is no record of a tag");
        return None;
    };
    let model = parts.last().copied().unwrap_or_default();
    let mut found = Found::new(App::RamaLama, handle::fit(format!("{transport}://{place}:{tag}")));
    found.name = handle::bounded(&crate::names::display_name(model));
    found.source = source(transport, &parts, &format!("{transport}/{place}/refs/{name}"));
    found.depends.push(path.to_owned());
    let snapshot = unit.path().join("snapshots").join(read.hash.replace(':', "-"));
    for (name, kind, hash) in &read.files {
        let is_gguf = kind == "gguf" || kind == "model";
        let role = match kind.as_str() {
            "mmproj" => Role::Companion,
            _ if is_gguf || kind.starts_with("safetensor") || crate::names::looks_like_model(name) => {
                Role::Weights
            }
            "other" if name == "config.json" => {
                let path = snapshot.join(name);
                found.hints = ask.json(&path).map(|value| config::hints(&value, None)).unwrap_or_default();
                found.files.push(FoundFile { path: path.clone(), role: Role::Config, sha256: None });
                found.depends.push(path);
                continue;
            }
            _ => continue,
        };
        if is_gguf && role == Role::Weights {
            found.hints.format = Some(Format::Gguf);
            // Projectors and templates have types of their own: what is left is run as a language model.
            found.hints.placed_as = Some(Kind::Llm);
        }
        held(ask, unit, (&snapshot.join(name), role), hash.as_deref(), &mut found);
    }
    found.files.sort_by_key(|file| file.role);
    let has_weights = found.files.iter().any(|file| file.role == Role::Weights);
    has_weights.then_some(found)
}

/// Adds a file of a snapshot with the blob that it is, or with what there is of that so far.
fn held(
    ask: &mut Ask<'_>,
    unit: &Unit<'_>,
    (path, role): (&Path, Role),
    hash: Option<&str>,
    found: &mut Found,
) {
    let sha256 = hash.and_then(|hash| handle::sha256(hash.trim_start_matches("sha256:")));
    let blob = sha256.as_ref().map(|sha256| unit.path().join("blobs").join(format!("sha256-{sha256}")));
    let half = blob.as_ref().map(|blob| blob.with_extension("partial"));
    let is_there = ask.stat(path).is_some();
    let has_blob = blob.as_ref().is_some_and(|blob| ask.stat(blob).is_some());
    let is_half = half.as_ref().is_some_and(|half| ask.stat(half).is_some());
    let mut put =
        |path: &Path, role, sha256| found.files.push(FoundFile { path: path.to_owned(), role, sha256 });
    match (is_there, &blob, &half) {
        (true, blob, _) => {
            put(path, role, sha256.clone());
            if let Some(blob) = blob.as_ref().filter(|_| has_blob) {
                put(blob, Role::Blob, sha256);
            }
        }
        (false, _, Some(half)) if is_half => {
            put(half, role, None);
            found.partial = Some(".partial blob".to_owned());
        }
        (false, Some(blob), _) if has_blob => put(blob, role, sha256),
        (false, ..) => {
            put(path, role, sha256);
            found.partial = Some("a record names a file that is not there".to_owned());
        }
    }
    found.depends.extend(blob.into_iter().chain(half).chain([path.to_owned()]));
}

fn of_json(content: &[u8]) -> Option<Ref> {
    let value: Value = serde_json::from_slice(content).ok()?;
    let text = |value: &Value, field: &str| value.get(field)?.as_str().map(str::to_owned);
    let files = value.get("files")?.as_array()?.iter().filter_map(|file| {
        Some((plain_name(file.get("name")?.as_str()?)?, text(file, "type")?, text(file, "hash")))
    });
    Some(Ref { hash: plain_name(&text(&value, "hash")?)?, files: files.collect() })
}

/// The first version: the hash, then `NAME---TYPE` a line.
fn of_lines(content: &[u8]) -> Option<Ref> {
    let mut lines = std::str::from_utf8(content).ok()?.lines();
    let hash = plain_name(lines.next()?.trim())?;
    let files = lines.filter_map(|line| {
        let (name, kind) = line.trim().rsplit_once("---")?;
        Some((plain_name(name)?, kind.to_owned(), (kind == "model").then(|| hash.clone())))
    });
    let files = files.collect();
    Some(Ref { hash, files })
}

/// A name from a file becomes a path only below its own directory.
fn plain_name(name: &str) -> Option<String> {
    let is_plain = name.split('/').all(|part| !matches!(part, "" | "." | "..")) && !name.contains('\0');
    is_plain.then(|| name.to_owned())
}

fn source(transport: &str, parts: &[&str], record: &str) -> Option<Source> {
    let evidence = format!("record {record}");
    let place = parts.join("/");
    let (kind, repo, url) = match transport {
        "huggingface" | "hf" => {
            // A single file has the repository for its organisation.
            let repo = parts.get(..2)?.join("/");
            return Some(web::hugging_face(&repo, Confidence::Recorded, evidence));
        }
        "ollama" => {
            let url = format!("https://ollama.com/{}", web::encode(&place));
            (SourceKind::Ollama, Some(place), Some(url))
        }
        "modelscope" | "ms" => {
            let url = format!("https://modelscope.cn/models/{}", web::encode(&place));
            (SourceKind::ModelScope, Some(place), Some(url))
        }
        "https" | "http" => (SourceKind::Url, None, Some(format!("{transport}://{}", web::encode(&place)))),
        "oci" | "docker" => (SourceKind::Oci, Some(place), None),
        _ => return None,
    };
    Some(Source { kind: Some(kind), repo, url, confidence: Confidence::Recorded, evidence: vec![evidence] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::drive::{Tree, environment, files};

    const ROOT: &str = "/r";

    fn record(sha: &str, files: &[(&str, &str)]) -> String {
        let files: Vec<_> = files
            .iter()
            .map(|(name, kind)| serde_json::json!({"hash": format!("sha256:{sha}"), "name": name, "type": kind}))
            .collect();
        serde_json::json!({"files": files, "hash": format!("sha256-{sha}"), "version": "v1.0.1"}).to_string()
    }

    #[test]
    fn roots_follow_the_configuration() {
        let conf =
            ("/home/u/.config/ramalama/ramalama.conf", "[ramalama]\n# store = \"/no\"\nstore = \"/srv/m\"\n");
        let roots = RamaLama.roots(&environment(&[], &[conf]));
        assert_eq!(
            roots,
            ["/srv/m", "/home/u/.local/share/ramalama", "/var/lib/ramalama"].map(PathBuf::from)
        );
    }

    #[test]
    fn a_snapshot_is_a_model_and_its_blob_the_same_bytes() {
        let sha = "ab".repeat(32);
        let at = format!("{ROOT}/store/ollama/library/tiny");
        let tree = Tree::default()
            .file(format!("{at}/refs/1b.json"), record(&sha, &[("tiny", "gguf"), ("t", "chat_template")]))
            .file(format!("{at}/snapshots/sha256-{sha}/tiny"), "")
            .file(format!("{at}/blobs/sha256-{sha}"), "");
        let found = tree.found(&RamaLama, ROOT);
        let [tiny] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((tiny.id.as_str(), tiny.partial.as_deref()), ("ollama://library/tiny:1b", None));
        assert_eq!(files(tiny), ["w:tiny".to_owned(), format!("b:sha256-{sha}")]);
        let source = tiny.source.as_ref().unwrap();
        assert_eq!((source.kind, source.repo.as_deref()), (Some(SourceKind::Ollama), Some("library/tiny")));
        assert_eq!(source.url.as_deref(), Some("https://ollama.com/library/tiny"));
    }

    #[test]
    fn the_old_record_and_a_single_file_of_the_hub_are_read() {
        let sha = "cd".repeat(32);
        let at = format!("{ROOT}/store/huggingface/o/n/x.gguf");
        let tree = Tree::default()
            .file(format!("{at}/refs/latest"), format!("sha256:{sha}\nx.gguf---model\nmm.gguf---mmproj\n"))
            .file(format!("{at}/snapshots/sha256-{sha}/x.gguf"), "")
            .file(format!("{at}/snapshots/sha256-{sha}/mm.gguf"), "");
        let found = tree.found(&RamaLama, ROOT);
        assert_eq!(
            (found[0].id.as_str(), files(&found[0])),
            ("huggingface://o/n/x.gguf:latest", vec!["w:x.gguf".to_owned(), "+:mm.gguf".into()])
        );
        assert_eq!(found[0].source.as_ref().unwrap().repo.as_deref(), Some("o/n"));
    }

    #[test]
    fn half_a_blob_is_shown_as_such_and_a_hostile_record_leads_nowhere() {
        let sha = "ef".repeat(32);
        let at = format!("{ROOT}/store/https/example.com/e.gguf");
        let tree = Tree::default()
            .file(format!("{at}/refs/latest.json"), record(&sha, &[("e.gguf", "gguf")]))
            .file(format!("{at}/blobs/sha256-{sha}.partial"), "")
            .file(format!("{ROOT}/store/file/a/b/refs/x.json"), record("../../../etc", &[("passwd", "gguf")]))
            .file(format!("{ROOT}/store/file/a/c/refs/x.json"), record(&sha, &[("../../p", "gguf")]));
        let found = tree.found(&RamaLama, ROOT);
        let [half] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (half.id.as_str(), half.partial.as_deref()),
            ("https://example.com/e.gguf:latest", Some(".partial blob"))
        );
        assert_eq!(half.hints.placed_as, Some(Kind::Llm));
        assert_eq!(files(half), [format!("w:sha256-{sha}.partial")]);
        assert_eq!(half.source.as_ref().unwrap().url.as_deref(), Some("https://example.com/e.gguf"));
    }
}
