//! How long after a file is closed, or renamed into place, a client of the event stream has its line;
//! beside a bare inotify watcher in this process.

mod figures;

use api::{
    Request,
    client::{Client, ClientError},
};
use figures::{compare, percentile};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::{
    fs::{self, File},
    io::Write as _,
    mem::MaybeUninit,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};
use tests::{House, files::gguf};

const FILES: usize = 500;
const GOAL_P50: f64 = 20.0;
const GOAL_P99: f64 = 100.0;
/// Arrivals are measured one by one.
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(20);

/// Name of a file, and when it was told of.
type Told = (String, Instant);

#[derive(Debug, Clone, Copy)]
enum Way {
    /// Written where it stays, then closed.
    Written,
    /// Written outside of every root, then renamed.
    Renamed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directory {
    Flat,
    Fresh,
}

fn main() {
    let house = tests::house!().started();
    fs::create_dir(house.at("staging")).unwrap();
    house.sync();
    let told = listen(&house);
    println!("{FILES} files a case, milliseconds from close or rename to the client's line");
    for directory in [Directory::Flat, Directory::Fresh] {
        for way in [Way::Written, Way::Renamed] {
            measure(&house, &told, directory, way);
        }
    }
}

fn measure(house: &House, told: &Receiver<Told>, directory: Directory, way: Way) {
    let case = format!("{directory:?}-{way:?}").to_lowercase();
    let (ours, bare) = (house.models(&case), house.at(&case));
    for dir in [&ours, &bare] {
        fs::create_dir(dir).unwrap();
    }
    house.sync();
    let told_bare = watch(bare.clone());
    let (mut times, mut floor) = (Vec::new(), Vec::new());
    for n in 0..FILES {
        let name = format!("{case}-{n:03}.gguf");
        for (base, told, times) in [(&bare, &told_bare, &mut floor), (&ours, told, &mut times)] {
            let dir =
                if directory == Directory::Fresh { base.join(format!("d{n:03}")) } else { base.clone() };
            let put = put(&dir, &name, way, house);
            times.push(wait(told, &name).saturating_duration_since(put).as_secs_f64() * 1e3);
            thread::sleep(PAUSE);
        }
    }
    let (p50, p99) = (percentile(&times, 0.5), percentile(&times, 0.99));
    compare(&format!("{case} p50"), p50, percentile(&floor, 0.5), None);
    compare(&format!("{case} p99"), p99, percentile(&floor, 0.99), None);
    let is_met = p50 <= GOAL_P50 && p99 <= GOAL_P99;
    println!(
        "  goal {GOAL_P50} and {GOAL_P99} ms: {}; max {:.2}, median of the first 50 {:.2}, of the last 50 {:.2}",
        if is_met { "met" } else { "MISSED" },
        percentile(&times, 1.0),
        percentile(&times[..50], 0.5),
        percentile(&times[FILES - 50..], 0.5),
    );
}

/// Puts a model in place; returns the moment before the last system call of it.
fn put(dir: &Path, name: &str, way: Way, house: &House) -> Instant {
    let bytes = gguf(name);
    match way {
        Way::Written => {
            fs::create_dir_all(dir).unwrap();
            let mut file = File::create(dir.join(name)).unwrap();
            file.write_all(&bytes).unwrap();
            let put = Instant::now();
            drop(file);
            put
        }
        Way::Renamed => {
            let staged = house.at("staging").join(name);
            fs::write(&staged, bytes).unwrap();
            fs::create_dir_all(dir).unwrap();
            let put = Instant::now();
            fs::rename(staged, dir.join(name)).unwrap();
            put
        }
    }
}

fn wait(told: &Receiver<Told>, name: &str) -> Instant {
    loop {
        let (other, at) = told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{name} was never told of"));
        if other == name {
            return at;
        }
    }
}

/// Reads the event stream; tells of each model once it is whole.
fn listen(house: &House) -> Receiver<Told> {
    let (sender, told) = channel();
    let mut client = Client::connect(&house.socket()).unwrap();
    let (ready, is_ready) = channel();
    thread::spawn(move || {
        client.stream(&Request::Events {}, |line| {
            let now = Instant::now();
            let event: api::Event = serde_json::from_str(line.get())?;
            if event.event == api::EventKind::Listening {
                ready.send(()).unwrap();
            }
            let whole = event.model.filter(|model| model.state == domain::State::Ok);
            let path = whole.map(|model| model.locations[0].files[0].path.to_path());
            let name = path.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
            Ok::<bool, ClientError>(name.is_none_or(|name| sender.send((name, now)).is_ok()))
        })
    });
    is_ready.recv_timeout(PATIENCE).unwrap();
    told
}

/// The least anyone could do: a watch on one directory and on those made in it.
fn watch(base: PathBuf) -> Receiver<Told> {
    let (sender, told) = channel();
    let inotify = inotify::init(CreateFlags::CLOEXEC).unwrap();
    let flags = WatchFlags::CREATE | WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
    inotify::add_watch(&inotify, &base, flags).unwrap();
    thread::spawn(move || {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&inotify, &mut buffer);
        while let Ok(event) = events.next() {
            let now = Instant::now();
            let name = event.file_name().and_then(|name| name.to_str().ok()).unwrap_or_default();
            if event.events().contains(ReadFlags::ISDIR) {
                let dir = base.join(name);
                inotify::add_watch(&inotify, &dir, flags).unwrap();
                tell_of_all(&dir, &sender);
            } else if !event.events().contains(ReadFlags::CREATE) {
                drop(sender.send((name.to_owned(), now))); // the case may be over
            }
        }
    });
    told
}

/// What was there before the watch.
fn tell_of_all(dir: &Path, sender: &Sender<Told>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.metadata().unwrap().len() == gguf(&name).len() as u64 {
            drop(sender.send((name, Instant::now()))); // the case may be over
        }
    }
}
