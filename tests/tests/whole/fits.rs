//! How each model fits now, in the list: by the machine as it is, as a plan says it, and only where something is known.

use serde_json::{Value, json};
use tests::{
    House,
    files::{safetensors, write},
    house, large, nvml, wait_until,
};

const GIB: u64 = 1 << 30;

/// A dense model of 8.5 GB, one of 47 GB with experts, and one that no engine here takes.
fn with_models() -> House {
    let house = house!();
    house.memory(60 << 10);
    large::llama(&house.models("dense.gguf"), "dense", 0);
    large::llama(&house.models("moe.gguf"), "moe", 8);
    write(house.models("other/model.safetensors"), safetensors(1));
    house
}

/// What the list says of a model, when it says something.
#[track_caller]
fn fits(house: &House, name: &str) -> Value {
    let mut found = Value::Null;
    wait_until("it is known how it fits", 20, || {
        let models = house.list(&[]);
        found = models.iter().find(|model| model["name"] == name).expect(name)["fits"].clone();
        !found.is_null()
    });
    found
}

#[test]
fn every_model_that_can_be_planned_says_how_it_fits_and_the_others_say_nothing() {
    let house = with_models().started();
    let whole = json!({"fits": true, "how": "cpu", "ctx": 131_072, "gpu_layers": 0, "layers": 33, "n_cpu_moe": 0,
                       "short": null});
    assert_eq!(fits(&house, "dense"), whole);
    let models = house.list(&["format=safetensors"]);
    assert_eq!((models.len(), &models[0]["fits"]), (1, &Value::Null));
    let shown = house.does(&["list"]);
    assert!(shown.contains("FITS") && shown.contains("CPU 128k"), "{shown}");
    assert_eq!(house.names(&["fits=cpu", "size<10G"]), ["dense"]);
    assert_eq!(house.names(&["fits=gpu,partial"]), [""; 0]);
    assert_eq!(house.names(&["fits=", "!format=gguf"]).len(), 1);
    let said = house.ctl(&["list", "fits=yes"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("there are gpu partial cpu no"), "{said:?}");
}

#[test]
fn the_list_follows_the_machine() {
    let house = with_models().started();
    assert_eq!(house.names(&["fits"]), ["dense", "moe"]);
    house.memory(3 << 10);
    wait_until("nothing fits", 20, || house.names(&["fits=no"]) == ["dense", "moe"]);
    let short = fits(&house, "dense")["short"].as_u64().unwrap();
    // Weights of 7.9 GiB, a gigabyte to spare and the engine itself, of which 3 GiB are there.
    assert!((6 * GIB..7 * GIB).contains(&short), "{short}");
    assert!(house.does(&["list", "dense"]).contains("no: 6."), "{}", house.does(&["list", "dense"]));
    house.memory(60 << 10);
    wait_until("all fit again", 20, || house.names(&["fits"]) == ["dense", "moe"]);
}

#[test]
fn a_model_that_comes_is_told_at_once() {
    let house = with_models().started();
    assert_eq!(house.names(&["fits"]), ["dense", "moe"]);
    large::llama(&house.models("new.gguf"), "new", 0);
    house.sync();
    assert_eq!(house.names(&["fits"]), ["dense", "moe", "new"]);
    house.does(&["tag", "new", "daily"]);
    assert!(!house.list(&["tag=daily"])[0]["fits"].is_null());
}

#[test]
fn a_card_decides_and_the_list_says_what_the_plan_says() {
    let mut house = with_models();
    nvml!(house);
    let card = |used: u64| format!("NVIDIA GeForce RTX 4090|24564|{used}|GPU-1|00000000:01:00.0|");
    house.cards(&[card(0)]);
    write(house.home("devices"), "  CUDA0: NVIDIA GeForce RTX 4090 (24080 MiB, 23500 MiB free)\n");
    house.start();
    house.install_engine();
    assert_eq!(fits(&house, "dense")["how"], "gpu");
    assert_eq!(fits(&house, "moe")["how"], "partial");
    assert!(house.does(&["list", "moe"]).contains("GPU+RAM "), "{}", house.does(&["list", "moe"]));
    house.cards(&[card(16_384)]);
    wait_until("the card is looked at", 20, || fits(&house, "dense")["how"] == "partial");
    let (plan, fit) = (house.json(&["plan", "llama.cpp", "dense"]), fits(&house, "dense"));
    let told = |of: &Value| ["fits", "ctx", "gpu_layers", "layers", "n_cpu_moe"].map(|key| of[key].clone());
    assert_eq!(told(&plan), told(&fit));
}
