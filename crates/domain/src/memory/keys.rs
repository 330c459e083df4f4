//! What the keys of an architecture say of its sizes.

use super::{
    families::{Family, Period, Window},
    shape::Widths,
};
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
    Widths {
        embedding,
        vocabulary: facts.vocabulary.unwrap_or(0),
        heads,
        head: facts
            .attention
            .as_ref()
            .map_or((0, 0), |attention| (attention.key_length, attention.value_length)),
        keys: 0,
        values: 0,
        experts_used: facts.experts.map_or(0, |experts| experts.used),
        experts: facts.experts.map_or(0, |experts| experts.count),
    }
}

/// A number of one layer, of a key with one for all layers or one for each.
pub(super) fn of_layer(facts: &Facts, key: &str, layer: u64) -> Option<u64> {
    match facts.hyperparameters.get(key)?.as_slice() {
        [all] => believed(*all),
        each => believed(*each.get(usize::try_from(layer).ok()?)?),
    }
}

/// Elements of the recurrent state of a layer that has one (`n_embd_r` and `n_embd_s` in src/llama-hparams.cpp).
pub(super) fn recurrent(facts: &Facts, embedding: u64) -> u64 {
    if let Some(head) = number(facts, "wkv.head_size") {
        let shifts = number(facts, "token_shift_count").unwrap_or(2);
        return embedding.saturating_mul(shifts.saturating_add(head));
    }
    if let Some(cache) = number(facts, "shortconv.l_cache") {
        return embedding.saturating_mul(cache.saturating_sub(1));
    }
    let kept = number(facts, "ssm.conv_kernel").map(|kernel| kernel.saturating_sub(1));
    if let Some(head) = number(facts, "kda.head_dim") {
        let heads =
            facts.attention.as_ref().and_then(|attention| attention.heads.first().copied()).unwrap_or(0);
        // Of queries, keys and values; 3 where the file has no kernel.
        let convolved = super::product([3, kept.unwrap_or(3), heads, head]);
        return convolved.saturating_add(super::product([head, head, heads]));
    }
    let Some(inner) = number(facts, "ssm.inner_size") else { return 0 };
    let state = number(facts, "ssm.state_size").unwrap_or(0);
    let groups = number(facts, "ssm.group_count").unwrap_or(0);
    let convolved = inner.saturating_add(super::product([2, groups, state]));
    kept.unwrap_or(0).saturating_mul(convolved).saturating_add(state.saturating_mul(inner))
}

/// Tokens of the sliding window; None where no layer has one.
pub(super) fn window(facts: &Facts, family: &Family, used: u64) -> Option<u64> {
    let of_file = facts.attention.as_ref()?.sliding_window;
    let is_said = facts.hyperparameters.contains_key("attention.sliding_window");
    let window = match family.swa_window {
        Window::Fixed(fixed) if of_file.is_some() || !is_said => Some(fixed),
        Window::Default(default) if !is_said => Some(default),
        Window::Fixed(_) | Window::Default(_) | Window::OfFile => of_file,
    };
    window.filter(|_| family.swa_layers.is_none_or(|layers| layers == used))
}

/// Which layers have a sliding window: flags or a period in the file, or the architecture's own period.
pub(super) fn windows(facts: &Facts, family: &Family, window: Option<u64>, layers: u64) -> Vec<bool> {
    const KEY: &str = "attention.sliding_window_pattern";
    let flags = facts.hyperparameters.get(KEY).filter(|flags| flags.len() > 1);
    let said = number(facts, KEY);
    let period = match (family.swa_period, said) {
        (Some(Period::FullFirst(_)), Some(said)) => Some(Period::FullFirst(said)),
        (_, Some(said)) => Some(Period::FullLast(said)),
        (own, None) => own,
    };
    let is_windowed = |layer: u64| match (flags, period) {
        (Some(flags), _) => {
            usize::try_from(layer).ok().and_then(|at| flags.get(at)).is_some_and(|flag| *flag != 0)
        }
        (None, Some(Period::FullFirst(0) | Period::FullLast(0))) => window.is_some(),
        (None, Some(Period::FullFirst(period))) => window.is_some() && !layer.is_multiple_of(period),
        (None, Some(Period::FullLast(period))) => window.is_some() && !(layer + 1).is_multiple_of(period),
        (None, None) => false,
    };
    (0..layers).map(is_windowed).collect()
}

/// Key and value elements of one head, which layers with a window may have of their own; latent attention has no value.
pub(super) fn head_lengths(
    facts: &Facts,
    attention: &crate::facts::Attention,
    is_windowed: bool,
) -> (u64, u64) {
    let own = |key: &str, otherwise: u64| {
        if is_windowed && otherwise > 0 { number(facts, key).unwrap_or(otherwise) } else { otherwise }
    };
    (
        own("attention.key_length_swa", attention.key_length),
        own("attention.value_length_swa", attention.value_length),
    )
}
