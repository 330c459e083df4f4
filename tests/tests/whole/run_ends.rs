//! How runs end, and that what they leave is words only.

use crate::launch::ready_to_launch;
use rustix::process::Signal;
use serde_json::json;
use std::{
    fs,
    io::Write as _,
    time::{Duration, Instant},
};
use tests::wait_until;

#[test]
fn a_stop_ends_grandchildren_that_have_left_within_5_seconds() {
    let house = ready_to_launch();
    house.engine_mode("decoy");
    let run = house.launch_detached(&["m"]);
    let called = house.engine_call();
    assert_eq!(called.pids.len(), 3);
    let begun = Instant::now();
    house.does(&["stop", run["run"].as_str().unwrap()]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(called.is_gone());
}

#[test]
fn a_flood_is_bounded_and_keeps_nobody_waiting() {
    let house = ready_to_launch();
    house.engine_mode("flood");
    let run = house.launch_detached(&["m"]);
    let dir = house.state("runs").join(run["run"].as_str().unwrap());
    let size = |name: &str| dir.join(name).metadata().map_or(0, |meta| meta.len());
    wait_until("the log was turned over", 20, || size("log.1") > 0);
    let follower = house.stream(&["logs", "m", "-f"]);
    follower.find("its lines", 10, |line| line.starts_with("xxx").then_some(()));
    for _ in 0..20 {
        let begun = Instant::now();
        house.wire().call("Ps", json!({}));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(size("log") + size("log.1") <= 16 << 20);
    }
    house.does(&["stop", "m"]);
}

#[test]
fn a_long_log_is_told_whole_in_pieces_and_its_end_in_one_answer() {
    let house = ready_to_launch();
    let (owner, _) = house.launch(&["m"]);
    let word = house.json(&["ps"])["runs"][0]["run"].as_str().unwrap().to_owned();
    let printed = format!("{}\n", "x".repeat(1023)).repeat(6 << 10) + "the last line\n";
    let mut log =
        fs::OpenOptions::new().append(true).open(house.state("runs").join(&word).join("log")).unwrap();
    let begun = Instant::now();
    log.write_all(printed.as_bytes()).unwrap();
    owner.find("the last line", 20, |line| (line == "the last line").then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(7), "it took {:?}: a piece in 100 ms", begun.elapsed());
    assert_eq!(house.does(&["logs", &word]).lines().count(), 1 + (6 << 10) + 1);
    let told = house.wire().call("Logs", json!({ "run": word }));
    let lines = told["parameters"]["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 1 + 1023 + 1, "{}", lines[0]);
    assert_eq!(lines.last().unwrap(), "the last line");
    assert_eq!(house.json(&["logs", &word])["lines"].as_array().unwrap().len(), lines.len());
}

#[test]
fn a_model_that_does_not_fit_is_said_with_what_to_do() {
    let house = ready_to_launch();
    house.engine_mode("oom");
    for more in [&[][..], &["--detach"]] {
        let said = house.ctl(&[&["launch", "llama.cpp", "m"], more].concat());
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("out of memory") && said.err.contains("--ctx"), "{said:?}");
    }
    let failed = &house.json(&["ps"])["runs"][0];
    assert_eq!(
        (&failed["state"], &failed["code"], &failed["pid"]),
        (&json!("failed"), &json!(1), &json!(null))
    );
    assert!(failed["hint"].as_str().unwrap().contains("--margin"), "{failed}");
    assert_eq!(failed["last_lines"].as_array().unwrap().len(), 2);
}

#[test]
fn a_port_that_was_taken_is_changed_but_not_for_ever() {
    let house = ready_to_launch();
    house.engine_mode("taken-once");
    let run = house.launch_detached(&["m"]);
    assert_eq!(house.engine_starts(), 2);
    assert_eq!(run["state"], "ready");
    house.does(&["stop", "m"]);
    house.engine_mode("taken");
    let said = house.ctl(&["launch", "llama.cpp", "m"]);
    assert_eq!((said.code, house.engine_starts()), (1, 2 + 4), "{said:?}");
    assert!(said.err.contains("couldn't bind"), "{said:?}");
}

#[test]
fn a_log_is_followed_to_its_end_and_a_key_is_in_none() {
    let house = ready_to_launch();
    let run = house.launch_detached(&["m", "--", "--api-key", "sk-canary"]);
    let mut follower = house.stream(&["logs", run["run"].as_str().unwrap(), "-f", "--json"]);
    follower.find("the first line", 5, |line| line.contains("build: fake").then_some(()));
    let called = house.engine_call();
    assert_eq!(called.value("--api-key"), Some(&b"sk-canary"[..]));
    tests::house::send(called.pids[0], Signal::KILL);
    assert_eq!(follower.end(10).0, 0);
    let (mut stream, _) = house.launch(&["m", "--", "--api-key", "sk-canary"]);
    stream.signal(Signal::INT);
    let lines = stream.end(6).1.concat();
    let told = [lines, house.does(&["ps", "--json"]), house.log(), house.does(&["logs", "m"])].concat();
    assert!(!told.contains("sk-canary"), "{told}");
}

#[test]
fn old_runs_are_forgotten_with_their_directories_and_nothing_else_is() {
    let mut house = ready_to_launch();
    house.engine_mode("die");
    assert_eq!(house.ctl(&["launch", "llama.cpp", "m"]).code, 1);
    let runs = house.state("runs");
    let word = house.json(&["ps"])["runs"][0]["run"].as_str().unwrap().to_owned();
    tests::files::write(runs.join("rfoobar/mine"), "");
    tests::files::write(runs.join("notes.txt"), "");
    house.restart();
    assert!(runs.join(&word).exists());
    house.end(Signal::TERM);
    let state = runs.join(&word).join("state.json");
    let text = fs::read_to_string(&state).unwrap();
    let at = text.split(r#""at":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    fs::write(&state, text.replace(&at, "2020-01-01T00:00:00Z")).unwrap();
    house.start();
    assert!(!runs.join(&word).exists());
    assert_eq!(house.json(&["ps"])["runs"], json!([]));
    assert!(runs.join("rfoobar/mine").exists() && runs.join("notes.txt").exists());
}

#[test]
fn a_directory_of_runs_that_cannot_be_written_is_said_with_what_to_do() {
    let house = ready_to_launch();
    let runs = house.state("runs");
    fs::remove_dir_all(&runs).unwrap();
    std::os::unix::fs::symlink("/sys/kernel", &runs).unwrap(); // refuses root as well
    let said = house.ctl(&["launch", "llama.cpp", "m"]);
    assert_eq!((said.code, house.engine_starts()), (1, 0), "{said:?}");
    assert!(said.err.contains(runs.to_str().unwrap()) && said.err.contains("hint: "), "{said:?}");
    assert!(!said.err.contains("bug"), "{said:?}");
}
