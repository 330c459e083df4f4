//! Answers looks from a tree in memory, so that a store can be tested whole.

use super::{
    Entry, EntryKind, Environment, Found, FoundFile, Known, Look, Origin, Rows, Stat, Step, Store, Unit,
    Visit, ask,
};
use crate::{Role, facts::Part};
use formats::Slice;
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// More rounds than this mean that a store asks for one thing at a time.
const MOST_ROUNDS: usize = 12;

#[derive(Default)]
pub(super) struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
    origins: BTreeMap<PathBuf, Origin>,
    tables: BTreeMap<PathBuf, Result<Rows, String>>,
}

enum Node {
    File(Vec<u8>),
    Dir,
    Link(PathBuf),
}

impl Tree {
    pub(super) fn file(mut self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Self {
        self.put(path.as_ref(), Node::File(content.as_ref().to_vec()));
        self
    }

    pub(super) fn link(mut self, path: &str, target: &str) -> Self {
        self.put(Path::new(path), Node::Link(target.into()));
        self
    }

    pub(super) fn origin(mut self, path: &str, url: &str, referrer: Option<&str>) -> Self {
        let origin = Origin { url: Some(url.into()), referrer: referrer.map(str::to_owned) };
        drop(self.origins.insert(path.into(), origin));
        self
    }

    /// A database, whatever table of it is asked for; without rows it is a damaged one.
    pub(super) fn table(mut self, path: &str, rows: Option<&[[&str; 2]]>) -> Self {
        let row = |row: &[&str; 2]| row.iter().map(|text| Some((*text).to_owned())).collect();
        let rows = rows.map(|rows| rows.iter().map(row).collect()).ok_or_else(|| "broken".to_owned());
        drop(self.tables.insert(path.into(), rows));
        self
    }

    /// Returns what a store finds below a root, sorted by handle.
    #[track_caller]
    pub(super) fn found(&self, store: &dyn Store, root: &str) -> Vec<Found> {
        self.found_at(store, root, "")
    }

    /// Returns what a store finds below a root that stands there in the app's own layout.
    #[track_caller]
    pub(super) fn found_at(&self, store: &dyn Store, root: &str, place: &str) -> Vec<Found> {
        let place = Path::new(place);
        let mut found = Vec::new();
        let mut dirs = vec![PathBuf::new()];
        while let Some(dir) = dirs.pop() {
            let unit = Unit { root: Path::new(root), dir: &dir, place };
            let visit = store.visit(&unit.layout());
            if matches!(visit, Visit::Unit | Visit::Whole) {
                found.extend(self.drive(store, &unit).0);
            }
            if matches!(visit, Visit::Unit | Visit::Pass) {
                let entries = self.list(&unit.path()).unwrap_or_default();
                dirs.extend(entries.iter().filter(|e| e.kind == EntryKind::Dir).map(|e| dir.join(&e.name)));
            }
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        let ids: BTreeSet<&str> = found.iter().map(|found| found.id.as_str()).collect();
        assert_eq!(ids.len(), found.len(), "handles are unique");
        found
    }

    /// Steps until the store has found what there is; also returns what it looked at.
    #[track_caller]
    pub(super) fn drive(&self, store: &dyn Store, unit: &Unit<'_>) -> (Vec<Found>, BTreeSet<Look>) {
        let (mut known, mut looked) = (Known::default(), BTreeSet::new());
        for _ in 0..MOST_ROUNDS {
            let needs = match store.step(unit, &known) {
                Step::Found(found) | Step::Partly { found, .. } => return (found, looked),
                Step::Need(needs) => needs,
            };
            assert!(!needs.is_empty(), "a step that needs something says what");
            for look in needs {
                self.answer(&mut known, &look);
                assert!(looked.insert(look.clone()), "asked twice: {look:?}");
            }
        }
        panic!("more than {MOST_ROUNDS} rounds");
    }

    /// Returns the files of a unit that its store cannot understand.
    pub(super) fn damage(&self, store: &dyn Store, unit: &Unit<'_>) -> Vec<PathBuf> {
        let mut known = Known::default();
        for _ in 0..MOST_ROUNDS {
            match store.step(unit, &known) {
                Step::Need(needs) => needs.iter().for_each(|look| self.answer(&mut known, look)),
                Step::Found(_) => return Vec::new(),
                Step::Partly { damaged, .. } => return damaged.into_iter().map(|(path, _)| path).collect(),
            }
        }
        panic!("more than {MOST_ROUNDS} rounds");
    }

    fn put(&mut self, path: &Path, node: Node) {
        for dir in path.ancestors().skip(1) {
            self.nodes.entry(dir.to_path_buf()).or_insert(Node::Dir);
        }
        drop(self.nodes.insert(path.to_path_buf(), node));
    }

    fn answer(&self, known: &mut Known, look: &Look) {
        match look.clone() {
            Look::List(path) => drop(known.lists.insert(path.clone(), self.list(&path))),
            Look::Read(path) => drop(known.contents.insert(path.clone(), self.read(&path))),
            Look::Stat(path) => {
                known.stats.insert(path.clone(), self.stat(&path));
            }
            Look::Link(path) => drop(known.links.insert(path.clone(), self.target(&path))),
            Look::Origin(path) => drop(known.origins.insert(path.clone(), self.origins.get(&path).cloned())),
            Look::Record(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let record = self.read(&path).and_then(|bytes| super::record(&name, &bytes));
                known.records.insert(path.clone(), record);
            }
            Look::Table(table) => {
                drop(known.tables.insert(table.clone(), self.tables.get(&table.file).cloned()));
            }
            Look::Parts(path) => drop(known.parts.insert(path.clone(), self.parts(&path))),
        }
    }

    fn list(&self, dir: &Path) -> Option<Vec<Entry>> {
        matches!(self.follow(dir)?, Node::Dir).then_some(())?;
        let below = self.nodes.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, node): (&PathBuf, &Node)| {
            let kind = match node {
                Node::File(_) => EntryKind::File,
                Node::Dir => EntryKind::Dir,
                Node::Link(_) => EntryKind::Symlink,
            };
            Entry { name: path.file_name().unwrap_or_default().to_owned(), kind }
        };
        Some(below.map(entry).collect())
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let Node::File(content) = self.follow(path)? else { return None };
        Some(content.clone())
    }

    fn parts(&self, path: &Path) -> Option<Vec<Part>> {
        let content = self.read(path)?;
        crate::parts_of(path.file_name()?, &mut Slice(&content)).ok()?
    }

    fn stat(&self, path: &Path) -> Option<Stat> {
        match self.follow(path)? {
            Node::File(content) => {
                Some(Stat { kind: EntryKind::File, size: content.len() as u64, modified: 0 })
            }
            Node::Dir => Some(Stat { kind: EntryKind::Dir, size: 0, modified: 0 }),
            Node::Link(_) => None,
        }
    }

    fn target(&self, path: &Path) -> Option<PathBuf> {
        let Node::Link(target) = self.nodes.get(path)? else { return None };
        Some(target.clone())
    }

    fn follow(&self, path: &Path) -> Option<&Node> {
        let mut path = path.to_path_buf();
        while let Node::Link(target) = self.nodes.get(&path)? {
            path = ask::lexical(path.parent()?, target);
        }
        self.nodes.get(&path)
    }
}

/// Returns an environment with `/home/u` as home, `/` as system, and these variables and files.
pub(super) fn environment(variables: &[(&str, &str)], pointers: &[(&str, &str)]) -> Environment {
    Environment {
        home: Some("/home/u".into()),
        sysroot: "/".into(),
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect(),
        pointers: pointers.iter().map(|(path, text)| (path.into(), text.as_bytes().to_vec())).collect(),
        places: BTreeMap::new(),
    }
}

/// Returns file names behind the first letter of their role (`+` a companion): `w:model.safetensors`.
pub(super) fn files(found: &Found) -> Vec<String> {
    let show = |file: &FoundFile| {
        let name = file.path.file_name().unwrap_or_default().as_bytes();
        let first = file.role.name().get(..1).unwrap_or_default();
        let role =
            [(Role::Companion, "+"), (Role::Card, "card")].into_iter().find(|(role, _)| *role == file.role);
        let role = role.map_or(first, |(_, letter)| letter);
        format!("{role}:{}", String::from_utf8_lossy(name))
    };
    found.files.iter().map(show).collect()
}
