//! Units below a directory: a hub cache has tens of thousands beside each other.

use super::{Index, UnitRow, bytes, units::unit_row};
use rusqlite::params;
use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

/// Two searches: with an OR in their place all units of the root are read.
const UNITS_BELOW: &str = "SELECT root, dir FROM unit WHERE root = ?1 AND dir = ?2
    UNION ALL SELECT root, dir FROM unit WHERE root = ?1 AND dir > ?3 AND dir < ?4 ORDER BY dir";

/// What sorts right before and right after everything below a directory.
fn ends(unit: &UnitRow) -> [Vec<u8>; 2] {
    [b'/', b'/' + 1].map(|end| [bytes(&unit.dir), &[end]].concat())
}

impl Index {
    /// A directory's unit and every unit below it.
    pub fn units_below(&self, unit: &UnitRow) -> anyhow::Result<Vec<UnitRow>> {
        let mut select = self.db.prepare_cached(UNITS_BELOW)?;
        let [above, below] = ends(unit);
        let rows = select.query_map(params![bytes(&unit.root), bytes(&unit.dir), above, below], unit_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The names of the directories right in a unit's own that are units, or have some below.
    pub fn names_below(&self, unit: &UnitRow) -> anyhow::Result<HashSet<OsString>> {
        let mut select =
            self.db.prepare_cached("SELECT dir FROM unit WHERE root = ?1 AND dir > ?2 AND dir < ?3")?;
        let [above, below] = ends(unit);
        let mut rows = select.query(params![bytes(&unit.root), above, below])?;
        let mut names = HashSet::new();
        while let Some(row) = rows.next()? {
            let dir = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            let name =
                dir.strip_prefix(&above[..]).and_then(|below| below.split(|byte| *byte == b'/').next());
            names.extend(name.map(|name| OsStr::from_bytes(name).to_owned()));
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_is_found_without_reading_all_that_lies_beside() {
        let index = Index::in_memory().unwrap();
        let plan = format!("EXPLAIN QUERY PLAN {UNITS_BELOW}");
        let mut select = index.db.prepare(&plan).unwrap();
        let none = params![None::<i64>, None::<i64>, None::<i64>, None::<i64>];
        let steps = select.query_map(none, |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).filter(|step| step.contains(" unit ")).collect();
        assert!(!steps.is_empty() && steps.iter().all(|step| step.contains("dir")), "{steps:?}");
    }

    #[test]
    fn names_are_of_the_directory_itself_and_not_of_those_beside_it() {
        let mut index = Index::in_memory().unwrap();
        let unit = |dir: &str| UnitRow { root: "/r".into(), dir: dir.into() };
        index.db.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        for dir in ["/r", "/r/a", "/r/a/x", "/r/a-b", "/r/a/y/z", "/ra/x"] {
            index.note_unit(&unit(dir)).unwrap();
        }
        let names = |dir: &str| {
            let mut names: Vec<OsString> = index.names_below(&unit(dir)).unwrap().into_iter().collect();
            names.sort();
            names
        };
        assert_eq!(names("/r"), ["a", "a-b"]);
        assert_eq!(names("/r/a"), ["x", "y"]);
        assert_eq!(names("/r/a-b"), [""; 0]);
    }
}
