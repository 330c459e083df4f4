//! `df`: sums that add up.

use serde_json::{Value, json};
use std::{fs, os::unix::fs::MetadataExt as _};
use tests::{
    files::{Gguf, gguf, safetensors, write},
    house,
    stores::ollama,
};

#[track_caller]
fn sum(usage: &Value) -> u64 {
    usage["shares"].as_array().unwrap().iter().map(|share| share["bytes"].as_u64().unwrap()).sum()
}

#[test]
fn bytes_are_counted_once_by_whatever_they_are_counted() {
    let mut house = house!();
    let shared = gguf("shared");
    ollama(&house.home(".ollama/models"), "shared", "latest", &shared);
    write(house.models("alone.gguf"), Gguf::named("alone").architecture("qwen3").rows(640).bytes());
    let blob = house.home(".ollama/models/blobs").join(format!("sha256-{}", tests::stores::sha256(&shared)));
    fs::hard_link(&blob, house.models("shared.gguf")).unwrap();
    house.start();
    house.sync();
    let blocks = |path: &std::path::Path| fs::metadata(path).unwrap().blocks() * 512;
    let (blob, alone) = (blocks(&blob), blocks(&house.models("alone.gguf")));

    let by_app = house.json(&["df"]);
    assert_eq!(by_app["by"], "app");
    let share = |name: &str| {
        let shares = by_app["shares"].as_array().unwrap();
        shares.iter().find(|share| share["name"] == name).unwrap_or_else(|| panic!("{by_app:#}")).clone()
    };
    let loose = share("loose");
    assert_eq!(
        (&loose["models"], &loose["exclusive"], &loose["shared"]),
        (&json!(2), &json!(alone), &json!(blob)),
        "{by_app:#}"
    );
    assert_eq!(share("ollama")["shared"], blob);
    for by in ["app", "root", "family", "kind", "format"] {
        let usage = house.json(&["df", "--by", by]);
        assert_eq!(
            (usage["by"].as_str(), sum(&usage)),
            (Some(by), usage["total"].as_u64().unwrap()),
            "{usage:#}"
        );
        assert_eq!(usage["total"], by_app["total"]);
    }
    let home = house.json(&[]);
    assert_eq!(home["disk_size"], by_app["total"], "the home screen counts the same");
    let families = house.json(&["df", "--by", "family"]);
    assert_eq!(families["shares"][0]["name"], "qwen3", "the largest first: {families:#}");
    let disk = &by_app["filesystems"][0];
    assert!(disk["available"].as_u64().unwrap() <= disk["total"].as_u64().unwrap(), "{disk}");
    let table = house.does(&["df", "--by", "root"]);
    for part in ["ROOT", "EXCLUSIVE", "in all", "free of"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    assert_eq!(house.ctl(&["df", "--by", "colour"]).code, 2);
    let refused = house.wire().call("Usage", json!({ "by": "colour" }));
    assert!(refused.to_string().contains("Refused"), "{refused}");
}

#[test]
fn an_architecture_is_one_whichever_format_it_comes_in() {
    let mut house = house!();
    write(house.models("one.gguf"), gguf("one"));
    write(house.models("two/model.safetensors"), safetensors(1));
    write(house.models("two/config.json"), r#"{"architectures":["LlamaForCausalLM"]}"#);
    house.start();
    house.sync();
    for filter in ["arch=llama", "family=llama"] {
        assert_eq!(house.list(&[filter]).len(), 2, "{filter}: {:#?}", house.list(&[]));
    }
    assert_eq!(house.list(&["arch=LlamaForCausalLM"]).len(), 1, "as the file has it");
    let usage = house.json(&["df", "--by", "family"]);
    let names: Vec<&Value> = usage["shares"].as_array().unwrap().iter().map(|share| &share["name"]).collect();
    assert_eq!(names, [&json!("llama")], "{usage:#}");
}

#[test]
fn an_empty_home_says_where_to_look() {
    let house = house!().started();
    let said = house.ctl(&["df"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""));
    assert!(said.err.contains("no models") && said.err.contains("hint:"), "{said:?}");
}
