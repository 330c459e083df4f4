//! Which paths hold the same bytes: what `duplicate_group` and `duplicates` are made of. Decides nothing itself.

use super::{Index, LocationRow, Reader, bytes, json, path};
use domain::{
    App, OnDisk, Role, WirePath,
    duplicates::{Holder, Known, ModelName, Reach, names, reach},
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    path::Path,
};

/// A row of `held`, but for its place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    path: Vec<u8>,
    is_weights: bool,
    sampled: Vec<u8>,
    sha256: Option<String>,
    volume: String,
    inode: i64,
}

/// What a store says where parts of a model are whole while others are not there.
const PARTS_MISSING: &str = "missing-sibling";

/// Stores which paths of a location hold weights; returns the contents that came or went. `is_moved` says that it has
/// become another model's.
pub(super) fn put(
    db: &Connection,
    location: i64,
    row: &LocationRow,
    is_moved: bool,
) -> anyhow::Result<BTreeSet<Vec<u8>>> {
    let new = rows(db, row)?;
    let before: BTreeSet<Held> = db
        .prepare_cached(
            "SELECT path, is_weights, sampled, sha256, volume, inode FROM held WHERE location = ?1",
        )?
        .query_map([location], held)?
        .collect::<rusqlite::Result<_>>()?;
    let after: BTreeSet<&Held> = new.iter().map(|(_, held)| held).collect();
    if !is_moved && after.len() == before.len() && before.iter().all(|held| after.contains(held)) {
        return Ok(BTreeSet::new());
    }
    if !before.is_empty() {
        db.prepare_cached("DELETE FROM held WHERE location = ?1")?.execute([location])?;
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO held (location, no, path, is_weights, sampled, sha256, volume, inode)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (no, held) in &new {
        let Held { path, is_weights, sampled, sha256, volume, inode } = held;
        insert.execute(params![location, no, path, is_weights, sampled, sha256, volume, inode])?;
    }
    let new = new.into_iter().map(|(_, held)| held.sampled);
    Ok(before.into_iter().map(|held| held.sampled).chain(new).collect())
}

/// The files of a location that hold weights, by their number there.
fn rows(db: &Connection, row: &LocationRow) -> anyhow::Result<Vec<(i64, Held)>> {
    let location = &row.location;
    let reason = location.partial_reason.as_deref().unwrap_or_default();
    let has_weights = !location.is_partial || reason.starts_with(PARTS_MISSING);
    let mut rows = Vec::new();
    for (no, (file, on_disk)) in (0..).zip(location.files.iter().zip(&row.on_disk)) {
        let is_weights = file.role == Role::Weights;
        let (true, Some(on_disk)) = (!is_weights || has_weights, on_disk) else { continue };
        let path = file.path.to_path();
        let sampled: Option<Vec<u8>> = db
            .prepare_cached("SELECT sampled FROM file WHERE path = ?1 AND is_whole")?
            .query_row([bytes(&path)], |row| row.get(0))
            .optional()?;
        if let Some(sampled) = sampled.filter(|_| holds_weights(file.role)) {
            let held = Held {
                path: bytes(&path).to_owned(),
                is_weights,
                sampled,
                sha256: file.sha256.clone(),
                volume: on_disk.volume.clone(),
                inode: on_disk.inode.cast_signed(),
            };
            rows.push((no, held));
        }
    }
    Ok(rows)
}

fn holds_weights(role: Role) -> bool {
    match role {
        Role::Weights | Role::Companion | Role::Adapter | Role::Blob | Role::Bundle | Role::LfsObject => true,
        Role::Config | Role::Card | Role::Sidecar | Role::Metadata => false,
    }
}

fn held(row: &Row<'_>) -> rusqlite::Result<Held> {
    Ok(Held {
        path: row.get(0)?,
        is_weights: row.get(1)?,
        sampled: row.get(2)?,
        sha256: row.get(3)?,
        volume: row.get(4)?,
        inode: row.get(5)?,
    })
}

/// The contents that a location holds.
pub(super) fn at(db: &Connection, unit: i64, app: App, handle: &str) -> rusqlite::Result<Vec<Vec<u8>>> {
    db.prepare_cached(
        "SELECT sampled FROM held JOIN location ON location.id = held.location
         WHERE unit = ?1 AND app = ?2 AND handle = ?3",
    )?
    .query_map(params![unit, app.name(), handle], |row| row.get(0))?
    .collect()
}

/// The contents that a unit's locations hold.
pub(super) fn below(db: &Connection, unit: i64) -> rusqlite::Result<BTreeSet<Vec<u8>>> {
    db.prepare_cached(
        "SELECT sampled FROM held JOIN location ON location.id = held.location WHERE unit = ?1",
    )?
    .query_map([unit], |row| row.get(0))?
    .collect()
}

/// The models that hold any of these contents.
pub(super) fn models(db: &Connection, contents: &BTreeSet<Vec<u8>>) -> rusqlite::Result<BTreeSet<String>> {
    let mut select = db.prepare_cached(
        "SELECT model FROM held JOIN location ON location.id = held.location WHERE sampled = ?1",
    )?;
    let mut models = BTreeSet::new();
    for content in contents {
        for model in select.query_map([content], |row| row.get(0))? {
            models.insert(model?);
        }
    }
    Ok(models)
}

/// What the first weights of a model that are held at more than one path go by.
pub(super) fn group_of(db: &Connection, model: &str) -> rusqlite::Result<Option<String>> {
    let mut weights = db.prepare_cached(
        "SELECT sampled, path FROM held JOIN location ON location.id = held.location
         WHERE model = ?1 AND is_weights ORDER BY no, location",
    )?;
    let mut rows = weights.query([model])?;
    while let Some(row) = rows.next()? {
        let (sampled, path): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
        if let Some(group) = group(db, &sampled, &super::path(path))? {
            return Ok(Some(group));
        }
    }
    Ok(None)
}

/// What the bytes at a path go by, where another path holds them too.
fn group(db: &Connection, sampled: &[u8], of: &Path) -> rusqlite::Result<Option<String>> {
    let mut select = db.prepare_cached(
        "SELECT path, volume, inode, sha256, (SELECT hashed.sha256 FROM hashed
            JOIN location ON location.model = hashed.model JOIN held AS same ON same.location = location.id
            WHERE hashed.path = held.path AND same.path = held.path AND same.sampled = held.sampled)
         FROM held WHERE sampled = ?1",
    )?;
    let class: Vec<Known> = select.query_map([sampled], known)?.collect::<rusqlite::Result<_>>()?;
    if class.iter().all(|known| known.path == of) {
        return Ok(None);
    }
    let names = names(sampled, &class);
    let own = class.iter().zip(&names).find(|(known, _)| known.path == of).map(|(_, name)| name);
    let is_shared =
        |name: &&String| class.iter().zip(&names).any(|(known, other)| known.path != of && other == *name);
    Ok(own.filter(is_shared).cloned())
}

fn known(row: &Row<'_>) -> rusqlite::Result<Known> {
    Ok(Known {
        path: path(row.get(0)?),
        volume: row.get(1)?,
        inode: row.get::<_, i64>(2)?.cast_unsigned(),
        recorded: row.get(3)?,
        computed: row.get(4)?,
    })
}

impl Index {
    /// The models that hold bytes which this one holds too: what is known of those may be said of them.
    pub fn sharing_with(&self, model: &str) -> anyhow::Result<BTreeSet<String>> {
        let mut select = self.db.prepare_cached(
            "SELECT sampled FROM held JOIN location ON location.id = held.location WHERE model = ?1",
        )?;
        let contents = select.query_map([model], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(models(&self.db, &contents)?)
    }
}

impl Reader {
    /// Every path that holds bytes, or tensors, which another path holds too.
    pub fn holders(&self) -> anyhow::Result<Vec<Holder>> {
        let mut select = self.db.prepare_cached(
            "SELECT location.id, no, held.sampled, hashed.sha256, hashed.tensors, location.model, model.name, placed,
                location.online, location.unit
             FROM held JOIN location ON location.id = held.location JOIN model ON model.id = location.model
             LEFT JOIN hashed ON hashed.path = held.path AND hashed.model = location.model
             WHERE held.sampled IN (SELECT sampled FROM held GROUP BY sampled HAVING min(path) < max(path))
                OR hashed.tensors IN (SELECT tensors FROM hashed WHERE tensors IS NOT NULL
                    GROUP BY tensors HAVING count(*) > 1)
             ORDER BY location.id, no",
        )?;
        let mut rows = select.query([])?;
        let mut place: Option<(i64, LocationRow)> = None;
        let mut repositories = Repositories::new();
        let mut holders = Vec::new();
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if place.as_ref().is_none_or(|(known, _)| *known != id) {
                place = Some((id, json(row.get_ref(7)?.as_str()?, 7)?));
            }
            if let Some((_, place)) = &place {
                let mut found = holder(row, place)?;
                if let Some(found) = &mut found {
                    found.beside = self.beside(found, place, (row.get(9)?, &mut repositories))?;
                }
                holders.extend(found);
            }
        }
        Ok(holders)
    }

    /// Other weights that the app's own command removes with those of a holder.
    fn beside(
        &self,
        holder: &Holder,
        place: &LocationRow,
        (unit, repositories): (i64, &mut Repositories),
    ) -> anyhow::Result<Vec<WirePath>> {
        let files = match reach(holder.app) {
            None => return Ok(Vec::new()),
            Some(Reach::Handle) => &files(place),
            Some(Reach::Repository) => match repositories.entry(unit) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.repository(unit, holder.app)?),
            },
        };
        let own = (&holder.on_disk.volume, holder.on_disk.inode);
        let others = files.iter().filter(|(_, on_disk)| (&on_disk.volume, on_disk.inode) != own);
        Ok(others.map(|(path, _)| path.clone()).collect())
    }

    fn repository(&self, unit: i64, app: App) -> anyhow::Result<Vec<(WirePath, OnDisk)>> {
        let mut select =
            self.db.prepare_cached("SELECT placed FROM location WHERE unit = ?1 AND app = ?2")?;
        let rows = select.query_map(params![unit, app.name()], |row| json(row.get_ref(0)?.as_str()?, 0))?;
        let places: Vec<LocationRow> = rows.collect::<rusqlite::Result<_>>()?;
        Ok(places.iter().flat_map(files).collect())
    }
}

/// What each repository that was asked for holds.
type Repositories = HashMap<i64, Vec<(WirePath, OnDisk)>>;

/// Weights of a location and what goes with them, and where they lie.
fn files(place: &LocationRow) -> Vec<(WirePath, OnDisk)> {
    let files = place.location.files.iter().zip(&place.on_disk).filter(|(file, _)| file.is_hashed());
    files.filter_map(|(file, on_disk)| Some((file.path.clone(), on_disk.clone()?))).collect()
}

fn holder(row: &Row<'_>, place: &LocationRow) -> rusqlite::Result<Option<Holder>> {
    let no = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(usize::MAX);
    let LocationRow { location, on_disk, .. } = place;
    let (Some(file), Some(Some(on_disk))) = (location.files.get(no), on_disk.get(no)) else {
        return Ok(None);
    };
    Ok(Some(Holder {
        model: ModelName { id: row.get(5)?, name: row.get(6)? },
        app: location.app,
        handle: location.id.clone(),
        repo: location.source.as_ref().and_then(|source| source.repo.clone()),
        owner: location.owner.clone(),
        online: row.get(8)?,
        file: file.clone(),
        on_disk: on_disk.clone(),
        sampled: row.get(2)?,
        computed: row.get(3)?,
        tensors: row.get(4)?,
        beside: Vec::new(),
        target: None,
        extents: None,
    }))
}
