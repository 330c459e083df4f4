//! Where the figures are, how their lines are read, and the machine that they are of.

use domain::{
    hardware::{Cpu, Gpu, Hardware, Ram},
    memory::Shape,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// All figures, where they are there.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/truth")
}

pub(crate) fn rows(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// Models by name from the lines that have their facts, and all other lines.
pub(crate) fn models_and_rows(lines: impl Iterator<Item = Value>) -> (BTreeMap<String, Shape>, Vec<Value>) {
    let (models, measured): (Vec<_>, Vec<_>) = lines.partition(|row| row.get("facts").is_some());
    let shape = |row: &Value| Shape::of(&serde_json::from_value(row["facts"].clone()).unwrap()).unwrap();
    let models = models.iter().map(|row| (row["model"].as_str().unwrap().to_owned(), shape(row))).collect();
    (models, measured)
}

/// Cards of so many bytes, all of them free, and plenty of memory.
pub(crate) fn machine(cards: usize, free: u64) -> Hardware {
    let card = |n: usize| Gpu {
        id: format!("CUDA{n}"),
        name: "card".into(),
        backend: "CUDA".into(),
        total: free,
        free,
        ..Gpu::default()
    };
    let ram = Ram { total: 256 << 30, available: 256 << 30 };
    Hardware { gpus: (0..cards).map(card).collect(), ram, cpu: Cpu::default() }
}
