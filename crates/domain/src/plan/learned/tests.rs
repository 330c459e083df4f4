use super::*;
use crate::{
    ByteSize,
    memory::CacheType,
    plan::tests::{facts, gpu, machine},
};

const MIB: u64 = 1 << 20;

/// What a run of this plan is said to have taken: so much more, or less, compute and overhead than was planned.
fn ran(informed: &Informed, compute: i64, overhead: i64) -> Measured {
    let expected = Expected::of(informed, Extras::default(), "0.7.0");
    let planned = &informed.planned;
    let device = planned.devices.first().unwrap();
    let compute = device.compute.saturating_add_signed(compute);
    let buffers = Allocated { weights: device.weights, context: device.context, compute, output: 0 };
    let held = buffers.total() + device.overhead.saturating_add_signed(overhead);
    let main = Allocated { weights: 1, context: 0, compute: planned.host.compute, output: 0 };
    let allocated = BTreeMap::from([("CUDA0".to_owned(), buffers), (HOST.to_owned(), main)]);
    let at = "2026-11-28T09:00:00Z".parse().unwrap();
    expected.measured(at, &allocated, &BTreeMap::from([("CUDA0".to_owned(), held)])).unwrap()
}

fn knobs(ctx: u64) -> Knobs {
    Knobs { ctx: Some(ctx), ..Knobs::default() }
}

#[track_caller]
fn check(ctx: u64, runs: &[Measured]) -> Informed {
    let shape = Shape::of(&facts(0)).unwrap();
    let machine = machine(vec![gpu("CUDA0", 24)], 64);
    let informed = plan_with(&shape, &machine, &knobs(ctx), Extras::default(), &Runs(runs.to_vec())).unwrap();
    let device = informed.planned.devices.first().unwrap();
    assert_eq!(device.used, device.weights + device.context + device.compute + device.overhead);
    assert_eq!(device.left, device.free as i64 - device.used as i64 - device.margin as i64);
    informed
}

#[test]
fn what_was_measured_with_the_same_settings_is_what_is_planned() {
    let before = check(16_384, &[]);
    assert_eq!(before.measured, None);
    let less = ran(&before, -8 * 1024 * 1024, 300 * 1024 * 1024);
    let after = check(16_384, std::slice::from_ref(&less));
    let (was, is) = (&before.planned.devices[0], &after.planned.devices[0]);
    assert_eq!((is.compute, is.overhead), (was.compute - 8 * MIB, was.overhead + 300 * MIB));
    assert_eq!(is.slack, 0);
    let account: Vec<_> = after
        .planned
        .terms
        .iter()
        .filter(|term| term.place == "CUDA0" && term.what.starts_with("compute"))
        .collect();
    assert_eq!(account.iter().map(|term| term.bytes).collect::<Vec<_>>(), [is.compute]);
    assert_eq!(account[0].note.as_deref(), Some("measured on 2026-11-28 with these settings"));
    assert!(after.measured.as_ref().unwrap().same_settings);
    let said = after.planned.explain.last().unwrap();
    let expected = format!(
        "measured on 2026-11-28 with these settings: compute on CUDA0 {}, planned {}",
        ByteSize(is.compute),
        ByteSize(was.compute)
    );
    assert_eq!(*said, expected);
    // Launched again it is compared with what would have been planned without any run.
    assert_eq!(ran(&after, 0, 0).devices[0].planned, less.devices[0].planned);
}

#[test]
fn of_like_settings_only_more_than_was_planned_counts() {
    let before = check(16_384, &[]);
    let plain = check(8192, &[]).planned;
    let same = check(8192, &[ran(&before, -8 * 1024 * 1024, -1)]);
    assert_eq!(same.planned.devices, plain.devices);
    assert!(!same.measured.unwrap().same_settings);
    let slack = before.planned.devices[0].slack;
    let more = ran(&before, i64::try_from(slack).unwrap() + 40 * 1024 * 1024, 100 * 1024 * 1024);
    let after = check(8192, &[more]);
    let (was, is) = (&plain.devices[0], &after.planned.devices[0]);
    assert_eq!((is.compute, is.overhead), (was.compute + 40 * MIB, was.overhead + 100 * MIB));
    let said = "140.0 MiB more on CUDA0 is planned: a launch took so much more than was reckoned";
    assert!(after.planned.explain.iter().any(|line| line == said), "{:?}", after.planned.explain);
    let terms = |planned: &Planned, what: &str| {
        let on_card = planned.terms.iter().filter(|term| term.place == "CUDA0" && term.what == what);
        on_card.map(|term| term.bytes).collect::<Vec<_>>()
    };
    assert_eq!(terms(&after.planned, "more, as it was measured"), [140 * MIB]);
    assert_eq!(terms(&after.planned, "driver context"), terms(&plain, "driver context"));
    let expected = Expected::of(&after, Extras::default(), "0.7.0");
    assert_eq!(expected.devices[0].planned.compute, was.compute);
}

#[test]
fn other_devices_and_other_layouts_of_buffers_say_nothing() {
    let before = check(16_384, &[]);
    let run = ran(&before, 1 << 30, 0);
    let mut elsewhere = run.clone();
    elsewhere.devices[0].device = "GPU-other".into();
    let mut quantized = run;
    quantized.settings.flags.cache_type_k = CacheType::Q8_0;
    let after = check(16_384, &[elsewhere, quantized]);
    assert_eq!((after.planned.devices, after.measured), (before.planned.devices, None));
}

#[test]
fn what_was_too_much_once_is_forgotten_after_three_runs_that_were_not() {
    let before = check(16_384, &[]);
    let (much, right) = (ran(&before, 1 << 30, 0), ran(&before, 0, 0));
    for ctx in [8192, 16_384] {
        let compute = |right_ones: usize| {
            let runs: Vec<Measured> =
                std::iter::repeat_n(right.clone(), right_ones).chain([much.clone()]).collect();
            check(ctx, &runs).planned.devices[0].compute
        };
        let plain = check(ctx, &[]).planned.devices[0].compute;
        assert_eq!(compute(3), plain, "{ctx}");
        assert!(ctx == 16_384 || compute(2) > plain);
    }
    // Three of another context do not hide it from the plan that it was made with.
    let right = ran(&check(8192, &[]), 0, 0);
    let told = |right_ones: usize| {
        let runs: Vec<Measured> =
            std::iter::repeat_n(right.clone(), right_ones).chain([much.clone()]).collect();
        check(16_384, &runs).measured.unwrap().same_settings
    };
    assert!(told(2) && !told(3));
}

#[test]
fn devices_in_another_order_are_another_layout_and_so_is_none() {
    let shape = Shape::of(&facts(0)).unwrap();
    let machine = machine(vec![gpu("CUDA0", 24), gpu("CUDA1", 24)], 64);
    let told = |devices: &[&str], runs: &[Measured]| {
        let device = Some(devices.iter().map(|id| (*id).to_owned()).collect());
        let knobs = Knobs { device, ..knobs(16_384) };
        plan_with(&shape, &machine, &knobs, Extras::default(), &Runs(runs.to_vec())).unwrap()
    };
    let one = ran(&told(&["CUDA0"], &[]), 1 << 30, 0);
    assert!(told(&["CUDA0"], std::slice::from_ref(&one)).measured.is_some());
    for others in [&["CUDA1"][..], &["CUDA1", "CUDA0"], &["CUDA0", "CUDA1"], &["none"]] {
        let after = told(others, std::slice::from_ref(&one));
        assert_eq!(after.measured, None, "{others:?}");
        assert_eq!(after.planned.devices, told(others, &[]).planned.devices);
    }
}

#[test]
fn of_another_build_more_is_kept_free_until_a_run_has_shown_what_it_takes() {
    let shape = Shape::of(&facts(0)).unwrap();
    let machine = machine(vec![gpu("CUDA0", 24)], 64);
    let other = Extras { build: Build { is_other: true, ..Build::default() }, ..Extras::default() };
    let planned = |extras: Extras, knobs: &Knobs, runs: &[Measured]| {
        plan_with(&shape, &machine, knobs, extras, &Runs(runs.to_vec())).unwrap()
    };
    let slack = |informed: &Informed| {
        let device = &informed.planned.devices[0];
        (device.slack, device.compute)
    };
    let said = |informed: &Informed| {
        informed.planned.explain.iter().any(|line| line.contains("this is another build"))
    };
    let measured = planned(Extras::default(), &knobs(16_384), &[]);
    let first = planned(other, &knobs(16_384), &[]);
    let (bytes, compute) = slack(&first);
    assert_eq!(bytes, compute / 4 + 64 * MIB);
    assert!(said(&first) && !said(&measured));
    let layers = Knobs { gpu_layers: Some("10".into()), ..knobs(16_384) };
    let (bytes, compute) = slack(&planned(other, &layers, &[]));
    assert_eq!(bytes, compute + 64 * MIB);
    // With like settings it took what was reckoned.
    let next = planned(other, &knobs(8192), &[ran(&first, 0, 0)]);
    assert!(slack(&next).0 == slack(&measured).0 && !said(&next), "{:?}", next.planned.explain);
}

#[test]
fn a_plan_that_holds_no_more_is_made_anew() {
    let shape = Shape::of(&facts(0)).unwrap();
    let machine = machine(vec![gpu("CUDA0", 16)], 64);
    let planned = |runs: &[Measured]| {
        let runs = Runs(runs.to_vec());
        plan_with(&shape, &machine, &Knobs::default(), Extras::default(), &runs).unwrap()
    };
    let before = planned(&[]);
    let after = planned(&[ran(&before, 512 * 1024 * 1024, 0)]).planned;
    assert!(after.fits && after.settings.ctx < before.planned.settings.ctx, "{}", after.settings.ctx);
}

#[test]
fn an_engine_that_does_not_say_what_it_took_teaches_nothing() {
    let expected = Expected::of(&check(16_384, &[]), Extras::default(), "0.7.0");
    let at = "2026-11-28T09:00:00Z".parse().unwrap();
    assert_eq!(expected.measured(at, &BTreeMap::new(), &BTreeMap::new()), None);
}

#[test]
fn how_fast_a_run_was_says_how_fast_the_next_one_will_be() {
    let shape = Shape::of(&facts(0)).unwrap();
    let machine = machine(Vec::new(), 64);
    let planned = |runs: &[Measured]| {
        let runs = Runs(runs.to_vec());
        plan_with(&shape, &machine, &knobs(16_384), Extras::default(), &runs).unwrap()
    };
    let before = planned(&[]);
    assert!(before.planned.speed.is_none());
    let expected = Expected::of(&before, Extras::default(), "0.7.0");
    let allocated = Allocated { compute: before.planned.host.compute, ..Allocated::default() };
    let at = "2026-11-28T09:00:00Z".parse().unwrap();
    let allocated = BTreeMap::from([(HOST.to_owned(), allocated)]);
    let run = expected.measured(at, &allocated, &BTreeMap::new()).unwrap();
    let run = Measured { speed: Some(Rates { prompt: None, answer: Some(5.0) }), ..run };
    let speed = planned(&[run]).planned.speed.unwrap();
    assert!(speed.low <= 5.0 && 5.0 <= speed.high, "{speed:?}");
}
