//! A model as the planner sees it: layers, what each weighs, what each keeps.

use super::{
    families::{Family, Met, Tie},
    kept::{Kept, Layers},
    keys::{believed, number, recurrent, widths, window},
    matrix::Matrix,
    weights::{between, sums},
};
use crate::facts::{Facts, TensorGroup};
use std::{collections::BTreeMap, ops::Range};

/// What a model's memory depends on, read from its facts once.
#[derive(Debug, Clone)]
pub struct Shape {
    pub architecture: String,
    /// `block_count`, with layers that only predict further tokens.
    pub layers: u64,
    /// Trained context, tokens.
    pub trained: u64,
    pub(super) family: &'static Family,
    /// One for each layer.
    pub(super) blocks: Vec<Block>,
    /// The same layers by what they keep.
    pub(super) kinds: Vec<Kind>,
    /// Embeddings: they stay in main memory.
    pub(super) input: Vec<Matrix>,
    /// What turns embeddings into logits, and what has no other place.
    pub(super) output: Vec<Matrix>,
    /// The output is the embedding's own matrix; on a device it is a second copy.
    pub(super) tied: Option<Matrix>,
    /// Rope factors: every device that has a layer has them.
    pub(super) shared: Vec<Matrix>,
    pub(super) widths: Widths,
    pub(super) window: Option<u64>,
    /// Layers without those that only predict further tokens.
    used: u64,
    has_graph: bool,
    /// Keys of the architecture with one number.
    numbers: BTreeMap<String, u64>,
}

/// Elements of what a token passes through.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Widths {
    pub(super) embedding: u64,
    /// 0 where the model makes no logits.
    pub(super) vocabulary: u64,
    pub(super) heads: u64,
    /// Key and value of one head.
    pub(super) head: (u64, u64),
    /// Keys of all KV heads of the widest layer, then values.
    pub(super) keys: u64,
    pub(super) values: u64,
    pub(super) experts_used: u64,
    /// Of each layer that has any.
    pub(super) experts: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pub(super) matrices: Vec<Matrix>,
    /// The matrices that `--n-cpu-moe` moves.
    pub(super) experts: Vec<Matrix>,
    pub(super) kept: Kept,
    pub(super) heads: u64,
    pub(super) kv_heads: u64,
    /// Which of the model's groups of tensors its matrices are of.
    groups: Vec<u32>,
}

/// Layers that keep the same.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) block: Kept,
    /// Such layers before each layer, and before the end.
    before: Vec<u64>,
}

impl Kind {
    /// How many of a range of layers are such.
    pub(super) fn count(&self, layers: &Range<u64>) -> u64 {
        between(&self.before, layers)
    }
}

/// A model of which too little is known to count its memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the file does not say {what}")]
pub struct Unplannable {
    pub what: &'static str,
}

impl Shape {
    pub fn of(facts: &Facts) -> Result<Self, Unplannable> {
        let architecture = facts.architecture.clone().ok_or(Unplannable { what: "its architecture" })?;
        let layers = facts.block_count.ok_or(Unplannable { what: "how many layers it has" })?;
        let trained = facts.context_length.ok_or(Unplannable { what: "what context it was trained with" })?;
        if facts.tensors.is_empty() {
            return Err(Unplannable { what: "what its tensors are" });
        }
        let family = Family::of(&architecture);
        let used = layers.saturating_sub(number(facts, "nextn_predict_layers").unwrap_or(0));
        let mut shape = Self {
            family,
            blocks: (0..layers).map(|_| Block::default()).collect(),
            kinds: Vec::new(),
            input: Vec::new(),
            output: Vec::new(),
            tied: None,
            shared: Vec::new(),
            has_graph: super::graph::is_known(&architecture),
            widths: widths(facts),
            window: window(facts, family, used),
            architecture,
            layers,
            trained,
            used,
            numbers: facts
                .hyperparameters
                .iter()
                .filter_map(|(key, list)| Some((key.clone(), believed(*list.first()?)?)))
                .collect(),
        };
        shape.keep(facts)?;
        // Of T5 the decoder counts, where there is one.
        let has_decoder = facts.tensors.iter().any(|group| group.name.starts_with("dec."));
        let part = if has_decoder { "dec." } else { "enc." };
        (0..).zip(&facts.tensors).for_each(|(number, group)| shape.place(number, group, part));
        shape.tie(facts);
        if shape.tied.is_none() && shape.output.is_empty() {
            shape.widths.vocabulary = 0;
        }
        Ok(shape)
    }

    /// Bytes of all weights, as they are in the file.
    pub fn size(&self) -> u64 {
        let layers = self.blocks.iter().flat_map(Block::all);
        let others = self.input.iter().chain(&self.output).chain(&self.shared);
        super::sum(layers.chain(others).map(|matrix| matrix.size))
    }

    /// The same model with weights of so many percent of their size.
    #[must_use]
    pub fn resized(&self, percent: u64) -> Self {
        let mut shape = self.clone();
        let layers =
            shape.blocks.iter_mut().flat_map(|block| block.matrices.iter_mut().chain(&mut block.experts));
        let others = shape.input.iter_mut().chain(&mut shape.output).chain(&mut shape.shared);
        for matrix in layers.chain(others).chain(&mut shape.tied) {
            matrix.size = (matrix.size / 100).saturating_mul(percent);
            matrix.row_size = (matrix.row_size / 100).saturating_mul(percent);
        }
        shape
    }

    /// Layers whose experts `--n-cpu-moe` can move: the highest one that has any, counted from 1.
    pub fn expert_layers(&self) -> u64 {
        let last = self.blocks.iter().rposition(|block| !block.experts.is_empty());
        last.map_or(0, |at| at as u64 + 1)
    }

    /// Whether a token of context costs anything.
    pub fn has_cache(&self) -> bool {
        self.kinds.iter().any(|kind| kind.block.keys > 0)
    }

    /// Whether compute buffers are met to a few MiB only: layers with a recurrent state leave them a little different after
    /// each repetition.
    pub(super) fn is_met_roughly(&self) -> bool {
        self.family.met == Met::Roughly || self.kinds.iter().any(|kind| kind.block.recurrent > 0)
    }

    /// Whether some layers choose by an index which tokens they look at.
    pub(super) fn has_index(&self) -> bool {
        self.kinds.iter().any(|kind| kind.block.index.0 > 0)
    }

    /// Whether the graph of this architecture is known; else that of another one stands for it.
    pub(super) fn has_graph(&self) -> bool {
        self.has_graph
    }

    /// Whether it is known what this architecture takes for compute.
    pub fn is_understood(&self) -> bool {
        self.has_graph && self.family.met != Met::Badly
    }

    /// Elements of a row of the K and the V cache, the widest layer's.
    pub fn cache_rows(&self) -> (u64, u64) {
        (self.widths.keys, self.widths.values)
    }

    /// Elements of the key and the value of one head, as they are kept; 0 where nothing is.
    pub fn heads(&self) -> (u64, u64) {
        self.widths.head
    }

    /// Elements of one head; 0 for a model without attention.
    pub fn head(&self) -> u64 {
        if self.widths.heads == 0 { 0 } else { self.widths.head.0 }
    }

    /// Elements of the value of one head; of latent attention those of the part of the key that it is.
    pub(super) fn value(&self) -> u64 {
        match self.widths.head.1 {
            0 => self.number("attention.value_length"),
            value => value,
        }
    }

    /// Of each layer whose keys have so many elements, how many heads share one.
    pub(super) fn heads_of_one_key(&self, head: u64) -> impl Iterator<Item = u64> {
        let own = move |block: &&Block| block.kept.is_cached && block.head() == Some(head);
        self.blocks.iter().filter(own).filter_map(|block| block.heads.checked_div(block.kv_heads))
    }

    /// What is tied, where main memory has it twice.
    pub(super) fn copied(&self) -> &[Matrix] {
        if self.family.tie == Tie::Twice { self.tied.as_slice() } else { &[] }
    }

    /// Layers that are computed: not those that only predict further tokens.
    pub(super) fn used_layers(&self) -> usize {
        usize::try_from(self.used).unwrap_or(0).min(self.blocks.len())
    }

    /// A number of the architecture; 0 where the file has none.
    pub(super) fn number(&self, key: &str) -> u64 {
        self.numbers.get(key).copied().unwrap_or(0)
    }

    /// Names of what the layers have.
    pub(super) fn tensor_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for block in [self.blocks.first(), self.blocks.get(self.used_layers() / 2), self.blocks.last()] {
            for matrix in block.iter().flat_map(|block| block.all()) {
                if !names.iter().any(|name| **name == *matrix.name) {
                    names.push(matrix.name.to_string());
                }
            }
        }
        names
    }

    /// Reads what each layer keeps of a token and of a sequence.
    fn keep(&mut self, facts: &Facts) -> Result<(), Unplannable> {
        let state = recurrent(facts, self.widths.embedding);
        if facts.attention.is_none() && state == 0 {
            return Err(Unplannable { what: "how its attention is laid out" });
        }
        let (family, window, used) = (self.family, self.window, self.used);
        let (kept, widest) = Layers { facts, family, window, count: self.layers, used, state }.kept();
        for ((at, block), kept) in self.blocks.iter_mut().enumerate().zip(kept) {
            let of = |list: &[u64]| list.get(at).copied().unwrap_or(0);
            (block.heads, block.kv_heads) = facts
                .attention
                .as_ref()
                .map_or((0, 0), |attention| (of(&attention.heads), of(&attention.kv_heads)));
            block.kept = kept;
        }
        self.widths.keys = self.blocks.iter().map(|block| block.kept.keys).max().unwrap_or(0);
        self.widths.values = widest;
        self.kinds = kinds(&self.blocks);
        Ok(())
    }

    /// Finds the one matrix of embedding and output.
    fn tie(&mut self, facts: &Facts) {
        let find = |name: &str| {
            facts.tensors.iter().find(|group| group.name == name).map(|group| Matrix::of(group, ""))
        };
        let (embedding, output) = (find("token_embd.weight"), find("output.weight"));
        self.tied = match (embedding, output, self.family.tie) {
            (Some(_), Some(_), _) | (_, _, Tie::Never) => None,
            (None, output, Tie::Twice) => output,
            (embedding, None, _) => embedding,
            (None, Some(_), Tie::Copied) => None,
        };
    }

    fn place(&mut self, number: u32, group: &TensorGroup, part: &str) {
        let matrix = Matrix::of(group, part);
        let name = group.name.as_str();
        let layers = if self.family.predicting.contains(&name) { self.layers } else { self.used };
        for layer in group.layers.iter().flat_map(|(first, count)| (*first..layers).take(capped(*count))) {
            let block = usize::try_from(layer).ok().and_then(|at| self.blocks.get_mut(at));
            let Some(block) = block else { continue };
            block.groups.push(number);
            let list = match () {
                () if self.family.on_host.contains(&name) => &mut self.input,
                () if matrix.is_expert => &mut block.experts,
                () => &mut block.matrices,
            };
            list.push(matrix.clone());
        }
        if group.layers.is_empty() {
            self.place_apart(name, matrix);
        }
    }

    /// Places what belongs to no layer.
    fn place_apart(&mut self, name: &str, matrix: Matrix) {
        match () {
            () if name.strip_suffix(".weight").is_some_and(|name| INPUTS.contains(&name)) => {
                self.input.push(matrix);
            }
            () if name.starts_with("rope_") => self.shared.push(matrix),
            () if name.starts_with("token_embd_norm") && self.family.embeds_norm_last => {
                self.output.push(matrix);
            }
            () if IN_FIRST_LAYER.iter().any(|start| name.starts_with(start)) => {
                match self.blocks.first_mut() {
                    Some(block) => block.matrices.push(matrix),
                    None => self.output.push(matrix),
                }
            }
            () => self.output.push(matrix),
        }
    }
}

impl Block {
    pub(super) fn all(&self) -> impl Iterator<Item = &Matrix> {
        self.matrices.iter().chain(&self.experts)
    }

    /// Elements of the key of one head; None where there is none.
    pub(super) fn head(&self) -> Option<u64> {
        self.kept.keys.checked_div(self.kv_heads)
    }

    /// Whether nothing tells two layers apart.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.groups == other.groups
            && self.kept == other.kept
            && (self.heads, self.kv_heads) == (other.heads, other.kv_heads)
    }
}

/// Inputs of a model: they stay in main memory.
pub(super) const INPUTS: [&str; 4] = ["token_embd", "position_embd", "token_types", "per_layer_token_embd"];

/// `LLM_TENSOR_LAYER_REPEATING` in src/llama-arch.cpp without a layer in the name: the models give them the first one.
const IN_FIRST_LAYER: &[&str] =
    &["token_embd_norm", "per_layer_model_proj", "per_layer_proj_norm", "hrm.z_l_init"];

fn kinds(blocks: &[Block]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for block in blocks {
        if !kinds.iter().any(|kind| kind.block == block.kept) {
            let before = sums(blocks.iter().map(|other| u64::from(other.kept == block.kept)));
            kinds.push(Kind { block: block.kept, before });
        }
    }
    kinds
}

/// No model has more layers than facts believe.
fn capped(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
