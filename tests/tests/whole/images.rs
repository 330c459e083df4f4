//! Image generation apps: sidecars that change, folders that are links, a database of another program's.

use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink, path::Path};
use tests::{
    House,
    files::{safetensors, write},
    house, wait_until,
};

/// App and handle of every location.
fn places(house: &House) -> Vec<(Value, Value)> {
    let models = house.list(&[]);
    let places = models.iter().flat_map(|model| model["locations"].as_array().unwrap());
    places.map(|place| (place["app"].clone(), place["id"].clone())).collect()
}

fn place(house: &House) -> Value {
    house.list(&[])[0]["locations"][0].take()
}

fn database(path: &Path, rows: &[(&str, Value)]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("CREATE TABLE IF NOT EXISTS models (id TEXT PRIMARY KEY, config TEXT)").unwrap();
    for (id, config) in rows {
        db.execute("INSERT INTO models VALUES (?1, ?2)", [*id, &config.to_string()]).unwrap();
    }
}

#[test]
fn a_sidecar_that_comes_changes_and_goes_is_followed() {
    let mut house = house!();
    let loras = house.home("ComfyUI/models/loras");
    write(loras.join("x.safetensors"), safetensors(1));
    house.start();
    assert_eq!(place(&house)["source"], Value::Null);
    let info = loras.join("x.civitai.info");
    for version in [501, 502] {
        write(&info, json!({ "id": version, "modelId": 42 }).to_string());
        house.sync();
        let url = format!("https://civitai.com/models/42?modelVersionId={version}");
        let place = place(&house);
        assert_eq!((&place["source"]["url"], &place["revision"]), (&json!(url), &json!(version.to_string())));
        assert_eq!(place["files"][1]["role"], "sidecar");
    }
    fs::remove_file(&info).unwrap();
    house.sync();
    assert_eq!(place(&house)["source"], Value::Null);
    assert_eq!(places(&house), [(json!("comfyui"), json!("loras/x.safetensors"))]);
}

#[test]
fn what_a_part_of_a_pipeline_is_for_is_not_said_of_all_of_it() {
    let mut house = house!();
    let (tree, header) = (
        house.models("pipe"),
        r#"{"controlnet_blocks.0.weight":{"dtype":"F16","shape":[8,8],"data_offsets":[0,128]}}"#,
    );
    let part = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[7; 128]].concat();
    write(house.models("alone.safetensors"), &part);
    write(tree.join("unet/diffusion_pytorch_model.safetensors"), &part);
    let index = r#"{"_class_name":"TinyPipeline","unet":["diffusers","UNet2DConditionModel"]}"#;
    write(tree.join("model_index.json"), index);
    house.start();
    house.sync();
    assert_eq!(house.show("alone")["facts"]["kind"], "controlnet");
    let shown = house.show("pipe");
    assert_eq!(
        (&shown["kind"], &shown["facts"]["kind"]),
        (&json!("image-pipeline"), &Value::Null),
        "{shown}"
    );
    assert!(!house.does(&["show", "pipe"]).contains("controlnet"));
}

#[test]
fn a_category_that_is_a_link_stands_where_the_link_does() {
    let mut house = house!();
    write(house.home("ComfyUI/models/vae/y.safetensors"), safetensors(1));
    write(house.at("disk/styles/pack/x.safetensors"), safetensors(2));
    symlink(house.at("disk/styles"), house.home("ComfyUI/models/loras")).unwrap();
    symlink("..", house.home("ComfyUI/models/vae/loop")).unwrap();
    house.start();
    let expected = [
        (json!("comfyui"), json!("loras/pack/x.safetensors")),
        (json!("comfyui"), json!("vae/y.safetensors")),
    ];
    wait_until("the linked folder is listed", 20, || {
        let mut places = places(&house);
        places.sort_by_key(|(_, id)| id.to_string());
        places == expected
    });
    house.restart();
    house.sync();
    wait_until("the linked folder is listed again", 20, || places(&house).len() == 2);
}

#[test]
fn a_damaged_database_of_an_app_is_named_and_its_models_stay() {
    let mut house = house!();
    let (db, root) = (house.home("invokeai/databases/invokeai.db"), house.home("invokeai"));
    write(root.join("models/k1/x.safetensors"), safetensors(1));
    database(&db, &[("k1", json!({ "name": "Nice name", "path": "k1/x.safetensors", "type": "lora" }))]);
    let before = fs::read_dir(db.parent().unwrap()).unwrap().count();
    house.start();
    assert_eq!(places(&house), [(json!("invokeai"), json!("Nice name"))]);
    assert_eq!(fs::read_dir(db.parent().unwrap()).unwrap().count(), before);
    let sound = fs::read(&db).unwrap();
    write(&db, &sound[..5000]);
    house.sync();
    assert_eq!(places(&house), [(json!("invokeai"), json!("k1/x.safetensors"))]);
    let of = |roots: &Value| {
        let mut roots = roots["roots"].as_array().unwrap().iter();
        roots.find(|shown| shown["path"] == root.to_str().unwrap()).cloned().unwrap()
    };
    let shown = of(&house.json(&["roots"]));
    assert_eq!(shown["degraded"], true);
    assert!(shown["reason"].as_str().unwrap().contains("invokeai.db is damaged"), "{shown}");
    write(&db, &sound);
    house.sync();
    assert_eq!(places(&house), [(json!("invokeai"), json!("Nice name"))]);
    assert_eq!(of(&house.json(&["roots"]))["degraded"], false);
}
