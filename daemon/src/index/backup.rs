//! Copies of `user.db`: made before it is changed in form and once a day, three kept, and the newest good one taken
//! where the database itself is damaged. Never removes what is not a copy of its own.

use super::open::{put_aside, reader, remove_file};
use anyhow::Context as _;
use domain::names::with_suffix;
use jiff::Timestamp;
use rusqlite::Connection;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// One a day, and two that are older: damage is often noticed late.
const KEPT: usize = 3;

/// Whether the newest copy is from another day.
pub(super) fn is_due(path: &Path, now: Timestamp) -> bool {
    let day = |at: Timestamp| at.strftime("%Y%m%d").to_string();
    let is_today = |copy: &PathBuf| copy.to_string_lossy().contains(&format!("{SUFFIX}{}", day(now)));
    !copies(path).iter().any(is_today)
}

const SUFFIX: &str = ".backup-";

/// Writes a copy beside the database, whole and on the disk before it has its name, and forgets the oldest.
pub(super) fn make(db: &Connection, path: &Path, now: Timestamp) -> anyhow::Result<()> {
    let making = with_suffix(path, ".making");
    let copy = with_suffix(path, &format!("{SUFFIX}{}", now.strftime("%Y%m%dT%H%M%SZ")));
    let write = || -> anyhow::Result<()> {
        remove_file(&making)?;
        db.execute("VACUUM INTO ?1", [making.to_str().context("its path is not UTF-8")?])?;
        File::open(&making)?.sync_all()?;
        fs::rename(&making, &copy)?;
        Ok(File::open(copy.parent().unwrap_or(Path::new(".")))?.sync_all()?)
    };
    write().with_context(|| format!("copying {} to {}", path.display(), copy.display()))?;
    for old in copies(path).into_iter().skip(KEPT) {
        remove_file(&old)?;
    }
    Ok(())
}

/// Puts a damaged database aside and the newest copy that is sound in its place; None where there is no such copy.
pub(super) fn restore(path: &Path) -> io::Result<Option<Restored>> {
    let Some(copy) = copies(path).into_iter().find(|copy| is_sound(copy)) else { return Ok(None) };
    let aside = put_aside(path)?;
    fs::copy(&copy, path)?;
    File::open(path)?.sync_all()?;
    Ok(Some(Restored { aside, copy }))
}

/// What became of a damaged `user.db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The damaged file.
    pub aside: PathBuf,
    /// The copy that was taken instead.
    pub copy: PathBuf,
}

/// The copies of a database, the newest first.
fn copies(path: &Path) -> Vec<PathBuf> {
    let start = with_suffix(path, SUFFIX);
    let entries = path.parent().and_then(|dir| fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let is_copy = |path: &PathBuf| path.to_string_lossy().starts_with(&*start.to_string_lossy());
    let mut copies: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_copy).collect();
    copies.sort_unstable_by(|a, b| b.cmp(a));
    copies
}

fn is_sound(copy: &Path) -> bool {
    let check =
        |db: &Connection| db.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    reader(copy).is_ok_and(|db| check(&db).is_ok_and(|verdict| verdict == "ok"))
}

#[cfg(test)]
mod tests {
    use super::super::{User, UserChange};
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn tag(user: &mut User, tag: &str) {
        let change = UserChange::Tag { model: "m".into(), add: vec![tag.into()], remove: Vec::new() };
        user.change(&[change], at("2026-01-01T00:00:00Z")).unwrap();
    }

    #[test]
    fn one_copy_a_day_is_made_and_three_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user.db");
        let (mut user, _) = User::open(&path).unwrap();
        user.back_up(at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(copies(&path), Vec::<PathBuf>::new(), "nothing was said yet");
        tag(&mut user, "a");
        for day in ["01T08", "01T09", "02T08", "03T08", "04T08"] {
            user.back_up(at(&format!("2026-01-{day}:00:00Z"))).unwrap();
        }
        let names: Vec<_> = copies(&path).iter().map(|copy| copy.file_name().unwrap().to_owned()).collect();
        let name = |day: &str| format!("user.db.backup-202601{day}T080000Z");
        assert_eq!(names, [name("04"), name("03"), name("02")].map(std::ffi::OsString::from));
    }

    #[test]
    fn the_newest_sound_copy_takes_the_place_of_a_damaged_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user.db");
        let (mut user, _) = User::open(&path).unwrap();
        for (day, said) in [("01", "old"), ("02", "new"), ("03", "newest")] {
            tag(&mut user, said);
            user.back_up(at(&format!("2026-01-{day}T00:00:00Z"))).unwrap();
        }
        drop(user);
        fs::write(&copies(&path)[0], [0xee; 8192]).unwrap();
        fs::write(&path, [0xee; 8192]).unwrap();
        let (user, restored) = User::open(&path).unwrap();
        let restored = restored.unwrap();
        assert!(restored.copy.to_string_lossy().ends_with("20260102T000000Z"), "{restored:?}");
        assert_eq!(fs::read(restored.aside).unwrap(), [0xee; 8192]);
        assert_eq!(user.data("m").unwrap().tags, ["new", "old"]);
    }

    #[test]
    fn a_database_of_an_older_form_is_copied_before_it_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(super::super::open::USER[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        drop(User::open(&path).unwrap());
        let copy = reader(&copies(&path)[0]).unwrap();
        let version: i64 = copy.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, 1);
    }
}
