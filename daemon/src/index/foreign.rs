//! Other apps' SQLite databases: read from a private copy with the log that belongs to it, never where they lie.
//! Only plain columns of plain tables are read, so nothing of a hostile schema is run.

use anyhow::Context as _;
use domain::{
    names::with_suffix,
    stores::{Rows, Table},
};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// What is written and not yet in the database lies in a file of this name beside it.
pub(crate) const LOG: &str = "-wal";

/// An app's list of models has a few megabytes; what is longer is nobody's.
const LONGEST: u64 = 64 << 20;
const MOST_ROWS: usize = 20_000;
/// Bytes of text of all rows.
const MOST_TEXT: usize = 32 << 20;
/// The app may write while it is copied.
const TRIES: usize = 3;

/// Returns the rows of a table, or why it cannot be read; None where there is no such file. The copy is made
/// beside `index`, the daemon's own, and removed again.
pub(crate) fn rows(
    index: &Path,
    table: &Table,
    open: impl Fn(&Path) -> Option<File>,
) -> Option<Result<Rows, String>> {
    open(&table.file)?;
    let copy = Copy::of(index);
    let rows = copy.take(&table.file, open).and_then(|()| read(&copy.database, table));
    Some(rows.map_err(|error| format!("{error:#}")))
}

/// The private copy; it goes when it is not needed any more.
struct Copy {
    database: PathBuf,
}

impl Copy {
    fn of(index: &Path) -> Self {
        let thread = std::thread::current();
        let name = format!("foreign-{}.db", thread.name().unwrap_or("x"));
        Self { database: index.with_file_name(name) }
    }

    fn part(&self, suffix: &str) -> PathBuf {
        with_suffix(&self.database, suffix)
    }

    /// Copies the database and its log, again while they change.
    fn take(&self, file: &Path, open: impl Fn(&Path) -> Option<File>) -> anyhow::Result<()> {
        for _ in 0..TRIES {
            self.remove();
            let stamps = || ["", LOG].map(|suffix| stamp(open(&with_suffix(file, suffix)).as_ref()));
            let before = stamps();
            for suffix in ["", LOG] {
                if let Some(source) = open(&with_suffix(file, suffix)) {
                    copy(source, &self.part(suffix))?;
                }
            }
            if stamps() == before {
                return Ok(());
            }
        }
        anyhow::bail!("it changes while it is read")
    }

    fn remove(&self) {
        for suffix in ["", LOG, "-shm", "-journal"] {
            drop(fs::remove_file(self.part(suffix))); // mostly there is none
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.remove();
    }
}

fn stamp(file: Option<&File>) -> Option<(u64, u64, i64, i64)> {
    let meta = file?.metadata().ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn copy(source: File, target: &Path) -> anyhow::Result<()> {
    let mut target = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(target)?;
    let copied = io::copy(&mut source.take(LONGEST + 1), &mut target)?;
    anyhow::ensure!(copied <= LONGEST, "it is longer than {} MiB", LONGEST >> 20);
    Ok(())
}

fn read(database: &Path, table: &Table) -> anyhow::Result<Rows> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(database, flags)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "query_only", true)?;
    let kind = db.query_row(
        "SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = ?1",
        [table.name],
        |row| row.get::<_, String>(0),
    );
    let is_plain = |column: &&&str| {
        let hidden = db.query_row(
            "SELECT hidden FROM pragma_table_xinfo(?1) WHERE name = ?2",
            [table.name, **column],
            |row| row.get::<_, i64>(0),
        );
        hidden.is_ok_and(|hidden| hidden == 0)
    };
    let kind = kind.optional()?.with_context(|| format!("it has no table {}", table.name))?;
    let has_columns = table.columns.iter().filter(is_plain).count() == table.columns.len();
    anyhow::ensure!(kind == "table" && has_columns, "its table {} is not as it is known", table.name);
    // Both names are constants of a store's.
    let mut statement = db.prepare(&format!("SELECT {} FROM {}", table.columns.join(", "), table.name))?;
    let (mut found, mut rows, mut text) = (Rows::new(), statement.query([])?, 0);
    while let Some(row) = rows.next()? {
        let values: Result<Vec<Option<String>>, _> = (0..table.columns.len())
            .map(|at| Ok(row.get_ref(at)?.as_str().ok().map(str::to_owned)))
            .collect();
        let values = values.map_err(|error: rusqlite::Error| error)?;
        text += values.iter().flatten().map(String::len).sum::<usize>();
        anyhow::ensure!(found.len() < MOST_ROWS && text <= MOST_TEXT, "its table {} is too long", table.name);
        found.push(values);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODELS: &str = "CREATE TABLE models (id TEXT PRIMARY KEY, config TEXT, \
        path TEXT GENERATED ALWAYS AS (json_extract(config, '$.path')) VIRTUAL)";

    fn table(dir: &Path) -> Table {
        Table { file: dir.join("app/x.db"), name: "models", columns: &["id", "config"] }
    }

    fn asked(dir: &Path, table: &Table) -> Option<Result<Rows, String>> {
        rows(&dir.join("own/index.db"), table, |path| File::open(path).ok())
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    fn made(sql: &str) -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("app")).unwrap();
        fs::create_dir(dir.path().join("own")).unwrap();
        let db = Connection::open(dir.path().join("app/x.db")).unwrap();
        db.execute_batch(sql).unwrap();
        (dir, db)
    }

    #[test]
    fn what_only_the_log_holds_is_read_and_nothing_is_left_behind() {
        let (dir, db) =
            made(&format!("PRAGMA journal_mode = wal; {MODELS}; PRAGMA wal_checkpoint(TRUNCATE)"));
        db.execute("INSERT INTO models (id, config) VALUES ('k', '{}'), ('n', NULL)", []).unwrap();
        let before = names(&dir.path().join("app"));
        assert!(before.contains(&"x.db-wal".into()), "{before:?}");
        let rows = asked(dir.path(), &table(dir.path())).unwrap().unwrap();
        assert_eq!(rows, [[Some("k".to_owned()), Some("{}".to_owned())], [Some("n".to_owned()), None]]);
        assert_eq!(names(&dir.path().join("app")), before);
        assert_eq!(names(&dir.path().join("own")), [""; 0]);
    }

    #[test]
    fn what_is_no_plain_table_is_not_read() {
        for sql in [
            "CREATE VIEW models AS SELECT 'a' AS id, 'b' AS config",
            "CREATE TABLE models (id TEXT, config TEXT AS (upper(id)))",
            "CREATE TABLE models (id TEXT)",
            "CREATE VIRTUAL TABLE models USING fts5(id, config)",
            "CREATE TABLE other (id TEXT, config TEXT)",
        ] {
            let (dir, db) = made(sql);
            drop(db);
            assert!(asked(dir.path(), &table(dir.path())).unwrap().is_err(), "{sql}");
        }
    }

    #[test]
    fn damaged_databases_are_errors_and_absent_ones_nothing() {
        let (dir, db) = made(MODELS);
        drop(db);
        let path = dir.path().join("app/x.db");
        for damage in
            [&b""[..], b"SQLite format 3\0", b"no database at all, but long enough to look like one"]
        {
            fs::write(&path, damage).unwrap();
            assert!(asked(dir.path(), &table(dir.path())).unwrap().is_err(), "{damage:?}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(asked(dir.path(), &table(dir.path())), None);
        assert_eq!(names(&dir.path().join("own")), [""; 0]);
    }

    #[test]
    fn no_byte_that_changes_is_a_panic() {
        let (dir, db) = made(MODELS);
        db.execute("INSERT INTO models (id, config) VALUES ('k', '{}')", []).unwrap();
        drop(db);
        let path = dir.path().join("app/x.db");
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(37) {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            fs::write(&path, bad).unwrap();
            drop(asked(dir.path(), &table(dir.path())));
        }
    }
}
