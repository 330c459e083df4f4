use super::*;
use crate::{
    Format, SourceKind,
    stores::drive::{Tree, environment, files},
    stores::{Entry, EntryKind},
};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

const ROOT: &str = "/home/u/models";

fn ids(tree: &Tree) -> Vec<String> {
    tree.found(&Folder, ROOT).into_iter().map(|found| found.id).collect()
}

#[test]
fn the_download_folder_is_known_in_any_language() {
    let check = |line: &str, expected: &[&str]| {
        let dirs = ("/home/u/.config/user-dirs.dirs", line);
        let roots = Folder.roots(&environment(&[], &[dirs]));
        assert_eq!(
            roots.get(2..).unwrap_or_default(),
            expected.iter().map(PathBuf::from).collect::<Vec<_>>()
        );
    };
    check("# x\nXDG_DOWNLOAD_DIR=\"$HOME/Scaricati\"\n", &["/home/u/Scaricati"]);
    check("XDG_DOWNLOAD_DIR=\"/data/dl\"\n", &["/data/dl"]);
    check("XDG_DOWNLOAD_DIR=\"$HOME/\"\n", &[]);
    check("XDG_DOWNLOAD_DIR=\"/\"\n", &[]);
    check("XDG_DOWNLOAD_DIR=\"$HOME/Downloads\"\n", &[]);
}

#[test]
fn a_folder_that_was_downloaded_to_is_found_and_is_one_model() {
    let mark = |dir: &str| (format!("{dir}/.cache/huggingface/.gitignore"), "*");
    let marks =
        ["/home/u/ai/sd", "/home/u/ai/sd/old", "/home/u/models/m", "/home/u/ComfyUI/models"].map(mark);
    let marks: Vec<(&str, &str)> = marks.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let mut environment = environment(&[], &marks);
    let cache = [Entry { name: ".cache".into(), kind: EntryKind::Dir }];
    for dir in ["ai/sd", "ai/sd/old", "models/m", "ComfyUI/models", "code"] {
        drop(environment.places.insert(Path::new("/home/u").join(dir), cache.to_vec()));
    }
    let roots = ["/home/u/models", "/home/u/Downloads", "/home/u/ai/sd"].map(PathBuf::from);
    assert_eq!(Folder.roots(&environment), roots);
    let places = roots.map(|root| Folder.place(&environment, &root));
    assert_eq!(places, ["", "", "sd"].map(PathBuf::from));
    let tree = Tree::default()
        .file("/home/u/ai/sd/model_index.json", r#"{"_class_name": "FluxPipeline"}"#)
        .file("/home/u/ai/sd/vae/diffusion_pytorch_model.safetensors", "")
        .file(
            "/home/u/ai/sd/.cache/huggingface/download/vae/diffusion_pytorch_model.safetensors.metadata",
            "c\ne\n1",
        );
    let found = tree.found_at(&Folder, "/home/u/ai/sd", "sd");
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.id.as_str(), one.name.as_deref(), one.app), ("sd", Some("sd"), App::HuggingFaceLocalDir));
}

#[test]
fn a_folder_with_repositories_of_the_hub_is_found_and_read_as_a_cache() {
    let mut environment = environment(&[], &[]);
    let dir = |name: &&str| Entry { name: (*name).into(), kind: EntryKind::Dir };
    let mut put = |at: &str, names: &[&str]| {
        drop(environment.places.insert(at.into(), names.iter().map(dir).collect()));
    };
    put("/home/u/vllm", &["models--o--n", ".locks"]);
    put("/home/u/llama", &["models--o--n", "x.gguf"]);
    put("/home/u/.local/share/docker/volumes/v/_data", &["models--o--n"]);
    put("/home/u/data", &["datasets--o--n"]);
    assert_eq!(Folder.roots(&environment).get(2..), Some(["/home/u/vllm".into()].as_slice()));
    assert_eq!(Folder.place(&environment, Path::new("/home/u/vllm")), Path::new(""));
}

#[test]
fn hidden_trees_and_unfinished_directories_are_left_out() {
    for name in ["a/.git", ".Trash-1000", "x.download", "datasets--a--b", "@eaDir"] {
        assert_eq!(Folder.visit(Path::new(name)), Visit::Skip, "{name}");
    }
    assert_eq!(Folder.visit(Path::new("a/models--o--n")), Visit::Whole);
    assert_eq!(Folder.visit(Path::new(".hidden")), Visit::Unit);
}

#[test]
fn single_files_and_splits_are_models() {
    let tree = Tree::default()
        .file("/home/u/models/a b/x 'Q8_0'.gguf", "")
        .file("/home/u/models/s-00001-of-00002.gguf", "")
        .file("/home/u/models/y.safetensors", "")
        .file("/home/u/models/z.gguf.part", "")
        .file("/home/u/models/.cache/t.gguf", "")
        .file(Path::new(OsStr::from_bytes(b"/home/u/models/caf\xe9.gguf")), "");
    let found = tree.found(&Folder, ROOT);
    let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
    let [spaced, odd, split, single] = ids.as_slice() else { panic!("{ids:?}") };
    assert_eq!((*spaced, *split, *single), ("models/a b/x 'Q8_0'.gguf", "models/s", "models/y.safetensors"));
    assert!(odd.starts_with("models/caf\u{fffd}.gguf~"), "{odd}");
    assert_eq!(found[2].partial.as_deref(), Some("missing-sibling: 1 of 2 missing: s-00002-of-00002.gguf"));
}

#[test]
fn a_store_of_ollamas_is_read_as_what_it_is() {
    let (blob, model) = ("a".repeat(64), "manifests/registry.ollama.ai/library/m");
    let layer = format!(r#"{{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:{blob}"}}"#);
    let tree = Tree::default()
        .file(format!("{ROOT}/old/.ollama/models/{model}/1b"), format!(r#"{{"layers":[{layer}]}}"#))
        .file(format!("{ROOT}/old/.ollama/models/blobs/sha256-{blob}"), "")
        .file(format!("{ROOT}/manifests/a/b/c/x.gguf"), "");
    let found = tree.found(&Folder, ROOT);
    let seen: Vec<_> = found.iter().map(|found| (found.app, found.id.as_str())).collect();
    assert_eq!(seen, [(App::Ollama, "m:1b"), (App::Loose, "models/manifests/a/b/c/x.gguf")]);
}

#[test]
fn a_projector_goes_with_the_model_it_names() {
    let tree = Tree::default()
        .file("/home/u/models/mmproj-gemma-3-27b-it-F16.gguf", "")
        .file("/home/u/models/gemma-3-27b-it-Q4_K_M.gguf", "")
        .file("/home/u/models/gemma-3-4b-it-Q4_K_M.gguf", "")
        .file("/home/u/models/v/mmproj-F16.gguf", "")
        .file("/home/u/models/v/llava.gguf", "")
        .file("/home/u/models/w/mmproj-F16.gguf", "");
    let found = tree.found(&Folder, ROOT);
    let files: Vec<Vec<String>> = found.iter().map(files).collect();
    assert_eq!(files[0], ["w:gemma-3-27b-it-Q4_K_M.gguf", "+:mmproj-gemma-3-27b-it-F16.gguf"]);
    assert_eq!(files[1], ["w:gemma-3-4b-it-Q4_K_M.gguf"]);
    assert_eq!(files[2], ["w:llava.gguf", "+:mmproj-F16.gguf"]);
    assert_eq!(files[3], ["w:mmproj-F16.gguf"]);
}

#[test]
fn links_out_of_the_folder_and_dangling_ones_are_nothing() {
    let tree = Tree::default()
        .file("/home/u/models/x.gguf", "")
        .file("/data/y.gguf", "")
        .link("/home/u/models/a/in.gguf", "../x.gguf")
        .link("/home/u/models/out.gguf", "/data/y.gguf")
        .link("/home/u/models/sly.gguf", "../../../data/y.gguf")
        .link("/home/u/models/gone.gguf", "nothing.gguf");
    assert_eq!(ids(&tree), ["models/a/in.gguf", "models/x.gguf"]);
}

#[test]
fn a_transformers_directory_is_one_model_but_not_a_heap_of_files() {
    let config = r#"{"architectures":["LlamaForCausalLM"]}"#;
    let tree = Tree::default()
        .file("/home/u/models/llama/config.json", config)
        .file("/home/u/models/llama/README.md", "---\nlicense: mit\n---\n")
        .file("/home/u/models/llama/weights.safetensors", "")
        .file("/home/u/models/config.json", config)
        .file("/home/u/models/lonely.safetensors", "");
    let found = tree.found(&Folder, ROOT);
    let [llama, lonely] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (llama.id.as_str(), llama.name.as_deref(), llama.license.as_deref()),
        ("models/llama", Some("llama"), Some("mit"))
    );
    assert_eq!(
        (lonely.id.as_str(), lonely.hints.architecture.as_deref()),
        ("models/lonely.safetensors", None)
    );
}

#[test]
fn a_pipeline_is_one_model_and_its_components_none() {
    let tree = Tree::default()
        .file("/home/u/models/sd/model_index.json", r#"{"_class_name":"P","unet":["d","U"]}"#)
        .file("/home/u/models/sd/unet/diffusion_pytorch_model.safetensors", "")
        .file("/home/u/models/sd/unet/config.json", "{}");
    let found = tree.found(&Folder, ROOT);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].id.as_str(), found[0].hints.format), ("models/sd", Some(Format::Diffusers)));
}

#[test]
fn a_pipeline_counts_its_weights_once_and_its_variants_apart() {
    let unet = "/home/u/models/sd/unet/diffusion_pytorch_model";
    let index = r#"{"weight_map":{"a":"diffusion_pytorch_model.fp16-00001-of-00001.safetensors"}}"#;
    let tree = Tree::default()
        .file("/home/u/models/sd/model_index.json", r#"{"_class_name":"P","unet":["d","U"],"vae":["d","V"]}"#)
        .file(format!("{unet}.safetensors"), "")
        .file(format!("{unet}.safetensors.index.fp16.json"), index)
        .file(format!("{unet}.fp16-00001-of-00001.safetensors"), "")
        .file("/home/u/models/sd/unet/model.onnx", "")
        .file("/home/u/models/sd/vae/diffusion_pytorch_model.fp16.safetensors", "");
    let found = tree.found(&Folder, ROOT);
    let [plain, half] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((plain.id.as_str(), half.id.as_str()), ("models/sd", "models/sd/fp16"));
    let vae = "w:diffusion_pytorch_model.fp16.safetensors";
    assert_eq!(files(plain), ["w:diffusion_pytorch_model.safetensors", vae, "c:model_index.json"]);
    assert_eq!(
        files(half),
        ["w:diffusion_pytorch_model.fp16-00001-of-00001.safetensors", vae, "c:model_index.json"]
    );
}

#[test]
fn a_download_with_records_says_commit_and_hash() {
    let (commit, sha) = ("3564da82", "ab".repeat(32));
    let record = format!("{commit}\n{sha}\n1760000000.0\n");
    let records = "/home/u/models/n/.cache/huggingface/download";
    let tree = Tree::default()
        .file("/home/u/models/n/sub/x-Q8_0.gguf", "")
        .file(format!("{records}/sub/x-Q8_0.gguf.metadata"), record)
        .file("/home/u/models/n/later.gguf", "");
    let found = tree.found(&Folder, ROOT);
    let [later, recorded] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(recorded.app, App::HuggingFaceLocalDir);
    assert_eq!((recorded.revision.as_deref(), recorded.files[0].sha256.as_ref()), (Some(commit), Some(&sha)));
    let source = recorded.source.as_ref().unwrap();
    assert_eq!((source.kind, source.repo.as_deref()), (Some(SourceKind::HuggingFace), None));
    assert_eq!(source.evidence, [".cache/huggingface/download/sub/x-Q8_0.gguf.metadata"]);
    assert_eq!((later.app, later.source.as_ref()), (App::Loose, None));
    assert!(later.depends.contains(&format!("{records}/later.gguf.metadata").into()));
}

#[test]
fn attributes_tell_the_source() {
    let url = "https://huggingface.co/o/n/resolve/main/x.gguf";
    let blob = "https://b2.civitai.com/file/x.safetensors";
    let tree = Tree::default()
        .file("/home/u/models/x.gguf", "")
        .origin("/home/u/models/x.gguf", url, Some("https://huggingface.co/o/n"))
        .file("/home/u/models/y.safetensors", "")
        .origin("/home/u/models/y.safetensors", blob, Some("https://civitai.com/models/4201"));
    let found = tree.found(&Folder, ROOT);
    let source = |at: usize| found[at].source.clone().unwrap();
    assert_eq!((source(0).kind, source(0).repo.as_deref()), (Some(SourceKind::HuggingFace), Some("o/n")));
    assert_eq!((source(0).url.as_deref(), found[0].revision.as_deref()), (Some(url), Some("main")));
    assert_eq!(source(0).evidence, ["xattr user.xdg.origin.url"]);
    assert_eq!((source(1).kind, source(1).repo.as_deref()), (Some(SourceKind::Civitai), Some("4201")));
    assert_eq!(source(1).url.as_deref(), Some(blob));
    assert_eq!(source(1).evidence, ["xattr user.xdg.origin.url", "xattr user.xdg.referrer.url"]);
}

#[test]
fn a_control_file_says_that_it_is_not_whole() {
    let tree = Tree::default().file("/home/u/models/x.gguf", "").file("/home/u/models/x.gguf.aria2", "");
    let found = tree.found(&Folder, ROOT);
    assert_eq!(found[0].partial.as_deref(), Some(".aria2 control file beside it"));
    assert_eq!(found[0].depends, [PathBuf::from("/home/u/models/x.gguf.aria2")]);
}

#[test]
fn ten_thousand_files_are_no_trouble() {
    let tree = (0..10_000)
        .fold(Tree::default(), |tree, no| tree.file(format!("/home/u/models/m{no}-Q8_0.gguf"), ""));
    let tree = tree.file("/home/u/models/mmproj-m77.gguf", "");
    let found = tree.found(&Folder, ROOT);
    assert_eq!(found.len(), 10_000);
    assert_eq!(found.iter().filter(|found| found.files.len() == 2).count(), 1);
}

#[test]
fn records_of_downloaders_lie_beside_a_file_as_well() {
    let info = r#"{"id": 501, "modelId": 42, "model": {"type": "LORA"}}"#;
    let tree = Tree::default()
        .file("/home/u/models/a.safetensors", "")
        .file("/home/u/models/a.civitai.info", info)
        .file("/home/u/models/a.txt", "")
        .file("/home/u/models/b.safetensors", "")
        .file("/home/u/models/b.civitai.info", info)
        .origin("/home/u/models/b.safetensors", "https://example.org/b", None)
        .file("/home/u/models/c.gguf", "")
        .file("/home/u/models/c.json", "{}");
    let found = tree.found(&Folder, ROOT);
    let source = |at: usize| found[at].source.clone().unwrap();
    assert_eq!(source(0).url.as_deref(), Some("https://civitai.com/models/42?modelVersionId=501"));
    assert_eq!(
        (found[0].revision.as_deref(), found[0].hints.placed_as),
        (Some("501"), Some(crate::Kind::Lora))
    );
    assert_eq!(files(&found[0]), ["w:a.safetensors", "s:a.civitai.info", "s:a.txt"]);
    let claim = found[1].claims.first().and_then(|claim| claim.repo.as_deref());
    assert_eq!((source(1).kind, claim), (Some(SourceKind::Url), Some("42")));
    assert_eq!((found[2].source.as_ref(), found[2].files.len()), (None, 1));
}
