//! What engines are told: one file an engine, one line in `ENGINES`.
//! An engine turns a model into a command; it starts nothing.

mod diagnose;
mod llama_cpp;
mod llama_cpp_able;
mod llama_cpp_devices;
mod llama_cpp_extra;
mod llama_cpp_fit;
mod llama_cpp_log;
mod llama_cpp_words;
mod quote;
mod secret;

use crate::{
    Location, Model,
    memory::{CacheType, FlashAttention, Settings},
    plan::{Curve, DeviceUse, Extras, HostUse, Knobs, Limit, Measured, Planned, Speed, Term},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
};

pub use crate::plan::Refusal;
pub use diagnose::{Diagnosis, End, EndClass, diagnose, telling};
pub use llama_cpp::CUDA_ORDER;
pub use llama_cpp_devices::{cuda_complaint, is_server, listed_devices, listed_flags, listed_version};
pub use llama_cpp_fit::Counted;
pub use llama_cpp_log::{Allocated, HOST, Rates};
pub use quote::shell_line;
pub use secret::{api_key, asks_for_key, flags_of, redact, redacted, secrets};

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

    /// Flags that a current version has, as far as they are ever emitted: for a plan where no program is there to ask.
    fn usual_flags(&self) -> &'static [&'static str];

    /// Says why these words cannot be passed on: they would contradict what is decided here.
    fn check_extra(&self, extra: &[String]) -> Result<(), Refusal>;

    /// The knobs as a program with these flags understands them. Refuses what the user fixed and it does not have.
    fn able(&self, knobs: Knobs, flags: &BTreeSet<String>) -> Result<Knobs, Refusal>;

    /// What is loaded besides the weights, by this program: its version as it prints it, and its flags. Without one it is
    /// the build that was measured.
    fn extras(
        &self,
        model: &Model,
        location: &Location,
        program: Option<(&str, &BTreeSet<String>)>,
    ) -> Extras;

    /// What its word for the context counts.
    fn context_of(&self) -> ContextOf;

    /// Writes the command and its environment.
    fn render(&self, order: &Order<'_>) -> Launch;

    /// Reads from the first lines of its log what it has allocated, by device and `HOST`.
    fn allocated(&self, lines: &[String]) -> BTreeMap<String, Allocated>;

    /// Programs of it that count what settings take, where they lie beside it; none where it has none.
    fn counters(&self) -> &'static [Program];

    /// Turns the words of a launch into those that have them counted, by a program that lists these flags; also the flags
    /// that it does not know. None where it cannot say.
    fn count(&self, argv: &[OsString], flags: &BTreeSet<String>) -> Option<(Vec<OsString>, Vec<String>)>;

    /// Reads what was counted, by device and `HOST`; None where it is something else.
    fn counted(&self, text: &str) -> Option<BTreeMap<String, Counted>>;

    /// Reads from its log how fast its last answers were.
    fn rates(&self, lines: &[String]) -> Option<Rates>;

    /// Where the running engine says that it is ready.
    fn ready(&self) -> Ready;
}

/// Slots are called alike everywhere, and the context that is asked for is not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextOf {
    /// It is divided among the slots, or shared by them: llama.cpp's `--ctx-size`.
    AllSlots,
    /// Every slot gets as much: Ollama's `num_ctx`, which it multiplies by `OLLAMA_NUM_PARALLEL`.
    EachSlot,
}

impl ContextOf {
    /// The number that gives what was planned, tokens.
    pub fn number(self, settings: &Settings) -> u64 {
        match self {
            Self::AllSlots => settings.ctx,
            Self::EachSlot if settings.kv_unified => settings.ctx / settings.parallel.max(1),
            Self::EachSlot => settings.ctx_per_slot(),
        }
    }
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
    /// None where the model cannot be planned: then the engine fits it itself.
    pub planned: Option<&'a Planned>,
    /// What the user fixed.
    pub knobs: &'a Knobs,
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

/// The plan on the wire. What is left to the engine's own fit is null here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub engine: String,
    pub model: Named,
    pub family: Family,
    pub goal: Option<String>,
    pub fits: Option<bool>,
    pub limited_by: Option<Limit>,
    /// Absent where nothing could be planned.
    #[serde(flatten)]
    pub llama: Option<LlamaKnobs>,
    #[serde(default)]
    pub devices: Vec<DeviceUse>,
    #[serde(default)]
    pub host: Option<HostUse>,
    /// Program first; lossy where an argument is not UTF-8, which `command` writes exactly.
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub files: Vec<PlannedFile>,
    /// None where it is not known.
    #[serde(default)]
    pub speed: Option<Speed>,
    /// What takes how much where, and how that is known.
    #[serde(default)]
    pub terms: Vec<Term>,
    /// Where it was asked for.
    #[serde(default)]
    pub curve: Option<Curve>,
    pub explain: Vec<String>,
    pub alternatives: Vec<String>,
    /// What a run with the same settings took here, else one with like settings; None where there was none.
    #[serde(default)]
    pub measured: Option<Measured>,
    /// What the engine's own tool counts for these settings; None where nobody asked for it.
    #[serde(default)]
    pub confirmed: Option<Confirmed>,
    /// The same as one line for a POSIX shell (bash where a name holds control characters), safe to paste.
    pub command: String,
    pub url: String,
}

/// A plan as the engine's own tool counts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confirmed {
    /// With its word, where it needs one.
    pub program: String,
    pub seconds: f64,
    /// Devices, and main memory as `host`.
    pub devices: Vec<ConfirmedUse>,
    /// Flags without which it counts: of the plan those that it does not know, and those that are passed on.
    pub left_out: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmedUse {
    pub id: String,
    #[serde(flatten)]
    pub counted: Counted,
    /// Bytes that it counts more than was planned.
    pub difference: i64,
}

/// What the family of llama.cpp calls its knobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LlamaKnobs {
    /// Tokens of all slots, and of one.
    pub ctx: u64,
    pub ctx_per_slot: u64,
    pub parallel: u64,
    pub kv_unified: bool,
    /// The output layer counts as one.
    pub gpu_layers: u64,
    pub layers: u64,
    pub n_cpu_moe: u64,
    pub cache_type_k: CacheType,
    pub cache_type_v: CacheType,
    pub flash_attn: FlashAttention,
    pub batch: u64,
    pub ubatch: u64,
    pub tensor_split: Vec<f64>,
}

impl From<&Planned> for LlamaKnobs {
    fn from(planned: &Planned) -> Self {
        let settings = &planned.settings;
        Self {
            ctx: settings.ctx,
            ctx_per_slot: settings.ctx_per_slot(),
            parallel: settings.parallel,
            kv_unified: settings.kv_unified,
            gpu_layers: if planned.devices.is_empty() { 0 } else { settings.gpu_layers },
            layers: planned.layers,
            n_cpu_moe: settings.n_cpu_moe,
            cache_type_k: settings.cache_type_k,
            cache_type_v: settings.cache_type_v,
            flash_attn: settings.flash_attn,
            batch: settings.batch,
            ubatch: settings.ubatch,
            tensor_split: planned.tensor_split.clone(),
        }
    }
}

impl Plan {
    /// Why it is not launched: it does not fit.
    pub fn refusal(&self) -> Option<Refusal> {
        if self.fits != Some(false) {
            return None;
        }
        let why = self.explain.first().cloned().unwrap_or_else(|| "it does not fit".to_owned());
        let see = "modelctl plan shows what it would take; a smaller --ctx, model or quantization takes less";
        let hint = self.alternatives.first().cloned().unwrap_or_else(|| see.to_owned());
        Some(Refusal { why, hint: Some(hint) })
    }

    /// The same plan with this command, in both of its forms.
    #[must_use]
    pub fn with_command(self, argv: &[OsString]) -> Self {
        Self {
            command: shell_line(&self.env, argv),
            argv: argv.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
            ..self
        }
    }
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
    let planned = order.planned;
    let goal = planned.map(|planned| planned.goal).or(order.knobs.goal);
    let said = planned.map(|planned| planned.explain.clone()).unwrap_or_default();
    Plan {
        engine: engine.name().into(),
        model: Named { id: order.model.id.clone(), name: order.model.name.clone() },
        family: Family::Llama,
        goal: goal.map(|goal| goal.name().to_owned()),
        fits: planned.map(|planned| planned.fits),
        limited_by: planned.map(|planned| planned.limited_by),
        llama: planned.map(LlamaKnobs::from),
        devices: planned.map(|planned| planned.devices.clone()).unwrap_or_default(),
        host: planned.map(|planned| planned.host),
        argv: Vec::new(),
        env: launch.env.clone(),
        files: Vec::new(),
        speed: planned.and_then(|planned| planned.speed.clone()),
        terms: planned.map(|planned| planned.terms.clone()).unwrap_or_default(),
        curve: None,
        explain: [said, launch.explain.clone()].concat(),
        alternatives: planned.map(|planned| planned.alternatives.clone()).unwrap_or_default(),
        measured: None,
        confirmed: None,
        command: String::new(),
        url: launch.url.clone(),
    }
    .with_command(&launch.argv)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four slots of 16,384 tokens, unless they share them.
    #[track_caller]
    fn check(of: ContextOf, kv_unified: bool, number: u64) {
        let settings = Settings {
            ctx: 65_536,
            gpu_layers: 33,
            parallel: 4,
            kv_unified,
            n_outputs: 4,
            ..Settings::default()
        };
        assert_eq!(of.number(&settings), number);
    }

    #[test]
    fn engines_that_multiply_are_told_the_part_of_one_slot() {
        for kv_unified in [false, true] {
            check(ContextOf::AllSlots, kv_unified, 65_536);
            check(ContextOf::EachSlot, kv_unified, 16_384);
        }
    }
}
