//! How models fit, in the list: how long a list of models of real size takes whose answers are ready, against sqlite3
//! printing as many rows of JSON; and how long it takes from a change of the machine until every line is right, against
//! nothing but the searches, in this process. `MODELCTL_BENCH_MODELS` says how many models.

mod figures;

use api::{Listed, Request, client::Client};
use domain::{
    facts::Facts,
    hardware::{Hardware, Ram},
    memory::Shape,
    plan::{Extras, How, Runs, fit},
};
use figures::{compare, percentile};
use std::{
    collections::BTreeMap,
    hint::black_box,
    process::{Command, Stdio},
    time::Instant,
};
use tests::{House, large, usage::resident};

const RUNS: usize = 21;
const CHANGES: usize = 7;
/// Milliseconds that a list may take, and that it may be wrong.
const GOAL_LIST: f64 = 20.0;
const GOAL_RIGHT: f64 = 1000.0;
const GIB: u64 = 1 << 30;

fn main() {
    let mut house = tests::house!();
    let models: u64 = std::env::var("MODELCTL_BENCH_MODELS").map_or(1000, |text| text.parse().unwrap());
    for n in 0..models {
        // Of a few sizes, dense and with experts.
        let name = format!("model-{n:05}");
        large::llama(&house.models(format!("{name}/{name}.gguf")), &name, n % 3 * 4);
    }
    house.memory(60 << 10);
    house.start();
    tests::wait_until("every model is listed", 300, || house.list(&[]).len() as u64 == models);
    let first = until(&house, |how| how != How::No);
    println!("{models} models, RSS {} KiB; the rest of the first {first:.0} ms", resident(&house));
    // Not read here: that takes longer.
    let raw = || drop(Client::connect(&house.socket()).unwrap().ask_raw(&everything()).unwrap());
    let mut times: Vec<f64> = (0..RUNS).map(|_| timed(raw)).collect();
    let listed = percentile(&times, 0.5);
    times.clear();
    times.extend((0..RUNS).filter_map(|_| rows(&house)));
    match times.is_empty() {
        true => println!("skipped: no sqlite3 on PATH"),
        false => compare("list over the socket / sqlite3 json", listed, percentile(&times, 0.5), None),
    }
    compare("list over the socket, floor is the goal", listed, GOAL_LIST, Some(1.0));
    let shape = shape(&house);
    let floor = timed(|| searches(&shape, models));
    let mut right = Vec::new();
    for n in 0..CHANGES {
        let is_small = n % 2 == 0;
        house.memory(if is_small { 3 << 10 } else { 60 << 10 });
        right.push(until(&house, |how| (how == How::No) == is_small));
    }
    compare("right again, median / searches", percentile(&right, 0.5), floor, None);
    compare("right again, worst, floor is the goal", percentile(&right, 1.0), GOAL_RIGHT, Some(1.0));
    println!("RSS {} KiB after all", resident(&house));
}

fn everything() -> Request {
    Request::List { filters: Vec::new(), sort: None, environment: BTreeMap::new() }
}

fn list(house: &House) -> Listed {
    Client::connect(&house.socket()).unwrap().ask(&everything()).unwrap()
}

fn timed(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds until every line of the list is so, asking again and again.
fn until(house: &House, is_right: impl Fn(How) -> bool) -> f64 {
    timed(|| while !list(house).models.iter().all(|model| model.fits.is_some_and(|fit| is_right(fit.how))) {})
}

/// Milliseconds of sqlite3 printing what the index keeps of every model; None where there is none.
fn rows(house: &House) -> Option<f64> {
    let mut command = Command::new("sqlite3");
    command.arg("-readonly").arg(house.state("index.db")).arg("SELECT json FROM model ORDER BY name, id");
    let started = Instant::now();
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success()).then(|| started.elapsed().as_secs_f64() * 1e3)
}

fn shape(house: &House) -> Shape {
    let facts: Facts = serde_json::from_value(house.show("model-00000")["facts"].clone()).unwrap();
    Shape::of(&facts).unwrap()
}

fn searches(shape: &Shape, models: u64) {
    let ram = Ram { total: 64 * GIB, available: 3 * GIB };
    let machine = Hardware { ram, ..Hardware::default() };
    for _ in 0..models {
        drop(black_box(fit(shape, &machine, Extras::default(), &Runs::default())));
    }
}
