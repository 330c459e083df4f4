//! The corpus of races and of hostile names (`shared/corpus/names`): what the scripts print must be what is listed.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::Command,
};
use tests::{House, files::path_of, house, poll, skip};

fn corpus(script: &str) -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/names").join(script))
        .filter(|path| path.exists())
}

/// Sizes of all listed files below a directory, by path below it; every file once.
#[track_caller]
fn listed(house: &House, below: &Path) -> BTreeMap<Vec<u8>, u64> {
    let mut files = BTreeMap::new();
    for model in house.list(&["app=loose"]) {
        for file in
            model["locations"].as_array().unwrap().iter().flat_map(|place| place["files"].as_array().unwrap())
        {
            let path = PathBuf::from(OsStr::from_bytes(&path_of(file)).to_owned());
            let Ok(path) = path.strip_prefix(below) else { continue };
            let before = files.insert(path.as_os_str().as_bytes().to_vec(), file["size"].as_u64().unwrap());
            assert!(before.is_none(), "{} is listed twice", path.display());
        }
    }
    files
}

fn run(case: &str) -> Option<House> {
    let Some(script) = corpus("churn.py") else {
        eprintln!("skipped: churn corpus not here");
        return None;
    };
    let house = house!().started();
    house.sync();
    let root = house.models("");
    let output = Command::new("python3").arg(script).arg(&root).arg(case).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let truth: BTreeMap<Vec<u8>, u64> = said["truth"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, size)| (path.clone().into_bytes(), size.as_u64().unwrap()))
        .collect();
    house.sync();
    if poll(10, || (listed(&house, &root) == truth).then_some(())).is_none() {
        let listed = listed(&house, &root);
        let text = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
        let missing: Vec<_> =
            truth.keys().filter(|path| !listed.contains_key(*path)).map(text).take(10).collect();
        let wrong: Vec<_> = listed
            .iter()
            .filter(|(path, size)| truth.get(*path) != Some(size))
            .map(|(path, size)| (text(path), *size))
            .take(10)
            .collect();
        panic!(
            "{case}: {} true, {} listed; missing {missing:?}; too many or of another size {wrong:?}",
            truth.len(),
            listed.len()
        );
    }
    let all = serde_json::to_string(&house.list(&[])).unwrap() + &house.log();
    for secret in ["OUTSIDE-SECRET", "must not appear"] {
        assert!(!all.contains(secret), "{secret} came in");
    }
    Some(house)
}

macro_rules! cases {
    ($($case:ident)*) => {
        $(#[test]
        fn $case() {
            run(stringify!($case));
        })*

        #[test]
        fn every_case_of_the_corpus_is_run() {
            let Some(script) = corpus("churn.py") else { skip!("churn corpus not here") };
            let dir = tempfile::tempdir().unwrap();
            let output = Command::new("python3").arg(script).arg(dir.path()).output().unwrap();
            let mut theirs: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().split_whitespace().collect();
            let mut ours = vec![$(stringify!($case),)* "same_size_mtime", "mmap_write"];
            (theirs.sort_unstable(), ours.sort_unstable());
            assert_eq!(theirs, ours);
        }
    };
}

cases! {
    mkdir_fill rename_into rename_chain dir_rename_then_write rename_out replace_atomic slow_write prealloc_write
    truncate_while_read swap_symlink storm delete_root_and_back wide case_only
}

#[test]
fn same_size_mtime() {
    if let Some(house) = run("same_size_mtime") {
        assert_eq!(
            house.show("sm")["facts"]["name"],
            "other",
            "size and mtime are the same, inode and ctime are not"
        );
    }
}

#[test]
fn mmap_write() {
    if let Some(house) = run("mmap_write") {
        house.json(&["scan"]);
        assert_eq!(house.show("mm")["facts"]["name"], "BBBB", "no event tells of mapped pages, a scan does");
    }
}

#[test]
fn hostile_names_are_listed_once_and_exactly_and_nothing_else_is() {
    let Some(script) = corpus("make_names.py") else { skip!("churn corpus not here") };
    let house = house!().started();
    let output = Command::new("python3").arg(script).arg(house.at("hostile")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let manifest: Value =
        serde_json::from_slice(&fs::read(house.at("hostile/manifest.json")).unwrap()).unwrap();
    let tree = house.at("hostile/tree");
    house.does(&["roots", "add", tree.to_str().unwrap()]);
    house.sync();
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect()
    };
    let created = |entry: &&Value| entry["created"] == true && entry["path_hex"].is_string();
    let entries: Vec<(&str, Vec<u8>)> = manifest["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(created)
        .map(|entry| (entry["cls"].as_str().unwrap(), bytes(entry["path_hex"].as_str().unwrap())))
        .collect();
    let is_model = |class: &str| {
        [
            "name",
            "name_255_bytes",
            "dir_name",
            "hardlink_target",
            "hardlink",
            "setuid",
            "world_writable",
            "control",
            "sparse_1tib",
        ]
        .contains(&class)
    };
    // Readable for root, listed as unreadable for others.
    let may_be = |class: &str| ["mode_000", "dir_000"].contains(&class);
    let listed = listed(&house, &tree);
    let shown = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    let missing: Vec<_> = entries
        .iter()
        .filter(|(class, path)| is_model(class) && !listed.contains_key(path))
        .map(|(_, path)| shown(path))
        .collect();
    assert!(missing.is_empty(), "not listed: {missing:?}");
    let wrong: Vec<_> = entries
        .iter()
        .filter(|(class, path)| !is_model(class) && !may_be(class) && listed.contains_key(path))
        .map(|(class, path)| (class, shown(path)))
        .collect();
    assert!(wrong.is_empty(), "no models, but listed: {wrong:?}");
    let known = |path: &Vec<u8>| path.starts_with(b"deep/") || entries.iter().any(|(_, entry)| entry == path);
    let unknown: Vec<_> = listed.keys().filter(|path| !known(path)).map(shown).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    // A link to a *directory* of models outside makes that a root of its own, named in `roots` (DECISIONS 8): OUTSIDE-INNER
    // may be listed there. A link to a *file* outside is never followed.
    let all =
        serde_json::to_string(&house.list(&[])).unwrap() + &house.json(&["roots"]).to_string() + &house.log();
    assert!(!all.contains("OUTSIDE-SECRET"));
    let sparse = house.list(&["sparse.gguf"]);
    let sparse = sparse
        .iter()
        .flat_map(|model| model["locations"].as_array().unwrap())
        .any(|place| place["files"][0]["size"] == 1_u64 << 40);
    assert!(sparse, "the file of 1 TiB that takes nothing");
    let disk: u64 = house.list(&["app=loose"]).iter().map(|model| model["disk_size"].as_u64().unwrap()).sum();
    assert!(disk < 16 << 20, "{disk} bytes: blocks count, not sizes");
    let found = Command::new("find").arg(house.at("")).args(["-name", "pwned"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}
