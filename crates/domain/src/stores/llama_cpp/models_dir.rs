//! Directories of models for llama.cpp: those that its variables, presets and other programs' settings name, and
//! folders of the home with GGUFs directly in them. A top-level file is a model, and so is a folder.
//! Keys and passwords in those settings are never kept.

use crate::{
    App,
    stores::{
        Entry, EntryKind, Environment, Found, STORES, Unit, Visit,
        ask::Ask,
        bundle::{self, Bundle, Together},
        handle, hf_hub, ini, partial,
        plain::{self, Links},
        weights,
        yaml::Yaml,
    },
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Models lie at the top or one deep; deeper ones llama.cpp does not see, but they are models.
const DEEPEST: usize = 3;

/// Saved settings beyond these are not looked at.
const MOST_SETTINGS: usize = 64;

/// Presets and configurations below XDG_CONFIG_HOME.
const PRESETS: &[&str] = &["llama.cpp/config.ini", "llama.cpp/presets.ini"];
const SWAP: &str = "llama-swap/config.yaml";

/// What KoboldCpp's settings call files. Only these are looked at.
const KOBOLD: &[&str] =
    &["model", "model_param", "mmproj", "draftmodel", "lora", "sdmodel", "sdvae", "sdlora", "whispermodel"];

pub(super) fn roots(environment: &Environment) -> Vec<PathBuf> {
    let named = environment.path("LLAMA_ARG_MODELS_DIR");
    let mut found: BTreeSet<PathBuf> = pointed_at(environment);
    found.extend(folders(environment).map(Path::to_path_buf));
    let others = STORES.iter().filter(|store| store.app() != App::LlamaCpp);
    let others: Vec<PathBuf> = others.flat_map(|store| store.roots(environment)).collect();
    let is_ours = |dir: &Path| {
        let is_above_all = environment.home.as_ref().is_some_and(|home| home.starts_with(dir));
        !is_above_all && dir.parent().is_some() && !others.iter().any(|other| dir.starts_with(other))
    };
    let is_inside = |dir: &Path| dir.ancestors().skip(1).any(|above| found.contains(above) && is_ours(above));
    let found = found.iter().filter(|dir| is_ours(dir) && !is_inside(dir)).cloned();
    named.into_iter().chain(found).collect()
}

pub(super) fn pointers(environment: &Environment) -> Vec<PathBuf> {
    let config = environment.xdg("XDG_CONFIG_HOME", ".config");
    let presets = config.iter().flat_map(|config| PRESETS.iter().map(move |preset| config.join(preset)));
    let named = environment.path("LLAMA_ARG_MODELS_PRESET").into_iter();
    let swap = config.iter().map(|config| config.join(SWAP));
    named.chain(presets).chain(swap).chain(kobold(environment)).collect()
}

fn kobold(environment: &Environment) -> impl Iterator<Item = PathBuf> {
    let is_saved = |entry: &&Entry| {
        let name = entry.name.to_string_lossy();
        entry.kind == EntryKind::File && (name.ends_with(".kcpps") || name.ends_with(".kcppt"))
    };
    let saved = environment.places.iter().flat_map(move |(dir, entries)| {
        entries.iter().filter(is_saved).map(move |entry| dir.join(&entry.name))
    });
    saved.take(MOST_SETTINGS)
}

/// Folders of the home with GGUFs directly in them.
fn folders(environment: &Environment) -> impl Iterator<Item = &Path> {
    let home = environment.home.as_deref();
    let holds = |entries: &[Entry]| {
        entries.iter().any(|entry| {
            let name = &entry.name;
            let is_model = weights::is_gguf(name) && weights::is_candidate(name);
            entry.kind != EntryKind::Dir && is_model && !partial::is_partial(name)
        })
    };
    let below =
        environment.places.iter().filter(move |(dir, _)| home.is_some_and(|home| dir.starts_with(home)));
    below.filter(move |(_, entries)| holds(entries)).map(|(dir, _)| dir.as_path())
}

/// Returns the directories of what the settings name.
fn pointed_at(environment: &Environment) -> BTreeSet<PathBuf> {
    let mut dirs = BTreeSet::new();
    for path in pointers(environment) {
        let Some(content) = environment.pointers.get(&path) else { continue };
        let name = path.to_string_lossy();
        if name.ends_with(".yaml") {
            dirs.extend(Yaml::parse(content).iter().flat_map(commands));
        } else if name.ends_with(".ini") {
            dirs.extend(presets(&String::from_utf8_lossy(content)));
        } else if let Ok(settings) = serde_json::from_slice::<Value>(content) {
            dirs.extend(KOBOLD.iter().filter_map(|key| settings.get(key)).flat_map(kobold_files));
        }
    }
    dirs
}

fn presets(text: &str) -> Vec<PathBuf> {
    let dir_of = |setting: ini::Setting<'_>| match setting.key.trim_start_matches('-') {
        "model" | "m" | "mmproj" | "LLAMA_ARG_MODEL" => dir_of(setting.value),
        "models-dir" | "LLAMA_ARG_MODELS_DIR" => {
            Some(setting.value.into()).filter(|dir: &PathBuf| dir.is_absolute())
        }
        _ => None,
    };
    ini::settings(text).filter_map(dir_of).collect()
}

/// Command lines of llama-swap: what follows `-m`.
fn commands(yaml: &Yaml) -> Vec<PathBuf> {
    let commands = yaml.entries().filter(|(at, _)| at.starts_with("models.") && at.ends_with(".cmd"));
    commands.flat_map(|(_, command)| files_of(command)).collect()
}

fn files_of(command: &str) -> Vec<PathBuf> {
    const FLAGS: &[&str] = &["-m", "--model", "--mmproj", "-md", "--model-draft"];
    let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    let after = words.windows(2).filter_map(|pair| match pair {
        [flag, value] if FLAGS.contains(flag) => Some(*value),
        _ => None,
    });
    let joined = words.iter().filter_map(|word| word.strip_prefix("--model="));
    after.chain(joined).filter_map(dir_of).collect()
}

/// One file, or a list of them.
fn kobold_files(value: &Value) -> Vec<PathBuf> {
    let many = value.as_array().map(Vec::as_slice).unwrap_or_default();
    many.iter().chain([value]).filter_map(Value::as_str).filter_map(dir_of).collect()
}

fn dir_of(file: &str) -> Option<PathBuf> {
    let path = Path::new(file);
    let is_model = path.is_absolute() && path.file_name().is_some_and(weights::is_candidate);
    is_model.then(|| path.parent().map(Path::to_path_buf)).flatten()
}

/// Says how a directory below a root takes part; which kind of root it is shows only in its list.
pub(super) fn visit(dir: &Path) -> Visit {
    let Some(name) = dir.file_name() else { return Visit::Unit };
    let depth = dir.components().count();
    let text = name.to_string_lossy();
    let is_skipped = text.starts_with('.') || text == "rpc" || depth > DEEPEST || partial::is_partial(name);
    match is_skipped {
        true => Visit::Skip,
        false if depth == 1 && hf_hub::is_repository(dir) => Visit::Whole,
        false => Visit::Unit,
    }
}

pub(super) fn found(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let files = plain::files(ask, unit, Links::All);
    let together = if unit.dir.as_os_str().is_empty() { Together::Heap } else { Together::Folder };
    let bundles = bundle::bundles(ask, &unit.path(), together, &files);
    let is_only = bundles.iter().filter(|bundle| !is_imatrix(bundle)).count() == 1;
    bundles.into_iter().map(|bundle| location(unit, bundle, is_only)).collect()
}

/// A by-product beside a model does not make two of it.
fn is_imatrix(bundle: &Bundle) -> bool {
    crate::names::is_imatrix(&bundle.stem)
}

/// `models-dir:NAME` as llama.cpp names it: a top-level file without its extension, a folder with one model.
fn location(unit: &Unit<'_>, bundle: Bundle, is_only: bool) -> Found {
    let dir = handle::of_path(unit.dir);
    let label = handle::of_path(&bundle.label);
    let label = crate::names::display_name(&label);
    let is_folder = !dir.is_empty() && (label.is_empty() || is_only) && !is_imatrix(&bundle);
    let name = if is_folder { dir } else { format!("{dir}/{label}").trim_matches('/').to_owned() };
    Found::of(App::LlamaCpp, handle::fit(format!("models-dir:{name}")), &unit.path(), bundle)
}

#[cfg(test)]
mod tests {
    use super::super::LlamaCpp;
    use super::*;
    use crate::stores::drive::{Tree, environment, files};

    const ROOT: &str = "/home/u/llm";

    #[test]
    fn folders_of_the_home_and_settings_of_others_lead_to_models() {
        let kobold = r#"{"model_param":"/k/a.gguf","hordekey":"secret","lora":["/l/b.gguf","x"],"sdmodel":"http://x/y.gguf"}"#;
        let mut environment = environment(
            &[("LLAMA_ARG_MODELS_DIR", "/named")],
            &[
                ("/home/u/kobold/t.kcpps", kobold),
                (
                    "/home/u/.config/llama.cpp/presets.ini",
                    "[*]\nctx-size = 1\n[a]\nmodel = /p/m.gguf\n[b]\nmodels-dir=/q\n",
                ),
                (
                    "/home/u/.config/llama-swap/config.yaml",
                    "models:\n  t:\n    cmd: llama-server --port ${PORT} -m /s/x.gguf\n",
                ),
            ],
        );
        let mut put = |dir: &str, name: &str| {
            environment.places.insert(dir.into(), vec![Entry { name: name.into(), kind: EntryKind::File }]);
        };
        put("/home/u", "x.gguf");
        put("/home/u/kobold", "t.kcpps");
        put(ROOT, "a.gguf");
        put("/home/u/llm/sub", "b.gguf");
        put("/home/u/models", "c.gguf");
        put("/home/u/Downloads/x", "d.gguf");
        put("/home/u/docs", "incomplete-e.gguf");
        let expected = ["/named", ROOT, "/k", "/l", "/p", "/q", "/s"].map(PathBuf::from);
        assert_eq!(roots(&environment), expected);
    }

    #[test]
    fn a_file_is_a_model_and_a_folder_is_one() {
        let tree = Tree::default()
            .file(format!("{ROOT}/Tiny-Q8_0.gguf"), "")
            .file(format!("{ROOT}/Split/S-F16-00001-of-00002.gguf"), "")
            .file(format!("{ROOT}/Split/S-F16-00002-of-00002.gguf"), "")
            .file(format!("{ROOT}/Vision/model-Q4_K_M.gguf"), "")
            .file(format!("{ROOT}/Vision/mmproj-F16.gguf"), "")
            .file(format!("{ROOT}/lora/x-F32.gguf"), "")
            .file(format!("{ROOT}/lora/imatrix.gguf"), "")
            .file(format!("{ROOT}/two/a.gguf"), "")
            .file(format!("{ROOT}/two/b.gguf"), "")
            .file(format!("{ROOT}/x.gguf.part"), "");
        let found = tree.found(&LlamaCpp, ROOT);
        let ids: Vec<&str> =
            found.iter().map(|found| found.id.strip_prefix("models-dir:").unwrap()).collect();
        assert_eq!(ids, ["Split", "Tiny-Q8_0", "Vision", "lora", "lora/imatrix", "two/a", "two/b"]);
        assert_eq!(files(&found[2]), ["w:model-Q4_K_M.gguf", "+:mmproj-F16.gguf"]);
    }
}
