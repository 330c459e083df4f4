//! The search for one set of devices: which context and which placement serve the goal. What fits is `place`'s business.

use super::{
    Extras, Goal, Knobs, Limit, QUANTIZED,
    knobs::Fixed,
    place::{Bound, Counted, Seen},
    room::Room,
};
use crate::memory::{CacheType, Estimate, FlashAttention, Settings, Shape};

/// Everything that a search looks at.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) shape: &'a Shape,
    pub(super) estimate: &'a Estimate<'a>,
    pub(super) room: &'a Room<'a>,
    /// Of this estimate and room.
    pub(super) seen: &'a Seen,
    pub(super) knobs: &'a Knobs,
    pub(super) fixed: &'a Fixed,
    pub(super) extras: Extras,
}

#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) counted: Counted,
    pub(super) limit: Limit,
}

impl Found {
    pub(super) fn settings(&self) -> &Settings {
        &self.counted.settings
    }

    pub(super) fn fits(&self) -> bool {
        self.counted.fits()
    }
}

/// Contexts are multiples of this many tokens.
pub(super) const STEP: u64 = 256;

/// A context that people can work with, tokens.
pub(super) const USABLE: u64 = 16_384;

/// What llama.cpp's own fit falls to (`--fit-ctx`), tokens: the least that a model is kept whole for.
const LEAST: u64 = 4096;

/// So many sixteenths of a usable context are enough for experts to stay, of which a token reads few; whole layers stay for
/// more than `LEAST`: without them all goes at the speed of main memory.
const WHOLE: u64 = 7;

/// The least that the largest context gives for a model that stays whole, tokens: what a question and its answer take.
const SHORT: u64 = 2048;

/// Smaller batches, tried in this order where they make the difference: each half costs prompts some of their speed.
const SMALLER: [u64; 2] = [256, 128];

impl Task<'_> {
    pub(super) fn goal(&self) -> Goal {
        self.knobs.goal.unwrap_or(Goal::Balanced)
    }

    pub(super) fn all_layers(&self) -> u64 {
        self.shape.layers + 1
    }

    pub(super) fn best(&self) -> Found {
        let plain = self.best_batch(&self.settings(CacheType::F16));
        if !self.may_quantize() || plain.limit == Limit::Training && self.is_whole(&plain) {
            return plain;
        }
        let quantized = self.best_batch(&self.settings(QUANTIZED));
        if self.worth(&quantized) > self.worth(&plain) { quantized } else { plain }
    }

    fn may_quantize(&self) -> bool {
        self.knobs.allow_kv_quant == Some(true) && self.can_cache(QUANTIZED)
    }

    /// Whether keys and values may be kept so, as far as the user and the model leave it open.
    pub(super) fn can_cache(&self, kind: CacheType) -> bool {
        self.fixed.cache_type_k.is_none() && self.fixed.cache_type_v.is_none() && self.has_cache(kind)
    }

    /// Whether llama.cpp would keep them so.
    pub(super) fn has_cache(&self, kind: CacheType) -> bool {
        let (keys, values) = self.shape.heads();
        let is_on = self.fixed.flash_attn != Some(FlashAttention::Off)
            && self.estimate.flash_attention() == FlashAttention::On;
        let is_free = !self.extras.build.lacks_cache_types;
        (is_on && is_free || !kind.is_quantized()) && kind.fits(keys) && kind.fits(values)
    }

    /// What a goal asks for, the most important first.
    pub(super) fn worth(&self, found: &Found) -> (bool, bool, [u64; 3]) {
        let Settings { ctx, gpu_layers, n_cpu_moe, .. } = *found.settings();
        let on_devices = self.shape.expert_layers().saturating_sub(n_cpu_moe);
        let order = match self.goal() {
            Goal::MaxCtx => [ctx, gpu_layers, on_devices],
            Goal::Fastest | Goal::Balanced => [gpu_layers, on_devices, ctx],
        };
        (found.fits(), self.is_whole(found), order)
    }

    /// Everything is on devices.
    pub(super) fn is_whole(&self, found: &Found) -> bool {
        found.settings().gpu_layers == self.all_layers() && found.settings().n_cpu_moe == 0
    }

    /// Whether slower devices have nothing to add.
    pub(super) fn is_enough(&self, found: &Found) -> bool {
        let Settings { ctx, .. } = *found.settings();
        let is_long = match self.goal() {
            Goal::MaxCtx => found.limit == Limit::Training,
            Goal::Balanced => ctx >= self.usable(found.settings()),
            Goal::Fastest => true,
        };
        found.fits() && self.is_whole(found) && (is_long || found.limit == Limit::Request)
    }

    /// A smaller batch where it makes it fit, makes it whole, or doubles the context.
    fn best_batch(&self, start: &Settings) -> Found {
        let usual = self.place(start);
        let is_given = self.knobs.ubatch.is_some() || self.extras.embeds || self.room.places.is_empty();
        let is_good =
            usual.fits() && (self.is_whole(&usual) && usual.settings().ctx >= LEAST || self.is_placed());
        if is_given
            || is_good
            || usual.limit == Limit::Training && usual.fits() && self.goal() == Goal::MaxCtx
        {
            return usual;
        }
        for ubatch in SMALLER.into_iter().filter(|ubatch| *ubatch < start.ubatch) {
            let smaller = Settings { ubatch, ..*start };
            let is_hope = !usual.fits() || !self.is_whole(&usual) && self.whole(&smaller).is_some();
            let found = is_hope.then(|| self.place(&smaller)).filter(Found::fits);
            let is_more = |found: &Found| found.settings().ctx / 2 >= usual.settings().ctx;
            let is_better = |found: &Found| {
                !usual.fits() || self.is_whole(found) && (!self.is_whole(&usual) || is_more(found))
            };
            if let Some(found) = found.filter(is_better) {
                return found;
            }
        }
        usual
    }

    /// As the user says, or as it has to be.
    fn n_cpu_moe(&self) -> Option<u64> {
        self.knobs.n_cpu_moe.or(self.extras.build.lacks_n_cpu_moe.then_some(0))
    }

    /// The user says what goes where.
    fn is_placed(&self) -> bool {
        self.fixed.gpu_layers.is_some() && (self.n_cpu_moe().is_some() || self.shape.expert_layers() == 0)
    }

    /// How much of the weights' size would fit with that context, in percent; None where not even none would.
    pub(super) fn part_that_fits(&self, ctx: u64) -> Option<u64> {
        let knobs = Knobs { ctx: Some(ctx), ..self.knobs.clone() };
        let fits = |part: u64| {
            let shape = self.shape.resized(part);
            let (estimate, seen) = (self.estimate.of(&shape), Seen::default());
            Task { shape: &shape, estimate: &estimate, seen: &seen, knobs: &knobs, ..*self }.best().fits()
        };
        fits(0).then(|| super::place::last_that(100, fits))
    }

    /// The user's knobs and llama.cpp's defaults; context and placement are still to be found.
    pub(super) fn settings(&self, cache: CacheType) -> Settings {
        let Self { knobs, fixed, .. } = self;
        let usual = Settings::default();
        let parallel = knobs.slots();
        let batch = knobs.batch.unwrap_or_else(|| usual.batch.max(knobs.ubatch.unwrap_or(0)));
        let cache_type_k = fixed.cache_type_k.unwrap_or(cache);
        let is_one_cache = self.shape.cache_rows().1 == 0;
        Settings {
            cache_type_k,
            cache_type_v: fixed.cache_type_v.unwrap_or(if is_one_cache { cache_type_k } else { cache }),
            flash_attn: fixed.flash_attn.unwrap_or_else(|| self.estimate.flash_attention()),
            batch,
            ubatch: knobs
                .ubatch
                .unwrap_or(if self.extras.embeds { self.shape.trained } else { usual.ubatch })
                .min(batch),
            parallel,
            kv_unified: knobs.is_unified(),
            swa_full: knobs.swa_full.unwrap_or(usual.swa_full),
            kv_offload: knobs.kv_offload.unwrap_or(usual.kv_offload),
            op_offload: knobs.op_offload.unwrap_or(usual.op_offload),
            n_outputs: knobs.n_outputs.unwrap_or(if self.extras.embeds { batch } else { parallel }),
            ..usual
        }
    }

    /// The largest context that is of use, tokens: as trained, for each slot.
    pub(super) fn most(&self, settings: &Settings) -> u64 {
        let slots = if settings.kv_unified { 1 } else { settings.parallel.max(1) };
        let most = self.shape.trained.saturating_mul(slots);
        if most < STEP { most } else { most / STEP * STEP }
    }

    /// The context that a usable one is for this model, tokens.
    pub(super) fn usable(&self, settings: &Settings) -> u64 {
        USABLE.min(self.most(settings))
    }

    /// Everything on devices but what the user put elsewhere, with the most context, where that is as much as the goal asks.
    fn whole(&self, start: &Settings) -> Option<Counted> {
        let whole = Settings {
            gpu_layers: self.fixed.gpu_layers.unwrap_or(self.all_layers()),
            n_cpu_moe: self.n_cpu_moe().unwrap_or(0),
            ..*start
        };
        if let Some(ctx) = self.knobs.total_ctx() {
            return Some(self.count(&Settings { ctx, ..whole }, None)).filter(Counted::fits);
        }
        let enough = match self.goal() {
            _ if self.is_placed() => STEP,
            Goal::MaxCtx => SHORT,
            Goal::Balanced if self.shape.expert_layers() > 0 => (self.usable(start) / 16 * WHOLE).max(LEAST),
            Goal::Balanced => LEAST + STEP,
            Goal::Fastest => LEAST,
        };
        self.largest(&whole, enough)
    }

    fn place(&self, start: &Settings) -> Found {
        if let Some(ctx) = self.knobs.total_ctx() {
            let at = Settings { ctx, ..*start };
            let placed = self.most_held(&at).unwrap_or_else(|| self.least(&at));
            return self.found(placed, Limit::Request);
        }
        let goal = self.goal();
        let most = self.most(start);
        if let Some(whole) = self.whole(start) {
            let limit = self.limit(&whole);
            return self.found(whole, limit);
        }
        // Not whole: experts leave first, then layers; the context is paid for with them as far as the goal says.
        let floor = match goal {
            Goal::MaxCtx => most,
            Goal::Balanced => self.usable(start),
            Goal::Fastest => LEAST.min(most),
        };
        let wanted = self.kept_for(start, floor).unwrap_or(floor);
        let placed = self.most_held(&Settings { ctx: wanted, ..*start }).filter(Counted::fits);
        if let Some(placed) = placed {
            return self.grown(placed);
        }
        if let Some(placed) = self.most_anywhere(start) {
            let found = self.grown(placed);
            // With more of it, more layers could leave the device.
            let limit = if found.limit == Limit::GpuMemory { Limit::HostMemory } else { found.limit };
            return Found { limit, ..found };
        }
        let at = Settings { ctx: STEP.min(most.max(1)), ..*start };
        let closest = self.most_held(&at).unwrap_or_else(|| self.least(&at));
        let limit = if closest.missing.0 > 0 { Limit::GpuMemory } else { Limit::HostMemory };
        self.found(closest, limit)
    }

    /// The context for which experts are all that leaves the devices; None where layers have to as well.
    fn kept_for(&self, start: &Settings, floor: u64) -> Option<u64> {
        let experts = self.shape.expert_layers();
        if experts == 0 || floor <= USABLE {
            return None; // most_held tries experts first
        }
        let without = Settings {
            gpu_layers: self.fixed.gpu_layers.unwrap_or(self.all_layers()),
            n_cpu_moe: self.n_cpu_moe().unwrap_or(experts),
            ..*start
        };
        self.largest(&without, USABLE).map(|found| found.settings.ctx.min(floor))
    }

    /// Grows the context as far as the placement allows.
    fn grown(&self, placed: Counted) -> Found {
        let grown = self.largest(&placed.settings, placed.settings.ctx);
        let grown = grown.unwrap_or(Counted { beyond: None, ..placed });
        let limit = self.limit(&grown);
        self.found(grown, limit)
    }

    /// What forbids one step more.
    fn limit(&self, at: &Counted) -> Limit {
        if at.settings.ctx >= self.most(&at.settings) {
            return Limit::Training;
        }
        let more = Settings { ctx: at.settings.ctx.saturating_add(STEP), ..at.settings };
        let missing = at.beyond.unwrap_or_else(|| self.count(&more, Some(at)).missing);
        if missing.0 > 0 { Limit::GpuMemory } else { Limit::HostMemory }
    }

    /// Nothing on the device that need not be there.
    fn least(&self, settings: &Settings) -> Counted {
        let experts = if self.fixed.gpu_layers.is_some() { self.shape.expert_layers() } else { 0 };
        let least = Settings {
            gpu_layers: self.fixed.gpu_layers.unwrap_or(0),
            n_cpu_moe: self.n_cpu_moe().unwrap_or(experts),
            ..*settings
        };
        self.count(&least, None)
    }

    /// The placement with the most on the devices at this context; None where they do not even hold their buffers.
    fn most_held(&self, settings: &Settings) -> Option<Counted> {
        let experts = self.shape.expert_layers();
        let with = |gpu_layers: u64, n_cpu_moe: u64| Settings { gpu_layers, n_cpu_moe, ..*settings };
        let layers = self.fixed.gpu_layers.unwrap_or(self.all_layers());
        if experts > 0 && self.n_cpu_moe().is_none() {
            let held = self.last((0, experts), Bound::Devices, |kept| with(layers, experts - kept));
            if held.is_some() {
                return held;
            }
        }
        let moved = self.n_cpu_moe().unwrap_or(experts);
        if self.fixed.gpu_layers.is_some() {
            return Some(self.count(&with(layers, moved), None));
        }
        self.last((0, self.all_layers()), Bound::Devices, |kept| with(kept, moved))
    }

    /// The largest context for which there is a placement.
    fn most_anywhere(&self, start: &Settings) -> Option<Counted> {
        let most = self.most(start);
        let at = |ctx: u64| self.most_held(&Settings { ctx, ..*start }).filter(Counted::fits);
        if most < STEP {
            return at(most);
        }
        let steps = super::place::last_that(most / STEP, |steps| at(steps.saturating_mul(STEP)).is_some());
        at(steps.saturating_mul(STEP)).filter(|found| found.settings.ctx > 0)
    }

    /// The largest context for a placement, a multiple of `STEP` or as trained; None where there is none of `enough`.
    pub(super) fn largest(&self, settings: &Settings, enough: u64) -> Option<Counted> {
        let most = self.most(settings);
        let (low, high) = (enough.div_ceil(STEP).max(1), most / STEP);
        let at = |steps: u64| Settings { ctx: steps.saturating_mul(STEP).min(most), ..*settings };
        let high = high.max(1);
        self.last((low.min(high), high), Bound::All, at)
    }

    pub(super) fn found(&self, counted: Counted, limit: Limit) -> Found {
        Found { counted: self.evened(counted), limit }
    }
}
