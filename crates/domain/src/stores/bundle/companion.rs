//! Which models a vision projector (`mmproj`) or a draft model beside them serves.

use super::{Bundler, Together};
use crate::Role;
use std::collections::BTreeSet;

/// A directory with more of them is a collection; each costs a look at every model.
const MOST: usize = 16;

/// Gives each companion to the models it serves; one that serves none stands for itself.
pub(super) fn attach(bundler: &mut Bundler<'_, '_>) {
    let names: Vec<Option<BTreeSet<String>>> =
        bundler.bundles.iter().map(|bundle| bundle.is_gguf().then(|| words(&bundle.stem))).collect();
    let models = names.iter().flatten().count();
    for (at, companion) in std::mem::take(&mut bundler.companions).into_iter().enumerate() {
        let wanted = words(&companion.stem);
        let serves = |name: &BTreeSet<String>| {
            bundler.together == Together::Repository
                || (models == 1 && bundler.together == Together::Folder)
                || (!wanted.is_empty() && wanted.is_subset(name))
        };
        let mut is_alone = true;
        for (name, bundle) in names.iter().zip(&mut bundler.bundles).filter(|_| at < MOST) {
            if name.as_ref().is_some_and(serves) {
                is_alone = false;
                bundle.files.extend(companion.weights().map(|path| (path.to_path_buf(), Role::Companion)));
            }
        }
        if is_alone {
            bundler.bundles.push(companion);
        }
    }
}

/// Returns the words of a name that tell models apart.
fn words(stem: &str) -> BTreeSet<String> {
    let words = stem.split(|letter: char| !letter.is_alphanumeric()).map(str::to_lowercase);
    let generic = [
        "", "mmproj", "f16", "f32", "bf16", "fp16", "q8", "0", "model", "gguf", "vision", "clip", "mtp",
        "eagle3", "dflash", "dspark",
    ];
    words.filter(|word| !generic.contains(&word.as_str())).collect()
}
