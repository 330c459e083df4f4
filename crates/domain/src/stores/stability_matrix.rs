//! Stability Matrix: one library of models by type, to which the packages' own folders are links.
//! A sidecar without its model is nothing yet.

use super::{
    Environment, Known, Step, Store, Unit, Visit,
    image::{self, Style},
};
use crate::App;
use serde_json::Value;
use std::path::{Path, PathBuf};

const STYLE: Style = Style { app: App::StabilityMatrix, top: "", has_extension: false };
/// Marks a library that lies beside the program.
const PORTABLE: &str = ".sm-portable";
/// What the program calls it then.
const DATA: &str = "Data";
/// Programs with such a folder beyond these are not looked into.
const MOST: usize = 64;
const LAYOUT: &[&str] = &["Models", "Packages", "settings.json"];

pub(super) struct StabilityMatrix;

impl Store for StabilityMatrix {
    fn app(&self) -> App {
        App::StabilityMatrix
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let models = |library: PathBuf| {
            let named = settings(environment, &library);
            let named =
                named.and_then(|value| Some(PathBuf::from(value.get("ModelDirectoryOverride")?.as_str()?)));
            named.filter(|path| path.is_absolute()).unwrap_or_else(|| library.join("Models"))
        };
        super::distinct(libraries(environment).into_iter().map(models))
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        pointers(environment)
    }

    fn follows_links(&self) -> bool {
        true
    }

    fn visit(&self, dir: &Path) -> Visit {
        image::visit(dir)
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        image::step(STYLE, unit, known)
    }
}

pub(super) fn pointers(environment: &Environment) -> Vec<PathBuf> {
    let settings = libraries(environment).into_iter().map(|library| library.join("settings.json"));
    let marks = portable(environment).map(|library| library.join(PORTABLE));
    library_file(environment).into_iter().chain(settings).chain(marks).collect()
}

/// Returns the packages that are this app.
pub(super) fn packages(environment: &Environment, app: App) -> Vec<PathBuf> {
    let mut packages = Vec::new();
    for library in libraries(environment) {
        let settings = settings(environment, &library);
        let installed = settings.as_ref().and_then(|value| value.get("InstalledPackages")?.as_array());
        for package in installed.into_iter().flatten() {
            let text = |name: &str| package.get(name).and_then(Value::as_str);
            if text("PackageName").and_then(app_of) == Some(app)
                && let Some(path) = text("LibraryPath")
            {
                packages.push(super::lexical(&library, Path::new(&path.replace('\\', "/"))));
            }
        }
    }
    packages
}

/// What a package is, by the name of its repository.
fn app_of(package: &str) -> Option<App> {
    Some(match package {
        "ComfyUI" => App::ComfyUi,
        "stable-diffusion-webui" => App::A1111,
        "automatic" => App::SdNext,
        _ if package.starts_with("stable-diffusion-webui-") && package.contains("forge") => App::Forge,
        _ if package.starts_with("stable-diffusion-webui-") => App::A1111,
        _ => return None,
    })
}

fn library_file(environment: &Environment) -> Option<PathBuf> {
    Some(environment.xdg("XDG_CONFIG_HOME", ".config")?.join("StabilityMatrix/library.json"))
}

/// Where a library may be: a program two deep in the home has it three deep.
fn portable(environment: &Environment) -> impl Iterator<Item = PathBuf> {
    environment.with_marks(&[DATA]).map(|dir| dir.join(DATA)).take(MOST)
}

fn libraries(environment: &Environment) -> Vec<PathBuf> {
    let named = library_file(environment).and_then(|path| environment.pointers.get(&path));
    let named = named.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let named = named.and_then(|value| Some(PathBuf::from(value.get("LibraryPath")?.as_str()?)));
    let named = named.filter(|path| path.is_absolute()).map(|path| super::lexical(Path::new("/"), &path));
    let marked = environment.with_marks(&[PORTABLE]).chain(environment.with_marks(LAYOUT));
    let portable =
        portable(environment).filter(|library| environment.pointers.contains_key(&library.join(PORTABLE)));
    super::distinct(named.into_iter().chain(marked.map(Path::to_path_buf)).chain(portable))
}

fn settings(environment: &Environment, library: &Path) -> Option<Value> {
    serde_json::from_slice(environment.pointers.get(&library.join("settings.json"))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Kind,
        stores::drive::{Tree, environment, files},
        stores::{Entry, EntryKind},
    };

    #[test]
    fn the_library_is_where_its_file_says_and_models_where_its_settings_say() {
        let library = ("/home/u/.config/StabilityMatrix/library.json", r#"{"LibraryPath": "/data/sm/"}"#);
        let usual = environment(&[], &[library]);
        assert_eq!(StabilityMatrix.roots(&usual), [PathBuf::from("/data/sm/Models")]);
        assert!(StabilityMatrix.pointers(&usual).contains(&"/data/sm/settings.json".into()));
        let settings = r#"{"ModelDirectoryOverride": "/big/models", "InstalledPackages": [
            {"PackageName": "ComfyUI", "LibraryPath": "Packages\\\\Comfy"},
            {"PackageName": "stable-diffusion-webui-forge", "LibraryPath": "Packages/forge"}, 7]}"#;
        let moved = environment(&[], &[library, ("/data/sm/settings.json", settings)]);
        assert_eq!(StabilityMatrix.roots(&moved), [PathBuf::from("/big/models")]);
        assert_eq!(packages(&moved, App::ComfyUi), [PathBuf::from("/data/sm/Packages/Comfy")]);
        assert_eq!(packages(&moved, App::Forge), [PathBuf::from("/data/sm/Packages/forge")]);
        assert!(
            super::super::comfyui::ComfyUi.roots(&moved).contains(&"/data/sm/Packages/Comfy/models".into())
        );
    }

    #[test]
    fn a_library_beside_the_program_is_known_by_its_mark() {
        let mark = ("/home/u/apps/sm/Data/.sm-portable", "");
        let mut environment = environment(&[], &[mark]);
        let data = Entry { name: "Data".into(), kind: EntryKind::Dir };
        for dir in ["/home/u/apps/sm", "/home/u/apps/other"] {
            drop(environment.places.insert(dir.into(), vec![data.clone()]));
        }
        assert!(StabilityMatrix.pointers(&environment).contains(&mark.0.into()));
        assert_eq!(StabilityMatrix.roots(&environment), [PathBuf::from("/home/u/apps/sm/Data/Models")]);
    }

    #[test]
    fn a_sidecar_belongs_to_its_model_and_is_nothing_alone() {
        let root = "/data/sm/Models";
        let info = r#"{"ModelId": 4, "VersionId": 5, "Source": 0}"#;
        let tree = Tree::default()
            .file(format!("{root}/StableDiffusion/a.safetensors"), "")
            .file(format!("{root}/StableDiffusion/a.cm-info.json"), info)
            .file(format!("{root}/StableDiffusion/a.preview.jpeg"), "")
            .file(format!("{root}/Lora/pending.cm-info.json"), info)
            .file(format!("{root}/Lora/Unconfirmed 12.smdownload"), "");
        let found = tree.found(&StabilityMatrix, root);
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((one.id.as_str(), one.hints.placed_as), ("StableDiffusion/a", Some(Kind::Checkpoint)));
        assert_eq!(files(one), ["w:a.safetensors", "s:a.cm-info.json", "s:a.preview.jpeg"]);
        let url = one.source.as_ref().and_then(|source| source.url.as_deref());
        assert_eq!(url, Some("https://civitai.com/models/4?modelVersionId=5"));
    }
}
