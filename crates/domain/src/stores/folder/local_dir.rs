//! `hf download --local-dir`: what the downloader wrote of each file below `.cache/huggingface/download`.
//! The repository's id is written nowhere.

use crate::{
    Confidence, Source, SourceKind,
    names::with_suffix,
    stores::{EntryKind, Environment, Unit, ask::Ask, handle},
};
use std::path::{Path, PathBuf};

/// What the downloader puts into its own folder, in the order in which it learned to.
const MARKS: &[&str] = &[".cache/huggingface/.gitignore", ".cache/huggingface/CACHEDIR.TAG"];
const CACHE: &str = ".cache";

/// Folders with a cache of their own beyond these are not looked into.
const MOST: usize = 256;
pub(super) const RECORDS: &str = ".cache/huggingface/download";

pub(super) struct LocalDir {
    base: PathBuf,
}

pub(super) struct Record {
    /// A commit.
    pub revision: String,
    pub sha256: Option<String>,
    evidence: String,
}

/// Returns the folders of the home that something was downloaded to, wherever they are.
pub(super) fn marked(environment: &Environment) -> Vec<PathBuf> {
    let mut marked: Vec<PathBuf> = Vec::new();
    // What lies above comes before what lies below.
    for dir in candidates(environment).filter(|dir| is_one(environment, dir)) {
        if !marked.iter().any(|above| dir.starts_with(above)) {
            marked.push(dir.to_path_buf());
        }
    }
    marked
}

pub(super) fn is_one(environment: &Environment, dir: &Path) -> bool {
    MARKS.iter().any(|mark| environment.pointers.contains_key(&dir.join(mark)))
}

pub(super) fn pointers(environment: &Environment) -> impl Iterator<Item = PathBuf> {
    candidates(environment).flat_map(|dir| MARKS.iter().map(move |mark| dir.join(mark)))
}

/// The home has a `.cache` of everybody's.
fn candidates(environment: &Environment) -> impl Iterator<Item = &Path> {
    environment.with_marks(&[CACHE]).filter(|dir| environment.home.as_deref() != Some(*dir)).take(MOST)
}

impl LocalDir {
    /// Finds the download that a unit is, or is part of.
    pub(super) fn around(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Option<Self> {
        let bases = unit.dir.ancestors().map(|dir| unit.root.join(dir));
        let known: Vec<_> = bases.map(|base| (ask.stat(&base.join(RECORDS)), base)).collect();
        let is_dir =
            |stat: &Option<crate::stores::Stat>| stat.is_some_and(|stat| stat.kind == EntryKind::Dir);
        known.into_iter().find(|(stat, _)| is_dir(stat)).map(|(_, base)| Self { base })
    }

    /// Returns where a file's record is, or will be: it is written after the file has its name.
    pub(super) fn path_of(&self, file: &Path) -> Option<PathBuf> {
        let record = self.base.join(RECORDS).join(file.strip_prefix(&self.base).ok()?);
        Some(with_suffix(&record, ".metadata"))
    }

    /// Reads a record: the commit, the etag and the time, a line each.
    pub(super) fn record(&self, ask: &mut Ask<'_>, file: &Path) -> Option<Record> {
        let path = self.path_of(file)?;
        let mut lines = std::str::from_utf8(ask.read(&path)?).ok()?.lines();
        let revision = lines.next().and_then(handle::bounded)?;
        let sha256 = lines.next().and_then(|etag| handle::sha256(etag.trim()));
        let evidence = path.strip_prefix(&self.base).unwrap_or(&path).to_string_lossy().into_owned();
        Some(Record { revision, sha256, evidence })
    }
}

impl Record {
    pub(super) fn source(self) -> Source {
        let kind = Some(SourceKind::HuggingFace);
        Source {
            kind,
            repo: None,
            url: None,
            confidence: Confidence::Recorded,
            evidence: vec![self.evidence],
        }
    }
}
