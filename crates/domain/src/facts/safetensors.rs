//! Facts of a safetensors file, from its header alone. Most say little: the rest is in files beside it.

use super::{
    Facts, TensorUse, adapter, ancestry,
    claims::Claims,
    family::{self, Recognised},
    weights, widths,
};
use crate::Kind;
use formats::safetensors::{Header, Tensor};

/// Ends of the names of what quantisers put beside packed weights, and what they make.
const MARKS: &[(&str, &str)] = &[
    (".quant_state.bitsandbytes__nf4", "nf4"),
    (".quant_state.bitsandbytes__fp4", "fp4"),
    (".SCB", "int8"),
    (".weight_scale_2", "nvfp4"),
    ("_proj_blocks", "MXFP4"),
];
/// SVDQuant's scales: of 8-bit floats for FP4, of 16-bit floats for INT4.
const SVDQ_SCALES: &str = ".wscales";
const SVDQ: [&str; 2] = ["svdq-fp4", "svdq-int4"];

/// Reads what a safetensors file says about itself, and what is odd about it.
pub fn safetensors(header: &Header) -> (Facts, Vec<String>) {
    let claims = Claims(&header.metadata);
    let shapes: Vec<(&str, &[u64])> =
        header.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice())).collect();
    let widths = widths::read(
        header
            .tensors
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice(), is_packed(tensor))),
    );
    let recognised = family::recognise(&shapes);
    let kind = recognised.map(|recognised| recognised.kind);
    let mut facts = Facts {
        name: claims.name(),
        kind,
        architecture: claims.architecture(),
        license: claims.license(),
        author: claims.author(),
        description: claims.description(),
        base_models: claims.base_models(),
        merged_from: claims.merged_from(),
        trigger_words: claims.trigger_words(),
        claimed_tensor_hash: claims.tensor_hash(),
        family: family(recognised, &claims),
        quant: mark(&header.tensors),
        metadata: claims.kept(),
        embedding_length: widths.embedding_length,
        vocabulary: widths.vocabulary,
        block_count: widths.block_count,
        adapter: (kind == Some(Kind::Lora)).then(|| adapter::read(&shapes)).flatten(),
        ..Facts::default()
    };
    if let Some(adapter) = &mut facts.adapter {
        adapter.alpha = claims.alpha();
    }
    for tensor in &header.tensors {
        let used = TensorUse {
            name: tensor.dtype.clone(),
            tensors: 1,
            elements: elements(tensor),
            bytes: tensor.size,
        };
        weights::add_use(&mut facts.tensor_types, used);
    }
    let is_plain = !header.tensors.iter().any(is_packed);
    let parameters = weights::total(&facts.tensor_types).filter(|_| is_plain);
    weights::describe(&mut facts, parameters);
    facts.ancestors = ancestry::of_safetensors(&header.metadata, facts.kind);
    if facts.kind == Some(Kind::Llm) {
        facts.capabilities.push("completion".to_owned());
    }
    (facts, Vec::new())
}

/// Sums up the parts of a sharded model whose types have been added to `facts`.
pub(super) fn sum_up(facts: &mut Facts, parts: &[Facts]) {
    let parameters = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.parameters?));
    facts.kind = parts.iter().find_map(|part| part.kind);
    facts.family = parts.iter().find_map(|part| part.family.clone());
    facts.quant = parts.iter().find_map(|part| part.quant.clone());
    facts.embedding_length = parts.iter().find_map(|part| part.embedding_length);
    facts.vocabulary = parts.iter().find_map(|part| part.vocabulary);
    facts.block_count = parts.iter().filter_map(|part| part.block_count).max();
    weights::describe(facts, parameters);
}

/// Returns the family by the tensors, else as stated. What an adapter goes with is stated better than its names tell,
/// and FLUX.1 Kontext has the shapes of dev.
fn family(recognised: Option<Recognised>, claims: &Claims<'_>) -> Option<String> {
    let found = recognised.and_then(|recognised| recognised.id());
    let stated = claims.family().map(str::to_owned);
    let is_lora = recognised.is_some_and(|recognised| recognised.kind == Kind::Lora);
    let is_kontext = stated.as_deref() == Some("flux-kontext")
        && recognised.is_some_and(|recognised| recognised.family == Some("flux"));
    if is_lora || is_kontext { stated.or(found) } else { found.or(stated) }
}

/// Returns what weights were packed to, where a quantiser left its marks.
fn mark(tensors: &[Tensor]) -> Option<String> {
    tensors.iter().find_map(|tensor| {
        let mark = MARKS.iter().find(|(end, _)| tensor.name.ends_with(end)).map(|(_, quant)| *quant);
        let [float, integer] = SVDQ;
        let svdq = || {
            tensor.name.ends_with(SVDQ_SCALES).then_some(match tensor.dtype.as_str() {
                dtype if dtype.starts_with("F8_") => float,
                _ => integer,
            })
        };
        mark.or_else(svdq).map(str::to_owned)
    })
}

/// Whether a matrix holds several weights in each element, as AWQ, GPTQ, exl2, MLX and bitsandbytes pack them.
fn is_packed(tensor: &Tensor) -> bool {
    tensor.shape.len() > 1 && matches!(tensor.dtype.as_str(), "U8" | "U16" | "I16" | "U32" | "I32")
}

fn elements(tensor: &Tensor) -> u64 {
    tensor.shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::merge;

    fn tensor(name: &str, dtype: &str, shape: &[u64]) -> Tensor {
        let width = match dtype {
            "F8_E4M3" | "U8" => 1,
            "F32" | "I32" | "U32" => 4,
            _ => 2,
        };
        Tensor {
            name: name.to_owned(),
            dtype: dtype.to_owned(),
            shape: shape.to_vec(),
            size: shape.iter().product::<u64>() * width,
        }
    }

    fn facts(metadata: &[(&str, &str)], tensors: Vec<Tensor>) -> Facts {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let header = Header { metadata, tensors, data_start: 0, data_end: 0, warnings: Vec::new() };
        safetensors(&header).0
    }

    #[test]
    fn kinds_follow_tensor_names() {
        for (name, kind) in [
            ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", Some(Kind::Lora)),
            ("lora_unet_down_blocks_0.lora_down.weight", Some(Kind::Lora)),
            ("first_stage_model.encoder.conv_in.weight", Some(Kind::Vae)),
            ("double_blocks.0.img_attn.qkv.weight", Some(Kind::DiffusionModel)),
            ("model.layers.0.self_attn.q_proj.weight", Some(Kind::Llm)),
            ("lm_head.weight", Some(Kind::Llm)),
            ("text_model.encoder.layers.0.mlp.fc1.weight", Some(Kind::TextEncoder)),
            ("encoder.conv_in.weight", Some(Kind::Vae)),
            ("control_model.zero_convs.0.0.weight", Some(Kind::ControlNet)),
            ("emb_params", Some(Kind::TextualInversion)),
            ("weight", None),
        ] {
            assert_eq!(facts(&[], vec![tensor(name, "F16", &[2, 2])]).kind, kind, "{name}");
        }
    }

    #[test]
    fn the_quantisation_is_what_a_quantiser_left() {
        let plain = facts(&[], vec![tensor("w", "F16", &[64, 64]), tensor("n", "F32", &[64])]);
        assert_eq!(plain.quant, None, "what was never quantised has no mix");
        for (name, dtype, expected) in [
            ("a.weight.quant_state.bitsandbytes__nf4", "U8", "nf4"),
            ("a.SCB", "F32", "int8"),
            ("a.wscales", "F16", "svdq-int4"),
            ("a.wscales", "F8_E4M3", "svdq-fp4"),
            ("a.weight_scale_2", "F32", "nvfp4"),
            ("model.layers.0.mlp.experts.down_proj_blocks", "U8", "MXFP4"),
        ] {
            let tensors = || vec![tensor("a.weight", "U8", &[64, 64]), tensor(name, dtype, &[64])];
            assert_eq!(facts(&[], tensors()).quant.as_deref(), Some(expected), "{name}");
            let shards = [facts(&[], vec![tensor("b", "BF16", &[512, 64])]), facts(&[], tensors())];
            assert_eq!(merge(&shards).quant.as_deref(), Some(expected), "{name} in a shard");
        }
    }

    #[test]
    fn packed_weights_are_not_counted_as_parameters() {
        let plain =
            facts(&[], vec![tensor("model.layers.0.q", "BF16", &[16, 16]), tensor("ids", "I64", &[1, 77])]);
        assert_eq!((plain.parameters, plain.bits_per_weight), (Some(333), Some(16.0)));
        let packed = facts(&[], vec![tensor("model.layers.0.q.qweight", "I32", &[16, 2])]);
        assert_eq!((packed.parameters, packed.bits_per_weight), (None, None));
    }

    #[test]
    fn shards_add_up() {
        let first = facts(&[], vec![tensor("model.layers.0.q", "BF16", &[16, 16])]);
        let second = facts(&[], vec![tensor("norm", "F32", &[64])]);
        let whole = merge(&[first, second]);
        assert_eq!(
            (whole.parameters, whole.bits_per_weight, whole.kind),
            (Some(320), Some(19.2), Some(Kind::Llm))
        );
        assert_eq!(whole.tensor_types.len(), 2);
    }

    #[test]
    fn an_adapter_says_what_it_changes_and_what_it_was_trained_on() {
        let found = facts(
            &[
                ("ss_network_alpha", "2.0"),
                ("ss_sd_model_name", "sd_xl_base_1.0.safetensors"),
                ("modelspec.trigger_phrase", "acmestyle, acme"),
                ("modelspec.architecture", "stable-diffusion-xl-v1-base/lora"),
            ],
            vec![
                tensor("lora_unet_x_attn2_to_k.lora_down.weight", "F16", &[4, 2048]),
                tensor("lora_unet_x_attn2_to_k.lora_up.weight", "F16", &[640, 4]),
            ],
        );
        let adapter = found.adapter.unwrap();
        assert_eq!((adapter.rank, adapter.alpha), (Some(4), Some(2.0)));
        assert_eq!(found.base_models, ["sd_xl_base_1.0.safetensors"]);
        assert_eq!(found.trigger_words, ["acmestyle", "acme"]);
        assert_eq!(found.architecture.as_deref(), Some("stable-diffusion-xl-v1-base"));
    }
}
