//! What people see of their machine and their engines, compared as text.

use crate::fake::{Fake, Step, frame, run};
use serde_json::{Value, json};
use std::time::Duration;

fn gpu(id: &str, name: &str) -> Value {
    json!({
        "id": id, "name": name, "backend": "CUDA", "total": 25_757_220_864_u64, "free": 20_000_000_000_u64,
        "pci": "0000:01:00.0", "processes": {"4711": 3_221_225_472_u64, "9": 1_048_576},
    })
}

fn report() -> Value {
    let note = "NVIDIA GeForce RTX 4090 (0000:01:00.0) is there, and this engine does not see it";
    let engine = |program: &str, devices: Value, note: Value| json!({"engine": "llama.cpp", "program": program, "version": "0.7.0", "devices": devices, "note": note});
    json!({
        "gpus": [gpu("CUDA0", "NVIDIA GeForce RTX 4090"), {
            "id": "Vulkan1", "name": "fake\u{1b}[31m", "backend": "Vulkan", "total": 1, "free": 1, "shares_ram": true,
        }],
        "ram": {"total": 8_589_934_592_u64, "available": 4_294_967_296_u64},
        "cpu": {"cores": 8, "threads": 16, "name": "AMD Ryzen 7 9700X"},
        "holders": {"4711": "llama-server"},
        "engines": [
            engine("/usr/bin/llama-server", json!([gpu("CUDA0", "x")]), json!(null)),
            engine("/opt/llama-server", json!([]), json!(note)),
        ],
        "notes": ["8.0 GiB of the machine's 64.0 GiB may be used: the limit of /sys/fs/cgroup/user.slice"],
        "invented": true,
    })
}

#[test]
fn hardware_is_memory_then_cards_with_their_holders_then_what_engines_see() {
    let said = Fake::replying(&report().to_string()).run(&["hardware"]);
    let expected = r"
memory     4.0 GiB of 8.0 GiB available, 4.0 GiB used
processor  AMD Ryzen 7 9700X, 8 cores, 16 threads
note       8.0 GiB of the machine's 64.0 GiB may be used: the limit of /sys/fs/cgroup/user.slice

GPU      NAME                         FREE     TOTAL  ADDRESS       MEMORY
CUDA0    NVIDIA GeForce RTX 4090  18.6 GiB  24.0 GiB  0000:01:00.0
  9 ? holds 1.0 MiB
  4711 llama-server holds 3.0 GiB
Vulkan1  fake\x1b[31m                  1 B       1 B                the machine's

ENGINES
llama.cpp sees CUDA0  /usr/bin/llama-server  0.7.0
llama.cpp sees no GPU  /opt/llama-server  0.7.0
  NVIDIA GeForce RTX 4090 (0000:01:00.0) is there, and this engine does not see it
";
    assert_eq!(said.out, expected.trim_start_matches('\n'), "{}", said.out);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn a_card_that_nobody_can_ask_is_not_said_to_be_none() {
    let card =
        json!({"name": "Intel Arc A380", "backend": "SYCL", "state": "untold", "why": "an engine alone can"});
    let ram = json!({"total": 8, "available": 4});
    let report = json!({"gpus": [], "ram": ram, "cpu": {}, "holders": {}, "engines": [], "notes": [],
        "cards": [card]});
    let shown = |report: &Value| Fake::replying(&report.to_string()).run(&["hardware"]).out;
    let said = shown(&report);
    assert!(said.contains("Intel Arc A380") && !said.contains("models run on the processor"), "{said}");
    let mut asked = report;
    asked["engines"] =
        json!([{"engine": "llama.cpp", "program": "/l", "version": null, "devices": [], "note": null}]);
    let said = shown(&asked);
    assert!(said.contains("\nno engine sees any of these GPUs: models run on the processor\nGPU "), "{said}");
    // What could not be asked may see them.
    asked["engines"][0]["note"] = json!("libggml.so is missing");
    let said = shown(&asked);
    assert!(!said.contains("models run on the processor"), "{said}");
}

#[test]
fn who_watches_gets_one_report_after_the_other() {
    let text = report().to_string();
    let steps = || vec![frame(&text, true), frame(&text, false)];
    let fake = Fake::new(steps());
    let said = fake.run(&["hardware", "--watch", "--json"]);
    assert_eq!(said.out, format!("{text}\n{text}\n"));
    let call = fake.call();
    assert_eq!((&call["method"], &call["more"]), (&"org.modelctl.Manager.Hardware".into(), &true.into()));
    let said = Fake::new(steps()).run(&["hardware", "--watch"]);
    assert_eq!(said.out.matches("\n\nmemory ").count(), 1, "{}", said.out);
    assert!(!said.out.contains('\x1b'), "no terminal, nothing to overwrite");
}

#[test]
fn engines_are_a_table_and_what_is_missing_says_what_to_do() {
    let engines = json!({"engines": [
        {"engine": "llama.cpp", "found": true, "program": "/opt/llama-server", "version": "0.7.0",
         "devices": [gpu("CUDA0", "x"), gpu("CUDA1", "x")], "flags": 412, "added": true, "looked": [], "note": "odd"},
        {"engine": "other", "found": false, "program": null, "version": null, "devices": [], "flags": 0,
         "added": false, "looked": ["/usr/bin", "/bin"], "note": null},
    ]});
    let said = Fake::replying(&engines.to_string()).run(&["engines"]);
    let expected = r"
ENGINE     STATE      SEES         PROGRAM            VERSION
llama.cpp  added      CUDA0 CUDA1  /opt/llama-server  0.7.0
  odd
other      not found
  looked in /usr/bin /bin
  install other or put it on PATH, or name one that is elsewhere: modelctl engines add PATH
";
    assert_eq!(said.out, expected.trim_start_matches('\n'), "{}", said.out);
}

#[test]
fn the_callers_world_goes_with_the_question() {
    let fake = Fake::replying("{}");
    let mut environment = fake.environment();
    for (name, value) in [
        ("PATH", "/opt/bin"),
        ("CUDA_VISIBLE_DEVICES", "1"),
        ("HF_TOKEN", "secret"),
        ("HF_HOME", ""),
        ("HIP_VISIBLE_DEVICES", ""),
    ] {
        environment.variables.insert(name.into(), value.into());
    }
    assert_eq!(run(&["engines", "add", "bin", "--json"], &environment).code, 0);
    let expected = json!({"path": "/home/you/here/bin", "environment": {"PATH": "/opt/bin", "CUDA_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": ""}});
    assert_eq!(fake.call()["parameters"], expected);
    assert_eq!(run(&["engines", "remove"], &environment).code, 2);
}

#[test]
fn stopping_is_one_document_however_many_are_stopped() {
    let reply = |run: &str| {
        let run = json!({"run": run, "engine": "llama.cpp", "model": {"id": "m1", "name": "m"}, "state": "exited",
            "since": "2026-11-22T12:00:00Z"});
        frame(&json!({ "run": run }).to_string(), false)
    };
    let words = |said: &str| -> Value {
        let said: Value = serde_json::from_str(said).unwrap();
        said["runs"].as_array().unwrap().iter().map(|run| run["run"].clone()).collect()
    };
    let one = Fake::new(vec![reply("r1")]).run(&["stop", "r1", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&one.out).unwrap()["run"]["run"], "r1");
    let two = Fake::new(vec![reply("r1"), Step::Call, reply("r2")]).run(&["stop", "r1", "r2", "--json"]);
    assert_eq!((words(&two.out), two.err.as_str()), (json!(["r1", "r2"]), ""));
    let none = Fake::replying(r#"{"runs":[]}"#).run(&["stop", "--all", "--json"]);
    assert_eq!((none.code, words(&none.out), none.err.as_str()), (0, json!([]), ""));
    let refusal = json!({"error": "org.modelctl.Manager.NoSuchRun", "parameters": {"name": "x", "runs": []}});
    let steps = vec![Step::Send(refusal.to_string()), Step::Call, reply("r2")];
    let half = Fake::new(steps).run(&["stop", "x", "r2", "--json"]);
    assert_eq!((half.code, words(&half.out)), (1, json!(["r2"])));
}

#[test]
fn engines_that_take_long_to_answer_are_waited_for_with_a_word_on_a_terminal() {
    for (is_terminal, time, told) in
        [(true, 2500, "asking the engines what they can do...\n"), (true, 0, ""), (false, 2500, "")]
    {
        let steps = vec![Step::Pause(Duration::from_millis(time)), frame(r#"{"engines":[]}"#, false)];
        let fake = Fake::new(steps);
        let mut environment = fake.environment();
        environment.stderr_is_terminal = is_terminal;
        let said = run(&["engines"], &environment);
        assert_eq!((said.code, said.err.as_str()), (0, told));
    }
}
