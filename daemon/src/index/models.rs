//! Models as the wire shows them, made from their locations; roots and their health.

use super::{
    Fresh, Index, LocationRow, bytes,
    hashes::{self, Known},
    held, json, kin,
};
use domain::{Model, Placed, RootStatus, State, UserData, Verdict, WirePath, assemble, resolve::Names};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::{Path, PathBuf};

/// What assembling a model again has changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Refreshed {
    Added(Box<Model>),
    Changed(Box<Model>),
    Same(Box<Model>),
    Removed(Box<Model>),
    /// There was none, and there is none.
    Absent,
}

impl Index {
    /// Makes a model anew from its locations; one without any is removed. `known` has the hashes of a file.
    pub fn refresh(&mut self, id: &str, user: UserData, known: Known<'_>) -> anyhow::Result<Refreshed> {
        let transaction = &self.db;
        let before: Option<String> = transaction
            .prepare_cached("SELECT json FROM model WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let placed = self.placed(id, known)?;
        if placed.is_empty() {
            self.words.forget(transaction, id)?;
            transaction.prepare_cached("DELETE FROM model WHERE id = ?1")?.execute([id])?;
            hashes::remove_hashed(transaction, id)?;
            kin::remove(transaction, id)?;
            return Ok(match before {
                Some(text) => Refreshed::Removed(serde_json::from_str(&text)?),
                None => Refreshed::Absent,
            });
        }
        let (mut model, facts) = assemble(id, placed, user);
        hashes::put_hashed(transaction, &model)?;
        model.duplicate_group = held::group_of(transaction, id)?;
        let text = serde_json::to_string(&model)?;
        kin::put(transaction, &model, facts.as_ref())?;
        if before.as_ref() == Some(&text) {
            return Ok(Refreshed::Same(Box::new(model)));
        }
        let mut put = transaction.prepare_cached(
            "INSERT INTO model (id, name, state, names, json) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET name = ?2, state = ?3, names = ?4, json = ?5 RETURNING rowid",
        )?;
        let names = serde_json::to_string(&names(&model))?;
        let values = params![id, model.name, model.state.name(), names, text];
        self.words.model(put.query_row(values, |row| row.get(0))?, &model);
        let model = Box::new(model);
        Ok(if before.is_some() { Refreshed::Changed(model) } else { Refreshed::Added(model) })
    }

    /// Models that are being downloaded to a path.
    pub fn downloading(&self, path: &Path) -> anyhow::Result<Vec<Model>> {
        let mut select = self.db.prepare_cached(
            "SELECT DISTINCT model.json FROM depend JOIN location ON location.unit = depend.unit
             JOIN model ON model.id = location.model WHERE depend.path = ?1 AND model.state = ?2",
        )?;
        let rows = select.query_map(params![bytes(path), State::Downloading.name()], |row| {
            json(&row.get::<_, String>(0)?, 0)
        })?;
        let models: Vec<Model> = rows.collect::<rusqlite::Result<_>>()?;
        let has = |model: &Model| {
            let mut files = model.locations.iter().flat_map(|location| &location.files);
            files.any(|file| file.path.to_path() == path)
        };
        Ok(models.into_iter().filter(has).collect())
    }

    /// When a model was first seen, as it was assembled last.
    pub fn first_seen(&self, id: &str) -> anyhow::Result<Option<Timestamp>> {
        let mut select = self.db.prepare_cached("SELECT json ->> 'first_seen' FROM model WHERE id = ?1")?;
        let text: Option<String> = select.query_row([id], |row| row.get(0)).optional()?.flatten();
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Stores a root's health; keeps what the index counts itself.
    pub fn put_root(&mut self, root: &RootStatus) -> anyhow::Result<()> {
        let derived = root.derived_from.as_ref().map(|path| path.as_bytes());
        self.db
            .prepare_cached(
                "INSERT INTO root (path, app, derived_from, online, offline_since, watched, reason, rescans, last_scan,
                 volume) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (path) DO UPDATE SET app = ?2, derived_from = ?3, online = ?4, offline_since = ?5,
                 watched = ?6, reason = ?7, rescans = ?8, last_scan = ?9, volume = ?10",
            )?
            .execute(params![
                bytes(&root.path.to_path()),
                root.app.name(),
                derived,
                root.online,
                root.offline_since.map(|at| at.to_string()),
                root.watched,
                root.reason,
                root.rescans.cast_signed(),
                root.last_scan.map(|at| at.to_string()),
                root.volume
            ])?;
        Ok(())
    }

    pub fn remove_root(&mut self, root: &Path) -> anyhow::Result<()> {
        self.db.prepare_cached("DELETE FROM root WHERE path = ?1")?.execute([bytes(root)])?;
        Ok(())
    }

    /// Every root, with the app that it was found for.
    pub fn roots(&self) -> anyhow::Result<Vec<RootStatus>> {
        super::read::roots(&self.db)
    }

    /// Every root as it was stored last; what lies there is not counted.
    pub fn stored_roots(&self) -> anyhow::Result<Vec<RootStatus>> {
        super::read::stored_roots(&self.db)
    }

    fn placed(&self, id: &str, known: Known<'_>) -> anyhow::Result<Vec<Placed>> {
        let mut rows = rows(&self.db, id, &self.fresh)?;
        for row in &mut rows {
            hashes::fill(&self.db, row, known)?;
        }
        Ok(rows.into_iter().map(|row| place(&self.db, row, &self.fresh)).collect::<rusqlite::Result<_>>()?)
    }

    /// What is known of weight files, as far as they could be read.
    pub(super) fn verdicts(&self, weights: &[WirePath]) -> rusqlite::Result<Vec<Verdict>> {
        verdicts(&self.db, weights, &self.fresh)
    }
}

/// Where a model lies, with what its files turned out to be; none of their hashes.
pub(super) fn placed(db: &Connection, id: &str, fresh: &Fresh) -> anyhow::Result<Vec<Placed>> {
    let rows = rows(db, id, fresh)?.into_iter();
    Ok(rows.map(|row| place(db, row, fresh)).collect::<rusqlite::Result<_>>()?)
}

fn rows(db: &Connection, id: &str, fresh: &Fresh) -> anyhow::Result<Vec<LocationRow>> {
    let mut select =
        db.prepare_cached("SELECT placed, online, id FROM location WHERE model = ?1 ORDER BY id")?;
    let rows = select.query_map([id], |row| {
        let fresh = fresh.locations.get(&row.get(2)?).cloned();
        let mut placed: LocationRow = fresh.map_or_else(|| json(row.get_ref(0)?.as_str()?, 0), Ok)?;
        placed.location.online = row.get(1)?;
        Ok(placed)
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn place(db: &Connection, row: LocationRow, fresh: &Fresh) -> rusqlite::Result<Placed> {
    let LocationRow { location, on_disk, base_models, lineage, hints, weights, kept } = row;
    let verdicts = kept.map_or_else(|| verdicts(db, &weights, fresh), |kept| Ok(kept.verdicts))?;
    Ok(Placed { location, on_disk, base_models, lineage, hints, verdicts })
}

fn verdicts(db: &Connection, weights: &[WirePath], fresh: &Fresh) -> rusqlite::Result<Vec<Verdict>> {
    let known = |path: PathBuf| match fresh.verdicts.get(&path) {
        Some(known) => Ok(Some(known.clone())),
        None => verdict(db, &path),
    };
    let verdicts = weights.iter().map(|path| known(path.to_path()));
    Ok(verdicts.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

pub(super) fn verdict(db: &Connection, path: &Path) -> rusqlite::Result<Option<Verdict>> {
    db.prepare_cached("SELECT verdict FROM file WHERE path = ?1")?
        .query_row([bytes(path)], |row| json(&row.get::<_, String>(0)?, 0))
        .optional()
}

fn names(model: &Model) -> Names {
    let locations = || model.locations.iter();
    Names {
        id: model.id.clone(),
        name: model.name.clone(),
        aliases: model.aliases.clone(),
        // Copies have names of their own; each means the model.
        handles: locations()
            .flat_map(|location| [Some(&location.id), location.name.as_ref()])
            .flatten()
            .cloned()
            .collect(),
        paths: locations()
            .flat_map(|location| &location.files)
            .filter(|file| file.role == domain::Role::Weights)
            .map(|file| file.path.text().to_owned())
            .collect(),
    }
}
