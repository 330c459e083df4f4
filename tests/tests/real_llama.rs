//! With the real llama.cpp: MODELCTL_LLAMA_BIN is a directory with llama-server (tools/real-llama-cpp makes one),
//! MODELCTL_TINY_GGUF a file that tools/tiny_gguf.py wrote.

use rustix::process::Signal;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};
use tests::{house, skip, wait_until};

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
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    write!(stream, "POST {page} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
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

#[test]
fn a_model_dropped_into_a_folder_is_launched_answers_and_is_stopped() {
    let (Some(bin), Some(model)) =
        (std::env::var_os("MODELCTL_LLAMA_BIN"), std::env::var_os("MODELCTL_TINY_GGUF"))
    else {
        skip!("MODELCTL_LLAMA_BIN and MODELCTL_TINY_GGUF are not set");
    };
    let mut house = house!().started();
    fs::copy(&model, house.models("tiny.gguf")).unwrap();
    wait_until("the dropped file is listed", 15, || house.names(&["state=ok"]) == ["tiny"]);
    house.set("PATH", format!("{}:/usr/bin:/bin", Path::new(&bin).display()));
    let (mut stream, url) = house.launch(&["tiny", "--max-ctx"]);
    let ctx: u64 = stream.find("the context", 5, |line| {
        line.strip_prefix("context")?.trim().strip_suffix(" tokens")?.parse().ok()
    });
    assert!(ctx >= 512, "{ctx}");
    let host = url.strip_prefix("http://").unwrap();
    let answer = post(host, "/completion", r#"{"prompt":"hello","n_predict":4}"#);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let json: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert!(json["tokens_predicted"].as_u64().is_some_and(|tokens| tokens > 0), "{json}");
    let ours = house.models("tiny.gguf").display().to_string();
    assert!(!processes_with(&ours).is_empty());
    stream.signal(Signal::INT);
    let (code, lines) = stream.end(6);
    assert_eq!(code, 0, "{lines:?}");
    assert_eq!(processes_with(&ours), [""; 0]);
    assert!(TcpStream::connect(host).is_err(), "somebody still listens");
}
