//! What a step asks: an answer where it is known, else nothing for now and a look that is noted.
//! A step written over it runs from the top each time; what it could not see makes the next batch.

use super::{Entry, EntryKind, Found, Known, Look, Origin, Record, Rows, Stat, Step, Table, partial};
use crate::facts::Part;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

pub(super) struct Ask<'a> {
    known: &'a Known,
    needs: BTreeSet<Look>,
    damaged: BTreeMap<PathBuf, String>,
}

impl<'a> Ask<'a> {
    pub(super) fn new(known: &'a Known) -> Self {
        Self { known, needs: BTreeSet::new(), damaged: BTreeMap::new() }
    }

    /// Returns the entries of a directory that may mean something: nothing unfinished, no fifo or device.
    pub(super) fn list(&mut self, dir: &Path) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let is_special = |entry: &Entry| entry.kind == EntryKind::Special;
        self.list_all(dir).iter().filter(move |entry| !is_special(entry) && !partial::is_partial(&entry.name))
    }

    pub(super) fn list_all(&mut self, dir: &Path) -> &'a [Entry] {
        if !self.known.lists.contains_key(dir) {
            self.needs.insert(Look::List(dir.to_path_buf()));
        }
        self.known.lists.get(dir).and_then(Option::as_deref).unwrap_or_default()
    }

    pub(super) fn read(&mut self, file: &Path) -> Option<&'a [u8]> {
        if !self.known.contents.contains_key(file) {
            self.needs.insert(Look::Read(file.to_path_buf()));
        }
        self.known.contents.get(file)?.as_deref()
    }

    /// Reads a small JSON file; what does not parse (still being written, an error page) is as if absent.
    pub(super) fn json(&mut self, file: &Path) -> Option<serde_json::Value> {
        serde_json::from_slice(self.read(file)?).ok()
    }

    pub(super) fn stat(&mut self, path: &Path) -> Option<Stat> {
        if !self.known.stats.contains_key(path) {
            self.needs.insert(Look::Stat(path.to_path_buf()));
        }
        *self.known.stats.get(path)?
    }

    pub(super) fn link(&mut self, path: &Path) -> Option<&'a Path> {
        if !self.known.links.contains_key(path) {
            self.needs.insert(Look::Link(path.to_path_buf()));
        }
        self.known.links.get(path)?.as_deref()
    }

    pub(super) fn origin(&mut self, file: &Path) -> Option<&'a Origin> {
        if !self.known.origins.contains_key(file) {
            self.needs.insert(Look::Origin(file.to_path_buf()));
        }
        self.known.origins.get(file)?.as_ref()
    }

    /// Returns the files that a model says it keeps data in; None where it is no such model.
    pub(super) fn parts(&mut self, file: &Path) -> Option<&'a [Part]> {
        if !self.known.parts.contains_key(file) {
            self.needs.insert(Look::Parts(file.to_path_buf()));
        }
        self.known.parts.get(file)?.as_deref()
    }

    /// Notes a file of the app's own that cannot be understood; the rest of the unit stands.
    pub(super) fn damaged(&mut self, file: &Path, why: &str) {
        drop(self.damaged.insert(file.to_path_buf(), why.to_owned()));
    }

    /// Returns what a downloader recorded in a sidecar; None where it says nothing.
    pub(super) fn record(&mut self, file: &Path) -> Option<&'a Record> {
        if !self.known.records.contains_key(file) {
            self.needs.insert(Look::Record(file.to_path_buf()));
        }
        self.known.records.get(file)?.as_ref()
    }

    /// Returns the rows of a table; None where there is no such database, or it cannot be read.
    pub(super) fn table(&mut self, table: &Table) -> Option<&'a Rows> {
        if !self.known.tables.contains_key(table) {
            self.needs.insert(Look::Table(table.clone()));
        }
        match self.known.tables.get(table)?.as_ref()? {
            Ok(rows) => Some(rows),
            Err(why) => {
                self.damaged(&table.file, why);
                None
            }
        }
    }

    /// Ends the step: what was found counts only if nothing had to be guessed.
    pub(super) fn step(self, found: Vec<Found>) -> Step {
        match (self.needs.is_empty(), self.damaged.is_empty()) {
            (false, _) => Step::Need(self.needs.into_iter().collect()),
            (true, true) => Step::Found(found),
            (true, false) => Step::Partly { found, damaged: self.damaged.into_iter().collect() },
        }
    }
}

/// Joins a link's target to the directory the link is in and resolves `.` and `..` by text alone.
pub fn lexical(dir: &Path, target: &Path) -> PathBuf {
    let mut path = PathBuf::new();
    for part in dir.join(target).components() {
        match part {
            std::path::Component::ParentDir => drop(path.pop()),
            std::path::Component::CurDir => {}
            part @ (std::path::Component::Prefix(_)
            | std::path::Component::RootDir
            | std::path::Component::Normal(_)) => path.push(part),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_resolve_by_text() {
        let check =
            |target, expected| assert_eq!(lexical(Path::new("/a/b"), Path::new(target)), Path::new(expected));
        check("../c/./d", "/a/c/d");
        check("/x/../y", "/y");
        check("../../../../z", "/z");
    }
}
