//! `modelctl verify --again` of a file in memory, exec to exit, against `openssl dgst -sha256`, where that is on PATH.

mod figures;

use figures::{compare, percentile};
use std::{
    fs::File,
    process::{Command, Stdio},
    time::Instant,
};
use tests::files::{gguf, write};

const RUNS: usize = 5;
const SIZE: u64 = 2 << 30;
/// At least 0.9 times as fast.
const GOAL: f64 = 1.0 / 0.9;

fn main() {
    let house = tests::house!().started();
    let path = house.models("big.gguf");
    write(&path, gguf("big"));
    File::options().write(true).open(&path).unwrap().set_len(SIZE).unwrap();
    house.sync();
    // A hole reads from memory afterwards, as a cached file does.
    std::io::copy(&mut File::open(&path).unwrap(), &mut std::io::sink()).unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.extend(run(&mut house.ctl_command(&["verify", "big", "--again"])));
        theirs.extend(run(Command::new("openssl").args(["dgst", "-sha256"]).arg(&path)));
    }
    if theirs.is_empty() {
        println!("skipped: no openssl on PATH");
        return;
    }
    assert_eq!(ours.len(), RUNS, "{}", house.log());
    compare("verify / openssl dgst", percentile(&ours, 0.5), percentile(&theirs, 0.5), Some(GOAL));
}

/// Milliseconds from exec to exit; None where there is no such program or it failed.
fn run(command: &mut Command) -> Option<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let is_done = command.status().is_ok_and(|status| status.success());
    is_done.then(|| started.elapsed().as_secs_f64() * 1e3)
}
