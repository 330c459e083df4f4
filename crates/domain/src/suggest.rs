//! Folders that look as if they held models, as places to add. Judges what a look found, adds nothing.

use crate::{App, ByteSize, WirePath, engines::shell_line};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// One folder with models directly in it, or with an app's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    pub dir: PathBuf,
    /// Whose layout it is; `Loose` where it is none.
    pub app: App,
    /// What the layout was told by; None for a loose folder.
    pub mark: Option<&'static str>,
    /// Files that are named like weights.
    pub models: u64,
    /// Of those, bytes.
    pub bytes: u64,
    /// One of them whose header was read, and what it says it is.
    pub example: Option<(String, String)>,
}

/// A folder to add, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    #[serde(flatten)]
    pub path: WirePath,
    pub app: App,
    /// Files that are named like weights.
    pub models: u64,
    /// Of those, bytes.
    pub bytes: u64,
    pub evidence: Vec<String>,
    /// The line of shell that adds it.
    pub command: String,
}

/// Less than this in a folder is no model that one keeps, bytes.
const FEWEST_BYTES: u64 = 1 << 20;

/// Turns what was found into what to add, most bytes first: neighbours become the folder around them, unless that is
/// one of `never` (a home, a disk's top), which hold more than models.
pub fn suggestions(spots: Vec<Spot>, never: &BTreeSet<PathBuf>) -> Vec<Suggestion> {
    let worth = spots.into_iter().filter(|spot| spot.mark.is_some() || spot.bytes >= FEWEST_BYTES);
    let mut by_dir: BTreeMap<PathBuf, Spot> = worth.map(|spot| (spot.dir.clone(), spot)).collect();
    while let Some(around) = crowded(&by_dir, never) {
        let (inside, rest) =
            by_dir.into_iter().partition(|(dir, spot)| is_loose(spot) && dir.starts_with(&around));
        by_dir = rest;
        let inside: BTreeMap<PathBuf, Spot> = inside;
        if let Some(merged) = inside.into_values().reduce(merge) {
            by_dir.insert(around.clone(), Spot { dir: around, ..merged });
        }
    }
    let mut found: Vec<Suggestion> = by_dir.into_values().map(suggestion).collect();
    found.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.text().cmp(b.path.text())));
    found
}

fn is_loose(spot: &Spot) -> bool {
    spot.mark.is_none()
}

/// The deepest folder with several loose ones directly in it, or with one in it that is one itself.
fn crowded(by_dir: &BTreeMap<PathBuf, Spot>, never: &BTreeSet<PathBuf>) -> Option<PathBuf> {
    let mut counts: BTreeMap<&Path, usize> = BTreeMap::new();
    for (dir, _) in by_dir.iter().filter(|(_, spot)| is_loose(spot)) {
        if let Some(parent) = dir.parent().filter(|parent| !never.contains(*parent)) {
            let itself = usize::from(by_dir.get(parent).is_some_and(is_loose));
            *counts.entry(parent).or_insert(itself) += 1;
        }
    }
    let crowded = counts.into_iter().filter(|(_, count)| *count > 1).map(|(dir, _)| dir);
    crowded.max_by_key(|dir| dir.components().count()).map(Path::to_owned)
}

fn merge(one: Spot, other: Spot) -> Spot {
    let (models, bytes) = (one.models + other.models, one.bytes.saturating_add(other.bytes));
    let example = one.example.clone().or(other.example);
    Spot { models, bytes, example, ..one }
}

fn suggestion(spot: Spot) -> Suggestion {
    let layout = spot.mark.map(|mark| format!("it has {mark}, as {} makes it", spot.app));
    let files = (spot.models > 0).then(|| {
        let (count, size) = (spot.models, ByteSize(spot.bytes));
        if count == 1 {
            format!("one file of {size} is named like weights")
        } else {
            format!("{count} files, {size}, are named like weights")
        }
    });
    let read = spot.example.map(|(name, what)| format!("{name} is {what}, by its header"));
    let command = ["modelctl".into(), "roots".into(), "add".into(), spot.dir.clone().into_os_string()];
    Suggestion {
        path: WirePath::from(spot.dir.as_path()),
        app: spot.app,
        models: spot.models,
        bytes: spot.bytes,
        evidence: layout.into_iter().chain(files).chain(read).collect(),
        command: shell_line(&BTreeMap::new(), &command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loose(dir: &str, bytes: u64) -> Spot {
        let example = Some(("a.gguf".to_owned(), "gguf".to_owned()));
        Spot { dir: dir.into(), app: App::Loose, mark: None, models: 1, bytes, example }
    }

    fn paths(spots: Vec<Spot>) -> Vec<(String, u64)> {
        let never = ["/", "/mnt", "/mnt/disk", "/home/u"].map(PathBuf::from).into();
        let suggested = suggestions(spots, &never).into_iter();
        suggested.map(|one| (one.path.text().to_owned(), one.models)).collect()
    }

    #[test]
    fn neighbours_become_the_folder_around_them_and_a_disks_top_is_never_suggested() {
        let many = |dirs: &[&str]| dirs.iter().map(|dir| loose(dir, 2 << 20)).collect();
        for (dirs, expected) in [
            (&["/mnt/disk/llms/a", "/mnt/disk/llms/b"][..], &[("/mnt/disk/llms", 2)][..]),
            (
                &["/mnt/disk/llms/a/x", "/mnt/disk/llms/b/x", "/mnt/disk/llms/b/y"],
                &[("/mnt/disk/llms/b", 2), ("/mnt/disk/llms/a/x", 1)],
            ),
            (&["/mnt/disk/a", "/mnt/disk/b"], &[("/mnt/disk/a", 1), ("/mnt/disk/b", 1)]),
            (&["/mnt/disk/a", "/mnt/disk/a/sub"], &[("/mnt/disk/a", 2)]),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|(path, models)| ((*path).to_owned(), *models)).collect();
            assert_eq!(paths(many(dirs)), expected, "{dirs:?}");
        }
    }

    #[test]
    fn a_layout_stands_by_itself_and_small_files_are_nothing() {
        let hub = Spot {
            app: App::HuggingFace,
            mark: Some("`models--…` folders"),
            models: 0,
            ..loose("/mnt/disk/x/hub", 0)
        };
        let found = suggestions(
            vec![hub, loose("/mnt/disk/x/a b", 5 << 20), loose("/mnt/disk/x/tiny", 100)],
            &BTreeSet::new(),
        );
        let shown: Vec<_> =
            found.iter().map(|one| (one.path.text(), one.app, one.command.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("/mnt/disk/x/a b", App::Loose, "modelctl roots add '/mnt/disk/x/a b'"),
                ("/mnt/disk/x/hub", App::HuggingFace, "modelctl roots add /mnt/disk/x/hub"),
            ]
        );
        assert_eq!(
            found[0].evidence,
            ["one file of 5.0 MiB is named like weights", "a.gguf is gguf, by its header"]
        );
        assert_eq!(found[1].evidence[0], "it has `models--…` folders, as huggingface makes it");
    }
}
