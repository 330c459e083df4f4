//! How launches end: nothing of them is left, whoever goes first.

use crate::launch::ready_to_launch;
use rustix::process::Signal;
use tests::wait_until;

#[test]
fn an_engine_that_ignores_being_asked_is_killed_within_5_seconds() {
    let house = ready_to_launch();
    house.engine_mode("stubborn");
    let (mut stream, _) = house.launch(&["m"]);
    let called = house.engine_call();
    stream.signal(Signal::INT);
    assert_eq!(stream.end(6).0, 0);
    assert!(called.is_gone());
}

#[test]
fn a_client_that_is_killed_takes_its_engine_with_it() {
    let house = ready_to_launch();
    let (stream, _) = house.launch(&["m"]);
    let called = house.engine_call();
    stream.signal(Signal::KILL);
    wait_until("the engine is gone", 5, || called.is_gone());
    wait_until("the run is gone", 5, || house.json(&[])["runs"] == serde_json::json!([]));
}

#[test]
fn a_launch_that_is_interrupted_while_it_loads_leaves_nothing() {
    let house = ready_to_launch();
    house.engine_mode("loading");
    let mut stream = house.stream(&["launch", "llama.cpp", "m"]);
    let called = house.engine_call();
    stream.signal(Signal::INT);
    let (code, lines) = stream.end(5);
    assert_eq!(code, 0, "{lines:?}");
    assert!(called.is_gone());
}

#[test]
fn an_engine_that_dies_at_once_is_exit_1_with_its_last_lines() {
    let house = ready_to_launch();
    house.engine_mode("die");
    let said = house.ctl(&["launch", "llama.cpp", "m"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("the fake engine has no such tensor"), "{said:?}");
    assert!(said.err.contains('7'), "the exit code: {said:?}");
    assert!(house.engine_call().is_gone());
}

#[test]
fn an_engine_that_dies_later_is_told() {
    let house = ready_to_launch();
    let (mut stream, _) = house.launch(&["m"]);
    let called = house.engine_call();
    tests::house::send(called.pids[0], Signal::KILL);
    let (code, lines) = stream.end(10);
    assert_eq!(code, 1, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("signal 9")), "{lines:?}");
    assert!(called.is_gone(), "what it had started is gone too");
}

#[test]
fn a_daemon_that_ends_leaves_its_engines_alone_and_the_client_says_so() {
    let mut house = ready_to_launch();
    let (mut stream, _) = house.launch(&["m"]);
    let called = house.engine_call();
    assert!(house.end(Signal::TERM).success());
    let (code, lines) = stream.end(5);
    assert_eq!(code, 3, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("modelctl stop r")), "{lines:?}");
    assert!(!called.is_gone());
    house.start();
    let runs = house.json(&["ps"]);
    assert_eq!(
        (&runs["runs"][0]["state"], &runs["runs"][0]["pid"]),
        (&"ready".into(), &called.pids[0].into())
    );
    house.does(&["stop", "m"]);
    assert!(called.is_gone());
}

#[test]
fn two_different_launches_are_two_runs_on_two_ports() {
    let house = ready_to_launch();
    let (mut first, url) = house.launch(&["m"]);
    let one = house.engine_call();
    let (mut second, other_url) = house.launch(&["m", "--", "--temp", "1"]);
    let two = house.engine_call();
    assert_ne!(url, other_url);
    assert_eq!(house.json(&[])["runs"].as_array().unwrap().len(), 2);
    first.signal(Signal::TERM);
    assert_eq!(first.end(5).0, 0);
    assert!(one.is_gone() && !two.is_gone());
    second.signal(Signal::INT);
    assert_eq!(second.end(5).0, 0);
    assert!(two.is_gone());
}
