//! One revision of a repository: the files of its snapshot, and the models they make.

use super::Repository;
use crate::{
    Confidence, Format, Role, Source, claimed_format,
    stores::{
        EntryKind, Found, FoundFile,
        ask::{self, Ask},
        bundle::{self, Bundle, Together},
        handle, web, weights,
    },
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Repositories have a few levels; deeper ones are not of the hub's making.
const DEEPEST: usize = 16;

struct Revision<'r> {
    repository: &'r Repository,
    name: String,
    base: PathBuf,
    /// All files, below the base.
    files: Vec<PathBuf>,
    /// What is known of the weights that are links.
    links: BTreeMap<PathBuf, Link>,
    /// `trees/COMMIT.json`, where the app writes such, and what it says.
    tree: Option<(PathBuf, Option<Value>)>,
}

#[derive(Default)]
struct Link {
    /// The blob behind it, when that is named by its content.
    sha256: Option<String>,
    is_dangling: bool,
    /// Where in the cache the bytes should be, when they are not.
    absent: Vec<PathBuf>,
}

pub(super) fn found(ask: &mut Ask<'_>, repository: &Repository, name: &OsStr) -> Vec<Found> {
    let base = repository.path.join("snapshots").join(name);
    let name = handle::fit(handle::of_path(Path::new(name)));
    let mut revision =
        Revision { repository, name, base, files: Vec::new(), links: BTreeMap::new(), tree: None };
    revision.walk(ask, Path::new(""), 0);
    let bundles = bundle::bundles(ask, &revision.base, Together::Repository, &revision.files);
    // What holds data of a model has any name.
    let weights = bundles.iter().flat_map(Bundle::weights);
    let others: Vec<PathBuf> =
        weights.filter(|path| !revision.links.contains_key(*path)).map(Path::to_path_buf).collect();
    for path in others {
        if let Some(link) = revision.link(ask, &path) {
            drop(revision.links.insert(path, link));
        }
    }
    if repository.has_trees && !bundles.is_empty() {
        let path = repository.path.join("trees").join(format!("{}.json", revision.name));
        let tree = ask.json(&path);
        revision.tree = Some((path, tree));
    }
    bundles.iter().map(|bundle| revision.found(bundle)).collect()
}

impl Revision<'_> {
    fn walk(&mut self, ask: &mut Ask<'_>, dir: &Path, depth: usize) {
        for entry in ask.list(&self.base.join(dir)) {
            let path = dir.join(&entry.name);
            match entry.kind {
                EntryKind::Dir if depth < DEEPEST => self.walk(ask, &path, depth + 1),
                EntryKind::File => self.files.push(path),
                EntryKind::Symlink => {
                    if weights::is_candidate(&entry.name) {
                        let Some(link) = self.link(ask, &path) else { continue };
                        drop(self.links.insert(path.clone(), link));
                    }
                    self.files.push(path);
                }
                EntryKind::Dir | EntryKind::Special => {}
            }
        }
    }

    /// Follows a link to the blob, and from a blob that is itself a link to the shared store.
    fn link(&self, ask: &mut Ask<'_>, path: &Path) -> Option<Link> {
        let path = self.base.join(path);
        let stat = ask.stat(&path);
        let blob = ask.link(&path).map(|target| ask::lexical(path.parent().unwrap_or(&path), target))?;
        let blobs = self.repository.path.join("blobs");
        let is_ours = blob.parent() == Some(&blobs);
        let sha256 = blob.file_name().filter(|_| is_ours).and_then(|name| handle::sha256(name.to_str()?));
        match stat {
            Some(stat) if stat.kind == EntryKind::File => Some(Link { sha256, ..Link::default() }),
            Some(_) => None,
            None => {
                let payload = if is_ours { ask.link(&blob) } else { None };
                let payload = payload.map(|target| ask::lexical(&blobs, target));
                let hub = self.repository.path.parent().unwrap_or(&self.repository.path);
                let absent = [Some(blob), payload].into_iter().flatten().filter(|path| path.starts_with(hub));
                Some(Link { sha256, is_dangling: true, absent: absent.collect() })
            }
        }
    }

    fn found(&self, bundle: &Bundle) -> Found {
        let is_absent = |path: &Path| self.links.get(path).is_some_and(|link| link.is_dangling);
        let dangling = bundle.weights().any(is_absent).then(|| "dangling symlink; blob missing".to_owned());
        let mut hints = bundle.hints.clone();
        if bundle.weights().all(is_absent) && hints.format.is_none() {
            hints.format = Some(format(bundle));
        }
        let absent =
            bundle.files.iter().filter_map(|(path, _)| self.links.get(path)).flat_map(|link| &link.absent);
        let tree = self.tree.iter().map(|(path, _)| path);
        let depends = bundle.depends.iter().chain(tree).chain(absent).cloned().collect();
        let repository = self.repository;
        let plain = repository.name.rsplit('/').next().unwrap_or_default();
        Found {
            app: repository.app,
            id: self.id(bundle),
            name: handle::bounded(&match bundle.variant.as_deref() {
                Some(variant) => format!("{plain}-{variant}"),
                None if bundle.is_directory => plain.to_owned(),
                None => bundle.stem.clone(),
            }),
            source: Some(self.source(bundle)),
            revision: Some(self.name.clone()),
            refs: repository.refs.get(&self.name).cloned().unwrap_or_default(),
            license: bundle.license.clone(),
            base_models: bundle.base_models.clone(),
            lineage: bundle.lineage.clone(),
            claims: Vec::new(),
            files: bundle.files.iter().map(|(path, role)| self.file(path, *role)).collect(),
            partial: dangling.or_else(|| bundle.missing.clone()),
            hints,
            depends,
        }
    }

    /// `org/name@12345678`, with the file or directory behind it where that is not the whole revision.
    fn id(&self, bundle: &Bundle) -> String {
        let is_commit = self.name.len() == 40 && self.name.bytes().all(|digit| digit.is_ascii_hexdigit());
        let short = self.name.get(..8).filter(|_| is_commit).unwrap_or(&self.name);
        let id = format!("{}@{short}", self.repository.name);
        let label = handle::of_path(&bundle.label);
        handle::fit(if label.is_empty() { id } else { format!("{id}:{label}") })
    }

    fn source(&self, bundle: &Bundle) -> Source {
        let folder = self.repository.path.file_name().unwrap_or_default().to_string_lossy();
        let evidence = format!("hub cache folder {folder}");
        let mut source = web::hugging_face(&self.repository.name, Confidence::Recorded, evidence);
        let mut weights = bundle.weights();
        if let (false, Some(file), None) = (bundle.is_directory, weights.next(), weights.next()) {
            let file = file.to_str().map(|file| format!("/resolve/{}/{}", self.name, web::encode(file)));
            source.url = source.url.map(|url| url + &file.unwrap_or_default());
        }
        source
    }

    fn file(&self, path: &Path, role: Role) -> FoundFile {
        let linked = || self.links.get(path)?.sha256.clone();
        let sha256 = if role == Role::Weights || weights::is_candidate(path.as_os_str()) {
            self.listed(path).or_else(linked)
        } else {
            None
        };
        FoundFile { path: self.base.join(path), role, sha256 }
    }

    /// Returns the hash that the app's own list of the commit has for a file.
    fn listed(&self, path: &Path) -> Option<String> {
        let tree = self.tree.as_ref()?.1.as_ref()?;
        handle::sha256(tree.get("files")?.get(path.to_str()?)?.get("lfs_sha256")?.as_str()?)
    }
}

fn format(bundle: &Bundle) -> Format {
    let mut names = bundle.weights().filter_map(Path::file_name);
    names.find_map(|name| claimed_format(&name.to_string_lossy())).unwrap_or(Format::Safetensors)
}
