//! A home with every app in it lists right.

use serde_json::{Value, json};
use std::fs;
use tests::{
    House,
    files::{Gguf, gguf, safetensors, write},
    house,
    stores::{Hub, hugging_face, local_dir, ollama, sha256},
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn furnish(house: &House) {
    let hub = house.home(".cache/huggingface/hub");
    let (linked, shared, copied) = (gguf("linked"), gguf("shared"), gguf("copied"));
    hugging_face(
        &hub,
        Hub::Links,
        "acme/linked-GGUF",
        COMMIT,
        &[("linked-F16.gguf", &linked), ("sub/deep-F16.gguf", &gguf("deep"))],
    );
    hugging_face(&hub, Hub::Shared, "acme/shared-GGUF", COMMIT, &[("shared-F16.gguf", &shared)]);
    hugging_face(&hub, Hub::Copies, "acme/copied-GGUF", COMMIT, &[("copied-F16.gguf", &copied)]);
    local_dir(&house.models("localdir"), "local-F16.gguf", COMMIT, &gguf("local"));
    ollama(&house.home(".ollama/models"), "llama3", "8b", &gguf("ollama-user"));
    ollama(&house.at("sys/usr/share/ollama/.ollama/models"), "qwen3", "latest", &gguf("ollama-system"));
    write(house.home(".lmstudio/models/acme/studio-GGUF/studio-F16.gguf"), gguf("studio"));
    let flat = house.home(".cache/llama.cpp/acme_flat-GGUF_flat-F16.gguf");
    write(&flat, gguf("flat"));
    let sidecar = json!({ "url": "https://huggingface.co/acme/flat-GGUF/resolve/main/flat-F16.gguf", "etag": format!("\"{}\"", sha256(&gguf("flat"))) });
    write(flat.with_extension("gguf.json"), sidecar.to_string());
    write(house.home("Downloads/loose-F16.gguf"), gguf("loose"));
}

/// App, handle, kind, repository, confidence, revision, state, and the hash that the app wrote down, of each place.
fn row(model: &Value, place: &Value) -> Value {
    let source = &place["source"];
    let hash = place["files"][0]["sha256"].is_string();
    json!([
        place["app"],
        place["id"],
        source["kind"],
        source["repo"],
        source["confidence"],
        place["revision"],
        model["state"],
        hash
    ])
}

/// An ONNX model whose weights, four bytes, are in the file of this name.
fn onnx(location: &str) -> Vec<u8> {
    let field =
        |number: u8, bytes: &[u8]| [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let entry = field(13, &[field(1, b"location"), field(2, location.as_bytes())].concat());
    let tensor = [&[8, 1, 16, 1][..], &field(8, b"w"), &entry, &[14 << 3, 1]].concat();
    [&[8, 8][..], &field(2, b"pytorch"), &field(7, &field(5, &tensor)), &field(8, &[16, 17])].concat()
}

#[test]
fn a_graph_and_the_file_that_holds_its_weights_are_one_model() {
    let house = house!().started();
    write(house.models("m.onnx"), onnx("m.data"));
    house.sync();
    let model = house.show("m");
    assert_eq!((&model["format"], &model["state"]), (&json!("onnx"), &json!("incomplete")));
    let reason = "missing-sibling: m.data is not there, and holds 4 bytes";
    assert_eq!(model["reason"], reason);

    write(house.models("m.data"), [0x80, 2, 0x2e, 0]); // a pickle, if it were one
    house.sync();
    let model = house.show("m");
    assert_eq!(
        (&model["state"], &model["size"], &model["safety"]),
        (&json!("ok"), &json!(onnx("m.data").len() + 4), &Value::Null)
    );
    let roles: Vec<&Value> =
        model["locations"][0]["files"].as_array().unwrap().iter().map(|file| &file["role"]).collect();
    assert_eq!(roles, [&json!("weights"), &json!("weights")]);

    fs::remove_file(house.models("m.data")).unwrap();
    house.sync();
    assert_eq!(house.show("m")["state"], "incomplete");
    let inspected = house.json(&["inspect", house.models("m.onnx").to_str().unwrap()]);
    assert_eq!((&inspected["state"], &inspected["reason"]), (&json!("incomplete"), &json!(reason)));
    assert!(house.does(&["inspect", house.models("m.onnx").to_str().unwrap()]).contains("ai.onnx 17"));
}

#[test]
fn a_graph_that_says_nothing_of_its_purpose_is_what_its_folder_is_for() {
    let house = house!();
    for dir in ["upscale_models", "my_nodes"] {
        write(house.home(format!("ComfyUI/models/{dir}/{dir}.onnx")), onnx(&format!("{dir}.data")));
        write(house.home(format!("ComfyUI/models/{dir}/{dir}.data")), [1, 2, 3, 4]);
    }
    let house = house.started();
    assert_eq!(house.show("upscale_models")["kind"], "upscaler");
    assert_eq!(house.show("my_nodes")["kind"], "other");
}

#[test]
fn every_store_of_a_home_lists_right() {
    let mut house = house!();
    furnish(&house);
    house.start();
    let models = house.list(&[]);
    let mut rows: Vec<Value> = models
        .iter()
        .flat_map(|model| model["locations"].as_array().unwrap().iter().map(|place| row(model, place)))
        .collect();
    rows.sort_by_key(Value::to_string);
    let hf = |id: &str, repo: &str, hash: bool| {
        json!(["huggingface", id, "huggingface", repo, "recorded", COMMIT, "ok", hash])
    };
    let mut expected = vec![
        hf("acme/linked-GGUF@01234567:linked-F16.gguf", "acme/linked-GGUF", true),
        hf("acme/linked-GGUF@01234567:sub/deep-F16.gguf", "acme/linked-GGUF", true),
        hf("acme/shared-GGUF@01234567:shared-F16.gguf", "acme/shared-GGUF", true),
        hf("acme/copied-GGUF@01234567:copied-F16.gguf", "acme/copied-GGUF", false),
        json!([
            "huggingface-local-dir",
            "models/localdir/local-F16.gguf",
            "huggingface",
            null,
            "recorded",
            COMMIT,
            "ok",
            true
        ]),
        json!(["ollama", "llama3:8b", "ollama", "library/llama3", "recorded", null, "ok", true]),
        json!(["ollama", "qwen3:latest", "ollama", "library/qwen3", "recorded", null, "ok", true]),
        json!([
            "lmstudio",
            "acme/studio-GGUF/studio-F16.gguf",
            "huggingface",
            "acme/studio-GGUF",
            "inferred",
            null,
            "ok",
            false
        ]),
        json!([
            "llama.cpp",
            "acme/flat-GGUF:F16",
            "huggingface",
            "acme/flat-GGUF",
            "recorded",
            null,
            "ok",
            true
        ]),
        json!(["loose", "Downloads/loose-F16.gguf", null, null, null, null, "ok", false]),
    ];
    expected.sort_by_key(Value::to_string);
    assert_eq!(rows.len(), expected.len(), "{rows:#?}");
    let differ: Vec<_> = rows.iter().zip(&expected).filter(|(row, expected)| row != expected).collect();
    assert!(differ.is_empty(), "got and expected: {differ:#?}");
}

#[test]
fn a_model_in_four_stores_is_one_model_with_four_places() {
    let mut house = house!();
    let bytes = Gguf::named("everywhere").bytes();
    hugging_face(&house.home(".cache/huggingface/hub"), Hub::Links, "acme/e", COMMIT, &[("e.gguf", &bytes)]);
    ollama(&house.home(".ollama/models"), "e", "latest", &bytes);
    write(house.home(".lmstudio/models/acme/e/e.gguf"), &bytes);
    write(house.models("e.gguf"), &bytes);
    house.start();
    let models = house.list(&[]);
    assert_eq!(models.len(), 1, "{models:?}");
    let mut apps: Vec<_> = models[0]["locations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|place| place["app"].as_str().unwrap())
        .collect();
    apps.sort_unstable();
    assert_eq!(apps, ["huggingface", "lmstudio", "loose", "ollama"]);
    assert!(models[0]["duplicate_group"].is_string());
    assert_eq!(models[0]["sha256"], sha256(&bytes), "as the apps wrote it down");
    for filter in ["app=ollama", "app=huggingface", "app=lmstudio,jan", "repo=acme/e"] {
        assert_eq!(house.list(&[filter]).len(), 1, "{filter}");
    }
    let home = house.json(&[]);
    assert_eq!((&home["models"], &home["locations"], &home["duplicates"]), (&json!(1), &json!(4), &json!(1)));
    // The hub's snapshot and its blob are one file; four copies lie on the disk, three too many.
    let one = house.show("e")["disk_size"].as_u64().unwrap() / 4;
    assert!(home["reclaimable"].as_u64().unwrap().abs_diff(3 * one) < 4096 * 4, "{home}");
}

#[test]
fn a_store_that_appears_later_is_found() {
    let house = house!().started();
    assert!(house.list(&[]).is_empty());
    furnish(&house);
    house.sync();
    let found = tests::poll(10, || (house.list(&[]).len() == 10).then_some(()));
    assert!(found.is_some(), "{:?}", house.names(&[]));
}

#[test]
fn a_pull_and_a_removal_are_seen() {
    let house = house!().started();
    ollama(&house.home(".ollama/models"), "llama3", "8b", &gguf("eight"));
    tests::wait_until("the pulled model is listed", 10, || house.list(&["app=ollama"]).len() == 1);
    ollama(&house.home(".ollama/models"), "llama3", "70b", &gguf("seventy"));
    house.sync();
    assert_eq!(house.list(&["app=ollama"]).len(), 2);
    std::fs::remove_file(house.home(".ollama/models/manifests/registry.ollama.ai/library/llama3/8b"))
        .unwrap();
    house.sync();
    assert_eq!(house.show("llama3:70b")["locations"][0]["id"], "llama3:70b");
    assert_eq!(house.list(&["app=ollama"]).len(), 1);
}

#[test]
fn an_app_two_folders_deep_is_known_by_what_is_in_its_folder_of_models() {
    let house = house!();
    let checkpoints = house.home("ai/webui/models/Stable-diffusion");
    write(checkpoints.join("x.safetensors"), safetensors(1));
    write(house.home("ai/code/models/x.py"), "");
    let house = house.started();
    house.sync();
    let model = &house.list(&[])[0];
    assert_eq!(model["locations"][0]["app"], "a1111");
    assert_eq!(model["locations"][0]["id"], "Stable-diffusion/x");
}

#[test]
fn places_that_shells_and_services_set_are_roots_and_a_scan_finds_a_new_app() {
    let mut house = house!();
    write(house.home(".zshrc"), format!("export LLAMA_CACHE={} TOKEN=x\n", house.at("fast").display()));
    write(house.at("fast/a_b-GGUF_set-Q8_0.gguf"), gguf("set"));
    write(house.at("fast/a_b-GGUF_set-Q8_0.gguf.etag"), "x");
    write(
        house.at("sys/etc/systemd/system/ollama.service.d/x.conf"),
        "[Service]\nEnvironment=\"OLLAMA_MODELS=/o\"\n",
    );
    fs::create_dir_all(house.at("sys/o/manifests")).unwrap();
    write(
        house.home(".config/systemd/user/ollama.service.d/override.conf"),
        "[Service]\nEnvironment=OLLAMA_MODELS=%h/own\n",
    );
    fs::create_dir_all(house.home("own/manifests")).unwrap();
    house.start();
    house.sync();
    assert_eq!(house.list(&[]).len(), 1);
    let roots = house.json(&["roots"]).to_string();
    assert!(roots.contains("sys/o\"") && roots.contains("home/own\""), "{roots}");
    write(house.home("apps/tgw/download-model.py"), "");
    write(house.home("apps/tgw/user_data/models/late.gguf"), gguf("late"));
    house.does(&["scan"]);
    assert_eq!(house.list(&[]).len(), 2);
}
