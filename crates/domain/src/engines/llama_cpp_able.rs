//! What a build of llama-server can be told: a knob that it lacks is refused, and nothing is planned with it.

use crate::{
    memory::MEASURED_BUILD,
    plan::{Build, Knobs, Refusal},
};
use std::collections::BTreeSet;

pub(super) fn able(knobs: Knobs, flags: &BTreeSet<String>) -> Result<Knobs, Refusal> {
    let has = |flag: &str| flags.contains(flag);
    let one_cache_for_all = !has("--kv-unified") && !has("--no-kv-unified");
    let may_quantize = knobs.allow_kv_quant == Some(true);
    let fixed = [
        ("--n-cpu-moe", knobs.n_cpu_moe.is_some_and(|layers| layers > 0)),
        ("--cache-type-k", knobs.cache_type_k.is_some() || may_quantize),
        ("--cache-type-v", knobs.cache_type_v.is_some() || may_quantize),
        ("--flash-attn", knobs.flash_attn.is_some()),
        ("--gpu-layers", knobs.gpu_layers.is_some()),
        ("--device", knobs.device.is_some()),
        ("--tensor-split", knobs.tensor_split.is_some()),
        ("--batch-size", knobs.batch.is_some()),
        ("--ubatch-size", knobs.ubatch.is_some()),
        ("--swa-full", knobs.swa_full == Some(true)),
        ("--no-kv-offload", knobs.kv_offload == Some(false)),
        ("--no-op-offload", knobs.op_offload == Some(false)),
        ("--kv-unified", knobs.kv_unified == Some(true)),
    ];
    if let Some((flag, _)) = fixed.into_iter().find(|(flag, is_wanted)| *is_wanted && !has(flag)) {
        return Err(Refusal {
            why: format!("this llama-server has no {flag}"),
            hint: Some("leave it out, or use a newer llama.cpp: modelctl engines".to_owned()),
        });
    }
    // Before there was a choice, slots had one cache, and each a part of the context.
    let is_divided = one_cache_for_all && knobs.slots() > 1;
    Ok(Knobs { kv_unified: knobs.kv_unified.or(is_divided.then_some(false)), ..knobs })
}

/// What a program of this version with these flags cannot be told, and whether its buffers were measured.
pub(super) fn build((version, flags): (&str, &BTreeSet<String>)) -> Build {
    let lacks = |flag: &str| !flags.contains(flag);
    Build {
        is_other: !version.starts_with(MEASURED_BUILD),
        lacks_n_cpu_moe: lacks("--n-cpu-moe"),
        lacks_cache_types: lacks("--cache-type-k") || lacks("--cache-type-v"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::llama_cpp::USUAL;

    #[test]
    fn what_a_build_cannot_be_told_is_refused_or_not_planned_for() {
        let all: BTreeSet<String> = USUAL.iter().map(|flag| (*flag).to_owned()).collect();
        let without = |gone: &[&str]| -> BTreeSet<String> {
            all.iter().filter(|flag| !gone.contains(&flag.as_str())).cloned().collect()
        };
        let wishes = Knobs { kv_offload: Some(false), n_cpu_moe: Some(3), ..Knobs::default() };
        assert_eq!(able(wishes.clone(), &all), Ok(wishes.clone()));
        for flag in ["--no-kv-offload", "--n-cpu-moe"] {
            let refusal = able(wishes.clone(), &without(&[flag])).unwrap_err();
            assert_eq!(refusal.why, format!("this llama-server has no {flag}"));
        }
        let old = without(&["--n-cpu-moe", "--kv-unified", "--no-kv-unified", "--cache-type-v"]);
        let knobs = able(Knobs { users: Some(4), ..Knobs::default() }, &old).unwrap();
        assert_eq!((knobs.n_cpu_moe, knobs.kv_unified), (None, Some(false)));
        assert_eq!(able(Knobs::default(), &old), Ok(Knobs::default()));
        for wish in [
            Knobs { kv_unified: Some(true), ..Knobs::default() },
            Knobs { allow_kv_quant: Some(true), ..Knobs::default() },
        ] {
            assert!(able(wish.clone(), &old).is_err() && able(wish, &all).is_ok());
        }
        let lacking = build(("0.7.0 (build 1)", &old));
        assert_eq!(lacking, Build { is_other: true, lacks_n_cpu_moe: true, lacks_cache_types: true });
        assert_eq!(build(("0.5.0-dev (build 0, commit unknown)", &all)), Build::default());
    }
}
