//! Models that are graphs: what belongs to one of ONNX or OpenVINO beside its own file, and what those of one repository
//! are called. Their quantisation is in their own files, never in the configuration beside them.

use super::{Bundle, Bundler};
use crate::{
    Format, Role, missing_parts,
    stores::{
        EntryKind, Hints, handle,
        weights::{self, Group, Shape},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// What exporters call the one graph of a model.
const PLAIN: &[&str] = &["model", "openvino_model"];
/// Graphs that are loaded together (optimum, transformers.js); the longer names before their beginnings.
const COMPONENTS: &[&str] = &[
    "encoder_model",
    "decoder_model_merged",
    "decoder_with_past_model",
    "decoder_model",
    "embed_tokens",
    "vision_encoder",
    "audio_encoder",
];

impl Bundler<'_, '_> {
    /// Adds to each graph the files that it keeps data in, and joins those that are parts of one model.
    pub(super) fn with_data(
        &mut self,
        dir: &Path,
        names: &BTreeSet<&OsStr>,
        groups: Vec<Group>,
    ) -> Vec<Group> {
        let mut data = BTreeSet::new();
        let mut kept = Vec::new();
        for mut group in groups {
            if group.shape != Shape::Graph || self.add_data(dir, names, &mut group, &mut data) {
                kept.push(group);
            }
        }
        kept.retain(|group| {
            group.shape == Shape::Graph || !group.parts.iter().all(|part| data.contains(part))
        });
        join(kept)
    }

    /// Returns false for a file that is no graph after all.
    fn add_data(
        &mut self,
        dir: &Path,
        names: &BTreeSet<&OsStr>,
        group: &mut Group,
        data: &mut BTreeSet<OsString>,
    ) -> bool {
        let Some(lead) = group.parts.first().cloned() else { return true };
        let is =
            |wanted: &str| Path::new(&lead).extension().is_some_and(|own| own.eq_ignore_ascii_case(wanted));
        if !is("onnx") && !is("xml") {
            return true;
        }
        let base = self.base.join(dir);
        let Some(parts) = self.ask.parts(&base.join(&lead)) else {
            // A network that is damaged is still the one its weights belong to.
            let weights = Path::new(&lead).with_extension("bin").into_os_string();
            if weights::is_openvino(&lead) && names.contains(weights.as_os_str()) {
                data.insert(weights.clone());
                group.parts.push(weights);
            }
            return !is("xml") || weights::is_openvino(&lead);
        };
        let mut sizes = BTreeMap::new();
        for part in parts {
            let stat = self.ask.stat(&base.join(&part.name));
            let size = stat.filter(|stat| stat.kind == EntryKind::File).map(|stat| stat.size);
            let name = OsString::from(part.name.strip_prefix("./").unwrap_or(&part.name));
            if name != lead && (size.is_some() || names.contains(name.as_os_str())) {
                data.insert(name.clone());
                group.parts.push(name);
            }
            sizes.insert(part.name.as_str(), size);
        }
        let missing = missing_parts(parts, |name| sizes.get(name).copied().flatten());
        group.missing = group.missing.take().or(missing);
        true
    }

    /// Says of a repository's graphs what its configuration says; it stands above their directories.
    pub(super) fn describe_graphs(&mut self, dirs: &BTreeMap<&Path, BTreeSet<&OsStr>>) {
        let is_bare =
            |bundle: &Bundle| bundle.is_graph && !bundle.files.iter().any(|(_, role)| *role == Role::Config);
        if !self.bundles.iter().any(is_bare) {
            return;
        }
        let top = dirs.get(Path::new("")).cloned().unwrap_or_default();
        let Some((path, hints)) = self.config(Path::new(""), &top) else { return };
        let absolute = self.base.join(&path);
        for bundle in self.bundles.iter_mut().filter(|bundle| is_bare(bundle)) {
            bundle.hints = fitting(&hints, bundle);
            bundle.files.push((path.clone(), Role::Config));
            bundle.depends.push(absolute.clone());
        }
    }
}

/// Returns what a configuration says that holds of a graph too; of other bundles, all of it.
pub(super) fn fitting(hints: &Hints, bundle: &Bundle) -> Hints {
    if !bundle.is_graph {
        return hints.clone();
    }
    let format = bundle.weights().next().and_then(|lead| match lead.extension()?.to_str()? {
        "onnx" => Some(Format::Onnx),
        "xml" => Some(Format::OpenVino),
        _ => None,
    });
    Hints {
        // Bytes say what a single file is; that others only hold data has to be said.
        format: bundle.hints.format.or_else(|| format.filter(|_| bundle.weights().nth(1).is_some())),
        kind: hints.kind.or(bundle.hints.kind),
        quant: None,
        ..hints.clone()
    }
}

/// Returns the graph that a directory is about.
pub(super) fn whole(groups: &[Group], has_config: bool) -> Option<usize> {
    let is_graph = |group: &&Group| group.shape == Shape::Graph;
    let is_plain =
        |group: &Group| group.shape == Shape::Graph && PLAIN.iter().any(|plain| group.stem == *plain);
    let is_only = has_config && groups.len() == 1 && groups.iter().filter(is_graph).count() == 1;
    groups.iter().position(is_plain).or(is_only.then_some(0))
}

/// Names the graphs of a repository that has nothing else: the plain one is the repository's model, and those beside
/// it are its variants.
pub(super) fn name(bundles: &mut [Bundle]) {
    if !bundles.iter().all(|bundle| bundle.is_graph) {
        return;
    }
    if let [only] = bundles {
        (only.label, only.is_directory) = (PathBuf::new(), true);
        return;
    }
    let is_plain = |bundle: &Bundle| PLAIN.contains(&bundle.stem.as_str());
    let plain: Vec<usize> = (0..bundles.len()).filter(|at| bundles.get(*at).is_some_and(is_plain)).collect();
    let &[plain] = plain.as_slice() else { return };
    let Some(whole) = bundles.get_mut(plain) else { return };
    let (stem, dir) = (whole.stem.clone(), whole.label.parent().map(Path::to_path_buf));
    (whole.label, whole.is_directory) = (PathBuf::new(), true);
    let extension = |bundle: &Bundle| bundle.weights().next().and_then(Path::extension).map(OsStr::to_owned);
    let format = bundles.get(plain).and_then(extension);
    for bundle in bundles.iter_mut().filter(|bundle| !bundle.is_directory) {
        let rest = bundle.stem.strip_prefix(&stem).and_then(|rest| rest.strip_prefix(['_', '-', '.']));
        let variant = rest.and_then(handle::bounded).filter(|variant| !variant.contains('/'));
        let is_beside = bundle.label.parent().map(Path::to_path_buf) == dir && extension(bundle) == format;
        if let Some(variant) = variant.filter(|_| is_beside) {
            bundle.label = PathBuf::from(&variant);
            bundle.is_directory = true;
            bundle.variant = Some(variant);
        }
    }
}

/// Joins the graphs of a directory that are loaded together.
fn join(groups: Vec<Group>) -> Vec<Group> {
    let has_plain = groups
        .iter()
        .any(|group| group.shape == Shape::Graph && PLAIN.iter().any(|plain| group.stem == *plain));
    let mut whole: BTreeMap<String, Vec<Group>> = BTreeMap::new();
    let mut others = Vec::new();
    for group in groups {
        match component(&group).filter(|_| !has_plain) {
            Some(stem) => whole.entry(stem).or_default().push(group),
            None => others.push(group),
        }
    }
    for (stem, mut parts) in whole {
        if parts.len() == 1 {
            others.append(&mut parts);
            continue;
        }
        let missing = parts.iter_mut().find_map(|group| group.missing.take());
        let parts = parts.into_iter().flat_map(|group| group.parts).collect();
        others.push(Group { shape: Shape::Graph, stem: stem.into(), parts, missing });
    }
    others
}

/// Returns what the model is called that a graph is a component of.
fn component(group: &Group) -> Option<String> {
    let lead = group.parts.first().filter(|_| group.shape == Shape::Graph)?;
    let stem = group.stem.to_str()?;
    if weights::is_openvino(lead) {
        return stem.strip_prefix("openvino_")?.strip_suffix("_model").map(|_| "openvino_model".to_owned());
    }
    if !Path::new(lead).extension()?.eq_ignore_ascii_case("onnx") {
        return None;
    }
    let variant = COMPONENTS.iter().find_map(|component| stem.strip_prefix(component))?;
    (variant.is_empty() || variant.starts_with('_')).then(|| format!("model{variant}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(stem: &str, extension: &str) -> Group {
        let parts = vec![format!("{stem}.{extension}").into()];
        Group { shape: Shape::Graph, stem: stem.into(), parts, missing: None }
    }

    fn joined(stems: &[&str], extension: &str) -> Vec<(String, usize)> {
        let groups = join(stems.iter().map(|stem| group(stem, extension)).collect());
        groups.iter().map(|group| (group.stem.to_str().unwrap().to_owned(), group.parts.len())).collect()
    }

    #[test]
    fn graphs_that_are_loaded_together_are_one_model_in_each_variant() {
        let whisper =
            ["decoder_model_merged", "decoder_model_merged_q4", "encoder_model", "encoder_model_q4"];
        assert_eq!(joined(&whisper, "onnx"), [("model".to_owned(), 2), ("model_q4".to_owned(), 2)]);
        let vision =
            ["openvino_language_model", "openvino_text_embeddings_model", "openvino_vision_embeddings_model"];
        assert_eq!(joined(&vision, "xml"), [("openvino_model".to_owned(), 3)]);
        let variants = ["model", "model_fp16", "encoder_model"];
        assert_eq!(joined(&variants, "onnx").len(), 3, "a plain one is whole");
        assert_eq!(joined(&["encoder_model"], "onnx"), [("encoder_model".to_owned(), 1)]);
    }

    #[test]
    fn the_plain_graph_is_the_repository_and_others_are_variants() {
        let bundle = |label: &str| Bundle {
            label: label.into(),
            is_graph: true,
            stem: Path::new(label).file_stem().unwrap().to_str().unwrap().to_owned(),
            files: vec![(label.into(), Role::Weights)],
            ..Bundle::default()
        };
        let named = |labels: &[&str]| {
            let mut bundles: Vec<Bundle> = labels.iter().map(|label| bundle(label)).collect();
            name(&mut bundles);
            bundles.into_iter().map(|bundle| bundle.label.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            named(&["onnx/model.onnx", "onnx/model_quantized.onnx", "x.tflite"]),
            ["", "quantized", "x.tflite"]
        );
        assert_eq!(named(&["onnx/model_quantized.onnx"]), [""]);
        assert_eq!(named(&["a/model.onnx", "b/model.onnx"]), ["a/model.onnx", "b/model.onnx"]);
    }
}
