//! What is surprising about a plan that fits: what the server will not give, and what goes slower than it could.

use super::{Planned, ground::Ground, search::STEP};
use crate::{
    Kind,
    facts::Facts,
    memory::{FlashAttention, MEASURED_BUILD, Settings},
};

/// What a model is not made for, whatever the plan.
pub fn caution(facts: &Facts) -> Option<String> {
    let tuning = facts.tuning.as_ref().filter(|tuning| !tuning.is_instruct)?;
    let is_model = facts.kind.is_none_or(|kind| kind == Kind::Llm);
    is_model.then(|| {
        format!("a base model ({}): it goes on with a text, and was not taught to chat", tuning.because)
    })
}

pub(super) fn of(planned: &Planned, ground: &Ground<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(padded(&planned.settings));
    lines.extend(beyond_training(&planned.settings, ground.shape.trained));
    if !ground.shape.is_understood() {
        lines.push(format!(
            "compute buffers of {} are not well known: three times what is reckoned is kept free for them",
            ground.shape.architecture
        ));
    }
    if ground.known.extras.build.is_other && !planned.devices.is_empty() && ground.shape.is_understood() {
        lines.push(format!(
            "compute buffers are reckoned for llama.cpp {MEASURED_BUILD}, and this is another build: more is kept free \
             until a launch has shown what it takes"
        ));
    }
    if planned.settings.flash_attn == FlashAttention::Off && ground.shape.has_cache() {
        lines.push("without flash attention, which takes memory with every token of context".to_owned());
    }
    lines
}

/// llama.cpp rounds up the context of all slots, and of each one where they do not share it (src/llama-context.cpp).
fn padded(settings: &Settings) -> Option<String> {
    let (of_one, slots) = (settings.ctx_per_slot(), settings.parallel.max(1));
    let (all, each) = match settings.kv_unified || slots == 1 {
        true => (of_one, String::new()),
        false => (of_one.saturating_mul(slots), format!(", {of_one} for each of {slots} slots")),
    };
    (all != settings.ctx).then(|| {
        format!(
            "the engine keeps contexts in steps of {STEP} tokens: of {} it makes {all}{each}",
            settings.ctx
        )
    })
}

/// llama-server caps every slot at the trained context, whatever the cache holds (tools/server/server-context.cpp).
fn beyond_training(settings: &Settings, trained: u64) -> Option<String> {
    // Contexts are rounded up to whole steps.
    let is_beyond = |tokens: u64, used: u64| tokens > used.saturating_add(STEP - 1);
    if !is_beyond(settings.ctx_per_slot(), trained) {
        return None;
    }
    let slots = if settings.kv_unified { settings.parallel.max(1) } else { 1 };
    let rest = if is_beyond(settings.ctx_per_slot(), trained.saturating_mul(slots)) {
        ": the rest takes memory for nothing"
    } else {
        ""
    };
    Some(format!("the server gives a slot at most the {trained} tokens that the model was trained for{rest}"))
}
