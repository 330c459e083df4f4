use super::*;
use crate::{
    Confidence, SourceKind,
    stores::drive::{Tree, environment, files},
};

const ROOT: &str = "/c/llama.cpp";

#[track_caller]
fn one(tree: &Tree) -> Found {
    let mut found = tree.found(&LlamaCpp, ROOT);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn the_old_default_stays_a_root() {
    let roots = LlamaCpp.roots(&environment(&[("LLAMA_CACHE", "/fast"), ("XDG_CACHE_HOME", "/cache")], &[]));
    assert_eq!(roots, ["/fast", "/cache/llama.cpp", "/home/u/.cache/llama.cpp"].map(PathBuf::from));
    assert_eq!(LlamaCpp.visit(Path::new("rpc")), Visit::Skip);
}

#[test]
fn the_address_in_a_sidecar_is_recorded() {
    let sha = "ab".repeat(32);
    let url = "https://huggingface.co/u/R-GGUF/resolve/main/r.Q4_K_M.gguf";
    let tree = Tree::default()
        .file("/c/llama.cpp/u_R-GGUF_r.Q4_K_M.gguf", "")
        .file(
            "/c/llama.cpp/u_R-GGUF_r.Q4_K_M.gguf.json",
            format!(r#"{{"etag":"\"{sha}\"","url":"{url}?token=s"}}"#),
        )
        .file("/c/llama.cpp/u_R-GGUF_r.Q4_K_M.gguf.etag", format!("\"{sha}\""))
        .file("/c/llama.cpp/u_x_y.gguf.downloadInProgress", "")
        .file("/c/llama.cpp/rpc/0123", "");
    let found = one(&tree);
    assert_eq!((found.id.as_str(), found.name.as_deref()), ("u/R-GGUF:Q4_K_M", Some("r.Q4_K_M")));
    let name = "u_R-GGUF_r.Q4_K_M.gguf";
    assert_eq!(files(&found), [format!("w:{name}"), format!("s:{name}.json"), format!("s:{name}.etag")]);
    assert_eq!(found.files[0].sha256, Some(sha));
    let source = found.source.unwrap();
    assert_eq!((source.repo.as_deref(), source.url.as_deref()), (Some("u/R-GGUF"), Some(url)));
    assert_eq!(source.confidence, Confidence::Recorded);
}

#[test]
fn a_manifest_tells_where_the_repository_ends() {
    let manifest = format!(
        r#"{{"ggufFile":{{"rfilename":"sub/my_r-Q8_0.gguf","blobId":"sha256:{}"}}}}"#,
        "cd".repeat(32)
    );
    let tree = Tree::default()
        .file("/c/llama.cpp/u_R_sub_my_r-Q8_0.gguf", "")
        .file("/c/llama.cpp/manifest=u_R=latest.json", manifest);
    let found = one(&tree);
    assert_eq!(
        (found.id.as_str(), found.files[0].sha256.as_deref()),
        ("u/R:Q8_0", Some("cd".repeat(32).as_str()))
    );
    assert_eq!(found.depends, [PathBuf::from("/c/llama.cpp/manifest=u_R=latest.json")]);
}

#[test]
fn a_name_alone_is_a_guess_or_nothing() {
    let check = |name: &str, id: &str, repo: Option<&str>| {
        let found = one(&Tree::default().file(format!("{ROOT}/{name}"), ""));
        assert_eq!(found.id, id);
        assert_eq!(found.source.as_ref().and_then(|source| source.repo.as_deref()), repo);
        assert!(found.source.is_none_or(|source| source.confidence == Confidence::Inferred));
    };
    check(
        "ggml-org_gemma-3-4b-it-GGUF_gemma-3-4b-it-Q4_K_M.gguf",
        "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M",
        Some("ggml-org/gemma-3-4b-it-GGUF"),
    );
    check("ai_smollm2_360M-Q4_K_M.gguf", "docker:ai/smollm2:360M-Q4_K_M", Some("docker.io/ai/smollm2"));
    check("a_b_c.gguf", "a_b_c.gguf", None);
}

#[test]
fn files_of_one_quantisation_go_by_their_names() {
    let tree = Tree::default()
        .file("/c/llama.cpp/u_R-GGUF_a-Q4_K_M.gguf", "")
        .file("/c/llama.cpp/u_R-GGUF_b-Q4_K_M.gguf", "");
    let ids: Vec<String> = tree.found(&LlamaCpp, ROOT).into_iter().map(|found| found.id).collect();
    assert_eq!(ids, ["u_R-GGUF_a-Q4_K_M.gguf", "u_R-GGUF_b-Q4_K_M.gguf"]);
}

#[test]
fn the_hub_layout_is_read_as_such() {
    let tree = Tree::default()
        .file("/c/llama.cpp/models--o--n/snapshots/0123456789abcdef0123456789abcdef01234567/n-Q8_0.gguf", "");
    let found = one(&tree);
    assert_eq!((found.app, found.id.as_str()), (App::LlamaCpp, "o/n@01234567:n-Q8_0.gguf"));
    assert_eq!(found.source.unwrap().kind, Some(SourceKind::HuggingFace));
}
