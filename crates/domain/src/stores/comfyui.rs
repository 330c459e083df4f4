//! ComfyUI and its desktop app: `models/CATEGORY/…`, and whatever `extra_model_paths.yaml` adds. A file that another
//! app keeps stays that app's; nodes and outputs are not looked at.

use super::{
    Environment, Known, Step, Store, Unit, Visit,
    image::{
        self, Style,
        places::{self, Extra},
    },
    stability_matrix,
    yaml::Yaml,
};
use crate::App;
use serde_json::Value;
use std::path::{Path, PathBuf};

const STYLE: Style = Style { app: App::ComfyUi, top: "", has_extension: true };
const DESKTOP: Style = Style { app: App::ComfyUiDesktop, top: "", has_extension: false };

/// Keys of a section that name no directory of models.
const SETTINGS: &[&str] =
    &["base_path", "is_default", "custom_nodes", "download_model_base", "datasets", "fonts"];
/// The desktop app's own section in its list of paths, and what it was called before.
const OWN: &[&str] = &["comfyui_desktop", "comfyui"];

pub(super) struct ComfyUi;
pub(super) struct ComfyUiDesktop;

impl Store for ComfyUi {
    fn app(&self) -> App {
        App::ComfyUi
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let tops = bases(environment).into_iter().map(|base| base.join("models"));
        super::distinct(tops.chain(extras(environment, false).into_iter().map(|extra| extra.path)))
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        let matrix = stability_matrix::pointers(environment);
        bases(environment).into_iter().map(|base| base.join("extra_model_paths.yaml")).chain(matrix).collect()
    }

    fn place(&self, environment: &Environment, root: &Path) -> PathBuf {
        place(extras(environment, false), root)
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

impl Store for ComfyUiDesktop {
    fn app(&self) -> App {
        App::ComfyUiDesktop
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let tops = desktop_bases(environment).into_iter().map(|base| base.join("models"));
        super::distinct(tops.chain(extras(environment, true).into_iter().map(|extra| extra.path)))
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        ["config.json", "extra_models_config.yaml"]
            .into_iter()
            .filter_map(|name| desktop_file(environment, name))
            .collect()
    }

    fn place(&self, environment: &Environment, root: &Path) -> PathBuf {
        place(extras(environment, true), root)
    }

    fn follows_links(&self) -> bool {
        true
    }

    fn visit(&self, dir: &Path) -> Visit {
        image::visit(dir)
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        image::step(DESKTOP, unit, known)
    }
}

/// Returns where the models of either app lie by themselves.
pub(super) fn tops(environment: &Environment) -> Vec<PathBuf> {
    let bases = desktop_bases(environment).into_iter().chain(bases(environment));
    bases.map(|base| base.join("models")).collect()
}

fn place(extras: Vec<Extra>, root: &Path) -> PathBuf {
    extras.into_iter().find(|extra| extra.path == root).map(|extra| extra.place).unwrap_or_default()
}

fn is_checkout(environment: &Environment, dir: &Path) -> bool {
    environment.has_entry(dir, "main.py")
        && ["comfy", "folder_paths.py"].into_iter().any(|mark| environment.has_entry(dir, mark))
}

/// Returns the checkouts: by what lies in them, by the layout of their models, and where people put one.
fn bases(environment: &Environment) -> Vec<PathBuf> {
    let is_home = |dir: &Path| environment.home.as_deref() == Some(dir);
    let is_layout = |dir: &Path| {
        let models = dir.join("models");
        let has = |category: &str| environment.has_entry(&models, category);
        let others = ["loras", "vae", "diffusion_models", "unet", "controlnet", "text_encoders", "clip"];
        !is_home(dir)
            && environment.has_entry(dir, "models")
            && has("checkpoints")
            && others.into_iter().any(has)
    };
    let places = environment.places.keys();
    let marked = places.filter(|dir| is_checkout(environment, dir) || is_layout(dir)).cloned();
    let usual = environment.in_home("ComfyUI");
    let packages = stability_matrix::packages(environment, App::ComfyUi);
    let desktop = desktop_bases(environment);
    super::distinct(usual.into_iter().chain(marked).chain(packages))
        .into_iter()
        .filter(|base| !desktop.contains(base))
        .collect()
}

fn desktop_file(environment: &Environment, name: &str) -> Option<PathBuf> {
    Some(environment.xdg("XDG_CONFIG_HOME", ".config")?.join("ComfyUI").join(name))
}

/// Returns the base directories of the desktop app: what its settings say, and its usual one.
fn desktop_bases(environment: &Environment) -> Vec<PathBuf> {
    let settings = desktop_file(environment, "config.json");
    let settings = settings.and_then(|path| environment.pointers.get(&path));
    let settings = settings.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let base = settings.and_then(|value| Some(PathBuf::from(value.get("basePath")?.as_str()?)));
    let own = desktop_paths(environment).and_then(|(_, yaml)| {
        OWN.iter().find_map(|section| yaml.get(&format!("{section}.base_path")).map(PathBuf::from))
    });
    let usual = environment.in_home("Documents/ComfyUI").filter(|dir| !is_checkout(environment, dir));
    let bases = base.into_iter().chain(own).filter(|base| base.is_absolute()).chain(usual);
    super::distinct(bases.map(|base| super::lexical(Path::new("/"), &base)))
}

/// The desktop app's list of paths, with the directory it lies in.
fn desktop_paths(environment: &Environment) -> Option<(PathBuf, Yaml)> {
    let path = desktop_file(environment, "extra_models_config.yaml")?;
    Some((path.parent()?.to_path_buf(), Yaml::parse(environment.pointers.get(&path)?)?))
}

/// Returns what the lists of paths add that is no app's own.
fn extras(environment: &Environment, is_desktop: bool) -> Vec<Extra> {
    let lists: Vec<(PathBuf, Yaml)> = if is_desktop {
        desktop_paths(environment).into_iter().collect()
    } else {
        let list = |base: PathBuf| {
            let bytes = environment.pointers.get(&base.join("extra_model_paths.yaml"))?;
            Some((base, Yaml::parse(bytes)?))
        };
        bases(environment).into_iter().filter_map(list).collect()
    };
    let extras = lists.iter().flat_map(|(base, list)| listed(environment, base, list)).collect();
    places::outside(environment, extras)
}

/// A section has a base and, for each category, a path or several, a line each. A category may be new.
fn listed(environment: &Environment, dir: &Path, list: &Yaml) -> Vec<Extra> {
    let mut extras = Vec::new();
    for (key, text) in list.entries() {
        let Some((section, category)) = key.rsplit_once('.').filter(|(_, key)| !SETTINGS.contains(key))
        else {
            continue;
        };
        let base = match list.get(&format!("{section}.base_path")) {
            Some(base) => places::expand(environment, dir, base),
            None => Some(dir.to_path_buf()),
        };
        let Some(base) = base else { continue };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let path = places::expand(environment, &base, line);
            extras.extend(path.map(|path| Extra { path, place: category.into() }));
        }
    }
    extras
}
