//! Everything a client can ask.

use domain::{WirePath, hardware::Hardware, plan::Knobs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A call of the interface; serialises as `{"method":…,"parameters":…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", content = "parameters")]
pub enum Request {
    /// The home screen in one answer.
    #[serde(rename = "org.modelctl.Manager.Overview")]
    Overview {},
    /// The models that pass every filter (`domain::filter` has the language), sorted by `sort`. `environment` as in
    /// `LaunchRequest`: how a model fits depends on the engine that would run it.
    #[serde(rename = "org.modelctl.Manager.List")]
    List {
        #[serde(default)]
        filters: Vec<String>,
        #[serde(default)]
        sort: Option<String>,
        #[serde(default)]
        environment: BTreeMap<String, String>,
    },
    /// What is stored more than once, of the models that pass every filter. `environment` as of `List`.
    #[serde(rename = "org.modelctl.Manager.Duplicates")]
    Duplicates {
        #[serde(default)]
        filters: Vec<String>,
        #[serde(default)]
        environment: BTreeMap<String, String>,
    },
    /// Where the space went, by app unless something else is asked for.
    #[serde(rename = "org.modelctl.Manager.Usage")]
    Usage {
        #[serde(default)]
        by: Option<String>,
    },
    #[serde(rename = "org.modelctl.Manager.Show")]
    Show { model: String },
    /// What a model was made from and what was made from it, as far as that is said; answered by `domain::Tree`.
    #[serde(rename = "org.modelctl.Manager.Tree")]
    Tree { model: String },
    /// What any file is; the path is absolute.
    #[serde(rename = "org.modelctl.Manager.Inspect")]
    Inspect {
        #[serde(flatten)]
        path: WirePath,
    },
    #[serde(rename = "org.modelctl.Manager.Roots")]
    Roots {},
    /// Folders that look as if they held models and are no roots; nothing is added.
    #[serde(rename = "org.modelctl.Manager.SuggestRoots")]
    SuggestRoots {},
    #[serde(rename = "org.modelctl.Manager.AddRoot")]
    AddRoot {
        #[serde(flatten)]
        path: WirePath,
    },
    #[serde(rename = "org.modelctl.Manager.RemoveRoot")]
    RemoveRoot {
        #[serde(flatten)]
        path: WirePath,
    },
    /// Answers when every change on disk made before the call is in the index.
    #[serde(rename = "org.modelctl.Manager.Sync")]
    Sync {},
    /// Looks at everything again, then answers like `Sync`.
    #[serde(rename = "org.modelctl.Manager.Scan")]
    Scan {},
    /// Compares SHA-256 with what was recorded, of these models, or of all that are usable. A hash that is known
    /// is not computed again, unless `again`.
    #[serde(rename = "org.modelctl.Manager.Verify")]
    Verify {
        #[serde(default)]
        models: Vec<String>,
        #[serde(default)]
        again: bool,
    },
    #[serde(rename = "org.modelctl.Manager.Tag")]
    Tag {
        model: String,
        #[serde(default)]
        add: Vec<String>,
        #[serde(default)]
        remove: Vec<String>,
    },
    /// Sets the note; none or an empty one removes it.
    #[serde(rename = "org.modelctl.Manager.Note")]
    Note {
        model: String,
        #[serde(default)]
        note: Option<String>,
    },
    #[serde(rename = "org.modelctl.Manager.Pin")]
    Pin { model: String, pinned: bool },
    #[serde(rename = "org.modelctl.Manager.Alias")]
    Alias {
        model: String,
        #[serde(default)]
        add: Vec<String>,
        #[serde(default)]
        remove: Vec<String>,
    },
    /// What there is to run models on; with `more` again whenever it has changed enough. `environment` as in
    /// `LaunchRequest`.
    #[serde(rename = "org.modelctl.Manager.Hardware")]
    Hardware {
        #[serde(default)]
        environment: BTreeMap<String, String>,
    },
    /// Every known engine, found or not.
    #[serde(rename = "org.modelctl.Manager.Engines")]
    Engines {
        #[serde(default)]
        environment: BTreeMap<String, String>,
    },
    /// Remembers an engine's program, or the one in a folder; it is run with `--help` first.
    #[serde(rename = "org.modelctl.Manager.AddEngine")]
    AddEngine {
        #[serde(flatten)]
        path: WirePath,
        #[serde(default)]
        environment: BTreeMap<String, String>,
    },
    #[serde(rename = "org.modelctl.Manager.RemoveEngine")]
    RemoveEngine {
        #[serde(flatten)]
        path: WirePath,
    },
    /// The command that `Launch` would run; nothing is started. `confirm`: the engine's own tool counts it, too. `forget`:
    /// what runs of the model took with this engine is forgotten before.
    #[serde(rename = "org.modelctl.Manager.Plan")]
    Plan {
        #[serde(flatten)]
        launch: LaunchRequest,
        #[serde(default)]
        confirm: bool,
        #[serde(default)]
        forget: bool,
    },
    /// Starts an engine; only with `more`. The run is stopped when the caller closes or half-closes the connection,
    /// unless it is detached. Where the same is starting or running already, that is joined and belongs to others.
    #[serde(rename = "org.modelctl.Manager.Launch")]
    Launch {
        #[serde(flatten)]
        launch: LaunchRequest,
    },
    /// What is wrong on this machine, and the line that mends it. `environment` as in `LaunchRequest`.
    #[serde(rename = "org.modelctl.Manager.Doctor")]
    Doctor {
        #[serde(default)]
        environment: BTreeMap<String, String>,
    },
    /// What runs, and what has ended lately.
    #[serde(rename = "org.modelctl.Manager.Ps")]
    Ps {},
    /// Answers when nothing is left of the run. A run is named by its word, the start of it, or its model.
    #[serde(rename = "org.modelctl.Manager.Stop")]
    Stop { run: String },
    /// What an engine has printed, without `more` at most the last MiB of it; with `follow` and `more` also what it will,
    /// until it ends.
    #[serde(rename = "org.modelctl.Manager.Logs")]
    Logs {
        run: String,
        #[serde(default)]
        follow: bool,
    },
    /// The live stream; only with `more`.
    #[serde(rename = "org.modelctl.Manager.Events")]
    Events {},
}

/// What to start on what, and the caller's world: the daemon does not share the user's shell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the request")]
pub struct LaunchRequest {
    pub engine: String,
    pub model: String,
    /// The same as the goal `max-ctx`.
    #[serde(default)]
    pub max_ctx: bool,
    /// What the user fixed.
    #[serde(flatten)]
    pub knobs: Knobs,
    /// Plans for this machine instead of the one that it is; such a launch is not started.
    #[serde(default)]
    pub hardware: Option<Hardware>,
    /// On loopback; left out, one that is free is found.
    #[serde(default)]
    pub port: Option<u16>,
    /// Starts it though loading the model runs code.
    #[serde(default)]
    pub allow_unsafe: bool,
    /// A plan tells what other contexts and types of cache would take.
    #[serde(default)]
    pub curve: bool,
    /// Its account tells who holds memory of its devices, too.
    #[serde(default)]
    pub terms: bool,
    /// The run outlives the caller.
    #[serde(default)]
    pub detach: bool,
    /// Passed on to the engine as they are.
    #[serde(default)]
    pub extra: Vec<String>,
    /// `PATH` and the variables that engines and stores are placed by; never tokens.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// What of the caller's environment is sent with a launch; anything else is dropped.
pub const LAUNCH_VARIABLES: &[&str] = &[
    "PATH",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HIP_VISIBLE_DEVICES",
    "HUGGINGFACE_HUB_CACHE",
    "LD_LIBRARY_PATH",
    "LLAMA_CACHE",
    "LLAMA_NO_GPU",
    "OLLAMA_MODELS",
    "ROCR_VISIBLE_DEVICES",
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
];
