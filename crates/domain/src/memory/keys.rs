//! What the keys of an architecture say of its sizes.

use super::{families::Family, shape::Widths};
use crate::facts::Facts;

/// No width, rank or count of a real model comes near; sums of a few such numbers cannot overflow.
const MAX_NUMBER: u64 = 1 << 32;

/// A key of the architecture with one number, not negative.
pub(super) fn number(facts: &Facts, key: &str) -> Option<u64> {
    believed(*facts.hyperparameters.get(key)?.first()?)
}

pub(super) fn believed(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number <= MAX_NUMBER)
}

pub(super) fn widths(facts: &Facts) -> Widths {
    let embedding = facts.embedding_length.unwrap_or(0);
    let heads =
        facts.attention.as_ref().and_then(|attention| attention.heads.iter().max().copied()).unwrap_or(0);
    let key = facts.attention.as_ref().map_or(0, |attention| attention.key_length);
    Widths {
        embedding,
        vocabulary: facts.vocabulary.unwrap_or(0),
        heads,
        queries: heads.saturating_mul(key),
        head: facts
            .attention
            .as_ref()
            .map_or((0, 0), |attention| (attention.key_length, attention.value_length)),
        keys: 0,
        values: 0,
        experts_used: facts.experts.map_or(0, |experts| experts.used),
        experts: facts.experts.map_or(0, |experts| experts.count),
        recurrent: recurrent(facts, embedding),
    }
}

/// Elements of the recurrent state of a layer that has one (`n_embd_r` and `n_embd_s` in src/llama-hparams.cpp).
pub(super) fn recurrent(facts: &Facts, embedding: u64) -> (u64, u64) {
    if let Some(head) = number(facts, "wkv.head_size") {
        return (embedding.saturating_mul(2), embedding.saturating_mul(head));
    }
    if let Some(cache) = number(facts, "shortconv.l_cache") {
        return (embedding.saturating_mul(cache.saturating_sub(1)), 0);
    }
    let Some(inner) = number(facts, "ssm.inner_size") else { return (0, 0) };
    let state = number(facts, "ssm.state_size").unwrap_or(0);
    let groups = number(facts, "ssm.group_count").unwrap_or(0);
    let convolved = inner.saturating_add(super::product([2, groups, state]));
    let kept = number(facts, "ssm.conv_kernel").unwrap_or(0).saturating_sub(1);
    (kept.saturating_mul(convolved), state.saturating_mul(inner))
}

/// Which layers have a sliding window: an array of flags, a period in the file, or the architecture's own.
pub(super) fn windows(facts: &Facts, family: &Family, window: Option<u64>, layers: u64) -> Vec<bool> {
    const KEY: &str = "attention.sliding_window_pattern";
    let flags = facts.hyperparameters.get(KEY).filter(|flags| flags.len() as u64 == layers && layers > 1);
    if let Some(flags) = flags {
        return flags.iter().map(|flag| *flag != 0).collect();
    }
    let period = number(facts, KEY).or(family.swa_period).filter(|period| *period > 0 && window.is_some());
    (1..=layers).map(|layer| period.is_some_and(|period| !layer.is_multiple_of(period))).collect()
}

/// Key and value elements of one head; Gemma 4 has others in layers with a window.
pub(super) fn head_lengths(
    facts: &Facts,
    attention: &crate::facts::Attention,
    is_windowed: bool,
) -> (u64, u64) {
    let own = |key: &str, otherwise: u64| {
        if is_windowed { number(facts, key).unwrap_or(otherwise) } else { otherwise }
    };
    (
        own("attention.key_length_swa", attention.key_length),
        own("attention.value_length_swa", attention.value_length),
    )
}
