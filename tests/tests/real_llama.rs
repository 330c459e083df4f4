//! With the real llama.cpp: MODELCTL_LLAMA_BIN is a directory with llama-server (tools/real-llama-cpp makes one),
//! MODELCTL_TINY_GGUF a file that tools/tiny_gguf.py wrote, MODELCTL_TINY_MOE_GGUF one with experts.

use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};
use tests::{House, house, skip, wait_until};

/// Processes whose command line names something.
fn processes_with(text: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

fn post(host: &str, page: &str, body: &str) -> String {
    let length = body.len();
    ask(
        host,
        &format!(
            "POST {page} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    )
}

fn get(host: &str, page: &str) -> String {
    ask(host, &format!("GET {page} HTTP/1.0\r\nHost: {host}\r\n\r\n"))
}

fn ask(host: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_real_program_says_its_version_its_flags_and_its_devices() {
    let Some(bin) = std::env::var_os("MODELCTL_LLAMA_BIN") else { skip!("MODELCTL_LLAMA_BIN is not set") };
    let house = house!().started();
    house.does(&["engines", "add", Path::new(&bin).to_str().unwrap()]);
    let engine = &house.json(&["engines"])["engines"][0];
    assert!(engine["version"].is_string() && engine["flags"].as_u64() > Some(300), "{engine}");
    let listed =
        std::process::Command::new(Path::new(&bin).join("llama-server")).arg("--list-devices").output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let report = house.json(&["hardware"]);
    let seen = report["engines"][0]["devices"].as_array().unwrap();
    assert_eq!(seen.len(), listed.matches(" MiB free)").count(), "{listed}{report}");
    for device in seen {
        assert!(listed.contains(&format!("  {}: ", device["id"].as_str().unwrap())), "{listed}{device}");
    }
}

/// A house with the real engine on the caller's PATH, or None where it is not there.
fn with_the_real_engine(models: &[(&str, &str)]) -> Option<House> {
    let bin = std::env::var_os("MODELCTL_LLAMA_BIN")?;
    let mut house = house!().started();
    for (variable, name) in models {
        fs::copy(std::env::var_os(variable)?, house.models(name)).unwrap();
    }
    house.set("PATH", format!("{}:/usr/bin:/bin", Path::new(&bin).display()));
    Some(house)
}

fn body(answer: &str) -> Value {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[track_caller]
fn completes(url: &str) {
    let host = url.strip_prefix("http://").unwrap();
    let json = body(&post(host, "/completion", r#"{"prompt":"hello","n_predict":4}"#));
    assert!(json["tokens_predicted"].as_u64().is_some_and(|tokens| tokens > 0), "{json}");
}

/// What was planned, and the run when it was ready.
#[track_caller]
fn launch(house: &House, args: &[&str]) -> (Value, Value) {
    let said = house.ctl(&[&["launch", "llama.cpp", "--detach", "--json"], args].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let updates: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |name: &str| updates.iter().find(|update| update["update"] == name).unwrap();
    (find("planned")["plan"].clone(), find("ready")["run"].clone())
}

#[test]
fn a_model_dropped_into_a_folder_is_planned_launched_outlives_the_daemon_and_is_stopped() {
    let Some(mut house) = with_the_real_engine(&[]) else { skip!("MODELCTL_LLAMA_BIN is not set") };
    let Some(model) = std::env::var_os("MODELCTL_TINY_GGUF") else { skip!("MODELCTL_TINY_GGUF is not set") };
    fs::copy(&model, house.models("tiny.gguf")).unwrap();
    wait_until("the dropped file is listed", 15, || house.names(&["state=ok"]) == ["tiny"]);
    let (plan, run) = launch(&house, &["tiny", "--max-ctx"]);
    assert_eq!((&plan["goal"], &plan["fits"]), (&"max-ctx".into(), &true.into()));
    let url = run["url"].as_str().unwrap();
    let props = body(&get(url.strip_prefix("http://").unwrap(), "/props"));
    assert_eq!(props["default_generation_settings"]["n_ctx"], plan["ctx"], "{plan}");
    assert_eq!((&run["ctx"], &run["notes"]), (&plan["ctx"], &serde_json::json!([])));
    completes(url);
    let told = house.run(&run["run"]);
    assert_eq!((&told["state"], &told["ours"], &told["pid"]), (&"ready".into(), &true.into(), &run["pid"]));
    assert!(!house.end(Signal::KILL).success());
    completes(url);
    house.start();
    let adopted = house.run(&run["run"]);
    for field in ["state", "pid", "since", "url", "ctx", "planned"] {
        assert_eq!(adopted[field], told[field], "{field}");
    }
    completes(url);
    let ours = house.models("tiny.gguf").display().to_string();
    assert!(!processes_with(&ours).is_empty());
    house.does(&["stop", "tiny"]);
    assert_eq!(processes_with(&ours), [""; 0]);
    assert!(TcpStream::connect(url.strip_prefix("http://").unwrap()).is_err(), "somebody still listens");
}

#[test]
fn ctrl_c_stops_a_launch_and_leaves_nothing() {
    let Some(house) = with_the_real_engine(&[("MODELCTL_TINY_GGUF", "tiny.gguf")]) else {
        skip!("MODELCTL_LLAMA_BIN and MODELCTL_TINY_GGUF are not set");
    };
    house.sync();
    let (mut stream, url) = house.launch(&["tiny", "--max-ctx"]);
    completes(&url);
    stream.signal(Signal::INT);
    let (code, lines) = stream.end(6);
    assert_eq!(code, 0, "{lines:?}");
    assert_eq!(processes_with(&house.models("tiny.gguf").display().to_string()), [""; 0]);
}

/// The engine prints hundredths of a MiB, and a line for each of its buffers.
const ROUNDING: u64 = 64 << 10;

#[track_caller]
fn is_as_planned(house: &House, args: &[&str]) {
    let (plan, run) = launch(house, args);
    let log = house.does(&["logs", run["run"].as_str().unwrap()]);
    let lines: Vec<String> = log.lines().map(str::to_owned).collect();
    let allocated = domain::engines::find("llama.cpp").unwrap().allocated(&lines);
    let device = plan["devices"].get(0).map(|device| (device["id"].as_str().unwrap(), device));
    let places = device.into_iter().chain([("host", &plan["host"])]);
    for (place, planned) in places {
        let found = allocated.get(place).copied().unwrap_or_default();
        let part = |name: &str| planned[name].as_u64().unwrap_or(0);
        let told = format!("{args:?} on {place}: {found:?}, planned {planned}");
        assert!(found.weights.abs_diff(part("weights")) <= ROUNDING, "weights, {told}");
        assert!(found.context.abs_diff(part("context")) <= ROUNDING, "context, {told}");
        let slack = part("slack").max(2 << 20);
        assert!(found.compute <= part("compute") + slack, "compute, {told}");
        assert!(part("compute") <= found.compute * 3 / 2 + slack, "compute is planned far too high, {told}");
    }
    assert_eq!(run["on_cpu"], device.is_none(), "{run}");
    house.does(&["stop", run["run"].as_str().unwrap()]);
}

#[test]
fn the_engine_allocates_what_was_planned() {
    let models = [("MODELCTL_TINY_GGUF", "tiny.gguf"), ("MODELCTL_TINY_MOE_GGUF", "moe.gguf")];
    let Some(house) = with_the_real_engine(&models) else {
        skip!("MODELCTL_LLAMA_BIN, MODELCTL_TINY_GGUF and MODELCTL_TINY_MOE_GGUF are not set");
    };
    house.sync();
    let moe = house.models("moe.gguf").display().to_string();
    for args in [
        &["tiny", "--max-ctx"][..],
        &["tiny", "--ctx", "4096", "--gpu-layers", "2"],
        &["tiny", "--ctx", "4096", "--device", "none"],
        &["tiny", "--ctx", "8192", "--parallel", "4", "--no-kv-unified", "--ubatch", "256"],
        &["tiny", "--ctx", "8192", "--flash-attn", "off"],
        &[&moe, "--max-ctx"],
        &[&moe, "--ctx", "4096", "--n-cpu-moe", "2"],
    ] {
        is_as_planned(&house, args);
    }
}
