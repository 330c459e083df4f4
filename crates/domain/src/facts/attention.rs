//! Heads and KV shape, layer by layer, as llama.cpp lays out its cache (src/llama-hparams.cpp, llama-kv-cache.cpp).

use super::{Attention, keys::Keys};
use formats::gguf::Value;

/// Elements of one head.
type Lengths = (u64, u64);

/// Reads the attention of a model; None for recurrent ones and where the keys make no sense.
pub(super) fn read(keys: &mut Keys<'_>, layers: Option<u64>, embedding: Option<u64>) -> Option<Attention> {
    let architecture = keys.architecture()?;
    if architecture.starts_with("mamba") || architecture.contains("rwkv") {
        return None;
    }
    let layers = usize::try_from(layers?).ok()?;
    let heads = keys.per_layer("attention.head_count", layers)??;
    if heads.iter().all(|count| *count == 0) {
        keys.distrust("attention.head_count", "is 0");
        return None;
    }
    let mut kv_heads = kv_heads(keys, &heads)?;
    let lengths = lengths(keys, embedding, *heads.first()?)?;
    drop_layers_without_cache(keys, architecture, &mut kv_heads);
    let windowed = windowed_lengths(keys, lengths);
    let is_windowed = if windowed == lengths { vec![false; layers] } else { windowed_layers(keys, layers)? };
    let per_layer = kv_heads.iter().zip(is_windowed).map(|(count, is_windowed)| {
        let (key, value) = if is_windowed { windowed } else { lengths };
        count * (key + value)
    });
    Some(Attention {
        kv_elements_per_token: per_layer.sum(),
        heads,
        kv_heads,
        key_length: lengths.0,
        value_length: lengths.1,
        sliding_window: sliding_window(keys, architecture),
    })
}

fn kv_heads(keys: &mut Keys<'_>, heads: &[u64]) -> Option<Vec<u64>> {
    const KEY: &str = "attention.head_count_kv";
    let mut counts = keys.per_layer(KEY, heads.len())?.unwrap_or_else(|| heads.to_vec());
    for (kv, heads) in counts.iter_mut().zip(heads) {
        if *heads == 0 {
            *kv = 0; // A layer without heads keeps nothing, also where the file has one number for all layers.
        }
    }
    if counts.iter().all(|count| *count == 0) || counts.iter().zip(heads).any(|(kv, heads)| kv > heads) {
        keys.distrust(KEY, "does not go with attention.head_count");
        return None;
    }
    Some(counts)
}

fn lengths(keys: &mut Keys<'_>, embedding: Option<u64>, heads: u64) -> Option<Lengths> {
    let by_division = || embedding?.checked_div(heads).filter(|length| *length > 0);
    let key = length(keys, "attention.key_length");
    if length(keys, "attention.key_length_mla").is_some() {
        // The cache holds the compressed latent and the rotated part as one key; there is no value.
        let latent = key.or_else(|| {
            Some(length(keys, "attention.kv_lora_rank")? + length(keys, "rope.dimension_count")?)
        });
        return Some((latent?, 0));
    }
    let value = length(keys, "attention.value_length");
    Some((key.or_else(by_division)?, value.or_else(by_division)?))
}

fn length(keys: &mut Keys<'_>, key: &str) -> Option<u64> {
    keys.own(key)?;
    keys.own_number(key, 0..=65_536).filter(|length| *length > 0)
}

/// Returns the head lengths of sliding-window layers, which Gemma 4 has of their own; latent attention has no value.
fn windowed_lengths(keys: &mut Keys<'_>, (key, value): Lengths) -> Lengths {
    let own = |keys: &mut Keys<'_>, name: &str, otherwise: u64| {
        if otherwise == 0 { 0 } else { length(keys, name).unwrap_or(otherwise) }
    };
    (own(keys, "attention.key_length_swa", key), own(keys, "attention.value_length_swa", value))
}

/// Returns which layers have a sliding window, from an array of flags or a period.
fn windowed_layers(keys: &Keys<'_>, layers: usize) -> Option<Vec<bool>> {
    let pattern = keys.own("attention.sliding_window_pattern")?;
    if let Value::Array { items, .. } = pattern {
        let flag = |item: &Value| if let Value::Bool(flag) = item { Some(*flag) } else { None };
        return items.iter().map(flag).collect::<Option<Vec<bool>>>().filter(|flags| flags.len() == layers);
    }
    let period = usize::try_from(pattern.as_u64()?).ok().filter(|period| *period > 0)?;
    Some((1..=layers).map(|layer| !layer.is_multiple_of(period)).collect())
}

/// Encoders, and models that write all of a text at once: they have no cache (`create_memory` in src/llama-model.cpp).
const KEEPS_NOTHING: &[&str] = &[
    "bert",
    "dream",
    "eurobert",
    "gemma-embedding",
    "jina-bert-v2",
    "jina-bert-v3",
    "llada",
    "llada-moe",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "rnd1",
    "wavtokenizer-dec",
];

fn drop_layers_without_cache(keys: &mut Keys<'_>, architecture: &str, kv_heads: &mut [u64]) {
    if KEEPS_NOTHING.contains(&architecture) {
        kv_heads.fill(0);
    }
    // Three of four layers are recurrent in these, without the file saying so in its head counts.
    let is_mixed = architecture.starts_with("qwen3next") || architecture.starts_with("qwen35");
    let interval = keys.own_number("full_attention_interval", 1..=64).or(is_mixed.then_some(4));
    for (layer, kv) in (1_u64..).zip(kv_heads.iter_mut()) {
        if interval.is_some_and(|interval| !layer.is_multiple_of(interval)) {
            *kv = 0;
        }
    }
    // Layers that predict further tokens keep nothing in the main context.
    let predicting = keys.own_number("nextn_predict_layers", 0..=64).unwrap_or(0);
    let predicting = usize::try_from(predicting).unwrap_or(0);
    kv_heads.iter_mut().rev().take(predicting).for_each(|kv| *kv = 0);
}

fn sliding_window(keys: &mut Keys<'_>, architecture: &str) -> Option<u64> {
    // llama.cpp knows the window of Phi-3 and does not use it.
    if architecture == "phi3" {
        return None;
    }
    keys.own_number("attention.sliding_window", 0..=1 << 30).filter(|window| *window > 0)
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::Build;

    /// Expected: bytes of F16 cache that one more token cost in llama.cpp's own measurements, halved
    /// (shared/truth/breakdown.jsonl: context at the largest and at 2048 tokens).
    #[track_caller]
    fn check(name: &str, model: &Build, kv_elements: u64) {
        let (facts, warnings) = model.facts();
        assert_eq!(
            facts.attention.map(|attention| attention.kv_elements_per_token),
            Some(kv_elements),
            "{name}"
        );
        assert_eq!(warnings, [""; 0], "{name}");
    }

    /// Layers, width and heads of a model; 0 KV heads: the file does not say.
    fn model(architecture: &str, layers: u32, embedding: u32, heads: u32, kv_heads: u32) -> Build {
        let own = |key: &str| format!("{architecture}.{key}");
        let model = Build::default()
            .text("general.architecture", architecture)
            .number(&own("block_count"), layers)
            .number(&own("embedding_length"), embedding)
            .number(&own("attention.head_count"), heads);
        if kv_heads == 0 { model } else { model.number(&own("attention.head_count_kv"), kv_heads) }
    }

    fn lengths(model: Build, architecture: &str, length: u32) -> Build {
        let own = |key: &str| format!("{architecture}.attention.{key}");
        model.number(&own("key_length"), length).number(&own("value_length"), length)
    }

    #[test]
    fn a_token_costs_what_llama_cpp_measured() {
        check("Llama 3.1 8B", &model("llama", 32, 4096, 32, 8), 65536);
        check("Llama 2 7B", &model("llama", 32, 4096, 32, 0), 262_144);
        check(
            "Phi 3 mini",
            &model("phi3", 32, 3072, 32, 32).number("phi3.attention.sliding_window", 2047),
            196_608,
        );
        check("Qwen2.5 0.5B", &model("qwen2", 24, 896, 14, 2), 6144);
        check("Qwen3 0.6B", &lengths(model("qwen3", 28, 1024, 16, 8), "qwen3", 128), 57344);
        check("gemma 2 9b, swa-full", &lengths(model("gemma2", 42, 3584, 16, 8), "gemma2", 256), 172_032);
        check("flan-t5-large", &lengths(model("t5", 24, 1024, 16, 16), "t5", 64), 49152);
        check("bge-large", &model("bert", 24, 1024, 16, 16).flag("bert.attention.causal", false), 0);
    }

    #[test]
    fn layers_that_predict_further_tokens_keep_nothing() {
        let model = lengths(model("glm4moe", 47, 4096, 96, 8), "glm4moe", 128);
        check("GLM 4.5 Air", &model.number("glm4moe.nextn_predict_layers", 1), 94208);
    }

    #[test]
    fn latent_attention_keeps_one_key_and_no_value() {
        let model = model("deepseek2", 27, 2048, 16, 1)
            .number("deepseek2.attention.key_length", 576)
            .number("deepseek2.attention.value_length", 512)
            .number("deepseek2.attention.key_length_mla", 192)
            .number("deepseek2.attention.value_length_mla", 128);
        check("DeepSeek V2 Lite", &model, 15552);
    }

    #[test]
    fn recurrent_layers_of_hybrids_keep_nothing() {
        let kv: Vec<i32> = (0..32).map(|layer| if layer % 8 == 4 { 8 } else { 0 }).collect();
        check("Jamba", &model("jamba", 32, 4096, 32, 0).numbers("jamba.attention.head_count_kv", &kv), 8192);
        let kv = [0, 0, 8, 0, 0, 8, 0, 0, 8, 0, 8, 0, 8, 0, 8, 0];
        check("LFM2", &model("lfm2", 16, 2048, 32, 0).numbers("lfm2.attention.head_count_kv", &kv), 6144);
        let next = || lengths(model("qwen3next", 48, 2048, 16, 2), "qwen3next", 256);
        check("Qwen3 Next", &next(), 12288);
        check("Qwen3 Next", &next().number("qwen3next.full_attention_interval", 4), 12288);
    }

    #[test]
    fn recurrent_models_have_no_attention() {
        for architecture in ["mamba", "mamba2", "rwkv7", "arwkv7"] {
            let (facts, warnings) = model(architecture, 64, 2560, 0, 0).facts();
            assert_eq!((facts.attention, warnings), (None, Vec::new()), "{architecture}");
        }
    }

    #[test]
    fn windowed_layers_may_have_heads_of_their_own() {
        // 25 layers of 8 heads, 256 + 256 wide; 5 of 2 heads, 512 + 512 wide.
        let is_windowed: Vec<bool> = (1..=30).map(|layer| layer % 6 != 0).collect();
        let kv: Vec<i32> = is_windowed.iter().map(|is_windowed| if *is_windowed { 8 } else { 2 }).collect();
        let model = lengths(model("gemma4", 30, 2816, 16, 0), "gemma4", 512)
            .numbers("gemma4.attention.head_count_kv", &kv)
            .number("gemma4.attention.key_length_swa", 256)
            .number("gemma4.attention.value_length_swa", 256)
            .number("gemma4.attention.sliding_window", 1024)
            .flags("gemma4.attention.sliding_window_pattern", &is_windowed);
        assert_eq!(model.facts().0.attention.map(|attention| attention.sliding_window), Some(Some(1024)));
        check("Gemma 4 26B", &model, 112_640);
    }

    #[test]
    fn nonsense_is_unknown_and_says_so() {
        let llama = || model("llama", 2, 64, 4, 0);
        for nonsense in [
            model("llama", 2, 64, 0, 0),
            llama().number("llama.attention.head_count_kv", 0),
            llama().number("llama.attention.head_count_kv", 5),
            llama().numbers("llama.attention.head_count_kv", &[2]),
            llama().numbers("llama.attention.head_count_kv", &[2, -2]),
            llama().text("llama.attention.head_count_kv", "two"),
            model("llama", 2, 64, u32::MAX, 0),
            model("llama", u32::MAX, 64, 4, 0),
            model("llama", 4097, 64, 4, 0),
            model("llama", 0, 64, 4, 0),
            model("llama", 2, u32::MAX, 4, 0),
        ] {
            let (facts, warnings) = nonsense.facts();
            assert_eq!(facts.attention, None, "{warnings:?}");
            assert!(!warnings.is_empty());
        }
    }
}
