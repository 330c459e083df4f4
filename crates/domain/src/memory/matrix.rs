//! One tensor, or many of a kind, as memory sees it.

use super::parts::Part;
use crate::facts::TensorGroup;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matrix {
    /// Without its layer and without `.weight`.
    pub(super) name: Arc<str>,
    /// Elements per dimension, fastest first.
    pub(super) dims: [u64; 4],
    /// One of those that `--n-cpu-moe` moves.
    pub(super) is_expert: bool,
    /// Bytes.
    pub(super) size: u64,
    /// Elements of a row, and their bytes.
    pub(super) row: u64,
    pub(super) row_size: u64,
    pub(super) is_quantized: bool,
    pub(super) part: Part,
    /// A processor without a device keeps a copy in an order of its own (ggml-cpu/repack.cpp, on x86).
    pub(super) is_repacked: bool,
}

impl Matrix {
    /// With the name that it has without this beginning.
    pub(super) fn of(group: &TensorGroup, beginning: &str) -> Self {
        let row = group.dims.first().copied().unwrap_or(1);
        let rows = super::product(group.dims.iter().skip(1).copied()).max(1);
        let is_quantized =
            !matches!(group.kind.as_str(), "F32" | "F16" | "BF16" | "F64" | "I8" | "I16" | "I32" | "I64");
        let part = Part::of(&group.name);
        let is_repacked = rows > 1 && matches!(group.kind.as_str(), "Q4_0" | "Q4_K" | "MXFP4");
        let name = group.name.strip_prefix(beginning).unwrap_or(&group.name);
        let name = name.strip_prefix("blk.*.").unwrap_or(name);
        Self {
            name: name.strip_suffix(".weight").unwrap_or(name).into(),
            dims: [0, 1, 2, 3].map(|at: usize| group.dims.get(at).copied().unwrap_or(1)),
            is_expert: is_expert(&group.name),
            size: group.size,
            row,
            row_size: group.size / rows,
            is_quantized,
            part,
            is_repacked,
        }
    }
}

/// What llama.cpp's `--n-cpu-moe` matches: `ffn_(up|down|gate|gate_up)_(ch|)exps`, biases included.
fn is_expert(name: &str) -> bool {
    ["up", "down", "gate", "gate_up"]
        .iter()
        .any(|part| ["_exps", "_chexps"].iter().any(|end| name.contains(&format!("ffn_{part}{end}"))))
}
