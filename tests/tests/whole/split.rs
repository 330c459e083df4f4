//! Models in parts.

use serde_json::Value;
use std::fs;
use tests::{
    House,
    files::{Gguf, write},
    house,
};

fn part(house: &House, no: u16) {
    let name = format!("big/big-{:05}-of-00005.gguf", no + 1);
    write(house.models(name), Gguf::named("big").part(no, 5).bytes());
}

fn only(house: &House) -> Value {
    house.sync();
    let mut models = house.list(&[]);
    assert_eq!(models.len(), 1, "{models:?}");
    models.remove(0)
}

#[test]
fn three_parts_of_five_are_incomplete_and_the_missing_are_named_until_they_arrive() {
    let mut house = house!();
    for no in [0, 1, 3] {
        part(&house, no);
    }
    house.start();
    let before = only(&house);
    assert_eq!(before["state"], "incomplete");
    let reason = before["reason"].as_str().unwrap();
    for missing in ["3", "5"] {
        assert!(reason.contains(missing), "{reason}");
    }
    assert_eq!(before["locations"][0]["is_partial"], true);
    house.does(&["tag", "big", "mine"]);
    part(&house, 2);
    let between = only(&house);
    assert_eq!((&between["state"], &between["id"]), (&"incomplete".into(), &before["id"]));
    part(&house, 4);
    let whole = only(&house);
    assert_eq!((&whole["state"], &whole["reason"]), (&"ok".into(), &Value::Null), "{whole}");
    assert_eq!((&whole["id"], &whole["tags"][0]), (&before["id"], &"mine".into()));
    let weights =
        whole["locations"][0]["files"].as_array().unwrap().iter().filter(|file| file["role"] == "weights");
    assert_eq!(weights.count(), 5);
}

#[test]
fn a_part_that_is_lost_and_comes_back_changes_the_state_and_not_the_model() {
    let mut house = house!();
    (0..5).for_each(|no| part(&house, no));
    house.start();
    let whole = only(&house);
    house.does(&["tag", "big", "mine"]);
    fs::remove_file(house.models("big/big-00002-of-00005.gguf")).unwrap();
    let broken = only(&house);
    assert_eq!((&broken["state"], &broken["id"]), (&"incomplete".into(), &whole["id"]), "{broken}");
    part(&house, 1);
    let again = only(&house);
    assert_eq!(
        (&again["state"], &again["id"], &again["tags"][0]),
        (&"ok".into(), &whole["id"], &"mine".into())
    );
}

#[test]
fn parts_of_safetensors_are_one_model_by_their_index() {
    let mut house = house!();
    let dir = |name: &str| house.models(format!("st/{name}"));
    let index = r#"{"metadata":{"total_size":256},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
    write(dir("model.safetensors.index.json"), index);
    write(dir("config.json"), r#"{"model_type":"llama","architectures":["LlamaForCausalLM"]}"#);
    write(dir("model-00001-of-00002.safetensors"), tests::files::safetensors(1));
    house.start();
    assert_eq!(only(&house)["state"], "incomplete");
    write(house.models("st/model-00002-of-00002.safetensors"), tests::files::safetensors(2));
    let whole = only(&house);
    assert_eq!((&whole["state"], &whole["format"]), (&"ok".into(), &"safetensors".into()), "{whole}");
}
