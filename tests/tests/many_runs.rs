//! Many launches at once. A program of its own: nothing else runs beside it.

use serde_json::Value;
use std::{collections::BTreeSet, thread};
use tests::house;

#[test]
fn a_hundred_launches_of_the_same_at_once_are_one_process_and_fifty_others_have_fifty_ports() {
    let house = house!().ready_to_launch();
    let runs: Vec<Value> = thread::scope(|scope| {
        let all: Vec<_> = (0..100).map(|_| scope.spawn(|| house.launch_detached(&["m"]))).collect();
        all.into_iter().map(|launched| launched.join().unwrap()).collect()
    });
    assert_eq!(house.engine_starts(), 1);
    let same = |run: &Value| ["run", "pid", "url", "since"].iter().all(|field| run[field] == runs[0][field]);
    assert!(runs.iter().all(same), "{runs:?}");

    let house = house!().ready_to_launch();
    let urls: BTreeSet<String> = thread::scope(|scope| {
        let launch = |n: usize| house.launch_detached(&["m", "--", "--temp", &n.to_string()]);
        let all: Vec<_> = (0..50).map(|n| scope.spawn(move || launch(n))).collect();
        all.into_iter().map(|launched| launched.join().unwrap()["url"].to_string()).collect()
    });
    assert_eq!((urls.len(), house.engine_starts()), (50, 50));
    house.does(&["stop", "--all"]);
    let runs = house.json(&["ps"]);
    assert!(runs["runs"].as_array().unwrap().iter().all(|run| run["state"] == "exited"), "{runs}");
}
