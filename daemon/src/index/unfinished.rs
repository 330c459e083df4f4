//! Unfinished contents that go by the id of a model which another place has whole: they are models of their own.

use super::{
    Index, LocationRow, json,
    units::{Applied, rename_content},
};
use rusqlite::Connection;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// A place that is not whole, with a content that no whole place of its model has.
struct Unfinished {
    content: Vec<u8>,
    row: LocationRow,
}

/// The inodes of each whole place of a model.
type Whole = BTreeMap<i64, BTreeSet<(String, u64)>>;

impl Index {
    /// Parts what went by one id before both were seen.
    pub fn part_unfinished(&mut self, mint: &dyn Fn() -> String) -> anyhow::Result<Applied> {
        let mut select = self.db.prepare_cached("SELECT DISTINCT model FROM location WHERE is_whole = 0")?;
        let models: BTreeSet<String> =
            select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut applied = Applied::default();
        for model in models {
            part(&self.db, &model, &mut applied, mint)?;
        }
        Ok(applied)
    }
}

/// Gives what is unfinished of a model ids of its own, where the model lies whole at another place.
pub(super) fn part(
    db: &Connection,
    model: &str,
    applied: &mut Applied,
    mint: &dyn Fn() -> String,
) -> anyhow::Result<()> {
    let unfinished = unfinished(db, model)?;
    if unfinished.is_empty() {
        return Ok(());
    }
    let whole = whole(db, model)?;
    let mut parted: BTreeMap<Vec<u8>, PathBuf> = BTreeMap::new();
    for Unfinished { content, row } in unfinished {
        // What has an inode in common is another way to these very bytes, which was looked at before they changed.
        let is_there = |inodes: &BTreeSet<(String, u64)>| {
            row.on_disk.iter().flatten().any(|own| inodes.contains(&(own.volume.clone(), own.inode)))
        };
        if whole.values().any(|inodes| !is_there(inodes)) {
            let path = row.location.files.first().map(|file| file.path.to_path()).unwrap_or_default();
            parted.entry(content).or_insert(path);
        }
    }
    for (key, path) in parted {
        let own = mint();
        rename_content(db, &key, model, &own)?;
        applied.models.extend([model.to_owned(), own.clone()]);
        applied.adopted.retain(|(known, ..)| *known != key);
        applied.adopted.push((key, own, path));
    }
    Ok(())
}

fn unfinished(db: &Connection, model: &str) -> rusqlite::Result<Vec<Unfinished>> {
    db.prepare_cached(
        "SELECT content, placed FROM location WHERE model = ?1 AND is_whole = 0 AND content NOT IN
         (SELECT content FROM location WHERE model = ?1 AND is_whole)",
    )?
    .query_map([model], |row| {
        Ok(Unfinished { content: row.get(0)?, row: json(row.get_ref(1)?.as_str()?, 1)? })
    })?
    .collect()
}

fn whole(db: &Connection, model: &str) -> rusqlite::Result<Whole> {
    let mut select = db.prepare_cached(
        "SELECT id, volume, inode FROM location LEFT JOIN held ON held.location = id
         WHERE model = ?1 AND is_whole",
    )?;
    let mut rows = select.query([model])?;
    let mut whole = Whole::new();
    while let Some(row) = rows.next()? {
        let inodes = whole.entry(row.get(0)?).or_default();
        if let Some(volume) = row.get(1)? {
            inodes.insert((volume, row.get::<_, i64>(2)?.cast_unsigned()));
        }
    }
    Ok(whole)
}
