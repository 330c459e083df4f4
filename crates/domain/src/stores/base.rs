//! An app's own folder, by the names of what lies in it, and where in it the models are. Whoever names such a folder
//! means those.

use super::Entry;
use crate::App;

/// All of these names, the app, and the folder of its models.
const BASES: &[(&[&str], App, &str)] = &[
    (&["main.py", "folder_paths.py", "models"], App::ComfyUi, "models"),
    (&["main.py", "comfy", "models"], App::ComfyUi, "models"),
    (&["id_ed25519", "models"], App::Ollama, "models"),
    (&[".internal", "models"], App::LmStudio, "models"),
    (&["Models", "Packages", "settings.json"], App::StabilityMatrix, "Models"),
];

/// Returns the app whose folder has these entries, and where below it its models are.
pub fn models_of(entries: &[Entry]) -> Option<(App, &'static str)> {
    let has = |name: &&str| entries.iter().any(|entry| entry.name == *name);
    BASES.iter().find(|(marks, ..)| marks.iter().all(has)).map(|(_, app, models)| (*app, *models))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::EntryKind;

    #[test]
    fn an_apps_own_folder_is_known_by_what_lies_in_it() {
        let check = |names: &[&str], expected| {
            let entry = |name: &&str| Entry { name: (*name).into(), kind: EntryKind::Dir };
            assert_eq!(models_of(&names.iter().map(entry).collect::<Vec<_>>()), expected, "{names:?}");
        };
        check(&["comfy", "main.py", "models", "output"], Some((App::ComfyUi, "models")));
        check(&["id_ed25519", "id_ed25519.pub", "models", "history"], Some((App::Ollama, "models")));
        check(&["Models", "Packages", "settings.json"], Some((App::StabilityMatrix, "Models")));
        check(&["main.py", "models"], None);
        check(&["models"], None);
    }
}
