//! Facts of a GGUF, from its header alone.

use super::{
    Adapter, Experts, Facts, Split, adapter, ancestry, attention,
    family::{self, Recognised},
    inventory,
    keys::{Keys, MAX_LAYERS},
    kind, origin, pairing, short, template, tuning, weights,
};
use crate::Kind;
use formats::gguf::{Header, Value};

/// The longest context that is believed, tokens; the longest trained so far is 10 million.
const MAX_CONTEXT: u64 = 1 << 30;
/// The widest embedding that is believed.
const MAX_EMBEDDING: u64 = 1 << 20;
/// Characters of prose that are kept.
pub(super) const MAX_DESCRIPTION: usize = 1000;
const MAX_EXPERTS: u64 = 65_536;
const MAX_PARTS: u64 = 100_000;

/// Reads what a GGUF says about itself, and what is odd about it.
pub fn gguf(header: &Header) -> (Facts, Vec<String>) {
    let mut keys = Keys::new(header);
    let split = split(&mut keys);
    let is_part = split.is_some_and(|split| split.count > 1);
    let block_count = keys.own_number("block_count", 1..=MAX_LAYERS);
    let embedding_length = keys.own_number("embedding_length", 1..=MAX_EMBEDDING);
    let stated = kind::read(&keys, is_part || !header.tensors.is_empty());
    let recognised = recognised(&keys, stated, header);
    let kind = stated.or(recognised.map(|recognised| recognised.kind));
    let mut facts = Facts {
        name: keys.text("general.name").and_then(|name| short(name, 256)),
        kind,
        architecture: keys.architecture().map(str::to_owned),
        context_length: keys.own_number("context_length", 1..=MAX_CONTEXT),
        block_count,
        embedding_length,
        vocabulary: vocabulary(&mut keys),
        experts: experts(&mut keys),
        attention: attention::read(&mut keys, block_count, embedding_length),
        chat_template: keys.text("tokenizer.chat_template").map(str::to_owned),
        tuning: (kind == Some(Kind::Llm)).then(|| tuning::read(&keys)).flatten(),
        license: origin::license(&keys),
        base_models: origin::base_models(&keys),
        source_url: origin::source_url(&keys),
        claims: ancestry::claims(&keys),
        capabilities: capabilities(&keys, kind),
        split,
        tensors: inventory::read(&header.tensors),
        hyperparameters: keys.own_numbers(),
        family: recognised.and_then(|recognised| recognised.id()).or_else(|| kind::family(&keys)),
        file_type: keys.get("general.file_type").and_then(Value::as_u64),
        author: keys.text("general.author").and_then(|text| short(text, 256)),
        description: keys.text("general.description").and_then(|text| short(text, MAX_DESCRIPTION)),
        tokenizer: pairing::tokenizer(&keys),
        projector: (kind == Some(Kind::VisionProjector))
            .then(|| pairing::projector(&mut keys, &header.tensors)),
        adapter: (kind == Some(Kind::Lora)).then(|| adapter(&keys, header)).flatten(),
        ..Facts::default()
    };
    weights::count(&header.tensors, &mut facts);
    // A part need not look like the whole.
    let mix_warning = weights::sum_up(&mut facts).filter(|_| !is_part);
    facts.ancestors = ancestry::of_gguf(&keys, &facts);
    let template_warnings = template::warnings(&keys);
    let mut warnings = keys.warnings;
    warnings.extend(template_warnings);
    warnings.extend(mix_warning);
    (facts, warnings)
}

fn split(keys: &mut Keys<'_>) -> Option<Split> {
    keys.get("split.count")?;
    let count = keys.number("split.count", 0..=MAX_PARTS).filter(|count| *count > 0)?;
    let no = if keys.get("split.no").is_some() { keys.number("split.no", 0..=count - 1)? } else { 0 };
    Some(Split { no, count })
}

fn adapter(keys: &Keys<'_>, header: &Header) -> Option<Adapter> {
    let shapes = shapes(header);
    let named: Vec<_> = shapes.iter().map(|(name, shape)| (*name, shape.as_slice())).collect();
    let alpha = match keys.get("adapter.lora.alpha") {
        Some(Value::Float(alpha)) if alpha.is_finite() => Some(*alpha),
        _ => None,
    };
    Some(Adapter { alpha, ..adapter::read(&named)? })
}

/// Looks at the tensors of what has the names of its makers: image models, also those without any metadata.
fn recognised(keys: &Keys<'_>, stated: Option<Kind>, header: &Header) -> Option<Recognised> {
    let is_image = stated == Some(Kind::DiffusionModel) || keys.architecture().is_none();
    if !is_image {
        return None;
    }
    let shapes = shapes(header);
    let named: Vec<_> = shapes.iter().map(|(name, shape)| (*name, shape.as_slice())).collect();
    family::recognise(&named)
}

/// Names and shapes with the slowest dimension first, as everyone but ggml writes them.
fn shapes(header: &Header) -> Vec<(&str, Vec<u64>)> {
    let tensors = header.tensors.iter();
    tensors.map(|tensor| (tensor.name.as_str(), tensor.dims.iter().rev().copied().collect())).collect()
}

fn vocabulary(keys: &mut Keys<'_>) -> Option<u64> {
    match keys.get("tokenizer.ggml.tokens") {
        Some(Value::Array { len, .. }) if *len > 0 => Some(*len),
        _ => keys.own_number("vocab_size", 1..=1 << 30),
    }
}

fn experts(keys: &mut Keys<'_>) -> Option<Experts> {
    // Dense models of some families say 0.
    let count = keys.own_number("expert_count", 0..=MAX_EXPERTS).unwrap_or(0);
    let used = keys.own_number("expert_used_count", 0..=count)?;
    (used > 0).then_some(Experts { count, used })
}

fn capabilities(keys: &Keys<'_>, kind: Option<Kind>) -> Vec<String> {
    let is_set = |key: &str| matches!(keys.own(key), Some(Value::Bool(true)));
    let is_llm = kind == Some(Kind::Llm);
    let is_projector = kind == Some(Kind::VisionProjector);
    let thinks = || keys.text("tokenizer.chat_template").is_some_and(template::thinks);
    let found = [
        ("completion", is_llm),
        ("embedding", kind == Some(Kind::Embedding)),
        (
            "vision",
            is_projector && is_set("has_vision_encoder")
                || is_llm && keys.own("vision.block_count").is_some(),
        ),
        ("audio", is_projector && is_set("has_audio_encoder")),
        ("tools", is_llm && template::calls_tools(keys)),
        ("thinking", is_llm && thinks()),
    ];
    found.into_iter().filter(|(_, has)| *has).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::Build;

    fn kind_of(model: Build) -> Option<Kind> {
        model.tensor("blk.0.attn_q.weight", &[4, 4], 0).facts().0.kind
    }

    #[test]
    fn kinds_follow_type_and_architecture() {
        for (architecture, kind) in [
            ("llama", Kind::Llm),
            ("t5", Kind::Llm),
            ("t5encoder", Kind::TextEncoder),
            ("clip", Kind::VisionProjector),
            ("nomic-bert", Kind::Embedding),
            ("flux", Kind::DiffusionModel),
            ("whisper", Kind::Asr),
        ] {
            assert_eq!(kind_of(Build::model(architecture)), Some(kind), "{architecture}");
        }
        for (stated, kind) in
            [("adapter", Kind::Lora), ("imatrix", Kind::Imatrix), ("mmproj", Kind::VisionProjector)]
        {
            assert_eq!(kind_of(Build::model("llama").text("general.type", stated)), Some(kind), "{stated}");
        }
        for (pooling, kind) in [(0, Kind::Llm), (3, Kind::Embedding), (4, Kind::Reranker)] {
            assert_eq!(kind_of(Build::model("qwen3").number("qwen3.pooling_type", pooling)), Some(kind));
        }
        assert_eq!(kind_of(Build::default()), None);
        assert_eq!(Build::model("llama").facts().0.kind, Some(Kind::Other), "a vocabulary");
        let first_of_split = Build::model("llama").number("split.count", 2).number("split.no", 0);
        assert_eq!(first_of_split.facts().0.kind, Some(Kind::Llm), "a first part without tensors");
    }

    #[test]
    fn absurd_values_are_unknown_and_say_so() {
        let architecture = |name: &str| Build::default().text("general.architecture", name);
        for odd in [
            architecture("../../etc/passwd"),
            architecture(&"x".repeat(20_000)),
            architecture(""),
            architecture("llama\n"),
            Build::default().number("general.architecture", 7),
            Build::model("llama").number("llama.context_length", 0),
            Build::model("llama").number("llama.context_length", u32::MAX),
            Build::model("llama").float("llama.context_length", f32::NAN),
            Build::model("llama").number("llama.expert_used_count", 9),
            Build::model("llama").number("split.count", 2).number("split.no", 2),
            Build::model("llama").number("split.count", 100_001),
        ] {
            let (facts, warnings) = odd.facts();
            assert_eq!((facts.context_length, facts.experts, facts.split), (None, None, None));
            assert_eq!(warnings.len(), 1, "{warnings:?}");
        }
    }

    #[test]
    fn names_are_kept_as_they_are_but_short() {
        let name = |text: &str| Build::default().text("general.name", text).facts().0.name;
        assert_eq!(name("  Llama 3.2 "), Some("Llama 3.2".to_owned()));
        assert_eq!(name(" \n"), None);
        assert_eq!(name("a\n\u{1b}[31m\u{202e}b"), Some("a\n\u{1b}[31m\u{202e}b".to_owned()));
        assert_eq!(name(&"ä".repeat(300)), Some("ä".repeat(256)));
    }

    #[test]
    fn a_projector_says_what_it_sees() {
        let projector = Build::default()
            .text("general.architecture", "clip")
            .flag("clip.has_vision_encoder", true)
            .flag("clip.has_audio_encoder", true);
        assert_eq!(projector.facts().0.capabilities, [""; 0], "a header without tensors projects nothing");
        let projector = Build::default().text("general.type", "mmproj").text("general.architecture", "clip");
        let projector = projector.flag("clip.has_vision_encoder", true).flag("clip.has_audio_encoder", false);
        assert_eq!(projector.facts().0.capabilities, ["vision"]);
    }

    #[test]
    fn no_byte_of_facts_is_lost_on_the_wire() {
        let (facts, _) = Build::model("llama")
            .text("general.name", "m")
            .number("general.file_type", 15)
            .tensor("blk.0.attn_q.weight", &[256, 4], 12)
            .facts();
        let json = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
        let old = r#"{"name":null,"kind":null,"architecture":null,"parameters":null,"active_parameters":null,"quant":null,
            "bits_per_weight":null,"tensor_types":[],"context_length":null,"block_count":null,"embedding_length":null,
            "vocabulary":null,"experts":null,"attention":null,"chat_template":null,"tuning":null,"license":null,
            "base_models":[],"source_url":null,"capabilities":[],"split":null}"#;
        assert_eq!(serde_json::from_str::<Facts>(old).unwrap(), Facts::default());
    }
}
