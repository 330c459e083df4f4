use super::*;
use crate::{
    Confidence, Format, Kind, SourceKind,
    stores::{
        Entry, Found,
        drive::{Tree, environment, files},
    },
};

const ROOT: &str = "/o";

fn sha(letter: char) -> String {
    letter.to_string().repeat(64)
}

fn blob(letter: char) -> String {
    format!("/o/blobs/sha256-{}", sha(letter))
}

fn layer(kind: &str, letter: char) -> String {
    format!(r#"{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"sha256:{}"}}"#, sha(letter))
}

fn manifest(layers: &[String]) -> String {
    format!(r#"{{"config":{},"layers":[{}]}}"#, layer("config", '0'), layers.join(","))
}

#[track_caller]
fn one(tree: &Tree) -> Found {
    let mut found = tree.found(&Ollama, ROOT);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn roots_are_the_users_and_the_systems() {
    let roots = Ollama.roots(&environment(&[("OLLAMA_MODELS", "/mine")], &[]));
    let first = [PathBuf::from("/mine"), "/home/u/.ollama/models".into()];
    assert_eq!(roots.get(..2), Some(first.as_slice()));
    assert_eq!(roots.len(), 6);
    assert_eq!(Ollama.visit(Path::new("blobs")), Visit::Skip);
    assert_eq!(Ollama.visit(Path::new("manifests/h/n/m")), Visit::Whole);
}

#[test]
fn a_store_is_known_by_its_folders_wherever_it_is() {
    let mut environment = environment(&[], &[]);
    let dir = |name: &&str| Entry { name: (*name).into(), kind: EntryKind::Dir };
    let mut put = |at: &str, names: &[&str]| {
        drop(environment.places.insert(at.into(), names.iter().map(dir).collect()));
    };
    put("/home/u/ai/ollama", &["blobs", "manifests"]);
    put("/home/u/ai/docker", &["blobs", "manifests", "models.json"]);
    put("/home/u/k8s", &["manifests"]);
    let roots = Ollama.roots(&environment);
    let found: Vec<_> =
        roots.iter().filter(|root| root.starts_with("/home/u") && !root.ends_with("models")).collect();
    assert_eq!(found, [Path::new("/home/u/ai/ollama")]);
}

#[test]
fn a_tag_is_a_model_with_its_projector_and_licence() {
    let layers = [layer("model", 'a'), layer("projector", 'b'), layer("adapter", 'c'), layer("license", 'd')];
    let config =
        r#"{"model_format":"gguf","model_family":"llama","file_type":"Q4_K_M","capabilities":["vision"]}"#;
    let tree = Tree::default()
        .file("/o/manifests/registry.ollama.ai/library/m/1b", manifest(&layers))
        .file(blob('0'), config)
        .file(blob('a'), "GGUF")
        .file(blob('b'), "GGUF")
        .file(blob('c'), "GGUF")
        .file(blob('d'), "Apache License\nVersion 2.0, January 2004\n");
    let found = one(&tree);
    assert_eq!(
        (found.id.as_str(), found.name.as_deref(), found.license.as_deref()),
        ("m:1b", Some("m"), Some("apache-2.0"))
    );
    let [weights, projector, adapter] = ['a', 'b', 'c'].map(|letter| format!("sha256-{}", sha(letter)));
    assert_eq!(files(&found), [format!("w:{weights}"), format!("+:{projector}"), format!("a:{adapter}")]);
    assert_eq!(found.files[0].sha256, Some(sha('a')));
    let source = found.source.unwrap();
    assert_eq!((source.kind, source.repo.as_deref()), (Some(SourceKind::Ollama), Some("library/m")));
    assert_eq!(source.url.as_deref(), Some("https://ollama.com/library/m"));
    assert_eq!(
        (found.hints.quant.as_deref(), found.hints.architecture.as_deref()),
        (Some("Q4_K_M"), Some("llama"))
    );
    assert_eq!((found.hints.capabilities, found.partial), (vec!["vision".to_owned()], None));
}

#[test]
fn the_host_says_where_it_came_from() {
    for (dir, id, kind, repo) in [
        ("hf.co/u/R-GGUF/Q8_0", "hf.co/u/R-GGUF:Q8_0", SourceKind::HuggingFace, "u/R-GGUF"),
        ("registry.ollama.ai/mario/x/latest", "mario/x:latest", SourceKind::Ollama, "mario/x"),
        ("localhost:5000/n/x/v1", "localhost:5000/n/x:v1", SourceKind::Oci, "localhost:5000/n/x"),
    ] {
        let tree = Tree::default()
            .file(format!("/o/manifests/{dir}"), manifest(&[layer("model", 'a')]))
            .file(blob('a'), "");
        let found = one(&tree);
        let source = found.source.unwrap();
        assert_eq!((found.id.as_str(), source.kind, source.repo.as_deref()), (id, Some(kind), Some(repo)));
        assert_eq!(source.confidence, Confidence::Recorded);
    }
}

#[test]
fn what_was_made_here_is_not_called_a_pull() {
    let made = layer("model", 'a').replace("\"digest\"", "\"from\":\"llama3:8b\",\"digest\"");
    let tree = Tree::default()
        .file("/o/manifests/registry.ollama.ai/library/mine/latest", manifest(&[made]))
        .file(blob('a'), "");
    let found = one(&tree);
    assert_eq!(
        (found.source.unwrap().confidence, found.base_models),
        (Confidence::Inferred, vec!["llama3:8b".to_owned()])
    );
}

#[test]
fn a_model_of_tensors_is_one_model() {
    let json = layer("json", 'e').replace("\"digest\"", "\"name\":\"model_index.json\",\"digest\"");
    let tree = Tree::default()
        .file(
            "/o/manifests/registry.ollama.ai/library/img/latest",
            manifest(&[layer("tensor", 'a'), layer("tensor", 'b'), json]),
        )
        .file(blob('a'), "")
        .file(blob('b'), "");
    let found = one(&tree);
    assert_eq!((found.files.len(), found.hints.kind), (2, Some(Kind::ImagePipeline)));
    assert_eq!(found.hints.format, Some(Format::Safetensors));
}

#[test]
fn a_cloud_model_has_no_files() {
    let tree = Tree::default()
        .file("/o/manifests/registry.ollama.ai/library/big/cloud", manifest(&[]))
        .file(blob('0'), r#"{"remote_host":"https://ollama.com:443"}"#);
    let found = one(&tree);
    assert_eq!((found.files.len(), found.hints.format), (0, Some(Format::Remote)));
    assert_eq!(found.source.unwrap().kind, Some(SourceKind::OllamaCloud));
}

#[test]
fn a_missing_blob_is_waited_for_and_a_torn_manifest_is_nothing() {
    let tree = Tree::default()
        .file("/o/manifests/registry.ollama.ai/library/m/latest", manifest(&[layer("model", 'a')]))
        .file("/o/manifests/registry.ollama.ai/library/m/torn", r#"{"config":"#)
        .file("/o/manifests/registry.ollama.ai/library/m/.DS_Store", "x")
        .file("/o/manifests/registry.ollama.ai/library/.DS_Store", "x");
    let found = one(&tree);
    assert_eq!(found.partial.as_deref(), Some("manifest names a blob that is not there"));
    assert!(found.depends.contains(&blob('a').into()));
    assert_eq!((found.hints.format, found.hints.placed_as), (Some(Format::Gguf), Some(Kind::Llm)));
    let tree = tree.file(blob('0'), r#"{"model_family":"nomic-bert"}"#);
    assert_eq!(one(&tree).hints.placed_as, Some(Kind::Embedding));
}

#[test]
fn what_go_writes_for_nothing_is_no_damage() {
    let remote = manifest(&[]).replace("[]", "null");
    let odd = layer("params", 'b').replace(&format!("sha256:{}", sha('b')), "");
    let tree = Tree::default()
        .file("/o/manifests/registry.ollama.ai/library/big/cloud", remote)
        .file(blob('0'), r#"{"remote_host":"https://ollama.com:443"}"#)
        .file("/o/manifests/registry.ollama.ai/library/m/latest", manifest(&[layer("model", 'a'), odd]))
        .file(blob('a').replace("sha256-", "sha256:"), "");
    let found = tree.found(&Ollama, ROOT);
    let [big, old] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((big.id.as_str(), big.files.len()), ("big:cloud", 0));
    assert_eq!(
        (old.id.as_str(), old.partial.as_deref()),
        ("m:latest", None),
        "named as servers of before did"
    );
    let nothing = Tree::default().file("/o/manifests/registry.ollama.ai/library/m/latest", manifest(&[]));
    assert_eq!(nothing.found(&Ollama, ROOT), [], "no weights, and none elsewhere");
}

#[test]
fn a_digest_is_never_a_path() {
    for digest in ["sha256:../../../etc/passwd", "sha256-aa", "sha256:é", "md5:00", ""] {
        assert!(manifest::Digest::try_from(digest.to_owned()).is_err(), "{digest}");
    }
    let evil = layer("model", 'a').replace(&sha('a'), &format!("../{}", "a".repeat(61)));
    let tree = Tree::default().file("/o/manifests/registry.ollama.ai/library/m/latest", manifest(&[evil]));
    assert_eq!(tree.found(&Ollama, ROOT), []);
}
