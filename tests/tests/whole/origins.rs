//! Where models come from, what they were made from, and what goes with them: with witnesses, never by name alone.

use serde_json::{Value, json};
use std::fs;
use tests::{
    House,
    files::{Gguf, safetensors, write},
    house,
    stores::{Hub, hugging_face},
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn hub(house: &House, repo: &str, files: &[(&str, &[u8])]) {
    hugging_face(&house.home(".cache/huggingface/hub"), Hub::Links, repo, COMMIT, files);
}

#[track_caller]
fn place<'m>(model: &'m Value, app: &str) -> &'m Value {
    let mut places = model["locations"].as_array().unwrap().iter();
    places.find(|place| place["app"] == app).unwrap_or_else(|| panic!("no {app} in {model:#}"))
}

#[test]
fn two_sources_that_disagree_are_both_named() {
    let house = house!();
    let bytes = Gguf::named("one").text("general.repo_url", "https://huggingface.co/other/Thing").bytes();
    write(house.home(".lmstudio/models/acme/one-GGUF/one-F16.gguf"), &bytes);
    let house = house.started();
    house.sync();
    let model = house.show("one-F16");
    let expected = "sources disagree on where it came from: other/Thing (claimed: general.repo_url) and \
                    acme/one-GGUF (inferred: folders acme/one-GGUF)";
    assert_eq!(model["warnings"], json!([expected]));
    assert_eq!(model["state"], "ok", "the bytes are no worse for it");
    assert_eq!(place(&model, "lmstudio")["source"]["repo"], "acme/one-GGUF");
    let text = house.does(&["show", "one-F16"]);
    assert!(text.contains("other/Thing (claimed: general.repo_url)"), "{text}");
}

#[test]
fn a_loose_copy_of_a_hub_file_shows_where_that_is_from_and_how_it_knows() {
    let house = house!();
    let bytes = Gguf::named("copied").text("general.license", "apache-2.0").bytes();
    hub(&house, "acme/copied-GGUF", &[("copied-F16.gguf", &bytes)]);
    write(house.models("renamed.gguf"), &bytes);
    let house = house.started();
    house.sync();
    let model = house.show("renamed.gguf");
    let origin = &model["origin"];
    assert_eq!((&origin["repo"], &origin["confidence"]), (&json!("acme/copied-GGUF"), &json!("recorded")));
    let loose = place(&model, "loose");
    assert_eq!(loose["source"], Value::Null);
    let [claim] = loose["claims"].as_array().unwrap().as_slice() else { panic!("{loose:#}") };
    assert_eq!((&claim["repo"], &claim["confidence"]), (&json!("acme/copied-GGUF"), &json!("inferred")));
    let evidence = claim["evidence"][0].as_str().unwrap();
    assert!(evidence.ends_with("as acme/copied-GGUF@01234567:copied-F16.gguf in huggingface"), "{evidence}");
    assert_eq!(model["license_spdx"], "Apache-2.0");
    assert_eq!(house.list(&["license-class=permissive"]).len(), 1);
    assert_eq!(house.list(&["spdx=apache-2.0"]).len(), 1);
    assert_eq!(house.list(&["license-class=copyleft"]).len(), 0);
    // Without the hub's copy nothing is known of it any more.
    fs::remove_dir_all(house.home(".cache/huggingface/hub/models--acme--copied-GGUF")).unwrap();
    house.sync();
    let model = house.show("renamed.gguf");
    assert_eq!((&model["origin"], &place(&model, "loose")["claims"]), (&Value::Null, &json!([])));
}

fn card(base: &str, relation: &str) -> Vec<u8> {
    format!("---\nlicense: mit\nbase_model: {base}\nbase_model_relation: {relation}\n---\n").into_bytes()
}

/// Base → instruct → quant, and a LoRA of the instruct; one of them is only named where `has_instruct` is not.
fn furnish(house: &House, has_instruct: bool) {
    hub(house, "acme/Tiny", &[("model.safetensors", &safetensors(1))]);
    if has_instruct {
        let card = card("acme/Tiny", "finetune");
        hub(house, "acme/Tiny-Instruct", &[("model.safetensors", &safetensors(2)), ("README.md", &card)]);
    }
    let quant = Gguf::named("Tiny Instruct").bytes();
    let quantized = card("acme/Tiny-Instruct", "quantized");
    hub(house, "quants/Tiny-Instruct-GGUF", &[("Tiny-Instruct-F16.gguf", &quant), ("README.md", &quantized)]);
    let config = br#"{"peft_type": "LORA", "base_model_name_or_path": "acme/Tiny-Instruct", "r": 4}"#;
    let lora = [("adapter_model.safetensors", &safetensors(3)[..]), ("adapter_config.json", config)];
    hub(house, "me/tiny-lora", &lora);
}

#[test]
fn a_tree_leads_from_the_base_to_the_quants_and_adapters() {
    let mut house = house!();
    furnish(&house, true);
    house.set("LC_ALL", "C.UTF-8");
    let mut house = house.started();
    house.sync();
    let drawn: Vec<String> =
        house.does(&["tree", "Tiny-Instruct-F16"]).lines().map(|line| line.trim_end().to_owned()).collect();
    let said = "(claimed: README.md: base_model, base_model_relation)";
    assert_eq!(
        drawn,
        [
            "Tiny  241 B".to_owned(),
            format!("└─ finetune  Tiny-Instruct  241 B  {said}"),
            format!("   ├─ quantized  Tiny-Instruct-F16  instruct, F16, 16.3 KiB  ◀  {said}"),
            "   └─ adapter  tiny-lora  241 B  (claimed: adapter_config.json: base_model_name_or_path)"
                .to_owned(),
        ]
    );
    house.set("COLUMNS", "80");
    let drawn = house.does(&["tree", "Tiny-Instruct-F16"]);
    assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
    assert!(drawn.contains("Tiny-Instruct-F16  instruct, F16, 16.3 KiB  ◀  (claimed"), "{drawn}");
    let tree = house.json(&["tree", "tiny-lora"]);
    let instruct = &tree["roots"][0]["children"][0];
    assert_eq!((&tree["left_out"], &instruct["repo"]), (&json!(0), &json!("acme/Tiny-Instruct")));
    assert_eq!(instruct["evidence"], json!(["README.md: base_model, base_model_relation"]));
    let shown = house.show("tiny-lora");
    assert_eq!(shown["lineage"][0]["relation"], "adapter");
    assert_eq!(shown["lineage"][0]["model_id"], instruct["model_id"]);
}

#[test]
fn what_is_only_named_is_marked_and_text_terminals_get_text() {
    let house = house!();
    furnish(&house, false);
    let house = house.started();
    house.sync();
    let drawn = house.does(&["tree", "tiny-lora"]);
    assert!(drawn.starts_with("acme/Tiny-Instruct  ?\n|- adapter  tiny-lora"), "{drawn}");
    assert!(drawn.contains("`- quantized  Tiny-Instruct-F16"), "{drawn}");
    assert!(drawn.is_ascii());
}
