//! The stores over a home with every app in it (`make_stores.py`), against its answer key.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "this is the daemon's side of the stores, in a test"
)]

use domain::facts::Part;
use domain::stores::{
    Entry, EntryKind, Environment, Found, Known, Look, Origin, Rows, STORES, Stat, Step, Store, Table, Unit,
    Visit, record,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/stores");

/// Handles that the key spells without a rule; ours are made by one.
const OTHER_IDS: &[(&str, &str)] = &[
    (
        "acme-ai/TinyAcme-1.1B-Instruct-GGUF@1095154a:Q8_0",
        "acme-ai/TinyAcme-1.1B-Instruct-GGUF@1095154a:TinyAcme-1.1B-Instruct-v0.3-Q8_0.gguf",
    ),
    (
        "acme-ai/tiny-moe-GGUF:TinyMoE-8x0.1B-Q6_K.gguf",
        "acme-ai/tiny-moe-GGUF@3253346f:TinyMoE-8x0.1B-Q6_K.gguf",
    ),
    ("models-dir:tiny-lora-f32", "models-dir:adapters"),
    ("models-dir:big-endian", "models-dir:be"),
    ("models-dir:v2", "models-dir:old"),
    ("python:embed", "python:nomic-embed-text-v1.5.f16.gguf"),
    ("truncated.gguf", "truncated-Q8_0.gguf"),
    // The file is control_v11p_tiny.safetensors.
    ("ControlNet/control_tiny", "ControlNet/control_v11p_tiny"),
    ("models/odd names", "models/con spazi & àccénti \u{200b}日本/tiny 'Q8_0'.gguf"),
];

/// What the key says of these fields comes from elsewhere, or is left out there.
const OTHER_FIELDS: &[(&str, &str, &str)] = &[
    (
        "acme-ai/TinyAcme-1.1B-Instruct-GGUF@1095154a:Q8_0",
        "base_model",
        "the card of that revision names one",
    ),
    ("acme-ai/TinyAcme-1.1B-Instruct-GGUF@1095154a:Q8_0", "url", "the key gives the page, we give the file"),
    ("acme-ai/tiny-moe-GGUF:TinyMoE-8x0.1B-Q6_K.gguf", "url", "the key gives the page, we give the file"),
    (
        "acme-ai/tiny-moe-GGUF:TinyMoE-8x0.1B-Q6_K.gguf",
        "license",
        "the header says so, which the daemon reads",
    ),
    ("acme-ai/tiny-onnx@fc65b895:quantized", "license", "the header says so, which the daemon reads"),
    ("truncated.gguf", "is_partial", "the header says so, which the daemon reads"),
    ("Downloads/trunc.safetensors", "is_partial", "the header says so, which the daemon reads"),
];

/// Found, and not in the key's list of models, by handle.
const MORE: &[(&str, &str)] = &[
    ("Downloads/big-Q4.gguf", "empty: the daemon drops it by its bytes"),
    ("Downloads/firmware.bin", "no model: the daemon drops it by its bytes"),
    ("Downloads/notes.pt", "text: the daemon drops it by its bytes"),
    ("Downloads/page.safetensors", "an HTML page: the daemon drops it by its bytes"),
    ("Downloads/tiny-imported.Q8_0.gguf", "what LM Studio's import links to; it lies there all the same"),
    ("models-dir:adapters/imatrix", "the daemon drops it by what its header says"),
    ("models/latin1-\u{fffd}-Q8_0.gguf~986c2b009fff48b7", "a name that the key cannot spell"),
    ("tinyRealisticXL_v61@in-place", "what InvokeAI recorded where another app has it"),
];

struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Home {
    fn build() -> Option<Self> {
        let path = std::env::temp_dir().join(format!("modeld-stores-{}", std::process::id()));
        let home = Self(path.canonicalize().unwrap_or(path));
        let script = Path::new(SHARED).join("make_stores.py");
        let output = Command::new("python3").arg(script).arg(&home.0).output().ok()?;
        output.status.success().then_some(home)
    }

    fn environment(&self) -> Environment {
        let home = self.0.join("home/user");
        let variables = [("HF_HUB_CACHE".to_owned(), home.join("data/hf-nosym").into_os_string())];
        let mut environment = Environment {
            home: Some(home),
            sysroot: self.0.join("sys"),
            variables: variables.into(),
            pointers: BTreeMap::new(),
            places: places(&self.0),
        };
        // Twice: a pointer file may name the next one.
        for _ in 0..2 {
            let named: Vec<PathBuf> = STORES.iter().flat_map(|store| store.pointers(&environment)).collect();
            let read = named.into_iter().filter_map(|path| Some((path.clone(), fs::read(path).ok()?)));
            environment.pointers.extend(read);
        }
        environment
    }

    /// Extended attributes by path, which std cannot read.
    fn origins(&self) -> BTreeMap<PathBuf, Origin> {
        let script = "import json,os,sys\nfor d,_,fs in os.walk(os.fsencode(sys.argv[1])):\n for f in fs:\n  p=os.path.join(d,f)\n  if os.path.islink(p): continue\n  x={a:os.getxattr(p,a).decode() for a in os.listxattr(p) if a.startswith('user.xdg')}\n  if x: print(json.dumps([os.fsdecode(p),x]))";
        let output = Command::new("python3").args(["-c", script]).arg(&self.0).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let clean =
            |url: &Value| url.as_str().map(|url| url.split('?').next().unwrap_or_default().to_owned());
        let origin = |line: &str| -> (PathBuf, Origin) {
            let value: Value = serde_json::from_str(line).unwrap();
            let attribute = |name: &str| value[1].get(name).and_then(clean);
            let origin = Origin {
                url: attribute("user.xdg.origin.url"),
                referrer: attribute("user.xdg.referrer.url"),
            };
            (value[0].as_str().unwrap().into(), origin)
        };
        text.lines().map(origin).collect()
    }
}

/// The home two deep, and what lies in volumes of containers.
fn places(home: &Path) -> BTreeMap<PathBuf, Vec<Entry>> {
    let mut places = BTreeMap::new();
    let volumes = home.join("sys/var/lib/docker/volumes");
    let volumes = fs::read_dir(volumes).unwrap().map(|volume| (volume.unwrap().path().join("_data"), 1));
    let mut waiting: Vec<(PathBuf, usize)> = volumes.collect();
    waiting.push((home.join("home/user"), 0));
    while let Some((dir, depth)) = waiting.pop() {
        let Some(entries) = list(&dir) else { continue };
        let is_shown =
            |entry: &&Entry| entry.kind == EntryKind::Dir && !entry.name.to_string_lossy().starts_with('.');
        if depth < 2 {
            waiting.extend(entries.iter().filter(is_shown).map(|entry| (dir.join(&entry.name), depth + 1)));
        }
        places.insert(dir, entries);
    }
    places
}

/// Looks at the real file system, as the daemon does.
struct Driver {
    origins: BTreeMap<PathBuf, Origin>,
    looked: BTreeSet<Look>,
}

impl Driver {
    fn walk(&mut self, store: &dyn Store, root: &Path, place: &Path) -> Vec<Found> {
        let (mut found, mut dirs) = (Vec::new(), vec![PathBuf::new()]);
        while let Some(dir) = dirs.pop() {
            let unit = Unit { root, dir: &dir, place };
            let visit = store.visit(&unit.layout());
            if matches!(visit, Visit::Unit | Visit::Whole) {
                found.extend(self.step(store, &unit));
            }
            if matches!(visit, Visit::Unit | Visit::Pass) {
                let entries = list(&unit.path()).unwrap_or_default();
                dirs.extend(entries.iter().filter(|e| e.kind == EntryKind::Dir).map(|e| dir.join(&e.name)));
            }
        }
        found
    }

    fn step(&mut self, store: &dyn Store, unit: &Unit<'_>) -> Vec<Found> {
        let mut known = Known::default();
        for _ in 0..12 {
            let needs = match store.step(unit, &known) {
                Step::Found(found) | Step::Partly { found, .. } => return found,
                Step::Need(needs) => needs,
            };
            for look in needs {
                self.answer(&mut known, &look);
                self.looked.insert(look);
            }
        }
        panic!("too many rounds in {}", unit.path().display());
    }

    fn answer(&self, known: &mut Known, look: &Look) {
        match look.clone() {
            Look::List(path) => drop(known.lists.insert(path.clone(), list(&path))),
            Look::Read(path) => drop(known.contents.insert(path.clone(), fs::read(path).ok())),
            Look::Stat(path) => {
                let stat = fs::metadata(&path).ok();
                let stat = stat.map(|meta| {
                    let modified = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
                    Stat { kind: kind(meta.file_type()), size: meta.len(), modified }
                });
                known.stats.insert(path, stat);
            }
            Look::Link(path) => drop(known.links.insert(path.clone(), fs::read_link(path).ok())),
            Look::Origin(path) => drop(known.origins.insert(path.clone(), self.origins.get(&path).cloned())),
            Look::Record(path) => {
                let name = path.file_name().unwrap().to_string_lossy();
                let record = fs::read(&path).ok().and_then(|bytes| record(&name, &bytes));
                known.records.insert(path.clone(), record);
            }
            Look::Table(table) => drop(known.tables.insert(table.clone(), rows(&table))),
            Look::Parts(path) => drop(known.parts.insert(path.clone(), parts(&path))),
        }
    }
}

fn parts(path: &Path) -> Option<Vec<Part>> {
    let content = fs::read(path).ok()?;
    domain::parts_of(path.file_name()?, &mut formats::Slice(&content)).ok()?
}

/// Rows of a database, which std cannot read.
fn rows(table: &Table) -> Option<Result<Rows, String>> {
    let script = "import json,sqlite3,sys\nq=sqlite3.connect(f'file:{sys.argv[1]}?mode=ro&immutable=1',uri=True)\nprint(json.dumps(q.execute(f'select {sys.argv[3]} from {sys.argv[2]}').fetchall()))";
    let columns = table.columns.join(",");
    let output =
        Command::new("python3").args(["-c", script]).arg(&table.file).args([table.name, &columns]).output();
    table.file.exists().then(|| Ok(serde_json::from_slice(&output.unwrap().stdout).unwrap()))
}

fn list(dir: &Path) -> Option<Vec<Entry>> {
    let entries = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    Some(
        entries
            .map(|entry| Entry { name: entry.file_name(), kind: kind(entry.file_type().unwrap()) })
            .collect(),
    )
}

fn kind(kind: fs::FileType) -> EntryKind {
    match kind {
        kind if kind.is_symlink() => EntryKind::Symlink,
        kind if kind.is_dir() => EntryKind::Dir,
        kind if kind.is_file() => EntryKind::File,
        _ => EntryKind::Special,
    }
}

/// Compares the fields that a store knows; returns what differs, in words.
fn differences(home: &Path, entry: &Value, found: &Found) -> Vec<String> {
    let id = entry["id"].as_str().unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let source = found.source.as_ref();
    let mut pairs = vec![
        (
            "source",
            text(&entry["source"]["kind"]),
            source.and_then(|s| s.kind).map(|kind| kind.name().to_owned()),
        ),
        ("repo", text(&entry["source"]["repo"]), source.and_then(|s| s.repo.clone())),
        ("url", text(&entry["source"]["url"]), source.and_then(|s| s.url.clone())),
        ("revision", text(&entry["revision"]), found.revision.clone()),
        ("is_partial", Some(entry["is_partial"].to_string()), Some(found.partial.is_some().to_string())),
        ("base_model", text(&entry["base_model"]), found.base_models.first().cloned()),
        ("license", text(&entry["license"]), found.license.clone()),
    ];
    if let Some(refs) = entry.get("refs") {
        pairs.push(("refs", Some(refs.to_string()), Some(serde_json::to_string(&found.refs).unwrap())));
    }
    if let Some(quant) = found.hints.quant.as_ref().filter(|_| entry["format"] != "gguf") {
        pairs.push(("quant", text(&entry["quant"]), Some(quant.clone())));
    }
    for file in &found.files {
        let expected = entry["files"].as_array().unwrap().iter();
        let mut expected = expected.filter(|e| home.join(e["path"].as_str().unwrap()) == file.path);
        if let (Some(Some(sha256)), Some(ours)) = (expected.next().map(|e| text(&e["sha256"])), &file.sha256)
        {
            pairs.push(("sha256", Some(sha256), Some(ours.clone())));
        }
    }
    // A GGUF may say its licence and base itself, which the daemon reads.
    let by_header = |field: &str| entry["app"] != "huggingface" && matches!(field, "license" | "base_model");
    let excused = |field: &str| OTHER_FIELDS.iter().any(|(other, name, _)| (*other, *name) == (id, field));
    pairs
        .into_iter()
        .filter(|(field, expected, ours)| {
            expected != ours && !excused(field) && !(by_header(field) && ours.is_none())
        })
        .map(|(field, expected, ours)| format!("{id}: {field}: expected {expected:?}, found {ours:?}"))
        .collect()
}

fn weights(home: &Path, entry: &Value) -> BTreeSet<(PathBuf, String)> {
    let files = entry["files"].as_array().unwrap().iter();
    let file =
        |file: &Value| (home.join(file["path"].as_str().unwrap()), file["role"].as_str().unwrap().to_owned());
    files.map(file).filter(|(_, role)| is_held(role)).collect()
}

fn is_held(role: &str) -> bool {
    matches!(role, "weights" | "companion" | "adapter")
}

#[test]
fn the_stores_find_what_the_answer_key_says() {
    let Some(home) = Home::build() else {
        eprintln!(
            "skipped: the_stores_find_what_the_answer_key_says: needs python3 and shared/stores/make_stores.py"
        );
        return;
    };
    let key: Value =
        serde_json::from_slice(&fs::read(Path::new(SHARED).join("expected.json")).unwrap()).unwrap();
    let environment = home.environment();
    let mut driver = Driver { origins: home.origins(), looked: BTreeSet::new() };
    let (mut claimed, mut found) = (BTreeSet::new(), Vec::new());
    for store in STORES {
        for root in store.roots(&environment).into_iter().filter(|root| root.is_dir()) {
            if claimed.insert(root.clone()) {
                let place = store.place(&environment, &root);
                found.extend(driver.walk(*store, &root, &place));
            }
        }
    }

    let mut wrong = Vec::new();
    for entry in key["models"].as_array().unwrap() {
        let (app, id) = (entry["app"].as_str().unwrap(), entry["id"].as_str().unwrap());
        let ours = OTHER_IDS.iter().find(|(other, _)| *other == id).map_or(id, |(_, ours)| ours);
        let expected = weights(&home.0, entry);
        let at = found.iter().position(|found| {
            let files = found.files.iter().map(|file| (file.path.clone(), file.role.name().to_owned()));
            let files: BTreeSet<_> = files.filter(|(_, role)| is_held(role)).collect();
            found.app.name() == app && found.id == ours && files == expected
        });
        match at {
            Some(at) => wrong.extend(differences(&home.0, entry, &found.swap_remove(at))),
            None => wrong.push(format!("{app} {id}: not found")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut more: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
    more.sort_unstable();
    assert_eq!(more, MORE.iter().map(|(id, _)| *id).collect::<Vec<_>>());

    let secret: Vec<&str> =
        key["never_read"].as_array().unwrap().iter().filter_map(|e| e["path"].as_str()).collect();
    for look in &driver.looked {
        let (Look::List(path)
        | Look::Read(path)
        | Look::Stat(path)
        | Look::Link(path)
        | Look::Origin(path)
        | Look::Record(path)
        | Look::Parts(path)
        | Look::Table(Table { file: path, .. })) = look;
        assert!(!secret.iter().any(|secret| home.0.join(secret) == *path), "looked at {}", path.display());
    }
}
