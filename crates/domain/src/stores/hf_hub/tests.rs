use super::*;
use crate::{
    Confidence, Format, Kind, SourceKind,
    stores::{
        Look,
        drive::{Tree, environment, files},
    },
};

const HUB: &str = "/hub";
const COMMIT: &str = "bee87e088cfcc5fe5b901afd80edd89051f39b9b";
const SHA: &str = "7715643504a2515ffc399bb6039716a8a4a047132f77aa6c5507e63455eb1e05";

fn snapshot(repository: &str, file: &str) -> String {
    format!("{HUB}/models--{repository}/snapshots/{COMMIT}/{file}")
}

fn blob(repository: &str, name: &str) -> String {
    format!("{HUB}/models--{repository}/blobs/{name}")
}

#[test]
fn every_cache_that_ever_was_is_a_root() {
    let variables = [
        ("HF_HOME", "/hf"),
        ("HF_HUB_CACHE", "/hf/hub"),
        ("XDG_CACHE_HOME", "relative"),
        ("TRANSFORMERS_CACHE", "/old"),
    ];
    let roots = HfHub.roots(&environment(&variables, &[]));
    assert_eq!(roots, ["/hf/hub", "/old", "/home/u/.cache/huggingface/hub"].map(PathBuf::from));
    assert_eq!(HfHub.visit(Path::new("datasets--a--b")), Visit::Skip);
    assert_eq!(HfHub.visit(Path::new("blobs")), Visit::Skip);
}

#[test]
fn a_gguf_repository_is_one_model_a_quant() {
    let tree = Tree::default()
        .link(&snapshot("o--n", "n-Q4_K_M.gguf"), &format!("../../blobs/{SHA}"))
        .link(&snapshot("o--n", "q8/n Q8_0.gguf"), "../../../blobs/b8")
        .link(&snapshot("o--n", "mmproj-F16.gguf"), "../../blobs/mm")
        .file(snapshot("o--n", "README.md"), "---\nlicense: mit\nbase_model: o/base\n---\n")
        .file(blob("o--n", SHA), "4")
        .file(blob("o--n", "b8"), "8")
        .file(blob("o--n", "mm"), "m")
        .file("/hub/models--o--n/refs/main", COMMIT)
        .file("/hub/models--o--n/refs/refs/pr/1", format!("{COMMIT}\n"))
        .file("/hub/models--o--n/.no_exist/x/y.gguf", "");
    let found = tree.found(&HfHub, HUB);
    let [small, large] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(small.id, "o/n@bee87e08:n-Q4_K_M.gguf");
    assert_eq!(files(small), ["w:n-Q4_K_M.gguf", "+:mmproj-F16.gguf", "card:README.md"]);
    assert_eq!(small.files[0].sha256.as_deref(), Some(SHA));
    assert_eq!(small.refs, ["main", "refs/pr/1"]);
    assert_eq!(
        (small.license.as_deref(), small.base_models.as_slice()),
        (Some("mit"), &["o/base".to_owned()][..])
    );
    assert_eq!((small.name.as_deref(), small.partial.as_deref()), (Some("n-Q4_K_M"), None));
    assert_eq!(large.id, "o/n@bee87e08:q8/n Q8_0.gguf");
    let source = large.source.as_ref().unwrap();
    assert_eq!((source.kind, source.confidence), (Some(SourceKind::HuggingFace), Confidence::Recorded));
    let url = format!("https://huggingface.co/o/n/resolve/{COMMIT}/q8/n%20Q8_0.gguf");
    assert_eq!(source.url.as_deref(), Some(url.as_str()));
    assert_eq!(source.evidence, ["hub cache folder models--o--n"]);
}

#[test]
fn blobs_are_not_listed_and_few_rounds_suffice() {
    let tree = Tree::default()
        .link(&snapshot("o--n", "model.safetensors"), &format!("../../blobs/{SHA}"))
        .file(blob("o--n", SHA), "");
    let unit = Unit::new(Path::new(HUB), Path::new("models--o--n"));
    let (_, looked) = tree.drive(&HfHub, &unit);
    let is_blob = |path: &Path| path.components().any(|part| part.as_os_str() == "blobs");
    assert!(!looked.iter().any(|look| matches!(look, Look::List(path) if is_blob(path))), "{looked:?}");
}

#[test]
fn shards_are_one_model_and_say_what_is_missing() {
    let index =
        r#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
    let config = r#"{"architectures":["LlamaForCausalLM"],"max_position_embeddings":4096}"#;
    let tree = Tree::default()
        .file(snapshot("o--half", "model-00001-of-00002.safetensors"), "")
        .file(snapshot("o--half", "consolidated.safetensors"), "")
        .file(snapshot("o--half", "model.safetensors.index.json"), index)
        .file(snapshot("o--half", "config.json"), config);
    let found = tree.found(&HfHub, HUB);
    let [half, single] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(half.id, "o/half@bee87e08");
    assert_eq!(files(half), ["w:model-00001-of-00002.safetensors", "c:config.json"]);
    let reason = "missing-sibling: 1 of 2 missing: model-00002-of-00002.safetensors";
    assert_eq!(half.partial.as_deref(), Some(reason));
    assert_eq!((half.hints.kind, half.hints.context_length), (Some(Kind::Llm), Some(4096)));
    assert_eq!((half.name.as_deref(), half.refs.len()), (Some("half"), 0));
    assert_eq!(half.source.as_ref().unwrap().url.as_deref(), Some("https://huggingface.co/o/half"));
    assert_eq!(single.id, "o/half@bee87e08:consolidated.safetensors");
}

#[test]
fn what_the_weights_cannot_say_is_for_the_index_and_the_card_to_say() {
    let index = r#"{"weight_map":{"model.layers.0.mlp.up_proj.weight":"model-00001-of-00002.safetensors",
        "lm_head.weight":"model-00002-of-00002.safetensors"}}"#;
    let card = "---\npipeline_tag: automatic-speech-recognition\n---\n";
    let tree = Tree::default()
        .file(snapshot("o--half", "model-00001-of-00002.safetensors"), "")
        .file(snapshot("o--half", "model.safetensors.index.json"), index)
        .file(snapshot("o--said", "model.safetensors"), "")
        .file(snapshot("o--said", "voice.safetensors"), "")
        .file(snapshot("o--said", "README.md"), card);
    let found = tree.found(&HfHub, HUB);
    let seen: Vec<_> = found.iter().map(|found| (found.hints.kind, found.hints.placed_as)).collect();
    assert_eq!(seen, [(None, Some(Kind::Llm)), (None, Some(Kind::Asr)), (None, None)]);
}

#[test]
fn a_network_that_could_write_text_may_be_published_to_rank() {
    let tree = Tree::default()
        .file(snapshot("o--rank", "model.safetensors"), "")
        .file(snapshot("o--rank", "config.json"), r#"{"architectures": ["Qwen3ForCausalLM"]}"#)
        .file(snapshot("o--rank", "README.md"), "---\npipeline_tag: text-ranking\n---\n");
    assert_eq!(tree.found(&HfHub, HUB)[0].hints.kind, Some(Kind::Reranker));
}

#[test]
fn what_diffusers_loads_of_a_directory_is_the_repository() {
    let tree = Tree::default()
        .file(snapshot("o--vae", "config.json"), r#"{"_class_name": "AutoencoderKL"}"#)
        .file(snapshot("o--vae", "diffusion_pytorch_model.safetensors"), "")
        .file(snapshot("o--vae", "sdxl_vae.safetensors"), "");
    let found = tree.found(&HfHub, HUB);
    let seen: Vec<_> = found.iter().map(|found| (found.id.as_str(), found.hints.kind)).collect();
    let expected = [("o/vae@bee87e08", Some(Kind::Vae)), ("o/vae@bee87e08:sdxl_vae.safetensors", None)];
    assert_eq!(seen, expected);
}

#[test]
fn a_dangling_link_waits_for_its_blob() {
    let xet = "36f1719b97c4e813e2559ddbda24db01bbff102e6f68e8835aad8e1ee09cab7a";
    let tree = Tree::default()
        .link(&snapshot("o--n", "model.safetensors"), &format!("../../blobs/{SHA}"))
        .link(&blob("o--n", SHA), &format!("../../blobs/36/{xet}"));
    let found = tree.found(&HfHub, HUB);
    assert_eq!(found[0].partial.as_deref(), Some("dangling symlink; blob missing"));
    let payload = PathBuf::from(format!("/hub/blobs/36/{xet}"));
    assert_eq!(found[0].depends, [PathBuf::from(blob("o--n", SHA)), payload.clone()]);
    assert_eq!(found[0].hints.format, Some(Format::Safetensors));

    let found = tree.file(&payload, "x").found(&HfHub, HUB);
    assert_eq!(found[0].partial, None);
    assert_eq!(found[0].files[0].sha256.as_deref(), Some(SHA), "not the xet hash");
}

#[test]
fn a_repository_on_another_disk_is_still_the_repository() {
    let at = "/data/o--n/snapshots/bee87e0839d2bb2bb2a5ae9d6ab6f1d3d3b0a2e1/x.gguf";
    let tree = Tree::default().file("/data/o--n/blobs/x", "").link(at, "../../blobs/x");
    let found = tree.found_at(&HfHub, "/data/o--n", "models--o--n");
    assert_eq!(found[0].id, "o/n@bee87e08:x.gguf");
}

#[test]
fn the_list_of_a_commit_knows_hashes_of_files_that_are_no_links() {
    let list = format!(r#"{{"files":{{"model.safetensors":{{"lfs_sha256":"{SHA}"}}}}}}"#);
    let tree = Tree::default()
        .file(snapshot("gpt2", "model.safetensors"), "")
        .file(format!("/hub/models--gpt2/trees/{COMMIT}.json"), list);
    let found = tree.found(&HfHub, HUB);
    assert_eq!((found[0].id.as_str(), found[0].files[0].sha256.as_deref()), ("gpt2@bee87e08", Some(SHA)));
}

#[test]
fn a_pipeline_is_one_model_and_misses_its_components() {
    let index = r#"{"_class_name":"FluxPipeline","unet":["diffusers","UNet"],"vae":["diffusers","AutoencoderKL"],
        "scheduler":["diffusers","EulerDiscreteScheduler"],"safety_checker":[null,null]}"#;
    let tree = Tree::default()
        .file(snapshot("o--sd", "model_index.json"), index)
        .file(snapshot("o--sd", "unet/diffusion_pytorch_model.safetensors"), "")
        .file(snapshot("o--sd", "unet/config.json"), "{}")
        .file(snapshot("o--sd", "sd_xl.safetensors"), "");
    let found = tree.found(&HfHub, HUB);
    let [pipeline, single] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(files(pipeline), ["w:diffusion_pytorch_model.safetensors", "c:model_index.json"]);
    assert_eq!(pipeline.hints.format, Some(Format::Diffusers));
    assert_eq!(pipeline.hints.architecture.as_deref(), Some("FluxPipeline"));
    assert_eq!(pipeline.partial.as_deref(), Some("missing-sibling: component vae"));
    assert_eq!(single.id, "o/sd@bee87e08:sd_xl.safetensors");
}

#[test]
fn an_adapter_names_its_base() {
    let tree = Tree::default()
        .file(snapshot("o--lora", "adapter_model.safetensors"), "")
        .file(snapshot("o--lora", "adapter_config.json"), r#"{"base_model_name_or_path":"o/base"}"#);
    let found = tree.found(&HfHub, HUB);
    assert_eq!((found[0].id.as_str(), found[0].hints.kind), ("o/lora@bee87e08", Some(Kind::Lora)));
    assert_eq!(found[0].base_models, ["o/base"]);
}

#[test]
fn a_model_in_two_formats_is_listed_in_both_with_its_configuration() {
    let tree = Tree::default()
        .file(snapshot("o--n", "config.json"), r#"{"architectures":["BertModel"],"model_type":"bert"}"#)
        .file(snapshot("o--n", "model.safetensors"), "")
        .file(snapshot("o--n", "pytorch_model.bin"), "");
    let found = tree.found(&HfHub, HUB);
    let seen: Vec<_> =
        found.iter().map(|found| (found.id.as_str(), found.hints.architecture.as_deref())).collect();
    assert_eq!(
        seen,
        [("o/n@bee87e08", Some("BertModel")), ("o/n@bee87e08:pytorch_model.bin", Some("BertModel"))]
    );
}

#[test]
fn a_revision_without_weights_is_nothing() {
    let tree = Tree::default()
        .file(snapshot("o--n", "README.md"), "---\nlicense: mit\n---\n")
        .file(snapshot("o--n", "tf_model.h5"), "")
        .file(snapshot("o--n", "training_args.bin"), "");
    assert_eq!(tree.found(&HfHub, HUB), []);
}

#[test]
fn a_folder_that_is_no_repository_of_the_hub_is_not_lost() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let tree = Tree::default()
        .file(format!("{HUB}/models--o--two\nlines/snapshots/main/x.gguf"), "")
        .file(Path::new(HUB).join(OsStr::from_bytes(b"models--caf\xe9/snapshots/main/x.gguf")), "")
        .file(format!("{HUB}/models--/snapshots/main/x.gguf"), "");
    let ids: Vec<_> = tree.found(&HfHub, HUB).into_iter().map(|found| found.id).collect();
    let [cafe, lines] = ids.as_slice() else { panic!("{ids:?}") };
    assert_eq!(lines, "o/two\nlines@main:x.gguf");
    assert!(cafe.starts_with("caf\u{fffd}~"), "{cafe}");
}

#[test]
fn snapshots_that_are_no_commits_keep_their_whole_names() {
    let tree = Tree::default()
        .file("/hub/models--o--n/snapshots/main-branch-1/n.gguf", "")
        .file("/hub/models--o--n/snapshots/main-branch-2/n.gguf", "");
    let ids: Vec<String> = tree.found(&HfHub, HUB).into_iter().map(|found| found.id).collect();
    assert_eq!(ids, ["o/n@main-branch-1:n.gguf", "o/n@main-branch-2:n.gguf"]);
}
