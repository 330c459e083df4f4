//! JSON has the shape that CLI.md fixes.

use serde_json::Value;
use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
};
use tests::{
    files::{gguf, safetensors, write},
    house,
    stores::{Hub, hugging_face, ollama},
};

const MODEL: &str =
    "id name format kind architecture quant bits_per_weight parameters active_parameters context_length
    size disk_size state reason warnings safety sha256 verification license base_models capabilities locations
    duplicate_group tags note pinned last_used";
const LOCATION: &str =
    "app id name source revision refs license owner online is_partial partial_reason files";
const SOURCE: &str = "kind repo url confidence evidence";
const FILE: &str = "path role size sha256 link"; // path_bytes only where the path is not UTF-8
const ROOT: &str =
    "path app derived_from online offline_since watched degraded reason models bytes rescans last_scan";
const INSPECTED: &str = "path format state reason warnings safety facts";

const APPS: &str =
    "huggingface huggingface-local-dir ollama lmstudio llama.cpp ramalama docker-model-runner jan gpt4all
    textgen localai anythingllm msty modelscope whisper.cpp tgi git comfyui comfyui-desktop a1111 forge sdnext
    stabilitymatrix invokeai loose";
const FORMATS: &str =
    "gguf safetensors pickle onnx ggml openvino coreml tflite tensorrt diffusers mlx lfs-pointer remote";
const KINDS: &str =
    "llm embedding reranker vision-projector lora checkpoint diffusion-model image-pipeline vae text-encoder
    controlnet upscaler textual-inversion hypernetwork asr tts imatrix other";
const STATES: &str = "ok ok_with_warning incomplete downloading corrupt unsupported offline";
const ROLES: &str = "weights companion adapter blob bundle lfs-object config card sidecar metadata";
const SOURCES: &str = "huggingface ollama ollama-cloud civitai oci git modelscope url";

#[track_caller]
fn has_fields(value: &Value, fields: &str) {
    for field in fields.split_whitespace() {
        assert!(value.get(field).is_some(), "no field {field} in {value:#}");
    }
}

#[track_caller]
fn is_of(value: &Value, list: &str, or_null: bool) {
    let is_listed = value.as_str().is_some_and(|text| list.split_whitespace().any(|word| word == text));
    assert!(is_listed || (or_null && value.is_null()), "{value} is not one of: {list}");
}

#[track_caller]
fn check_model(model: &Value) {
    has_fields(model, MODEL);
    is_of(&model["format"], FORMATS, true);
    is_of(&model["kind"], KINDS, true);
    is_of(&model["state"], STATES, false);
    is_of(&model["safety"], "tensors_only dangerous unverifiable", true);
    is_of(&model["verification"], "unverified verified mismatch", false);
    assert!(model["size"].is_u64() && model["disk_size"].is_u64() && model["pinned"].is_boolean());
    for list in ["warnings", "base_models", "capabilities", "tags", "locations"] {
        assert!(model[list].is_array(), "{list}: {model}");
    }
    for place in model["locations"].as_array().unwrap() {
        has_fields(place, LOCATION);
        is_of(&place["app"], APPS, false);
        if !place["source"].is_null() {
            has_fields(&place["source"], SOURCE);
            is_of(&place["source"]["kind"], SOURCES, true);
            is_of(&place["source"]["confidence"], "recorded claimed inferred", false);
        }
        for file in place["files"].as_array().unwrap() {
            has_fields(file, FILE);
            is_of(&file["role"], ROLES, false);
            is_of(&file["link"], "symlink hardlink dangling", true);
        }
    }
}

#[test]
fn every_field_is_there_and_every_closed_list_is_kept_to() {
    let mut house = house!();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let hub = house.home(".cache/huggingface/hub");
    hugging_face(
        &hub,
        Hub::Links,
        "acme/st",
        commit,
        &[
            ("model.safetensors", &safetensors(1)),
            ("config.json", b"{}"),
            ("README.md", b"---\nlicense: mit\n---\n"),
        ],
    );
    hugging_face(&hub, Hub::Links, "acme/gone", commit, &[("gone.gguf", &gguf("gone"))]);
    std::fs::remove_dir_all(hub.join("models--acme--gone/blobs")).unwrap();
    ollama(&house.home(".ollama/models"), "llama3", "8b", &gguf("l"));
    write(house.models("whole.gguf"), gguf("whole"));
    write(house.models("half.gguf"), &gguf("half")[..2000]);
    write(
        house.models("damaged.gguf"),
        b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\0\0\0and so on, and so on, and so on",
    );
    write(house.models("page.gguf"), "<!DOCTYPE html><html><body>404</body></html>");
    write(house.models(OsStr::from_bytes(b"non\xffutf8.gguf")), gguf("odd"));
    house.start();
    let models = house.list(&[]);
    assert!(models.len() >= 7, "{models:?}");
    for model in &models {
        check_model(model);
        let shown = house.show(model["id"].as_str().unwrap());
        check_model(&shown);
        assert!(shown.get("facts").is_some());
        for (field, value) in model.as_object().unwrap() {
            assert_eq!(&shown[field], value, "{field}");
        }
    }
    let states: std::collections::BTreeSet<_> =
        models.iter().map(|model| model["state"].as_str().unwrap()).collect();
    assert!(["ok", "incomplete", "corrupt"].iter().all(|state| states.contains(state)), "{states:?}");
    assert!(!models.iter().any(|model| model.to_string().contains("page.gguf")));
    let roots = house.json(&["roots"]);
    for root in roots["roots"].as_array().unwrap() {
        has_fields(root, ROOT);
        is_of(&root["app"], APPS, false);
    }
    assert!(house.json(&["sync"])["models"].is_u64());
    assert!(house.json(&["tag", "whole", "x"])["tags"].is_array());
}

#[test]
fn inspect_says_what_anything_is() {
    let house = house!().started();
    let here = |name: &str| house.at("stuff").join(name);
    write(here("m.gguf"), gguf("m"));
    write(here("model"), gguf("no extension"));
    write(here("m.safetensors"), safetensors(1));
    write(here("half.gguf"), &gguf("half")[..2000]);
    write(here("empty.gguf"), b"");
    write(here("page.gguf"), "<!DOCTYPE html>\n<html><body>not found</body></html>");
    write(here("lfs.safetensors"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n");
    write(
        here("text.txt"),
        "hello, world, this is a text of a hundred and more bytes that nobody would take for a model of any kind",
    );
    write(here("x.pt"), b"\x80\x02}q\x00.");
    std::fs::create_dir(here("dir.gguf")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(here("fifo.gguf")).status().unwrap().success());
    symlink(here("m.gguf"), here("link.gguf")).unwrap();
    for (name, format, state) in [
        ("m.gguf", Some("gguf"), "ok"),
        ("model", Some("gguf"), "ok"),
        ("link.gguf", Some("gguf"), "ok"),
        ("m.safetensors", Some("safetensors"), "ok"),
        ("half.gguf", Some("gguf"), "incomplete"),
        ("empty.gguf", Some("gguf"), "incomplete"),
        ("page.gguf", None, "not_a_model"),
        ("lfs.safetensors", Some("lfs-pointer"), "incomplete"),
        ("text.txt", None, "not_a_model"),
        ("x.pt", Some("pickle"), "ok"),
        ("dir.gguf", None, "not_a_model"),
        ("fifo.gguf", None, "not_a_model"),
    ] {
        let path = here(name).display().to_string();
        let said = house.json(&["inspect", &path]);
        has_fields(&said, INSPECTED);
        let is = (said["format"].as_str(), said["state"].as_str().unwrap(), said["path"].as_str());
        assert_eq!(is, (format, state, Some(path.as_str())), "{said}");
        assert_eq!(said["reason"].is_null(), state == "ok", "{said}");
        assert_eq!(house.ctl(&["inspect", &path]).code, 0, "{name}");
    }
    for missing in [here("nowhere.gguf"), here("m.gguf/below")] {
        let said = house.ctl(&["inspect", missing.to_str().unwrap(), "--json"]);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        assert!(said.err.contains("cannot be read"), "{said:?}");
    }
}

#[test]
fn people_get_a_table_and_pipes_that_close_early_are_no_error() {
    let mut house = house!();
    for n in 0..300 {
        write(house.models(format!("m{n}.gguf")), gguf(&format!("m{n:03}")));
    }
    house.start();
    let table = house.does(&["list", "--sort", "name"]);
    assert!(table.lines().next().unwrap().contains("NAME") && table.lines().count() == 301, "{table}");
    assert!(!table.contains('\x1b'), "no colours in a pipe");
    assert_eq!(house.list(&[]).len(), 300, "a list that comes in parts is one document");
    let home = house.does(&[]);
    assert!(home.contains("300"), "{home}");
    let mut head = house.ctl_command(&["list", "--json"]).spawn().unwrap();
    drop(head.stdout.take());
    let status = tests::poll(10, || head.try_wait().unwrap()).expect("it ends");
    assert!(
        status.code() == Some(0) || std::os::unix::process::ExitStatusExt::signal(&status) == Some(13),
        "{status}"
    );
}
