//! The databases: all SQL is in this folder. `index.db` is a cache of the disk and may be dropped at any time;
//! `user.db` is durable. Nothing relies on one transaction across both.

mod away;
mod backup;
mod below;
#[cfg(test)]
mod damage;
pub(crate) mod foreign;
mod hashes;
mod held;
mod kin;
mod links;
mod measured;
mod models;
mod open;
mod read;
mod seal;
mod search;
mod unfinished;
mod units;
mod user;

pub use away::{Away, Kept};
pub use backup::Restored;
pub use hashes::{HashRow, HashedRow};
pub use measured::MeasuredRow;
pub use models::Refreshed;
pub use open::{Opened, UnusableDatabase};
pub(crate) use open::{error_kind, is_damage, is_damaged, put_aside_if_damaged};
pub use read::{Reader, Totals, UnitBefore};
pub use units::{Applied, Depend, DependChange, KnownFile, LocationRow, NewLocation, UnitChange, UnitRow};
pub use user::{Change as UserChange, User, UserError};

use anyhow::Context as _;
use domain::Verdict;
use rusqlite::Connection;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// The writing side of `index.db`. It has one owner, who puts `begin` and `commit` around what belongs together.
#[derive(Debug)]
pub struct Index {
    db: Connection,
    fresh: Fresh,
    words: search::Waiting,
    is_checked: bool,
}

/// What was stored since `begin`, so that it need not be read back.
#[derive(Debug, Default)]
struct Fresh {
    verdicts: HashMap<PathBuf, Verdict>,
    locations: HashMap<i64, LocationRow>,
}

impl Index {
    /// Opens or makes the index. A damaged file is put aside and a new one made, which `Opened` says.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Opened)> {
        let (db, opened, is_checked) = open::index(path)?;
        Ok((Self { is_checked, ..Self::of(db) }, opened))
    }

    /// Whether the whole file was looked at for damage when it was opened; else it was closed in order.
    pub fn is_checked(&self) -> bool {
        self.is_checked
    }

    /// Closes it in order, so that it need not be checked before it is used again.
    pub fn close(self) -> anyhow::Result<()> {
        let path = self.db.path().map(PathBuf::from);
        self.db.query_row("PRAGMA wal_checkpoint(truncate)", [], |_| Ok(()))?;
        self.db.close().map_err(|(_, error)| error)?;
        path.map_or(Ok(()), |path| Ok(seal::put(&path)?))
    }

    pub fn in_memory() -> anyhow::Result<Self> {
        let mut db = Connection::open_in_memory().context("opening a database in memory")?;
        open::prepare(&mut db, open::Durability::Cache, open::INDEX, true)?;
        Ok(Self::of(db))
    }

    fn of(db: Connection) -> Self {
        Self { db, fresh: Fresh::default(), words: search::Waiting::default(), is_checked: true }
    }

    /// Opens a transaction around everything until `commit` or `roll_back`: one event is one change of the file,
    /// whenever the process is killed.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        Ok(self.db.execute_batch("BEGIN IMMEDIATE")?)
    }

    pub fn commit(&mut self) -> anyhow::Result<()> {
        self.fresh = Fresh::default();
        self.words.store(&self.db)?;
        Ok(self.db.execute_batch("COMMIT")?)
    }

    /// Undoes what was done since `begin`, if that is still open.
    pub fn roll_back(&mut self) {
        self.fresh = Fresh::default();
        self.words = search::Waiting::default();
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the index could not be rolled back");
        }
    }
}

/// Bytes of a path, for a BLOB column.
fn bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes))
}

/// A JSON column that does not read back is a bug or damage: it becomes an error of the row.
fn json<T: serde::de::DeserializeOwned>(text: &str, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    })
}
