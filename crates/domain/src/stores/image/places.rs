//! Directories that the settings of image generators name, and which of them are no other app's already.

use crate::{
    App,
    stores::{Environment, STORES, comfyui, lexical, webui},
};
use std::path::{Path, PathBuf};

/// A directory outside an app's own, and where it stands in the app's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stores) struct Extra {
    pub path: PathBuf,
    pub place: PathBuf,
}

/// Returns a path as settings write it: `~`, `$NAME` and `${NAME}` for variables that name places, relative to
/// `base`. None where it names a variable that is not known here.
pub(in crate::stores) fn expand(environment: &Environment, base: &Path, text: &str) -> Option<PathBuf> {
    let home = || environment.home.as_ref().and_then(|home| home.to_str());
    let variable = |name: &str| match name {
        "HOME" => home(),
        _ => environment.variables.get(name).and_then(|value| value.to_str()),
    };
    let text = text.trim().trim_matches(['"', '\'']);
    let mut path = String::new();
    let mut rest = text;
    if let Some(below) = text.strip_prefix('~').filter(|below| below.is_empty() || below.starts_with('/')) {
        path.push_str(home()?);
        rest = below;
    }
    while let Some((before, after)) = rest.split_once('$') {
        path.push_str(before);
        let (name, after) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}')?,
            None => {
                let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                after.split_at(after.find(|letter| !is_name(letter)).unwrap_or(after.len()))
            }
        };
        path.push_str(variable(name)?);
        rest = after;
    }
    path.push_str(rest);
    (!path.is_empty() && !path.contains('\0')).then(|| lexical(base, Path::new(&path)))
}

/// Leaves out what lies in a place that an app keeps anyway, and what would take in the whole home.
pub(in crate::stores) fn outside(environment: &Environment, extras: Vec<Extra>) -> Vec<Extra> {
    // llama.cpp takes folders that no other app has, so it asks the others, these too, and is not asked.
    const NOT_ASKED: &[App] =
        &[App::A1111, App::Forge, App::SdNext, App::ComfyUi, App::ComfyUiDesktop, App::LlamaCpp, App::Loose];
    let others = STORES.iter().filter(|store| !NOT_ASKED.contains(&store.app()));
    let kept = others.flat_map(|store| store.roots(environment));
    let kept: Vec<PathBuf> =
        kept.chain(webui::checkouts(environment)).chain(comfyui::tops(environment)).collect();
    let is_wide = |path: &Path| match &environment.home {
        Some(home) => home.starts_with(path),
        None => path.parent().is_none(),
    };
    let mut outside: Vec<Extra> = Vec::new();
    for extra in extras {
        let is_kept = kept.iter().any(|top| extra.path.starts_with(top));
        if !is_kept && !is_wide(&extra.path) && !outside.iter().any(|other| other.path == extra.path) {
            outside.push(extra);
        }
    }
    outside
}
