//! Clones with git-lfs: what the working tree holds, where it was cloned from, and the second copy that git-lfs keeps.
//! Credentials in a remote's address are never kept.

use super::{
    EntryKind, Environment, Found, FoundFile, Known, Step, Store, Unit, Visit,
    ask::Ask,
    bundle::{self, Bundle, Together},
    handle, ini,
    plain::{self, Links},
    web::{self, Address},
    weights,
};
use crate::{App, Confidence, Format, Role, Source, SourceKind};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const MARKS: &[&str] = &[".git", ATTRIBUTES];
const ATTRIBUTES: &str = ".gitattributes";
const FILTER: &str = "filter=lfs";

/// A pointer has some 130 bytes; git-lfs reads no longer ones.
const LONGEST_POINTER: u64 = 1024;
const POINTER: &str = "version https://git-lfs.github.com/spec/v1";

/// A clone with more objects than this has a history of them; which one is in the tree is not looked for.
const MOST_OBJECTS: usize = 64;

/// Homes with more clones than this are not looked through to the end.
const MOST_CLONES: usize = 256;

pub(super) struct Git;

impl Store for Git {
    fn app(&self) -> App {
        App::Git
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let has_lfs = |dir: &&Path| {
            let attributes = environment.pointers.get(&dir.join(ATTRIBUTES));
            attributes.is_some_and(|text| String::from_utf8_lossy(text).contains(FILTER))
        };
        clones(environment).filter(has_lfs).map(Path::to_path_buf).collect()
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        clones(environment).map(|dir| dir.join(ATTRIBUTES)).collect()
    }

    fn visit(&self, dir: &Path) -> Visit {
        if dir.as_os_str().is_empty() { Visit::Whole } else { Visit::Skip }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        let mut ask = Ask::new(known);
        let found = found(&mut ask, unit);
        ask.step(found)
    }
}

fn clones(environment: &Environment) -> impl Iterator<Item = &Path> {
    environment.with_marks(MARKS).take(MOST_CLONES)
}

/// Where a clone comes from, and what of it is checked out.
struct Clone {
    name: String,
    source: Option<Source>,
    revision: Option<String>,
    /// Objects of git-lfs by size; None where several have one.
    objects: BTreeMap<u64, Option<PathBuf>>,
}

fn found(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let files = plain::tree(ask, unit, Links::Inside);
    if !weights::any(&files) {
        return Vec::new();
    }
    let git = unit.path().join(".git");
    let remote = ask.read(&git.join("config")).and_then(|text| remote(&String::from_utf8_lossy(text)));
    let source = match &remote {
        Some(remote) => match source(remote) {
            Some(source) => Some(source),
            None => return Vec::new(), // a dataset or an app of the hub
        },
        None => None,
    };
    let folder = unit.root.file_name().unwrap_or_default().to_string_lossy();
    let named = source.as_ref().and_then(|source| source.repo.clone());
    let clone = Clone {
        name: named.unwrap_or_else(|| folder.into_owned()),
        source,
        revision: commit(ask, &git),
        objects: objects(ask, &git.join("lfs/objects")),
    };
    let bundles = bundle::bundles(ask, unit.root, Together::Repository, &files);
    bundles.into_iter().map(|bundle| clone.location(ask, unit, bundle)).collect()
}

impl Clone {
    fn location(&self, ask: &mut Ask<'_>, unit: &Unit<'_>, bundle: Bundle) -> Found {
        let label = handle::of_path(&bundle.label);
        let id = if label.is_empty() { self.name.clone() } else { format!("{}:{label}", self.name) };
        let plain = self.name.rsplit('/').next().filter(|_| bundle.is_directory);
        let name = handle::bounded(plain.unwrap_or(&bundle.stem));
        let mut found = Found { name, ..Found::of(App::Git, handle::fit(id), unit.root, bundle) };
        found.source.clone_from(&self.source);
        found.revision.clone_from(&self.revision);
        let mut copies = Vec::new();
        for file in found.files.iter().filter(|file| is_held(file.role)) {
            let stat = ask.stat(&file.path);
            let size = stat.map_or(0, |stat| stat.size);
            let text = if size <= LONGEST_POINTER { ask.read(&file.path) } else { None };
            // The hash that it names is of other bytes than the file's: no claim about this one.
            if text.is_some_and(|text| text.starts_with(POINTER.as_bytes())) {
                found.partial = Some("git-lfs pointer, content not fetched".to_owned());
                found.hints.format = Some(Format::LfsPointer);
            } else if let Some(Some(object)) = self.objects.get(&size) {
                copies.push(object.clone());
            }
        }
        if found.partial.is_some() && found.hints.format == Some(Format::LfsPointer) {
            // The card is of the model, which is not here.
            (found.license, found.base_models) = (None, Vec::new());
        }
        found.files.extend(copies.into_iter().map(|path| {
            let sha256 = path.file_name().and_then(|name| handle::sha256(name.to_str()?));
            FoundFile { path, role: Role::LfsObject, sha256 }
        }));
        found
    }
}

fn is_held(role: Role) -> bool {
    matches!(role, Role::Weights | Role::Companion | Role::Adapter)
}

/// Returns the address of `origin`, else of the first remote.
fn remote(config: &str) -> Option<String> {
    let urls = ini::settings(config).filter(|setting| setting.key == "url");
    let urls = urls.filter(|setting| setting.section.starts_with("remote "));
    let urls: Vec<_> = urls.map(|setting| (setting.section, setting.value.to_owned())).collect();
    let origin = urls.iter().find(|(section, _)| *section == "remote \"origin\"").or(urls.first());
    origin.map(|(_, url)| url.clone())
}

/// None for a repository of the hub that is no model.
fn source(remote: &str) -> Option<Source> {
    let ssh = remote.split_once('@').filter(|_| !remote.contains("://"));
    let ssh = ssh.and_then(|(_, rest)| rest.split_once(':'));
    let remote = match (ssh, remote.strip_prefix("ssh://")) {
        (Some((host, path)), _) => format!("https://{host}/{path}"),
        (None, Some(rest)) => format!("https://{rest}"),
        (None, None) => remote.to_owned(),
    };
    let evidence = vec![".git/config remote".to_owned()];
    let none = Source {
        kind: Some(SourceKind::Git),
        repo: None,
        url: None,
        confidence: Confidence::Recorded,
        evidence,
    };
    let Some(address) = Address::parse(&remote) else { return Some(none) };
    let url = address.url.trim_end_matches('/').trim_end_matches(".git").to_owned();
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    if address.kind == SourceKind::HuggingFace {
        if ["datasets/", "spaces/"].iter().any(|kind| path.starts_with(kind)) {
            return None;
        }
        let repo = handle::bounded(path);
        let url = repo.as_deref().map(|repo| format!("https://huggingface.co/{}", web::encode(repo)));
        return Some(Source { repo, url, ..none });
    }
    Some(Source { repo: handle::bounded(path), url: Some(url), ..none })
}

/// Returns the commit that is checked out.
fn commit(ask: &mut Ask<'_>, git: &Path) -> Option<String> {
    let head = text(ask.read(&git.join("HEAD"))?)?;
    let Some(name) = head.strip_prefix("ref: ") else { return is_commit(head).then(|| head.to_owned()) };
    let is_plain = name.starts_with("refs/") && !name.split('/').any(|part| part == "..");
    let loose = if is_plain { ask.read(&git.join(name)).and_then(text) } else { None };
    let packed = ask.read(&git.join("packed-refs")).map(String::from_utf8_lossy).unwrap_or_default();
    let packed = packed.lines().filter_map(|line| line.split_once(' '));
    let packed = packed.filter(|(_, named)| named.trim() == name).map(|(commit, _)| commit).next();
    loose.or(packed).filter(|commit| is_commit(commit)).map(str::to_owned)
}

fn text(content: &[u8]) -> Option<&str> {
    std::str::from_utf8(content).ok().map(str::trim)
}

/// SHA-1, or SHA-256 in new repositories.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Returns git-lfs's own copies. Which belongs to which file the index of git says; the size tells enough.
fn objects(ask: &mut Ask<'_>, dir: &Path) -> BTreeMap<u64, Option<PathBuf>> {
    let mut paths = vec![dir.to_path_buf()];
    for _ in 0..2 {
        let below = paths.iter().flat_map(|dir| {
            let dirs = ask.list(dir).filter(|entry| entry.kind == EntryKind::Dir);
            dirs.map(|entry| dir.join(&entry.name)).collect::<Vec<_>>()
        });
        paths = below.take(MOST_OBJECTS + 1).collect();
        if paths.len() > MOST_OBJECTS {
            return BTreeMap::new();
        }
    }
    let mut objects = BTreeMap::new();
    for dir in paths {
        for entry in ask.list(&dir).filter(|entry| entry.kind == EntryKind::File) {
            let path = dir.join(&entry.name);
            if let Some(stat) = ask.stat(&path) {
                objects.entry(stat.size).and_modify(|object| *object = None).or_insert(Some(path));
            }
        }
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{
        Entry,
        drive::{Tree, environment, files},
    };

    const ROOT: &str = "/home/u/src/c";
    const COMMIT: &str = "dfd525187584c01041e09167bf711b6119f6e032";

    fn clone(remote: &str) -> Tree {
        Tree::default()
            .file(
                format!("{ROOT}/.git/config"),
                format!("[core]\n\tbare = false\n[remote \"origin\"]\n\turl = {remote}\n"),
            )
            .file(format!("{ROOT}/.git/HEAD"), "ref: refs/heads/main\n")
            .file(format!("{ROOT}/.git/packed-refs"), format!("# pack-refs\n{COMMIT} refs/heads/main\n"))
    }

    #[test]
    fn clones_with_lfs_are_roots_and_others_are_not() {
        let attributes = [
            ("/home/u/src/c/.gitattributes", "*.gguf filter=lfs diff=lfs"),
            ("/home/u/src/d/.gitattributes", "* text=auto"),
        ];
        let mut environment = environment(&[], &attributes);
        for dir in ["/home/u/src/c", "/home/u/src/d", "/home/u/src/e"] {
            let entry = |name: &str| Entry { name: name.into(), kind: EntryKind::File };
            let entries = vec![entry(".git"), entry(".gitattributes")];
            environment.places.insert(dir.into(), entries);
        }
        assert_eq!(Git.roots(&environment), [PathBuf::from(ROOT)]);
        assert_eq!(Git.pointers(&environment).len(), 3);
    }

    #[test]
    fn a_clone_of_the_hub_says_where_it_is_from() {
        let sha = "ab".repeat(32);
        let tree = clone("https://user:token@huggingface.co/o/n")
            .file(format!("{ROOT}/model.safetensors"), "weights")
            .file(format!("{ROOT}/.git/lfs/objects/ab/ab/{sha}"), "weights")
            .file(format!("{ROOT}/README.md"), "---\nlicense: gemma\nbase_model: g/b\n---\n")
            .file(
                format!("{ROOT}/x-Q8_0.gguf"),
                format!("{POINTER}\noid sha256:{}\nsize 9\n", "cd".repeat(32)),
            );
        let found = tree.found(&Git, ROOT);
        let [whole, pointer] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((whole.id.as_str(), whole.revision.as_deref()), ("o/n", Some(COMMIT)));
        assert_eq!(files(whole), ["w:model.safetensors", "card:README.md", &format!("l:{sha}")]);
        let source = whole.source.clone().unwrap();
        assert_eq!((source.kind, source.repo.as_deref()), (Some(SourceKind::Git), Some("o/n")));
        assert_eq!(source.url.as_deref(), Some("https://huggingface.co/o/n"));
        assert_eq!(
            (whole.license.as_deref(), whole.base_models.as_slice()),
            (Some("gemma"), &["g/b".to_owned()][..])
        );
        assert_eq!(
            (pointer.id.as_str(), pointer.hints.format),
            ("o/n:x-Q8_0.gguf", Some(Format::LfsPointer))
        );
        assert_eq!(pointer.partial.as_deref(), Some("git-lfs pointer, content not fetched"));
        assert_eq!((pointer.files[0].sha256.as_deref(), pointer.license.as_deref()), (None, None));
    }

    #[test]
    fn remotes_are_read_in_every_spelling_and_kept_without_credentials() {
        let check = |remote: &str, repo: Option<&str>, url: Option<&str>| {
            let source = source(remote).unwrap();
            assert_eq!((source.repo.as_deref(), source.url.as_deref()), (repo, url), "{remote}");
        };
        check("git@hf.co:o/n", Some("o/n"), Some("https://huggingface.co/o/n"));
        check("https://t:x@github.com/a/b.git", Some("a/b"), Some("https://github.com/a/b"));
        check("ssh://git@host:22/a/b", Some("a/b"), Some("https://host:22/a/b"));
        check("/srv/git/x", None, None);
        check("user:secret@host", None, None);
        assert_eq!(source("https://huggingface.co/datasets/o/n"), None);
    }
}
