//! The models that were measured: full-size files whose data is a hole, written by the generator beside the figures.

use domain::{facts, memory::Shape};
use formats::Windowed;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// A model's name without the number of its part.
pub(crate) fn key(file: &str) -> String {
    let name = file.trim_end_matches(".gguf");
    name.split_once("-00001-of-").map_or(name, |(name, _)| name).to_owned()
}

/// Writes the files to a scratch directory and reads what they are.
pub(crate) fn shapes(truth: &Path) -> BTreeMap<String, Shape> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("truth-{}-{call}", std::process::id()));
    let status =
        Command::new("python3").arg(truth.join("make_models.py")).arg(&dir).env("NOVOCAB", "1").output();
    assert!(status.unwrap().status.success(), "the models cannot be written");
    let mut parts: BTreeMap<String, Vec<facts::Facts>> = BTreeMap::new();
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "gguf")) {
        let name = path.file_name().unwrap();
        let file = File::open(path).unwrap();
        let read = |at, buffer: &mut [u8]| file.read_at(buffer, at);
        let mut input = Windowed::new(file.metadata().unwrap().len(), read);
        let verdict = domain::judge(name, &mut input).unwrap();
        let name = name.to_string_lossy();
        let whole = name.split_once("-0000").map_or(&*name, |(whole, _)| whole);
        parts.entry(key(whole)).or_default().push(verdict.facts.unwrap());
    }
    fs::remove_dir_all(&dir).unwrap();
    let merged = parts.into_iter().map(|(name, parts)| (name, facts::merge(&parts)));
    merged.filter_map(|(name, facts)| Some((name, Shape::of(&facts).ok()?))).collect()
}
