//! Links of units that lead out of their roots: who names a root when nobody else does.

use super::{Index, UnitRow, bytes, path, units::unit_id};
use rusqlite::{OptionalExtension as _, params};
use std::path::{Path, PathBuf};

impl Index {
    /// Stores the links of a unit in place of those that it had, each with where it leads.
    pub fn put_links(&mut self, unit: &UnitRow, links: &[(PathBuf, PathBuf)]) -> anyhow::Result<()> {
        let Some(id) = unit_id(&self.db, unit)? else { return Ok(()) };
        self.db.prepare_cached("DELETE FROM link WHERE unit = ?1")?.execute([id])?;
        let mut insert =
            self.db.prepare_cached("INSERT OR REPLACE INTO link (unit, path, target) VALUES (?1, ?2, ?3)")?;
        for (link, target) in links {
            insert.execute(params![id, bytes(link), bytes(target)])?;
        }
        Ok(())
    }

    /// A link to a directory.
    pub fn link_to(&self, target: &Path) -> anyhow::Result<Option<PathBuf>> {
        let mut select =
            self.db.prepare_cached("SELECT path FROM link WHERE target = ?1 ORDER BY path LIMIT 1")?;
        Ok(select.query_row([bytes(target)], |row| Ok(path(row.get(0)?))).optional()?)
    }
}
