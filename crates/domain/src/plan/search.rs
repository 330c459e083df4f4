//! The search: which context and which placement fit, by bisection over memory that only ever grows with either.

use super::{BATCH, Goal, Knobs, Limit, QUANTIZED, Room, UBATCH, knobs::Fixed};
use crate::memory::{Breakdown, CacheType, Estimate, FlashAttention, Settings, Shape, TensorSplit};

/// Everything that a search looks at.
pub(super) struct Task<'a> {
    pub(super) shape: &'a Shape,
    pub(super) estimate: &'a Estimate<'a>,
    pub(super) room: &'a Room<'a>,
    pub(super) knobs: &'a Knobs,
    pub(super) fixed: &'a Fixed,
    pub(super) embeds: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) goal: Goal,
    pub(super) settings: Settings,
    pub(super) breakdown: Breakdown,
    pub(super) limit: Limit,
}

/// Contexts are multiples of this many tokens.
pub(super) const STEP: u64 = 256;

/// A context that people can work with, tokens.
pub(super) const USABLE: u64 = 16_384;

/// The least that `fastest` pays for with layers: what llama.cpp's own fit falls to (`--fit-ctx`).
const LEAST: u64 = 4096;

impl Task<'_> {
    pub(super) fn goal(&self) -> Goal {
        self.knobs.goal.unwrap_or(Goal::Balanced)
    }

    pub(super) fn best(&self) -> Found {
        let plain = self.place(self.settings(CacheType::F16));
        let may_quantize = self.knobs.allow_kv_quant == Some(true)
            && self.fixed.cache_type_k.is_none()
            && self.fixed.cache_type_v.is_none()
            && self.fixed.flash_attn != Some(FlashAttention::Off)
            && self.estimate.flash_attention() == FlashAttention::On;
        let (keys, values) = self.shape.heads();
        if !may_quantize || plain.limit == Limit::Training || !QUANTIZED.fits(keys) || !QUANTIZED.fits(values)
        {
            return plain;
        }
        let quantized = self.place(self.settings(QUANTIZED));
        let worth = |found: &Found| (found.settings.gpu_layers, found.settings.ctx);
        if worth(&quantized) > worth(&plain) { quantized } else { plain }
    }

    /// How much of the weights' size would fit with that context, in percent; None where not even none would.
    pub(super) fn part_that_fits(&self, ctx: u64) -> Option<u64> {
        let knobs = Knobs { ctx: Some(ctx), ..self.knobs.clone() };
        let fits = |part: u64| {
            let shape = self.shape.resized(part);
            let estimate = self.estimate.of(&shape);
            let task = Task { shape: &shape, estimate: &estimate, knobs: &knobs, ..*self };
            task.fits(&task.best().settings)
        };
        first(0, 100, |less| fits(100 - less)).map(|less| 100 - less)
    }

    /// The user's knobs and llama.cpp's defaults; context and placement are still to be found.
    pub(super) fn settings(&self, cache: CacheType) -> Settings {
        let Self { knobs, fixed, .. } = self;
        let parallel = knobs.parallel.unwrap_or(1);
        let batch = knobs.batch.unwrap_or_else(|| BATCH.max(knobs.ubatch.unwrap_or(0)));
        let cache_type_k = fixed.cache_type_k.unwrap_or(cache);
        let is_one_cache = self.shape.cache_rows().1 == 0;
        Settings {
            ctx: 0,
            gpu_layers: 0,
            n_cpu_moe: 0,
            tensor_split: TensorSplit::default(),
            cache_type_k,
            cache_type_v: fixed.cache_type_v.unwrap_or(if is_one_cache { cache_type_k } else { cache }),
            flash_attn: fixed.flash_attn.unwrap_or_else(|| self.estimate.flash_attention()),
            batch,
            ubatch: knobs.ubatch.unwrap_or(if self.embeds { self.shape.trained } else { UBATCH }).min(batch),
            parallel,
            kv_unified: knobs.kv_unified.unwrap_or(parallel > 1),
            swa_full: knobs.swa_full.unwrap_or(false),
            kv_offload: knobs.kv_offload.unwrap_or(true),
            op_offload: knobs.op_offload.unwrap_or(true),
            n_outputs: knobs.n_outputs.unwrap_or(if self.embeds { batch } else { parallel }),
        }
    }

    /// The largest context that is of use, tokens: as trained, for each slot.
    pub(super) fn most(&self, settings: &Settings) -> u64 {
        let slots = if settings.kv_unified { 1 } else { settings.parallel.max(1) };
        let most = self.shape.trained.saturating_mul(slots);
        if most < STEP { most } else { most / STEP * STEP }
    }

    fn place(&self, start: Settings) -> Found {
        let goal = self.goal();
        if let Some(ctx) = self.knobs.ctx {
            let at = Settings { ctx, ..start };
            return self.found(self.most_held(&at).unwrap_or_else(|| self.least(&at)), Limit::Request);
        }
        let most = self.most(&start);
        let all = self.shape.layers + 1;
        let whole =
            Settings { gpu_layers: self.fixed.gpu_layers.unwrap_or(all), n_cpu_moe: self.moe(0), ..start };
        let enough = match goal {
            Goal::MaxCtx => STEP,
            Goal::Balanced => USABLE,
            Goal::Fastest => LEAST,
        };
        let has_fixed_place = self.fixed.gpu_layers.is_some()
            && (self.knobs.n_cpu_moe.is_some() || self.shape.expert_layers() == 0);
        if let Some(ctx) = self.largest(&whole).filter(|ctx| *ctx >= enough.min(most) || has_fixed_place) {
            return self.grown(Settings { ctx, ..whole });
        }
        // Not whole: experts leave first, then layers; the context is paid for with them as far as the goal says.
        let floor = if goal == Goal::MaxCtx { most } else { enough.min(most) };
        let without_experts = Settings { n_cpu_moe: self.moe(self.shape.expert_layers()), ..whole };
        let least = LEAST.min(most);
        let reachable =
            self.largest(&without_experts).filter(|ctx| *ctx >= least && self.shape.expert_layers() > 0);
        let wanted = reachable.map_or(floor, |ctx| ctx.min(floor));
        let placed = self.most_on_device(&Settings { ctx: wanted, ..start });
        if let Some(settings) = placed {
            return self.grown(settings);
        }
        if let Some(settings) = self.most_anywhere(&start) {
            let found = self.grown(settings);
            // With more of it, more layers could leave the device.
            let limit = if found.limit == Limit::GpuMemory { Limit::HostMemory } else { found.limit };
            return Found { limit, ..found };
        }
        let at = Settings { ctx: STEP.min(most.max(1)), ..start };
        let closest = self.most_held(&at).unwrap_or_else(|| self.least(&at));
        let (on_device, _) = self.missing(&closest);
        self.found(closest, if on_device > 0 { Limit::GpuMemory } else { Limit::HostMemory })
    }

    /// Grows the context as far as the placement allows.
    fn grown(&self, settings: Settings) -> Found {
        let ctx = self.largest(&settings).unwrap_or(settings.ctx).max(settings.ctx);
        let settings = Settings { ctx, ..settings };
        let limit = self.limit(&settings);
        self.found(settings, limit)
    }

    /// What forbids one step more.
    fn limit(&self, settings: &Settings) -> Limit {
        if settings.ctx >= self.most(settings) {
            return Limit::Training;
        }
        let more = Settings { ctx: settings.ctx.saturating_add(STEP), ..*settings };
        let (on_device, _) = self.missing(&more);
        if on_device > 0 { Limit::GpuMemory } else { Limit::HostMemory }
    }

    fn moe(&self, otherwise: u64) -> u64 {
        self.knobs.n_cpu_moe.unwrap_or(otherwise)
    }

    /// Nothing on the device that need not be there.
    fn least(&self, settings: &Settings) -> Settings {
        Settings {
            gpu_layers: self.fixed.gpu_layers.unwrap_or(0),
            n_cpu_moe: self.moe(if self.fixed.gpu_layers.is_some() { self.shape.expert_layers() } else { 0 }),
            ..*settings
        }
    }

    /// The placement with the most on the device at this context; None where the device holds not even its buffers.
    fn most_held(&self, settings: &Settings) -> Option<Settings> {
        let (all, experts) = (self.shape.layers + 1, self.shape.expert_layers());
        let with = |gpu_layers: u64, n_cpu_moe: u64| Settings { gpu_layers, n_cpu_moe, ..*settings };
        let is_held = |gpu_layers: u64, n_cpu_moe: u64| self.missing(&with(gpu_layers, n_cpu_moe)).0 == 0;
        let layers = self.fixed.gpu_layers.unwrap_or(all);
        let may_move = experts > 0 && self.knobs.n_cpu_moe.is_none();
        let placed = match first(0, experts, |moved| is_held(layers, moved)).filter(|_| may_move) {
            Some(moved) => with(layers, moved),
            None if self.fixed.gpu_layers.is_some() => with(layers, self.moe(experts)),
            None => {
                let moved = self.moe(experts);
                let left = first(0, all, |left| is_held(all - left, moved))?;
                with(all - left, moved)
            }
        };
        Some(placed)
    }

    /// The same; None where main memory does not hold the rest.
    fn most_on_device(&self, settings: &Settings) -> Option<Settings> {
        self.most_held(settings).filter(|placed| self.fits(placed))
    }

    /// The largest context for which there is a placement.
    fn most_anywhere(&self, start: &Settings) -> Option<Settings> {
        let most = self.most(start);
        let at = |ctx: u64| self.most_on_device(&Settings { ctx, ..*start });
        at(most).or_else(|| {
            let steps = most / STEP;
            let less = first(0, steps, |less| at((steps - less) * STEP).is_some())?;
            at((steps - less) * STEP).filter(|found| found.ctx > 0)
        })
    }

    /// The largest context for a placement, a multiple of `STEP` or as trained; None where not even one step fits.
    fn largest(&self, settings: &Settings) -> Option<u64> {
        let most = self.most(settings);
        let at = |ctx: u64| Settings { ctx, ..*settings };
        if self.fits(&at(most)) {
            return Some(most);
        }
        let steps = most / STEP;
        let missing = first(0, steps, |less| self.fits(&at((steps - less) * STEP)))?;
        Some((steps - missing) * STEP).filter(|ctx| *ctx > 0)
    }

    pub(super) fn fits(&self, settings: &Settings) -> bool {
        self.missing(settings) == (0, 0)
    }

    pub(super) fn missing(&self, settings: &Settings) -> (u64, u64) {
        self.room.missing(&self.estimate.breakdown(settings))
    }

    pub(super) fn found(&self, settings: Settings, limit: Limit) -> Found {
        let breakdown = self.estimate.breakdown(&settings);
        Found { goal: self.goal(), settings, breakdown, limit }
    }
}

/// The first number from `low` to `high` for which a condition holds that, once true, stays true.
fn first(low: u64, high: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    if !holds(high) {
        return None;
    }
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    Some(high)
}
