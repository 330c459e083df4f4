//! The first scan against a walk that reads every header, a start with nothing changed against a walk with stats, the
//! memory that the daemon has after each, and a sync after one change. The cache is warm. `MODELCTL_BENCH_FILES` says how many files; 10,000 are
//! the goal's.

mod figures;

use api::{Request, Synced, client::Client};
use figures::{compare, percentile};
use formats::{Windowed, gguf};
use rustix::process::Signal;
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};
use tests::{
    House,
    files::write,
    stores::{Hub, hugging_face, sha256},
    usage::{cpu, resident},
};

const FIRST_RUNS: usize = 3;
const RESTARTS: usize = 7;
const CHANGES: usize = 20;
const GOAL_FIRST: f64 = 2.0;
const GOAL_RESTART: f64 = 1.5;
/// Milliseconds.
const GOAL_SYNC: f64 = 20.0;
/// KiB.
const GOAL_RSS: u64 = 40 << 10;
/// Between attempts to connect; short against what is measured.
const BEAT: Duration = Duration::from_micros(200);
/// Holds each header that is made here.
const HEADER: usize = 64 << 10;

/// Makes so many files in a house; returns the directory around them.
type Make = fn(&House, usize) -> PathBuf;

const SHAPES: &[(&str, Make)] = &[
    ("500 directories", |house, files| in_directories(&house.models(""), files, 500)),
    ("one directory", |house, files| in_directories(&house.models(""), files, 1)),
    ("a hub cache, a repository each", |house, files| in_hub(&house.home(".cache/huggingface/hub"), files)),
];

fn main() {
    let files = std::env::var("MODELCTL_BENCH_FILES").map_or(10_000, |text| text.parse().unwrap());
    for (shape, make) in SHAPES {
        println!("--- {files} files in {shape}");
        let mut house = tests::house!();
        let models = make(&house, files);
        assert!(Command::new("sync").status().unwrap().success());
        first_scans(&mut house, &models, files);
        restarts(&mut house, &models, files);
        let hub = house.home(".cache/huggingface/hub");
        if hub.exists() {
            changes(&house, &hub, files);
        }
    }
}

/// `modelctl sync`, exec to exit, right after a model has appeared in a repository of its own.
fn changes(house: &House, hub: &Path, files: usize) {
    let mut syncs = Vec::new();
    for n in 0..CHANGES {
        in_repository(hub, files + n);
        syncs.push(millis(|| drop(house.does(&["sync"]))));
    }
    let (p50, p90) = (percentile(&syncs, 0.5), percentile(&syncs, 0.9));
    let verdict = if p50 <= GOAL_SYNC { "met" } else { "MISSED" };
    println!("sync after a new repository: p50 {p50:.1}, p90 {p90:.1} ms  (goal {GOAL_SYNC}: {verdict})");
}

fn first_scans(house: &mut House, models: &Path, files: usize) {
    let (mut scans, mut walks, mut parses) = (Vec::new(), Vec::new(), Vec::new());
    let mut kept = Vec::new();
    walk_headers(models); // warms the cache
    for _ in 0..FIRST_RUNS {
        walks.push(millis(|| assert_eq!(walk_headers(models), files)));
        parses.push(millis(|| assert_eq!(walk_parse(models), files)));
        scans.push(start(house, files).synced);
        kept.push(resident(house));
        let (walk, parse, scan) = (last(&walks), last(&parses), last(&scans));
        let (cpu, kept) = (cpu(house), last(&kept));
        println!("  walk {walk:.0}  parse {parse:.0}  scan {scan:.0} ms, {cpu:.2} s of CPU, {kept} KiB");
        assert!(house.end(Signal::TERM).success());
        fs::remove_dir_all(house.home(".local")).unwrap();
    }
    let median = |times: &[f64]| percentile(times, 0.5);
    compare("first scan / walk that reads headers", median(&scans), median(&walks), Some(GOAL_FIRST));
    compare("first scan / walk that parses headers", median(&scans), median(&parses), None);
    report("RSS after a first scan", &kept);
}

fn restarts(house: &mut House, models: &Path, files: usize) {
    let (mut starts, mut walks, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    start(house, files);
    for _ in 0..RESTARTS {
        assert!(house.end(Signal::TERM).success());
        walks.push(millis(|| assert_eq!(walk_stats(models), files)));
        let Started { answered, synced } = start(house, files);
        starts.push(synced);
        kept.push(resident(house));
        let (walk, cpu, kept) = (last(&walks), cpu(house), last(&kept));
        println!(
            "  walk {walk:.1}  start {synced:.1} ms, {answered:.1} until it answers, {cpu:.2} s of CPU, {kept} KiB"
        );
    }
    let median = |times: &[f64]| percentile(times, 0.5);
    compare("start, nothing changed / walk that stats", median(&starts), median(&walks), Some(GOAL_RESTART));
    report("RSS after a start", &kept);
}

/// Prints the most of all runs.
fn report(what: &str, kept: &[u64]) {
    let most = kept.iter().max().unwrap();
    let verdict = if *most <= GOAL_RSS { "met" } else { "MISSED" };
    println!("{what:<44} {most:>9} KiB  (goal {GOAL_RSS}: {verdict})");
}

fn last<T: Copy>(values: &[T]) -> T {
    values[values.len() - 1]
}

fn millis(act: impl FnOnce()) -> f64 {
    let started = Instant::now();
    act();
    started.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds since a daemon was started.
struct Started {
    answered: f64,
    synced: f64,
}

/// Starts the daemon and asks it to sync as soon as it answers.
fn start(house: &mut House, files: usize) -> Started {
    let socket = house.socket();
    let began = Instant::now();
    let asking = thread::spawn(move || {
        let mut client = loop {
            match Client::connect(&socket) {
                Ok(client) => break client,
                Err(_) => thread::sleep(BEAT),
            }
        };
        let answered = began.elapsed();
        let early = (0..).take_while(|_| count(&mut client) < files as u64).count();
        if early > 0 {
            println!("  WRONG: {early} syncs were answered before everything was in the index");
        }
        [answered, began.elapsed()].map(|time| time.as_secs_f64() * 1e3)
    });
    house.start();
    let [answered, synced] = asking.join().unwrap();
    Started { answered, synced }
}

fn count(client: &mut Client) -> u64 {
    let Synced { models } = client.ask(&Request::Sync {}).unwrap();
    models
}

/// Returns how many files were read.
fn walk_headers(dir: &Path) -> usize {
    let mut buffer = vec![0; HEADER];
    walk(dir, &mut |path| {
        let file = File::open(path).unwrap();
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), HEADER);
    })
}

fn walk_parse(dir: &Path) -> usize {
    walk(dir, &mut |path| {
        let file = File::open(path).unwrap();
        let len = file.metadata().unwrap().len();
        gguf::parse(&mut Windowed::new(len, |at, buffer: &mut [u8]| file.read_at(buffer, at))).unwrap();
    })
}

fn walk_stats(dir: &Path) -> usize {
    walk(dir, &mut |path| assert!(path.metadata().unwrap().is_file()))
}

/// Walks over models and the links to them; returns how many there are.
fn walk(dir: &Path, each: &mut impl FnMut(&Path)) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            count += walk(&path, each);
        } else if path.extension().is_some_and(|extension| extension == "gguf") {
            each(&path);
            count += 1;
        }
    }
    count
}

fn in_directories(root: &Path, files: usize, dirs: usize) -> PathBuf {
    for n in 0..files {
        let dir = if dirs == 1 { root.to_owned() } else { root.join(format!("author-{:03}", n % dirs)) };
        let path = dir.join(format!("model-a{n:05}.Q4_K_M.gguf"));
        let header = header(n);
        write(&path, &header);
        add_data(&path, &header);
    }
    root.to_owned()
}

fn in_hub(hub: &Path, files: usize) -> PathBuf {
    (0..files).for_each(|n| in_repository(hub, n));
    hub.to_owned()
}

fn in_repository(hub: &Path, n: usize) {
    let (repository, name) =
        (format!("author-{:03}/model-a{n:05}", n % 500), format!("model-a{n:05}.Q4_K_M.gguf"));
    let header = header(n);
    let commit = &sha256(repository.as_bytes())[..40];
    let snapshot = hugging_face(hub, Hub::Links, &repository, commit, &[(&name, &header)]);
    add_data(&snapshot.join(name), &header);
}

/// Lets a file be as long as its header says, with a hole.
fn add_data(path: &Path, header: &[u8]) {
    assert!((20 << 10..HEADER).contains(&header.len()), "{}", header.len());
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(header.len() as u64 + N_TENSORS * TENSOR_BYTES).unwrap();
}

const N_TENSORS: u64 = 100;
/// A Q4_K matrix of 2048 by 2048.
const TENSOR_BYTES: u64 = 2048 * 2048 / 256 * 144;

/// A header with 100 tensors and a vocabulary of 1,000 to 2,800 tokens.
fn header(n: usize) -> Vec<u8> {
    let n_tokens = 1000 + n % 1801;
    let mut pairs = Vec::new();
    for (key, value) in [("general.architecture", "llama"), ("general.name", &format!("Model {n:05}"))] {
        pairs.extend(key_of(key, 8));
        pairs.extend(text(value));
    }
    let numbers = ["context_length", "block_count", "embedding_length", "attention.head_count", "vocab_size"];
    for (key, value) in numbers.into_iter().zip([4096, 11, 2048, 16, n_tokens as u32]) {
        pairs.extend(key_of(&format!("llama.{key}"), 4));
        pairs.extend(value.to_le_bytes());
    }
    for (key, kind) in [("tokens", 8_u32), ("token_type", 5)] {
        pairs.extend(key_of(&format!("tokenizer.ggml.{key}"), 9));
        pairs.extend([&kind.to_le_bytes()[..], &(n_tokens as u64).to_le_bytes()].concat());
        let item = |token: usize| if kind == 8 { text(&format!("t{token:06}")) } else { vec![1, 0, 0, 0] };
        pairs.extend((0..n_tokens).flat_map(item));
    }
    let counts = [N_TENSORS.to_le_bytes(), 9_u64.to_le_bytes()].concat();
    let tensors = (0..N_TENSORS).flat_map(|no| {
        let name = text(&format!("blk.{}.ffn_down_{}.weight", no / 10, no % 10));
        let shape = [&2_u32.to_le_bytes()[..], &2048_u64.to_le_bytes(), &2048_u64.to_le_bytes()].concat();
        let place = [&12_u32.to_le_bytes()[..], &(no * TENSOR_BYTES).to_le_bytes()].concat();
        [name, shape, place].concat()
    });
    let tensors: Vec<u8> = tensors.collect();
    let mut header = [b"GGUF\x03\0\0\0".to_vec(), counts, pairs, tensors].concat();
    header.resize(header.len().next_multiple_of(32), 0);
    header
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn key_of(key: &str, kind: u32) -> Vec<u8> {
    [text(key), kind.to_le_bytes().into()].concat()
}
