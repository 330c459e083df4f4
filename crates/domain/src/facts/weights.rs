//! Tensors, counted: parameters, types, and what names the mix. Parts of a split model add up.

use super::{Facts, TensorUse, inventory, pickle, quant, safetensors};
use crate::Kind;
use formats::gguf::Tensor;
use serde::{Deserialize, Serialize};

/// Tensors of one type in one place. A few of them say what a mix is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatrixUse {
    /// Name of the tensor type.
    pub name: String,
    pub place: Place,
    /// Rows that are no multiple of 256, where k-quants fall back to another type.
    pub short_rows: bool,
    pub elements: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A matrix that mixes leave at their base type.
    Plain,
    /// A matrix that mixes give more bits: `attn_v`, `attn_output`, `ffn_down`.
    Favored,
    /// Token embedding and output matrix.
    Edge,
    /// Norms, biases and the like.
    Vector,
}

/// Fills in what follows from the tensors of one GGUF.
pub(super) fn count(tensors: &[Tensor], facts: &mut Facts) {
    for tensor in tensors {
        let elements = tensor.dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
        let elements = elements.unwrap_or(u64::MAX);
        let used =
            TensorUse { name: tensor.kind.name().to_owned(), tensors: 1, elements, bytes: tensor.size };
        add_matrix(
            &mut facts.mix,
            MatrixUse {
                name: used.name.clone(),
                place: place(tensor),
                short_rows: tensor.dims.first().is_some_and(|row| !row.is_multiple_of(256)),
                elements,
                bytes: tensor.size,
            },
        );
        add_use(&mut facts.tensor_types, used);
        if is_expert(&tensor.name) {
            facts.expert_elements = facts.expert_elements.saturating_add(elements);
        }
    }
}

/// Adds the tensors of one type to a list of types.
pub(super) fn add_use(uses: &mut Vec<TensorUse>, other: TensorUse) {
    match uses.iter_mut().find(|used| used.name == other.name) {
        Some(used) => {
            used.tensors = used.tensors.saturating_add(other.tensors);
            used.elements = used.elements.saturating_add(other.elements);
            used.bytes = used.bytes.saturating_add(other.bytes);
        }
        None => uses.push(other),
    }
}

/// Sums up what was counted. Returns a warning where the tensors are not of the mix that the file claims.
pub(super) fn sum_up(facts: &mut Facts) -> Option<String> {
    let is_imatrix = facts.kind == Some(Kind::Imatrix);
    describe(facts, total(&facts.tensor_types).filter(|_| !is_imatrix));
    if is_imatrix || facts.kind == Some(Kind::Lora) {
        return None;
    }
    let (name, warning) = quant::name(&facts.mix, facts.file_type);
    facts.quant = name;
    warning
}

/// Fills in what follows from types and parameters, and puts the largest type first.
pub(super) fn describe(facts: &mut Facts, parameters: Option<u64>) {
    facts.tensor_types.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    facts.parameters = parameters;
    facts.active_parameters = parameters.and_then(|total| active(total, facts));
    facts.bits_per_weight = parameters.and_then(|_| bits_per_weight(&facts.tensor_types));
}

/// Returns the facts of a split model from those of its parts, in order: the first part has the metadata.
pub fn merge(parts: &[Facts]) -> Facts {
    let Some((first, rest)) = parts.split_first() else { return Facts::default() };
    let mut facts = first.clone();
    for part in rest {
        part.tensor_types.iter().for_each(|used| add_use(&mut facts.tensor_types, used.clone()));
        part.mix.iter().for_each(|used| add_matrix(&mut facts.mix, used.clone()));
        facts.expert_elements = facts.expert_elements.saturating_add(part.expert_elements);
    }
    facts.tensors = inventory::join(parts.iter().map(|part| part.tensors.as_slice()));
    if !inventory::is_complete(&facts.tensors, &facts.tensor_types) {
        facts.tensors.clear();
    }
    facts.pickle = pickle::join(parts.iter().filter_map(|part| part.pickle.as_ref()));
    if facts.mix.is_empty() {
        safetensors::sum_up(&mut facts, parts);
    } else {
        drop(sum_up(&mut facts)); // A wrong claim is a warning about that file, and these are facts.
    }
    facts
}

/// Returns `bytes * 8 / elements` with two decimals.
fn bits_per_weight(uses: &[TensorUse]) -> Option<f64> {
    let elements = u128::from(total(uses)?);
    let bytes: u128 = uses.iter().map(|used| u128::from(used.bytes)).sum();
    let hundredths = (bytes * 800 + elements / 2).checked_div(elements)?;
    u32::try_from(hundredths).ok().map(|hundredths| f64::from(hundredths) / 100.0)
}

/// Returns the elements of all tensors, None where there are none or more than can be counted.
pub(super) fn total(uses: &[TensorUse]) -> Option<u64> {
    let total = uses.iter().try_fold(0_u64, |sum, used| sum.checked_add(used.elements))?;
    (1..u64::MAX).contains(&total).then_some(total)
}

fn add_matrix(mix: &mut Vec<MatrixUse>, other: MatrixUse) {
    let is_same = |used: &&mut MatrixUse| {
        used.name == other.name && used.place == other.place && used.short_rows == other.short_rows
    };
    match mix.iter_mut().find(is_same) {
        Some(used) => {
            used.elements = used.elements.saturating_add(other.elements);
            used.bytes = used.bytes.saturating_add(other.bytes);
        }
        None => mix.push(other),
    }
}

fn active(total: u64, facts: &Facts) -> Option<u64> {
    if facts.expert_elements == 0 {
        return Some(total);
    }
    let experts = facts.experts?;
    let working = u128::from(facts.expert_elements) * u128::from(experts.used);
    let working = u64::try_from(working.checked_div(u128::from(experts.count))?).ok()?;
    total.checked_sub(facts.expert_elements)?.checked_add(working)
}

/// Whether a tensor holds the matrices of all experts (`blk.0.ffn_up_exps.weight`), or of one in old files
/// (`blk.0.ffn_up.7.weight`). Shared experts (`_shexp`) always work.
fn is_expert(name: &str) -> bool {
    let Some((_, name)) = name.split_once(".ffn_") else { return false };
    let mut words = name.split('.');
    let matrix = words.next().unwrap_or_default();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    matrix.ends_with("_exps") || matrix.ends_with("_chexps") || words.next().is_some_and(is_number)
}

fn place(tensor: &Tensor) -> Place {
    const EDGES: &[&str] = &["token_embd", "output.", "per_layer_token_embd", "position_embd", "token_types"];
    const FAVORED: &[&str] = &["attn_v.", "attn_qkv.", "attn_kv_b.", "attn_v_b.", "attn_output.", "ffn_down"];
    let name = tensor.name.as_str();
    let is_prediction_edge = name.contains("nextn.embed_tokens") || name.contains("nextn.shared_head_head");
    if tensor.dims.len() < 2 {
        Place::Vector
    } else if is_prediction_edge || EDGES.iter().any(|edge| name.starts_with(edge)) {
        Place::Edge
    } else if FAVORED.iter().any(|part| name.contains(part)) {
        Place::Favored
    } else {
        Place::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::Build;

    const F32: u32 = 0;
    const Q4_K: u32 = 12;
    const Q6_K: u32 = 14;

    fn moe(count: u32, used: u32) -> Build {
        Build::model("qwen3moe")
            .number("qwen3moe.expert_count", count)
            .number("qwen3moe.expert_used_count", used)
            .tensor("blk.0.attn_q.weight", &[256, 100], F32)
            .tensor("blk.0.ffn_up_exps.weight", &[256, 10, 8], F32)
            .tensor("blk.0.ffn_up_shexp.weight", &[256, 10], F32)
    }

    #[test]
    fn experts_work_in_part_and_the_rest_always() {
        let (facts, warnings) = moe(8, 2).facts();
        assert_eq!((facts.parameters, facts.active_parameters), (Some(48640), Some(25600 + 5120 + 2560)));
        assert_eq!(warnings, [""; 0]);
        let old = Build::model("llama")
            .number("llama.expert_count", 2)
            .number("llama.expert_used_count", 1)
            .tensor("blk.0.ffn_up.0.weight", &[4, 4], F32)
            .tensor("blk.0.ffn_up.1.weight", &[4, 4], F32);
        assert_eq!(old.facts().0.active_parameters, Some(16));
        let dense =
            Build::model("llama").tensor("blk.0.ffn_up.weight", &[4, 4], F32).number("llama.expert_count", 0);
        assert_eq!(dense.facts().0.active_parameters, Some(16));
    }

    #[test]
    fn experts_that_make_no_sense_leave_the_active_part_unknown() {
        for (count, used) in [(0, 2), (8, 9), (8, 0)] {
            let (facts, _) = moe(count, used).facts();
            assert_eq!((facts.parameters, facts.experts, facts.active_parameters), (Some(48640), None, None));
        }
    }

    #[test]
    fn types_are_summed_with_the_most_bytes_first() {
        let model = Build::model("llama")
            .tensor("blk.0.attn_norm.weight", &[256], F32)
            .tensor("blk.0.attn_q.weight", &[256, 256], Q4_K)
            .tensor("blk.0.attn_k.weight", &[256, 64], Q4_K);
        let (facts, _) = model.facts();
        let uses: Vec<_> =
            facts.tensor_types.iter().map(|u| (u.name.as_str(), u.tensors, u.elements, u.bytes)).collect();
        assert_eq!(uses, [("Q4_K", 2, 81920, 46080), ("F32", 1, 256, 1024)]);
        // (46080 + 1024) * 8 / 82176 = 4.5856
        assert_eq!(facts.bits_per_weight, Some(4.59));
    }

    #[test]
    fn the_parts_of_a_split_model_add_up() {
        let part = |model: Build, no| model.number("split.no", no).number("split.count", 2).facts();
        let first = Build::model("llama")
            .number("general.file_type", 15)
            .number("llama.expert_count", 4)
            .number("llama.expert_used_count", 1)
            .tensor("blk.0.ffn_up_exps.weight", &[256, 4, 4], Q4_K);
        let second = Build::default().tensor("blk.1.ffn_up_exps.weight", &[256, 4, 4], Q4_K).tensor(
            "blk.1.ffn_down_exps.weight",
            &[256, 1, 4],
            Q6_K,
        );
        let (parts, warnings): (Vec<_>, Vec<_>) = [part(first, 0), part(second, 1)].into_iter().unzip();
        assert_eq!(warnings.concat(), [""; 0]);
        let whole = merge(&parts);
        assert_eq!((whole.parameters, whole.active_parameters), (Some(9216), Some(2304)));
        assert_eq!((whole.quant.as_deref(), whole.bits_per_weight), (Some("Q4_K_M"), Some(4.73)));
        assert_eq!(whole.architecture.as_deref(), Some("llama"));
        assert_eq!(merge(&parts[..1]), parts[0]);
        assert_eq!(merge(&[]), Facts::default());
    }
}
