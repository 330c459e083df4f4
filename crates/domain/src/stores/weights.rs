//! Which names in one directory may be weights, and which of them are parts of one model. Names only.

use super::package;
use crate::names;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Weight files of one directory that make one model.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub shape: Shape,
    /// Without number and extension.
    pub stem: OsString,
    /// In order of their numbers; never empty.
    pub parts: Vec<OsString>,
    pub missing: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One GGUF, split or not.
    Gguf,
    /// A GGUF that belongs to another one: a vision projector, a draft model.
    Companion,
    /// Numbered safetensors, or those that an index names.
    Shards,
    Single,
    /// A graph of operations, which may keep its weights in files beside it: ONNX, OpenVINO and the like.
    Graph,
}

/// Returns whether a name may be that of weights; their first bytes decide.
pub(super) fn is_candidate(name: &OsStr) -> bool {
    let is_named = names::may_be_model(&name.to_string_lossy()) && !is_leftover(name);
    (is_named && !is_vocabulary(name)) || is_openvino(name) || name == package::COMPILED
}

/// llama.cpp's own tests have tokenizers without a model.
fn is_vocabulary(name: &OsStr) -> bool {
    is_gguf(name) && name.as_bytes().starts_with(b"ggml-vocab-")
}

/// What a training leaves beside its weights: its state, and how it was called.
fn is_leftover(name: &OsStr) -> bool {
    const LEFTOVERS: &[&str] = &["training_args", "optimizer", "scheduler", "scaler"];
    const STARTS: &[&str] = &["rng_state", "random_states"];
    let stem = Path::new(name).file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let is_model = is_gguf(name) || is_graph(name);
    let is_named = || LEFTOVERS.contains(&stem) || STARTS.iter().any(|start| stem.starts_with(start));
    // DeepSpeed's, one for each card
    !is_model && (is_named() || stem.ends_with("optim_states"))
}

/// Returns whether any of these may be a model.
pub(super) fn any(files: &[PathBuf]) -> bool {
    let names: BTreeSet<&Path> = files.iter().map(PathBuf::as_path).collect();
    files.iter().any(|file| {
        file.file_name().is_some_and(is_candidate)
            || (is_xml(file) && names.contains(file.with_extension("bin").as_path()))
    })
}

/// Whether a name is one that OpenVINO's tools give to a network; any other XML is one by its content alone.
pub(super) fn is_openvino(name: &OsStr) -> bool {
    is_xml(Path::new(name)) && name.as_bytes().starts_with(b"openvino_") && !is_tokenizer(name)
}

fn is_xml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xml"))
}

/// Tokenizers are networks of OpenVINO's too, and no models.
fn is_tokenizer(name: &OsStr) -> bool {
    matches!(
        Path::new(name).file_stem().and_then(OsStr::to_str),
        Some("openvino_tokenizer" | "openvino_detokenizer")
    )
}

fn is_graph(name: &OsStr) -> bool {
    const GRAPHS: &[&str] = &["onnx", "tflite", "mlmodel", "engine", "plan", "trt", "xml"];
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| GRAPHS.iter().any(|graph| extension.eq_ignore_ascii_case(graph)))
}

pub(super) fn is_gguf(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// Groups a directory's names. `indexes` has, for each `STEM.safetensors.index.json`, the files it names.
pub(super) fn groups(names: &BTreeSet<&OsStr>, indexes: &BTreeMap<String, BTreeSet<String>>) -> Vec<Group> {
    let mut taken = BTreeSet::new();
    let mut groups: Vec<Group> = Vec::new();
    for (stem, files) in indexes {
        let (parts, absent): (Vec<&str>, Vec<&str>) =
            files.iter().map(String::as_str).partition(|file| names.contains(OsStr::new(file)));
        taken.extend(parts.iter().map(|part| OsStr::new(*part)));
        groups.extend(indexed(stem, &parts, &absent));
    }
    let mut numbered: BTreeMap<(Stem, OsString), BTreeMap<u32, &OsStr>> = BTreeMap::new();
    let is_wanted = |name: &OsStr| {
        let has_data = || names.contains(Path::new(name).with_extension("bin").as_os_str());
        is_candidate(name) || (is_xml(Path::new(name)) && has_data())
    };
    for name in
        names.iter().copied().filter(|name| !taken.contains(name) && !is_tokenizer(name) && is_wanted(name))
    {
        match Stem::of(name) {
            Some((stem, no)) => {
                let extension = Path::new(name).extension().unwrap_or_default().to_owned();
                numbered.entry((stem, extension)).or_default().insert(no, name);
            }
            None => groups.push(single(name)),
        }
    }
    join_consolidated(&mut groups);
    groups.extend(numbered.into_iter().map(|((stem, extension), parts)| split(stem, &extension, &parts)));
    groups
}

fn indexed(stem: &str, parts: &[&str], absent: &[&str]) -> Option<Group> {
    let missing = absent.first().map(|first| report(absent.len(), parts.len() + absent.len(), first));
    let held = parts.iter().map(OsString::from).collect();
    (!parts.is_empty()).then(|| Group { shape: Shape::Shards, stem: stem.into(), parts: held, missing })
}

/// Meta's `consolidated.00.pth`, a file for each card that it was trained for: how many there are stands nowhere.
fn join_consolidated(groups: &mut Vec<Group>) {
    const STEM: &str = "consolidated";
    let number = |group: &Group| -> Option<usize> {
        let digits = group.stem.to_str()?.strip_prefix(STEM)?.strip_prefix('.')?;
        (digits.len() == 2).then(|| digits.parse().ok())?
    };
    let numbers: BTreeSet<usize> = groups.iter().filter_map(number).collect();
    let (Some(last), true) = (numbers.last(), numbers.contains(&0) || numbers.len() > 1) else { return };
    let first = (0..=*last).find(|no| !numbers.contains(no));
    let count = last + 1;
    let missing = first.map(|first| report(count - numbers.len(), count, &format!("{STEM}.{first:02}")));
    let (parts, others): (Vec<Group>, Vec<Group>) =
        std::mem::take(groups).into_iter().partition(|group| number(group).is_some());
    let parts = parts.into_iter().flat_map(|group| group.parts).collect();
    *groups = others;
    groups.push(Group { shape: Shape::Shards, stem: STEM.into(), parts, missing });
}

fn single(name: &OsStr) -> Group {
    let stem = Path::new(name).file_stem().unwrap_or(name).to_owned();
    Group { shape: shape(name, Shape::Single), stem, parts: vec![name.to_owned()], missing: None }
}

fn split(stem: Stem, extension: &OsStr, parts: &BTreeMap<u32, &OsStr>) -> Group {
    let count = stem.count as usize;
    let missing = (parts.len() < count).then(|| {
        let first = (1..).find(|no| !parts.contains_key(no)).unwrap_or(1);
        let (name, extension) = (stem.text.to_string_lossy(), extension.to_string_lossy());
        report(count - parts.len(), count, &format!("{name}-{first:05}-of-{count:05}.{extension}"))
    });
    let any = parts.values().next().copied().unwrap_or_default();
    let shape = shape(any, Shape::Shards);
    Group { shape, stem: stem.text, parts: parts.values().map(OsString::from).collect(), missing }
}

fn shape(name: &OsStr, otherwise: Shape) -> Shape {
    let text = name.to_string_lossy();
    match is_gguf(name) {
        true if names::is_projector(&text) || names::is_draft(&text) => Shape::Companion,
        true => Shape::Gguf,
        false if is_graph(name) => Shape::Graph,
        false => otherwise,
    }
}

fn report(missing: usize, of: usize, first: &str) -> String {
    let more = if missing > 1 { format!(" and {} more", missing - 1) } else { String::new() };
    let first: String = first.chars().take(200).collect();
    format!("missing-sibling: {missing} of {of} missing: {first}{more}")
}

/// What comes before `-00002-of-00003.gguf`, in the bytes it has.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Stem {
    text: OsString,
    count: u32,
}

impl Stem {
    fn of(name: &OsStr) -> Option<(Self, u32)> {
        let split = names::split_of(&name.to_string_lossy())?;
        let stem = Path::new(name).file_stem()?.as_bytes();
        let text = stem.get(..stem.len().checked_sub("-00002-of-00003".len())?)?;
        Some((Self { text: OsStr::from_bytes(text).to_owned(), count: split.count }, split.no))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], index: &[(&str, &[&str])], expected: &[(Shape, &str, usize, Option<&str>)]) {
        let names = names.iter().map(OsStr::new).collect();
        let index = index.iter().map(|(stem, files)| {
            ((*stem).to_owned(), files.iter().map(|file| (*file).to_owned()).collect::<BTreeSet<_>>())
        });
        let groups = groups(&names, &index.collect());
        let seen: Vec<_> = groups
            .iter()
            .map(|group| {
                (group.shape, group.stem.to_str().unwrap(), group.parts.len(), group.missing.as_deref())
            })
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn names_group_into_models() {
        check(
            &["b-00001-of-00003.gguf", "b-00003-of-00003.gguf", "a.gguf", "a.mmproj-F16.gguf", "notes.txt"],
            &[],
            &[
                (Shape::Gguf, "a", 1, None),
                (Shape::Companion, "a.mmproj-F16", 1, None),
                (Shape::Gguf, "b", 2, Some("missing-sibling: 1 of 3 missing: b-00002-of-00003.gguf")),
            ],
        );
        check(
            &["model-00001-of-00002.safetensors", "x.SAFETENSORS", "y.sft"],
            &[("model", &["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"])],
            &[
                (
                    Shape::Shards,
                    "model",
                    1,
                    Some("missing-sibling: 1 of 2 missing: model-00002-of-00002.safetensors"),
                ),
                (Shape::Single, "x", 1, None),
                (Shape::Single, "y", 1, None),
            ],
        );
        check(
            &["m-00002-of-99999.safetensors"],
            &[],
            &[(
                Shape::Shards,
                "m",
                1,
                Some("missing-sibling: 99998 of 99999 missing: m-00001-of-99999.safetensors and 99997 more"),
            )],
        );
        check(
            &[
                "consolidated.00.safetensors",
                "consolidated.02.safetensors",
                "optimizer.safetensors",
                "rng_state_0.sft",
            ],
            &[],
            &[(Shape::Shards, "consolidated", 2, Some("missing-sibling: 1 of 3 missing: consolidated.01"))],
        );
        check(&["ggml-vocab-bert-bge.gguf"], &[], &[]);
        check(
            &["m-00000-of-00009.gguf", "n-00004-of-00003.gguf"],
            &[],
            &[(Shape::Gguf, "m-00000-of-00009", 1, None), (Shape::Gguf, "n-00004-of-00003", 1, None)],
        );
    }
}
