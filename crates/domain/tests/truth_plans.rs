//! Plans against llama.cpp's own `--fit` and against the best that is possible: a sample that is stored here, and
//! everything of ../shared/truth where it is there.
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
    pub(crate) mod models;
    pub(crate) mod peer;
    pub(crate) mod stored;
}

use domain::{
    hardware::Hardware,
    memory::Shape,
    plan::{Extras, Goal, Knobs, Planned, plan},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs};
use truth::{
    models,
    peer::{Measured, Peer},
    stored::{folder, machine, models_and_rows, rows},
};

/// A model's facts, then the best contexts and placements on a card of which 1 GiB stays free, a line each; made from
/// ../shared/truth (llama.cpp as in llama-cpp-python 0.3.36).
const STORED: &str = include_str!("data/memory.jsonl");

/// What llama.cpp's `--fit on` picks for the same models, as `Peer` reads it.
const FITS: &str = include_str!("data/fit.jsonl");

fn planned(shape: &Shape, machine: &Hardware, knobs: &Knobs) -> Planned {
    plan(shape, machine, knobs, Extras::default()).unwrap()
}

/// Where everything fits on the card, no context is above the best, and none below 98 % of it.
#[track_caller]
fn check_contexts(shapes: &BTreeMap<String, Shape>, rows: impl Iterator<Item = Value>) {
    let (mut counted, mut least, mut equal) = (0, 100.0_f64, 0);
    let (mut wrong, mut short) = (Vec::new(), 0);
    for row in rows.filter(|row| row.get("full").is_some()) {
        let name = models::key(row["model"].as_str().unwrap());
        let card = row["gpu_gib"].as_u64().unwrap();
        for cache in ["f16", "q8_0"] {
            let best = row["full"][cache].as_u64().unwrap();
            if best == 0 {
                continue;
            }
            let knobs = Knobs {
                goal: Some(Goal::MaxCtx),
                kv_unified: Some(true),
                cache_type_k: Some(cache.into()),
                cache_type_v: Some(cache.into()),
                ..Knobs::default()
            };
            let found = planned(&shapes[&name], &machine(1, card << 30), &knobs);
            let ctx = found.settings.ctx;
            let part = ctx as f64 * 100.0 / best as f64;
            let is_whole = found.settings.gpu_layers == found.layers && found.settings.n_cpu_moe == 0;
            counted += 1;
            equal += u32::from(ctx == best);
            least = least.min(part);
            short += u32::from(part < 98.0);
            if ctx > best || part < 98.0 || !is_whole {
                wrong.push(format!("{name} {card} GiB {cache}: {ctx} of {best}, {part:.1} %"));
            }
        }
    }
    println!(
        "{counted} contexts beside the best possible: {equal} equal, {short} under 98 %, none under {least:.1} %"
    );
    assert!(counted >= 10 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where not everything fits, as much is on the card as can be, give or take one layer.
#[track_caller]
fn check_placements(shapes: &BTreeMap<String, Shape>, rows: impl Iterator<Item = Value>) {
    let (mut counted, mut equal, mut wrong) = (0, 0, Vec::new());
    for row in rows.filter(|row| row.get("ngl16k").or(row.get("moe16k")).is_some()) {
        let name = models::key(row["model"].as_str().unwrap());
        let shape = &shapes[&name];
        let knobs = Knobs {
            ctx: Some(16_384.min(shape.trained)),
            kv_unified: Some(true),
            ubatch: Some(512),
            ..Knobs::default()
        };
        let card = row["gpu_gib"].as_u64().unwrap();
        let found = planned(shape, &machine(1, card << 30), &knobs);
        let (layers, moved) = (found.settings.gpu_layers, found.settings.n_cpu_moe);
        counted += 1;
        let (ours, theirs, is_right) = match (row["ngl16k"].as_u64(), row["moe16k"].as_u64()) {
            (Some(best), _) => (layers, best, layers <= best && layers + 1 >= best),
            (_, Some(best)) => (moved, best, layers == found.layers && moved >= best && moved <= best + 1),
            (None, None) => (layers, 0, layers < found.layers),
        };
        equal += u32::from(ours == theirs);
        if !is_right {
            wrong.push(format!("{name} {card} GiB: {layers} layers, {moved} without experts; {row}"));
        }
    }
    println!(
        "{counted} placements beside the best possible: {equal} equal, {} off by more than one",
        wrong.len()
    );
    wrong.iter().for_each(|line| println!("  {line}"));
    assert!(counted >= 10 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A plan keeps the margin that was asked for on every card, and has at least what `--fit` has wherever that keeps it too.
#[track_caller]
fn check_fits(shapes: &BTreeMap<String, Shape>, peers: &[Peer], measured: &Measured) {
    let (mut wins, mut ties, mut lost, mut broken, mut confirmed) = (0, 0, Vec::new(), 0, 0);
    for peer in peers {
        let shape = &shapes[&peer.model];
        let machine = machine(peer.devices, peer.free);
        let found = planned(shape, &machine, &peer.knobs(None));
        let told = format!("{peer}: ours {}", truth::peer::told(&found));
        assert!(found.fits, "{told}");
        for device in &found.devices {
            assert!(device.left >= i64::try_from(device.slack).unwrap(), "{told}: {device:?}");
        }
        if let Some(devices) = measured.find(peer, &found) {
            let kept = devices.iter().all(|used| used + (1 << 30) <= peer.free);
            assert!(kept, "{told}: measured {devices:?}");
            confirmed += 1;
        }
        if !peer.kept {
            broken += 1;
            continue;
        }
        let usable = 16_384.min(shape.trained);
        if peer.has_fallen(shape) {
            let is_possible = || planned(shape, &machine, &peer.knobs(Some(usable))).fits;
            if found.settings.ctx < usable && is_possible() {
                lost.push(format!("{told}: not usable"));
            }
            wins += u32::from(found.settings.ctx >= usable);
            continue;
        }
        match truth::peer::compare(peer, &found, shape) {
            std::cmp::Ordering::Less => lost.push(told),
            std::cmp::Ordering::Equal => ties += 1,
            std::cmp::Ordering::Greater => wins += 1,
        }
    }
    println!(
        "{} plans beside --fit: {wins} won, {ties} alike, {} lost; --fit breaks its margin in {broken}; {confirmed} as measured",
        peers.len(),
        lost.len()
    );
    lost.iter().for_each(|line| println!("  {line}"));
    // What is lost is a step or a layer of what is kept free for models with a recurrent state.
    assert!(lost.len() * 40 <= peers.len(), "{} lost", lost.len());
}

#[test]
fn the_largest_context_is_close_to_the_best_and_never_above() {
    let (shapes, rows) = models_and_rows(rows(STORED));
    check_contexts(&shapes, rows.iter().cloned());
    check_placements(&shapes, rows.into_iter());
}

#[test]
fn the_whole_truth_of_contexts() {
    let Ok(text) = fs::read_to_string(folder().join("best.jsonl")) else {
        println!("skipped: the best possible contexts: ../shared/truth is not there");
        return;
    };
    let shapes = models::shapes(&folder());
    check_contexts(&shapes, rows(&text));
    check_placements(&shapes, rows(&text));
}

#[test]
fn a_plan_is_no_worse_than_what_llama_cpp_fits() {
    let peers: Vec<Peer> = rows(FITS).map(|row| Peer::stored(&row)).collect();
    check_fits(&models_and_rows(rows(STORED)).0, &peers, &Measured::default());
}

#[test]
fn the_whole_truth_of_fits() {
    let Ok(text) = fs::read_to_string(folder().join("fit.jsonl")) else {
        println!("skipped: what llama.cpp fits: ../shared/truth is not there");
        return;
    };
    let measured = fs::read_to_string(folder().join("breakdown.jsonl")).unwrap();
    let peers: Vec<Peer> = rows(&text).map(|row| Peer::read(&row)).collect();
    check_fits(&models::shapes(&folder()), &peers, &Measured::read(rows(&measured)));
}
