//! Databases that are damaged, newer, or gone.

use rustix::process::Signal;
use std::{fs, path::PathBuf};
use tests::{
    House,
    files::{gguf, write},
    house, wait_until,
};

fn tagged() -> (House, serde_json::Value) {
    let mut house = house!();
    for n in 0..30 {
        write(house.models(format!("m{n}.gguf")), gguf(&format!("m{n}")));
    }
    house.start();
    house.sync();
    house.does(&["tag", "m7", "mine"]);
    let id = house.show("m7")["id"].clone();
    (house, id)
}

#[track_caller]
fn is_as_before(house: &House, id: &serde_json::Value) {
    wait_until("all models are back", 10, || house.list(&[]).len() == 30);
    let tagged = house.list(&["tag=mine"]);
    assert_eq!((tagged.len(), &tagged[0]["id"]), (1, id));
}

#[test]
fn a_damaged_index_is_made_anew_and_said_and_nothing_is_lost() {
    let (mut house, id) = tagged();
    for damage in ["header", "middle", "cut", "text"] {
        house.end(Signal::KILL);
        // What it wrote last lies in the log beside it; the damage is to meet the database itself.
        let db = rusqlite::Connection::open(house.state("index.db")).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(db);
        for beside in ["index.db-wal", "index.db-shm"] {
            drop(fs::remove_file(house.state(beside)));
        }
        let path = house.state("index.db");
        let mut bytes = fs::read(&path).unwrap();
        assert!(bytes.len() > 3 * 4096, "nothing to damage");
        match damage {
            "header" => bytes[..100].fill(0x5a),
            "middle" => bytes[4096..].fill(0xff),
            "cut" => bytes.truncate(4096 + 100),
            _ => bytes = b"this is a text and no database at all, whatever its name says; it has more than a hundred bytes".to_vec(),
        }
        fs::write(&path, bytes).unwrap();
        house.start();
        is_as_before(&house, &id);
        let notices = house.json(&[])["notices"].to_string();
        assert!(notices.contains("damaged"), "{damage}: {notices}");
        assert!(house.does(&[]).contains("damaged"), "{damage}: the home screen says so");
    }
}

#[test]
fn a_newer_database_is_refused_said_and_left_as_it_is() {
    let (mut house, id) = tagged();
    for path in [house.state("index.db"), house.user_db()] {
        house.end(Signal::TERM);
        let set = |version: i64| {
            let db = rusqlite::Connection::open(&path).unwrap();
            let before: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
            db.pragma_update(None, "user_version", version).unwrap();
            before
        };
        let before = set(999);
        let bytes = fs::read(&path).unwrap();
        let said = house.start_refused();
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("newer modeld") && said.err.contains(path.to_str().unwrap()), "{said:?}");
        assert!(fs::read(&path).unwrap() == bytes, "{} was changed", path.display());
        set(before);
        house.start();
        is_as_before(&house, &id);
    }
}

/// The copies of `user.db`, the newest first.
fn copies(house: &House) -> Vec<PathBuf> {
    let entries = fs::read_dir(house.user_db().parent().unwrap()).unwrap().flatten();
    let mut copies: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("backup-")).collect();
    copies.sort_unstable_by(|a, b| b.cmp(a));
    copies
}

fn damage_user_db(house: &House) {
    for beside in ["user.db-wal", "user.db-shm"] {
        drop(fs::remove_file(house.user_db().with_file_name(beside)));
    }
    fs::write(house.user_db(), [0xee; 8192]).unwrap();
}

#[test]
fn a_damaged_user_database_is_replaced_by_its_copy_and_said() {
    let (mut house, id) = tagged();
    house.end(Signal::TERM);
    assert_eq!(copies(&house).len(), 1, "made at the end of the first day");
    damage_user_db(&house);
    house.start();
    is_as_before(&house, &id);
    let notices = house.json(&[])["notices"].to_string();
    assert!(notices.contains("user.db was damaged") && notices.contains("user.db.corrupt-0"), "{notices}");
    let aside = house.user_db().with_file_name("user.db.corrupt-0");
    assert_eq!(fs::read(aside).unwrap(), [0xee; 8192]);
}

#[test]
fn a_damaged_user_database_without_a_copy_is_never_thrown_away() {
    let (mut house, _) = tagged();
    house.end(Signal::TERM);
    copies(&house).iter().for_each(|copy| fs::remove_file(copy).unwrap());
    damage_user_db(&house);
    let said = house.start_refused();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("damaged") && said.err.contains("backup"), "{said:?}");
    assert_eq!(fs::read(house.user_db()).unwrap(), [0xee; 8192]);
}

#[test]
fn an_index_that_is_deleted_under_the_daemon_comes_back() {
    let (mut house, id) = tagged();
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        drop(fs::remove_file(house.state(file)));
    }
    write(house.models("m30.gguf"), gguf("one more"));
    wait_until("the index is there again", 10, || house.state("index.db").exists());
    fs::remove_file(house.models("m30.gguf")).unwrap();
    is_as_before(&house, &id);
    house.does(&["tag", "m8", "other"]);
    house.restart();
    is_as_before(&house, &id);
    assert_eq!(house.names(&["tag=other"]), ["m8"]);
}

#[test]
fn an_index_that_cannot_be_written_is_said_with_the_cause_and_is_no_bug() {
    let (house, id) = tagged();
    let held = rusqlite::Connection::open(house.state("index.db")).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    let said = house.ctl(&["sync"]);
    held.execute_batch("ROLLBACK").unwrap();
    assert_eq!(said.code, 1, "{said:?}");
    let index = house.state("index.db").display().to_string();
    for word in [index.as_str(), "locked", "hint: another program holds it"] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
    assert!(!said.err.contains("stopping") && !said.err.contains("bug"), "{said:?}");
    house.sync();
    is_as_before(&house, &id);
}

#[test]
fn an_index_that_is_damaged_under_the_daemon_is_made_anew() {
    let (house, id) = tagged();
    let db = rusqlite::Connection::open(house.state("index.db")).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    let file = fs::File::options().write(true).open(house.state("index.db")).unwrap();
    let pages = vec![0xff; usize::try_from(file.metadata().unwrap().len()).unwrap() - 4096];
    std::os::unix::fs::FileExt::write_all_at(&file, &pages, 4096).unwrap();
    write(house.models("m30.gguf"), gguf("one more"));
    wait_until("the index is made anew", 30, || {
        house.ctl(&["list"]);
        house.state("index.db.corrupt-0").exists()
    });
    wait_until("it can be listed", 30, || house.ctl(&["list"]).code == 0);
    fs::remove_file(house.models("m30.gguf")).unwrap();
    is_as_before(&house, &id);
}
