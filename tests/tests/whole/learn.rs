//! What a launch took is remembered, and the next plan of the same model goes by it.

use serde_json::{Value, json};
use tests::{House, files::write, house, large, skip, wait_until};

const MIB: u64 = 1 << 20;

/// As llama-server prints it; weights and context are not what matters here.
const PRINTS: &str = "\
load_tensors:   CPU_Mapped model buffer size =   531.25 MiB
load_tensors:        CUDA0 model buffer size =  7605.34 MiB
llama_context:  CUDA_Host  output buffer size =     0.49 MiB
llama_kv_cache:      CUDA0 KV buffer size =   512.00 MiB
sched_reserve:      CUDA0 compute buffer size =   300.00 MiB
sched_reserve:  CUDA_Host compute buffer size =    20.01 MiB
slot print_timing: id  0 | task 0 | prompt eval time =     100.00 ms /    45 tokens (    2.22 ms per token,   450.00 tokens per second)
slot print_timing: id  0 | task 0 |        eval time =    1456.05 ms /    30 tokens (   48.53 ms per token,    20.60 tokens per second)
";

/// A house with a card, the fake engine, and a dense model of 8.5 GB.
fn with_a_card() -> Option<House> {
    let mut house = house!();
    if !house.install_nvml() {
        return None;
    }
    large::llama(&house.models("dense.gguf"), "dense", 0);
    house.cards(&["NVIDIA GeForce RTX 4090|24564|0|GPU-1|00000000:01:00.0|".to_owned()]);
    write(house.home("devices"), "  CUDA0: NVIDIA GeForce RTX 4090 (24080 MiB, 23500 MiB free)\n");
    write(house.home("prints"), PRINTS);
    house.start();
    house.sync();
    house.install_engine();
    Some(house)
}

fn plan(house: &House, ctx: &str) -> Value {
    house.json(&["plan", "llama.cpp", "dense", "--ctx", ctx])
}

#[test]
fn the_next_plan_goes_by_what_the_last_launch_took() {
    let Some(mut house) = with_a_card() else { skip!("there is no cc") };
    let before = plan(&house, "4096");
    assert_eq!(before["measured"], Value::Null);
    assert!(before["devices"][0]["slack"].as_u64() > Some(0), "{before}");
    let run = house.launch_detached(&["dense", "--ctx", "4096"]);
    house.does(&["stop", run["run"].as_str().unwrap()]);
    wait_until("it is remembered how fast it was", 20, || {
        !plan(&house, "4096")["measured"]["speed"].is_null()
    });
    for _ in 0..2 {
        let after = plan(&house, "4096");
        let (device, measured) = (&after["devices"][0], &after["measured"]);
        assert_eq!((&device["compute"], &device["slack"]), (&json!(300 * MIB), &json!(0)));
        assert_eq!(measured["same_settings"], true);
        assert_eq!(measured["speed"], json!({"prompt": 450.0, "answer": 20.6}));
        let place = &measured["devices"][0];
        assert_eq!((&place["id"], &place["device"]), (&"CUDA0".into(), &"GPU-1".into()));
        assert_eq!((&place["compute"], &place["context"]), (&json!(300 * MIB), &json!(512 * MIB)));
        assert_eq!(place["planned"]["compute"], before["devices"][0]["compute"]);
        assert_eq!(place["overhead"], Value::Null);
        let shown = house.does(&["plan", "llama.cpp", "dense", "--ctx", "4096"]);
        assert!(shown.contains("  planned first "), "{shown}");
        assert!(shown.contains("with these settings: compute on CUDA0 300.0 MiB, planned "), "{shown}");
        house.restart();
    }
}

#[test]
fn with_other_settings_only_more_than_was_planned_counts() {
    let Some(house) = with_a_card() else { skip!("there is no cc") };
    let compute = |plan: &Value| plan["devices"][0]["compute"].as_u64().unwrap();
    let plain = plan(&house, "8192");
    let run = house.launch_detached(&["dense", "--ctx", "4096"]);
    house.does(&["stop", run["run"].as_str().unwrap()]);
    let after = plan(&house, "8192");
    assert_eq!(after["measured"]["same_settings"], false);
    let first = &after["measured"]["devices"][0];
    // By then it is known that this build takes what the measured one does, and less is kept free.
    let slack = |device: &Value| device["slack"].as_u64().unwrap();
    assert!(slack(&after["devices"][0]) < slack(&plain["devices"][0]), "{after}");
    let kept = first["planned"]["compute"].as_u64().unwrap() + slack(&after["devices"][0]);
    let more = (300 * MIB).saturating_sub(kept);
    assert_eq!(compute(&after), compute(&plain) + more);
    assert!(house.does(&["plan", "llama.cpp", "dense", "--ctx", "8192"]).contains("  took at 4k"));
    // A machine that is described is another one.
    let described = json!({"gpus": [{"id": "CUDA0", "name": "card", "backend": "CUDA", "total": 24_u64 << 30,
                                     "free": 24_u64 << 30}], "ram": {"total": 64_u64 << 30, "available": 60_u64 << 30}});
    write(house.home("machine.json"), described.to_string());
    let machine = house.home("machine.json");
    let imagined =
        house.json(&["plan", "llama.cpp", "dense", "--ctx", "4096", "--hardware", machine.to_str().unwrap()]);
    assert_eq!(imagined["measured"], Value::Null);
}

#[test]
fn what_a_launch_took_is_forgotten_when_asked() {
    let Some(house) = with_a_card() else { skip!("there is no cc") };
    let plain = plan(&house, "4096");
    let run = house.launch_detached(&["dense", "--ctx", "4096"]);
    house.does(&["stop", run["run"].as_str().unwrap()]);
    assert_ne!(plan(&house, "4096")["measured"], Value::Null);
    let forgotten = house.json(&["plan", "llama.cpp", "dense", "--ctx", "4096", "--forget"]);
    for after in [forgotten, plan(&house, "4096")] {
        assert_eq!(after["measured"], Value::Null);
        let figures = |plan: &Value| ["compute", "slack"].map(|name| plan["devices"][0][name].clone());
        assert_eq!(figures(&after), figures(&plain));
    }
}

#[test]
fn a_list_goes_by_what_launches_took() {
    let Some(mut house) = with_a_card() else { skip!("there is no cc") };
    let ctx = |house: &House| house.json(&["list", "fits=gpu"])["models"][0]["fits"]["ctx"].as_u64();
    let before = ctx(&house).unwrap();
    write(house.home("prints"), PRINTS.replace("300.00 MiB", "3000.00 MiB"));
    house.restart();
    let run = house.launch_detached(&["dense"]);
    house.does(&["stop", run["run"].as_str().unwrap()]);
    wait_until("a list shows less context", 20, || ctx(&house).is_some_and(|now| now < before));
    let planned = house.json(&["plan", "llama.cpp", "dense"])["ctx"].as_u64();
    assert_eq!(ctx(&house), planned);
}
