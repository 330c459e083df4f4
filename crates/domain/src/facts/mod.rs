//! Header → facts: what a file says about itself in the words a person asks for. Unknown is `None`, never a guess.

mod adapter;
mod ancestry;
mod architectures;
mod attention;
mod claims;
pub(crate) mod family;
pub(crate) mod ggml;
mod gguf;
pub(crate) mod graph;
mod inventory;
mod keys;
mod kind;
mod origin;
mod pairing;
mod pickle;
mod quant;
mod safetensors;
mod template;
#[cfg(test)]
mod testing;
mod tuning;
mod weights;
mod widths;

pub use architectures::common_architecture;
pub use family::base_family;
pub(crate) use family::kind_of;
pub use gguf::gguf;
pub use graph::{Graph, OperatorUse, Part, Value};
pub use inventory::TensorGroup;
pub(crate) use keys::NOT_BELIEVED;
pub(crate) use kind::is_encoder;
pub use pairing::{Adapter, Module, Projector, Tokenizer};
pub(crate) use pickle::pickle;
pub use pickle::{Pickled, Reached, Standing};
pub use safetensors::safetensors;
pub use weights::{MatrixUse, Place, merge};

use crate::Kind;
use serde::{Deserialize, Serialize};

/// What one weight file (or the first of a split) says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// `general.name`, else what the metadata calls it.
    pub name: Option<String>,
    pub kind: Option<Kind>,
    pub architecture: Option<String>,
    pub parameters: Option<u64>,
    /// Parameters that work on one token; equal to `parameters` for a dense model.
    pub active_parameters: Option<u64>,
    /// The true mix's name, from the tensors: `Q4_K_M`, `F16`, `MXFP4`.
    pub quant: Option<String>,
    pub bits_per_weight: Option<f64>,
    /// Per tensor type, most bytes first.
    pub tensor_types: Vec<TensorUse>,
    /// Trained context, tokens.
    pub context_length: Option<u64>,
    pub block_count: Option<u64>,
    pub embedding_length: Option<u64>,
    pub vocabulary: Option<u64>,
    pub experts: Option<Experts>,
    pub attention: Option<Attention>,
    pub chat_template: Option<String>,
    pub tuning: Option<Tuning>,
    pub license: Option<String>,
    pub base_models: Vec<String>,
    /// Repository or page that the file itself names, http(s) only.
    pub source_url: Option<String>,
    /// Pages that the file calls its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<crate::Source>,
    /// What the file says it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<crate::Ancestor>,
    pub capabilities: Vec<String>,
    pub split: Option<Split>,
    /// `format`, `modelspec.*` and the like, as the file has them; short values only.
    #[serde(default)]
    pub metadata: std::collections::BTreeMap<String, String>,
    /// Elements of the expert tensors among `parameters`.
    #[serde(default)]
    pub expert_elements: u64,
    /// `general.file_type`, the mix that the file claims.
    #[serde(default)]
    pub file_type: Option<u64>,
    /// Every tensor of a GGUF; empty where they are too many kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<TensorGroup>,
    /// The architecture's own whole numbers and flags, as a GGUF has them and without its prefix: one number, or one
    /// for each layer.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub hyperparameters: std::collections::BTreeMap<String, Vec<i64>>,
    /// What the mix's name is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<MatrixUse>,
    /// Of image, video and audio models and what goes with them: an id of `families.txt` such as `sdxl` or `flux-dev`,
    /// by names and shapes of the tensors, else as the metadata says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// SHA-256 of the tensors' bytes as the file states it, 64 lowercase digits; stale where tensors were edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_tensor_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Models that it was merged from, as the file calls them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<String>,
    /// Words that a prompt must have for it to show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trigger_words: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<Tokenizer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projector: Option<Projector>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Adapter>,
    /// What a runtime must know before it loads a model that is a graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<Graph>,
    /// What loading a pickle does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pickle: Option<Pickled>,
    /// Files beside it that hold data of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorUse {
    pub name: String,
    pub tensors: u64,
    pub elements: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Experts {
    pub count: u64,
    pub used: u64,
}

/// Heads and KV shape. `heads` and `kv_heads` have one number for each layer (`block_count` of them).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    pub heads: Vec<u64>,
    pub kv_heads: Vec<u64>,
    /// Elements of one head's key and value.
    pub key_length: u64,
    pub value_length: u64,
    /// Tokens, for models with sliding-window layers.
    pub sliding_window: Option<u64>,
    /// KV elements that one token adds over all layers, with no window taken into account.
    pub kv_elements_per_token: u64,
}

/// Base or tuned, and why we say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    pub is_instruct: bool,
    pub because: String,
}

/// Position in a split model, `no` from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    pub no: u64,
    pub count: u64,
}

/// Trims a text and keeps at most `limit` characters; an empty one is unknown.
fn short(text: &str, limit: usize) -> Option<String> {
    let text: String = text.trim().chars().take(limit).collect();
    (!text.is_empty()).then_some(text)
}
