//! What the daemon costs while nothing happens, and while others only read what it watches.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tests::{
    House,
    files::gguf,
    stores::{Hub, hugging_face},
};

const MODELS: usize = 1000;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Writers in the background are done by then.
const SETTLE: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(30);
const READING: Duration = Duration::from_secs(10);
const GOAL_RSS: u64 = 15 << 10;
const GOAL_WAKEUPS: f64 = 1.0;

/// What the daemon has used so far.
struct Usage {
    /// Hundredths of a second, user and system.
    ticks: u64,
    /// Times that each thread waited for something, and was woken.
    waits: BTreeMap<String, u64>,
}

/// What it has used over a while.
struct Used {
    ticks: u64,
    wakeups: u64,
}

fn main() {
    let mut house = tests::house!();
    let hub = house.home(".cache/huggingface/hub");
    for n in 0..MODELS {
        let name = format!("model-{n:04}-F16.gguf");
        let bytes = gguf(&format!("Model {n:04}"));
        hugging_face(&hub, Hub::Links, &format!("org/model-{n:04}"), COMMIT, &[(&name, &bytes)]);
    }
    house.start();
    house.sync();
    report(&mut house, &format!("first scan of {MODELS}"));
    // As it is most of its life: started by a login, with nothing new.
    house.restart();
    house.sync();
    report(&mut house, "started again");
    house.list(&[]);
    report(&mut house, "started again and listed");
}

fn report(house: &mut House, state: &str) {
    thread::sleep(SETTLE);
    let field = |name: &str| status(house, "status", name);
    let rss = field("VmRSS:");
    println!(
        "{state}: RSS {rss} KiB (goal {GOAL_RSS}: {}), peak {} KiB, of files {} KiB, {} threads",
        verdict(rss <= GOAL_RSS),
        field("VmHWM:"),
        field("RssFile:"),
        field("Threads:")
    );
    let seconds = IDLE.as_secs_f64();
    let used = over(house, |_| thread::sleep(IDLE));
    let wakeups = used.wakeups as f64 / seconds;
    println!(
        "  idle for {seconds} s: {} wakeups, {wakeups:.2}/s (goal {GOAL_WAKEUPS}: {}), CPU {} ticks (goal 0: {})",
        used.wakeups,
        verdict(wakeups <= GOAL_WAKEUPS),
        used.ticks,
        verdict(used.ticks == 0)
    );
    let mut rounds = 0;
    let used = over(house, |house| rounds = read_all(house));
    println!(
        "  others read everything {rounds} times in {} s: {} wakeups, CPU {} ticks (goal 0: {})",
        READING.as_secs(),
        used.wakeups,
        used.ticks,
        verdict(used.ticks == 0)
    );
}

/// Has another process read every file, again and again; returns how often.
fn read_all(house: &House) -> usize {
    let started = Instant::now();
    let mut rounds = 0;
    while started.elapsed() < READING {
        let mut find = Command::new("find");
        find.arg("-L").arg(house.home(".cache")).args(["-type", "f", "-exec", "cat", "{}", "+"]);
        assert!(find.stdout(Stdio::null()).status().unwrap().success());
        rounds += 1;
    }
    rounds
}

fn over(house: &mut House, act: impl FnOnce(&House)) -> Used {
    let before = usage(house);
    act(house);
    assert!(house.is_alive(), "modeld has ended:\n{}", house.log());
    let after = usage(house);
    // Threads of a pool end when they have had nothing to do: what they did before is not counted.
    let wakeups =
        after.waits.iter().map(|(thread, waits)| waits - before.waits.get(thread).unwrap_or(&0)).sum();
    Used { ticks: after.ticks - before.ticks, wakeups }
}

fn usage(house: &House) -> Usage {
    let stat = fs::read_to_string(format!("/proc/{}/stat", house.pid())).unwrap();
    // proc_pid_stat(5): utime and stime are the 14th and 15th field, the name in brackets is the 2nd.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    let tasks = fs::read_dir(format!("/proc/{}/task", house.pid())).unwrap().flatten();
    let waits = tasks.map(|task| {
        let thread = task.file_name().into_string().unwrap();
        let waits = status(house, &format!("task/{thread}/status"), "voluntary_ctxt_switches:");
        (thread, waits)
    });
    Usage { ticks, waits: waits.collect() }
}

/// A number of `/proc/PID/FILE`.
fn status(house: &House, file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/{file}", house.pid())).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}
