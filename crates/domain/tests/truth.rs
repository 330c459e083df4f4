//! The memory model and the search against llama.cpp's own figures: a sample that is stored here, and everything of
//! ../shared/truth where it is there.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a test, and what it measures is printed"
)]

mod truth {
    pub(crate) mod cases;
    pub(crate) mod models;
    pub(crate) mod stored;
}

use domain::{
    hardware::CUDA_CONTEXT,
    memory::{Backend, Breakdown, Estimate, FlashAttention, Shape},
    plan::{Extras, Knobs, plan},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs};
use truth::{
    cases::{Case, case, number},
    models,
    stored::{folder, machine, models_and_rows, rows},
};

/// A model's facts, then what was measured, a line each, then the same for two cards; made from ../shared/truth (llama.cpp as in llama-cpp-python
/// 0.3.36, planning as for CUDA compute capability 8.9).
const STORED: &str = concat!(include_str!("data/memory.jsonl"), include_str!("data/memory_two.jsonl"));

/// A model of each architecture that something is particular to: first the parameters that rows leave out, then a model's
/// facts (a tensor is `[name, type, dimensions, bytes, layers]`) and what was measured with the same llama.cpp. Files were
/// written from configurations as they are remembered, those called approx from guesses.
const ARCHITECTURES: &str = include_str!("data/architectures.jsonl");

/// What a card said of a CUDA build with models of zeros that `modelctl plan` had planned: the card, then a run a line.
/// `device_mib` is what the engine printed (weights, context, compute, to a hundredth of a MiB), `process_*` what NVML
/// told of the process, bytes, when it was ready and at the most while it worked on `prompt_tokens`. Below, launches on the
/// same card while another process held all but `free_mib` of it (the last beside the one before it).
const CUDA: &str = include_str!("data/cuda.jsonl");

/// Writes out what a line of `ARCHITECTURES` has in short.
fn complete(mut row: Value, params: &Value) -> Value {
    if row.get("facts").is_some() {
        for name in ["tensor_types", "base_models", "capabilities"] {
            row["facts"][name] = json!([]);
        }
        for tensor in row["facts"]["tensors"].as_array_mut().unwrap() {
            let [name, kind, dims, size, layers] = [0, 1, 2, 3, 4].map(|at| tensor[at].take());
            *tensor = json!({ "name": name, "kind": kind, "dims": dims, "size": size, "layers": layers });
        }
    } else {
        let mut all = params.clone();
        all.as_object_mut().unwrap().append(row["params"].as_object_mut().unwrap());
        row["params"] = all;
    }
    row
}

/// Of every row weights and context to the byte, and compute within the slack and a MiB.
#[track_caller]
fn check_particular(shapes: &BTreeMap<String, Shape>, rows: &[Value]) {
    let (mut equal, mut places) = (0, 0);
    for row in rows {
        let shape = &shapes[row["model"].as_str().unwrap()];
        let case = case(row, shape.trained).unwrap();
        let estimate = Estimate::new(shape, &vec![Backend::CUDA; case.devices.len()]);
        let found = estimate.breakdown(&case.settings);
        assert_kept(&found, &case);
        for (ours, theirs) in found.devices.iter().zip(&case.devices) {
            // A plan keeps a margin beside the slack, of which a MiB is nothing.
            let most = ours.compute.saturating_add(ours.slack).saturating_add(1 << 20);
            assert!(most >= theirs[2], "{} {:?}: {most} of {}", case.model, case.settings, theirs[2]);
            equal += usize::from(ours.compute == theirs[2]);
            places += 1;
        }
    }
    println!(
        "{} models: compute is equal in {equal} of {places} places, and within the slack in all",
        shapes.len()
    );
}

#[track_caller]
fn assert_kept(found: &Breakdown, case: &Case) {
    for (ours, theirs) in found.devices.iter().zip(&case.devices).chain([(&found.host, &case.host)]) {
        assert_eq!([ours.weights, ours.context], theirs[..2], "{} {:?}", case.model, case.settings);
    }
}

#[derive(Default)]
struct Errors {
    /// Hundredths of a percent of all bytes in the place.
    parts: Vec<u64>,
    too_low: u64,
    too_high: u64,
    equal: usize,
    /// Too low by more than 64 MiB.
    far: usize,
}

/// Weights and context are exact, and compute is within the slack where a plan relies on it.
#[track_caller]
fn check_breakdowns(shapes: &BTreeMap<String, Shape>, rows: impl Iterator<Item = Value>) {
    let mut errors: BTreeMap<&str, Errors> = BTreeMap::new();
    let mut counted = 0;
    for row in rows.filter(|row| row.get("params").is_some()) {
        let shape = &shapes[&models::key(row["model"].as_str().unwrap())];
        let Some(case) = case(&row, shape.trained) else { continue };
        let estimate = Estimate::new(shape, &vec![Backend::CUDA; case.devices.len()]);
        let found = estimate.breakdown(&case.settings);
        let told = format!("{} {:?}", case.model, case.settings);
        assert_kept(&found, &case);
        let pairs: Vec<_> = found.devices.iter().zip(&case.devices).collect();
        let is_relied_on = row["profile"] == "server" && !pairs.is_empty() && case.settings.ubatch <= 512;
        if is_relied_on && case.settings.flash_attn == FlashAttention::On {
            for (ours, theirs) in &pairs {
                let most = ours.compute.saturating_add(ours.slack);
                assert!(most >= theirs[2], "{told}: at most {most}, and it is {}", theirs[2]);
            }
        }
        let error = errors.entry(case.group).or_default();
        let judged = if pairs.is_empty() { vec![(&found.host, &case.host)] } else { pairs };
        for (ours, theirs) in judged {
            let all: u64 = theirs.iter().sum();
            let (ours, theirs) = (ours.compute, theirs[2]);
            error.parts.push(ours.abs_diff(theirs) * 10_000 / all.max(1));
            error.too_high = error.too_high.max(ours.saturating_sub(theirs));
            error.too_low = error.too_low.max(theirs.saturating_sub(ours));
            error.equal += usize::from(ours == theirs);
            error.far += usize::from(theirs.saturating_sub(ours) > 64 << 20);
        }
        counted += 1;
    }
    assert!(counted > 50, "{counted} cases");
    println!("{counted} cases, weights and context exact in all; compute, in % of all bytes in the place:");
    for (group, mut error) in errors {
        error.parts.sort_unstable();
        let at = |percent: usize| error.parts[(error.parts.len() - 1) * percent / 100] as f64 / 100.0;
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        println!(
            "  {group:26} {:5} cases  p50 {:5.2}  p95 {:6.2}  too low by at most {:7.1} MiB, too high by {:7.1}",
            error.parts.len(),
            at(50),
            at(95),
            mib(error.too_low),
            mib(error.too_high),
        );
        println!("{:33} {:5} equal to the byte, {} too low by more than 64 MiB", "", error.equal, error.far);
        if group != "off after all" {
            assert!(at(95) <= 0.5, "{group}: {}", at(95));
            assert_eq!(error.far, 0, "{group}");
        }
    }
}

#[test]
fn weights_and_context_are_llama_cpps_to_the_byte() {
    let (shapes, rows) = models_and_rows(rows(STORED));
    check_breakdowns(&shapes, rows.into_iter());
}

#[test]
fn what_is_particular_to_an_architecture_is_counted() {
    let mut lines = rows(ARCHITECTURES);
    let params = lines.next().unwrap()["params"].take();
    let (shapes, rows) = models_and_rows(lines.map(|row| complete(row, &params)));
    assert!(shapes.len() > 40 && rows.len() > 3 * 40, "{} models, {} rows", shapes.len(), rows.len());
    check_particular(&shapes, &rows);
}

#[test]
fn the_whole_truth_of_memory() {
    let Ok(text) = fs::read_to_string(folder().join("breakdown.jsonl")) else {
        println!("skipped: the whole truth of memory: ../shared/truth is not there");
        return;
    };
    check_breakdowns(&models::shapes(&folder()), rows(&text));
}

/// The engine allocates what was planned, and all that its process holds of the card is within what the plan keeps.
#[track_caller]
fn check_cuda(shapes: &BTreeMap<String, Shape>) {
    let mut card = machine(1, 149_557_346_304);
    card.gpus[0].overhead = CUDA_CONTEXT;
    let (mut counted, mut least) = (0, u64::MAX);
    for row in rows(CUDA) {
        let Some(shape) = row["model"].as_str().and_then(|model| shapes.get(model)) else { continue };
        let word = |name: &str| row[name].as_str().map(str::to_owned);
        let knobs = Knobs {
            ctx: row["ctx"].as_u64(),
            gpu_layers: Some(number(&row["ngl"]).to_string()),
            n_cpu_moe: row["n_cpu_moe"].as_u64(),
            cache_type_k: word("ctk"),
            cache_type_v: word("ctv"),
            flash_attn: word("flash_attn"),
            ubatch: row["ubatch"].as_u64(),
            parallel: row["parallel"].as_u64(),
            ..Knobs::default()
        };
        let found = plan(shape, &card, &knobs, Extras::default()).unwrap();
        let used = &found.devices[0];
        let hundredths = [used.weights, used.context, used.compute].map(|bytes| bytes * 100 / 1_048_576);
        let printed = [0, 1, 2].map(|at| (row["device_mib"][at].as_f64().unwrap() * 100.0).round());
        let [weights, context, compute] = [0, 1, 2].map(|at| printed[at] - hundredths[at] as f64);
        assert!(weights.abs() <= 1.0 && context.abs() <= 1.0, "{row}: {hundredths:?}");
        assert!(compute <= (used.slack * 100 / 1_048_576) as f64 + 1.0, "{row}: {hundredths:?}");
        let kept = used.used + used.slack + used.margin;
        least = least.min(kept.checked_sub(number(&row["process_peak"])).unwrap());
        counted += 1;
    }
    assert!(counted >= 6, "{counted} runs");
    println!("{counted} runs on a card: at the least {} MiB of what was kept free stayed free", least >> 20);
}

#[test]
fn a_card_holds_what_was_planned() {
    check_cuda(&models_and_rows(rows(STORED)).0);
    if folder().is_dir() {
        check_cuda(&models::shapes(&folder()));
    } else {
        println!("skipped: runs of models that are not stored here: ../shared/truth is not there");
    }
}
