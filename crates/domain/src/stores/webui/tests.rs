use super::*;
use crate::{
    Kind, SourceKind,
    stores::{
        Entry, EntryKind, Store,
        a1111::A1111,
        drive::{Tree, environment, files},
        forge::Forge,
        sdnext::SdNext,
    },
};

const ROOT: &str = "/home/u/stable-diffusion-webui";

fn with(environment: &mut Environment, dir: &str, names: &[&str]) {
    let entry = |name: &&str| Entry { name: (*name).into(), kind: EntryKind::Dir };
    environment.places.insert(dir.into(), names.iter().map(entry).collect());
}

fn roots(store: &dyn Store, environment: &Environment) -> Vec<(String, String)> {
    let roots = store.roots(environment).into_iter();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    roots.map(|root| (text(&root), text(&store.place(environment, &root)))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(root, place)| ((*root).to_owned(), (*place).to_owned())).collect()
}

#[test]
fn checkouts_are_told_apart_by_what_lies_in_them() {
    let mut environment = environment(&[], &[]);
    with(&mut environment, "/home/u/ai/a", &["webui.sh", "launch.py", "modules", "models"]);
    with(&mut environment, "/home/u/ai/b", &["webui.sh", "modules", "modules_forge"]);
    with(&mut environment, "/home/u/ai/c", &["webui.sh", "installer.py", "modules"]);
    with(&mut environment, "/home/u/ai/d", &["models"]);
    with(&mut environment, "/home/u/ai/d/models", &["Stable-diffusion", "Lora"]);
    with(&mut environment, "/home/u/ai/e", &["launch.py"]);
    with(&mut environment, "/home/u/automatic", &["songs"]);
    assert_eq!(roots(&A1111, &environment), pairs(&[(ROOT, ""), ("/home/u/ai/a", ""), ("/home/u/ai/d", "")]));
    assert_eq!(
        roots(&Forge, &environment),
        pairs(&[("/home/u/stable-diffusion-webui-forge", ""), ("/home/u/ai/b", "")])
    );
    let next = [("/home/u/sdnext", ""), ("/home/u/automatic", ""), ("/home/u/ai/c", "")];
    assert_eq!(roots(&SdNext, &environment), pairs(&next));
}

#[test]
fn directories_are_named_on_the_command_line() {
    let script = "#!/bin/bash\n#export COMMANDLINE_ARGS=\"--ckpt-dir /no\"\nexport COMMANDLINE_ARGS=\"--medvram \
        --ckpt-dir '/data/my models' --lora-dir=~/loras --vae-dir models/VAE2 --embeddings-dir $NOWHERE/x --data-dir /data/sd\"\n";
    let environment = environment(&[], &[(&format!("{ROOT}/webui-user.sh"), script)]);
    let expected = [
        (ROOT, ""),
        ("/data/my models", "models/Stable-diffusion"),
        ("/home/u/loras", "models/Lora"),
        ("/data/sd", ""),
    ];
    assert_eq!(roots(&A1111, &environment), pairs(&expected));
}

#[test]
fn arguments_may_go_on_in_other_lines_and_be_added_to() {
    let script = "COMMANDLINE_ARGS=--old\nexport COMMANDLINE_ARGS=\"--a \\\n --b\"\n\
        COMMANDLINE_ARGS=\"$COMMANDLINE_ARGS --c\"\nCOMMANDLINE_ARGS+=' --d'\nCOMMANDLINE_ARGS=\"--e ${COMMANDLINE_ARGS}\"";
    assert_eq!(arguments(script), ["--a", "--b", "--c", "--d", "--e"]);
    assert_eq!(arguments("COMMANDLINE_ARGS=--a\nCOMMANDLINE_ARGS=--b"), ["--b"]);
}

#[test]
fn sd_next_names_them_in_its_settings() {
    let settings = r#"{"ckpt_dir": "/data/sd", "vae_dir": "models/VAE", "lora_dir": "", "te_dir": 7}"#;
    let environment = environment(&[], &[("/home/u/sdnext/config.json", settings)]);
    assert!(SdNext.pointers(&environment).contains(&"/home/u/sdnext/config.json".into()));
    let expected =
        [("/home/u/sdnext", ""), ("/home/u/automatic", ""), ("/data/sd", "models/Stable-diffusion")];
    assert_eq!(roots(&SdNext, &environment), pairs(&expected));
}

#[test]
fn folders_hint_at_kinds_and_sidecars_belong_to_models() {
    let models = format!("{ROOT}/models");
    let info = r#"{"id": 501, "modelId": 42, "baseModel": "SDXL 1.0", "trainedWords": ["w"]}"#;
    let tree = Tree::default()
        .file(format!("{models}/Stable-diffusion/a.safetensors"), "")
        .file(format!("{models}/Stable-diffusion/a.civitai.info"), info)
        .file(format!("{models}/Stable-diffusion/a.cm-info.json"), r#"{"ModelId": 9, "VersionId": 8}"#)
        .file(format!("{models}/Stable-diffusion/a.preview.png"), "")
        .file(format!("{models}/Stable-diffusion/a.yaml"), "")
        .file(format!("{models}/Stable-diffusion/lost.civitai.info"), info)
        .file(format!("{models}/Stable-diffusion/sub/a.vae.pt"), "")
        .file(format!("{models}/Stable-diffusion/b.ckpt"), "")
        .file(format!("{models}/Stable-diffusion/b.safetensors"), "")
        .file(format!("{models}/Lora/other.downloading"), "")
        .file(format!("{models}/ESRGAN/4x.pth"), "")
        .file(format!("{models}/VAE/Put VAE here.txt"), "")
        .file(format!("{ROOT}/embeddings/bad.pt"), "")
        .file(format!("{ROOT}/outputs/x.safetensors"), "")
        .file(format!("{ROOT}/venv/lib/y.bin"), "");
    let found = tree.found(&A1111, ROOT);
    let seen: Vec<_> = found.iter().map(|found| (found.id.as_str(), found.hints.placed_as)).collect();
    let expected = [
        ("ESRGAN/4x", Some(Kind::Upscaler)),
        ("Stable-diffusion/a", Some(Kind::Checkpoint)),
        ("Stable-diffusion/b.ckpt", Some(Kind::Checkpoint)),
        ("Stable-diffusion/b.safetensors", Some(Kind::Checkpoint)),
        ("Stable-diffusion/sub/a.vae", Some(Kind::Vae)),
        ("embeddings/bad", Some(Kind::TextualInversion)),
    ];
    assert_eq!(seen, expected);
    let a = &found[1];
    assert_eq!(
        files(a),
        ["w:a.safetensors", "s:a.civitai.info", "s:a.cm-info.json", "s:a.preview.png", "s:a.yaml"]
    );
    let source = a.source.as_ref().unwrap();
    assert_eq!((source.kind, source.repo.as_deref()), (Some(SourceKind::Civitai), Some("42")));
    assert_eq!(source.url.as_deref(), Some("https://civitai.com/models/42?modelVersionId=501"));
    assert_eq!(source.evidence, ["a.civitai.info", "for SDXL 1.0", "trigger words: w"]);
    let [claim] = a.claims.as_slice() else { panic!("{:?}", a.claims) };
    assert_eq!(claim.url.as_deref(), Some("https://civitai.com/models/9?modelVersionId=8"));
    assert_eq!(claim.evidence, ["a.cm-info.json"]);
    assert!(a.depends.contains(&format!("{models}/Stable-diffusion/a.civitai.info").into()));
}

#[test]
fn cached_hashes_count_while_the_file_is_as_it_was() {
    let (a, b, c) = ("aa".repeat(32), "bb".repeat(32), "cc".repeat(32));
    let cache = format!(
        r#"{{"hashes": {{"checkpoint/sub/x.safetensors": {{"mtime": 0.0, "sha256": "{a}"}},
            "checkpoint/y.safetensors": {{"mtime": -5.0, "sha256": "{b}"}},
            "checkpoint/z.safetensors": {{"mtime": 1.0, "sha256": "no hash"}}}},
        "hashes-addnet": {{"lora/s": {{"mtime": 9.0, "sha256": "{c}"}}}}}}"#
    );
    let tree = Tree::default()
        .file(format!("{ROOT}/cache.json"), cache)
        .file(format!("{ROOT}/models/Stable-diffusion/sub/x.safetensors"), "")
        .file(format!("{ROOT}/models/Stable-diffusion/y.safetensors"), "")
        .file(format!("{ROOT}/models/Stable-diffusion/z.safetensors"), "")
        .file(format!("{ROOT}/models/Lora/s.safetensors"), "");
    let found = tree.found(&A1111, ROOT);
    let hashes: Vec<_> =
        found.iter().map(|found| (found.id.as_str(), found.files[0].sha256.as_deref())).collect();
    let expected = [
        ("Lora/s", None),
        ("Stable-diffusion/sub/x", Some(a.as_str())),
        ("Stable-diffusion/y", None),
        ("Stable-diffusion/z", None),
    ];
    assert_eq!(hashes, expected);
}

#[test]
fn a_cache_of_hugging_face_among_the_models_is_read_as_such() {
    let repo = "/home/u/sdnext/models/Diffusers/models--o--n";
    let tree = Tree::default()
        .file(format!("{repo}/refs/main"), "3564da82")
        .file(format!("{repo}/blobs/{}", "ab".repeat(32)), "")
        .file(format!("{repo}/snapshots/3564da82/model_index.json"), r#"{"_class_name": "P"}"#)
        .link(
            &format!("{repo}/snapshots/3564da82/unet/diffusion_pytorch_model.safetensors"),
            &format!("../../../blobs/{}", "ab".repeat(32)),
        );
    let found = tree.found(&SdNext, "/home/u/sdnext");
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.app, one.id.as_str()), (App::SdNext, "o/n@3564da82"));
}
