//! Names of the directories that are watched, each part of a path kept once: a hub of ten thousand repositories has
//! sixty thousand directories, and their paths are mostly the same. Speaks with nobody.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    num::NonZero,
    path::{Path, PathBuf},
};

/// The kernel's number of a watch. It has one for a directory, whatever its names (links, bind mounts).
pub(super) type Wd = NonZero<i32>;

/// Where a part stands in `Table::parts`.
type Id = u32;

/// What is above "/".
const TOP: Id = 0;

/// One part of a path.
#[derive(Debug, Default)]
struct Part {
    name: Box<OsStr>,
    above: Id,
    /// None where only something below it is watched.
    watch: Option<Wd>,
    /// By name.
    below: Vec<Id>,
}

#[derive(Debug)]
pub(super) struct Table {
    parts: Vec<Part>,
    /// Places to use again.
    free: Vec<Id>,
    names: BTreeSet<(Wd, Id)>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { parts: vec![Part::default()], free: Vec::new(), names: BTreeSet::new() }
    }

    /// Notes which watch a directory has. Returns the one that it had, where that is without a name now.
    pub(super) fn put(&mut self, dir: &Path, watch: Wd) -> Option<Wd> {
        let id = dir.components().try_fold(TOP, |above, part| self.child(above, part.as_os_str()))?;
        let before = self.part(id)?.watch.filter(|before| *before != watch);
        let left = before.and_then(|_| self.take(id));
        self.part_mut(id)?.watch = Some(watch);
        self.names.insert((watch, id));
        left
    }

    /// Forgets a directory, but nothing below it. Returns its watch, where that is without a name now.
    pub(super) fn forget(&mut self, dir: &Path) -> Option<Wd> {
        let id = self.find(dir)?;
        let left = self.take(id);
        self.prune(id);
        left
    }

    /// Forgets a directory and all below it. Returns the watches that are without a name now.
    pub(super) fn forget_below(&mut self, dir: &Path) -> Vec<Wd> {
        let Some(top) = self.find(dir) else { return Vec::new() };
        let mut ids = vec![top];
        let mut at = 0;
        while let Some(part) = ids.get(at).and_then(|id| self.part(*id)) {
            ids.extend_from_slice(&part.below);
            at += 1;
        }
        let left = ids.iter().filter_map(|id| self.take(*id)).collect();
        // Each one after those below it, so that it is empty.
        ids.iter().rev().for_each(|id| self.prune(*id));
        left
    }

    /// Forgets every name of a watch.
    pub(super) fn end(&mut self, watch: Wd) {
        for id in self.ids(watch).collect::<Vec<_>>() {
            self.take(id);
            self.prune(id);
        }
    }

    /// Every name of a watch's directory.
    pub(super) fn names(&self, watch: Wd) -> Vec<PathBuf> {
        self.ids(watch).map(|id| self.path(id)).collect()
    }

    fn ids(&self, watch: Wd) -> impl Iterator<Item = Id> {
        self.names.range((watch, Id::MIN)..=(watch, Id::MAX)).map(|(_, id)| *id)
    }

    fn path(&self, id: Id) -> PathBuf {
        let way = std::iter::successors(self.part(id), |part| self.part(part.above));
        let names: Vec<&OsStr> = way.map(|part| &*part.name).take_while(|name| !name.is_empty()).collect();
        names.into_iter().rev().collect()
    }

    fn part(&self, id: Id) -> Option<&Part> {
        self.parts.get(id as usize)
    }

    fn part_mut(&mut self, id: Id) -> Option<&mut Part> {
        self.parts.get_mut(id as usize)
    }

    /// Where a name stands among those below a part, or would.
    fn place(&self, above: Id, name: &OsStr) -> Result<usize, usize> {
        let below = self.part(above).map_or(&[][..], |part| &part.below);
        below.binary_search_by(|id| self.part(*id).map_or(OsStr::new(""), |part| &part.name).cmp(name))
    }

    fn find(&self, dir: &Path) -> Option<Id> {
        dir.components().try_fold(TOP, |above, part| {
            let at = self.place(above, part.as_os_str()).ok()?;
            self.part(above)?.below.get(at).copied()
        })
    }

    /// The part of this name below another, made where there is none.
    fn child(&mut self, above: Id, name: &OsStr) -> Option<Id> {
        let at = match self.place(above, name) {
            Ok(at) => return self.part(above)?.below.get(at).copied(),
            Err(at) => at,
        };
        let part = Part { name: name.into(), above, watch: None, below: Vec::new() };
        let id = if let Some(id) = self.free.pop() {
            *self.part_mut(id)? = part;
            id
        } else {
            self.parts.push(part);
            Id::try_from(self.parts.len() - 1).ok()?
        };
        self.part_mut(above)?.below.insert(at, id);
        Some(id)
    }

    /// Takes the watch from a name. Returns it where it has no other.
    fn take(&mut self, id: Id) -> Option<Wd> {
        let watch = self.part_mut(id)?.watch.take()?;
        self.names.remove(&(watch, id));
        self.ids(watch).next().is_none().then_some(watch)
    }

    /// Frees a part that nothing needs, and those above it that nothing needs then.
    fn prune(&mut self, id: Id) {
        let mut next = Some(id);
        while let Some(id) = next {
            next = self.free_unneeded(id);
        }
    }

    /// Returns what was above it.
    fn free_unneeded(&mut self, id: Id) -> Option<Id> {
        let part = self.part(id).filter(|part| part.watch.is_none() && part.below.is_empty())?;
        let above = part.above;
        // One that is free already, and what is above all, stand nowhere.
        let at = self.place(above, &part.name).ok()?;
        self.part_mut(above)?.below.remove(at);
        *self.part_mut(id)? = Part::default();
        self.free.push(id);
        Some(above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Wd = Wd::new(1).unwrap();
    const TWO: Wd = Wd::new(2).unwrap();
    const THREE: Wd = Wd::new(3).unwrap();

    fn table(dirs: &[(&str, Wd)]) -> Table {
        let mut table = Table::new();
        dirs.iter().for_each(|(dir, watch)| assert_eq!(table.put(Path::new(dir), *watch), None));
        table
    }

    #[track_caller]
    fn names(table: &Table, watch: Wd, expected: &[&str]) {
        assert_eq!(table.names(watch), expected.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    #[test]
    fn a_directory_goes_by_each_of_its_names_until_the_last_is_forgotten() {
        let mut table = table(&[("/home/u/models", ONE), ("/mnt/disk", ONE), ("/", TWO)]);
        assert_eq!(table.put(Path::new("/mnt/disk/"), ONE), None, "the same name");
        names(&table, ONE, &["/home/u/models", "/mnt/disk"]);
        names(&table, TWO, &["/"]);
        assert_eq!(table.forget(Path::new("/home/u/models")), None);
        assert_eq!(table.forget(Path::new("/mnt")), None, "only what is below it is watched");
        names(&table, ONE, &["/mnt/disk"]);
        assert_eq!(table.forget(Path::new("/mnt/disk")), Some(ONE));
        assert_eq!(table.forget(Path::new("/mnt/disk")), None);
        names(&table, ONE, &[]);
    }

    #[test]
    fn another_directory_takes_the_name_of_one_and_what_lies_below_stays() {
        let mut table = table(&[("/a/b", ONE), ("/a/b/c", TWO)]);
        assert_eq!(table.put(Path::new("/a/b"), THREE), Some(ONE));
        names(&table, THREE, &["/a/b"]);
        names(&table, ONE, &[]);
        names(&table, TWO, &["/a/b/c"]);
        table.end(THREE);
        names(&table, THREE, &[]);
        names(&table, TWO, &["/a/b/c"]);
    }

    #[test]
    fn all_below_is_forgotten_and_nothing_beside_it() {
        let mut table = table(&[("/a/b", ONE), ("/a/b/c/d", TWO), ("/a/b.c", THREE), ("/elsewhere", TWO)]);
        assert_eq!(table.forget_below(Path::new("/a/b")), [ONE], "the other has a name elsewhere");
        names(&table, TWO, &["/elsewhere"]);
        names(&table, THREE, &["/a/b.c"]);
        assert_eq!(table.forget_below(Path::new("/a/b")), []);
        assert_eq!(table.forget_below(Path::new("/")), [TWO, THREE]);
    }

    #[test]
    fn what_is_forgotten_takes_no_room() {
        let mut table = table(&[]);
        for round in 0..3 {
            for n in 0..100 {
                let dir = PathBuf::from(format!("/hub/models--a--{n}/snapshots/{round}"));
                table.put(&dir, Wd::new(n + 1).unwrap());
            }
            assert_eq!(table.forget_below(Path::new("/hub")).len(), 100);
            assert_eq!(table.parts.len() - table.free.len(), 1);
        }
        assert_eq!(table.parts.len(), 1 + 2 + 3 * 100);
    }
}
