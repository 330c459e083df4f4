//! Roots, units and what they rest on; locations and the models they belong to.

use super::{Index, away, bytes, held, path, unfinished};
use domain::{App, Hints, Location, OnDisk, Verdict};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

/// A directory of a root that is understood at once; both absolute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitRow {
    pub root: PathBuf,
    pub dir: PathBuf,
}

/// A path that a unit's answer rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depend {
    pub path: PathBuf,
    pub is_dir: bool,
    /// None where it was missing, or changed so lately that its times prove nothing.
    pub stamp: Option<String>,
}

/// A weight file as it was read last.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownFile {
    pub volume: String,
    pub inode: u64,
    pub stamp: String,
    /// Hash of size, header and samples of the data.
    pub sampled: Vec<u8>,
    pub is_whole: bool,
    pub verdict: Verdict,
}

/// A location with everything but the verdicts of its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LocationRow {
    pub location: Location,
    pub on_disk: Vec<Option<OnDisk>>,
    pub base_models: Vec<String>,
    #[serde(default)]
    pub lineage: Vec<domain::Ancestor>,
    pub hints: Hints,
    /// Where the bytes of each weight file are opened, in order.
    pub weights: Vec<domain::WirePath>,
    /// While they are not seen: another file may be at their paths meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<away::Kept>,
}

/// What looking at a unit again has brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UnitChange {
    pub depends: DependChange,
    pub files: Vec<(PathBuf, KnownFile)>,
    pub locations: Vec<NewLocation>,
    pub removed: Vec<(App, String)>,
}

/// A location that is new or differs from the stored one.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLocation {
    pub content: Vec<u8>,
    pub is_whole: bool,
    /// What it is made of, in short; None is like no other.
    pub fingerprint: Option<u64>,
    pub row: LocationRow,
    /// What is searched of its card.
    pub card: Option<String>,
}

/// How what a unit rests on differs from what is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DependChange {
    pub put: Vec<Depend>,
    pub gone: Vec<PathBuf>,
}

impl DependChange {
    pub fn between(before: Vec<Depend>, after: Vec<Depend>) -> Self {
        let mut before: HashMap<PathBuf, (bool, Option<String>)> =
            before.into_iter().map(|depend| (depend.path, (depend.is_dir, depend.stamp))).collect();
        let is_new = |depend: &Depend| {
            let known = before.remove(&depend.path);
            known.is_none_or(|(is_dir, stamp)| is_dir != depend.is_dir || stamp != depend.stamp)
        };
        let put = after.into_iter().filter(is_new).collect();
        Self { put, gone: before.into_keys().collect() }
    }
}

/// What a change of a unit means for models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// To be assembled again.
    pub models: BTreeSet<String>,
    /// Contents that user.db must learn: key, model, a path.
    pub adopted: Vec<(Vec<u8>, String, PathBuf)>,
}

impl Index {
    /// Stores what a unit's look has brought. `durable` finds a content in user.db, `mint` makes a new model id.
    pub fn apply(
        &mut self,
        unit: &UnitRow,
        change: UnitChange,
        durable: &dyn Fn(&[u8]) -> anyhow::Result<Option<String>>,
        mint: &dyn Fn() -> String,
    ) -> anyhow::Result<Applied> {
        let id = put_unit(&self.db, unit)?;
        put_depends(&self.db, id, &change.depends)?;
        for (path, file) in change.files {
            put_file(&self.db, &path, &file)?;
            self.fresh.verdicts.insert(path, file.verdict);
        }
        let mut applied = Applied::default();
        let mut contents = BTreeSet::new();
        let has_away = away::has_away(&self.db, &unit.root)?;
        // Before the removals: a file that was renamed within the unit finds its content still there.
        for new in change.locations {
            let (model, is_new) = model_of(&self.db, id, &new, durable, mint)?;
            if is_new {
                let path = new.row.location.files.first().map(|file| file.path.to_path()).unwrap_or_default();
                applied.adopted.push((new.content.clone(), model.clone(), path));
            }
            let Put { location, before, contents: changed } = put_location(&self.db, id, &new, &model)?;
            if has_away {
                away::supersede(&self.db, unit, new.row.location.app, &new.row.location.id)?;
            }
            self.words.card(location, new.card);
            self.fresh.locations.insert(location, new.row);
            applied.models.extend(before);
            applied.models.insert(model);
            contents.extend(changed);
        }
        for (app, handle) in &change.removed {
            contents.extend(held::at(&self.db, id, *app, handle)?);
            applied.models.extend(remove_location(&self.db, id, *app, handle)?);
        }
        if has_away {
            away::tidy(&self.db, &unit.root)?;
        }
        // Now that all of them are known as they are.
        for model in applied.models.clone() {
            unfinished::part(&self.db, &model, &mut applied, mint)?;
        }
        // Whose bytes came to lie elsewhere as well, or do no longer.
        applied.models.extend(held::models(&self.db, &contents)?);
        Ok(applied)
    }

    /// Notes that there is a unit, which is still to be looked at: it rests on nothing yet.
    pub fn note_unit(&mut self, unit: &UnitRow) -> anyhow::Result<()> {
        put_unit(&self.db, unit)?;
        Ok(())
    }

    /// Forgets a unit; returns the models that had locations there.
    pub fn remove_unit(&mut self, unit: &UnitRow) -> anyhow::Result<BTreeSet<String>> {
        let transaction = &self.db;
        let mut models = BTreeSet::new();
        if let Some(id) = unit_id(transaction, unit)? {
            models = models_where(transaction, "SELECT model FROM location WHERE unit = ?1", id)?;
            let contents = held::below(transaction, id)?;
            transaction.prepare_cached("DELETE FROM unit WHERE id = ?1")?.execute([id])?;
            models.extend(held::models(transaction, &contents)?);
        }
        Ok(models)
    }

    /// Marks every location of a root as there or not there; returns the models concerned.
    pub fn set_root_online(&mut self, root: &Path, online: bool) -> anyhow::Result<BTreeSet<String>> {
        let transaction = &self.db;
        let models = transaction
            .prepare_cached(
                "UPDATE location SET online = ?2 WHERE online <> ?2
                 AND unit IN (SELECT id FROM unit WHERE root = ?1) RETURNING model",
            )?
            .query_map(params![bytes(root), online], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(models)
    }

    /// Every unit of a root.
    pub fn units(&self, root: &Path) -> anyhow::Result<Vec<UnitRow>> {
        units(&self.db, root)
    }

    /// Units that have listed this directory.
    pub fn listing(&self, dir: &Path) -> anyhow::Result<Vec<UnitRow>> {
        let mut select = self.db.prepare_cached(
            "SELECT root, dir FROM depend JOIN unit ON unit.id = depend.unit WHERE path = ?1 AND is_dir = 1",
        )?;
        let rows = select.query_map([bytes(dir)], unit_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets files that no unit rests on any more.
    pub fn prune_files(&mut self) -> anyhow::Result<()> {
        self.db.execute("DELETE FROM file WHERE path NOT IN (SELECT path FROM depend)", [])?;
        Ok(())
    }

    /// Contents and the models they are, as far as the index knows.
    pub fn contents(&self) -> anyhow::Result<Vec<(Vec<u8>, String)>> {
        let mut select = self.db.prepare_cached("SELECT key, model FROM content")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Has a content be another model than it was.
    pub fn rename_content(&mut self, key: &[u8], from: &str, to: &str) -> anyhow::Result<()> {
        rename_content(&self.db, key, from, to)
    }

    /// Units whose answer rests on a path.
    pub fn dependents(&self, changed: &Path) -> anyhow::Result<Vec<UnitRow>> {
        let mut select = self.db.prepare_cached(
            "SELECT root, dir FROM depend JOIN unit ON unit.id = depend.unit WHERE path = ?1",
        )?;
        let rows = select.query_map([bytes(changed)], unit_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

pub(super) fn rename_content(db: &Connection, key: &[u8], from: &str, to: &str) -> anyhow::Result<()> {
    db.prepare_cached("UPDATE content SET model = ?2 WHERE key = ?1")?.execute(params![key, to])?;
    db.prepare_cached("UPDATE location SET model = ?3 WHERE model = ?2 AND content = ?1")?
        .execute(params![key, from, to])?;
    Ok(())
}

pub(super) fn units(db: &Connection, root: &Path) -> anyhow::Result<Vec<UnitRow>> {
    let mut select = db.prepare_cached("SELECT root, dir FROM unit WHERE root = ?1 ORDER BY dir")?;
    let rows = select.query_map([bytes(root)], unit_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn unit_row(row: &Row<'_>) -> rusqlite::Result<UnitRow> {
    Ok(UnitRow { root: path(row.get(0)?), dir: path(row.get(1)?) })
}

pub(super) fn unit_id(db: &Connection, unit: &UnitRow) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM unit WHERE root = ?1 AND dir = ?2")?
        .query_row(params![bytes(&unit.root), bytes(&unit.dir)], |row| row.get(0))
        .optional()
}

pub(super) fn put_unit(db: &Connection, unit: &UnitRow) -> rusqlite::Result<i64> {
    if let Some(id) = unit_id(db, unit)? {
        return Ok(id);
    }
    db.prepare_cached("INSERT INTO unit (root, dir) VALUES (?1, ?2) RETURNING id")?
        .query_row(params![bytes(&unit.root), bytes(&unit.dir)], |row| row.get(0))
}

fn put_depends(db: &Connection, unit: i64, change: &DependChange) -> rusqlite::Result<()> {
    let mut delete = db.prepare_cached("DELETE FROM depend WHERE unit = ?1 AND path = ?2")?;
    for path in &change.gone {
        delete.execute(params![unit, bytes(path)])?;
    }
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO depend (unit, path, is_dir, stamp) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for depend in &change.put {
        insert.execute(params![unit, bytes(&depend.path), depend.is_dir, depend.stamp])?;
    }
    Ok(())
}

fn put_file(db: &Connection, path: &Path, file: &KnownFile) -> anyhow::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO file (path, volume, inode, stamp, sampled, is_whole, verdict)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        bytes(path),
        file.volume,
        file.inode.cast_signed(),
        file.stamp,
        file.sampled,
        file.is_whole,
        serde_json::to_string(&file.verdict)?
    ])?;
    Ok(())
}

/// Which model a location is: what the content is known as, else what an unfinished file at this place was, else new.
fn model_of(
    db: &Connection,
    unit: i64,
    new: &NewLocation,
    durable: &dyn Fn(&[u8]) -> anyhow::Result<Option<String>>,
    mint: &dyn Fn() -> String,
) -> anyhow::Result<(String, bool)> {
    let known: Option<String> = db
        .prepare_cached("SELECT model FROM content WHERE key = ?1")?
        .query_row([&new.content], |row| row.get(0))
        .optional()?;
    if let Some(model) = known {
        return Ok((model, false));
    }
    let location = &new.row.location;
    // What stood here before is the same model where one of the two is unfinished: a download that goes on, a part
    // that was lost, unless it lies whole elsewhere (`unfinished::part`). But what was whole once does not become
    // another whole.
    let unfinished = || {
        db.prepare_cached(
            "SELECT model FROM location WHERE unit = ?1 AND app = ?2 AND handle = ?3 AND (?4 = 0 OR (is_whole = 0
             AND NOT EXISTS (SELECT 1 FROM content WHERE content.model = location.model AND content.is_whole)))",
        )?
        .query_row(params![unit, location.app.name(), location.id, new.is_whole], |row| row.get(0))
        .optional()
    };
    let model = match durable(&new.content)? {
        Some(model) => model,
        None => unfinished()?.unwrap_or_else(mint),
    };
    db.prepare_cached("INSERT OR REPLACE INTO content (key, model, is_whole) VALUES (?1, ?2, ?3)")?
        .execute(params![new.content, model, new.is_whole])?;
    Ok((model, true))
}

/// A location that was stored.
struct Put {
    /// Its row.
    location: i64,
    /// The model that was there before, where it was another.
    before: Option<String>,
    /// Contents that came or went with it.
    contents: BTreeSet<Vec<u8>>,
}

fn put_location(db: &Connection, unit: i64, new: &NewLocation, model: &str) -> anyhow::Result<Put> {
    let location = &new.row.location;
    let before: Option<String> = db
        .prepare_cached("SELECT model FROM location WHERE unit = ?1 AND app = ?2 AND handle = ?3")?
        .query_row(params![unit, location.app.name(), location.id], |row| row.get(0))
        .optional()?;
    let mut insert = db.prepare_cached(
        "INSERT INTO location (unit, app, handle, model, content, is_whole, placed, fingerprint, online)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1)
         ON CONFLICT (unit, app, handle) DO UPDATE SET model = ?4, content = ?5, is_whole = ?6, placed = ?7,
         fingerprint = ?8, online = 1 RETURNING id",
    )?;
    let values = params![
        unit,
        location.app.name(),
        location.id,
        model,
        new.content,
        new.is_whole,
        serde_json::to_string(&new.row)?,
        new.fingerprint.map(u64::cast_signed)
    ];
    let location = insert.query_row(values, |row| row.get(0))?;
    let is_moved = before.as_deref().is_some_and(|before| before != model);
    let contents = held::put(db, location, &new.row, is_moved)?;
    Ok(Put { location, before: before.filter(|_| is_moved), contents })
}

pub(super) fn remove_location(
    db: &Connection,
    unit: i64,
    app: App,
    handle: &str,
) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("DELETE FROM location WHERE unit = ?1 AND app = ?2 AND handle = ?3 RETURNING model")?
        .query_row(params![unit, app.name(), handle], |row| row.get(0))
        .optional()
}

fn models_where(db: &Connection, sql: &'static str, id: i64) -> rusqlite::Result<BTreeSet<String>> {
    db.prepare_cached(sql)?.query_map([id], |row| row.get(0))?.collect()
}
