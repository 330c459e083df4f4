//! Runs outlive whoever started them: other clients, and the daemon itself.

use crate::launch::ready_to_launch;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use tests::{House, engine::is_running, wait_until};

/// Whether an engine answers.
fn answers(url: &Value) -> bool {
    let host = url.as_str().unwrap().strip_prefix("http://").unwrap();
    let Ok(mut stream) = TcpStream::connect(host) else { return false };
    let mut answer = String::new();
    write!(stream, "GET /health HTTP/1.0\r\nHost: {host}\r\n\r\n").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.contains("200")
}

/// What stays the same as long as a run lives.
fn identity(run: &Value) -> [&Value; 6] {
    ["run", "pid", "since", "url", "ctx", "state"].map(|field| &run[field])
}

#[test]
fn a_detached_launch_returns_and_ps_logs_and_stop_are_for_it() {
    let house = ready_to_launch();
    let nothing = house.ctl(&["ps"]);
    assert!(nothing.code == 0 && nothing.err.contains("--detach"), "{nothing:?}");
    let run = house.launch_detached(&["m"]);
    let called = house.engine_call();
    let shown = house.run(&run["run"]);
    assert_eq!(identity(&shown), identity(&run));
    assert_eq!(
        (&shown["ctx"], &shown["ours"], &shown["pid"]),
        (&json!(12288), &json!(true), &json!(called.pids[0]))
    );
    assert!(shown["memory"]["host"].as_u64().unwrap() > 1 << 20, "{shown}");
    assert_eq!(shown["last_lines"][0], "build: fake, loading model");
    let word = run["run"].as_str().unwrap();
    assert!(house.does(&["ps"]).contains(word));
    assert!(house.does(&[]).contains(word), "the home screen");
    assert_eq!(house.does(&["logs", &word[..3]]), "build: fake, loading model\n");
    assert_eq!(house.json(&["logs", "m"])["lines"][0], "build: fake, loading model");
    let stopped = house.json(&["stop", "m"]);
    assert_eq!((&stopped["run"]["state"], &stopped["run"]["run"]), (&json!("exited"), &run["run"]));
    assert!(called.is_gone());
    assert_eq!(house.run(&run["run"])["state"], "exited");
    let said = house.ctl(&["stop", "nonsense"]);
    assert!(said.code == 1 && said.err.contains("no run named `nonsense`"), "{said:?}");
    assert_eq!(house.does(&["stop", "--all"]), "");
}

#[test]
fn a_daemon_that_is_killed_20_times_finds_its_run_again_and_not_a_request_fails_meanwhile() {
    let mut house = ready_to_launch();
    let run = house.launch_detached(&["m"]);
    let called = house.engine_call();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut asked, begun) = (0, Instant::now());
            while !is_over.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(60) {
                assert!(answers(&run["url"]), "after {asked} answers");
                asked += 1;
            }
            asked
        });
        for n in 0..20 {
            house.end(if n % 4 == 1 { Signal::TERM } else { Signal::KILL });
            house.start();
            assert_eq!(identity(&house.run(&run["run"])), identity(&run));
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(asking.join().unwrap() > 20);
    });
    let again = house.launch_detached(&["m"]);
    assert_eq!(identity(&again), identity(&run), "the same launch means the same run, also after a restart");
    house.does(&["stop", run["run"].as_str().unwrap()]);
    assert!(called.is_gone());
    house.restart();
    assert_eq!(house.run(&run["run"])["state"], "exited", "how it ended is known still");
    assert_eq!(house.engine_starts(), 1);
}

#[test]
fn a_run_that_starts_while_the_daemon_is_killed_gets_ready_under_the_next() {
    let mut house = ready_to_launch();
    house.engine_mode("loading");
    let stream = house.stream(&["launch", "llama.cpp", "m", "--detach"]);
    let called = house.engine_call();
    house.end(Signal::KILL);
    drop(stream);
    house.engine_mode("");
    house.start();
    wait_until("it is ready", 10, || house.json(&["ps"])["runs"][0]["state"] == "ready");
    assert_eq!(house.json(&["ps"])["runs"][0]["ctx"], 12288);
    house.does(&["stop", "--all"]);
    assert!(called.is_gone());
}

#[test]
fn an_end_while_no_daemon_runs_is_told_by_the_next() {
    let mut house = ready_to_launch();
    let run = house.launch_detached(&["m"]);
    let called = house.engine_call();
    house.end(Signal::KILL);
    tests::house::send(called.pids[0], Signal::KILL);
    wait_until("it is gone", 8, || called.is_gone());
    wait_until("its supervisor is gone", 8, || supervisor(&house, &run).is_none());
    house.start();
    let shown = house.run(&run["run"]);
    assert_eq!((&shown["state"], &shown["signal"]), (&json!("failed"), &json!(9)), "{shown}");
}

/// The supervisor of a run, while it lives.
fn supervisor(house: &House, run: &Value) -> Option<u32> {
    let path = house.state("runs").join(run["run"].as_str().unwrap()).join("state.json");
    let state: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let pid = u32::try_from(state["supervisor"]["pid"].as_u64().unwrap()).unwrap();
    is_running(pid).then_some(pid)
}

#[test]
fn a_killed_supervisor_leaves_nothing_not_even_what_has_left_its_session() {
    for daemon_is_there in [true, false] {
        let mut house = ready_to_launch();
        house.engine_mode("decoy");
        let run = house.launch_detached(&["m"]);
        let called = house.engine_call();
        if !daemon_is_there {
            house.end(Signal::KILL);
        }
        tests::house::send(supervisor(&house, &run).unwrap(), Signal::KILL);
        wait_until("the engine is gone", 5, || !is_running(called.pids[0]));
        if !daemon_is_there {
            house.start();
        }
        wait_until("nothing is left", 5, || called.is_gone());
        wait_until("it is told", 5, || house.run(&run["run"])["state"] == "failed");
        assert!(house.run(&run["run"])["why"].as_str().unwrap().contains("supervisor"));
    }
}

#[test]
fn a_server_of_somebody_else_is_never_touched() {
    let mut house = ready_to_launch();
    let mut decoy = Command::new(house.at("tools/llama-server"))
        .args(["--model", house.models("m.gguf").to_str().unwrap(), "--port", "0"])
        .env("HOME", house.home(""))
        .current_dir(house.at(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let called = house.engine_call();
    let run = house.launch_detached(&["m"]);
    house.end(Signal::KILL);
    house.start();
    house.does(&["stop", run["run"].as_str().unwrap()]);
    house.restart();
    assert!(decoy.try_wait().unwrap().is_none(), "it was ended");
    decoy.kill().unwrap();
    decoy.wait().unwrap();
    called.kill();
}

#[test]
fn whoever_joins_a_run_does_not_own_it() {
    let house = ready_to_launch();
    let (mut owner, url) = house.launch(&["m"]);
    let called = house.engine_call();
    let (mut joined, same_url) = house.launch(&["m"]);
    assert_eq!(url, same_url);
    joined.signal(Signal::INT);
    let (code, lines) = joined.end(5);
    assert_eq!(code, 0);
    assert!(lines.iter().any(|line| line.contains("goes on")), "{lines:?}");
    assert!(!called.is_gone());
    owner.signal(Signal::INT);
    assert_eq!(owner.end(6).0, 0);
    assert!(called.is_gone());
}

#[test]
fn a_run_that_a_detached_launch_was_told_of_goes_on_without_its_owner() {
    let house = ready_to_launch();
    let (mut owner, url) = house.launch(&["m"]);
    let called = house.engine_call();
    let run = house.launch_detached(&["m"]);
    assert_eq!(run["url"], url.as_str());
    owner.signal(Signal::INT);
    let (code, lines) = owner.end(5);
    assert_eq!(code, 0);
    assert!(lines.iter().any(|line| line.contains("it goes on")), "{lines:?}");
    assert_eq!(identity(&house.run(&run["run"])), identity(&run));
    assert!(!called.is_gone());
    house.does(&["stop", "m"]);
    assert!(called.is_gone());
}

/// Puts a program in the place of systemd-run, and a user manager's socket where it would be.
fn with_manager(script: &str) -> House {
    let mut house = ready_to_launch();
    tests::files::write(house.at("run/systemd/private"), "");
    let path = house.at("tools/systemd-run");
    tests::files::write(&path, format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    house.restart();
    house
}

#[test]
fn where_a_user_manager_runs_each_run_has_a_unit_of_its_own() {
    let house = with_manager(
        r#"printf '%s\n' "$@" >"$XDG_RUNTIME_DIR/asked"; until [ "$1" = -- ]; do shift; done; shift; setsid "$@" >/dev/null 2>&1 &"#,
    );
    let run = house.launch_detached(&["m"]);
    let unit = format!("modelctl-{}.service", run["run"].as_str().unwrap());
    assert_eq!(run["unit"], unit.as_str());
    let asked = fs::read_to_string(house.at("run/asked")).unwrap();
    for word in ["--user", "--slice=modelctl.slice", "KillMode=mixed", "OOMPolicy=continue", "supervise"] {
        assert!(asked.lines().any(|line| line == word), "{word}: {asked}");
    }
    assert!(asked.contains(&format!("--unit={unit}")), "{asked}");
    house.does(&["stop", "m"]);
    assert!(house.engine_call().is_gone());
}

#[test]
fn a_user_manager_that_refuses_does_not_keep_a_run_from_starting() {
    let house = with_manager("echo 'no such bus' >&2; exit 1");
    let run = house.launch_detached(&["m"]);
    assert_eq!((&run["state"], &run["unit"]), (&json!("ready"), &json!(null)));
    assert!(house.log().contains("no such bus"));
    house.does(&["stop", "m"]);
}

#[test]
fn an_answer_of_somebody_else_on_its_port_does_not_make_a_run_ready() {
    let house = ready_to_launch();
    house.engine_mode("deaf");
    let stream = house.stream(&["launch", "llama.cpp", "m"]);
    let called = house.engine_call();
    let port = String::from_utf8(called.value("--port").unwrap().to_vec()).unwrap();
    let listener = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    for _ in 0..5 {
        let (mut asking, _) = listener.accept().unwrap();
        drop(asking.read(&mut [0; 1024]));
        asking.write_all(b"HTTP/1.0 200 OK\r\n\r\n{}").unwrap();
        assert_eq!(house.json(&["ps"])["runs"][0]["state"], "starting");
    }
    drop(stream);
    wait_until("it is gone", 6, || called.is_gone());
}
