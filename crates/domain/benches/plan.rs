//! A plan in process, from facts to settings, for models that were measured; beside one breakdown, of which a search
//! asks for hundreds.
#![expect(clippy::disallowed_methods, reason = "a bench has a clock")]
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]

use domain::{
    facts::Facts,
    hardware::{Gpu, Hardware, Ram},
    memory::{Backend, CacheType, Estimate, FlashAttention, Settings, Shape, TensorSplit},
    plan::{Extras, Goal, Knobs, plan},
};
use std::{hint::black_box, time::Instant};

const RUNS: u32 = 301;
/// Milliseconds.
const GOAL: f64 = 1.0;

fn main() {
    let stored = include_str!("../tests/data/memory.jsonl");
    for line in stored.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let Ok(facts) = serde_json::from_value::<Facts>(row.get("facts").cloned().unwrap_or_default()) else {
            continue;
        };
        let name = row.get("model").and_then(|name| name.as_str()).unwrap_or_default();
        let shape = Shape::of(&facts).unwrap();
        let estimate = Estimate::new(&shape, &[Backend::CUDA]);
        let one = median(|| {
            black_box(estimate.breakdown(&settings()));
        });
        let knobs = Knobs { goal: Some(Goal::MaxCtx), ..Knobs::default() };
        let (mut slowest, mut worst) = (0.0_f64, 0);
        for gib in [4, 8, 12, 24, 48, 80] {
            let machine = machine(gib << 30);
            let time = median(|| {
                let shape = Shape::of(&facts).unwrap();
                black_box(plan(&shape, &machine, &knobs, Extras::default()).unwrap());
            });
            if time > slowest {
                (slowest, worst) = (time, gib);
            }
        }
        let goal = if slowest <= GOAL { "met" } else { "MISSED" };
        println!(
            "{name:36} plan {slowest:>6.3} ms ({worst} GiB)  one breakdown {:>6.2} us  ratio {:>5.0}  (goal {GOAL} ms: {goal})",
            one * 1e3,
            slowest / one,
        );
    }
}

/// Milliseconds.
fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn machine(free: u64) -> Hardware {
    let (id, name, backend) = ("CUDA0".into(), "card".into(), "CUDA".into());
    let card = Gpu { id, name, backend, total: free, free, ..Gpu::default() };
    Hardware { gpus: vec![card], ram: Ram { total: 128 << 30, available: 96 << 30 }, ..Hardware::default() }
}

fn settings() -> Settings {
    Settings {
        ctx: 32_768,
        tensor_split: TensorSplit::default(),
        gpu_layers: 999,
        n_cpu_moe: 0,
        cache_type_k: CacheType::F16,
        cache_type_v: CacheType::F16,
        flash_attn: FlashAttention::On,
        batch: 2048,
        ubatch: 512,
        parallel: 1,
        kv_unified: false,
        swa_full: false,
        kv_offload: true,
        op_offload: true,
        n_outputs: 1,
    }
}
