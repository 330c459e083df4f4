//! How apps keep models on disk: one file a store, one line in `STORES`.
//!
//! A store never reads: it names where to look (`roots`), says which directories make a unit (`visit`), and is
//! then asked in steps. It is given what is known so far (`Known`) and either asks for more (`Step::Need`) or says
//! what is there (`Step::Found`). The daemon does the looking.

mod a1111;
mod anythingllm;
mod ask;
mod base;
mod bundle;
mod comfyui;
mod config;
mod damage;
mod data;
mod docker_model_runner;
#[cfg(test)]
mod drive;
mod folder;
mod forge;
mod git;
mod gpt4all;
mod handle;
mod hf_hub;
mod image;
pub mod incoming;
mod ini;
mod invokeai;
mod jan;
mod llama_cpp;
mod lm_studio;
mod localai;
mod modelscope;
mod msty;
mod ollama;
mod package;
pub mod partial;
mod plain;
mod ramalama;
mod sdnext;
mod stability_matrix;
mod textgen;
mod tgi;
mod variables;
pub(crate) mod web;
mod webui;
mod weights;
mod whisper_cpp;
mod yaml;

use crate::{App, Format, Role, Source, facts::Part};
pub use ask::lexical;
pub use base::models_of;
pub use damage::damage;
pub use image::civitai::{Record, record};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};
pub use variables::{VARIABLES, assignments};

/// Every store, in the order in which they claim a root that two of them name (the first wins).
pub const STORES: &[&dyn Store] = &[
    &hf_hub::HfHub,
    &ollama::Ollama,
    &lm_studio::LmStudio,
    &stability_matrix::StabilityMatrix,
    &forge::Forge,
    &sdnext::SdNext,
    &a1111::A1111,
    &comfyui::ComfyUiDesktop,
    &comfyui::ComfyUi,
    &invokeai::InvokeAi,
    &ramalama::RamaLama,
    &docker_model_runner::DockerModelRunner,
    &jan::Jan,
    &gpt4all::Gpt4All,
    &textgen::TextGen,
    &localai::LocalAi,
    &anythingllm::AnythingLlm,
    &msty::Msty,
    &tgi::Tgi,
    &modelscope::ModelScope,
    &git::Git,
    &llama_cpp::LlamaCpp,
    &whisper_cpp::WhisperCpp,
    &folder::Folder,
];

pub trait Store: Sync {
    fn app(&self) -> App;

    /// Says where this store may live, from the environment and from pointer and config files.
    fn roots(&self, environment: &Environment) -> Vec<PathBuf>;

    /// Says which small files `roots` wants to see (pointer and config files, absolute paths). One may name the
    /// next: ask again with what was read, until nothing new is named.
    fn pointers(&self, _environment: &Environment) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Says what a directory below a root is; `dir` is relative to the root, empty for the root itself.
    fn visit(&self, dir: &Path) -> Visit;

    /// Says where below a unit's directory downloads grow, besides the directories that its step lists.
    fn incoming(&self, dir: &Path) -> &'static [&'static str] {
        incoming::usual(dir)
    }

    /// Says where a root of this store stands in the app's own layout (`loras`), where that is not its top.
    fn place(&self, _environment: &Environment, _root: &Path) -> PathBuf {
        PathBuf::new()
    }

    /// Whether a directory outside that a link leads to is this store's too, and stands where the link does.
    fn follows_links(&self) -> bool {
        false
    }

    /// Looks at what is known of a unit so far and asks for more, or says what is there.
    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step;
}

/// How a directory takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Never looked into, not watched.
    Skip,
    /// Listed and watched; its sub-directories are visited, its own files mean nothing by themselves.
    Pass,
    /// The files directly in it are understood together; its sub-directories are visited on their own.
    Unit,
    /// It and everything below is understood as one.
    Whole,
}

/// The part of a root that is understood at once.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    /// Absolute.
    pub root: &'a Path,
    /// Relative to the root; empty for the root itself.
    pub dir: &'a Path,
    /// Where the root stands in the app's own layout; mostly empty.
    pub place: &'a Path,
}

impl<'a> Unit<'a> {
    /// A unit of a root that is the top of what its app has.
    pub fn new(root: &'a Path, dir: &'a Path) -> Self {
        Self { root, dir, place: Path::new("") }
    }

    /// Returns the unit's directory in the app's own layout.
    pub fn layout(&self) -> PathBuf {
        self.place.join(self.dir)
    }

    /// Returns the unit's directory as an absolute path.
    pub fn path(&self) -> PathBuf {
        if self.dir.as_os_str().is_empty() { self.root.to_path_buf() } else { self.root.join(self.dir) }
    }
}

/// What the daemon knows of the process it runs in and of the files that `pointers` named.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// None where there is no home directory.
    pub home: Option<PathBuf>,
    /// Stands for `/`: every system path is joined below it (`MODELD_SYSROOT`).
    pub sysroot: PathBuf,
    /// Only the variables that name places (`HF_HOME`, `OLLAMA_MODELS`, …), never secrets.
    pub variables: BTreeMap<String, OsString>,
    /// Contents of the files that `pointers` named, where they exist; at most 1 MiB each.
    pub pointers: BTreeMap<PathBuf, Vec<u8>>,
    /// What lies in the home and in its folders that are not hidden, two deep: an app's own layout is known by
    /// it, wherever the user put it.
    pub places: BTreeMap<PathBuf, Vec<Entry>>,
}

impl Environment {
    /// Returns a variable as an absolute path; an empty or relative value counts as unset.
    pub fn path(&self, variable: &str) -> Option<PathBuf> {
        self.variables.get(variable).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// Returns a path below the home directory.
    pub fn in_home(&self, relative: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(relative))
    }

    /// Returns an XDG base directory: the variable, else its default below the home directory.
    pub fn xdg(&self, variable: &str, default: &str) -> Option<PathBuf> {
        self.path(variable).or_else(|| self.in_home(default))
    }

    /// Returns the folders of the home that hold all of these, as `places` shows them.
    pub fn with_marks<'a>(&'a self, marks: &'a [&str]) -> impl Iterator<Item = &'a Path> {
        let has = |entries: &[Entry], mark: &str| entries.iter().any(|entry| entry.name == mark);
        let marked =
            self.places.iter().filter(move |(_, entries)| marks.iter().all(|mark| has(entries, mark)));
        marked.map(|(dir, _)| dir.as_path())
    }

    /// Returns whether `places` shows a directory with an entry of this name.
    pub fn has_entry(&self, dir: &Path, name: &str) -> bool {
        self.places.get(dir).is_some_and(|entries| entries.iter().any(|entry| entry.name == name))
    }

    /// Returns the contents of containers' volumes, as `places` shows them.
    pub fn volumes(&self) -> impl Iterator<Item = &Path> {
        let is_volume = |dir: &&Path| {
            dir.ends_with(VOLUME) && dir.ancestors().nth(2).is_some_and(|above| above.ends_with("volumes"))
        };
        self.places.keys().map(PathBuf::as_path).filter(is_volume)
    }

    /// Returns a system path below the sysroot (`relative` without a leading slash).
    pub fn in_system(&self, relative: &str) -> PathBuf {
        self.sysroot.join(relative)
    }
}

/// Where Docker and Podman keep what is in a volume, below its name.
pub const VOLUME: &str = "_data";

/// Something a store wants to know; all paths absolute, and at or below the unit's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// The entries of a directory. It is watched from then on.
    List(PathBuf),
    /// The content of a small file, at most 1 MiB (a longer one counts as unreadable).
    Read(PathBuf),
    /// What a path is, links followed.
    Stat(PathBuf),
    /// The target of a symlink, as written.
    Link(PathBuf),
    /// `user.xdg.origin.url` and `user.xdg.referrer.url` of a file, with credentials and query stripped.
    Origin(PathBuf),
    /// What a downloader's sidecar says, in short: there are thousands of them, and long ones.
    Record(PathBuf),
    /// Rows of a table in another app's SQLite database.
    Table(Table),
    /// The files beside a model of ONNX or OpenVINO that it says it keeps data in (`domain::parts_of`). A path that is
    /// no such model has none.
    Parts(PathBuf),
}

/// A table of another app's database; what it holds is as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    pub file: PathBuf,
    pub name: &'static str,
    pub columns: &'static [&'static str],
}

/// One text a column; None for what is null or no text.
pub type Rows = Vec<Vec<Option<String>>>;

/// Answers so far. A path that was asked for and could not be read is there as `None`.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub lists: BTreeMap<PathBuf, Option<Vec<Entry>>>,
    pub contents: BTreeMap<PathBuf, Option<Vec<u8>>>,
    pub stats: BTreeMap<PathBuf, Option<Stat>>,
    pub links: BTreeMap<PathBuf, Option<PathBuf>>,
    pub origins: BTreeMap<PathBuf, Option<Origin>>,
    pub records: BTreeMap<PathBuf, Option<Record>>,
    /// An error says why the database cannot be read; None where there is no such file.
    pub tables: BTreeMap<Table, Option<Result<Rows, String>>>,
    pub parts: BTreeMap<PathBuf, Option<Vec<Part>>>,
}

/// An entry of a directory, links not followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: OsString,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    File,
    Dir,
    Symlink,
    /// fifo, socket, device: never opened.
    Special,
}

/// What a path leads to, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `Symlink` never occurs here.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// When the content last changed, nanoseconds since 1970.
    pub modified: i64,
}

/// Where a file says it came from, by the extended attributes that curl and wget write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    pub url: Option<String>,
    pub referrer: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Need(Vec<Look>),
    Found(Vec<Found>),
    /// Some of the app's own files cannot be understood: these, and why.
    Partly {
        found: Vec<Found>,
        damaged: Vec<(PathBuf, String)>,
    },
}

/// One location of a model, as its store knows it. What the weights themselves say is read by the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Found {
    /// Usually the store's own; `huggingface-local-dir` inside a plain folder, for one.
    pub app: App,
    /// The app's own handle; unique among an app's locations in one root.
    pub id: String,
    pub name: Option<String>,
    pub source: Option<Source>,
    /// What else says where it came from, whether it agrees with `source` or not.
    pub claims: Vec<Source>,
    pub revision: Option<String>,
    pub refs: Vec<String>,
    pub license: Option<String>,
    pub base_models: Vec<String>,
    /// What is known of those base models besides their names.
    pub lineage: Vec<crate::Ancestor>,
    /// In order: shards by number, then companions and adapters, then what else belongs to it.
    pub files: Vec<FoundFile>,
    /// Why it is not whole, as the store knows it (a shard is missing, a link dangles, `.aria2` beside it).
    pub partial: Option<String>,
    /// What the app's own records say of the content, where the weights alone cannot.
    pub hints: Hints,
    /// Small files that were read to say all this, paths that were missing, directories of a model's parts (what
    /// is directly in them counts): when one changes, ask again.
    pub depends: Vec<PathBuf>,
}

impl Found {
    /// A location of which nothing is known but its handle.
    pub fn new(app: App, id: String) -> Self {
        Self {
            app,
            id,
            name: None,
            source: None,
            claims: Vec::new(),
            revision: None,
            refs: Vec::new(),
            license: None,
            base_models: Vec::new(),
            lineage: Vec::new(),
            files: Vec::new(),
            partial: None,
            hints: Hints::default(),
            depends: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FoundFile {
    /// As the app names it (a snapshot's link, not the blob behind it).
    pub path: PathBuf,
    pub role: Role,
    /// 64 hex digits, where the app recorded them: a claim, not checked.
    pub sha256: Option<String>,
}

/// Recorded by the app, taken where the weights do not say.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, Hash)]
pub struct Hints {
    pub format: Option<Format>,
    pub kind: Option<crate::Kind>,
    pub quant: Option<String>,
    pub architecture: Option<String>,
    pub context_length: Option<u64>,
    pub capabilities: Vec<String>,
    /// What the folder it lies in, its card, its index or its app are for: says nothing against the weights.
    #[serde(default)]
    pub placed_as: Option<crate::Kind>,
}

/// Returns the paths in order, each once.
fn distinct(paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut seen = std::collections::BTreeSet::new();
    paths.into_iter().filter(|path| seen.insert(path.clone())).collect()
}
