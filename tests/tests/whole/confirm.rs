//! A plan that the engine's own tool counts again.

use serde_json::{Value, json};
use tests::{House, files::write, house, large};

const MIB: i64 = 1 << 20;

/// A machine without a card, the fake engine, and a dense model of 8.5 GB.
fn with_an_engine() -> House {
    let mut house = house!();
    house.memory(60 << 10);
    large::llama(&house.models("dense.gguf"), "dense", 0);
    house.start();
    house.sync();
    house.install_engine();
    house
}

const PLAN: &[&str] = &["plan", "llama.cpp", "dense", "--ctx", "4096"];

fn confirmed() -> Vec<&'static str> {
    [PLAN, &["--confirm"]].concat()
}

#[test]
fn both_figures_are_shown_with_their_difference() {
    let mut house = with_an_engine();
    house.install_tool("llama-fit-params");
    house.set("LLAMA_ARG_CTX_SIZE", "17");
    write(house.home("counts"), "Host 8137 512 400 \n");
    let plan = house.json(&confirmed());
    let told = &plan["confirmed"];
    assert_eq!(told["program"], house.at("tools/llama-fit-params").to_str().unwrap());
    let place = &told["devices"][0];
    assert_eq!((&place["id"], &place["compute"]), (&json!("host"), &json!(400 * MIB)));
    let bytes = |part: &str| plan["host"][part].as_i64().unwrap();
    let planned = bytes("weights") + bytes("context") + bytes("compute");
    assert_eq!(place["difference"], (8137 + 512 + 400) * MIB - planned);
    let called: Value =
        serde_json::from_str(&std::fs::read_to_string(house.home("counted")).unwrap()).unwrap();
    let model = house.models("dense.gguf");
    let words = [
        "--model",
        model.to_str().unwrap(),
        "--ctx-size",
        "4096",
        "--flash-attn",
        "on",
        "--batch-size",
        "2048",
        "--ubatch-size",
        "512",
        "--parallel",
        "1",
        "--fit-print",
        "on",
    ];
    assert_eq!(called["argv"], json!(words));
    let env: Vec<&str> =
        called["env"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(!env.iter().any(|name| name.starts_with("LLAMA_")), "{env:?}");
    let shown = house.does(&confirmed());
    let line = "llama-fit-params counts 8.8 GiB on main memory, ";
    assert!(
        shown.contains(line) && shown.contains("weights 7.9 GiB, context 512.0 MiB, compute 400.0 MiB"),
        "{shown}"
    );
    assert_eq!(house.json(PLAN)["confirmed"], Value::Null);
    assert_eq!(house.engine_starts(), 0);
}

#[test]
fn what_it_counts_without_is_told() {
    let house = with_an_engine();
    house.install_tool("llama-fit-params");
    write(house.home("counts"), "Host 8137 512 400 \n");
    let passed_on = ["--", "--jinja", "--temp", "-0.5", "--api-key", "sk-1234"];
    let args = [&confirmed()[..], &["--parallel", "4"], &passed_on].concat();
    let json: Vec<&str> = [&["--json"], &args[..]].concat();
    let plan: Value = serde_json::from_str(&house.does(&json)).unwrap();
    let told = plan["confirmed"].as_object().unwrap();
    let bytes = |part: &str| plan["host"][part].as_i64().unwrap();
    let difference = (8137 + 512 + 400) * MIB - bytes("weights") - bytes("context") - bytes("compute");
    let counted = json!({"id": "host", "weights": 8137 * MIB, "context": 512 * MIB, "compute": 400 * MIB,
        "difference": difference});
    assert_eq!((told["devices"][0].clone(), told["devices"].as_array().unwrap().len()), (counted, 1));
    assert!(told["program"].as_str().unwrap().ends_with("/llama-fit-params"), "{told:?}");
    assert!(told["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{told:?}");
    // The double lists no --kv-unified, and nothing that is passed on takes part.
    assert_eq!(told["left_out"], json!(["--kv-unified", "--jinja", "--temp", "--api-key"]));
    let called = std::fs::read_to_string(house.home("counted")).unwrap();
    assert!(!called.contains("--jinja") && !called.contains("sk-1234"), "{called}");
    let note = "note: llama-fit-params counts without --kv-unified --jinja --temp --api-key\n";
    assert_eq!(house.ctl(&args).err, note);
}

#[test]
fn without_the_tool_it_is_said_what_is_missing() {
    let house = with_an_engine();
    let said = house.ctl(&confirmed());
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    let why = format!(
        "llama-fit-params or llama fit-params is not beside {}",
        house.at("tools/llama-server").display()
    );
    assert!(
        said.err.contains(&why) && said.err.contains("hint: install the one of the same build"),
        "{said:?}"
    );
    write(house.home("machine.json"), r#"{"ram": {"total": 68719476736, "available": 68719476736}}"#);
    let machine = house.home("machine.json");
    let said = house.ctl(&[&confirmed()[..], &["--hardware", machine.to_str().unwrap()]].concat());
    assert!(said.code == 1 && said.err.contains("another machine"), "{said:?}");
}

#[test]
fn what_it_prints_besides_a_count_is_an_error() {
    let house = with_an_engine();
    house.install_tool("llama-fit-params");
    write(house.home("counts"), "-c 4096 -ngl -1\n");
    let said = house.ctl(&confirmed());
    assert!(said.code == 1 && said.err.contains("what it prints cannot be read"), "{said:?}");
}
