//! What the user fixes of a plan, and what of it contradicts itself.

use super::{Refusal, devices::NONE};
use crate::{
    ByteSize,
    memory::{CacheType, FlashAttention, Shape},
    model::closed,
};
use serde::{Deserialize, Serialize};

closed!(
    /// What a plan is good for.
    Goal {
        /// The largest context.
        MaxCtx = "max-ctx",
        /// The most layers and experts on the device.
        Fastest = "fastest",
        /// A usable context, then the most layers.
        Balanced = "balanced",
    }
);

/// Knobs under llama.cpp's own names; None is left to the planner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Knobs {
    pub goal: Option<Goal>,
    /// Tokens.
    pub ctx: Option<u64>,
    /// Slots.
    pub parallel: Option<u64>,
    /// How many use it at once: each has a slot, and `ctx` is each one's own.
    pub users: Option<u64>,
    /// `all`, `auto` or a number; the output layer counts as one.
    pub gpu_layers: Option<String>,
    pub n_cpu_moe: Option<u64>,
    pub cache_type_k: Option<String>,
    pub cache_type_v: Option<String>,
    /// The planner may quantize the cache.
    pub allow_kv_quant: Option<bool>,
    /// `on`, `off` or `auto`.
    pub flash_attn: Option<String>,
    pub batch: Option<u64>,
    pub ubatch: Option<u64>,
    pub kv_unified: Option<bool>,
    pub swa_full: Option<bool>,
    pub kv_offload: Option<bool>,
    pub op_offload: Option<bool>,
    /// Tokens of a batch whose logits are computed.
    pub n_outputs: Option<u64>,
    /// Devices by the engine's own names; `none` is the processor alone.
    pub device: Option<Vec<String>>,
    pub tensor_split: Option<Vec<f64>>,
    /// Bytes that stay free on each device.
    pub margin: Option<u64>,
}

/// The knobs, understood.
#[derive(Debug, Clone, Default)]
pub(super) struct Fixed {
    pub(super) gpu_layers: Option<u64>,
    pub(super) cache_type_k: Option<CacheType>,
    pub(super) cache_type_v: Option<CacheType>,
    pub(super) flash_attn: Option<FlashAttention>,
    /// `--tensor-split`, in llama.cpp's own precision.
    pub(super) parts: Option<Vec<f32>>,
}

/// A context that no file of keys and no memory holds, tokens.
const ABSURD: u64 = 1 << 30;

/// Parts are proportions; sums of sixteen such numbers are exact enough in single precision.
const LARGEST_PART: f64 = 1e12;

/// More slots than any server has.
const MOST_SLOTS: u64 = 4096;

fn refuse(why: String, hint: &str) -> Refusal {
    Refusal { why, hint: Some(hint.to_owned()) }
}

impl Knobs {
    pub(crate) fn slots(&self) -> u64 {
        self.users.or(self.parallel).unwrap_or(1)
    }

    /// Whether the slots share one cache. Users do not: one of them could take what is the others'.
    pub(crate) fn is_unified(&self) -> bool {
        self.kv_unified.unwrap_or(self.users.is_none() && self.slots() > 1)
    }

    /// Tokens of all slots together.
    pub(crate) fn total_ctx(&self) -> Option<u64> {
        Some(self.ctx?.saturating_mul(self.users.unwrap_or(1)))
    }

    /// Refuses what makes no sense, whatever the model.
    pub fn check(&self) -> Result<(), Refusal> {
        self.words().map(drop)
    }

    /// Understands the words among the knobs, and refuses what makes no sense for this model.
    pub(super) fn read(&self, shape: &Shape) -> Result<Fixed, Refusal> {
        let words = self.words()?;
        if self.n_cpu_moe.is_some_and(|layers| layers > 0) && shape.expert_layers() == 0 {
            return Err(refuse(
                "--n-cpu-moe moves experts, and this model has none".into(),
                "--gpu-layers moves whole layers",
            ));
        }
        let gpu_layers = words.gpu_layers.map(|layers| layers.min(shape.layers + 1));
        let fixed = Fixed { gpu_layers, ..words };
        check_cache(&fixed, shape)?;
        Ok(fixed)
    }

    /// `all` layers are `u64::MAX` here.
    fn words(&self) -> Result<Fixed, Refusal> {
        self.check_numbers()?;
        let fixed = Fixed {
            gpu_layers: self.gpu_layers()?,
            cache_type_k: cache_type(self.cache_type_k.as_deref())?,
            cache_type_v: cache_type(self.cache_type_v.as_deref())?,
            flash_attn: self.flash_attn()?,
            parts: self.parts()?,
        };
        self.check_place(&fixed)?;
        let is_quantized = fixed.cache_type_v.is_some_and(CacheType::is_quantized);
        if is_quantized && fixed.flash_attn == Some(FlashAttention::Off) {
            return Err(refuse(
                "a quantized V cache needs flash attention, and --flash-attn off forbids it".into(),
                "leave --flash-attn out, or give --cache-type-v f16",
            ));
        }
        Ok(fixed)
    }

    fn check_place(&self, fixed: &Fixed) -> Result<(), Refusal> {
        let avoids_devices = self.device.as_ref().is_some_and(|ids| ids.iter().any(|id| id == NONE));
        if avoids_devices && fixed.gpu_layers.is_some_and(|layers| layers > 0) {
            return Err(refuse(
                "--gpu-layers puts layers on a device, and --device none forbids all of them".into(),
                "give one of the two",
            ));
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), Refusal> {
        if self.goal == Some(Goal::MaxCtx) && self.ctx.is_some() {
            return Err(refuse(
                "--ctx says how much context there is, and --max-ctx asks for the most".into(),
                "give one of the two",
            ));
        }
        let limits = [
            ("--ctx", self.ctx, 1, ABSURD),
            ("--parallel", self.parallel, 1, MOST_SLOTS),
            ("--users", self.users, 1, MOST_SLOTS),
            ("--batch", self.batch, 1, ABSURD),
            ("--ubatch", self.ubatch, 1, ABSURD),
            ("--n-outputs", self.n_outputs, 1, ABSURD),
        ];
        for (flag, value, least, most) in limits {
            if value.is_some_and(|value| !(least..=most).contains(&value)) {
                return Err(refuse(
                    format!("{flag} goes from {least} to {most}"),
                    "see: modelctl plan --help",
                ));
            }
        }
        if let (Some(users), Some(slots)) = (self.users, self.parallel)
            && users != slots
        {
            return Err(refuse(
                format!("--users {users} gives each user a slot, and --parallel says {slots} slots"),
                "give one of the two",
            ));
        }
        if let Some(margin) = self.margin.filter(|margin| *margin > super::ABSURD) {
            return Err(refuse(
                format!("a margin of {} is more than any device has", ByteSize(margin)),
                "--margin is in MiB",
            ));
        }
        if let (Some(batch), Some(ubatch)) = (self.batch, self.ubatch)
            && ubatch > batch
        {
            return Err(refuse(
                format!("--ubatch {ubatch} is more than --batch {batch}, of which it is a part"),
                "make --batch at least as large",
            ));
        }
        Ok(())
    }

    fn parts(&self) -> Result<Option<Vec<f32>>, Refusal> {
        let Some(parts) = &self.tensor_split else { return Ok(None) };
        let hint = "such as 3,1: three parts on the first device, one on the second";
        let is_part = |part: &f64| part.is_finite() && (0.0..=LARGEST_PART).contains(part);
        if let Some(part) = parts.iter().find(|part| !is_part(part)) {
            return Err(refuse(
                format!("--tensor-split is made of numbers from 0, and {part} is none"),
                hint,
            ));
        }
        if parts.iter().all(|part| *part == 0.0) {
            return Err(refuse("--tensor-split gives no device a part".into(), hint));
        }
        #[expect(clippy::cast_possible_truncation, reason = "llama.cpp keeps them in single precision too")]
        let single = parts.iter().map(|part| *part as f32).collect();
        Ok(Some(single))
    }

    fn gpu_layers(&self) -> Result<Option<u64>, Refusal> {
        match self.gpu_layers.as_deref() {
            None | Some("auto") => Ok(None),
            Some("all") => Ok(Some(u64::MAX)),
            Some(text) => match text.parse::<u64>() {
                Ok(layers) => Ok(Some(layers)),
                Err(_) => Err(refuse(
                    format!("--gpu-layers is all, auto or a number, not `{text}`"),
                    "all counts the output layer too: one more than the model has blocks",
                )),
            },
        }
    }

    fn flash_attn(&self) -> Result<Option<FlashAttention>, Refusal> {
        match self.flash_attn.as_deref() {
            None | Some("auto") => Ok(None),
            Some("on") => Ok(Some(FlashAttention::On)),
            Some("off") => Ok(Some(FlashAttention::Off)),
            Some(text) => {
                Err(refuse(format!("--flash-attn is on, off or auto, not `{text}`"), "leave it out for auto"))
            }
        }
    }
}

fn cache_type(text: Option<&str>) -> Result<Option<CacheType>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let known = CacheType::ALL.iter().find(|kind| kind.name() == text);
    known.map(|kind| Some(*kind)).ok_or_else(|| {
        let names: Vec<&str> = CacheType::ALL.iter().map(|kind| kind.name()).collect();
        refuse(format!("`{text}` is no type of KV cache"), &format!("there are: {}", names.join(" ")))
    })
}

/// What llama.cpp refuses when it makes the cache (`llama_kv_cache`, `llama_init_from_model`).
fn check_cache(fixed: &Fixed, shape: &Shape) -> Result<(), Refusal> {
    let (_, values) = shape.cache_rows();
    let (key, value) = shape.heads();
    for (flag, kind, row) in
        [("--cache-type-k", fixed.cache_type_k, key), ("--cache-type-v", fixed.cache_type_v, value)]
    {
        if let Some(kind) = kind.filter(|kind| !kind.fits(row)) {
            let why = format!(
                "{flag} {} has blocks of 32, and this model's heads of {row} are not made of them",
                kind.name()
            );
            return Err(refuse(why, "f16 goes with every model"));
        }
    }
    let is_one_cache = key > 0 && values == 0;
    if is_one_cache && fixed.cache_type_k != fixed.cache_type_v && fixed.cache_type_v.is_some() {
        return Err(refuse(
            "keys and values of this model are one cache: their types must be the same".into(),
            "give both --cache-type-k and --cache-type-v",
        ));
    }
    Ok(())
}
