//! What looks at the hardware cost the daemon: one look while somebody watches, and the processor's time while nobody does.
//! `LOOKS_MINUTES=10` idles for longer than two.

use std::{env, fs, thread, time::Duration};
use tests::{House, house, usage::cpu};

/// Looks that are watched, one a second.
const WATCHED: u64 = 30;

/// Two looks and more.
const MINUTES: u64 = 2;

/// Processes of a desktop, and what each has open.
const PROCESSES: u32 = 300;
const FILES: u32 = 40;

/// Percent of a processor.
const GOAL: f64 = 0.1;

fn main() {
    let minutes = env::var("LOOKS_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(MINUTES);
    for (machine, prepare) in [
        ("this machine", bare as fn(&mut House)),
        ("a Radeon, 300 processes", radeon),
        ("two NVIDIA cards", nvidia),
    ] {
        let mut house = house!();
        prepare(&mut house);
        house.start();
        house.sync();
        let watching = house.stream(&["hardware", "--watch", "--json"]);
        thread::sleep(Duration::from_secs(3));
        let ms = over(&house, WATCHED);
        let each = ms * 1000.0 / WATCHED as f64;
        println!(
            "{machine}: {each:.0} us for a look and its report, one a second ({ms:.0} ms for {WATCHED})"
        );
        drop(watching);
        thread::sleep(Duration::from_secs(3));
        let seconds = minutes * 60;
        let ms = over(&house, seconds);
        let percent = ms / (seconds as f64 * 10.0);
        let verdict = if percent < GOAL { "met" } else { "MISSED" };
        println!("  nobody watches: {ms:.0} ms in {minutes} min, {percent:.3} % (goal {GOAL}: {verdict})");
    }
}

fn bare(house: &mut House) {
    fs::remove_dir_all(house.at("sys/proc")).unwrap();
    house.unset("MODELD_SYSROOT");
}

fn radeon(house: &mut House) {
    house.radeon();
    for pid in 1000..1000 + PROCESSES {
        let process = house.at(format!("sys/proc/{pid}"));
        fs::create_dir_all(process.join("fdinfo")).unwrap();
        fs::create_dir_all(process.join("fd")).unwrap();
        for file in 0..FILES {
            fs::write(process.join(format!("fdinfo/{file}")), "pos:\t0\n").unwrap();
            std::os::unix::fs::symlink("/dev/null", process.join(format!("fd/{file}"))).unwrap();
        }
    }
}

fn nvidia(house: &mut House) {
    assert!(house.install_nvml(), "there is no cc");
    let card = |bus: u8| format!("NVIDIA RTX 3090|24564|1024|GPU-{bus}|00000000:0{bus}:00.0|");
    house.cards(&[card(1), card(2)]);
}

/// Milliseconds of the processor that the daemon takes in so many seconds.
fn over(house: &House, seconds: u64) -> f64 {
    let before = cpu(house);
    thread::sleep(Duration::from_secs(seconds));
    (cpu(house) - before) * 1000.0
}
