//! A diffusers tree: `model_index.json` at the top makes one model of all the component directories.

use super::{Bundle, Bundler};
use crate::{
    Format, Kind, Role,
    stores::{handle, weights::Group},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::Path,
};

pub(in crate::stores) const INDEX: &str = "model_index.json";

/// Components of these classes have no weights.
const WEIGHTLESS: &[&str] = &["Scheduler", "Tokenizer", "Processor", "Extractor", "Solver"];

/// Components that a pipeline is about: their weights come first. The others serve many pipelines.
const MAIN: &[&str] = &["unet", "transformer", "prior"];

/// Names that diffusers and transformers give to the weights of a component. A variant stands behind: `model.fp16`.
const STEMS: &[&str] = &["diffusion_pytorch_model", "pytorch_model", "openvino_model", "model"];
/// The variant that most people have, where there is no plain one.
const USUAL: &str = "fp16";

/// What a pipeline needs once: a component's weights, in each variant that is there.
struct Component<'d> {
    dir: &'d Path,
    variants: BTreeMap<Option<String>, Group>,
}

impl Component<'_> {
    /// Returns the weights of a variant, or those that are loaded where it is not there.
    fn of(&self, variant: Option<&str>) -> Option<&Group> {
        let find = |variant: Option<&str>| self.variants.get(&variant.map(str::to_owned));
        find(variant)
            .or_else(|| find(None))
            .or_else(|| find(Some(USUAL)))
            .or_else(|| self.variants.values().next())
    }
}

impl Bundler<'_, '_> {
    /// One model for the plain weights, and one for each variant that is there besides.
    pub(super) fn pipeline(&mut self, dirs: &BTreeMap<&Path, BTreeSet<&OsStr>>) {
        let mut shared = Bundle { is_directory: true, ..Bundle::default() };
        let mut parts: Vec<_> = dirs.iter().filter(|(dir, _)| !dir.as_os_str().is_empty()).collect();
        parts.sort_by_key(|(dir, _)| !MAIN.iter().any(|main| dir.starts_with(main)));
        let mut components = Vec::new();
        for (dir, names) in parts {
            let groups = self.groups(dir, names);
            let indexes = super::indexes(names);
            shared.depends.extend(groups.iter().filter_map(|group| self.index_of(dir, &indexes, group)));
            shared.depends.push(self.base.join(dir));
            components.extend(in_directory(dir, groups));
        }
        if components.is_empty() {
            return;
        }
        let path = self.base.join(INDEX);
        let index = self.ask.json(&path).unwrap_or_default();
        shared.missing = missing_component(&index, dirs);
        shared.hints.architecture =
            index.get("_class_name").and_then(Value::as_str).and_then(handle::bounded);
        shared.hints.format = Some(Format::Diffusers);
        shared.hints.kind = Some(Kind::ImagePipeline);
        shared.depends.push(path);
        // One that no plain weights stand beside is what the tree has, and no choice.
        let plain = components.iter().filter(|component| component.variants.contains_key(&None));
        let variants: BTreeSet<&String> =
            plain.flat_map(|component| component.variants.keys().flatten()).collect();
        for variant in [None].into_iter().chain(variants.into_iter().map(|variant| Some(variant.as_str()))) {
            let mut bundle = shared.clone();
            for component in &components {
                let Some(group) = component.of(variant) else { continue };
                bundle.files.extend(group.parts.iter().map(|part| (component.dir.join(part), Role::Weights)));
                bundle.missing = bundle.missing.or_else(|| group.missing.clone());
            }
            bundle.label = variant.unwrap_or_default().into();
            bundle.variant = variant.map(str::to_owned);
            bundle.files.push((INDEX.into(), Role::Config));
            self.bundles.push(bundle);
        }
    }
}

/// Sorts the weights of a directory by what they are and in which variant. The same in another format is left out:
/// it is for another library, and takes no part in the model.
fn in_directory(dir: &Path, groups: Vec<Group>) -> Vec<Component<'_>> {
    let mut found: BTreeMap<String, Component<'_>> = BTreeMap::new();
    for group in groups {
        let stem = group.stem.to_string_lossy().into_owned();
        let known = STEMS.iter().find_map(|known| Some((*known, stem.strip_prefix(known)?)));
        let (name, variant) = match known {
            Some((_, "")) => ("", None),
            Some((_, rest)) if rest.starts_with('.') => ("", rest.get(1..).and_then(handle::bounded)),
            _ => (stem.as_str(), None),
        };
        let component = found.entry(name.to_owned());
        let component = component.or_insert_with(|| Component { dir, variants: BTreeMap::new() });
        let is_worse = component.variants.get(&variant).is_some_and(|other| rank(other) <= rank(&group));
        if !is_worse {
            drop(component.variants.insert(variant, group));
        }
    }
    found.into_values().collect()
}

/// What diffusers takes first.
fn rank(group: &Group) -> usize {
    const ORDER: &[&str] = &["safetensors", "bin", "pt", "onnx", "xml"];
    let extension = group.parts.first().and_then(|part| Path::new(part).extension()?.to_str());
    extension.and_then(|own| ORDER.iter().position(|known| own == *known)).unwrap_or(ORDER.len())
}

fn missing_component(index: &Value, dirs: &BTreeMap<&Path, BTreeSet<&OsStr>>) -> Option<String> {
    let parts = index.as_object()?.iter().filter(|(name, _)| !name.starts_with('_'));
    let mut weighty = parts.filter(|(_, class)| {
        let class = class.get(1).and_then(Value::as_str);
        class.is_some_and(|class| !WEIGHTLESS.iter().any(|kind| class.contains(kind)))
    });
    let has_weights = |name: &str| {
        let names = dirs.get(Path::new(name)).into_iter().flatten();
        names.filter_map(|name| Path::new(name).extension()).any(|extension| extension != "json")
    };
    let (name, _) = weighty.find(|(name, _)| !has_weights(name))?;
    handle::bounded(&format!("missing-sibling: component {name}"))
}
