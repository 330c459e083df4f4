//! What tells which models go together: widths, vocabularies, projectors. Says nothing of which do.

use super::{keys::Keys, short};
use formats::gguf::{Tensor, Value};
use serde::{Deserialize, Serialize};

/// What turns a picture or a sound into the width of a language model's embedding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Projector {
    /// `clip.projector_type` and its like, such as `gemma3`; names an engine's code.
    pub kind: Option<String>,
    /// The embedding length that the language model must have.
    pub width: Option<u64>,
}

/// What cuts text into tokens. A draft goes only with a model that cuts as it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokenizer {
    /// `tokenizer.ggml.model`, such as `gpt2` or `llama`.
    pub kind: Option<String>,
    /// `tokenizer.ggml.pre`: how text is cut before it is looked up.
    pub pre: Option<String>,
    pub bos: Option<u64>,
    pub eos: Option<u64>,
    /// A digest of the texts of all tokens, 16 hexadecimal digits: another one is another vocabulary.
    #[serde(default)]
    pub tokens: Option<String>,
}

/// What an adapter changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adapter {
    /// `lora`, `dora`, `loha`, `lokr`, `oft` or `diff`.
    pub method: String,
    /// Of most modules; None for methods that have none.
    pub rank: Option<u64>,
    /// As stated in metadata; what it is divided by is the rank.
    pub alpha: Option<f64>,
    /// The modules that it changes, each name and shape once, in the file's order; at most 64.
    pub modules: Vec<Module>,
}

/// Modules of one name and shape: a base goes with them where its own have the same widths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// As the base calls it, with `*` for numbers: `blk.*.attn_q.weight`, `model.layers.*.self_attn.q_proj`. kohya
    /// writes underscores for dots: `lora_unet_input_blocks_*_*_proj_in`.
    pub name: String,
    /// Elements that go in and come out; None where the file does not tell.
    pub input: Option<u64>,
    pub output: Option<u64>,
}

/// The widest that is believed.
const MAX_WIDTH: u64 = 1 << 20;

/// Tensors whose rows are the projector's output, where it is no `mm.N.weight` (llama.cpp, tools/mtmd/clip.cpp).
const LAST: &[&str] = &[
    "mm.model.fc.weight",
    "mm.model.mlp.3.weight",
    "mm.fc.weight",
    "mm.input_projection.weight",
    "resampler.proj.weight",
];

pub(super) fn projector(keys: &mut Keys<'_>, tensors: &[Tensor]) -> Projector {
    let kinds = ["projector_type", "vision.projector_type", "audio.projector_type"];
    let kind = kinds.into_iter().find_map(|key| short(keys.own(key)?.as_str()?, 64));
    let mut stated =
        |key: &str| keys.own(key).is_some().then(|| keys.own_number(key, 1..=MAX_WIDTH)).flatten();
    // Old converters wrote the width of CLIP's own projection there, so the tensors come first.
    let width = projected(tensors)
        .or_else(|| stated("vision.projection_dim"))
        .or_else(|| stated("audio.projection_dim"));
    Projector { kind, width }
}

/// Returns the rows of the last matrix of a projector.
fn projected(tensors: &[Tensor]) -> Option<u64> {
    let rows = |tensor: &Tensor| tensor.dims.get(1).copied().filter(|rows| (2..=MAX_WIDTH).contains(rows));
    let number = |tensor: &&Tensor| {
        let number = tensor.name.strip_prefix("mm.")?.strip_suffix(".weight")?;
        number.parse::<u16>().ok().filter(|_| rows(tensor).is_some())
    };
    let last = tensors.iter().filter(|tensor| number(tensor).is_some()).max_by_key(number);
    let named = || {
        let tensor = LAST.iter().find_map(|name| tensors.iter().find(|tensor| tensor.name == *name))?;
        // Gemma 3 stores this one the other way round.
        let is_turned = tensor.name == "mm.input_projection.weight";
        if is_turned { tensor.dims.first().copied() } else { rows(tensor) }
    };
    last.and_then(rows).or_else(named)
}

pub(super) fn tokenizer(keys: &Keys<'_>) -> Option<Tokenizer> {
    let text = |key: &str| keys.text(key).and_then(|text| short(text, 64));
    let id = |key: &str| keys.get(key).and_then(Value::as_u64).filter(|id| *id < 1 << 31);
    let found = Tokenizer {
        kind: text("tokenizer.ggml.model"),
        pre: text("tokenizer.ggml.pre"),
        bos: id("tokenizer.ggml.bos_token_id"),
        eos: id("tokenizer.ggml.eos_token_id"),
        tokens: keys.vocabulary().map(|digest| format!("{digest:016x}")),
    };
    found.kind.is_some().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::Build;

    const F16: u32 = 1;

    fn mmproj(kind: &str) -> Build {
        Build::default()
            .text("general.type", "mmproj")
            .text("general.architecture", "clip")
            .text("clip.projector_type", kind)
    }

    #[track_caller]
    fn check(model: &Build, kind: &str, width: Option<u64>) {
        let expected = Projector { kind: Some(kind.to_owned()), width };
        assert_eq!(model.facts().0.projector, Some(expected));
    }

    #[test]
    fn a_projector_is_as_wide_as_its_last_matrix() {
        let llava =
            mmproj("mlp").tensor("mm.0.weight", &[1024, 4096], F16).tensor("mm.2.weight", &[4096, 5120], F16);
        // LLaVA 1.5 states 768, the width of CLIP's own projection.
        check(&llava.number("clip.vision.projection_dim", 768), "mlp", Some(5120));
        check(&mmproj("qwen2.5vl_merger").tensor("mm.2.weight", &[5120, 3584], F16), "qwen2.5vl_merger", {
            Some(3584)
        });
        let gemma = mmproj("gemma3").tensor("mm.input_projection.weight", &[2560, 1152], F16);
        check(&gemma, "gemma3", Some(2560));
        let idefics = mmproj("idefics3").tensor("mm.model.fc.weight", &[12288, 2048], F16);
        check(&idefics, "idefics3", Some(2048));
        check(&mmproj("ldp").number("clip.vision.projection_dim", 2048), "ldp", Some(2048));
        check(&mmproj("x").number("clip.vision.projection_dim", 0), "x", None);
    }

    #[test]
    fn a_tokenizer_is_what_a_draft_must_share() {
        let model = || {
            let model = Build::model("qwen3").text("tokenizer.ggml.model", "gpt2");
            model.text("tokenizer.ggml.pre", "qwen2").number("tokenizer.ggml.eos_token_id", 151_645)
        };
        let expected = Tokenizer {
            kind: Some("gpt2".to_owned()),
            pre: Some("qwen2".to_owned()),
            bos: None,
            eos: Some(151_645),
            tokens: None,
        };
        assert_eq!(model().facts().0.tokenizer, Some(expected));
        let tokens = |tokens: &[&str]| {
            let tokenizer = model().texts("tokenizer.ggml.tokens", tokens).facts().0.tokenizer;
            tokenizer.and_then(|tokenizer| tokenizer.tokens).unwrap()
        };
        assert_eq!(tokens(&["a", "b"]).len(), 16);
        assert_ne!(tokens(&["a", "b"]), tokens(&["b", "a"]));
        assert_eq!(Build::model("qwen3").facts().0.tokenizer, None);
    }
}
