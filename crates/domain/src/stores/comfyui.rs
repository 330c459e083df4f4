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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Kind, SourceKind,
        stores::{
            Entry, EntryKind,
            drive::{Tree, environment, files},
        },
    };

    const ROOT: &str = "/home/u/ComfyUI/models";

    fn with(environment: &mut Environment, dir: &str, names: &[&str]) {
        let entry = |name: &&str| Entry { name: (*name).into(), kind: EntryKind::Dir };
        environment.places.insert(dir.into(), names.iter().map(entry).collect());
    }

    #[test]
    fn checkouts_are_known_by_what_lies_in_them() {
        let mut environment = environment(&[], &[]);
        with(&mut environment, "/home/u/ai/comfy-git", &["main.py", "comfy", "custom_nodes"]);
        with(&mut environment, "/home/u/apps/ui", &["models"]);
        with(&mut environment, "/home/u/apps/ui/models", &["checkpoints", "loras"]);
        with(&mut environment, "/home/u/code", &["main.py", "models"]);
        with(&mut environment, "/home/u/models", &["checkpoints", "loras"]);
        let roots = ["/home/u/ComfyUI/models", "/home/u/ai/comfy-git/models", "/home/u/apps/ui/models"];
        assert_eq!(ComfyUi.roots(&environment), roots.map(PathBuf::from));
        assert_eq!(ComfyUiDesktop.roots(&environment), [PathBuf::from("/home/u/Documents/ComfyUI/models")]);
    }

    #[test]
    fn lists_of_paths_add_directories_with_their_category() {
        let list = [
            "a111: {base_path: ~/webui/, checkpoints: models/Stable-diffusion}",
            "big:",
            "  base_path: $HOME/../../mnt/big",
            "  is_default: true",
            "  loras: |",
            "    my loras",
            "    /data/styles",
            "  vae: ../vae",
            "  odd_nodes: odd",
            "  custom_nodes: nodes",
            "lost: {base_path: $NOWHERE/x, vae: v}",
            "here: {clip: near/clip}",
            "wide: {clip: /home}",
        ];
        let list = list.join("\n");
        let path = "/home/u/ComfyUI/extra_model_paths.yaml";
        let mut environment = environment(&[], &[(path, &list)]);
        with(&mut environment, "/home/u/webui", &["webui.sh", "models"]);
        with(&mut environment, "/home/u/webui/models", &["Stable-diffusion"]);
        assert!(ComfyUi.pointers(&environment).contains(&path.into()));
        let roots = ComfyUi.roots(&environment);
        let places: Vec<_> =
            roots.iter().map(|root| (root.to_str().unwrap(), ComfyUi.place(&environment, root))).collect();
        let expected = [
            (ROOT, ""),
            ("/mnt/big/my loras", "loras"),
            ("/data/styles", "loras"),
            ("/mnt/vae", "vae"),
            ("/mnt/big/odd", "odd_nodes"),
            ("/home/u/ComfyUI/near/clip", "clip"),
        ];
        assert_eq!(places, expected.map(|(root, place)| (root, PathBuf::from(place))));
    }

    #[test]
    fn the_desktop_app_is_where_its_settings_say() {
        let settings = ("/home/u/.config/ComfyUI/config.json", r#"{"basePath": "/data/comfy"}"#);
        let list = "comfyui_desktop:\n  base_path: /data/comfy\n  download_model_base: models\nold:\n  base_path:             /data/old\n  checkpoints: models/checkpoints/\n";
        let list = ("/home/u/.config/ComfyUI/extra_models_config.yaml", list);
        let mut environment = environment(&[], &[settings, list]);
        with(&mut environment, "/home/u/Documents/ComfyUI", &["main.py", "folder_paths.py"]);
        let roots = ["/data/comfy/models", "/data/old/models/checkpoints"];
        assert_eq!(ComfyUiDesktop.roots(&environment), roots.map(PathBuf::from));
        assert!(ComfyUi.roots(&environment).contains(&"/home/u/Documents/ComfyUI/models".into()));
    }

    #[test]
    fn a_file_is_a_model_by_its_category() {
        let info = r#"{"id": 5, "modelId": 4, "model": {"type": "LORA"}}"#;
        let tree = Tree::default()
            .file(format!("{ROOT}/checkpoints/put_checkpoints_here"), "")
            .file(format!("{ROOT}/checkpoints/sub/a.ckpt"), "")
            .file(format!("{ROOT}/checkpoints/Unconfirmed b.safetensors.tmp"), "")
            .file(format!("{ROOT}/loras/.cache/x.safetensors"), "")
            .file("/sd/Lora/style.safetensors", "")
            .file(format!("{ROOT}/loras/style.metadata.json"), format!(r#"{{"civitai": {info}}}"#))
            .link(&format!("{ROOT}/loras/style.safetensors"), "/sd/Lora/style.safetensors")
            .link(&format!("{ROOT}/loras/gone.safetensors"), "/sd/gone.safetensors")
            .file(format!("{ROOT}/configs/v1.yaml"), "")
            .file(format!("{ROOT}/my_nodes/x.onnx"), "");
        let found = tree.found(&ComfyUi, ROOT);
        let seen: Vec<_> = found.iter().map(|found| (found.id.as_str(), found.hints.placed_as)).collect();
        let expected = [
            ("checkpoints/sub/a.ckpt", Some(Kind::Checkpoint)),
            ("loras/style", Some(Kind::Lora)),
            ("my_nodes/x.onnx", None),
        ];
        assert_eq!(seen, expected);
        assert_eq!(files(&found[1]), ["w:style.safetensors", "s:style.metadata.json"]);
        let source = found[1].source.as_ref().unwrap();
        assert_eq!((source.kind, source.repo.as_deref()), (Some(SourceKind::Civitai), Some("4")));
        assert_eq!(found[1].revision.as_deref(), Some("5"));
    }

    #[test]
    fn a_directory_elsewhere_stands_where_it_is_named() {
        let tree = Tree::default().file("/data/styles/pack/x.safetensors", "");
        let found = tree.found_at(&ComfyUi, "/data/styles", "loras");
        assert_eq!(found[0].id, "loras/pack/x.safetensors");
        assert_eq!(found[0].hints.placed_as, Some(Kind::Lora));
    }

    #[test]
    fn a_folder_from_the_hub_goes_by_its_file_where_files_are_loaded() {
        let mut tree = Tree::default();
        for dir in ["controlnet/union", "LLM/caption"] {
            tree = tree
                .file(format!("{ROOT}/{dir}/diffusion_pytorch_model.safetensors"), "")
                .file(format!("{ROOT}/{dir}/config.json"), r#"{"_class_name": "ControlNetModel"}"#);
        }
        let found = tree.found(&ComfyUi, ROOT);
        let seen: Vec<_> = found.iter().map(|found| (found.id.as_str(), found.name.as_deref())).collect();
        let file = "controlnet/union/diffusion_pytorch_model.safetensors";
        assert_eq!(seen, [("LLM/caption", Some("caption")), (file, Some("union"))]);
    }

    #[test]
    fn a_pipeline_is_one_model_and_its_components_none() {
        let dir = format!("{ROOT}/diffusers/pipe");
        let tree = Tree::default()
            .file(format!("{dir}/model_index.json"), r#"{"_class_name": "FluxPipeline"}"#)
            .file(format!("{dir}/vae/diffusion_pytorch_model.safetensors"), "")
            .file(format!("{dir}/text_encoder/pytorch_model.bin"), "");
        let found = tree.found(&ComfyUi, ROOT);
        let [pipe] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (pipe.id.as_str(), pipe.name.as_deref(), pipe.hints.kind),
            ("diffusers/pipe", Some("pipe"), Some(Kind::ImagePipeline))
        );
    }

    #[test]
    fn ten_thousand_files_with_sidecars_are_no_trouble() {
        let add = |tree: Tree, no| {
            let stem = format!("{ROOT}/loras/m{no}");
            tree.file(format!("{stem}.safetensors"), "").file(format!("{stem}.civitai.info"), "{}")
        };
        let tree = (0..10_000).fold(Tree::default(), add);
        assert_eq!(tree.found(&ComfyUi, ROOT).len(), 10_000);
    }
}
