//! kill -9 at any moment loses nothing that was answered.

use rustix::process::Signal;
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};
use tests::{
    files::{gguf, write},
    house,
};

/// In this ring; the soak job does ten times as many.
const KILLS: usize = 20;

#[test]
fn every_tag_that_was_acknowledged_survives_20_kills() {
    let mut house = house!();
    for n in 0..50 {
        write(house.models(format!("m{n}.gguf")), gguf(&format!("m{n}")));
    }
    write(house.models("target.gguf"), gguf("target"));
    house.start();
    house.sync();
    let mut acknowledged: Vec<String> = Vec::new();
    for kill in 0..KILLS {
        let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        // Some rounds are killed while they still index, some in the middle of writing.
        let until = kill % 5;
        let tags = thread::scope(|scope| {
            let tagging = scope.spawn(|| {
                let mut tags = Vec::new();
                for n in 0.. {
                    let tag = format!("k{kill}-{n}");
                    if house.ctl(&["tag", "target", &tag]).code == 0 {
                        tags.push(tag);
                        done.fetch_add(1, Ordering::Relaxed);
                    } else if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
                tags
            });
            write(house.models(format!("new{kill}.gguf")), gguf(&format!("new{kill}")));
            let is_written = tests::poll(20, || (done.load(Ordering::Relaxed) >= until).then_some(()));
            tests::house::send(house.pid(), Signal::KILL);
            stop.store(true, Ordering::Relaxed);
            let tags = tagging.join().unwrap();
            assert!(is_written.is_some(), "no tags are written: {:?}", house.ctl(&["show", "target"]));
            tags
        });
        acknowledged.extend(tags);
        house.end(Signal::KILL);
        for path in [house.state("index.db"), house.user_db()] {
            let db = rusqlite::Connection::open(&path).unwrap();
            let verdict: String = db.query_row("PRAGMA quick_check", [], |row| row.get(0)).unwrap();
            assert_eq!(verdict, "ok", "{} after kill {kill}", path.display());
        }
        house.start();
        let kept = house.show("target")["tags"].clone();
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|tag| !kept.as_array().unwrap().contains(&tag.as_str().into()))
            .collect();
        assert!(lost.is_empty(), "lost after kill {kill}: {lost:?}");
    }
    assert!(acknowledged.len() >= KILLS, "{acknowledged:?}");
    house.sync();
    assert_eq!(house.list(&[]).len(), 51 + KILLS);
    assert_eq!(house.list(&["state!=ok"]).len(), 0);
}

#[test]
fn a_kill_in_the_middle_of_a_first_scan_leaves_nothing_out_after_the_next_start() {
    const FOLDERS: i64 = 1000;
    let mut house = house!();
    for n in 0..FOLDERS {
        write(house.models(format!("author-{n}/m{n}.gguf")), gguf(&format!("m{n}")));
    }
    house.start();
    let stored = || -> rusqlite::Result<i64> {
        let db = rusqlite::Connection::open(house.state("index.db"))?;
        db.query_row("SELECT count(*) FROM location", [], |row| row.get(0))
    };
    let early = tests::poll(20, || stored().ok().filter(|count| *count > 0)).unwrap();
    house.end(Signal::KILL);
    if early >= FOLDERS {
        return println!("skipped: the scan was over before it could be killed");
    }
    house.start();
    house.sync();
    assert_eq!(house.list(&[]).len() as i64, FOLDERS);
}
