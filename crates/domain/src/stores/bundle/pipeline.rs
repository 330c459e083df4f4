//! A diffusers tree: `model_index.json` at the top makes one model of all the component directories.

use super::{Bundle, Bundler};
use crate::{Format, Kind, Role, stores::handle};
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

impl Bundler<'_, '_> {
    pub(super) fn pipeline(&mut self, dirs: &BTreeMap<&Path, BTreeSet<&OsStr>>) {
        let mut bundle = Bundle { is_directory: true, ..Bundle::default() };
        let mut parts: Vec<_> = dirs.iter().filter(|(dir, _)| !dir.as_os_str().is_empty()).collect();
        parts.sort_by_key(|(dir, _)| !MAIN.iter().any(|main| dir.starts_with(main)));
        for (dir, names) in parts {
            for group in self.groups(dir, names) {
                bundle.depends.extend(self.index_of(dir, names, &group));
                bundle.files.extend(group.parts.iter().map(|part| (dir.join(part), Role::Weights)));
                bundle.missing = bundle.missing.or(group.missing);
            }
            bundle.depends.push(self.base.join(dir));
        }
        if bundle.files.is_empty() {
            return;
        }
        let path = self.base.join(INDEX);
        let index = self.ask.json(&path).unwrap_or_default();
        bundle.missing = bundle.missing.or_else(|| missing_component(&index, dirs));
        bundle.hints.architecture =
            index.get("_class_name").and_then(Value::as_str).and_then(handle::bounded);
        bundle.hints.format = Some(Format::Diffusers);
        bundle.hints.kind = Some(Kind::ImagePipeline);
        bundle.files.push((INDEX.into(), Role::Config));
        bundle.depends.push(path);
        self.bundles.push(bundle);
    }
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
