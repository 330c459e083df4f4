//! What damage of a database may do at worst, tried at random places.

use super::{Index, Opened, Reader, User};
use jiff::Timestamp;
use rusqlite::Connection;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A small generator, so that a failure comes again (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// How many damages are tried; the soak does more.
const TRIES: u64 = 150;

fn files(path: &Path) -> [PathBuf; 2] {
    ["", "-wal"].map(|suffix| domain::names::with_suffix(path, suffix))
}

/// An index of 300 models, as a daemon that was killed leaves it: with its log beside it.
fn sound() -> [Vec<u8>; 2] {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.db");
    drop(Index::open(&path).unwrap());
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    for n in 0..300 {
        let model = format!("{{\"id\":\"m{n}\",\"note\":\"{}\"}}", "x".repeat(200));
        db.execute(
            "INSERT INTO model (id, name, state, names, json) VALUES (?1, ?1, 'ok', '[]', ?2)",
            (format!("m{n}"), model),
        )
        .unwrap();
        if n == 200 {
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        }
    }
    files(&path).map(|file| fs::read(file).unwrap())
}

#[test]
fn an_index_with_any_page_overwritten_or_cut_off_opens_and_serves_only_what_was_written() {
    let sound = sound();
    let mut dice = Dice(1);
    let mut rebuilt: u64 = 0;
    for _ in 0..TRIES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.db");
        let which = usize::try_from(dice.roll(2)).unwrap();
        let mut bytes = sound.clone();
        let damaged = &mut bytes[which];
        let at = usize::try_from(dice.roll(damaged.len() as u64)).unwrap();
        if dice.roll(3) == 0 {
            damaged.truncate(at);
        } else {
            let start = at / 4096 * 4096;
            let end = damaged.len().min(start + 4096);
            damaged[start..end].iter_mut().for_each(|byte| *byte = u8::try_from(dice.roll(256)).unwrap());
        }
        for (file, bytes) in files(&path).iter().zip(&bytes) {
            fs::write(file, bytes).unwrap();
        }
        let (index, opened) = Index::open(&path).unwrap();
        rebuilt += u64::from(matches!(opened, Opened::Rebuilt { .. }));
        drop(index);
        // An error is an answer, another model's row is not.
        let Ok(names) = Reader::open(&path).unwrap().names() else { continue };
        assert!(names.len() <= 300, "{opened:?}");
    }
    assert!(rebuilt > TRIES / 10, "{rebuilt} of {TRIES} damages were seen");
}

#[test]
fn a_user_database_with_any_page_overwritten_is_restored_or_refused_and_never_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("user.db");
    let (mut user, _) = User::open(&made).unwrap();
    for n in 0..100 {
        let change = super::UserChange::Note {
            model: format!("m{n}"),
            note: Some(format!("{n} {}", "words ".repeat(50))),
        };
        user.change(&[change], Timestamp::UNIX_EPOCH).unwrap();
    }
    drop(user);
    let sound = fs::read(&made).unwrap();
    let mut dice = Dice(2);
    for _ in 0..TRIES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user.db");
        let mut bytes = sound.clone();
        let start = usize::try_from(dice.roll(bytes.len() as u64 / 4096)).unwrap() * 4096;
        bytes[start..start + 4096].iter_mut().for_each(|byte| *byte = u8::try_from(dice.roll(256)).unwrap());
        fs::write(&path, &bytes).unwrap();
        match User::open(&path) {
            Ok((user, None)) => {
                let said = user.spoken_of().map(|models| models.len());
                assert!(said.is_err() || said.unwrap() == 100);
            }
            Ok((_, Some(restored))) => panic!("there was no copy: {restored:?}"),
            Err(error) => {
                assert!(error.downcast_ref::<super::UnusableDatabase>().is_some(), "{error:#}");
                assert_eq!(fs::read(&path).unwrap(), bytes, "it was left as it is");
            }
        }
    }
}
