//! Every tensor of a model, in short: layers repeat each other, so a group has a name, a type, a shape and its layers.

use super::TensorUse;
use formats::gguf::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Tensors of one name, type and shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorGroup {
    /// Without its layer: `blk.*.attn_q.weight`, `token_embd.weight`.
    pub name: String,
    /// The tensor type's name.
    pub kind: String,
    /// Elements per dimension, fastest first.
    pub dims: Vec<u64>,
    /// Bytes of one of them.
    pub size: u64,
    /// Layers that have it, as `[first, how many]`; empty for a tensor outside the layers.
    pub layers: Vec<(u64, u64)>,
}

/// A model of more groups is not one of repeated layers; it is not kept, and cannot be planned.
const MAX_GROUPS: usize = 4096;

/// Groups the tensors of one file.
pub(super) fn read(tensors: &[Tensor]) -> Vec<TensorGroup> {
    let mut groups: Vec<TensorGroup> = Vec::new();
    let mut known: HashMap<(String, &str, &[u64]), usize> = HashMap::new();
    for tensor in tensors {
        let (name, layer) = split_name(&tensor.name);
        let kind = tensor.kind.name();
        let at = *known.entry((name.clone(), kind, &tensor.dims)).or_insert(groups.len());
        if at == groups.len() {
            if at == MAX_GROUPS {
                return Vec::new();
            }
            let (dims, size) = (tensor.dims.clone(), tensor.size);
            groups.push(TensorGroup { name, kind: kind.to_owned(), dims, size, layers: Vec::new() });
        }
        if let (Some(group), Some(layer)) = (groups.get_mut(at), layer) {
            add_layers(&mut group.layers, (layer, 1));
        }
    }
    groups
}

/// Returns the groups of a model from those of its parts; none where they are too many.
pub(super) fn join<'a>(parts: impl Iterator<Item = &'a [TensorGroup]>) -> Vec<TensorGroup> {
    let mut groups: Vec<TensorGroup> = Vec::new();
    let mut known: HashMap<(&str, &str, &[u64]), usize> = HashMap::new();
    for other in parts.flatten() {
        let at = *known.entry((&other.name, &other.kind, &other.dims)).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => other.layers.iter().for_each(|run| add_layers(&mut group.layers, *run)),
            None if at == MAX_GROUPS => return Vec::new(),
            None => groups.push(other.clone()),
        }
    }
    groups
}

/// Whether the groups are all that was counted: of a part with too many of them nothing is kept.
pub(super) fn is_complete(groups: &[TensorGroup], uses: &[TensorUse]) -> bool {
    let in_group = |group: &TensorGroup| {
        let in_layers = group.layers.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        if group.layers.is_empty() { 1 } else { in_layers }
    };
    let grouped = groups.iter().fold(0_u64, |sum, group| sum.saturating_add(in_group(group)));
    grouped == uses.iter().fold(0_u64, |sum, used| sum.saturating_add(used.tensors))
}

/// Splits `blk.7.attn_q.weight` into `blk.*.attn_q.weight` and 7; T5 has `enc.blk.7.…` and `dec.blk.7.…`.
fn split_name(name: &str) -> (String, Option<u64>) {
    let found = name.find("blk.").and_then(|at| {
        let (before, rest) = name.split_at_checked(at + 4)?;
        let (number, after) = rest.split_once('.')?;
        Some((format!("{before}*.{after}"), number.parse().ok()?))
    });
    found.map_or_else(|| (name.to_owned(), None), |(name, layer)| (name, Some(layer)))
}

fn add_layers(runs: &mut Vec<(u64, u64)>, (first, count): (u64, u64)) {
    match runs.last_mut() {
        Some((start, length)) if start.checked_add(*length) == Some(first) => {
            *length = length.saturating_add(count);
        }
        _ => runs.push((first, count)),
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_GROUPS, TensorGroup, join};
    use crate::facts::{merge, testing::Build};

    #[test]
    fn layers_that_are_alike_are_one_group() {
        let model = |layers: &[u64]| {
            let model = Build::model("llama");
            let model = if layers.first() == Some(&0) {
                model.tensor("token_embd.weight", &[64, 10], 1)
            } else {
                model
            };
            layers.iter().fold(model, |model, layer| {
                let kind = if *layer == 1 { 8 } else { 1 };
                model.tensor(&format!("blk.{layer}.attn_q.weight"), &[64, 64], kind)
            })
        };
        let groups = model(&[0, 1, 2, 3]).facts().0.tensors;
        let told: Vec<_> =
            groups.iter().map(|g| (g.name.as_str(), g.kind.as_str(), g.size, g.layers.as_slice())).collect();
        assert_eq!(
            told,
            [
                ("token_embd.weight", "F16", 1280, &[][..]),
                ("blk.*.attn_q.weight", "F16", 8192, &[(0, 1), (2, 2)]),
                ("blk.*.attn_q.weight", "Q8_0", 4352, &[(1, 1)]),
            ]
        );
        let parts = [model(&[0, 1]).facts().0, model(&[2, 3]).facts().0];
        assert_eq!(merge(&parts).tensors, groups);
    }

    #[test]
    fn parts_that_have_nothing_in_common_are_not_kept() {
        let part = |number: usize| {
            let group = |at: usize| TensorGroup {
                name: format!("{number}.{at}"),
                kind: "F16".into(),
                dims: vec![32],
                size: 64,
                layers: Vec::new(),
            };
            (0..MAX_GROUPS / 2).map(group).collect::<Vec<_>>()
        };
        let parts: Vec<_> = (0..3).map(part).collect();
        assert_eq!(join(parts.iter().take(2).map(Vec::as_slice)).len(), MAX_GROUPS);
        assert!(join(parts.iter().map(Vec::as_slice)).is_empty());
    }

    #[test]
    fn a_name_without_a_number_is_no_layer() {
        let model = Build::model("llama")
            .tensor("blk.x.attn_q.weight", &[32], 0)
            .tensor("blk.", &[32], 0)
            .tensor("enc.blk.3.attn_q.weight", &[32], 0);
        let names: Vec<_> =
            model.facts().0.tensors.into_iter().map(|group| (group.name, group.layers)).collect();
        assert_eq!(
            names,
            [
                ("blk.x.attn_q.weight".to_owned(), vec![]),
                ("blk.".to_owned(), vec![]),
                ("enc.blk.*.attn_q.weight".to_owned(), vec![(3, 1)]),
            ]
        );
    }
}
