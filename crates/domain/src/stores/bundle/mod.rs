//! What files that lie together make up: a GGUF with its projector, the shards of a model, a diffusers tree.
//! Names and the small files beside the weights decide; where it all came from is the store's business.

mod card;
mod companion;
mod graphs;
mod pipeline;

use super::{
    Found, FoundFile, Hints,
    ask::Ask,
    config, handle, package,
    weights::{self, Group},
};
use crate::{App, Kind, Role, facts::kind_of};
use card::Card;
pub(super) use pipeline::INDEX as PIPELINE;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// How much the files of a place have to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Together {
    /// One repository: its card speaks for every model, its projectors serve every model.
    Repository,
    /// A directory that someone made: perhaps one model, perhaps several.
    Folder,
    /// Files side by side by chance.
    Heap,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bundle {
    /// What it is called within the place: a file, or a directory (empty for the place itself).
    pub label: PathBuf,
    /// Whether a directory is the model, not just a file in it.
    pub is_directory: bool,
    pub stem: String,
    /// A graph of operations: of such models a repository has one, in several variants.
    pub is_graph: bool,
    /// Which variant of a repository's one model it is: `quantized`.
    pub variant: Option<String>,
    /// Below the place; never empty.
    pub files: Vec<(PathBuf, Role)>,
    pub missing: Option<String>,
    pub hints: Hints,
    pub license: Option<String>,
    pub base_models: Vec<String>,
    pub lineage: Vec<crate::Ancestor>,
    /// Absolute.
    pub depends: Vec<PathBuf>,
}

impl Bundle {
    /// Returns the weights of the model itself, below the place.
    pub(super) fn weights(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().filter(|(_, role)| *role == Role::Weights).map(|(path, _)| path.as_path())
    }

    fn is_gguf(&self) -> bool {
        self.weights().filter_map(Path::file_name).any(weights::is_gguf)
    }
}

impl Found {
    /// A location whose files lie in `dir` and make up this bundle.
    pub(super) fn of(app: App, id: String, dir: &Path, bundle: Bundle) -> Self {
        let file = |(path, role): (PathBuf, Role)| FoundFile { path: dir.join(path), role, sha256: None };
        Self {
            name: handle::bounded(&bundle.stem),
            license: bundle.license,
            base_models: bundle.base_models,
            lineage: bundle.lineage,
            files: bundle.files.into_iter().map(file).collect(),
            partial: bundle.missing,
            hints: bundle.hints,
            depends: bundle.depends,
            ..Self::new(app, id)
        }
    }
}

/// Says what `files` (below `base`) make up.
pub(super) fn bundles(ask: &mut Ask<'_>, base: &Path, together: Together, files: &[PathBuf]) -> Vec<Bundle> {
    if !weights::any(files) {
        return Vec::new();
    }
    let mut dirs: BTreeMap<&Path, BTreeSet<&OsStr>> = BTreeMap::new();
    let mut packages: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
    for file in files {
        if let Some(package) = package::around(file) {
            packages.entry(package).or_default().push(file);
        } else if let (Some(dir), Some(name)) = (file.parent(), file.file_name()) {
            dirs.entry(dir).or_default().insert(name);
        }
    }
    let mut bundler = Bundler { ask, base, together, bundles: Vec::new(), companions: Vec::new() };
    let top = dirs.get(Path::new("")).cloned().unwrap_or_default();
    if together != Together::Heap && top.contains(OsStr::new(PIPELINE)) {
        bundler.pipeline(&dirs);
        bundler.directory(Path::new(""), &top, false);
    } else {
        for (dir, names) in &dirs {
            bundler.directory(dir, names, together != Together::Heap);
        }
    }
    companion::attach(&mut bundler);
    for (root, files) in packages {
        bundler.bundles.extend(package::bundle(bundler.ask, base, root, &files));
    }
    if together == Together::Repository {
        graphs::name(&mut bundler.bundles);
        bundler.describe_graphs(&dirs);
    }
    tell_apart(&mut bundler.bundles);
    if top.contains(OsStr::new("README.md")) {
        bundler.attach_card();
    }
    bundler.bundles
}

struct Bundler<'b, 'a> {
    ask: &'b mut Ask<'a>,
    base: &'b Path,
    together: Together,
    bundles: Vec<Bundle>,
    companions: Vec<Bundle>,
}

impl Bundler<'_, '_> {
    /// Bundles the files directly in a directory; one of the groups may be what the directory is about.
    fn directory(&mut self, dir: &Path, names: &BTreeSet<&OsStr>, may_be_whole: bool) {
        let groups = self.groups(dir, names);
        let indexes = indexes(names);
        let config = self.config(dir, names);
        let adapter = self.adapter(dir, names);
        let named = adapter.as_ref().map(|_| ADAPTER);
        let whole = may_be_whole.then(|| whole(&groups, config.is_some(), named, self.together)).flatten();
        for (at, group) in groups.iter().enumerate() {
            let mut bundle = bundle(dir, group, whole == Some(at));
            let index = self.index_of(dir, &indexes, group);
            match (&adapter, &config) {
                (Some((path, bases)), _) if group.stem == ADAPTER => {
                    bundle.hints.kind = Some(Kind::Lora);
                    bundle.base_models.clone_from(bases);
                    bundle.lineage = bases.iter().map(|base| adapts(base)).collect();
                    bundle.depends.push(self.base.join(path));
                }
                (_, Some((path, hints))) if whole == Some(at) || (whole.is_some() && is_twin(group)) => {
                    bundle.hints = graphs::fitting(hints, &bundle);
                    bundle.depends.push(self.base.join(path));
                    bundle.files.push((path.clone(), Role::Config));
                }
                _ => {}
            }
            if group.missing.is_some() {
                bundle.hints.placed_as = index.as_ref().and_then(|index| self.indexed_kind(index));
            }
            bundle.depends.extend(index);
            match group.shape {
                weights::Shape::Companion => self.companions.push(bundle),
                weights::Shape::Gguf
                | weights::Shape::Shards
                | weights::Shape::Single
                | weights::Shape::Graph => self.bundles.push(bundle),
            }
        }
    }

    fn groups(&mut self, dir: &Path, names: &BTreeSet<&OsStr>) -> Vec<Group> {
        let mut files = BTreeMap::new();
        for (stem, name) in indexes(names) {
            if let Some(index) = self.ask.json(&self.base.join(dir).join(name)) {
                files.insert(stem, indexed_files(&index));
            }
        }
        let groups = weights::groups(names, &files);
        self.with_data(dir, names, groups)
    }

    /// Returns the file that names a group's shards.
    fn index_of(&self, dir: &Path, indexes: &BTreeMap<String, &OsStr>, group: &Group) -> Option<PathBuf> {
        Some(self.base.join(dir).join(indexes.get(group.stem.to_str()?)?))
    }

    /// Returns what the tensors are that an index names: the shards that would say so may be those that are missing.
    fn indexed_kind(&mut self, index: &Path) -> Option<Kind> {
        let index = self.ask.json(index)?;
        kind_of(index.get("weight_map")?.as_object()?.keys().take(MOST_TENSORS).map(String::as_str))
    }

    /// Reads `config.json`; one that says nothing of a model is as if absent.
    fn config(&mut self, dir: &Path, names: &BTreeSet<&OsStr>) -> Option<(PathBuf, Hints)> {
        let path = names.get(OsStr::new("config.json")).map(|name| dir.join(name))?;
        let older = [
            ("gptq", "quantize_config.json"),
            ("awq", "quant_config.json"),
            ("exl3", "quantization_config.json"),
        ];
        let older = older.into_iter().find(|(_, name)| names.contains(OsStr::new(name)));
        let quantize =
            older.and_then(|(method, name)| Some((method, self.ask.json(&self.base.join(dir).join(name))?)));
        let config = self.ask.json(&self.base.join(&path))?;
        let mut hints = config::hints(&config, quantize.as_ref().map(|(method, value)| (*method, value)));
        // sentence-transformers writes how it makes one vector of the network's output.
        if names.contains(OsStr::new("modules.json")) {
            hints.kind = Some(Kind::Embedding);
        }
        (hints != Hints::default()).then_some((path, hints))
    }

    fn adapter(&mut self, dir: &Path, names: &BTreeSet<&OsStr>) -> Option<(PathBuf, Vec<String>)> {
        let path = names.get(OsStr::new("adapter_config.json")).map(|name| dir.join(name))?;
        let config = self.ask.json(&self.base.join(&path))?;
        let base = config.get("base_model_name_or_path").and_then(Value::as_str);
        // A trainer writes the path that it loaded from; only a repository's name means anything elsewhere.
        let base = base.filter(|base| !base.starts_with(['/', '.', '~']));
        Some((path, base.and_then(handle::bounded).into_iter().collect()))
    }

    fn attach_card(&mut self) {
        let all = self.together == Together::Repository;
        let mut bundles = self.bundles.iter_mut().filter(|bundle| all || bundle.is_directory).peekable();
        if bundles.peek().is_none() || self.together == Together::Heap {
            return;
        }
        let path = self.base.join("README.md");
        let card = self.ask.read(&path).map(Card::parse).unwrap_or_default();
        for bundle in bundles {
            bundle.license.clone_from(&card.license);
            if bundle.is_directory || bundle.is_gguf() {
                bundle.hints.placed_as = bundle.hints.placed_as.or(card.kind);
            }
            // Of networks that could write text, some are published to rank or to make vectors.
            if bundle.hints.kind == Some(Kind::Llm) && card.is_narrower() {
                bundle.hints.kind = card.kind;
            }
            let is_adapter = bundle.hints.kind == Some(Kind::Lora);
            bundle.lineage.splice(0..0, card.lineage(is_adapter));
            let known = std::mem::replace(&mut bundle.base_models, card.base_models.clone());
            bundle.base_models.extend(known.into_iter().filter(|base| !card.base_models.contains(base)));
            bundle.files.push(("README.md".into(), Role::Card));
            bundle.depends.push(path.clone());
        }
    }
}

fn adapts(base: &str) -> crate::Ancestor {
    let evidence = "adapter_config.json: base_model_name_or_path";
    crate::Ancestor::on_hub(crate::Relation::Adapter, base, crate::Confidence::Claimed, evidence)
}

/// Two splits may differ in their counts alone; the later goes by its first file.
fn tell_apart(bundles: &mut [Bundle]) {
    let mut labels = BTreeSet::new();
    for bundle in bundles {
        if !labels.insert(bundle.label.clone())
            && let Some((first, _)) = bundle.files.first()
        {
            bundle.label.clone_from(first);
        }
    }
}

const ADAPTER: &str = "adapter_model";
/// What transformers and diffusers load of a directory.
const WHOLE: &[&str] = &["model", "diffusion_pytorch_model"];

/// The largest mixtures of experts have some ninety thousand.
const MOST_TENSORS: usize = 1 << 18;

/// Whether a group is the same model in the format that transformers had before safetensors.
fn is_twin(group: &Group) -> bool {
    group.stem == "pytorch_model"
}

/// Says which group a directory is about, if any: what loads when the directory is given.
fn whole(groups: &[Group], has_config: bool, adapter: Option<&str>, together: Together) -> Option<usize> {
    let find = |wanted: &dyn Fn(&Group) -> bool| groups.iter().position(wanted);
    let is_single = |group: &Group| group.shape == weights::Shape::Single;
    let is_only = groups.iter().filter(|group| is_single(group) && group.stem != ADAPTER).count() == 1;
    find(&|group| group.shape == weights::Shape::Shards)
        .or_else(|| find(&|group| is_single(group) && WHOLE.iter().any(|stem| group.stem == *stem)))
        .or_else(|| {
            find(&|group| is_single(group) && group.stem != ADAPTER).filter(|_| has_config && is_only)
        })
        .or_else(|| adapter.and_then(|adapter| find(&|group| group.stem == adapter)))
        // Those of a repository are told apart when all of them are known.
        .or_else(|| (together == Together::Folder).then(|| graphs::whole(groups, has_config)).flatten())
}

fn bundle(dir: &Path, group: &Group, is_directory: bool) -> Bundle {
    let is_graph = group.shape == weights::Shape::Graph;
    let label = match group.parts.as_slice() {
        _ if is_directory => dir.to_path_buf(),
        [one, ..] if is_graph && Path::new(one).file_stem() == Some(&group.stem) => dir.join(one),
        [one] if Path::new(one).file_stem() == Some(&group.stem) => dir.join(one),
        _ => dir.join(&group.stem),
    };
    let files = group.parts.iter().map(|part| (dir.join(part), Role::Weights)).collect();
    let stem = group.stem.to_string_lossy().into_owned();
    let mut bundle = Bundle {
        label,
        is_directory,
        stem,
        is_graph,
        files,
        missing: group.missing.clone(),
        ..Bundle::default()
    };
    bundle.hints = graphs::fitting(&Hints::default(), &bundle);
    bundle
}

/// Returns the files that name shards, by what the shards are called.
fn indexes<'n>(names: &BTreeSet<&'n OsStr>) -> BTreeMap<String, &'n OsStr> {
    names.iter().filter_map(|name| Some((indexed_stem(name.to_str()?)?, *name))).collect()
}

/// Returns what the shards are called that an index of this name is of: `STEM.safetensors.index.json`, and diffusers'
/// `STEM.safetensors.index.fp16.json` for `STEM.fp16`.
fn indexed_stem(name: &str) -> Option<String> {
    let (of, end) = name.rsplit_once(".index.")?;
    let stem = of.strip_suffix(".safetensors").or_else(|| of.strip_suffix(".bin"))?;
    match end.strip_suffix("json")? {
        "" => Some(stem.to_owned()),
        variant => Some(format!("{stem}.{}", variant.strip_suffix('.')?)),
    }
}

/// Returns the files that a shard index names: plain names only.
fn indexed_files(index: &Value) -> BTreeSet<String> {
    let map = index.get("weight_map").and_then(Value::as_object);
    let names = map.into_iter().flat_map(|map| map.values()).filter_map(Value::as_str);
    names.filter(|name| !name.contains(['/', '\0'])).map(str::to_owned).collect()
}
