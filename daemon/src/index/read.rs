//! Short read-only connections: lists, searches and shows never wait for the writer.

use super::{Depend, Fresh, KnownFile, LocationRow, UnitRow, bytes, json, models, open, path, units};
use domain::{App, Model, RootStatus, State, Verdict, WirePath, facts::Facts, facts_of, resolve::Names};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::{collections::HashMap, path::Path};

/// A reading side of `index.db`.
#[derive(Debug)]
pub struct Reader {
    pub(super) db: Connection,
}

/// Totals over all models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    pub models: u64,
    pub locations: u64,
}

/// What a unit held when it was looked at last.
#[derive(Debug, Default)]
pub struct UnitBefore {
    /// By app and handle: what each location was made of.
    pub locations: HashMap<(App, String), Option<u64>>,
    /// Paths it rests on.
    pub depends: Vec<Depend>,
}

impl Reader {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { db: open::reader(path)? })
    }

    /// Every model as JSON text with its row, by name.
    pub fn models(&self, mut each: impl FnMut(i64, &str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut select = self.db.prepare_cached("SELECT rowid, json FROM model ORDER BY name, id")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            each(row.get(0)?, row.get_ref(1)?.as_str()?)?;
        }
        Ok(())
    }

    /// Every model as JSON text with its id.
    pub fn texts(&self, mut each: impl FnMut(&str, &str)) -> anyhow::Result<()> {
        let mut select = self.db.prepare_cached("SELECT id, json FROM model")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            each(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        }
        Ok(())
    }

    /// Every model of which a file is being written.
    pub fn growing(&self, mut each: impl FnMut(Model)) -> anyhow::Result<()> {
        let mut select = self.db.prepare_cached("SELECT json FROM model WHERE state = ?1")?;
        let mut rows = select.query([State::Downloading.name()])?;
        while let Some(row) = rows.next()? {
            each(json(row.get_ref(0)?.as_str()?, 0)?);
        }
        Ok(())
    }

    /// The model of a row as JSON text.
    pub fn model_at(&self, row: i64, each: impl FnOnce(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut select = self.db.prepare_cached("SELECT json FROM model WHERE rowid = ?1")?;
        select.query_row([row], |found| Ok(each(found.get_ref(0)?.as_str()?)))?
    }

    /// Every location with its model as JSON text and its root.
    pub fn locations(
        &self,
        mut each: impl FnMut(&LocationRow, &str, &Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut select = self.db.prepare_cached(
            "SELECT placed, json, coalesce(point, path) FROM location JOIN unit ON unit.id = location.unit
             JOIN root ON root.path = unit.root JOIN model ON model.id = location.model",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let place: LocationRow = json(row.get_ref(0)?.as_str()?, 0)?;
            each(&place, row.get_ref(1)?.as_str()?, &path(row.get(2)?))?;
        }
        Ok(())
    }

    /// A model, and the facts of all its parts together.
    pub fn model(&self, id: &str) -> anyhow::Result<Option<(Model, Option<Facts>)>> {
        let model: Option<Model> = self
            .db
            .prepare_cached("SELECT json FROM model WHERE id = ?1")?
            .query_row([id], |row| json(row.get_ref(0)?.as_str()?, 0))
            .optional()?;
        let Some(model) = model else { return Ok(None) };
        Ok(Some((model, facts_of(models::placed(&self.db, id, &Fresh::default())?))))
    }

    /// The names of every model, to resolve what a person typed.
    pub fn names(&self) -> anyhow::Result<Vec<Names>> {
        let mut select = self.db.prepare_cached("SELECT names FROM model ORDER BY name, id")?;
        let rows = select.query_map([], |row| json(&row.get::<_, String>(0)?, 0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub fn totals(&self) -> anyhow::Result<Totals> {
        let count = |sql: &'static str| -> rusqlite::Result<u64> {
            Ok(self.db.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
        };
        let models = count("SELECT count(*) FROM model")?;
        Ok(Totals { models, locations: count("SELECT count(*) FROM location")? })
    }

    /// Bytes allocated for all files of all locations, each inode once.
    pub fn allocated(&self) -> anyhow::Result<u64> {
        let mut select = self.db.prepare_cached(
            "SELECT coalesce(sum(bytes), 0) FROM (SELECT max(value ->> 'disk_size') AS bytes
             FROM location, json_each(placed, '$.on_disk') WHERE value IS NOT NULL
             GROUP BY value ->> 'volume', value ->> 'inode')",
        )?;
        Ok(select.query_row([], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    pub fn roots(&self) -> anyhow::Result<Vec<RootStatus>> {
        roots(&self.db)
    }

    /// A weight file that was read before, if it still has this stamp; any path to the same inode serves.
    pub fn file(
        &self,
        path: &Path,
        volume: &str,
        inode: u64,
        stamp: &str,
    ) -> anyhow::Result<Option<(bool, KnownFile)>> {
        let exact = self
            .db
            .prepare_cached(
                "SELECT volume, inode, stamp, sampled, is_whole, verdict FROM file WHERE path = ?1",
            )?
            .query_row([bytes(path)], known_file)
            .optional()?
            .filter(|file| file.stamp == stamp);
        if let Some(file) = exact {
            return Ok(Some((true, file)));
        }
        let other = self
            .db
            .prepare_cached(
                "SELECT volume, inode, stamp, sampled, is_whole, verdict FROM file
                 WHERE volume = ?1 AND inode = ?2 AND stamp = ?3",
            )?
            .query_row(params![volume, inode.cast_signed(), stamp], known_file)
            .optional()?;
        Ok(other.map(|file| (false, file)))
    }

    /// From here to `end` the index is seen as it is now.
    pub fn begin(&self) -> anyhow::Result<()> {
        Ok(self.db.execute_batch("BEGIN")?)
    }

    pub fn end(&self) -> anyhow::Result<()> {
        Ok(self.db.execute_batch("COMMIT")?)
    }

    /// What each of a unit's locations was made of.
    pub fn fingerprints(&self, unit: &UnitRow) -> anyhow::Result<HashMap<(App, String), Option<u64>>> {
        let Some(id) = units::unit_id(&self.db, unit)? else { return Ok(HashMap::new()) };
        let mut select =
            self.db.prepare_cached("SELECT app, handle, fingerprint FROM location WHERE unit = ?1")?;
        let rows = select.query_map([id], |row| {
            let app = App::parse(row.get_ref(0)?.as_str()?).unwrap_or(App::Loose);
            let fingerprint: Option<i64> = row.get(2)?;
            Ok(((app, row.get(1)?), fingerprint.map(i64::cast_unsigned)))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// What a unit's answer rests on.
    pub fn depends(&self, unit: &UnitRow) -> anyhow::Result<Vec<Depend>> {
        let Some(id) = units::unit_id(&self.db, unit)? else { return Ok(Vec::new()) };
        let mut select = self.db.prepare_cached("SELECT path, is_dir, stamp FROM depend WHERE unit = ?1")?;
        let rows = select.query_map([id], |row| {
            Ok(Depend { path: path(row.get(0)?), is_dir: row.get(1)?, stamp: row.get(2)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn known_file(row: &Row<'_>) -> rusqlite::Result<KnownFile> {
    Ok(KnownFile {
        volume: row.get("volume")?,
        inode: row.get::<_, i64>("inode")?.cast_unsigned(),
        stamp: row.get("stamp")?,
        sampled: row.get("sampled")?,
        is_whole: row.get("is_whole")?,
        verdict: json::<Verdict>(&row.get::<_, String>("verdict")?, 5)?,
    })
}

/// Every root, with how many models lie there and how many bytes they take, each inode once.
pub(super) fn roots(db: &Connection) -> anyhow::Result<Vec<RootStatus>> {
    roots_with(
        db,
        "SELECT coalesce(point, path) AS path, app, derived_from, online, offline_since, watched, reason, rescans,
         last_scan, volume,
         (SELECT count(DISTINCT model) FROM location JOIN unit ON unit.id = unit WHERE unit.root = root.path) AS models,
         (SELECT coalesce(sum(bytes), 0) FROM (SELECT max(value ->> 'disk_size') AS bytes
            FROM location JOIN unit ON unit.id = unit, json_each(placed, '$.on_disk')
            WHERE unit.root = root.path AND value IS NOT NULL
            GROUP BY value ->> 'volume', value ->> 'inode')) AS bytes
         FROM root ORDER BY coalesce(point, path), inside",
    )
}

/// Every root as it was stored, but for what is not seen in one now; what lies there is not counted.
pub(super) fn stored_roots(db: &Connection) -> anyhow::Result<Vec<RootStatus>> {
    roots_with(
        db,
        "SELECT path, app, derived_from, online, offline_since, watched, reason, rescans, last_scan, volume,
         0 AS models, 0 AS bytes FROM root WHERE inside IS NULL ORDER BY path",
    )
}

fn roots_with(db: &Connection, sql: &'static str) -> anyhow::Result<Vec<RootStatus>> {
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map([], root_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn root_row(row: &Row<'_>) -> rusqlite::Result<RootStatus> {
    let time = |column: &str| -> rusqlite::Result<Option<jiff::Timestamp>> {
        Ok(row.get::<_, Option<String>>(column)?.and_then(|text| text.parse().ok()))
    };
    let derived: Option<Vec<u8>> = row.get("derived_from")?;
    let (watched, reason): (bool, Option<String>) = (row.get("watched")?, row.get("reason")?);
    Ok(RootStatus {
        path: WirePath::from(path(row.get("path")?).as_path()),
        app: App::parse(&row.get::<_, String>("app")?).unwrap_or(App::Loose),
        derived_from: derived.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        online: row.get("online")?,
        offline_since: time("offline_since")?,
        watched,
        degraded: reason.is_some(),
        reason,
        models: row.get::<_, i64>("models")?.cast_unsigned(),
        bytes: row.get::<_, i64>("bytes")?.cast_unsigned(),
        rescans: row.get::<_, i64>("rescans")?.cast_unsigned(),
        last_scan: time("last_scan")?,
        volume: row.get("volume")?,
    })
}
