//! The first scan against a walk that reads every header, a start with nothing changed against a walk with stats.
//! The cache is warm. `MODELCTL_BENCH_FILES` says how many files; 10,000 are the goal's.

mod figures;

use api::{Request, Synced, client::Client};
use figures::{compare, percentile};
use formats::{Windowed, gguf};
use rustix::process::Signal;
use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};
use tests::House;

const FIRST_RUNS: usize = 3;
const RESTARTS: usize = 7;
const GOAL_FIRST: f64 = 2.0;
const GOAL_RESTART: f64 = 1.5;
/// Between attempts to connect; short against what is measured.
const BEAT: Duration = Duration::from_micros(200);
/// Holds each header that is made here.
const HEADER: usize = 64 << 10;

fn main() {
    let files = std::env::var("MODELCTL_BENCH_FILES").map_or(10_000, |text| text.parse().unwrap());
    for (shape, dirs) in [("500 directories", 500), ("one directory", 1)] {
        println!("--- {files} files in {shape}");
        let mut house = tests::house!();
        make(&house.models(""), files, dirs);
        assert!(Command::new("sync").status().unwrap().success());
        first_scans(&mut house, files);
        restarts(&mut house, files);
    }
}

fn first_scans(house: &mut House, files: usize) {
    let (mut scans, mut walks, mut parses) = (Vec::new(), Vec::new(), Vec::new());
    let models = house.models("");
    walk_headers(&models); // warms the cache
    for _ in 0..FIRST_RUNS {
        walks.push(millis(|| assert_eq!(walk_headers(&models), files)));
        parses.push(millis(|| assert_eq!(walk_parse(&models), files)));
        scans.push(start(house, files).synced);
        let (walk, parse, scan, cpu) = (last(&walks), last(&parses), last(&scans), cpu(house));
        println!("  walk {walk:.0}  parse {parse:.0}  scan {scan:.0} ms, {cpu} s of CPU");
        assert!(house.end(Signal::TERM).success());
        fs::remove_dir_all(house.home(".local")).unwrap();
    }
    let median = |times: &[f64]| percentile(times, 0.5);
    compare("first scan / walk that reads headers", median(&scans), median(&walks), Some(GOAL_FIRST));
    compare("first scan / walk that parses headers", median(&scans), median(&parses), None);
}

fn restarts(house: &mut House, files: usize) {
    let (mut starts, mut walks) = (Vec::new(), Vec::new());
    let models = house.models("");
    start(house, files);
    for _ in 0..RESTARTS {
        assert!(house.end(Signal::TERM).success());
        walks.push(millis(|| assert_eq!(walk_stats(&models), files)));
        let Started { answered, synced } = start(house, files);
        starts.push(synced);
        let (walk, cpu) = (last(&walks), cpu(house));
        println!("  walk {walk:.1}  start {synced:.1} ms, {answered:.1} until it answers, {cpu} s of CPU");
    }
    let median = |times: &[f64]| percentile(times, 0.5);
    compare("start, nothing changed / walk that stats", median(&starts), median(&walks), Some(GOAL_RESTART));
}

fn last(times: &[f64]) -> f64 {
    times.last().copied().unwrap_or_default()
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

/// CPU seconds of the daemon so far.
fn cpu(house: &House) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", house.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11..13].iter().map(|field| field.parse::<f64>().unwrap() / 100.0).sum()
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
    walk(dir, &mut |path| assert!(path.symlink_metadata().unwrap().is_file()))
}

fn walk(dir: &Path, each: &mut impl FnMut(&Path)) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            count += walk(&entry.path(), each);
        } else {
            each(&entry.path());
            count += 1;
        }
    }
    count
}

fn make(root: &Path, files: usize, dirs: usize) {
    for n in 0..files {
        let dir = if dirs == 1 { root.to_owned() } else { root.join(format!("author-{:03}", n % dirs)) };
        fs::create_dir_all(&dir).unwrap();
        let mut file = File::create(dir.join(format!("model-a{n:05}.Q4_K_M.gguf"))).unwrap();
        let header = header(n);
        assert!((20 << 10..HEADER).contains(&header.len()), "{}", header.len());
        file.write_all(&header).unwrap();
        let data = N_TENSORS * TENSOR_BYTES;
        file.set_len(header.len() as u64 + data).unwrap(); // a hole
    }
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
