//! How an app removes a copy: a command only where it removes that copy alone, and frees it.

use super::Holder;
use crate::{App, Link, engines::shell_line};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// What goes with one command of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// What it holds under one handle.
    Handle,
    /// A repository, in all revisions.
    Repository,
}

/// Commands of apps that remove what the app holds.
const REMOVERS: &[(App, Reach, &[&str])] = &[
    (App::HuggingFace, Reach::Repository, &["hf", "cache", "rm"]),
    (App::Ollama, Reach::Handle, &["ollama", "rm"]),
    (App::RamaLama, Reach::Handle, &["ramalama", "rm"]),
    (App::DockerModelRunner, Reach::Handle, &["docker", "model", "rm"]),
];

/// Apps that keep records of their files and have no command to remove one.
const INSIDE: &[App] =
    &[App::LmStudio, App::Jan, App::Gpt4All, App::Msty, App::AnythingLlm, App::InvokeAi, App::LocalAi];

/// Names that are told of many.
const TOLD: usize = 3;

/// Returns what an app's command removes; None where it has none.
pub fn reach(app: App) -> Option<Reach> {
    REMOVERS.iter().find(|(known, ..)| *known == app).map(|(_, reach, _)| *reach)
}

/// The app's own way to remove what it holds, for its records and its files belong together; else why it is none.
pub(super) fn way(
    holder: &Holder,
    held: &[&Holder],
    is_held_elsewhere: bool,
) -> (Option<String>, Option<String>) {
    let Some(command) = command(holder.app, &holder.handle, holder.repo.as_deref()) else {
        return (INSIDE.contains(&holder.app).then(|| format!("in {} itself", holder.app)), None);
    };
    let mut keepers: Vec<String> = keepers(holder, held).into_iter().collect();
    keepers.extend(is_held_elsewhere.then(|| "a hard link elsewhere".to_owned()));
    let beside: BTreeSet<&str> = holder.beside.iter().map(|path| file_name(path.text())).collect();
    let beside: Vec<String> = beside.into_iter().map(str::to_owned).collect();
    let notes = [
        some(&keepers).map(|names| format!("`{command}` does not free it: also held by {names}")),
        some(&beside).map(|names| format!("`{command}` removes more: {names}")),
    ];
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    if notes.is_empty() { (Some(command), None) } else { (None, Some(notes.join("; "))) }
}

pub(super) fn command(app: App, handle: &str, repo: Option<&str>) -> Option<String> {
    let (_, reach, words) = REMOVERS.iter().find(|(known, ..)| *known == app)?;
    let last = match reach {
        Reach::Handle => handle.to_owned(),
        Reach::Repository => format!("model/{}", repo?),
    };
    let words: Vec<_> = words.iter().copied().chain([last.as_str()]).map(Into::into).collect();
    Some(shell_line(&BTreeMap::new(), &words))
}

/// What keeps the bytes when the app has removed its copy. A symlink of somebody else keeps nothing.
fn keepers(holder: &Holder, held: &[&Holder]) -> BTreeSet<String> {
    let inode = |holder: &Holder| (holder.on_disk.volume.clone(), holder.on_disk.inode);
    let goes_too = |other: &Holder| {
        other.app == holder.app
            && match reach(holder.app) {
                Some(Reach::Repository) => other.repo == holder.repo,
                Some(Reach::Handle) | None => other.handle == holder.handle,
            }
    };
    let keeps = |other: &&&Holder| {
        inode(other) == inode(holder)
            && !goes_too(other)
            && (other.app == holder.app || other.file.link != Some(Link::Symlink))
    };
    let name = |other: &&Holder| {
        if other.app == holder.app { other.handle.clone() } else { other.file.path.text().to_owned() }
    };
    held.iter().filter(keeps).map(name).collect()
}

fn some(names: &[String]) -> Option<String> {
    let told = names.get(..TOLD).unwrap_or(names).join(", ");
    match names.len() {
        0 => None,
        count if count > TOLD => Some(format!("{told} and {} more", count - TOLD)),
        _ => Some(told),
    }
}

fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}
