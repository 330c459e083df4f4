//! What relatives and companions are told by, of every model. Says nothing of who is one.

use super::{Reader, json, models};
use domain::{Kin, Model, Part, Verdict, facts::Facts};
use rusqlite::{Connection, params};
use std::path::Path;

pub(super) fn put(db: &Connection, model: &Model, facts: Option<&Facts>) -> anyhow::Result<()> {
    let (kin, part) = (Kin::of(model, facts), Part::of(model, facts));
    db.prepare_cached(
        "INSERT OR REPLACE INTO kin (model, kin, kind, family, width, tokens, part)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        model.id,
        serde_json::to_string(&kin)?,
        kin.kind.map(|kind| kind.name()),
        part.family,
        part.meeting_width().map(u64::cast_signed),
        part.tokens(),
        serde_json::to_string(&part)?
    ])?;
    Ok(())
}

pub(super) fn remove(db: &Connection, model: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM kin WHERE model = ?1")?.execute([model])?;
    Ok(())
}

impl Reader {
    /// Of every model, in the order of their ids.
    pub fn kin(&self) -> anyhow::Result<Vec<Kin>> {
        let mut select = self.db.prepare_cached("SELECT kin FROM kin ORDER BY model")?;
        let rows = select.query_map([], |row| json(row.get_ref(0)?.as_str()?, 0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// What may go with a model, by the one number or word that they must have in common; few of all.
    pub fn parts(&self, asked: &Part) -> anyhow::Result<Vec<(String, Part)>> {
        let mut select = self.db.prepare_cached(
            "SELECT model, part FROM kin WHERE kind = 'vision-projector' AND width = ?1
             UNION ALL SELECT model, part FROM kin WHERE kind = 'llm' AND tokens = ?2
             UNION ALL SELECT model, part FROM kin WHERE kind = 'lora' AND family IS ?3
             UNION ALL SELECT model, part FROM kin WHERE kind IN ('vae', 'text-encoder') AND family = ?3",
        )?;
        let width = asked.meeting_width().map(u64::cast_signed);
        let rows = select.query_map(params![width, asked.tokens(), asked.family], |row| {
            Ok((row.get(0)?, json(row.get_ref(1)?.as_str()?, 1)?))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// What a file of a model was seen to be.
    pub fn verdict(&self, path: &Path) -> anyhow::Result<Option<Verdict>> {
        Ok(models::verdict(&self.db, path)?)
    }
}
