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
    house.set("COLUMNS", "60");
    let narrow = house.does(&["tree", "tiny-lora"]);
    assert_eq!(
        narrow.lines().collect::<Vec<_>>(),
        [
            "Tiny  241 B",
            "└─ finetune  Tiny-Instruct  241 B  (claimed)",
            "   ├─ adapter  tiny-lora  241 B  ◀  (claimed)",
            "   └─ quantized  Tiny-Instruct-F16  instruct, F16, 16.3 KiB",
        ]
    );
    let tree = house.json(&["tree", "tiny-lora"]);
    let instruct = &tree["roots"][0]["children"][0];
    assert_eq!((&tree["left_out"], &instruct["repo"]), (&json!(0), &json!("acme/Tiny-Instruct")));
    assert_eq!(instruct["evidence"], json!(["README.md: base_model, base_model_relation"]));
    let of_base = house.json(&["tree", "acme/Tiny"]);
    let names = |node: &Value| {
        let children = node["children"].as_array().unwrap().iter();
        children.map(|child| child["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let root = &of_base["roots"][0];
    assert_eq!((&root["is_asked"], names(root)), (&json!(true), vec!["Tiny-Instruct".to_owned()]));
    assert_eq!(names(&root["children"][0]), ["Tiny-Instruct-F16", "tiny-lora"]);
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

fn projector(name: &str, width: u32) -> Vec<u8> {
    let projector = Gguf::named(name).architecture("clip").text("general.type", "mmproj");
    projector.text("clip.projector_type", "mlp").number("clip.vision.projection_dim", width).bytes()
}

fn wide(name: &str, width: u32) -> Gguf {
    Gguf::named(name).number("llama.embedding_length", width)
}

/// Companions of a model as role, name and reason.
#[track_caller]
fn companions(house: &House, model: &str) -> Vec<[String; 3]> {
    let shown = house.show(model);
    let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let found = shown["companions"].as_array().unwrap().iter();
    found.map(|one| ["role", "name", "because"].map(|key| word(one, key))).collect()
}

#[track_caller]
fn plan(house: &House, model: &str) -> (String, String) {
    let plan = house.json(&["plan", "llama.cpp", model]);
    (plan["command"].as_str().unwrap().to_owned(), plan["explain"].to_string())
}

#[test]
fn a_projector_of_another_width_in_the_same_folder_is_given_to_no_engine() {
    let house = house!().ready_to_launch();
    write(house.models("fits/seer-F16.gguf"), wide("seer", 64).bytes());
    write(house.models("fits/mmproj-seer.gguf"), projector("a", 64));
    write(house.models("other/blind-F16.gguf"), wide("blind", 64).bytes());
    write(house.models("other/mmproj-blind.gguf"), projector("b", 128));
    house.sync();
    let because = "projects to width 64 = embedding length 64, projector mlp; held with it";
    let expected = ["projector", "mmproj-seer.gguf", because].map(str::to_owned);
    assert_eq!(companions(&house, "seer-F16"), [expected]);
    assert_eq!(companions(&house, "blind-F16"), Vec::<[String; 3]>::new());
    assert!(plan(&house, "seer-F16").0.contains("--mmproj"));
    let (command, explain) = plan(&house, "blind-F16");
    assert!(!command.contains("--mmproj"), "{command}");
    let why = "mmproj-blind.gguf is left out: it projects to 128, and the model is 64 wide";
    assert!(explain.contains(why), "{explain}");
    let (stream, _) = house.launch(&["blind-F16"]);
    stream.find("why the projector is left out", 5, |line| line.contains(why).then_some(()));
    assert_eq!(house.engine_call().value("--mmproj"), None);
}

#[test]
fn a_projector_elsewhere_is_given_where_it_alone_is_meant() {
    let house = house!().ready_to_launch();
    write(house.home(".lmstudio/models/acme/Seer-GGUF/seer-F16.gguf"), wide("seer", 64).bytes());
    hub(&house, "acme/Seer-GGUF", &[("mmproj-F16.gguf", &projector("a", 64))]);
    // As wide, and of somebody else.
    hub(&house, "acme/Other-GGUF", &[("mmproj-other-F16.gguf", &projector("b", 64))]);
    house.sync();
    let because = "projects to width 64 = embedding length 64, projector mlp; same repository";
    let expected = ["projector", "mmproj-F16", because].map(str::to_owned);
    assert_eq!(companions(&house, "seer-F16"), [expected]);
    let (command, explain) = plan(&house, "seer-F16");
    assert!(command.contains("--mmproj") && command.contains("mmproj-F16.gguf"), "{command}");
    assert!(explain.contains("mmproj-F16.gguf: projects to width 64"), "{explain}");
    hub(&house, "acme/Seer-GGUF", &[("mmproj-BF16.gguf", &projector("c", 64))]);
    house.sync();
    let (command, explain) = plan(&house, "seer-F16");
    assert!(!command.contains("--mmproj"), "{command}");
    assert!(explain.contains("no projector is given: mmproj-F16, mmproj-BF16 fit alike"), "{explain}");
}

/// An adapter of one matrix as PEFT writes it, of rank 4.
fn lora(input: u64, output: u64) -> Vec<u8> {
    let name = "base_model.model.model.layers.0.self_attn.q_proj";
    let (down, all) = (input * 8, (input + output) * 8);
    let json = format!(
        r#"{{"{name}.lora_A.weight":{{"dtype":"F16","shape":[4,{input}],"data_offsets":[0,{down}]}},
            "{name}.lora_B.weight":{{"dtype":"F16","shape":[{output},4],"data_offsets":[{down},{all}]}}}}"#
    );
    let data = vec![0; usize::try_from(all).unwrap()];
    [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &data].concat()
}

#[test]
fn adapters_go_by_their_shapes_and_drafts_by_their_vocabulary() {
    let house = house!();
    let tokens = |last: &str| ["<s>", "a", last].map(str::to_owned);
    let talks = |name: &str, rows, last| {
        let model = wide(name, 64).rows(rows).text("tokenizer.ggml.model", "llama");
        model.texts("tokenizer.ggml.tokens", &tokens(last)).bytes()
    };
    let config = br#"{"peft_type": "LORA", "base_model_name_or_path": "acme/Big-Instruct", "r": 4}"#;
    let card = card("acme/Big-Instruct", "quantized");
    hub(&house, "q/Big-GGUF", &[("big-F16.gguf", &talks("big", 256, "b")), ("README.md", &card)]);
    for (repo, output) in [("me/fits", 256), ("me/other-shape", 128)] {
        let files = [("adapter_model.safetensors", &lora(64, output)[..]), ("adapter_config.json", config)];
        hub(&house, repo, &files);
    }
    write(house.models("small.gguf"), talks("small", 32, "b"));
    write(house.models("foreign.gguf"), talks("foreign", 32, "c"));
    let house = house.started();
    house.sync();
    let expected = [
        ["adapter", "fits", "1 of 1 adapted matrices have the model's shapes; made from acme/Big-Instruct"],
        ["draft", "small", "the same 3 tokens, and 8 times smaller"],
    ];
    assert_eq!(companions(&house, "big-F16"), expected.map(|one| one.map(str::to_owned)));
    assert_eq!(companions(&house, "small"), Vec::<[String; 3]>::new());
    let text = house.does(&["show", "big-F16"]);
    assert!(text.contains("goes with") && text.contains("8 times smaller"), "{text}");
}

#[test]
fn hostile_names_do_nothing_to_a_terminal() {
    let house = house!();
    let model = Gguf::named("victim").number("general.base_model.count", 1);
    let model = model.text("general.base_model.0.organization", "acme");
    let model = model.text("general.base_model.0.name", "\u{1b}[2J\u{202e}evil\nroot");
    write(house.models("victim.gguf"), model.bytes());
    let house = house.started();
    house.sync();
    let text = house.does(&["tree", "victim"]);
    let first = text.lines().next().unwrap();
    assert_eq!(first, "acme/\\x1b[2J\\u{202e}evil\\nroot  ?");
    assert_eq!(text.lines().count(), 2, "{text}");
}
