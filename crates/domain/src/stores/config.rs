//! What `config.json` and its like say of weights that cannot say it themselves.

use super::{Hints, handle};
use crate::{Format, Kind};
use serde_json::Value;

/// Reads a transformers `config.json`; `quantize` is the file that older GPTQ and AWQ tools wrote beside it.
pub(super) fn hints(config: &Value, quantize: Option<(&str, &Value)>) -> Hints {
    let text = |value: &Value| value.as_str().and_then(handle::bounded);
    let class = config.get("architectures").and_then(|classes| text(classes.get(0)?));
    let kind = class.as_deref().and_then(kind);
    let architecture = class.or_else(|| text(config.get("model_type")?));
    let context = |config: &Value| config.get("max_position_embeddings")?.as_u64();
    let context_length = context(config).or_else(|| context(config.get("text_config")?));
    let recorded = config.get("quantization_config").and_then(quant);
    let mlx = config.get("quantization").and_then(|mlx| Some(format!("mlx-{}bit", bits(mlx, "bits")?)));
    let older = || quantize.and_then(|(method, value)| Some(format!("{method}-{}bit", older_bits(value)?)));
    let format = mlx.is_some().then_some(Format::Mlx);
    let quant = mlx.or(recorded).or_else(older);
    Hints { format, kind, quant, architecture, context_length, ..Hints::default() }
}

fn kind(class: &str) -> Option<Kind> {
    match class {
        "WhisperForConditionalGeneration" => Some(Kind::Asr),
        _ if ["ForCausalLM", "LMHeadModel", "ForConditionalGeneration"]
            .iter()
            .any(|end| class.ends_with(end)) =>
        {
            Some(Kind::Llm)
        }
        _ => None,
    }
}

fn quant(config: &Value) -> Option<String> {
    let method = config.get("quant_method")?.as_str()?;
    let flag = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    match method {
        "exl2" | "exl3" => Some(format!("{method}-{:?}bpw", config.get("bits")?.as_f64()?)),
        "fp8" | "fbgemm_fp8" => Some("fp8".into()),
        "mxfp4" => Some("MXFP4".into()),
        "bitsandbytes" if flag("load_in_4bit") => Some("bnb-4bit".into()),
        "bitsandbytes" if flag("load_in_8bit") => Some("bnb-8bit".into()),
        "compressed-tensors" => compressed(config),
        _ => {
            let bits = bits(config, "bits").map(|bits| format!("-{bits}bit")).unwrap_or_default();
            handle::bounded(&format!("{method}{bits}"))
        }
    }
}

fn compressed(config: &Value) -> Option<String> {
    let weights = config.get("config_groups")?.as_object()?.values().next()?.get("weights")?;
    match (weights.get("type")?.as_str()?, bits(weights, "num_bits")?) {
        ("float", 8) => Some("fp8".into()),
        (kind @ ("float" | "int"), bits) => Some(format!("{kind}{bits}")),
        _ => None,
    }
}

fn older_bits(value: &Value) -> Option<u64> {
    bits(value, "bits").or_else(|| bits(value, "w_bit"))
}

fn bits(value: &Value, name: &str) -> Option<u64> {
    value.get(name)?.as_u64().filter(|bits| (1..=32).contains(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantisation_is_spelled_as_the_field_does() {
        let check = |config: Value, expected: Option<&str>| {
            assert_eq!(hints(&config, None).quant.as_deref(), expected, "{config}");
        };
        let method =
            |method, bits: Value| json!({"quantization_config": {"quant_method": method, "bits": bits}});
        check(method("awq", json!(4)), Some("awq-4bit"));
        check(method("gptq", json!(8)), Some("gptq-8bit"));
        check(method("exl2", json!(4.0)), Some("exl2-4.0bpw"));
        check(method("exl2", json!(4.65)), Some("exl2-4.65bpw"));
        check(method("exl3", json!(3)), Some("exl3-3.0bpw"));
        check(method("fp8", Value::Null), Some("fp8"));
        check(method("mxfp4", Value::Null), Some("MXFP4"));
        check(method("hqq", json!(1e30)), Some("hqq"));
        let groups = json!({"group_0": {"weights": {"num_bits": 8, "type": "float"}}});
        let packed = json!({"quant_method": "compressed-tensors", "config_groups": groups});
        check(json!({ "quantization_config": packed }), Some("fp8"));
        check(json!({}), None);
        check(json!([1]), None);
        let gptq = hints(&json!({}), Some(("gptq", &json!({"bits": 4}))));
        assert_eq!(gptq.quant.as_deref(), Some("gptq-4bit"));
    }

    #[test]
    fn mlx_is_a_format_of_its_own() {
        let config = json!({"architectures": ["LlamaForCausalLM"], "quantization": {"group_size": 64, "bits": 4},
            "text_config": {"max_position_embeddings": 4096}});
        let hints = hints(&config, None);
        assert_eq!((hints.format, hints.kind), (Some(Format::Mlx), Some(Kind::Llm)));
        assert_eq!(hints.quant.as_deref(), Some("mlx-4bit"));
        assert_eq!(
            (hints.architecture.as_deref(), hints.context_length),
            (Some("LlamaForCausalLM"), Some(4096))
        );
    }
}
