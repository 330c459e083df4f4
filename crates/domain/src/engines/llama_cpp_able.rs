//! What a build of llama-server can be told: a knob that it lacks is refused, and nothing is planned with it.

use crate::plan::{Knobs, Refusal};
use std::collections::BTreeSet;

pub(super) fn able(knobs: Knobs, flags: &BTreeSet<String>) -> Result<Knobs, Refusal> {
    let has = |flag: &str| flags.contains(flag);
    let one_cache_for_all = !has("--kv-unified") && !has("--no-kv-unified");
    let fixed = [
        ("--n-cpu-moe", knobs.n_cpu_moe.is_some_and(|layers| layers > 0)),
        ("--cache-type-k", knobs.cache_type_k.is_some()),
        ("--cache-type-v", knobs.cache_type_v.is_some()),
        ("--flash-attn", knobs.flash_attn.is_some()),
        ("--gpu-layers", knobs.gpu_layers.is_some()),
        ("--device", knobs.device.is_some()),
        ("--tensor-split", knobs.tensor_split.is_some()),
        ("--batch-size", knobs.batch.is_some()),
        ("--ubatch-size", knobs.ubatch.is_some()),
        ("--swa-full", knobs.swa_full == Some(true)),
        ("--no-kv-offload", knobs.kv_offload == Some(false)),
        ("--no-op-offload", knobs.op_offload == Some(false)),
        ("--kv-unified", knobs.kv_unified == Some(true) && !one_cache_for_all),
        // Where only the other is there, slots have their own unless it is given.
        ("--no-kv-unified", knobs.kv_unified == Some(false) && one_cache_for_all),
    ];
    if let Some((flag, _)) = fixed.into_iter().find(|(flag, is_wanted)| *is_wanted && !has(flag)) {
        return Err(Refusal {
            why: format!("this llama-server has no {flag}"),
            hint: Some("leave it out, or use a newer llama.cpp: modelctl engines".to_owned()),
        });
    }
    let has_types = has("--cache-type-k") && has("--cache-type-v");
    Ok(Knobs {
        n_cpu_moe: knobs.n_cpu_moe.or((!has("--n-cpu-moe")).then_some(0)),
        allow_kv_quant: knobs.allow_kv_quant.filter(|_| has_types),
        kv_unified: knobs.kv_unified.or(one_cache_for_all.then_some(true)),
        ..knobs
    })
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
        let knobs = able(Knobs { allow_kv_quant: Some(true), ..Knobs::default() }, &old).unwrap();
        assert_eq!((knobs.n_cpu_moe, knobs.kv_unified, knobs.allow_kv_quant), (Some(0), Some(true), None));
        let apart = Knobs { kv_unified: Some(false), ..Knobs::default() };
        assert!(able(apart.clone(), &old).is_err());
        assert!(able(apart, &without(&["--no-kv-unified"])).is_ok());
    }
}
