//! What relatives and companions are told by, of every model. Says nothing of who is one.

use super::{Reader, json};
use domain::{Kin, Model, facts::Facts};
use rusqlite::{Connection, params};

pub(super) fn put(db: &Connection, model: &Model, facts: Option<&Facts>) -> anyhow::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO kin (model, json) VALUES (?1, ?2)")?
        .execute(params![model.id, serde_json::to_string(&Kin::of(model, facts))?])?;
    Ok(())
}

pub(super) fn remove(db: &Connection, model: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM kin WHERE model = ?1")?.execute([model])?;
    Ok(())
}

impl Reader {
    /// Of every model, in the order of their ids.
    pub fn kin(&self) -> anyhow::Result<Vec<Kin>> {
        let mut select = self.db.prepare_cached("SELECT json FROM kin ORDER BY model")?;
        let rows = select.query_map([], |row| json(row.get_ref(0)?.as_str()?, 0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
