//! What `config.json` and its like say of weights that cannot say it themselves.

use super::{Hints, handle};
use crate::{Format, Kind};
use serde_json::Value;

/// Reads the `config.json` of transformers or of a part that diffusers loads; `quantize` is the file that a quantiser
/// wrote beside it, and whose that is.
pub(super) fn hints(config: &Value, quantize: Option<(&str, &Value)>) -> Hints {
    let text = |value: &Value| value.as_str().and_then(handle::bounded);
    let class = config.get("architectures").and_then(|classes| text(classes.get(0)?));
    let class = class.or_else(|| text(config.get("_class_name")?));
    let kind = class.as_deref().and_then(kind);
    let architecture = class.or_else(|| text(config.get("model_type")?));
    let context = |config: &Value| config.get("max_position_embeddings")?.as_u64();
    let context_length = context(config).or_else(|| context(config.get("text_config")?));
    let recorded = config.get("quantization_config").and_then(|config| quant(config, None));
    let mlx = config.get("quantization").and_then(|mlx| Some(format!("mlx-{}bit", bits(mlx, "bits")?)));
    let older = || quantize.and_then(|(method, value)| quant(value, Some(method)));
    let format = mlx.is_some().then_some(Format::Mlx);
    let quant = mlx.or(recorded).or_else(older);
    Hints { format, kind, quant, architecture, context_length, ..Hints::default() }
}

fn kind(class: &str) -> Option<Kind> {
    match class {
        "WhisperForConditionalGeneration" => Some(Kind::Asr),
        _ if ["ForCTC", "ForSpeechSeq2Seq", "ForSpeechToText"].iter().any(|end| class.ends_with(end)) => {
            Some(Kind::Asr)
        }
        _ if class.ends_with("ForTextToSpeech")
            || ["Vits", "Bark", "ParlerTTS"].iter().any(|start| class.starts_with(start)) =>
        {
            Some(Kind::Tts)
        }
        _ if ["ForCausalLM", "LMHeadModel", "ForConditionalGeneration"]
            .iter()
            .any(|end| class.ends_with(end)) =>
        {
            Some(Kind::Llm)
        }
        _ if class.starts_with("Autoencoder") || class == "VQModel" => Some(Kind::Vae),
        _ if class.contains("ControlNet") => Some(Kind::ControlNet),
        _ if ["Transformer2DModel", "Transformer3DModel", "UNet2DConditionModel", "UNet3DConditionModel"]
            .iter()
            .any(|end| class.ends_with(end)) =>
        {
            Some(Kind::DiffusionModel)
        }
        _ => None,
    }
}

/// Returns what weights were quantised to, as the field names it; `method` is whose file it is where it does not say.
fn quant(config: &Value, method: Option<&str>) -> Option<String> {
    let method = config.get("quant_method").and_then(Value::as_str).or(method)?;
    let flag = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    match method {
        "exl2" | "exl3" => Some(format!("{method}-{:?}bpw", config.get("bits")?.as_f64()?)),
        "fp8" | "fbgemm_fp8" => Some("fp8".into()),
        "mxfp4" => Some("MXFP4".into()),
        "bitsandbytes" if flag("load_in_4bit") => Some("bnb-4bit".into()),
        "bitsandbytes" if flag("load_in_8bit") => Some("bnb-8bit".into()),
        "compressed-tensors" => compressed(config),
        // NVIDIA's names: FP8, NVFP4, W4A16_AWQ.
        "modelopt" => handle::bounded(&text("quant_algo").to_ascii_lowercase()),
        "quanto" => handle::bounded(&match text("weights").strip_prefix("int") {
            Some(bits) => format!("quanto-{bits}bit"),
            None => format!("quanto-{}", text("weights")),
        }),
        "torchao" => torchao(config),
        "aqlm" => Some(aqlm(config)),
        _ => {
            let bits = any_bits(config).map(|bits| format!("-{bits}bit")).unwrap_or_default();
            handle::bounded(&format!("{method}{bits}"))
        }
    }
}

/// A name such as `int4_weight_only`, or one of its classes such as `Int4WeightOnlyConfig`.
fn torchao(config: &Value) -> Option<String> {
    let kind = config.get("quant_type").map(Value::to_string)?.to_ascii_lowercase();
    let width = ["int4", "int8", "float8", "uintx"].into_iter().find(|width| kind.contains(width));
    Some(width.map_or_else(|| "torchao".to_owned(), |width| format!("torchao-{width}")))
}

/// So many codebooks of so many bits each for a group of weights.
fn aqlm(config: &Value) -> String {
    let number = |name: &str| config.get(name).and_then(Value::as_u64);
    let bits =
        number("num_codebooks").zip(number("nbits_per_codebook")).and_then(|(n, bits)| n.checked_mul(bits));
    let bits = bits.zip(number("in_group_size")).and_then(|(bits, group)| bits.checked_div(group));
    bits.filter(|bits| *bits > 0).map_or_else(|| "aqlm".to_owned(), |bits| format!("aqlm-{bits}bit"))
}

fn compressed(config: &Value) -> Option<String> {
    let weights = config.get("config_groups")?.as_object()?.values().next()?.get("weights")?;
    match (weights.get("type")?.as_str()?, bits(weights, "num_bits")?) {
        ("float", 8) => Some("fp8".into()),
        (kind @ ("float" | "int"), bits) => Some(format!("{kind}{bits}")),
        _ => None,
    }
}

/// `bits` of most, `w_bit` of AWQ's own, `nbits` of HQQ.
fn any_bits(value: &Value) -> Option<u64> {
    let hqq =
        || value.get("quant_config")?.get("weight_quant_params").and_then(|weights| bits(weights, "nbits"));
    bits(value, "bits").or_else(|| bits(value, "w_bit")).or_else(|| bits(value, "nbits")).or_else(hqq)
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
        check(method("bitnet", Value::Null), Some("bitnet"));
        let config = |config: Value| json!({ "quantization_config": config });
        check(config(json!({"quant_method": "awq", "w_bit": 4})), Some("awq-4bit"));
        check(config(json!({"quant_method": "bitsandbytes", "load_in_4bit": true})), Some("bnb-4bit"));
        check(config(json!({"quant_method": "quanto", "weights": "int8"})), Some("quanto-8bit"));
        check(config(json!({"quant_method": "quanto", "weights": "float8"})), Some("quanto-float8"));
        check(
            config(json!({"quant_method": "torchao", "quant_type": "int4_weight_only"})),
            Some("torchao-int4"),
        );
        check(
            config(
                json!({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}}),
            ),
            Some("torchao-int8"),
        );
        let aqlm =
            json!({"quant_method": "aqlm", "num_codebooks": 1, "nbits_per_codebook": 16, "in_group_size": 8});
        check(config(aqlm), Some("aqlm-2bit"));
        check(
            config(
                json!({"quant_method": "aqlm", "in_group_size": 0, "num_codebooks": 1, "nbits_per_codebook": 1}),
            ),
            Some("aqlm"),
        );
        check(config(json!({"quant_method": "modelopt", "quant_algo": "NVFP4"})), Some("nvfp4"));
        let hqq = json!({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}});
        check(config(hqq), Some("hqq-4bit"));
        let groups = json!({"group_0": {"weights": {"num_bits": 8, "type": "float"}}});
        let packed = json!({"quant_method": "compressed-tensors", "config_groups": groups});
        check(json!({ "quantization_config": packed }), Some("fp8"));
        check(json!({}), None);
        check(json!([1]), None);
        let gptq = hints(&json!({}), Some(("gptq", &json!({"bits": 4}))));
        assert_eq!(gptq.quant.as_deref(), Some("gptq-4bit"));
        let exl3 = hints(&json!({}), Some(("exl3", &json!({"quant_method": "exl3", "bits": 3.5}))));
        assert_eq!(exl3.quant.as_deref(), Some("exl3-3.5bpw"));
    }

    #[test]
    fn parts_that_diffusers_loads_say_their_class() {
        let of = |class: &str| hints(&json!({ "_class_name": class }), None).kind;
        assert_eq!(of("AutoencoderKLWan"), Some(Kind::Vae));
        assert_eq!(of("FluxControlNetModel"), Some(Kind::ControlNet));
        assert_eq!(of("FluxTransformer2DModel"), Some(Kind::DiffusionModel));
        assert_eq!(of("MotionAdapter"), None);
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
