//! Plans: what a model would take on a machine, and the command that goes with it. Nothing is started.

use super::launch::ready_to_launch;
use serde_json::{Value, json};
use tests::{
    House,
    files::{gguf, write},
    house, large,
};

const GIB: u64 = 1 << 30;

/// A house with a dense model of 8.5 GB, one of 47 GB with experts, and a machine's description.
fn with_large_models() -> House {
    let house = ready_to_launch();
    large::llama(&house.models("dense.gguf"), "dense", 0);
    large::llama(&house.models("moe.gguf"), "moe", 8);
    house.sync();
    describe(&house, 24);
    house
}

/// Describes a machine with one card of so many GiB.
fn describe(house: &House, gib: u64) {
    describe_cards(house, &[("CUDA0", "card", gib)]);
}

/// Describes a machine with cards: id, name, GiB.
fn describe_cards(house: &House, cards: &[(&str, &str, u64)]) {
    let card = |(id, name, gib): &(&str, &str, u64)| json!({ "id": id, "name": name, "backend": "CUDA", "total": gib * GIB, "free": gib * GIB });
    let cards: Vec<Value> = cards.iter().map(card).collect();
    let ram = json!({ "total": 64 * GIB, "available": 60 * GIB });
    write(
        house.home("machine.json"),
        json!({ "gpus": cards, "ram": ram, "cpu": { "cores": 8 } }).to_string(),
    );
}

fn plan(house: &House, args: &[&str]) -> Value {
    let machine = house.home("machine.json");
    let args = [&["plan", "llama.cpp"], args, &["--hardware", machine.to_str().unwrap()]].concat();
    house.json(&args)
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_plan_for_another_machine_says_everything_and_starts_nothing() {
    let house = with_large_models();
    let plan = plan(&house, &["dense", "--max-ctx"]);
    assert_eq!(
        (&plan["family"], &plan["goal"], &plan["fits"]),
        (&json!("llama"), &json!("max-ctx"), &json!(true))
    );
    assert_eq!(
        (&plan["gpu_layers"], &plan["layers"], &plan["n_cpu_moe"]),
        (&json!(33), &json!(33), &json!(0))
    );
    assert_eq!(plan["limited_by"], "gpu_memory");
    let device = &plan["devices"][0];
    let part = |name: &str| number(&device[name]);
    assert_eq!(part("used"), part("weights") + part("context") + part("compute") + part("overhead"));
    assert_eq!(part("left"), part("free") - part("used") - part("margin"));
    assert_eq!((part("margin"), part("overhead")), (1 << 30, 0));
    let ctx = number(&plan["ctx"]);
    assert!(ctx % 256 == 0 && ctx > 65_536, "{ctx}");
    // One token of context is 65,536 elements of two bytes.
    assert_eq!(part("context"), ctx * 131_072);
    let argv: Vec<&str> =
        plan["argv"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let ctx = ctx.to_string();
    for pair in [
        ["--ctx-size", &ctx],
        ["--gpu-layers", "33"],
        ["--fit", "off"],
        ["--parallel", "1"],
        ["--device", "CUDA0"],
    ] {
        assert!(argv.windows(2).any(|words| words == pair), "{pair:?} in {argv:?}");
    }
    assert!(plan["host"]["available"].as_u64() == Some(60 * GIB) && plan["explain"][0].is_string(), "{plan}");
    assert!(!house.home("engine.json").exists(), "it was started");
    assert_eq!(house.json(&[])["runs"], json!([]));
}

/// The words of a command between two of them.
fn words(plan: &Value, first: &str, count: usize) -> Vec<String> {
    let argv = plan["argv"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    argv.skip_while(|word| *word != first).take(count).map(str::to_owned).collect()
}

#[test]
fn a_model_that_no_card_holds_is_divided_among_them() {
    let house = with_large_models();
    describe_cards(&house, &[("CUDA0", "card", 4), ("CUDA1", "card", 8)]);
    let found = plan(&house, &["dense"]);
    let layers: Vec<i64> =
        found["devices"].as_array().unwrap().iter().map(|device| number(&device["layers"])).collect();
    assert!(layers.iter().sum::<i64>() == 33 && layers[1] > layers[0], "{layers:?}");
    let split = format!("{},{}", layers[0], layers[1]);
    assert_eq!(
        words(&found, "--device", 8),
        ["--device", "CUDA0,CUDA1", "--gpu-layers", "33", "--split-mode", "layer", "--tensor-split", &split]
    );
    assert_eq!(found["tensor_split"], json!([layers[0], layers[1]].map(|layers| layers as f64)));
    assert_eq!(found["env"]["CUDA_DEVICE_ORDER"], "PCI_BUS_ID");
    describe_cards(&house, &[("CUDA0", "card", 12), ("CUDA1", "card", 12)]);
    let given = plan(&house, &["dense", "--device", "CUDA1,CUDA0", "--tensor-split", "3,1", "--ctx", "4096"]);
    assert_eq!(
        words(&given, "--device", 8),
        ["--device", "CUDA1,CUDA0", "--gpu-layers", "33", "--split-mode", "layer", "--tensor-split", "3,1"]
    );
}

#[test]
fn a_slow_card_that_is_not_needed_is_left_alone() {
    let house = with_large_models();
    describe_cards(
        &house,
        &[("CUDA0", "NVIDIA GeForce RTX 3060", 12), ("CUDA1", "NVIDIA GeForce RTX 4090", 24)],
    );
    let found = plan(&house, &["dense"]);
    assert_eq!(words(&found, "--device", 4), ["--device", "CUDA1", "--gpu-layers", "33"]);
    assert!(found["explain"].to_string().contains("CUDA0 is left out: it is slower"), "{found}");
}

#[test]
fn every_user_has_the_context_that_was_asked_for() {
    let house = with_large_models();
    let found = plan(&house, &["dense", "--users", "4", "--ctx", "8k"]);
    assert_eq!((&found["ctx"], &found["ctx_per_slot"]), (&json!(32_768), &json!(8192)));
    assert_eq!(words(&found, "--ctx-size", 2), ["--ctx-size", "32768"]);
    assert_eq!(words(&found, "--parallel", 3), ["--parallel", "4", "--no-kv-unified"]);
}

#[test]
fn a_plan_shows_what_its_figures_are_made_of_and_draws_its_curve() {
    let house = with_large_models();
    let machine = house.home("machine.json");
    let machine = machine.to_str().unwrap();
    let shown = house.does(&["plan", "llama.cpp", "dense", "--explain", "--curve", "--hardware", machine]);
    for word in
        ["weights: feed-forward", "keys and values of 32 layers", "--fit-target of llama.cpp", "o f16 KV"]
    {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert!(shown.is_ascii() || !shown.contains('●'), "no locale says UTF-8: {shown}");
    let found = plan(&house, &["dense", "--curve"]);
    assert_eq!(found["curve"]["limit"], json!(23 * GIB));
    let types: Vec<&Value> =
        found["curve"]["series"].as_array().unwrap().iter().map(|one| &one["cache_type"]).collect();
    assert_eq!(types, ["f16", "q8_0", "q4_0"]);
    assert!(found["terms"].as_array().unwrap().len() > 10 && found["speed"].is_null(), "{found}");
    describe_cards(&house, &[("CUDA0", "NVIDIA GeForce RTX 3090", 24)]);
    let speed = plan(&house, &["dense", "--ctx", "4096"])["speed"].clone();
    assert_eq!((&speed["low"], &speed["high"]), (&json!(51.2), &json!(85.9)));
}

#[test]
fn a_launch_on_its_way_holds_the_memory_that_it_will_take() {
    let house = with_large_models();
    write(house.home("devices"), "  CUDA0: A Card (24080 MiB, 23000 MiB free)\n");
    let free = || number(&house.json(&["plan", "llama.cpp", "dense", "--ctx", "8192"])["devices"][0]["free"]);
    assert_eq!(free(), 23_000 << 20);
    house.engine_mode("loading");
    let mut loading = house.stream(&["launch", "llama.cpp", "dense", "--ctx", "4096"]);
    house.engine_call();
    let run = &house.json(&["ps"])["runs"][0];
    let taken = number(&run["planned"]["CUDA0"]);
    assert!(taken > 8 << 30, "{run}");
    assert_eq!(free(), (23_000 << 20) - taken);
    // What is left does not hold a second one with all of its context.
    let said = house.ctl(&["launch", "llama.cpp", "dense", "--ctx", "131072", "--gpu-layers", "all"]);
    assert!(said.code == 1 && said.err.contains("missing on CUDA0"), "{said:?}");
    loading.signal(rustix::process::Signal::INT);
    assert_eq!(loading.end(6).0, 0);
    assert_eq!(free(), 23_000 << 20);
}

#[test]
fn knobs_that_were_given_are_kept() {
    let house = with_large_models();
    let given = plan(
        &house,
        &[
            "moe",
            "--ctx",
            "20000",
            "--n-cpu-moe",
            "30",
            "--parallel",
            "2",
            "--kv-unified",
            "--cache-type-k",
            "q8_0",
            "--cache-type-v",
            "q8_0",
            "--ubatch",
            "256",
        ],
    );
    for (field, value) in [
        ("ctx", json!(20_000)),
        ("n_cpu_moe", json!(30)),
        ("parallel", json!(2)),
        ("kv_unified", json!(true)),
        ("cache_type_k", json!("q8_0")),
        ("ubatch", json!(256)),
        ("flash_attn", json!("on")),
    ] {
        assert_eq!(given[field], value, "{field}");
    }
    // Experts in main memory: all but the last two layers' of 47 GB.
    assert!(number(&given["host"]["weights"]) > 35_000_000_000, "{}", given["host"]);
    let margin = plan(&house, &["dense", "--max-ctx", "--margin", "4096"]);
    assert!(number(&margin["ctx"]) < number(&plan(&house, &["dense", "--max-ctx"])["ctx"]));
    assert_eq!(margin["devices"][0]["margin"], json!(4_u64 << 30));
}

#[test]
fn what_does_not_fit_is_planned_and_never_launched() {
    let house = with_large_models();
    describe(&house, 4);
    let bad = plan(&house, &["dense", "--ctx", "65536", "--gpu-layers", "all"]);
    assert_eq!(bad["fits"], false);
    assert!(number(&bad["devices"][0]["left"]) < 0, "{bad}");
    assert!(bad["explain"][0].as_str().unwrap().contains("missing on CUDA0"), "{}", bad["explain"]);
    assert!(bad["alternatives"][0].as_str().unwrap().contains("it fits"), "{}", bad["alternatives"]);
    let said = house.ctl(&["launch", "llama.cpp", "moe", "--ctx", "1000000000"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("missing") && said.err.contains("hint:"), "{said:?}");
    let machine = house.home("machine.json");
    let said = house.ctl(&["launch", "llama.cpp", "dense", "--hardware", machine.to_str().unwrap()]);
    assert!(said.code == 1 && said.err.contains("another machine"), "{said:?}");
    assert!(!house.home("engine.json").exists(), "it was started");
}

#[test]
fn cards_that_a_plan_leaves_out_are_named() {
    let house = with_large_models();
    for (count, said) in [(2, "CUDA1 is left out: it is not"), (3, "CUDA1, CUDA2 are left out: they are not")]
    {
        let card = |n: u64| json!({"id": format!("CUDA{n}"), "name": "card", "backend": "CUDA", "total": 32 * GIB, "free": (32 - n) * GIB});
        let machine = json!({"gpus": (0..count).map(card).collect::<Vec<_>>(), "ram": { "total": 64 * GIB, "available": 60 * GIB }, "cpu": { "cores": 8 }});
        write(house.home("machine.json"), machine.to_string());
        let explain = plan(&house, &["dense"])["explain"].to_string();
        assert!(explain.contains(said), "{explain}");
    }
}

#[test]
fn contradictions_and_nonsense_are_refused_with_what_to_do() {
    let house = with_large_models();
    for (args, code, word) in [
        (&["--max-ctx", "--ctx", "4096"][..], 2, "--max-ctx"),
        (&["--max-ctx", "--goal", "fastest"], 2, "--goal"),
        (&["--ctx", "many"], 2, "--ctx"),
        (&["--gpu-layers", "99x"], 2, "99x"),
        (&["--kv-unified", "--no-kv-unified"], 2, "--no-kv-unified"),
        (&["--n-cpu-moe", "3"], 1, "experts"),
        (&["--cache-type-v", "q8_0", "--flash-attn", "off"], 2, "flash attention"),
        (&["--device", "CUDA9"], 1, "CUDA9"),
        (&["--tensor-split", "0,0"], 2, "no device a part"),
        (&["--users", "2", "--parallel", "2"], 2, "--parallel"),
        (&["--hardware", "nowhere.json"], 1, "nowhere.json"),
        (&["--hardware", "/dev/null"], 1, "hardware --json"),
        (&["--", "-c", "4096"], 1, "--ctx before"),
        (&["--", "--port=80"], 1, "--port"),
    ] {
        let said = house.ctl(&[&["plan", "llama.cpp", "dense"], args].concat());
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{args:?}: {said:?}");
        assert!(said.err.contains(word), "{args:?}: {said:?}");
    }
}

#[test]
fn an_engine_that_is_none_of_ours_is_named_before_anything_else() {
    let house = house!().started();
    for (engine, why, hint) in [
        ("llama-cpp", "no engine named `llama-cpp`", "hint: there are: llama.cpp"),
        ("vllm", "this version neither plans for vllm nor starts it", "hint: it takes safetensors"),
        ("ollama", "neither plans for ollama", "modelctl launch llama.cpp MODEL"),
    ] {
        for command in ["plan", "launch"] {
            let said = house.ctl(&[command, engine, "no-such-model"]);
            assert_eq!(said.code, 1, "{said:?}");
            assert!(said.err.contains(why) && said.err.contains(hint), "{said:?}");
        }
    }
}

#[test]
fn what_hardware_prints_is_what_a_plan_takes() {
    let house = with_large_models();
    write(house.home("devices"), "  CUDA0: A Card (24080 MiB, 20000 MiB free)\n");
    let printed = house.does(&["hardware", "--json"]);
    let mut machine: Value = serde_json::from_str(&printed).unwrap();
    machine["gpus"][0]["processes"] = json!({ "4711": 1_u64 << 30 }); // as NVML tells of a desktop
    write(house.home("machine.json"), machine.to_string());
    let plan = plan(&house, &["dense", "--max-ctx"]);
    assert_eq!(plan["devices"][0]["free"], json!(20_000_u64 << 20), "{printed}");
}

#[test]
fn the_machine_that_the_help_describes_can_be_planned_for() {
    let house = with_large_models();
    let help = house.does(&["plan", "--help"]);
    let (from, to) = (help.find(r#"{"gpus""#).unwrap(), help.find("\nWhat counts").unwrap());
    write(house.home("machine.json"), &help[from..to]);
    let plan = plan(&house, &["dense"]);
    assert_eq!((&plan["devices"][0]["id"], &plan["fits"]), (&json!("CUDA0"), &json!(true)));
    assert!(plan["speed"]["low"].is_number(), "{plan}");
}

#[test]
fn a_plan_for_another_machine_needs_no_engine_on_this_one() {
    let mut house = with_large_models();
    house.set("PATH", "/nowhere");
    let plan = plan(&house, &["dense", "--max-ctx"]);
    assert_eq!((&plan["argv"][0], &plan["fits"]), (&json!("llama-server"), &json!(true)));
    assert!(plan["explain"].to_string().contains("not installed here"), "{}", plan["explain"]);
    let said = house.ctl(&["plan", "llama.cpp", "dense"]);
    assert!(said.code == 1 && said.err.contains("/nowhere"), "{said:?}");
}

#[test]
fn a_model_that_cannot_be_planned_is_left_to_the_engines_own_fit() {
    let mut house = house!();
    write(house.models("m.gguf"), gguf("m"));
    house.start();
    house.sync();
    house.install_engine();
    let plan = house.json(&["plan", "llama.cpp", "m", "--ctx", "4096"]);
    assert_eq!(
        (&plan["fits"], &plan["gpu_layers"], &plan["host"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let argv = plan["argv"].to_string();
    assert!(
        argv.contains(r#""--ctx-size","4096""#)
            && argv.contains("--fit-target")
            && !argv.contains(r#""--fit","#),
        "{argv}"
    );
    assert!(plan["explain"].to_string().contains("own fit"), "{}", plan["explain"]);
    let said = house.ctl(&["plan", "llama.cpp", "m", "--max-ctx", "--device", "CUDA9", "--curve"]);
    for line in ["- the goal is left out: ", "- --device is passed on as it is: "] {
        assert!(said.code == 0 && said.out.contains(line), "{said:?}");
    }
    assert!(said.err.contains("no plan to draw"), "{said:?}");
}
