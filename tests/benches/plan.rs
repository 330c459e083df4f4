//! `modelctl plan`, exec to exit, against a program that does nothing, and `llama-fit-params` where it is on PATH.
//! `MODELCTL_LLAMA_BIN` names a folder with a real llama-server; without it the fake one is planned for.

mod figures;

use figures::{compare, percentile};
use std::{
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};
use tests::large;

const RUNS: usize = 101;
const GOAL: f64 = 10.0;

fn main() {
    let mut house = tests::house!();
    let model = house.models("dense.gguf");
    large::llama(&model, "dense", 0);
    house.start();
    house.sync();
    match std::env::var_os("MODELCTL_LLAMA_BIN") {
        Some(bin) => {
            house.set("PATH", [bin, OsString::from(":/usr/bin:/bin")].into_iter().collect::<OsString>())
        }
        None => house.install_engine(),
    }
    let plan = || house.ctl_command(&["plan", "llama.cpp", "dense", "--max-ctx"]);
    let first = run(&mut plan()).expect("plan");
    println!("the first, which asks the engine what it can do {first:>9.2} ms");
    let (mut nothing, mut planned) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        nothing.extend(run(&mut Command::new("true")));
        planned.extend(run(&mut plan()));
    }
    compare("plan / true", percentile(&planned, 0.5), percentile(&nothing, 0.5), Some(GOAL));
    match fit(&model) {
        Some(peer) => compare("plan / llama-fit-params", percentile(&planned, 0.5), peer, None),
        None => println!("skipped: no llama-fit-params on PATH"),
    }
}

/// Milliseconds from exec to exit; None where there is no such program or it failed.
fn run(command: &mut Command) -> Option<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let is_done = command.status().is_ok_and(|status| status.success());
    is_done.then(|| started.elapsed().as_secs_f64() * 1e3)
}

fn fit(model: &Path) -> Option<f64> {
    let times: Vec<f64> =
        (0..5).filter_map(|_| run(Command::new("llama-fit-params").arg("-m").arg(model))).collect();
    (!times.is_empty()).then(|| percentile(&times, 0.5))
}
