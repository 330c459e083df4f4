//! What is said of a plan besides its settings: speed, account, curve, cautions.

use super::*;
use crate::facts::Tuning;

fn named(name: &str, gib: u64) -> Hardware {
    machine(vec![Gpu { name: name.into(), ..gpu("CUDA0", gib) }], 64)
}

fn at(ctx: u64) -> Knobs {
    Knobs { ctx: Some(ctx), ..Knobs::default() }
}

/// 7,504,658,432 elements of 34 bytes in 32 besides the embedding, and 2,048 tokens of 131,072 bytes, at 936 GB/s.
#[test]
fn the_speed_is_what_a_token_reads_over_the_speed_of_the_memory() {
    let found = check(0, &named("NVIDIA GeForce RTX 3090", 24), &at(4096));
    let speed = found.speed.unwrap();
    assert_eq!((speed.low, speed.high), (51.2, 85.9));
    let basis =
        "weights 7.4 GiB and KV 256.0 MiB a token at 936 GB/s, efficiency 0.5–0.8; 32 layers at 20–60 µs";
    assert_eq!(speed.basis, basis);
    // (7.4 GiB and 256 MiB) / 936e9 / 0.5, and 32 times 60 µs: 19.5 ms.
    let line = format!("about 51–86 tokens/s ({})", speed.basis);
    assert!(found.explain.contains(&line), "{:?}", found.explain);
}

#[test]
fn what_makes_no_tokens_has_no_speed() {
    let shape = Shape::of(&facts(0)).unwrap();
    let extras = Extras { embeds: true, ..Extras::default() };
    let found = plan(&shape, &named("NVIDIA GeForce RTX 3090", 24), &at(4096), extras).unwrap();
    assert_eq!(found.speed, None);
    let why = "no speed is given: this model does not answer token by token";
    assert!(found.explain.iter().any(|line| line == why), "{:?}", found.explain);
}

#[test]
fn of_the_experts_those_count_that_work() {
    // Two of eight: a quarter of 47 GB, and attention and output as before.
    let found = check(8, &named("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 96), &at(4096));
    let basis = found.speed.unwrap().basis;
    assert!(basis.starts_with("weights 13.0 GiB and KV 256.0 MiB a token at 1792 GB/s"), "{basis}");
}

#[test]
fn what_is_not_known_is_said_and_not_guessed() {
    let found = check(0, &named("card", 24), &at(4096));
    assert_eq!(found.speed, None);
    let why = "the speed is not known: how fast the memory of CUDA0 (card) is";
    assert!(found.explain.iter().any(|line| line == why), "{:?}", found.explain);
    let found = check(0, &named("NVIDIA GeForce RTX 3090", 6), &at(4096));
    assert_eq!(found.speed, None);
    assert!(found.explain.iter().any(|line| line.contains("how fast main memory is")), "{:?}", found.explain);
}

#[test]
fn what_runs_have_told_is_better_than_a_table() {
    let shape = Shape::of(&facts(0)).unwrap();
    let run = PastRun { host: 8_000_000_000, tokens_per_second: 5.0, ..PastRun::default() };
    let told = |machine: &Hardware, past: &[PastRun]| {
        let known = Known { past, ..Known::of(Extras::default()) };
        ask(&shape, machine, &at(4096), known, |ground, answer| answer.planned(ground)).unwrap().speed
    };
    let speed = told(&machine(Vec::new(), 64), std::slice::from_ref(&run)).unwrap();
    assert!(speed.low > 3.0 && speed.high < 6.0, "{speed:?}");
    assert!(speed.basis.ends_with("in main memory, 40 GB/s as measured here"), "{speed:?}");
    // What was split between two memories tells neither's speed, nor does a speed that cannot be.
    let split = PastRun { devices: [("CUDA0".to_owned(), 8_000_000_000)].into(), ..run };
    let absurd = PastRun { host: 8_000_000_000, tokens_per_second: f64::NAN, ..PastRun::default() };
    assert_eq!(told(&machine(Vec::new(), 64), &[split, absurd]), None);
}

#[test]
fn where_speeds_are_known_the_faster_placement_is_taken() {
    // The slow card holds what the fast one does not.
    let cards = vec![
        Gpu { name: "NVIDIA GeForce RTX 4090".into(), ..gpu("CUDA0", 8) },
        Gpu { name: "NVIDIA GeForce RTX 3060".into(), ..gpu("CUDA1", 12) },
    ];
    let found = check(0, &machine(cards, 64), &Knobs { goal: Some(Goal::Fastest), ..Knobs::default() });
    assert_eq!((found.devices.len(), found.settings.gpu_layers), (2, 33));
    assert!(found.speed.unwrap().basis.contains("; weights "));
}

#[test]
fn the_account_adds_up_to_the_plan() {
    let two = machine(vec![gpu("CUDA0", 12), gpu("CUDA1", 16)], 128);
    for (experts, knobs) in
        [(0, Knobs::default()), (8, Knobs::default()), (8, Knobs { kv_offload: Some(false), ..at(8192) })]
    {
        let found = check(experts, &two, &knobs);
        let sum = |place: &str, start: &str| -> u64 {
            let is_one = |term: &&Term| term.place == place && term.what.starts_with(start);
            found.terms.iter().filter(is_one).map(|term| term.bytes).sum()
        };
        for device in &found.devices {
            assert_eq!(sum(&device.id, "weights: "), device.weights, "{:?}", found.terms);
            assert_eq!(sum(&device.id, "keys and values"), device.context, "{:?}", found.terms);
            assert_eq!(sum(&device.id, "kept free"), device.margin);
        }
        assert_eq!(sum("host", "weights: "), found.host.weights, "{:?}", found.terms);
        assert_eq!(sum("host", "keys and values"), found.host.context, "{:?}", found.terms);
    }
}

#[test]
fn who_holds_a_card_is_in_the_account() {
    let mut used = machine(vec![gpu("CUDA0", 24)], 64);
    used.gpus[0].free = 20 * GIB;
    used.gpus[0].processes = [(4711, 3 * GIB)].into();
    let found = check(0, &used, &at(4096));
    let told: Vec<(&str, u64)> = found.terms.iter().map(|term| (term.what.as_str(), term.bytes)).collect();
    assert!(told.contains(&("taken by others", 4 * GIB)), "{told:?}");
    assert!(told.contains(&("of that by process 4711", 3 * GIB)), "{told:?}");
}

#[test]
fn a_curve_goes_up_to_what_the_model_was_trained_for() {
    let shape = Shape::of(&facts(0)).unwrap();
    let one = machine(vec![gpu("CUDA0", 16)], 64);
    let drawn = curve(&shape, &one, &max_ctx(), Extras::default(), &Runs::default()).unwrap();
    assert_eq!((drawn.limit, drawn.series.len()), (15 * GIB, 3));
    let planned = check(0, &one, &max_ctx());
    assert_eq!(drawn.ctx, planned.settings.ctx);
    for series in &drawn.series {
        assert!(series.points.windows(2).all(|pair| pair[0].bytes < pair[1].bytes), "{series:?}");
        assert_eq!(series.points.last().unwrap().ctx, 131_072);
    }
    let at_most: Vec<u64> = drawn.series.iter().map(|series| series.points.last().unwrap().bytes).collect();
    assert!(at_most[0] > drawn.limit && at_most[0] > at_most[1] && at_most[1] > at_most[2], "{at_most:?}");
}

#[test]
fn a_base_model_is_said_to_be_one() {
    let tuned = |is_instruct: bool| {
        let tuning = Some(Tuning { is_instruct, because: "no chat template".into() });
        caution(&Facts { tuning, ..facts(0) })
    };
    let why = "a base model (no chat template): it goes on with a text, and was not taught to chat";
    assert_eq!(tuned(false).as_deref(), Some(why));
    assert_eq!(tuned(true), None);
    assert_eq!(caution(&facts(0)), None);
}

#[test]
fn what_else_could_be_had_has_its_price() {
    let told = |machine: &Hardware, experts: u64, knobs: &Knobs, start: &str| {
        let found = check(experts, machine, knobs);
        let is_told = found.alternatives.iter().any(|line| line.starts_with(start));
        assert!(is_told, "{start}: {:?}", found.alternatives);
    };
    let one = |gib: u64| machine(vec![gpu("CUDA0", gib)], 128);
    told(&one(12), 0, &max_ctx(), "--allow-kv-quant: q8_0 KV, ");
    told(&one(12), 0, &max_ctx(), "--cache-type-k q4_0 --cache-type-v q4_0: q4_0 KV, ");
    told(&one(12), 0, &max_ctx(), "--ctx 131072 in place of --max-ctx, ");
    told(&one(24), 8, &max_ctx(), "--goal balanced: ");
    told(&one(24), 8, &Knobs::default(), "--ctx 131072, experts of ");
    told(&one(8), 0, &Knobs::default(), "--goal fastest: ");
    let two = machine(vec![gpu("CUDA0", 6), gpu("CUDA1", 8)], 128);
    told(&two, 0, &Knobs::default(), "--device CUDA1: ");
}

#[test]
fn adapters_count_on_every_device() {
    let shape = Shape::of(&facts(0)).unwrap();
    let two = machine(vec![gpu("CUDA0", 6), gpu("CUDA1", 6)], 64);
    let overhead = |adapters: u64| -> Vec<u64> {
        let extras = Extras { adapters, ..Extras::default() };
        let found = plan(&shape, &two, &Knobs::default(), extras).unwrap();
        found.devices.iter().map(|device| device.overhead).collect()
    };
    assert_eq!((overhead(0), overhead(GIB / 8)), (vec![0, 0], vec![GIB / 8, GIB / 8]));
}
