//! Models on filesystems that were seen in a root and are not now: kept apart from what is seen there instead.

use super::{
    Index, LocationRow, UnitRow, bytes,
    hashes::{self, Stamped},
    held, json, path,
    units::{put_unit, remove_location},
};
use crate::seats::{Seat, Seats};
use domain::{App, Verdict, WirePath};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const REASON: &str =
    "its disk is not mounted there, or another one is mounted over it; what it held is kept as offline";

/// Some of what is not seen.
#[derive(Debug, Clone, Copy)]
pub enum Away<'p> {
    Inside(&'p Path),
    At(&'p Path),
}

/// What was read of a location's files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Of its weights, as far as they could be read.
    pub verdicts: Vec<Verdict>,
    /// What the hashes of each file are found by.
    pub stamps: Vec<Option<Stamped>>,
}

/// A location that goes from one root to another.
struct Move {
    location: i64,
    app: App,
    handle: String,
    to: UnitRow,
}

impl Index {
    /// What was seen at a root and below it; None where that was never stored.
    pub fn seats(&self, root: &Path) -> anyhow::Result<Option<Seats>> {
        let mut select = self.db.prepare_cached("SELECT point, volume, top FROM seat WHERE root = ?1")?;
        let rows = select.query_map([bytes(root)], |row| {
            Ok((path(row.get(0)?), Seat { volume: row.get(1)?, top: path(row.get(2)?) }))
        })?;
        let seats: Vec<(PathBuf, Seat)> = rows.collect::<rusqlite::Result<_>>()?;
        Ok((!seats.is_empty()).then(|| seats.into_iter().collect()))
    }

    pub fn put_seats(&mut self, root: &Path, seats: &Seats) -> anyhow::Result<()> {
        self.db.prepare_cached("DELETE FROM seat WHERE root = ?1")?.execute([bytes(root)])?;
        let mut insert =
            self.db.prepare_cached("INSERT INTO seat (root, point, volume, top) VALUES (?1, ?2, ?3, ?4)")?;
        for (point, seat) in seats.iter() {
            insert.execute(params![bytes(root), bytes(point), seat.volume, bytes(&seat.top)])?;
        }
        Ok(())
    }

    /// Puts away what is not seen any more in a root, and takes back what is seen again; returns the models concerned.
    pub fn reseat(
        &mut self,
        root: &Path,
        before: &Seats,
        now: &Seats,
        at: Timestamp,
    ) -> anyhow::Result<BTreeSet<String>> {
        let mut models = BTreeSet::new();
        let mut leaving = BTreeSet::new();
        let leave = moves(&self.db, root, |row| {
            let unseen = paths(row).into_iter().find(|path| before.spot(path) != now.spot(path))?;
            let (point, seat) = before.seat(&unseen)?;
            let key = key(root, point, seat);
            leaving.insert((key.clone(), point.to_owned(), seat.clone()));
            Some(key)
        })?;
        for (key, point, seat) in &leaving {
            put_away(&self.db, key, root, (point, seat), at)?;
        }
        for gone in leave {
            self.keep(gone.location)?;
            models.extend(transfer(&self.db, &gone, false)?);
        }
        for (key, point, seat) in away(&self.db, root)? {
            let back = moves(&self.db, &key, |row| {
                let mut on_it = paths(row).into_iter().filter(|path| path.starts_with(&point));
                on_it.all(|path| now.spot(&path) == seat.spot(&point, &path)).then(|| root.to_owned())
            })?;
            for back in back {
                models.extend(transfer(&self.db, &back, true)?);
            }
        }
        self.fresh.locations.clear(); // they are as they were before they went or came
        tidy(&self.db, root)?;
        Ok(models)
    }

    /// Forgets what was put away of a root, or of a mount point; returns the models that had locations there.
    pub fn forget_away(&mut self, of: Away<'_>) -> anyhow::Result<BTreeSet<String>> {
        let (root, point) = match of {
            Away::Inside(root) => (Some(bytes(root)), None),
            Away::At(point) => (None, Some(bytes(point))),
        };
        let (mut models, mut contents) = (BTreeSet::new(), BTreeSet::new());
        let mut select = self.db.prepare_cached(
            "SELECT unit.id, path FROM root JOIN unit ON unit.root = path WHERE inside = ?1 OR point = ?2",
        )?;
        let units: Vec<(i64, Vec<u8>)> = select
            .query_map([root, point], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (unit, key) in units {
            let mut of = self.db.prepare_cached("SELECT model FROM location WHERE unit = ?1")?;
            let of = of.query_map([unit], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
            models.extend(of);
            contents.extend(held::below(&self.db, unit)?);
            self.db.prepare_cached("DELETE FROM root WHERE path = ?1")?.execute([key])?;
        }
        models.extend(held::models(&self.db, &contents)?);
        Ok(models)
    }

    /// Another file may take the place of a file that is not seen any more: what was read of it goes with its location.
    fn keep(&self, location: i64) -> anyhow::Result<()> {
        let mut select = self.db.prepare_cached("SELECT placed FROM location WHERE id = ?1")?;
        let mut row: LocationRow = select.query_row([location], |row| json(row.get_ref(0)?.as_str()?, 0))?;
        if row.kept.is_some() {
            return Ok(()); // it came back, and has not been looked at since
        }
        let (verdicts, stamps) = (self.verdicts(&row.weights)?, hashes::stamps(&self.db, &row.location)?);
        row.kept = Some(Kept { verdicts, stamps });
        let placed = serde_json::to_string(&row)?;
        let mut update = self.db.prepare_cached("UPDATE location SET placed = ?2 WHERE id = ?1")?;
        update.execute(params![location, placed])?;
        Ok(())
    }
}

/// The same content at the same place, on whatever filesystem, was copied there or is there under another name.
pub(super) fn supersede(db: &Connection, unit: &UnitRow, app: App, handle: &str) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM location WHERE id IN (
            SELECT old.id FROM root JOIN unit AS away ON away.root = root.path AND away.dir = ?2
            JOIN location AS old ON old.unit = away.id AND old.app = ?3 AND old.handle = ?4
            JOIN unit AS here ON here.root = ?1 AND here.dir = ?2
            JOIN location AS new ON new.unit = here.id AND new.app = ?3 AND new.handle = ?4
            WHERE root.inside = ?1 AND old.content = new.content)",
    )?
    .execute(params![bytes(&unit.root), bytes(&unit.dir), app.name(), handle])?;
    Ok(())
}

/// Whether anything of a root was put away.
pub(super) fn has_away(db: &Connection, root: &Path) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT EXISTS (SELECT 1 FROM root WHERE inside = ?1)")?
        .query_row([bytes(root)], |row| row.get(0))
}

/// Forgets what was put away of a root and holds nothing any more.
pub(super) fn tidy(db: &Connection, root: &Path) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM unit WHERE root IN (SELECT path FROM root WHERE inside = ?1)
         AND NOT EXISTS (SELECT 1 FROM location WHERE location.unit = unit.id)",
    )?
    .execute([bytes(root)])?;
    db.prepare_cached(
        "DELETE FROM root WHERE inside = ?1 AND NOT EXISTS (SELECT 1 FROM unit WHERE unit.root = root.path)",
    )?
    .execute([bytes(root)])?;
    Ok(())
}

/// What a place is stored under that is not seen now: no path has a zero byte.
fn key(root: &Path, point: &Path, seat: &Seat) -> PathBuf {
    path([bytes(point), bytes(root), seat.volume.as_bytes(), bytes(&seat.top)].join(&0))
}

fn put_away(
    db: &Connection,
    key: &Path,
    root: &Path,
    (point, seat): (&Path, &Seat),
    at: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO root (path, app, online, offline_since, watched, reason, volume, inside, point, top)
         SELECT ?2, app, 0, ?3, 0, ?4, ?5, ?1, ?6, ?7 FROM root WHERE path = ?1",
    )?
    .execute(params![
        bytes(root),
        bytes(key),
        at.to_string(),
        REASON,
        seat.volume,
        bytes(point),
        bytes(&seat.top)
    ])?;
    Ok(())
}

/// What was put away of a root: its key, and where it was seen.
fn away(db: &Connection, root: &Path) -> rusqlite::Result<Vec<(PathBuf, PathBuf, Seat)>> {
    db.prepare_cached("SELECT path, point, volume, top FROM root WHERE inside = ?1")?
        .query_map([bytes(root)], |row| {
            let seat = Seat { volume: row.get(2)?, top: path(row.get(3)?) };
            Ok((path(row.get(0)?), path(row.get(1)?), seat))
        })?
        .collect()
}

/// The locations of a root that are to go to another one.
fn moves(
    db: &Connection,
    root: &Path,
    mut to: impl FnMut(&LocationRow) -> Option<PathBuf>,
) -> anyhow::Result<Vec<Move>> {
    let mut select = db.prepare_cached(
        "SELECT location.id, dir, placed FROM location JOIN unit ON unit.id = location.unit WHERE root = ?1",
    )?;
    let mut rows = select.query([bytes(root)])?;
    let mut moves = Vec::new();
    while let Some(row) = rows.next()? {
        let placed: LocationRow = json(row.get_ref(2)?.as_str()?, 2)?;
        if let Some(root) = to(&placed) {
            let (app, handle) = (placed.location.app, placed.location.id);
            let to = UnitRow { root, dir: path(row.get(1)?) };
            moves.push(Move { location: row.get(0)?, app, handle, to });
        }
    }
    Ok(moves)
}

/// Moves a location; its next look places it anew. Returns the models concerned.
fn transfer(db: &Connection, of: &Move, online: bool) -> rusqlite::Result<Vec<String>> {
    let unit = put_unit(db, &of.to)?;
    let taken = remove_location(db, unit, of.app, &of.handle)?;
    let moved: Option<String> = db
        .prepare_cached(
            "UPDATE location SET unit = ?2, online = ?3, fingerprint = NULL WHERE id = ?1 RETURNING model",
        )?
        .query_row(params![of.location, unit, online], |row| row.get(0))
        .optional()?;
    Ok(taken.into_iter().chain(moved).collect())
}

/// Where a location's bytes lie: those of its weights, or of all it has where it has none.
fn paths(row: &LocationRow) -> Vec<PathBuf> {
    if row.weights.is_empty() {
        return row.location.files.iter().map(|file| file.path.to_path()).collect();
    }
    row.weights.iter().map(WirePath::to_path).collect()
}
