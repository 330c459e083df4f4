//! Plans over several devices, equal and unequal ones.

use super::*;
use crate::memory::TensorSplit;

const FAST: &str = "NVIDIA GeForce RTX 4090";
const SLOW: &str = "NVIDIA GeForce RTX 3060";

fn card(id: &str, name: &str, gib: u64) -> Gpu {
    Gpu { name: name.into(), ..gpu(id, gib) }
}

fn ids(planned: &Planned) -> Vec<&str> {
    planned.devices.iter().map(|device| device.id.as_str()).collect()
}

fn layers(planned: &Planned) -> Vec<u64> {
    planned.devices.iter().map(|device| device.layers).collect()
}

#[track_caller]
fn is_told(planned: &Planned, line: &str) {
    assert!(planned.explain.iter().any(|told| told == line), "{line}: {:?}", planned.explain);
}

#[test]
fn what_no_card_holds_alone_is_divided_by_what_each_holds() {
    for (one, other) in [(6, 6), (4, 8), (8, 4), (3, 12)] {
        let two = machine(vec![gpu("CUDA0", one), gpu("CUDA1", other)], 64);
        let found = check(0, &two, &Knobs::default());
        assert_eq!((found.settings.gpu_layers, ids(&found).len()), (33, 2), "{:?}", found.explain);
        let counts = layers(&found);
        assert_eq!(counts.iter().sum::<u64>(), 33);
        assert!((counts[0] > counts[1]) == (one > other) || one == other, "{counts:?}");
        let parts: Vec<f32> = counts.iter().map(|count| *count as f32).collect();
        assert_eq!(TensorSplit::of_parts(&parts, 33), TensorSplit::of_layers(counts));
    }
}

#[test]
fn a_slow_card_is_left_out_where_it_is_not_needed() {
    let two = machine(vec![card("CUDA0", FAST, 24), card("CUDA1", SLOW, 12)], 64);
    let found = check(0, &two, &Knobs::default());
    assert_eq!(ids(&found), ["CUDA0"]);
    is_told(&found, "CUDA1 is left out: it is slower");
    // For all of the context it is.
    let found = check(0, &two, &max_ctx());
    assert_eq!((ids(&found), found.settings.ctx), (vec!["CUDA0", "CUDA1"], 131_072));
}

#[test]
fn the_fastest_card_comes_first_and_holds_what_it_can() {
    let two = machine(vec![card("CUDA0", SLOW, 12), card("CUDA1", FAST, 8)], 64);
    let found = check(0, &two, &Knobs::default());
    assert_eq!(ids(&found), ["CUDA1", "CUDA0"]);
    let room = u64::try_from(found.devices[0].left).unwrap() - found.devices[0].slack;
    let a_layer = found.devices[1].weights / found.devices[1].layers;
    assert!(room < a_layer, "{:?}", found.devices);
}

#[test]
fn one_card_is_enough_where_it_holds_everything() {
    let found = check(0, &machine(vec![gpu("CUDA0", 40), gpu("CUDA1", 48)], 64), &max_ctx());
    assert_eq!((ids(&found), found.settings.ctx), (vec!["CUDA1"], 131_072));
    assert_eq!(found.tensor_split, Vec::<f64>::new());
    is_told(&found, "CUDA0 is left out: it is not needed");
    // Where it does not, equal cards are used alike.
    let found = check(0, &machine(vec![gpu("CUDA0", 20), gpu("CUDA1", 20)], 64), &max_ctx());
    assert_eq!(found.settings.ctx, 131_072);
    let left: Vec<i64> = found.devices.iter().map(|device| device.left).collect();
    assert!(left[0].abs_diff(left[1]) < 1 << 30, "{left:?}");
}

#[test]
fn a_card_whose_first_layers_lack_their_experts_holds_more_layers() {
    let found = check(8, &machine(vec![gpu("CUDA0", 12), gpu("CUDA1", 12)], 128), &Knobs::default());
    let counts = layers(&found);
    assert!(found.settings.gpu_layers == 33 && found.settings.n_cpu_moe > 8, "{:?}", found.settings);
    assert!(counts[0] > counts[1], "{counts:?}");
}

#[test]
fn what_cannot_be_of_use_is_left_out() {
    let own = gpu("CUDA0", 24);
    let shared = Gpu { shares_ram: true, ..gpu("CUDA1", 60) };
    let again = Gpu { backend: "Vulkan".into(), ..gpu("Vulkan0", 24) };
    let full = Gpu { free: GIB, ..gpu("CUDA2", 24) };
    let found = check(8, &machine(vec![shared, own, again, full], 128), &Knobs::default());
    assert_eq!(ids(&found), ["CUDA0"]);
    is_told(&found, "CUDA1 is left out: its memory is the machine's own");
    is_told(&found, "Vulkan0 is left out: it belongs to another backend");
    is_told(&found, "CUDA2 is left out: it has no room");
}

#[test]
fn devices_and_parts_that_were_named_are_taken_as_they_are() {
    let three = machine(vec![gpu("CUDA0", 24), gpu("CUDA1", 24), gpu("CUDA2", 24)], 64);
    let named = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
    let knobs = Knobs { device: named(&["CUDA2", "CUDA0"]), ctx: Some(4096), ..Knobs::default() };
    let found = check(0, &three, &knobs);
    assert_eq!(ids(&found), ["CUDA2", "CUDA0"]);
    let knobs = Knobs { tensor_split: Some(vec![3.0, 1.0]), ..knobs };
    let found = check(0, &three, &knobs);
    assert_eq!((layers(&found), found.tensor_split.as_slice()), (vec![25, 8], &[3.0, 1.0][..]));
    let knobs = Knobs { device: None, tensor_split: Some(vec![0.0, 1.0]), ..knobs };
    let found = check(0, &three, &knobs);
    assert_eq!((ids(&found), layers(&found)), (vec!["CUDA0", "CUDA1", "CUDA2"], vec![0, 33, 0]));
    let knobs = Knobs { gpu_layers: Some("10".into()), tensor_split: Some(vec![1.0, 1.0]), ..knobs };
    assert_eq!(layers(&check(0, &three, &knobs)), [5, 5, 0]);
}

#[test]
fn devices_and_parts_that_cannot_be_are_refused() {
    let shape = Shape::of(&facts(0)).unwrap();
    let two = machine(vec![gpu("CUDA0", 24), gpu("CUDA1", 24)], 64);
    let device = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
    for (knobs, word) in [
        (Knobs { device: device(&["CUDA0", "CUDA5"]), ..Knobs::default() }, "no device is called CUDA5"),
        (Knobs { device: device(&["CUDA0", "CUDA0"]), ..Knobs::default() }, "names CUDA0 twice"),
        (Knobs { device: device(&["CUDA0", "none"]), ..Knobs::default() }, "no device is called none"),
        (Knobs { tensor_split: Some(vec![1.0; 3]), ..Knobs::default() }, "3 parts, and there are 2 devices"),
        (Knobs { tensor_split: Some(vec![f64::INFINITY, 1.0]), ..Knobs::default() }, "inf is none"),
    ] {
        let refusal = plan(&shape, &two, &knobs, Extras::default()).unwrap_err();
        assert!(refusal.why.contains(word) && refusal.hint.is_some(), "{refusal:?}");
    }
}

type Spoil = fn(&mut Hardware);

#[test]
fn a_machine_that_cannot_be_is_refused() {
    let good = || machine(vec![gpu("CUDA0", 24), gpu("CUDA1", 24)], 64);
    assert_eq!(check_described(&good()), Ok(()));
    let bad: [(&str, Spoil); 8] = [
        ("two devices are called CUDA0", |machine| machine.gpus[1].id = "CUDA0".into()),
        ("30.0 GiB of CUDA0 cannot be free: it has 24.0 GiB", |machine| machine.gpus[0].free = 30 * GIB),
        ("CUDA1 has no memory", |machine| (machine.gpus[1].total, machine.gpus[1].free) = (0, 0)),
        ("of main memory cannot be free", |machine| machine.ram.available = 65 * GIB),
        ("the machine has no main memory", |machine| machine.ram = Ram::default()),
        ("17 devices", |machine| machine.gpus = (0..17).map(|n| gpu(&format!("CUDA{n}"), 24)).collect()),
        ("more than any machine has", |machine| machine.gpus[0].total = u64::MAX),
        ("`A,B` cannot be the id", |machine| machine.gpus[0].id = "A,B".into()),
    ];
    for (word, spoil) in bad {
        let mut machine = good();
        spoil(&mut machine);
        let refusal = check_described(&machine).unwrap_err();
        assert!(refusal.why.contains(word) && refusal.hint.is_some(), "{word}: {refusal:?}");
    }
}

/// Numbers that look random and are always the same (the constants of Numerical Recipes).
struct Dice(u32);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u64::from(self.0 >> 8) % sides
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.roll(3) == 0).then(|| value(self))
    }
}

fn random(dice: &mut Dice, experts: u64) -> Knobs {
    let goal = dice.maybe(|dice| *dice.pick(Goal::ALL));
    let is_longest = goal == Some(Goal::MaxCtx);
    let types = ["f16", "q8_0", "q4_0", "bf16"];
    let users = dice.maybe(|dice| 1 + dice.roll(6));
    Knobs {
        goal,
        ctx: dice.maybe(|dice| 1 + dice.roll(200_000)).filter(|_| !is_longest),
        parallel: dice.maybe(|dice| 1 + dice.roll(8)).filter(|_| users.is_none()),
        users,
        gpu_layers: dice.maybe(|dice| dice.roll(34).to_string()),
        n_cpu_moe: dice.maybe(|dice| dice.roll(33)).filter(|_| experts > 0),
        cache_type_k: dice.maybe(|dice| (*dice.pick(&types)).to_owned()),
        cache_type_v: dice.maybe(|dice| (*dice.pick(&types)).to_owned()),
        allow_kv_quant: dice.maybe(|dice| dice.roll(2) == 0),
        batch: dice.maybe(|dice| 2048 + dice.roll(2048)),
        ubatch: dice.maybe(|dice| 32 + dice.roll(1024)),
        kv_unified: dice.maybe(|dice| dice.roll(2) == 0),
        kv_offload: dice.maybe(|dice| dice.roll(2) == 0),
        op_offload: dice.maybe(|dice| dice.roll(2) == 0),
        tensor_split: dice.maybe(|dice| vec![1.0 + dice.roll(5) as f64, dice.roll(5) as f64]),
        margin: dice.maybe(|dice| dice.roll(4) * GIB),
        ..Knobs::default()
    }
}

#[test]
fn what_was_given_is_never_changed() {
    let mut dice = Dice(1);
    for experts in [0, 8] {
        let shape = Shape::of(&facts(experts)).unwrap();
        for _ in 0..100 {
            let knobs = random(&mut dice, experts);
            let cards = vec![gpu("CUDA0", 2 + dice.roll(30)), gpu("CUDA1", 2 + dice.roll(30))];
            let found = plan(&shape, &machine(cards, 8 + dice.roll(100)), &knobs, Extras::default()).unwrap();
            let settings = &found.settings;
            let is = |given: Option<u64>, taken: u64| given.is_none_or(|given| given == taken);
            assert!(is(knobs.ctx.map(|ctx| ctx * knobs.users.unwrap_or(1)), settings.ctx), "{knobs:?}");
            assert!(is(knobs.parallel.or(knobs.users), settings.parallel), "{knobs:?}");
            let layers = knobs.gpu_layers.as_ref().map(|layers| layers.parse().unwrap());
            assert!(is(layers, settings.gpu_layers) && is(knobs.n_cpu_moe, settings.n_cpu_moe), "{knobs:?}");
            assert!(is(knobs.batch, settings.batch) && is(knobs.ubatch, settings.ubatch), "{knobs:?}");
            let types =
                [(&knobs.cache_type_k, settings.cache_type_k), (&knobs.cache_type_v, settings.cache_type_v)];
            for (given, taken) in types {
                assert!(given.as_ref().is_none_or(|given| given == taken.name()), "{knobs:?}");
                assert!(knobs.allow_kv_quant == Some(true) || given.is_some() || taken == CacheType::F16);
            }
            assert!(knobs.kv_unified.is_none_or(|given| given == settings.kv_unified), "{knobs:?}");
            assert!(
                knobs.tensor_split.is_none_or(|given| given == found.tensor_split),
                "{:?}",
                found.tensor_split
            );
            assert!(found.devices.iter().all(|device| device.margin == knobs.margin.unwrap_or(GIB)));
        }
    }
}

#[test]
fn a_split_that_the_user_fixed_holds_as_many_layers_as_it_can() {
    let two = machine(vec![card("CUDA0", SLOW, 12), card("CUDA1", FAST, 24)], 64);
    let split = Knobs { tensor_split: Some(vec![1.0, 2.0]), ..Knobs::default() };
    assert_eq!(check(0, &two, &split).settings.gpu_layers, 33);
    // The most that fits, by trying all.
    let small = machine(vec![card("CUDA0", SLOW, 4), card("CUDA1", FAST, 8)], 64);
    let with = |layers: Option<u64>| Knobs {
        ctx: Some(8192),
        gpu_layers: layers.map(|layers| layers.to_string()),
        ..split.clone()
    };
    let most = (0..=33).rev().find(|layers| check(0, &small, &with(Some(*layers))).fits).unwrap();
    assert_eq!(check(0, &small, &with(None)).settings.gpu_layers, most);
}

#[test]
fn a_fast_card_is_not_left_out_for_a_slow_one_with_more_room() {
    let two = machine(vec![card("CUDA0", FAST, 8), card("CUDA1", "Tesla P40", 24)], 64);
    let found = check(0, &two, &Knobs { ctx: Some(8192), ..Knobs::default() });
    assert_eq!(ids(&found), ["CUDA0", "CUDA1"], "{:?}", found.explain);
}

#[test]
fn a_cache_that_is_quantized_keeps_more_experts_on_the_card_where_the_context_is_all_there_is() {
    let wishes = |allow: bool| Knobs { allow_kv_quant: Some(allow), ..max_ctx() };
    let machine = machine(vec![gpu("CUDA0", 36)], 96);
    let (plain, allowed) = (check(8, &machine, &wishes(false)), check(8, &machine, &wishes(true)));
    assert_eq!((plain.settings.ctx, plain.limited_by), (131_072, Limit::Training));
    assert_eq!((allowed.settings.ctx, allowed.settings.cache_type_k), (131_072, CacheType::Q8_0));
    assert!(allowed.settings.n_cpu_moe < plain.settings.n_cpu_moe, "{allowed:?}");
}
