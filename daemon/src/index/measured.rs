//! What runs took, in `user.db`: the last ones of each model. Judges nothing of it.

use super::{User, json};
use domain::{
    engines::Rates,
    plan::{Measured, Runs},
};
use rusqlite::{Transaction, params, params_from_iter};
use std::collections::HashMap;

/// What one run took.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredRow {
    pub run: String,
    pub model: String,
    pub engine: String,
    pub build: String,
    pub taken: Measured,
}

/// Runs of a model that are kept.
const KEPT: i64 = 50;

pub(super) fn put(db: &Transaction<'_>, row: &MeasuredRow) -> anyhow::Result<()> {
    let MeasuredRow { run, model, engine, build, taken } = row;
    db.prepare_cached(
        "INSERT OR REPLACE INTO measured (run, model, engine, build, at, taken) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![run, model, engine, build, taken.at.to_string(), serde_json::to_string(taken)?])?;
    db.prepare_cached(
        "DELETE FROM measured WHERE model = ?1 AND run NOT IN
         (SELECT run FROM measured WHERE model = ?1 ORDER BY at DESC LIMIT ?2)",
    )?
    .execute(params![model, KEPT])?;
    Ok(())
}

pub(super) fn forget(db: &Transaction<'_>, model: &str, engine: &str) -> anyhow::Result<()> {
    db.prepare_cached("DELETE FROM measured WHERE model = ?1 AND engine = ?2")?.execute([model, engine])?;
    Ok(())
}

pub(super) fn put_speed(db: &Transaction<'_>, run: &str, speed: Rates) -> anyhow::Result<()> {
    db.prepare_cached("UPDATE measured SET speed = ?2 WHERE run = ?1")?
        .execute(params![run, serde_json::to_string(&speed)?])?;
    Ok(())
}

impl User {
    /// What runs of a model with this build of an engine took, the latest first. What another version wrote and nobody
    /// can read is left out.
    pub fn measured(&self, model: &str, engine: &str, build: &str) -> anyhow::Result<Runs> {
        let sql = "SELECT model, taken, speed FROM measured WHERE model = ?1 AND engine = ?2 AND build = ?3 ORDER BY at DESC";
        Ok(self.runs(sql, [model, engine, build])?.remove(model).unwrap_or_default())
    }

    /// The same of all models, by their ids.
    pub fn all_measured(&self, engine: &str, build: &str) -> anyhow::Result<HashMap<String, Runs>> {
        let sql =
            "SELECT model, taken, speed FROM measured WHERE engine = ?1 AND build = ?2 ORDER BY at DESC";
        self.runs(sql, [engine, build])
    }

    fn runs<const N: usize>(&self, sql: &str, words: [&str; N]) -> anyhow::Result<HashMap<String, Runs>> {
        let mut select = self.db.prepare_cached(sql)?;
        let rows = select.query_map(params_from_iter(words), |row| {
            let (model, taken, speed): (String, String, Option<String>) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let speed = speed.and_then(|text| serde_json::from_str(&text).ok());
            Ok((model, json::<Measured>(&taken, 0).ok().map(|taken| Measured { speed, ..taken })))
        })?;
        let mut runs: HashMap<String, Runs> = HashMap::new();
        for row in rows {
            let (model, run) = row?;
            runs.entry(model).or_default().0.extend(run);
        }
        Ok(runs)
    }
}
