//! `user.db`: what the user said or did, and the ids of models. Every change is on the disk before it is answered.

use super::{
    backup::{self, Restored},
    bytes, open, path,
};
use anyhow::Context as _;
use domain::UserData;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// A connection to `user.db`; the one that writes belongs to one thread.
#[derive(Debug)]
pub struct User {
    pub(super) db: Connection,
}

/// A change of what is remembered.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The content of this key is this model.
    Adopt {
        key: Vec<u8>,
        model: String,
        path: PathBuf,
        at: Timestamp,
    },
    Tag {
        model: String,
        add: Vec<String>,
        remove: Vec<String>,
    },
    Note {
        model: String,
        note: Option<String>,
    },
    Pin {
        model: String,
        pinned: bool,
    },
    Alias {
        model: String,
        add: Vec<String>,
        remove: Vec<String>,
    },
    Used {
        model: String,
        engine: String,
    },
    /// What a run took that is ready.
    Measured(Box<super::MeasuredRow>),
    /// What runs of a model took with an engine is forgotten.
    Unlearn {
        model: String,
        engine: String,
    },
    /// How fast a run was.
    Speed {
        run: String,
        speed: domain::engines::Rates,
    },
    /// A file was hashed as a whole.
    Hashed(super::HashRow),
    AddRoot(PathBuf),
    RemoveRoot(PathBuf),
    AddEngine(PathBuf),
    RemoveEngine(PathBuf),
}

impl Change {
    /// Whether it changes what is known of runs.
    pub(crate) fn is_of_measurements(&self) -> bool {
        matches!(self, Self::Measured(_) | Self::Speed { .. } | Self::Unlearn { .. })
    }
}

/// A change that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("the alias `{alias}` already names another model ({model})")]
    AliasTaken { alias: String, model: String },
    #[error("it has no {what} `{word}`: nothing is removed")]
    NotSaid { what: &'static str, word: String },
    #[error("{} was not added by you, so it cannot be removed", path.display())]
    NotAdded { path: PathBuf },
}

impl User {
    /// Opens or makes the database. A damaged one is put aside for its newest sound copy, which is told; without a
    /// copy it is refused and left alone.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Option<Restored>)> {
        let (db, restored) = open::user(path)?;
        Ok((Self { db }, restored))
    }

    /// Makes the copy of the day beside the database, where there is none yet.
    pub fn back_up(&self, now: Timestamp) -> anyhow::Result<()> {
        let Some(path) = self.db.path().map(PathBuf::from) else { return Ok(()) };
        let is_empty: bool =
            self.db.query_row("SELECT NOT EXISTS (SELECT 1 FROM model)", [], |row| row.get(0))?;
        // An empty copy would only stand in the way of a refusal.
        if is_empty || !backup::is_due(&path, now) { Ok(()) } else { backup::make(&self.db, &path, now) }
    }

    pub fn reader(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { db: open::reader(path).with_context(|| format!("opening {}", path.display()))? })
    }

    pub fn in_memory() -> anyhow::Result<Self> {
        let mut db = Connection::open_in_memory()?;
        open::prepare(&mut db, open::Durability::Full, open::USER, true)?;
        Ok(Self { db })
    }

    /// One that cannot say which model a content is.
    #[cfg(test)]
    pub(crate) fn unreadable() -> anyhow::Result<Self> {
        let user = Self::in_memory()?;
        user.db.execute_batch("ALTER TABLE content RENAME TO lost")?;
        Ok(user)
    }

    /// Makes the changes in one transaction; when this returns they are on the disk.
    pub fn change(&mut self, changes: &[Change], now: Timestamp) -> anyhow::Result<()> {
        let transaction = self.db.transaction()?;
        for change in changes {
            apply(&transaction, change, &now.to_string())?;
        }
        Ok(transaction.commit()?)
    }

    /// Keeps what is read until `end` as it is now: many reads cost little more than one.
    pub fn begin(&self) -> anyhow::Result<()> {
        Ok(self.db.execute_batch("BEGIN")?)
    }

    /// Ends what was begun, if it was.
    pub fn end(&self) {
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("COMMIT")
        {
            tracing::error!(%error, "user.db could not be let go");
        }
    }

    /// Which model a content is.
    pub fn model_of(&self, key: &[u8]) -> anyhow::Result<Option<String>> {
        let mut select = self.db.prepare_cached("SELECT model FROM content WHERE key = ?1")?;
        Ok(select.query_row([key], |row| row.get(0)).optional()?)
    }

    /// Every content that is known, and the model that it is.
    pub fn contents(&self) -> anyhow::Result<HashMap<Vec<u8>, String>> {
        let mut select = self.db.prepare_cached("SELECT key, model FROM content")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Models about which the user said something.
    pub fn spoken_of(&self) -> anyhow::Result<Vec<String>> {
        let mut select = self.db.prepare_cached(
            "SELECT model FROM tag UNION SELECT model FROM note UNION SELECT model FROM pin
             UNION SELECT model FROM alias UNION SELECT model FROM run",
        )?;
        let rows = select.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub fn data(&self, model: &str) -> anyhow::Result<UserData> {
        let words = |sql: &'static str| -> rusqlite::Result<Vec<String>> {
            self.db.prepare_cached(sql)?.query_map([model], |row| row.get(0))?.collect()
        };
        let one = |sql: &'static str| -> rusqlite::Result<Option<String>> {
            Ok(self.db.prepare_cached(sql)?.query_row([model], |row| row.get(0)).optional()?.flatten())
        };
        let time = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let Some(first_seen) = one("SELECT first_seen FROM model WHERE id = ?1")? else {
            return Ok(UserData::default()); // nothing can be said of what is not known
        };
        Ok(UserData {
            tags: words("SELECT tag FROM tag WHERE model = ?1 ORDER BY tag")?,
            note: one("SELECT note FROM note WHERE model = ?1")?,
            pinned: one("SELECT model FROM pin WHERE model = ?1")?.is_some(),
            aliases: words("SELECT alias FROM alias WHERE model = ?1 ORDER BY alias")?,
            last_used: time(one("SELECT max(started) FROM run WHERE model = ?1")?),
            first_seen: time(Some(first_seen)),
        })
    }

    /// Roots that the user added.
    pub fn roots(&self) -> anyhow::Result<Vec<PathBuf>> {
        self.paths("SELECT path FROM root ORDER BY path")
    }

    /// Programs of engines that the user added, the last one first.
    pub fn engines(&self) -> anyhow::Result<Vec<PathBuf>> {
        self.paths("SELECT path FROM engine ORDER BY added DESC, path")
    }

    fn paths(&self, sql: &'static str) -> anyhow::Result<Vec<PathBuf>> {
        let mut select = self.db.prepare_cached(sql)?;
        let rows = select.query_map([], |row| row.get(0).map(path))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn apply(db: &Transaction<'_>, change: &Change, now: &str) -> anyhow::Result<()> {
    match change {
        Change::Adopt { key, model, path, at } => {
            put_model(db, model, &at.to_string())?;
            db.prepare_cached(
                "INSERT INTO content (key, model, last_path) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET model = ?2, last_path = ?3",
            )?
            .execute(params![key, model, bytes(path)])?;
        }
        Change::Tag { model, add, remove } => {
            put_model(db, model, now)?;
            each(db, "INSERT OR IGNORE INTO tag (model, tag) VALUES (?1, ?2)", model, add)?;
            take(db, "DELETE FROM tag WHERE model = ?1 AND tag = ?2", model, ("tag", remove))?;
        }
        Change::Note { model, note } => {
            put_model(db, model, now)?;
            db.prepare_cached("DELETE FROM note WHERE model = ?1")?.execute([model])?;
            each(db, "INSERT INTO note (model, note) VALUES (?1, ?2)", model, note)?;
        }
        Change::Pin { model, pinned } => {
            put_model(db, model, now)?;
            let sql = if *pinned {
                "INSERT OR IGNORE INTO pin (model) VALUES (?1)"
            } else {
                "DELETE FROM pin WHERE model = ?1"
            };
            db.prepare_cached(sql)?.execute([model])?;
        }
        Change::Alias { model, add, remove } => {
            put_model(db, model, now)?;
            take(db, "DELETE FROM alias WHERE model = ?1 AND alias = ?2", model, ("alias", remove))?;
            for alias in add {
                put_alias(db, model, alias)?;
            }
        }
        Change::Used { model, engine } => {
            put_model(db, model, now)?;
            db.prepare_cached("INSERT INTO run (model, engine, started) VALUES (?1, ?2, ?3)")?
                .execute(params![model, engine, now])?;
        }
        Change::Measured(row) => {
            put_model(db, &row.model, now)?;
            super::measured::put(db, row)?;
        }
        Change::Unlearn { model, engine } => super::measured::forget(db, model, engine)?,
        Change::Speed { run, speed } => super::measured::put_speed(db, run, *speed)?,
        Change::Hashed(row) => super::hashes::put(db, row, now)?,
        Change::AddRoot(path) => {
            db.prepare_cached("INSERT OR IGNORE INTO root (path, added) VALUES (?1, ?2)")?
                .execute(params![bytes(path), now])?;
        }
        Change::RemoveRoot(path) => remove_added(db, "DELETE FROM root WHERE path = ?1", path)?,
        Change::AddEngine(path) => {
            db.prepare_cached("INSERT OR REPLACE INTO engine (path, added) VALUES (?1, ?2)")?
                .execute(params![bytes(path), now])?;
        }
        Change::RemoveEngine(path) => remove_added(db, "DELETE FROM engine WHERE path = ?1", path)?,
    }
    Ok(())
}

/// Removes words that a model has; one that it has not is refused.
fn take(
    db: &Transaction<'_>,
    sql: &'static str,
    model: &str,
    (what, words): (&'static str, &[String]),
) -> anyhow::Result<()> {
    for word in words {
        if db.prepare_cached(sql)?.execute([model, word])? == 0 {
            return Err(UserError::NotSaid { what, word: word.clone() }.into());
        }
    }
    Ok(())
}

fn remove_added(db: &Transaction<'_>, sql: &'static str, path: &Path) -> anyhow::Result<()> {
    let is_gone = db.prepare_cached(sql)?.execute([bytes(path)])? > 0;
    if is_gone { Ok(()) } else { Err(UserError::NotAdded { path: path.to_owned() }.into()) }
}

fn put_model(db: &Transaction<'_>, model: &str, now: &str) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO model (id, first_seen) VALUES (?1, ?2)")?
        .execute(params![model, now])
        .map(drop)
}

fn put_alias(db: &Transaction<'_>, model: &str, alias: &str) -> anyhow::Result<()> {
    let owner: Option<String> = db
        .prepare_cached("SELECT model FROM alias WHERE alias = ?1")?
        .query_row([alias], |row| row.get(0))
        .optional()?;
    match owner {
        Some(owner) if owner != model => {
            Err(UserError::AliasTaken { alias: alias.into(), model: owner }.into())
        }
        Some(_) => Ok(()),
        None => {
            db.prepare_cached("INSERT INTO alias (alias, model) VALUES (?2, ?1)")?.execute([model, alias])?;
            Ok(())
        }
    }
}

/// Runs a statement once for each word, with the model first.
fn each<'a>(
    db: &Transaction<'_>,
    sql: &'static str,
    model: &str,
    words: impl IntoIterator<Item = &'a String>,
) -> rusqlite::Result<()> {
    for word in words {
        db.prepare_cached(sql)?.execute([model, word])?;
    }
    Ok(())
}
