//! Hashes of whole files: `user.db` keeps them by what a file is on disk, `index.db` says which models have which.
//! A hash is never handed out for a file that is not as it was when it was computed.

use super::{LocationRow, Reader, User, bytes, path};
use domain::{File, Hashes, Location, Model, Role};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Finds the hashes of a file by its stamp without ctime, and its sampled id.
pub(crate) type Known<'a> = &'a dyn Fn(&str, &[u8]) -> anyhow::Result<Option<Hashes>>;

/// A file's stamp without its ctime, and its sampled id: what its hashes are found by.
pub(super) type Stamped = (String, Vec<u8>);

/// What hashing a file has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashRow {
    /// The file's stamp without its ctime.
    pub same: String,
    pub sampled: Vec<u8>,
    pub hashes: Hashes,
}

/// A weight file whose hashes are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedRow {
    pub model: String,
    pub path: PathBuf,
    pub sha256: String,
    pub tensors: Option<String>,
}

impl User {
    /// The hashes of a file, if it is the one that was hashed.
    pub fn hashes(&self, same: &str, sampled: &[u8]) -> anyhow::Result<Option<Hashes>> {
        let mut select = self.db.prepare_cached(
            "SELECT sha256, tensors, autov1, autov2, autov3 FROM hash WHERE same = ?1 AND sampled = ?2",
        )?;
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Hashes {
                sha256: row.get(0)?,
                tensors: row.get(1)?,
                autov1: row.get(2)?,
                autov2: row.get(3)?,
                autov3: row.get(4)?,
            })
        };
        Ok(select.query_row(params![same, sampled], row).optional()?)
    }
}

impl Reader {
    /// Every weight file whose hashes are known, by path: what `sha256` says was computed here.
    pub fn hashed(&self) -> anyhow::Result<Vec<HashedRow>> {
        hashed(&self.db, "SELECT model, path, sha256, tensors FROM hashed ORDER BY path, model", [])
    }

    /// Groups of models whose tensors are the same to the last byte while their files are not.
    pub fn same_weights(&self) -> anyhow::Result<Vec<BTreeSet<String>>> {
        let rows = hashed(
            &self.db,
            "SELECT model, path, sha256, tensors FROM hashed WHERE model IN (SELECT model FROM hashed
             WHERE tensors IN (SELECT tensors FROM hashed GROUP BY tensors HAVING count(DISTINCT model) > 1))",
            [],
        )?;
        let mut groups: BTreeMap<BTreeSet<String>, BTreeSet<String>> = BTreeMap::new();
        for (model, tensors) in tensors_by_model(rows) {
            groups.entry(tensors).or_default().insert(model);
        }
        Ok(groups.into_values().filter(|models| models.len() > 1).collect())
    }

    /// Models that have the same tensors as this one.
    pub fn with_the_weights_of(&self, model: &str) -> anyhow::Result<Vec<String>> {
        let rows = hashed(
            &self.db,
            "SELECT model, path, sha256, tensors FROM hashed WHERE model IN (SELECT model FROM hashed
             WHERE tensors IN (SELECT tensors FROM hashed WHERE model = ?1))",
            [model],
        )?;
        let mut all = tensors_by_model(rows);
        let Some(own) = all.remove(model) else { return Ok(Vec::new()) };
        Ok(all.into_iter().filter(|(_, tensors)| *tensors == own).map(|(model, _)| model).collect())
    }
}

/// The tensor hashes of each model of whose files all have one.
fn tensors_by_model(rows: Vec<HashedRow>) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, Option<BTreeSet<String>>> = BTreeMap::new();
    for HashedRow { model, tensors, .. } in rows {
        let entry = all.entry(model).or_insert_with(|| Some(BTreeSet::new()));
        match tensors {
            Some(tensors) => entry.iter_mut().for_each(|known| known.extend([tensors.clone()])),
            None => *entry = None,
        }
    }
    all.into_iter().filter_map(|(model, tensors)| Some((model, tensors?))).collect()
}

fn hashed(
    db: &Connection,
    sql: &'static str,
    values: impl rusqlite::Params,
) -> anyhow::Result<Vec<HashedRow>> {
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map(values, |row| {
        Ok(HashedRow {
            model: row.get(0)?,
            path: path(row.get(1)?),
            sha256: row.get(2)?,
            tensors: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn put(db: &Connection, row: &HashRow, now: &str) -> rusqlite::Result<()> {
    let HashRow { same, sampled, hashes } = row;
    db.prepare_cached(
        "INSERT OR REPLACE INTO hash (same, sampled, sha256, tensors, autov1, autov2, autov3, computed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        same,
        sampled,
        hashes.sha256,
        hashes.tensors,
        hashes.autov1,
        hashes.autov2,
        hashes.autov3,
        now
    ])
    .map(drop)
}

/// Gives the files of a location the hashes that are known of them.
pub(super) fn fill(db: &Connection, row: &mut LocationRow, known: Known<'_>) -> anyhow::Result<()> {
    let stamps = match &row.kept {
        Some(kept) => kept.stamps.clone(),
        None => stamps(db, &row.location)?,
    };
    for (file, stamped) in row.location.files.iter_mut().zip(stamps) {
        if let Some((same, sampled)) = stamped
            && let Some(hashes) = known(&same, &sampled)?
        {
            file.put_hashes(hashes);
        }
    }
    Ok(())
}

/// What the hashes of each file of a location are found by, where it has any.
pub(super) fn stamps(db: &Connection, location: &Location) -> rusqlite::Result<Vec<Option<Stamped>>> {
    let of = |file: &File| if file.is_hashed() { stamped(db, &file.path.to_path()) } else { Ok(None) };
    location.files.iter().map(of).collect()
}

/// What was read of a file last.
fn stamped(db: &Connection, path: &Path) -> rusqlite::Result<Option<Stamped>> {
    db.prepare_cached("SELECT stamp, inode, sampled FROM file WHERE path = ?1")?
        .query_row([bytes(path)], |row| {
            let stamp: String = row.get(0)?;
            let has_inodes = row.get::<_, i64>(1)? != 0;
            Ok((crate::read::without_ctime(&stamp, has_inodes).to_owned(), row.get(2)?))
        })
        .optional()
}

pub(super) fn put_hashed(db: &Connection, model: &Model) -> rusqlite::Result<()> {
    remove_hashed(db, &model.id)?;
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO hashed (model, path, sha256, tensors) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for location in &model.locations {
        let weights = || location.files.iter().filter(|file| file.role == Role::Weights);
        // Some parts of a model do not tell which others have the same weights.
        let are_all_known = weights().all(|file| file.hashes.is_some());
        for file in weights() {
            let Some(Hashes { sha256, tensors, .. }) = &file.hashes else { continue };
            let tensors = tensors.as_ref().filter(|_| are_all_known);
            insert.execute(params![model.id, bytes(&file.path.to_path()), sha256, tensors])?;
        }
    }
    Ok(())
}

pub(super) fn remove_hashed(db: &Connection, model: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM hashed WHERE model = ?1")?.execute([model]).map(drop)
}
