//! Launching: what is sent, what is shown, and how Ctrl-C ends it. The program itself runs where signals matter.

use crate::fake::{Fake, Step, frame, run};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

fn plan() -> Value {
    json!({"engine": "llama.cpp", "model": {"id": "m1", "name": "m"}, "family": "llama", "goal": null, "fits": null,
        "limited_by": null, "ctx": null, "argv": ["/bin/llama-server", "--model", "/m/a b.gguf"], "env": {},
        "files": [], "explain": ["context is left to the engine\u{1b}"], "alternatives": [],
        "command": "/bin/llama-server --model '/m/a b.gguf'", "url": "http://127.0.0.1:8080"})
}

fn update(name: &str, state: &str) -> Step {
    let run = json!({"run": "r1", "engine": "llama.cpp", "model": {"id": "m1", "name": "m"}, "state": state,
        "pid": 7, "url": "http://127.0.0.1:8080", "ctx": 40960, "since": "2026-11-22T12:00:00Z"});
    let update = match name {
        "planned" => json!({"update": "planned", "plan": plan()}),
        "log" => json!({"update": "log", "line": "srv \u{1b}[2J update"}),
        "stopped" => json!({"update": "exited", "run": run, "code": null, "signal": 15, "stopped": true}),
        "died" => json!({"update": "exited", "run": run, "code": 1, "signal": null, "stopped": false}),
        other => json!({"update": other, "run": run}),
    };
    frame(&update.to_string(), !matches!(name, "stopped" | "died"))
}

const SHOWN: &str = "\
/bin/llama-server --model '/m/a b.gguf'
ready    http://127.0.0.1:8080
context  40960 tokens
plan     context is left to the engine\\x1b
try      curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \
-d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'
";

#[test]
fn a_plan_is_the_command_and_why() {
    let fake = Fake::replying(&plan().to_string());
    let mut environment = fake.environment();
    let variables =
        [("PATH", "/usr/bin"), ("HF_TOKEN", "secret"), ("CUDA_VISIBLE_DEVICES", "1"), ("HF_HOME", "")];
    environment.variables.extend(variables.map(|(name, value)| (name.into(), value.into())));
    let said = run(&["plan", "llama.cpp", "m", "--max-ctx", "--", "--jinja"], &environment);
    assert_eq!(said.out, "- context is left to the engine\\x1b\n\n/bin/llama-server --model '/m/a b.gguf'\n");
    let mut call = fake.call();
    assert_eq!(call["method"], "org.modelctl.Manager.Plan");
    let sent = call["parameters"].as_object_mut().unwrap();
    sent.retain(|_, value| !value.is_null());
    let parameters = json!({"engine": "llama.cpp", "model": "m", "goal": "max-ctx", "max_ctx": false, "allow_unsafe": false, "curve": false, "terms": false, "confirm": false, "forget": false, "detach": false,
        "extra": ["--jinja"], "environment": {"PATH": "/usr/bin", "CUDA_VISIBLE_DEVICES": "1"}});
    assert_eq!(call["parameters"], parameters);
}

#[test]
fn without_a_plan_there_is_nothing_to_explain_or_to_draw_and_that_is_said() {
    let said = Fake::replying(&plan().to_string()).run(&["plan", "llama.cpp", "m", "--explain", "--curve"]);
    assert_eq!(said.out, "- context is left to the engine\\x1b\n\n/bin/llama-server --model '/m/a b.gguf'\n");
    let notes = [
        "note: --explain is left out: there is no plan to explain",
        "note: --curve is left out: there is no plan to draw",
    ];
    assert!(said.err.lines().eq(notes), "{}", said.err);
}

#[test]
fn a_plan_that_does_not_fit_shows_what_is_missing_and_is_no_failure_until_it_is_launched() {
    let mut plan = plan();
    plan["fits"] = json!(false);
    plan["explain"] = json!(["it does not fit: 2.0 GiB are missing on CUDA0"]);
    plan["alternatives"] = json!(["without the fixed knobs it fits: 4096 tokens"]);
    plan["devices"] = json!([{"id": "CUDA0", "name": "card", "backend": "CUDA", "total": 8_u64 << 30,
        "free": 7_u64 << 30, "weights": 6_u64 << 30, "context": 2_u64 << 30, "compute": 0, "overhead": 0,
        "margin": 1_u64 << 30, "used": 8_u64 << 30, "left": -(2_i64 << 30), "slack": 0}]);
    plan["host"] = json!({"weights": 1 << 30, "context": 0, "compute": 0, "available": 8_u64 << 30});
    let said = Fake::replying(&plan.to_string()).run(&["plan", "llama.cpp", "m"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (
            0,
            "\
it does not fit: 2.0 GiB are missing on CUDA0
MEMORY       WEIGHTS  CONTEXT  COMPUTE  OTHER  KEPT FREE    UNUSED
CUDA0        6.0 GiB  2.0 GiB      0 B    0 B    1.0 GiB  -2.0 GiB
main memory  1.0 GiB      0 B      0 B    0 B        0 B   7.0 GiB
or without the fixed knobs it fits: 4096 tokens

/bin/llama-server --model '/m/a b.gguf'
"
        )
    );
    let print = &["launch", "llama.cpp", "m", "--print"][..];
    for (args, out) in [(print, String::new()), (&[print, &["--json"]].concat(), format!("{plan}\n"))] {
        let said = Fake::replying(&plan.to_string()).run(args);
        assert_eq!((said.code, said.out), (1, out));
        assert!(
            said.err.contains("2.0 GiB are missing on CUDA0") && said.err.contains("hint: "),
            "{}",
            said.err
        );
    }
}

#[test]
fn sentences_are_broken_where_a_terminal_ends_and_stay_whole_in_a_pipe() {
    let mut plan = plan();
    plan["explain"] = json!(["5 of 5 layers on Vulkan0 (llvmpipe): everything fits"]);
    plan["alternatives"] = json!(["--allow-kv-quant: q8_0 KV, 30720 tokens instead of 16640"]);
    plan["host"] = json!({"weights": 0, "context": 0, "compute": 0, "available": 0});
    plan["terms"] = json!([{"place": "CUDA0", "what": "kept free", "bytes": 1, "note": "libraries and prompts take of it"}]);
    let shown = |is_terminal: bool| {
        let fake = Fake::replying(&plan.to_string());
        let mut environment = fake.environment();
        (environment.stdout_is_terminal, environment.width) = (is_terminal, Some(50));
        environment.variables.insert("NO_COLOR".into(), "1".into());
        run(&["plan", "llama.cpp", "m", "--explain"], &environment).out
    };
    let broken = "
CUDA0  kept free    1 B  libraries and prompts
                         take of it

- 5 of 5 layers on Vulkan0 (llvmpipe): everything
  fits
or --allow-kv-quant: q8_0 KV, 30720 tokens instead
   of 16640

";
    assert!(shown(true).contains(broken), "{}", shown(true));
    let whole = "- 5 of 5 layers on Vulkan0 (llvmpipe): everything fits\nor --allow-kv-quant: q8_0 KV, 30720 tokens instead of 16640\n";
    assert!(shown(false).contains(whole), "{}", shown(false));
}

#[test]
fn ranges_have_the_dash_that_the_locale_has() {
    let mut plan = plan();
    plan["explain"] = json!(["about 12–15 tokens/s (efficiency 0.5–0.8; 32 layers at 20–60 µs)"]);
    for (locale, line) in [
        ("C", "- about 12-15 tokens/s (efficiency 0.5-0.8; 32 layers at 20-60 us)\n"),
        ("C.UTF-8", "- about 12–15 tokens/s (efficiency 0.5–0.8; 32 layers at 20–60 µs)\n"),
    ] {
        let fake = Fake::replying(&plan.to_string());
        let mut environment = fake.environment();
        environment.variables.insert("LANG".into(), locale.into());
        let shown = run(&["plan", "llama.cpp", "m"], &environment).out;
        assert!(shown.starts_with(line), "{shown}");
    }
}

#[test]
fn a_device_in_the_machines_own_memory_is_one_pool_with_it() {
    let mut plan = plan();
    plan["host"] = json!({"weights": 1 << 30, "context": 0, "compute": 0, "available": 8_u64 << 30});
    let shown = |shares_ram: bool| {
        let mut plan = plan.clone();
        plan["devices"] = json!([{"id": "Vulkan0", "name": "card", "backend": "Vulkan", "total": 8_u64 << 30,
            "free": 8_u64 << 30, "weights": 4_u64 << 30, "context": 0, "compute": 0, "overhead": 0, "margin": 0,
            "used": 4_u64 << 30, "left": 4_i64 << 30, "shares_ram": shares_ram}]);
        Fake::replying(&plan.to_string()).run(&["plan", "llama.cpp", "m"]).out
    };
    let line =
        "3.0 GiB\nVulkan0 and main memory are one pool: what one of them takes is missing to the other\n";
    assert!(shown(true).contains(line), "{}", shown(true));
    assert!(!shown(false).contains("one pool"), "{}", shown(false));
}

#[test]
fn knobs_are_sent_under_their_own_names() {
    let fake = Fake::replying(&plan().to_string());
    let args =
        ["--ctx", "4096", "--no-kv-offload", "--kv-unified", "--device", "CUDA0,CUDA1", "--margin", "512"];
    fake.run(&[&["plan", "llama.cpp", "m", "--goal", "fastest", "--gpu-layers", "all"], &args[..]].concat());
    let sent = &fake.call()["parameters"];
    for (name, value) in [
        ("goal", json!("fastest")),
        ("ctx", json!(4096)),
        ("gpu_layers", json!("all")),
        ("kv_offload", json!(false)),
        ("kv_unified", json!(true)),
        ("op_offload", Value::Null),
        ("device", json!(["CUDA0", "CUDA1"])),
        ("margin", json!(512_u64 << 20)),
    ] {
        assert_eq!(sent[name], value, "{name}");
    }
}

#[test]
fn print_is_the_command_alone() {
    let fake = Fake::replying(&plan().to_string());
    assert_eq!(
        fake.run(&["launch", "llama.cpp", "m", "--print"]).out,
        "/bin/llama-server --model '/m/a b.gguf'\n"
    );
    assert_eq!(fake.call()["method"], "org.modelctl.Manager.Plan");
    let json = Fake::replying(&plan().to_string()).run(&["launch", "llama.cpp", "m", "--print", "--json"]);
    assert_eq!(json.out, format!("{}\n", plan()));
}

#[test]
fn the_line_to_try_says_where_a_key_belongs_and_not_which() {
    for (flag, has_key) in [("--api-key", true), ("--api-key-file=/k", true), ("--jinja", false)] {
        let mut plan = plan();
        plan["argv"] = json!(["/bin/llama-server", flag, "***"]);
        let planned = frame(&json!({"update": "planned", "plan": plan}).to_string(), true);
        let said = Fake::new(vec![planned, update("ready", "ready"), update("stopped", "exited")]).run(&[
            "launch",
            "llama.cpp",
            "m",
        ]);
        let key = "completions -H \"Authorization: Bearer $API_KEY\" -H 'Content-Type";
        assert_eq!(said.out.contains(key), has_key, "{}", said.out);
    }
}

#[test]
fn an_engine_that_dies_is_a_failure() {
    let updates = || ["planned", "started", "ready", "log", "died"].map(|name| update(name, "ready")).into();
    let said = Fake::new(updates()).run(&["launch", "llama.cpp", "m"]);
    assert_eq!((said.code, said.out), (1, format!("{SHOWN}srv \\x1b[2J update\n")));
    assert_eq!(
        said.err,
        "starting llama.cpp…\nCtrl-C stops it\nerror: llama.cpp ended by itself, with exit code 1\n\
         hint: the lines above are the last that it said\n"
    );
    let said = Fake::new(updates()).run(&["launch", "llama.cpp", "m", "--json"]);
    assert_eq!((said.code, said.out.lines().count()), (1, 5));
}

#[test]
fn an_engine_that_never_gets_ready_shows_its_last_lines() {
    let error = json!({"error": "org.modelctl.Manager.RunFailed",
        "parameters": {"engine": "llama.cpp", "why": "exit code 1", "last_lines": ["out of memory\u{7}"]}});
    let said = Fake::new(vec![update("planned", ""), Step::Send(error.to_string())]).run(&[
        "launch",
        "llama.cpp",
        "m",
    ]);
    assert_eq!(said.code, 1);
    assert_eq!(said.err, "error: llama.cpp ended before it was ready: exit code 1\n  out of memory\\x07\n");
}

#[test]
fn a_detached_launch_returns_when_it_is_ready_and_says_how_to_go_on() {
    let mut steps: Vec<Step> = ["planned", "started"].map(|name| update(name, "starting")).into();
    let Step::Send(ready) = update("ready", "ready") else { panic!() };
    steps.push(Step::Send(ready.replace(r#","continues":true"#, "").replace(r#""continues":true,"#, "")));
    let fake = Fake::new(steps);
    let said = fake.run(&["launch", "llama.cpp", "m", "--detach"]);
    assert_eq!((said.code, said.out.as_str()), (0, SHOWN));
    assert_eq!(said.err, "starting llama.cpp…\nruns as r1: modelctl logs -f r1, modelctl stop r1\n");
    assert_eq!(fake.call()["parameters"]["detach"], true);
}

#[test]
fn a_run_that_was_there_is_shown_and_left_running() {
    let steps = ["started", "ready", "stopped"].map(|name| update(name, "ready")).into();
    let said = Fake::new(steps).run(&["launch", "llama.cpp", "m"]);
    assert_eq!(said.code, 0);
    assert_eq!(
        said.err,
        "the same is ready already, as r1: no second one is started\nCtrl-C leaves it running\nstopped\n"
    );
}

#[test]
fn a_daemon_that_ends_is_told_with_what_runs_on() {
    let steps = ["planned", "started", "ready"].map(|name| update(name, "ready")).into();
    let said = Fake::new(steps).run(&["launch", "llama.cpp", "m"]);
    assert_eq!(said.code, 3);
    assert!(said.err.contains("runs on") && said.err.contains("modelctl stop r1"), "{}", said.err);
}

#[test]
fn a_signal_stops_the_run_and_that_is_success() {
    for signal in ["INT", "TERM", "HUP"] {
        let mut steps: Vec<Step> = ["planned", "started", "ready"].map(|name| update(name, "ready")).into();
        steps.extend([Step::UntilHangUp, update("log", ""), update("stopped", "exited")]);
        let (fake, mut child) = started(steps);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut shown = String::new();
        while !shown.contains("try ") {
            assert_ne!(out.read_line(&mut shown).unwrap(), 0, "{shown}");
        }
        kill(signal, child.id());
        out.read_to_string(&mut shown).unwrap();
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}: {err}");
        assert_eq!(shown, format!("{SHOWN}srv \\x1b[2J update\n"));
        assert_eq!(err, "starting llama.cpp…\nCtrl-C stops it\nstopped\n");
        assert_eq!(fake.call()["more"], true);
    }
}

#[test]
fn a_second_signal_ends_the_client_at_once() {
    // The daemon never says that the engine has stopped: it waits for a second hang-up that cannot come.
    let (told, hung_up) = std::sync::mpsc::channel();
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("modeld")).unwrap();
    let path = directory.path().join("modeld").join(api::INTERFACE);
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() && byte != [0] {}
        told.send("called").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        told.send("hung up").unwrap();
        std::thread::park();
    });
    let mut child = program(directory.path()).spawn().unwrap();
    for expected in ["called", "hung up"] {
        assert_eq!(hung_up.recv().unwrap(), expected);
        kill("INT", child.id());
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

fn started(steps: Vec<Step>) -> (Fake, std::process::Child) {
    let fake = Fake::new(steps);
    let child = program(fake.directory.path()).spawn().unwrap();
    (fake, child)
}

fn program(runtime: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelctl"));
    command.args(["launch", "llama.cpp", "m"]).env_clear().env("XDG_RUNTIME_DIR", runtime);
    command.env("MODELCTL_AUTOSTART", "0").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn kill(signal: &str, pid: u32) {
    let status = Command::new("bash").args(["-c", &format!("kill -{signal} {pid}")]).status();
    assert!(status.unwrap().success());
}
