//! `modelctl list` of every model, exec to exit, against `sqlite3` printing the same rows in the same order, and text
//! searches. `MODELCTL_BENCH_MODELS` says how many models; 10,000 are the goal's.

mod figures;

use api::{Request, client::Client};
use figures::{compare, percentile};
use std::{
    collections::BTreeMap,
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};
use tests::{
    House,
    files::gguf,
    stores::{Hub, hugging_face},
    usage::resident,
};

const RUNS: usize = 21;
const GOAL: f64 = 3.0;
/// Milliseconds that a text search may take in the daemon; it is asked over the socket.
const GOAL_SEARCH: f64 = 10.0;
/// One repository of so many has a card, and one card of `RARE` has a word that the others have not.
const CARDS: usize = 10;
const RARE: usize = 100;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const COLUMNS: &str = "name, architecture, parameters, quant, context_length, size, state, app";

/// A program that is measured.
struct Racer<'a> {
    name: &'static str,
    command: Box<dyn Fn() -> Command + 'a>,
}

fn main() {
    let mut house = tests::house!();
    let models = std::env::var("MODELCTL_BENCH_MODELS").map_or(10_000, |text| text.parse().unwrap());
    for n in 0..models {
        let (name, bytes) = (format!("model-{n:05}-F16.gguf"), gguf(&format!("Model {n:05}")));
        let card = card(n);
        let files = [(&*name, &*bytes), ("README.md", card.as_bytes())];
        let files = if n % CARDS == 0 { &files[..] } else { &files[..1] };
        hugging_face(&hub(&house), Hub::Links, &format!("org/model-{n:05}"), COMMIT, files);
    }
    house.start();
    tests::wait_until("every model is listed", 120, || house.list(&[]).len() == models);
    println!("{models} models, RSS {} KiB", resident(&house));
    let db = house.at("floor.db");
    let has_floor = fill(&db, &house);
    let has_hf = run(Command::new("hf").arg("version")).is_some();

    let mut racers = vec![
        racer("true", || Command::new("true")),
        racer("list", || house.ctl_command(&["list"])),
        racer("list --json", || house.ctl_command(&["list", "--json"])),
    ];
    if has_floor {
        let select = |columns: &str| {
            let mut command = Command::new("sqlite3");
            command.arg(&db).arg(format!("SELECT {columns} FROM model ORDER BY name"));
            command
        };
        racers.push(racer("sqlite3", move || select(COLUMNS)));
        racers.push(racer("sqlite3 json", move || select("json")));
    }
    let times = race(&racers);
    for (racer, times) in racers.iter().zip(&times) {
        println!("{:<14} median {:>7.2} ms", racer.name, percentile(times, 0.5));
    }
    let median = |name: &str| {
        let at = racers.iter().position(|racer| racer.name == name);
        at.map(|at| percentile(&times[at], 0.5))
    };
    for (name, floor) in [("list", "sqlite3"), ("list --json", "sqlite3 json"), ("list --json", "sqlite3")] {
        match (median(name), median(floor)) {
            (Some(time), Some(floor_time)) => {
                compare(&format!("{name} / {floor}"), time, floor_time, Some(GOAL))
            }
            _ => println!("skipped: no sqlite3 on PATH"),
        }
    }
    ask(&house);
    search(&house, models);
    println!("RSS {} KiB after all", resident(&house));
    if has_hf {
        let hf = racer("hf cache ls", || {
            let mut command = Command::new("hf");
            command.args(["cache", "ls"]).env("HF_HUB_CACHE", hub(&house));
            command
        });
        let times: Vec<f64> = (0..3).filter_map(|_| run(&mut (hf.command)())).collect();
        println!("{:<14} median {:>7.2} ms", hf.name, percentile(&times, 0.5));
    } else {
        println!("skipped: no hf on PATH");
    }
}

fn racer<'a>(name: &'static str, command: impl Fn() -> Command + 'a) -> Racer<'a> {
    Racer { name, command: Box::new(command) }
}

fn hub(house: &House) -> std::path::PathBuf {
    house.home(".cache/huggingface/hub")
}

/// Milliseconds of each racer's runs, taken by turns.
fn race(racers: &[Racer<'_>]) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); racers.len()];
    for _ in 0..RUNS {
        for (racer, times) in racers.iter().zip(&mut times) {
            times.push(run(&mut (racer.command)()).expect(racer.name));
        }
    }
    times
}

/// Milliseconds from exec to exit; None where there is no such program or it failed.
fn run(command: &mut Command) -> Option<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let is_done = command.status().is_ok_and(|status| status.success());
    is_done.then(|| started.elapsed().as_secs_f64() * 1e3)
}

/// Puts the rows of the list into a table; says whether there is a `sqlite3` that could.
fn fill(db: &Path, house: &House) -> bool {
    let models = house.list(&[]);
    let quoted = |value: &serde_json::Value| match value {
        serde_json::Value::Null => "NULL".to_owned(),
        serde_json::Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => format!("'{}'", other.to_string().replace('\'', "''")),
    };
    let mut sql = format!("BEGIN; CREATE TABLE model (id TEXT PRIMARY KEY, {COLUMNS}, json);\n");
    for model in &models {
        let keys = ["id", "name", "architecture", "parameters", "quant", "context_length", "size", "state"];
        let values: Vec<String> = keys.iter().map(|key| quoted(&model[key])).collect();
        let app = quoted(&model["locations"][0]["app"]);
        sql += &format!("INSERT INTO model VALUES ({}, {app}, {});\n", values.join(", "), quoted(model));
    }
    let script = house.at("floor.sql");
    tests::files::write(&script, sql + "COMMIT;");
    let input = File::open(script).unwrap();
    Command::new("sqlite3").arg(db).stdin(input).status().is_ok_and(|status| status.success())
}

/// A card of some kilobytes.
fn card(n: usize) -> String {
    let about = if n.is_multiple_of(RARE * CARDS) { "storytelling" } else { "everything" };
    let text =
        "This model follows instructions, writes code and answers questions in many words. ".repeat(60);
    format!("---\nlicense: apache-2.0\ntags:\n- {about}\n---\n# Model {n}\n{text}")
}

/// Searches that find one model, ten, a few by their cards, and none.
fn search(house: &House, models: usize) {
    for (words, found) in [
        (&["model-00042"][..], 1),
        (&["odel-0004", "f16"], 10),
        (&["storytelling"], models.div_ceil(RARE * CARDS)),
        (&["erzählung"], 0),
    ] {
        let filters = words.iter().map(|word| (*word).to_owned()).collect();
        let request = Request::List { filters, sort: None, environment: BTreeMap::new() };
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let started = Instant::now();
            let mut client = Client::connect(&house.socket()).unwrap();
            let listed: api::Listed = client.ask(&request).unwrap();
            times.push(started.elapsed().as_secs_f64() * 1e3);
            assert_eq!(listed.models.len(), found, "{words:?}");
        }
        compare(
            &format!("search {words:?}, floor is the goal"),
            percentile(&times, 0.5),
            GOAL_SEARCH,
            Some(1.0),
        );
    }
}

/// What the daemon's share is: the request over the socket, without a process around it.
fn ask(house: &House) {
    let request = Request::List { filters: Vec::new(), sort: None, environment: BTreeMap::new() };
    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..RUNS {
        let started = Instant::now();
        let mut client = Client::connect(&house.socket()).unwrap();
        bytes = client.ask_raw(&request).unwrap().get().len();
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    println!("{:<14} median {:>7.2} ms, {bytes} bytes", "socket only", percentile(&times, 0.5));
}
