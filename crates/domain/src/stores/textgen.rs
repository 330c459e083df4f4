//! text-generation-webui: GGUFs side by side, other models in a folder each with `huggingface-metadata.txt`, which
//! is written before the weights.

use super::{
    Environment, Found, FoundFile, Known, Step, Store, Unit, Visit,
    ask::Ask,
    bundle::{self, Bundle, Together},
    handle, partial,
    plain::{self, Links},
    web::{self, Address},
    weights,
};
use crate::{App, Confidence, Role, Source, SourceKind};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

const RECORD: &str = "huggingface-metadata.txt";
const DATA: &str = "user_data";
const FLAGS: &str = "CMD_FLAGS.txt";
/// Files of the checkout that no other app has.
const MARKS: &[&str] = &["download-model.py", "one_click.py", FLAGS];
const KINDS: &[&str] = &["models", "loras", "mmproj", "image_models"];
const OLD_KINDS: &[&str] = &["models", "loras"];

pub(super) struct TextGen;

impl Store for TextGen {
    fn app(&self) -> App {
        App::TextGen
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let chosen = self.pointers(environment).into_iter().filter_map(|path| {
            let text = String::from_utf8_lossy(environment.pointers.get(&path)?).into_owned();
            model_dir(&text, path.parent()?)
        });
        let new = data_folders(environment).flat_map(|data| KINDS.iter().map(move |kind| data.join(kind)));
        let old = checkouts(environment);
        let old = old.flat_map(|dir| OLD_KINDS.iter().map(move |kind| dir.join(kind)));
        super::distinct(chosen.chain(new).chain(old))
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        let data = data_folders(environment).map(|data| data.join(FLAGS));
        data.chain(checkouts(environment).map(|dir| dir.join(FLAGS))).collect()
    }

    fn visit(&self, dir: &Path) -> Visit {
        let Some(name) = dir.file_name() else { return Visit::Unit };
        let is_hidden = name.to_string_lossy().starts_with('.');
        if is_hidden || partial::is_partial(name) { Visit::Skip } else { Visit::Unit }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        let mut ask = Ask::new(known);
        let found = found(&mut ask, unit);
        ask.step(found)
    }
}

fn checkouts(environment: &Environment) -> impl Iterator<Item = &Path> {
    let is_one = |dir: &&Path| MARKS.iter().any(|mark| environment.has_entry(dir, mark));
    environment.with_marks(&["models"]).filter(is_one)
}

/// The folder of what is the user's: seen by its own folders, or beside the checkout's files.
fn data_folders(environment: &Environment) -> impl Iterator<Item = PathBuf> {
    let dirs = environment.with_marks(&[DATA]).filter(|dir| {
        let is_named =
            dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("text-generation-webui"));
        let is_marked = MARKS.iter().any(|mark| environment.has_entry(dir, mark));
        is_named || is_marked || environment.has_entry(&dir.join(DATA), "models")
    });
    dirs.map(|dir| dir.join(DATA))
}

/// Returns what `--model-dir` says in a file of command line flags.
fn model_dir(text: &str, base: &Path) -> Option<PathBuf> {
    let words =
        text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    let mut after = words.skip_while(|word| !word.starts_with("--model-dir"));
    let flag = after.next()?;
    let value = flag.strip_prefix("--model-dir=").or_else(|| after.next())?;
    Some(super::lexical(base, Path::new(value.trim_matches(['"', '\'']))))
}

fn found(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let dir = unit.path();
    let files = plain::files(ask, unit, Links::All);
    let is_root = unit.dir.as_os_str().is_empty();
    let together = if is_root { Together::Heap } else { Together::Folder };
    let record = files.iter().any(|file| file == Path::new(RECORD)).then(|| dir.join(RECORD));
    let record = record.filter(|_| !is_root).and_then(|path| Some(Record::parse(&path, ask.read(&path)?)));
    let bundles = bundle::bundles(ask, &dir, together, &files);
    let is_only = bundles.len() == 1;
    let held: BTreeSet<&str> = files.iter().filter_map(|file| file.to_str()).collect();
    bundles.into_iter().map(|bundle| location(unit, bundle, record.as_ref(), is_only, &held)).collect()
}

fn location(
    unit: &Unit<'_>,
    bundle: Bundle,
    record: Option<&Record>,
    is_only: bool,
    held: &BTreeSet<&str>,
) -> Found {
    let dir = handle::of_path(unit.dir);
    let label = handle::of_path(&bundle.label);
    let is_folder = bundle.is_directory || (is_only && record.is_some());
    let id = if is_folder && !dir.is_empty() {
        dir
    } else {
        format!("{dir}/{label}").trim_matches('/').to_owned()
    };
    let mut found = Found::of(App::TextGen, handle::fit(id), &unit.path(), bundle);
    if let Some(plain) = unit.dir.file_name().filter(|_| is_folder) {
        found.name = handle::bounded(&plain.to_string_lossy());
    }
    let Some(record) = record else { return found };
    found.source.clone_from(&record.source);
    found.revision.clone_from(&record.branch);
    for file in &mut found.files {
        let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        file.sha256 = record.sha256.get(name).cloned();
    }
    let absent = record.sha256.keys().filter(|name| !held.contains(name.as_str()));
    let absent: Vec<_> = absent.filter(|name| weights::is_candidate(name.as_ref())).collect();
    if let (Some(first), true) = (absent.first(), found.partial.is_none() && is_folder) {
        let text = format!("missing-sibling: {} of {} missing: {first}", absent.len(), record.sha256.len());
        found.partial = Some(text.chars().take(200).collect());
    }
    found.files.push(FoundFile { path: record.path.clone(), role: Role::Metadata, sha256: None });
    found.depends.push(record.path.clone());
    found
}

/// What the downloader wrote down.
#[derive(Default)]
struct Record {
    path: PathBuf,
    source: Option<Source>,
    branch: Option<String>,
    /// By name.
    sha256: BTreeMap<String, String>,
}

/// More files than this are in no repository.
const MOST_FILES: usize = 1024;

impl Record {
    fn parse(path: &Path, content: &[u8]) -> Self {
        let mut record = Self { path: path.to_owned(), ..Self::default() };
        for line in String::from_utf8_lossy(content).lines().take(MOST_FILES) {
            if let Some(url) = line.strip_prefix("url:") {
                record.source = Address::parse(url).map(|address| source(&address));
            } else if let Some(branch) = line.strip_prefix("branch:") {
                record.branch = handle::bounded(branch);
            } else if let Some((hash, name)) = line.trim().split_once(char::is_whitespace)
                && let (Some(hash), Some(name)) = (handle::sha256(hash), handle::bounded(name))
            {
                record.sha256.insert(name, hash);
            }
        }
        record
    }
}

fn source(address: &Address) -> Source {
    let evidence = RECORD.to_owned();
    match (&address.repo, address.kind) {
        (Some(repo), SourceKind::HuggingFace) => web::hugging_face(repo, Confidence::Recorded, evidence),
        (repo, kind) => Source {
            kind: Some(kind),
            repo: repo.clone(),
            url: Some(address.url.clone()),
            confidence: Confidence::Recorded,
            evidence: vec![evidence],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{
        Entry, EntryKind,
        drive::{Tree, environment, files},
    };

    const ROOT: &str = "/home/u/tgw/user_data/models";

    #[test]
    fn both_layouts_are_known_by_their_marks() {
        let mut environment = environment(
            &[],
            &[("/home/u/tgw/user_data/CMD_FLAGS.txt", "# --model-dir /no\n--api --model-dir /big/llm\n")],
        );
        let mut put = |dir: &str, names: &[&str]| {
            let entry = |name: &&str| Entry { name: (*name).into(), kind: EntryKind::Dir };
            environment.places.insert(dir.into(), names.iter().map(entry).collect());
        };
        put("/home/u/tgw", &["user_data", "server.py"]);
        put("/home/u/tgw/user_data", &["models"]);
        put("/home/u/old", &["download-model.py", "models", "loras"]);
        put("/home/u/game", &["user_data", "models"]);
        let roots = TextGen.roots(&environment);
        let expected = [
            "/big/llm",
            ROOT,
            "/home/u/tgw/user_data/loras",
            "/home/u/tgw/user_data/mmproj",
            "/home/u/tgw/user_data/image_models",
            "/home/u/old/models",
            "/home/u/old/loras",
        ];
        assert_eq!(roots, expected.map(PathBuf::from));
    }

    #[test]
    fn a_folder_says_where_it_is_from_and_what_is_missing() {
        let sha = "ab".repeat(32);
        let record = format!(
            "url: https://huggingface.co/o/n\nbranch: b4\nsha256sum:\n    {sha} model.safetensors\n    {sha} model-2.safetensors"
        );
        let tree = Tree::default()
            .file(format!("{ROOT}/x-Q8_0.gguf"), "")
            .file(format!("{ROOT}/o_n_b4/{RECORD}"), record)
            .file(format!("{ROOT}/o_n_b4/model.safetensors"), "")
            .file(format!("{ROOT}/two/a.gguf"), "")
            .file(format!("{ROOT}/two/b.gguf"), "");
        let found = tree.found(&TextGen, ROOT);
        let [folder, a, _, flat] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (flat.id.as_str(), a.id.as_str(), folder.id.as_str()),
            ("x-Q8_0.gguf", "two/a.gguf", "o_n_b4")
        );
        assert_eq!(files(folder), ["w:model.safetensors", &format!("m:{RECORD}")]);
        assert_eq!((folder.revision.as_deref(), folder.files[0].sha256.as_ref()), (Some("b4"), Some(&sha)));
        assert_eq!(folder.source.as_ref().unwrap().repo.as_deref(), Some("o/n"));
        assert_eq!(folder.partial.as_deref(), Some("missing-sibling: 1 of 2 missing: model-2.safetensors"));
    }
}
