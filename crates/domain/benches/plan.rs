//! A search in process, from facts to settings, for models that were measured, on one card and on two unequal ones; and
//! the whole plan with its words and alternatives; beside one breakdown, of which both are made.
#![expect(clippy::disallowed_methods, reason = "a bench has a clock")]
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench")]

use domain::{
    facts::Facts,
    hardware::{Gpu, Hardware, Ram},
    memory::{Backend, Estimate, Settings, Shape, TensorSplit},
    plan::{Extras, Goal, Knobs, outline, plan},
};
use std::{hint::black_box, time::Instant};

const RUNS: u32 = 101;
/// Milliseconds.
const GOAL: f64 = 1.0;

fn main() {
    // The last one has 62 layers.
    let stored =
        concat!(include_str!("../tests/data/memory.jsonl"), include_str!("../tests/data/memory_two.jsonl"));
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
        let estimate = Estimate::new(&shape, &[Backend::CUDA; 2]);
        let layers = shape.layers + 1;
        let split = TensorSplit::of_layers([layers / 2, layers - layers / 2]);
        let two = median(|| {
            black_box(estimate.breakdown(&Settings { tensor_split: split, ..settings() }));
        });
        let knobs = Knobs { goal: Some(Goal::MaxCtx), ..Knobs::default() };
        let extras = Extras::default();
        let slowest = |work: &dyn Fn(&Hardware)| {
            let machines = [4, 8, 12, 24, 48, 80].into_iter().flat_map(|gib| [vec![gib], vec![gib, gib / 2]]);
            machines.map(|cards| median(|| work(&machine(&cards)))).fold(0.0_f64, f64::max)
        };
        let search = slowest(&|machine| {
            let shape = Shape::of(&facts).unwrap();
            black_box(outline(&shape, machine, &knobs, extras).unwrap());
        });
        let whole = slowest(&|machine| {
            black_box(plan(&shape, machine, &knobs, extras).unwrap());
        });
        let goal = if search <= GOAL { "met" } else { "MISSED" };
        println!(
            "{name:36} search {search:>6.3} ms  plan {whole:>6.3} ms  one breakdown {:>6.2} us, on two cards {:>6.2} us  ratio {:>5.0}  (goal {GOAL} ms: {goal})",
            one * 1e3,
            two * 1e3,
            search / one,
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

/// Cards of so many GiB.
fn machine(cards: &[u64]) -> Hardware {
    let card = |(n, gib): (usize, &u64)| Gpu {
        id: format!("CUDA{n}"),
        name: "card".into(),
        backend: "CUDA".into(),
        total: gib << 30,
        free: gib << 30,
        ..Gpu::default()
    };
    let gpus = cards.iter().enumerate().map(card).collect();
    Hardware { gpus, ram: Ram { total: 128 << 30, available: 96 << 30 }, ..Hardware::default() }
}

fn settings() -> Settings {
    Settings { ctx: 32_768, gpu_layers: 999, ..Settings::default() }
}
