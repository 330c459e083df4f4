//! Whether two parts can work together at all: widths, shapes, vocabularies. Nothing else is looked at.

use crate::{
    Basis,
    facts::{Module, TensorGroup},
    kin::Part,
};

/// A draft that has more than this part of its model's working parameters saves no time.
const DRAFT_SHARE: u64 = 4;

/// Projectors that were made for one architecture (llama.cpp, tools/mtmd/clip-impl.h); the rest serve several.
const MADE_FOR: &[(&str, &[&str])] = &[
    ("gemma3", &["gemma3"]),
    ("gemma3nv", &["gemma3n"]),
    ("gemma3na", &["gemma3n"]),
    ("qwen2vl_merger", &["qwen2vl"]),
    ("qwen2.5vl_merger", &["qwen2vl"]),
    ("qwen3vl_merger", &["qwen3vl", "qwen3vlmoe"]),
    ("llama4", &["llama4"]),
    ("cogvlm", &["cogvlm"]),
    ("kimivl", &["deepseek2"]),
];

/// Matrices of a layer as PEFT calls them and as GGUF does, and which side is as wide as the model.
const MATRICES: &[(&str, &str, Side)] = &[
    ("q_proj", "blk.*.attn_q.weight", Side::Input),
    ("k_proj", "blk.*.attn_k.weight", Side::Input),
    ("v_proj", "blk.*.attn_v.weight", Side::Input),
    ("o_proj", "blk.*.attn_output.weight", Side::Output),
    ("gate_proj", "blk.*.ffn_gate.weight", Side::Input),
    ("up_proj", "blk.*.ffn_up.weight", Side::Input),
    ("down_proj", "blk.*.ffn_down.weight", Side::Output),
];

#[derive(Clone, Copy)]
enum Side {
    Input,
    Output,
}

/// That they fit, by what, and in words.
pub(super) struct Fit {
    pub(super) basis: Vec<Basis>,
    pub(super) because: String,
}

/// `bond`: what else holds the two together.
pub(super) fn projects(model: &Part, part: &Part, bond: Option<Basis>) -> Option<Fit> {
    let projector = part.projector.as_ref()?;
    if bond == Some(Basis::Held) && (projector.width.is_none() || model.width.is_none()) {
        return Some(Fit { basis: Vec::new(), because: "whether the widths fit is not known".to_owned() });
    }
    let width = projector.width.filter(|width| Some(*width) == model.width)?;
    let made_for = projector.kind.as_ref().and_then(|kind| MADE_FOR.iter().find(|(made, _)| made == kind));
    let architecture = model.architecture.as_deref().unwrap_or_default();
    let is_made_for = made_for.map(|(_, architectures)| architectures.contains(&architecture));
    // Many models are 4096 wide: what serves several architectures needs more than a width. What an app holds with the
    // model is given to it whatever the list knows.
    if !is_made_for.unwrap_or(bond.is_some()) && bond != Some(Basis::Held) {
        return None;
    }
    let kind = projector.kind.as_deref().unwrap_or("of unknown kind");
    let made = if is_made_for == Some(true) { Some(Basis::Projector) } else { None };
    Some(Fit {
        basis: [Basis::Width].into_iter().chain(made).collect(),
        because: format!("projects to width {width} = embedding length {width}, projector {kind}"),
    })
}

/// `is_free`: it does not say what it was made from.
pub(super) fn adapts(
    (model, tensors): (&Part, &[TensorGroup]),
    part: &Part,
    bond: Option<Basis>,
    is_free: bool,
) -> Option<Fit> {
    let architectures = part.architecture.as_ref().zip(model.architecture.as_ref());
    if architectures.is_some_and(|(a, b)| a != b) {
        return None;
    }
    let fitting = fitting(&part.modules, tensors, model.width)?;
    let is_all = fitting == part.modules.len() && !tensors.is_empty();
    // Without a word of what it was made from, every shape must be there under its own name.
    let is_meant = bond.is_some() || (architectures.is_some() && is_all && is_free);
    let all = part.modules.len();
    let because = || format!("{fitting} of {all} adapted matrices have the model's shapes");
    is_meant.then(|| Fit { basis: vec![Basis::Shapes], because: because() })
}

/// Returns how many modules have their matrix in the model; None where one has another shape, or none is known.
fn fitting(modules: &[Module], tensors: &[TensorGroup], width: Option<u64>) -> Option<usize> {
    let mut fitting = 0;
    for module in modules {
        let matrix =
            MATRICES.iter().find(|(peft, gguf, _)| module.name == *gguf || ends_with(&module.name, peft));
        let name = matrix.map_or(module.name.as_str(), |(_, gguf, _)| gguf);
        let mut shapes = tensors.iter().filter(|group| group.name == name).peekable();
        let agrees =
            |one: Option<u64>, other: Option<u64>| matches!((one, other), (Some(a), Some(b)) if a == b);
        let is_fit = if shapes.peek().is_some() {
            shapes.any(|group| {
                agrees(module.input, group.dims.first().copied())
                    && agrees(module.output, group.dims.get(1).copied())
            })
        } else {
            match matrix {
                Some((.., Side::Input)) if tensors.is_empty() => agrees(module.input, width),
                Some((.., Side::Output)) if tensors.is_empty() => agrees(module.output, width),
                Some(_) | None => continue,
            }
        };
        if !is_fit {
            return None;
        }
        fitting += 1;
    }
    (fitting > 0).then_some(fitting)
}

fn ends_with(name: &str, word: &str) -> bool {
    name.strip_suffix(word).is_some_and(|before| before.is_empty() || before.ends_with(['.', '_']))
}

pub(super) fn drafts(model: &Part, part: &Part) -> Option<Fit> {
    let tokens = part.vocabulary.filter(|tokens| Some(*tokens) == model.vocabulary)?;
    let is_same_text = model.tokens().is_some() && model.tokenizer == part.tokenizer;
    let large = model.active_parameters.or(model.parameters)?;
    let small = part.active_parameters.or(part.parameters).filter(|small| *small > 0)?;
    let is_small = small.checked_mul(DRAFT_SHARE).is_some_and(|scaled| scaled <= large);
    let times = large.checked_div(small).unwrap_or_default();
    (is_same_text && is_small).then(|| Fit {
        basis: vec![Basis::Vocabulary],
        because: format!("the same {tokens} tokens, and {times} times smaller"),
    })
}

pub(super) fn same_family(model: &Part, part: &Part) -> Option<Fit> {
    let family = part.family.as_ref().filter(|family| Some(*family) == model.family.as_ref())?;
    let because = format!("both are of {family}, by the names and shapes of their tensors");
    Some(Fit { basis: vec![Basis::Family], because })
}
