//! Opening: pragmas, migrations, refusing the newer, putting the damaged aside.

use super::{
    backup::{self, Restored},
    seal,
};
use anyhow::Context as _;
use domain::names::with_suffix;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Append only: `user_version` counts how many of them a file has seen.
pub(super) const INDEX: &[&str] = &[
    include_str!("sql/index-0001.sql"),
    include_str!("sql/index-0002.sql"),
    include_str!("sql/index-0003.sql"),
    include_str!("sql/index-0004.sql"),
    include_str!("sql/index-0005.sql"),
    include_str!("sql/index-0006.sql"),
    include_str!("sql/index-0007.sql"),
    include_str!("sql/index-0008.sql"),
    include_str!("sql/index-0009.sql"),
];
pub(super) const USER: &[&str] = &[
    include_str!("sql/user-0001.sql"),
    include_str!("sql/user-0002.sql"),
    include_str!("sql/user-0003.sql"),
    include_str!("sql/user-0004.sql"),
    include_str!("sql/user-0005.sql"),
];

/// Counts the ways in which files were read and rows written; an index of another way is read anew.
/// Raise it when a parser, the facts or a JSON column change.
const READING: i32 = 7;

/// How the file was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    AsItWas,
    New,
    /// It was damaged and was moved here.
    Rebuilt {
        aside: PathBuf,
    },
}

/// A database that must not be touched.
#[derive(Debug, thiserror::Error)]
pub enum UnusableDatabase {
    #[error(
        "{path} was written by a newer modeld (version {found}, this one knows {known}): start that one, or move \
         the file away"
    )]
    Newer { path: String, found: usize, known: usize },
    #[error(
        "{path} is damaged ({why}), and there is no sound copy beside it; it was left as it is. Restore it from a \
         backup, or move it away to start anew"
    )]
    Damaged { path: String, why: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The last commits may be lost with the power, never with the process.
    Cache,
    /// A commit that returned is on the disk.
    Full,
}

/// Also says whether all of it was looked at for damage.
pub(super) fn index(path: &Path) -> anyhow::Result<(Connection, Opened, bool)> {
    let existed = path.exists();
    let is_sealed = existed && seal::take(path)?;
    let open = || connect(path, Durability::Cache, INDEX, !is_sealed);
    match open() {
        Ok(db) if !existed => Ok((db, Opened::New, true)),
        Ok(db) if db.query_row("PRAGMA application_id", [], |row| row.get::<_, i32>(0))? == READING => {
            Ok((db, Opened::AsItWas, !is_sealed))
        }
        Ok(db) => {
            db.close().map_err(|(_, error)| error)?;
            remove(path).with_context(|| format!("removing the outdated {}", path.display()))?;
            Ok((open()?, Opened::New, true))
        }
        Err(error) if is_damage(&error) => {
            let aside = put_aside(path).with_context(|| format!("putting {} aside", path.display()))?;
            Ok((open()?, Opened::Rebuilt { aside }, true))
        }
        Err(error) => Err(error),
    }
}

/// A damaged one is replaced by its newest sound copy and kept aside; without a copy it is refused and left alone.
pub(super) fn user(path: &Path) -> anyhow::Result<(Connection, Option<Restored>)> {
    let error = match connect(path, Durability::Full, USER, true) {
        Ok(db) => return Ok((db, None)),
        Err(error) if is_damage(&error) => error,
        Err(error) => return Err(error),
    };
    let restored = backup::restore(path).with_context(|| format!("restoring {}", path.display()))?;
    if let Some(restored) = restored {
        return Ok((connect(path, Durability::Full, USER, true)?, Some(restored)));
    }
    let why = format!("{:#}", error.root_cause());
    Err(UnusableDatabase::Damaged { path: path.display().to_string(), why }.into())
}

/// Puts an index aside in which damage was met, if a look of its own meets it too: who met it may have read another
/// file than the one that is there now. Returns where it is kept.
pub(crate) fn put_aside_if_damaged(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    let check = || -> anyhow::Result<String> {
        Ok(reader(path)?.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?)
    };
    match check() {
        Ok(verdict) if verdict == "ok" => Ok(None),
        Err(error) if !is_damage(&error) => Ok(None),
        Ok(_) | Err(_) => Ok(Some(put_aside(path)?)),
    }
}

/// Opens for reading only; the file must exist.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cache_size", -256)?; // KiB; there are several readers, and the kernel has the pages
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        // It is being made at this moment.
        let why = Some("the database has no tables yet".to_owned());
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            why,
        ));
    }
    Ok(db)
}

fn connect(
    path: &Path,
    durability: Durability,
    migrations: &[&str],
    is_to_be_checked: bool,
) -> anyhow::Result<Connection> {
    let mut db = Connection::open(path).with_context(|| format!("opening {}", path.display()))?;
    prepare(&mut db, durability, migrations, is_to_be_checked)
        .with_context(|| format!("preparing {}", path.display()))?;
    Ok(db)
}

pub(super) fn prepare(
    db: &mut Connection,
    durability: Durability,
    migrations: &[&str],
    is_to_be_checked: bool,
) -> anyhow::Result<()> {
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX); // a negative one is nobody's
    if version > migrations.len() {
        let path = db.path().unwrap_or_default().to_owned();
        return Err(UnusableDatabase::Newer { path, found: version, known: migrations.len() }.into());
    }
    tune(db, durability)?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "temp_store", "memory")?; // statement journals are small, and need no file each
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Plans do not depend on what is bound: nothing is prepared twice.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.set_prepared_statement_cache_capacity(128);
    if is_to_be_checked {
        check(db)?;
    }
    let is_older = version > 0 && version < migrations.len();
    if is_older
        && durability == Durability::Full
        && let Some(path) = db.path().map(PathBuf::from)
    {
        backup::make(db, &path, Timestamp::now())?;
    }
    migrate(db, version, migrations)
}

/// Settings that make no difference but in speed, memory and what a loss of power may cost. KiB, pages, bytes.
fn tune(db: &Connection, durability: Durability) -> rusqlite::Result<()> {
    match durability {
        Durability::Full => {
            db.pragma_update(None, "journal_mode", "wal")?;
            db.pragma_update(None, "synchronous", "full")?;
            db.pragma_update(None, "cache_size", -1024)
        }
        Durability::Cache => {
            db.pragma_update(None, "page_size", 8192)?; // rows have 2 to 3 KiB: three to a page; before it is wal
            db.pragma_update(None, "journal_mode", "wal")?;
            db.pragma_update(None, "synchronous", "normal")?;
            // Indexes over hashes are written all over: a first scan reads and writes half as many pages with these.
            db.pragma_update(None, "cache_size", -4096)?;
            db.pragma_update(None, "wal_autocheckpoint", 2000)?;
            db.pragma_update(None, "journal_size_limit", 4 << 20)
        }
    }
}

/// Looks at every page; a fault is an error.
fn check(db: &Connection) -> rusqlite::Result<()> {
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(code, Some(verdict)))
}

/// Looks at every page of an index that is in use.
pub(crate) fn is_damaged(path: &Path) -> bool {
    reader(path).and_then(|db| check(&db)).is_err_and(|error| is_damage(&error.into()))
}

fn migrate(db: &mut Connection, version: usize, migrations: &[&str]) -> anyhow::Result<()> {
    if version == migrations.len() {
        return Ok(());
    }
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in migrations.iter().skip(version) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", i64::try_from(migrations.len())?)?;
    // What came before a migration was not written its way: such an index is read anew.
    transaction.pragma_update(None, "application_id", if version == 0 { READING } else { 0 })?;
    Ok(transaction.commit()?)
}

/// What an error of SQLite would be as one of the file system, where it is about the file's place.
pub(crate) fn error_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    const KINDS: &[(ErrorCode, io::ErrorKind)] = &[
        (ErrorCode::DiskFull, io::ErrorKind::StorageFull),
        (ErrorCode::PermissionDenied, io::ErrorKind::PermissionDenied),
        (ErrorCode::ReadOnly, io::ErrorKind::PermissionDenied),
        (ErrorCode::DatabaseBusy, io::ErrorKind::ResourceBusy),
        (ErrorCode::DatabaseLocked, io::ErrorKind::ResourceBusy),
    ];
    let own = error.downcast_ref::<rusqlite::Error>()?.sqlite_error_code()?;
    KINDS.iter().find(|(code, _)| *code == own).map(|(_, kind)| *kind)
}

/// Whether an error means that the file itself is damaged.
pub(crate) fn is_damage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<rusqlite::Error>().or_else(|| error.root_cause().downcast_ref()).is_some_and(
        |error| {
            matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::Unknown
                        | ErrorCode::TypeMismatch
                )
            )
        },
    )
}

/// Moves the database and what SQLite keeps beside it out of the way.
pub(super) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = (0..u32::MAX)
        .map(|n| with_suffix(path, &format!(".corrupt-{n}")))
        .find(|candidate| !candidate.exists())
        .ok_or_else(|| io::Error::other("no free name"))?;
    fs::rename(path, &aside)?;
    remove(path)?;
    Ok(aside)
}

/// Removes a database and what SQLite keeps beside it, as far as it is there.
fn remove(path: &Path) -> io::Result<()> {
    ["", "-wal", "-shm"].into_iter().try_for_each(|suffix| remove_file(&with_suffix(path, suffix)))
}

/// Removes a file, if there is one.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.db");
        (dir, path)
    }

    #[test]
    fn opening_twice_migrates_once() {
        let (_dir, path) = scratch();
        assert_eq!(index(&path).unwrap().1, Opened::New);
        assert_eq!(index(&path).unwrap().1, Opened::AsItWas);
    }

    #[test]
    fn an_index_that_was_read_in_another_way_is_made_anew() {
        let (_dir, path) = scratch();
        drop(index(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "application_id", READING + 1).unwrap();
        assert_eq!(index(&path).unwrap().1, Opened::New);
        assert_eq!(index(&path).unwrap().1, Opened::AsItWas);
    }

    #[test]
    fn an_index_with_fewer_tables_is_made_anew() {
        let (_dir, path) = scratch();
        drop(connect(&path, Durability::Cache, &INDEX[..1], true).unwrap());
        assert_eq!(index(&path).unwrap().1, Opened::New);
        assert_eq!(index(&path).unwrap().1, Opened::AsItWas);
    }

    #[test]
    fn a_newer_database_is_refused_and_left_alone() {
        let (_dir, path) = scratch();
        drop(index(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = index(&path).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(UnusableDatabase::Newer { found: 99, .. })), "{error:#}");
        let version: i64 =
            Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, 99);
    }

    #[test]
    fn a_damaged_index_is_put_aside_and_made_anew() {
        for damage in [
            &b"not a database at all, but long enough to have a header of one hundred bytes or so........"[..],
            &[0xff; 9000],
        ] {
            let (_dir, path) = scratch();
            fs::write(&path, damage).unwrap();
            let (_, opened, _) = index(&path).unwrap();
            let Opened::Rebuilt { aside } = opened else { panic!("{opened:?}") };
            assert_eq!(fs::read(aside).unwrap(), damage);
        }
    }

    #[test]
    fn a_damaged_user_database_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user.db");
        fs::write(&path, [0xee; 8192]).unwrap();
        let error = user(&path).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(UnusableDatabase::Damaged { .. })), "{error:#}");
        assert_eq!(fs::read(&path).unwrap(), [0xee; 8192]);
    }
}
