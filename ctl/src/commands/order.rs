//! What `plan` and `launch` are asked for: engine, model, and the knobs that the user fixes.

use crate::{context::Context, environment::Environment, failure::Failure};
use anyhow::{Context as _, Result};
use api::LaunchRequest;
use clap::{Args, ValueEnum};
use domain::{
    hardware::Hardware,
    plan::{Goal, Knobs, Refusal},
};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// What to start on what.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The engine, such as llama.cpp
    engine: String,
    /// Name, unique prefix, alias, id, an app's handle, or path
    model: OsString,
    /// Take the largest context that fits; the same as --goal max-ctx
    #[arg(long, conflicts_with = "goal")]
    max_ctx: bool,
    /// What the plan is good for [default: balanced]
    #[arg(long, value_name = "GOAL")]
    goal: Option<Wanted>,
    #[command(flatten)]
    memory: Memory,
    #[command(flatten)]
    place: Place,
    /// Listen on this port of 127.0.0.1 [default: one that is free]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Plan for the machine in this file, as `hardware --json` prints it; - reads it from stdin
    #[arg(long, value_name = "FILE")]
    hardware: Option<PathBuf>,
    /// Start it this once although loading the model runs code
    #[arg(long)]
    allow_unsafe: bool,
    /// Passed on to the engine as it is
    #[arg(last = true, value_name = "EXTRA")]
    extra: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wanted {
    /// The largest context
    MaxCtx,
    /// The most layers on the device
    Fastest,
    /// A usable context, then the most layers
    Balanced,
}

impl From<Wanted> for Goal {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::MaxCtx => Self::MaxCtx,
            Wanted::Fastest => Self::Fastest,
            Wanted::Balanced => Self::Balanced,
        }
    }
}

/// What takes memory.
#[derive(Debug, Args)]
#[command(next_help_heading = "Context and cache")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
struct Memory {
    /// Context of all slots, or of each user, tokens: 32768 or 32k
    #[arg(long, value_name = "N", value_parser = tokens, allow_negative_numbers = true)]
    ctx: Option<u64>,
    /// Slots: how many requests are answered at once [default: 1]
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    parallel: Option<u64>,
    /// How many use it at once: each has a slot with all of --ctx, or with as much as fits
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true, conflicts_with = "parallel")]
    users: Option<u64>,
    /// All slots share the context
    #[arg(long, conflicts_with = "no_kv_unified")]
    kv_unified: bool,
    /// Each slot has its part of the context
    #[arg(long)]
    no_kv_unified: bool,
    /// Type of the K cache: f16, q8_0, q4_0, …
    #[arg(long, value_name = "T")]
    cache_type_k: Option<String>,
    /// Type of the V cache
    #[arg(long, value_name = "T")]
    cache_type_v: Option<String>,
    /// Let the plan quantize the cache where that gives more context
    #[arg(long)]
    allow_kv_quant: bool,
    /// on, off or auto
    #[arg(long, value_name = "WHEN")]
    flash_attn: Option<String>,
    /// Logical batch, tokens [default: 2048]
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    batch: Option<u64>,
    /// Tokens computed at once [default: 512]
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    ubatch: Option<u64>,
    /// Keep all of the context in layers with a sliding window
    #[arg(long)]
    swa_full: bool,
    /// Tokens of a batch whose logits are computed [default: what llama-server reserves]
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    n_outputs: Option<u64>,
}

/// What goes where.
#[derive(Debug, Args)]
#[command(next_help_heading = "Placement")]
struct Place {
    /// Layers on devices: all, auto or a number; the output layer counts as one
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    gpu_layers: Option<String>,
    /// The first so many layers keep their experts in main memory
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    n_cpu_moe: Option<u64>,
    /// Keep the KV cache in main memory
    #[arg(long)]
    no_kv_offload: bool,
    /// Compute layers in main memory on the processor alone
    #[arg(long)]
    no_op_offload: bool,
    /// The devices to use, by the engine's own names for them, in this order; none for the processor alone
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    device: Vec<String>,
    /// Parts of the model for each device
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = share, allow_hyphen_values = true)]
    tensor_split: Vec<f64>,
    /// MiB of each device that stay free [default: 1024]
    #[arg(long, value_name = "MiB", value_parser = number, allow_negative_numbers = true)]
    margin: Option<u64>,
}

impl Order {
    pub(crate) fn request(self, context: &Context<'_>) -> Result<LaunchRequest> {
        let knobs = self.knobs();
        knobs.check().map_err(|Refusal { why, hint }| Failure::Usage { why, hint })?;
        let hardware = self.hardware.as_ref().map(|file| read(file, context.environment)).transpose()?;
        Ok(LaunchRequest {
            knobs,
            engine: self.engine,
            model: context.environment.model(&self.model),
            max_ctx: false, // a goal among the knobs
            hardware,
            port: self.port,
            allow_unsafe: self.allow_unsafe,
            curve: false,
            terms: false,
            detach: false,
            extra: self.extra,
            environment: context.environment.callers(),
        })
    }

    fn knobs(&self) -> Knobs {
        let set = |flag: bool, value: bool| flag.then_some(value);
        let Self { goal, memory, place, .. } = self;
        Knobs {
            goal: goal.map(Goal::from).or(self.max_ctx.then_some(Goal::MaxCtx)),
            ctx: memory.ctx,
            parallel: memory.parallel,
            users: memory.users,
            gpu_layers: place.gpu_layers.clone(),
            n_cpu_moe: place.n_cpu_moe,
            cache_type_k: memory.cache_type_k.clone(),
            cache_type_v: memory.cache_type_v.clone(),
            allow_kv_quant: set(memory.allow_kv_quant, true),
            flash_attn: memory.flash_attn.clone(),
            batch: memory.batch,
            ubatch: memory.ubatch,
            kv_unified: set(memory.kv_unified, true).or(set(memory.no_kv_unified, false)),
            swa_full: set(memory.swa_full, true),
            kv_offload: set(place.no_kv_offload, false),
            op_offload: set(place.no_op_offload, false),
            n_outputs: memory.n_outputs,
            device: (!place.device.is_empty()).then(|| place.device.clone()),
            tensor_split: (!place.tensor_split.is_empty()).then(|| place.tensor_split.clone()),
            margin: place.margin.map(|mib| mib.saturating_mul(1 << 20)),
        }
    }
}

fn number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "it is a whole number, 0 or more")
}

/// A number of tokens, in thousands of 1024 as `list` shows it.
fn tokens(text: &str) -> Result<u64, &'static str> {
    let thousands = text.strip_suffix(['k', 'K']);
    let number = thousands.unwrap_or(text).parse::<u64>().ok();
    let number = number.and_then(|number| number.checked_mul(if thousands.is_some() { 1024 } else { 1 }));
    number.ok_or("it is a whole number of tokens, such as 32768 or 32k")
}

/// NaN and infinity have no form on the wire.
fn share(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok().filter(|share: &f64| share.is_finite() && *share >= 0.0);
    share.ok_or("a part is a number, 0 or more")
}

/// The largest such file that is read, bytes: a machine is described in a few hundred.
const LONGEST: usize = 1 << 20;

fn read(file: &Path, environment: &Environment) -> Result<Hardware> {
    let (name, read) = if file == Path::new("-") {
        ("stdin".to_owned(), start_of(io::stdin().lock()))
    } else {
        let file = environment.absolute(file);
        (file.display().to_string(), File::open(&file).and_then(start_of))
    };
    let text = read.with_context(|| format!("reading the machine in {name}"))?;
    anyhow::ensure!(
        text.len() <= LONGEST,
        "{name} has more than {LONGEST} bytes: it does not describe a machine"
    );
    serde_json::from_slice(&text)
        .with_context(|| format!("{name} is not what `modelctl hardware --json` prints"))
}

/// A device or a pipe may never end: no more is read than shows that it is too long.
fn start_of(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(LONGEST as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}
