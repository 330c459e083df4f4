//! What engines are told: one file an engine, one line in `ENGINES`.
//! An engine turns a model into a command; it starts nothing.

mod llama_cpp;
mod llama_cpp_devices;
mod quote;

use crate::{Location, Model};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
};

pub use llama_cpp_devices::{is_server, listed_devices, listed_flags, listed_version};
pub use quote::shell_line;

/// Every engine that can be launched.
pub const ENGINES: &[&dyn Engine] = &[&llama_cpp::LlamaCpp];

/// Returns the engine of that name.
pub fn find(name: &str) -> Option<&'static dyn Engine> {
    ENGINES.iter().copied().find(|engine| engine.name() == name)
}

pub trait Engine: Sync {
    fn name(&self) -> &'static str;

    /// Programs that are this engine, in order of preference, as found on a PATH.
    fn programs(&self) -> &'static [Program];

    /// Says why this model is not for this engine, and what is.
    fn accepts(&self, model: &Model) -> Result<(), Refusal>;

    /// Writes the command and its environment.
    fn render(&self, order: &Order<'_>) -> Launch;

    /// Where the running engine says that it is ready.
    fn ready(&self) -> Ready;
}

/// A program, and the arguments that make it this engine (`llama serve`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    pub name: &'static str,
    pub arguments: &'static [&'static str],
}

/// What is to be started.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    pub model: &'a Model,
    /// The location whose files are used.
    pub location: &'a Location,
    pub program: PathBuf,
    pub program_arguments: &'static [&'static str],
    /// Every flag that the program's own `--help` lists: no other is ever emitted.
    pub flags: BTreeSet<String>,
    pub port: u16,
    pub max_ctx: bool,
    pub extra: Vec<String>,
    /// Variables of the caller that the engine is placed by (`CUDA_VISIBLE_DEVICES`, …).
    pub environment: BTreeMap<String, String>,
}

/// A command, exact to the byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Program first.
    pub argv: Vec<OsString>,
    /// Set besides the caller's allow-listed variables.
    pub env: BTreeMap<String, String>,
    pub url: String,
    pub explain: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// Path below the URL that answers 200 when the model is loaded.
    pub health: &'static str,
    /// Path below the URL whose JSON tells what context the engine really has, and the pointer to it.
    pub context: (&'static str, &'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    pub hint: Option<String>,
}

/// The plan on the wire. What is left to the engine's own fit is null here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub engine: String,
    pub model: Named,
    pub family: Family,
    pub goal: Option<String>,
    pub fits: Option<bool>,
    pub limited_by: Option<String>,
    pub ctx: Option<u64>,
    /// Program first; lossy where an argument is not UTF-8, which `command` writes exactly.
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub files: Vec<PlannedFile>,
    pub explain: Vec<String>,
    pub alternatives: Vec<String>,
    /// The same as one line for a POSIX shell (bash where a name holds control characters), safe to paste.
    pub command: String,
    pub url: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub id: String,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    Llama,
    Paged,
    Diffusion,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFile {
    pub path: String,
    pub content: String,
}

/// Puts a command into its wire form.
pub fn plan(engine: &dyn Engine, order: &Order<'_>, launch: &Launch) -> Plan {
    Plan {
        engine: engine.name().into(),
        model: Named { id: order.model.id.clone(), name: order.model.name.clone() },
        family: Family::Llama,
        goal: order.max_ctx.then(|| "max-ctx".into()),
        fits: None,
        limited_by: None,
        ctx: None,
        argv: launch.argv.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        env: launch.env.clone(),
        files: Vec::new(),
        explain: launch.explain.clone(),
        alternatives: Vec::new(),
        command: shell_line(&launch.env, &launch.argv),
        url: launch.url.clone(),
    }
}
