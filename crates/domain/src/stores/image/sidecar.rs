//! What lies beside a model and belongs to it, by its stem: what downloaders recorded, notes, configs, previews.

use super::civitai::{self, Record};
use crate::{
    Confidence, Kind, Role, Source, SourceKind,
    stores::{Found, FoundFile, ask::Ask, handle},
};
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// Those that are read, the most direct first: by the hash of the file, by the download, by a guess of its name.
const RECORDS: &[&str] = &[civitai::HELPER, civitai::MATRIX, civitai::MANAGER];

/// Those that only belong to the model.
const OTHERS: &[&str] = &[
    ".preview.png",
    ".preview.jpg",
    ".preview.jpeg",
    ".preview.webp",
    ".preview.gif",
    ".preview.mp4",
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".gif",
    ".json",
    ".yaml",
    ".txt",
    ".description.txt",
];

/// The sidecars of one file.
#[derive(Debug, Default)]
pub(in crate::stores) struct Sidecars {
    files: Vec<OsString>,
    records: Vec<(String, Record)>,
    depends: Vec<PathBuf>,
    sha256: Option<String>,
}

impl Sidecars {
    /// Looks beside a file; `names` are those of its directory.
    pub(in crate::stores) fn of(
        ask: &mut Ask<'_>,
        dir: &Path,
        file: &OsStr,
        names: &BTreeSet<&OsStr>,
    ) -> Self {
        let mut sidecars = Self::default();
        let stem = Path::new(file).file_stem().unwrap_or(file);
        for suffix in RECORDS.iter().chain(OTHERS) {
            let mut name = stem.to_owned();
            name.push(suffix);
            if !names.contains(name.as_os_str()) {
                continue;
            }
            if RECORDS.contains(suffix) {
                let path = dir.join(&name);
                let record = ask.record(&path).cloned();
                sidecars.records.extend(record.map(|record| (name.to_string_lossy().into_owned(), record)));
                sidecars.depends.push(path);
            }
            sidecars.files.push(name);
        }
        sidecars.sha256 = sidecars.recorded_sha256(ask, &dir.join(file));
        sidecars
    }

    /// The hash that all which know one agree on.
    fn recorded_sha256(&self, ask: &mut Ask<'_>, file: &Path) -> Option<String> {
        if self.records.iter().all(|(_, record)| record.hashes.is_empty()) {
            return None;
        }
        let size = ask.stat(file).map(|stat| stat.size);
        let name = file.file_name()?.to_string_lossy();
        let mut known = self.records.iter().filter_map(|(_, record)| record.sha256(&name, size));
        let first = known.next()?;
        known.all(|other| other == first).then(|| first.to_owned())
    }

    /// Whether Lora Manager has a record of it.
    pub(super) fn is_managed(&self) -> bool {
        self.files.iter().any(|name| name.as_encoded_bytes().ends_with(civitai::MANAGER.as_bytes()))
    }

    pub(in crate::stores) fn kind(&self) -> Option<Kind> {
        self.records.iter().find_map(|(_, record)| record.kind)
    }

    /// Adds what was recorded to a location of one file; what the location knows of its source already stands.
    pub(in crate::stores) fn add_to(self, dir: &Path, found: &mut Found) {
        let sidecar = |name: &OsString| FoundFile { path: dir.join(name), role: Role::Sidecar, sha256: None };
        if let Some(file) = found.files.first_mut() {
            file.sha256 = file.sha256.take().or(self.sha256.clone());
        }
        let mut told = self.records.iter().filter(|(_, record)| record.source.is_some());
        if found.source.is_none()
            && let Some((name, record)) = told.next()
        {
            found.source = Some(source(name, record));
            found.revision = found.revision.take().or(record.version.clone());
        }
        found.claims.extend(told.map(|(name, record)| source(name, record)));
        found.files.extend(self.files.iter().map(sidecar));
        found.depends.extend(self.depends);
    }

    /// Whether a downloader wrote down where the file came from.
    pub(in crate::stores) fn are_records(&self) -> bool {
        self.records.iter().any(|(_, record)| record.source.is_some())
    }
}

fn source(name: &str, record: &Record) -> Source {
    let mut evidence = vec![name.to_owned()];
    evidence.extend(record.family.as_ref().map(|family| format!("for {family}")));
    for (what, words) in [("trigger words", &record.words), ("terms", &record.terms)] {
        let text = (!words.is_empty()).then(|| format!("{what}: {}", words.join(", ")));
        evidence.extend(text.and_then(|text| handle::bounded(&text)));
    }
    let is_civitai = record.source == Some(SourceKind::Civitai);
    Source {
        kind: record.source,
        repo: record.model.clone().filter(|_| is_civitai),
        url: record.url.clone(),
        confidence: Confidence::Recorded,
        evidence,
    }
}
