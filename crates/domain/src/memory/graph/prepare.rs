//! A model and the graph of its architecture, brought together once: what each layer is and what its names stand for.

use super::{
    template::{Template, Type, Whose},
    tensor::small,
};
use crate::memory::{
    Backend, Shape,
    matrix::Matrix,
    shape::{Block, INPUTS},
};

#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) template: &'static Template,
    /// Layers that are alike are one.
    pub(super) classes: Vec<Class>,
    /// The class of each layer.
    pub(super) of_layer: Vec<u32>,
    /// What stands outside the layers.
    pub(super) whole: Class,
    /// Names whose number the settings decide.
    pub(super) moving: Vec<(usize, Moving)>,
    /// Elements of the key of a head.
    pub(super) head: u64,
    /// The same of the first layer with a cache, and of those that see farther or less far.
    pub(super) heads: [u64; 2],
    /// Elements of a key and of its part that is the value, where both are one cache.
    pub(super) part: (u64, u64),
}

#[derive(Debug, Clone)]
pub(super) struct Class {
    /// Of the template's.
    pub(super) segment: usize,
    /// What each name of the template stands for.
    pub(super) values: Vec<u64>,
    /// Each weight of the template, where the model has it.
    pub(super) weights: Vec<Option<Held>>,
    /// The first class that differs in nothing but the types of its weights.
    pub(super) alike: u32,
    /// Whether the layer has a cache of its own, and whether its cache is windowed.
    pub(super) keeps: bool,
    pub(super) is_windowed: bool,
}

impl PartialEq for Class {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.values == other.values && self.weights == other.weights
    }
}

impl Class {
    fn kind(&self) -> (usize, bool, bool) {
        (self.segment, self.keeps, self.is_windowed)
    }

    /// Whose the weights are.
    fn owners(&self) -> impl Iterator<Item = Option<Whose>> {
        self.weights.iter().map(|held| held.map(|held| held.whose))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Held {
    /// As a device has it.
    pub(super) bytes: u64,
    pub(super) whose: Whose,
    pub(super) is_expert: bool,
    pub(super) is_input: bool,
    /// No device takes it.
    pub(super) is_for_host: bool,
}

/// A number that is not the model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moving {
    Tokens,
    Sequences,
    PerSequence,
    Outputs,
    Cells,
    AllCells,
    Windowed,
    AllWindowed,
}

const MOVING: [(&str, Moving); 8] = [
    ("T", Moving::Tokens),
    ("Q", Moving::Sequences),
    ("P", Moving::PerSequence),
    ("O", Moving::Outputs),
    ("C", Moving::Cells),
    ("A", Moving::AllCells),
    ("W", Moving::Windowed),
    ("B", Moving::AllWindowed),
];

impl Prepared {
    pub(super) fn of(template: &'static Template, shape: &Shape, device: Backend) -> Self {
        let moving = template.names.iter().enumerate().filter_map(|(at, name)| {
            let (_, moving) = MOVING.iter().find(|(known, _)| *known == name)?;
            Some((at, *moving))
        });
        let moving = moving.collect();
        let mut prepared = Self {
            moving,
            classes: Vec::new(),
            of_layer: Vec::new(),
            whole: class(template, shape, None, device),
            head: shape.heads().0,
            heads: heads(shape),
            part: (shape.number("attention.key_length"), shape.number("attention.value_length")),
            template,
        };
        let layers = shape.used_layers();
        // Most layers are like another one, and what was found out for that one holds.
        let like = like(template, shape, layers);
        let mut types: Vec<usize> = Vec::new();
        for (layer, first) in like.iter().enumerate() {
            let known = types.get(*first).copied().filter(|_| *first < layer);
            types.push(known.unwrap_or_else(|| prepared.type_of(shape, layer)));
        }
        let mut known: Vec<(Alike, u32)> = Vec::new();
        for (layer, first) in like.iter().enumerate() {
            let before = layer.checked_sub(1).and_then(|before| like.get(before)).copied();
            let key = (*first, before, prepared.segment(&types, layer));
            let at = match known.iter().find(|(other, _)| *other == key) {
                Some((_, at)) => *at,
                None => {
                    let at = prepared.class_of(shape, layer, key.2, device);
                    known.push((key, at));
                    at
                }
            };
            prepared.of_layer.push(at);
        }
        prepared
    }

    fn class_of(&mut self, shape: &Shape, layer: usize, segment: usize, device: Backend) -> u32 {
        let mut class = Class { segment, ..class(self.template, shape, Some(layer), device) };
        if let Some(at) = self.classes.iter().position(|other| *other == class) {
            return small(at);
        }
        let alike = |other: &Class| {
            other.kind() == class.kind() && other.values == class.values && other.owners().eq(class.owners())
        };
        class.alike = small(self.classes.iter().position(alike).unwrap_or(self.classes.len()));
        self.classes.push(class);
        small(self.classes.len() - 1)
    }

    /// The type that has the most of what a layer has, and the least else.
    fn type_of(&self, shape: &Shape, layer: usize) -> usize {
        let Some(block) = shape.blocks.get(layer) else { return 0 };
        let has = |name: &String| block.all().any(|matrix| *matrix.name == **name);
        let count = block.all().count();
        let is_sharing = shape.has_cache() && !block.kept.is_own();
        let far = |kind: &Type| {
            let shared = kind.weights.iter().filter(|name| has(name)).count();
            let differ = (kind.weights.len() - shared) + count.saturating_sub(shared);
            let is_other_cache = usize::from(kind.is_sharing != is_sharing);
            let is_beyond = usize::from(kind.end.is_some_and(|end| layer >= end));
            differ * 8
                + is_beyond * 4
                + is_other_cache * 2
                + usize::from(kind.is_windowed != block.kept.is_windowed)
        };
        let kinds = self.template.types.iter().enumerate();
        kinds.min_by_key(|(_, kind)| far(kind)).map_or(0, |(at, _)| at)
    }

    /// The segment of a layer: of those for its type the one that has the same neighbors.
    fn segment(&self, types: &[usize], layer: usize) -> usize {
        let at = |layer: Option<usize>| layer.and_then(|layer| types.get(layer)).copied();
        let (before, own, after) =
            (at(layer.checked_sub(1)), at(Some(layer)).unwrap_or(0), at(Some(layer + 1)));
        let rank = |kind: &super::template::Layer| {
            let ends = u32::from(kind.after.is_none() == after.is_none()) * 64;
            let starts = u32::from(kind.before.is_none() == before.is_none()) * 16;
            let is_own = u32::from(kind.own == own) * 32;
            let place = u32::from(!kind.is_second || layer == 1) * 8;
            let neighbors = u32::from(kind.before == before) * 4 + u32::from(kind.after == after) * 2;
            ends + starts + is_own + place + neighbors + u32::from(kind.is_second && layer == 1)
        };
        let ranked = self.template.layers.iter().map(|kind| (rank(kind), kind.segment));
        ranked.fold((0, 0), |best, own| if own.0 > best.0 { own } else { best }).1
    }
}

/// Elements of the key of a head of the first layer with a cache, and of the first one that sees farther or less far.
fn heads(shape: &Shape) -> [u64; 2] {
    let cached = || shape.blocks.iter().filter(|block| block.kept.is_cached);
    let first = cached().next();
    let is_other = |block: &&Block| first.is_some_and(|it| it.kept.is_windowed != block.kept.is_windowed);
    [first, cached().find(is_other)].map(|block| block.and_then(Block::head).unwrap_or(shape.heads().0))
}

/// What decides a layer's class: the layers that it and the one before are like, and its segment.
type Alike = (usize, Option<usize>, usize);

/// For each layer the first one that nothing tells from it.
fn like(template: &Template, shape: &Shape, layers: usize) -> Vec<usize> {
    let end = template.types.iter().find_map(|kind| kind.end).unwrap_or(0);
    let mut firsts: Vec<usize> = Vec::new();
    let mut like = Vec::new();
    for (layer, block) in shape.blocks.iter().take(layers).enumerate() {
        let is_like = |first: &&usize| {
            let other = shape.blocks.get(**first);
            (**first < end) == (layer < end) && other.is_some_and(|other| other.is_like(block))
        };
        let first = firsts.iter().find(is_like).copied().unwrap_or(layer);
        if first == layer {
            firsts.push(layer);
        }
        like.push(first);
    }
    like
}

fn class(template: &Template, shape: &Shape, layer: Option<usize>, device: Backend) -> Class {
    let values = template.names.iter().map(|name| value(shape, name, layer)).collect();
    let weights = template.weights.iter().map(|weight| {
        let on_host = || {
            let found = shape.input.iter().find(|matrix| *matrix.name == *weight.name)?;
            Some((found, weight.whose))
        };
        let found = match layer {
            Some(layer) => of_layer(shape, &weight.name, weight.whose, layer),
            None => of_model(shape, &weight.name),
        };
        let is_for_host = found.is_none();
        let (matrix, whose) = found.or_else(on_host)?;
        Some(Held {
            bytes: device.size(matrix),
            whose,
            is_expert: matrix.is_expert,
            is_input: INPUTS.contains(&&*weight.name),
            is_for_host,
        })
    });
    let kept = layer.and_then(|layer| shape.blocks.get(layer)).map(|block| block.kept).unwrap_or_default();
    let (keeps, is_windowed) = (kept.is_cached, kept.is_windowed);
    Class { segment: 0, values, weights: weights.collect(), alike: 0, keeps, is_windowed }
}

/// A weight of a layer, and whose it is: where the layer before has none, the first one's is meant, as of T5's positions.
fn of_layer<'a>(shape: &'a Shape, name: &str, whose: Whose, layer: usize) -> Option<(&'a Matrix, Whose)> {
    let find = |layer: usize| shape.blocks.get(layer)?.all().find(|matrix| *matrix.name == *name);
    match whose {
        Whose::Model | Whose::Output => of_model(shape, name),
        Whose::Layer => Some((find(layer)?, whose)),
        Whose::First => Some((find(0)?, whose)),
        Whose::LayerBefore => {
            let own = find(layer.checked_sub(1)?).map(|matrix| (matrix, whose));
            own.or_else(|| Some((find(0)?, Whose::First)))
        }
    }
}

fn of_model<'a>(shape: &'a Shape, name: &str) -> Option<(&'a Matrix, Whose)> {
    // Of several kinds of factors one is used; they are alike.
    if name.starts_with("rope_") {
        return Some((shape.shared.first()?, Whose::Model));
    }
    let find = |matrix: &&Matrix| *matrix.name == *name;
    let output = || Some((shape.output.iter().find(find)?, Whose::Output));
    let outside = shape.input.iter().chain(&shape.shared).find(find);
    // What turns logits out is the embedding's own matrix where the file has no other.
    let tied = || shape.tied.as_ref().filter(|_| name == "output");
    let in_first = || Some((shape.blocks.first()?.matrices.iter().find(find)?, Whose::First));
    output()
        .or_else(|| Some((outside?, Whose::Model)))
        .or_else(in_first)
        .or_else(|| Some((tied()?, Whose::Model)))
}

/// The layer whose cache a layer reads: its own, or the last one before it that sees as far.
fn keeper(shape: &Shape, layer: usize) -> Option<&Block> {
    let own = shape.blocks.get(layer)?;
    let earlier = shape.blocks.get(..layer).unwrap_or(&[]).iter().rev();
    let mut earlier = earlier.filter(|other| other.kept.is_windowed == own.kept.is_windowed);
    if own.kept.is_own() { Some(own) } else { earlier.find(|other| other.kept.is_cached).or(Some(own)) }
}

/// What a name stands for, as far as it is the model's.
fn value(shape: &Shape, name: &str, layer: Option<usize>) -> u64 {
    let block = layer.and_then(|layer| shape.blocks.get(layer));
    let keeper = || layer.and_then(|layer| keeper(shape, layer));
    let widths = &shape.widths;
    if let Some(key) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // What a file need not say, llama.cpp takes from the width and the heads.
        return match (shape.number(key), key) {
            (0, "attention.key_length" | "rope.dimension_count") => shape.heads().0,
            (_, "attention.value_length") => shape.value(),
            (number, _) => number,
        };
    }
    if let Some((matrix, dimension)) = name.split_once(':') {
        let at: usize = dimension.parse().unwrap_or(0);
        let found = match (matrix.strip_prefix('/'), layer) {
            (Some(outside), _) => of_model(shape, outside),
            (None, Some(layer)) => of_layer(shape, matrix, Whose::Layer, layer),
            (None, None) => None,
        };
        return found.and_then(|(matrix, _)| matrix.dims.get(at)).copied().unwrap_or(1);
    }
    match name {
        "N" => shape.trained,
        "E" => widths.embedding,
        "L" => shape.used_layers() as u64,
        "V" => widths.vocabulary,
        "U" => widths.experts_used,
        "X" => widths.experts,
        "H" => block.map_or(widths.heads, |block| block.heads),
        "G" => block.map_or(0, |block| block.kv_heads),
        "D" => shape.heads().0,
        "KR" => keeper().map_or(widths.keys, |block| block.kept.keys),
        "VR" => keeper().map_or(widths.values, |block| block.kept.values),
        "VM" => widths.values,
        "HW" => widths.embedding.checked_div(shape.number("wkv.head_size")).unwrap_or(0),
        _ => 0,
    }
}
