//! Directories that the settings of image generators name, and which of them are no other app's already.

use crate::{
    App,
    stores::{Environment, STORES, comfyui, lexical, variables, webui},
};
use std::path::{Path, PathBuf};

/// A directory outside an app's own, and where it stands in the app's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stores) struct Extra {
    pub path: PathBuf,
    pub place: PathBuf,
}

/// Returns a path as settings write it: `~`, variables that name places, relative to `base`. None where it names a
/// variable that is not known here.
pub(in crate::stores) fn expand(environment: &Environment, base: &Path, text: &str) -> Option<PathBuf> {
    let mut scope = environment.variables.clone();
    scope.extend(environment.home.as_ref().map(|home| ("HOME".to_owned(), home.into())));
    let path = variables::expand(text.trim(), &scope)?;
    (!path.is_empty() && !path.contains('\0')).then(|| lexical(base, Path::new(&path)))
}

/// Leaves out what lies in a place that an app keeps anyway, and what would take in the whole home.
pub(in crate::stores) fn outside(environment: &Environment, extras: Vec<Extra>) -> Vec<Extra> {
    if extras.is_empty() {
        return extras; // as nearly always: the other stores need not be asked
    }
    /// Those that come here themselves, and those that leave to others what others have.
    const ASKING: &[App] =
        &[App::A1111, App::Forge, App::SdNext, App::ComfyUi, App::ComfyUiDesktop, App::LlamaCpp, App::Loose];
    let others = STORES.iter().filter(|store| !ASKING.contains(&store.app()));
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
