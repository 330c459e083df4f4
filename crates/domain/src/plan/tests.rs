//! The search by its promises, on models with real dimensions.

mod account;
mod devices;

use super::*;
use crate::{
    ByteSize,
    facts::{Attention, Experts, Facts, TensorGroup},
    hardware::{Gpu, Ram},
};
use std::collections::BTreeMap;

const GIB: u64 = 1 << 30;

/// Llama 3.1 8B in Q8_0, or as many experts of the same size.
pub(super) fn facts(experts: u64) -> Facts {
    let (layers, embedding, feed_forward) = (32, 4096, 14336);
    let q8 = |name: &str, dims: &[u64]| TensorGroup {
        name: name.into(),
        kind: "Q8_0".into(),
        dims: dims.into(),
        size: dims.iter().product::<u64>() / 32 * 34,
        layers: if name.starts_with("blk") { vec![(0, layers)] } else { Vec::new() },
    };
    let mut tensors = vec![
        q8("token_embd.weight", &[embedding, 128_256]),
        q8("output.weight", &[embedding, 128_256]),
        q8("blk.*.attn_q.weight", &[embedding, embedding]),
        q8("blk.*.attn_k.weight", &[embedding, 1024]),
        q8("blk.*.attn_v.weight", &[embedding, 1024]),
        q8("blk.*.attn_output.weight", &[embedding, embedding]),
    ];
    for part in ["gate", "up", "down"] {
        let name = if experts > 0 {
            format!("blk.*.ffn_{part}_exps.weight")
        } else {
            format!("blk.*.ffn_{part}.weight")
        };
        let dims: &[u64] =
            if experts > 0 { &[embedding, feed_forward, experts] } else { &[embedding, feed_forward] };
        tensors.push(q8(&name, dims));
    }
    Facts {
        architecture: Some("llama".into()),
        block_count: Some(layers),
        context_length: Some(131_072),
        embedding_length: Some(embedding),
        vocabulary: Some(128_256),
        experts: (experts > 0).then_some(Experts { count: experts, used: 2 }),
        attention: Some(Attention {
            heads: vec![32; 32],
            kv_heads: vec![8; 32],
            key_length: 128,
            value_length: 128,
            sliding_window: None,
            kv_elements_per_token: 65_536,
        }),
        tensors,
        hyperparameters: BTreeMap::from([("feed_forward_length".to_owned(), vec![14336])]),
        ..Facts::default()
    }
}

pub(super) fn gpu(id: &str, gib: u64) -> Gpu {
    let (id, name, backend) = (id.into(), "card".into(), "CUDA".into());
    Gpu { id, name, backend, total: gib * GIB, free: gib * GIB, ..Gpu::default() }
}

pub(super) fn machine(gpus: Vec<Gpu>, ram: u64) -> Hardware {
    Hardware { gpus, ram: Ram { total: ram * GIB, available: ram * GIB }, ..Hardware::default() }
}

#[track_caller]
fn check(experts: u64, machine: &Hardware, knobs: &Knobs) -> Planned {
    let shape = Shape::of(&facts(experts)).unwrap();
    let planned = plan(&shape, machine, knobs, Extras::default()).unwrap();
    for device in &planned.devices {
        assert_eq!(device.used, device.weights + device.context + device.compute + device.overhead);
        assert_eq!(device.left, device.free as i64 - device.used as i64 - device.margin as i64);
        assert!(!planned.fits || device.left >= device.slack as i64, "{device:?}");
    }
    let host = &planned.host;
    let kept = host.cache_ram + host.checkpoints + host.overhead + host.margin;
    let shared: u64 =
        planned.devices.iter().filter(|device| device.shares_ram).map(|device| device.used).sum();
    assert!(
        !planned.fits || host.weights + host.context + host.compute + kept + shared <= host.available,
        "{host:?}"
    );
    planned
}

fn max_ctx() -> Knobs {
    Knobs { goal: Some(Goal::MaxCtx), ..Knobs::default() }
}

#[test]
fn more_memory_never_yields_less_context_and_fewer_layers() {
    for goal in Goal::ALL {
        let (mut ctx, mut layers) = (0, 0);
        for gib in 2..=40 {
            let knobs = Knobs { goal: Some(*goal), ..Knobs::default() };
            let found = check(0, &machine(vec![gpu("CUDA0", gib)], 64), &knobs);
            assert!(found.fits, "{gib} GiB");
            let settings = found.settings;
            assert!(
                settings.gpu_layers >= layers,
                "{goal:?} {gib} GiB: {} layers after {layers}",
                settings.gpu_layers
            );
            if settings.gpu_layers == layers {
                assert!(settings.ctx >= ctx, "{goal:?} {gib} GiB: {} tokens after {ctx}", settings.ctx);
            }
            (ctx, layers) = (settings.ctx, settings.gpu_layers);
        }
        assert_eq!((ctx, layers), (131_072, 33));
    }
}

#[test]
fn the_largest_context_keeps_all_layers_where_that_is_possible() {
    let whole = check(0, &machine(vec![gpu("CUDA0", 12)], 64), &max_ctx());
    assert_eq!((whole.settings.gpu_layers, whole.limited_by), (33, Limit::GpuMemory));
    assert!(whole.settings.ctx.is_multiple_of(256) && whole.settings.ctx > 8192, "{:?}", whole.settings);
    assert!(whole.alternatives.iter().any(|line| line.contains("q8_0 KV")), "{:?}", whole.alternatives);
    let partial = check(0, &machine(vec![gpu("CUDA0", 8)], 64), &max_ctx());
    assert!(partial.settings.gpu_layers < 33 && partial.settings.gpu_layers > 0, "{:?}", partial.settings);
    assert_eq!((partial.settings.ctx, partial.limited_by), (131_072, Limit::Training));
    let balanced = check(0, &machine(vec![gpu("CUDA0", 8)], 64), &Knobs::default());
    assert!(balanced.settings.gpu_layers > partial.settings.gpu_layers && balanced.settings.ctx >= 16_384);
}

#[test]
fn experts_leave_the_device_before_layers_do() {
    let found = check(8, &machine(vec![gpu("CUDA0", 24)], 128), &max_ctx());
    assert_eq!(found.settings.gpu_layers, 33);
    assert!((1..=32).contains(&found.settings.n_cpu_moe), "{:?}", found.settings);
    assert!(found.settings.ctx >= 16_384, "{:?}", found.settings);
}

#[test]
fn main_memory_is_counted() {
    let tight = check(0, &machine(vec![gpu("CUDA0", 4)], 8), &max_ctx());
    assert_eq!((tight.fits, tight.limited_by), (true, Limit::HostMemory));
    assert!(tight.settings.ctx < 131_072);
    let alone = check(0, &machine(Vec::new(), 16), &max_ctx());
    assert_eq!((alone.devices.len(), alone.limited_by), (0, Limit::HostMemory));
    let hopeless = check(0, &machine(Vec::new(), 4), &max_ctx());
    assert!(
        !hopeless.fits && hopeless.explain[0].contains("of main memory are missing"),
        "{:?}",
        hopeless.explain
    );
    let mut shared = gpu("Vulkan0", 16);
    shared.shares_ram = true;
    let shared = check(0, &machine(vec![shared], 16), &max_ctx());
    assert!(shared.fits && shared.limited_by == Limit::HostMemory, "{:?}", shared.explain);
}

#[test]
fn of_what_does_not_fit_at_all_nothing_is_said_that_would_fit() {
    let rtx = Gpu { name: "NVIDIA GeForce RTX 3090".into(), ..gpu("CUDA0", 4) };
    let found = check(8, &machine(vec![rtx], 8), &Knobs::default());
    let [missing, place, _, context] = found.explain.as_slice() else { panic!("{:?}", found.explain) };
    assert!(missing.starts_with("it does not fit: ") && missing.ends_with("of main memory are missing"));
    assert!(place.ends_with(", the experts of the first 32 in main memory: what comes closest"), "{place}");
    assert_eq!(context, "context 256 tokens (balanced): even so little does not fit");
}

#[test]
fn what_the_user_fixed_stays_also_where_it_does_not_fit() {
    let knobs = Knobs {
        ctx: Some(65_536),
        gpu_layers: Some("all".into()),
        parallel: Some(2),
        kv_unified: Some(false),
        ..Knobs::default()
    };
    let found = check(0, &machine(vec![gpu("CUDA0", 8)], 64), &knobs);
    assert_eq!((found.settings.ctx, found.settings.gpu_layers, found.fits), (65_536, 33, false));
    assert_eq!((found.settings.parallel, found.settings.ctx_per_slot()), (2, 32_768));
    assert!(found.alternatives[0].contains("without the fixed knobs it fits"), "{:?}", found.alternatives);
    let knobs = Knobs { gpu_layers: Some("20".into()), ..max_ctx() };
    let found = check(0, &machine(vec![gpu("CUDA0", 24)], 64), &knobs);
    assert_eq!((found.settings.gpu_layers, found.settings.ctx), (20, 131_072));
    let knobs = Knobs { ctx: Some(4096), ..Knobs::default() };
    let found = check(0, &machine(vec![gpu("CUDA0", 7)], 64), &knobs);
    assert_eq!((found.settings.ctx, found.limited_by, found.fits), (4096, Limit::Request, true));
}

#[test]
fn a_quantization_of_the_size_that_is_named_would_fit() {
    for (machine, experts) in [
        (machine(Vec::new(), 7), 0),
        (machine(vec![gpu("CUDA0", 4)], 4), 0),
        (machine(vec![gpu("CUDA0", 8)], 24), 8),
    ] {
        let refused = check(experts, &machine, &Knobs::default());
        let hint = refused.alternatives.last().unwrap();
        let hint = hint.strip_suffix(" GiB would fit with 16384 tokens").unwrap();
        let gib = hint.strip_prefix("a quantization of at most ").unwrap();
        let tenths: u128 = gib.replace('.', "").parse().unwrap();
        let mut facts = facts(experts);
        let layered = |group: &TensorGroup| if group.layers.is_empty() { 1 } else { 32 };
        let whole: u64 = facts.tensors.iter().map(|group| group.size * layered(group)).sum();
        for group in &mut facts.tensors {
            let size = u128::from(group.size) * tenths * u128::from(GIB) / 10 / u128::from(whole);
            group.size = size.try_into().unwrap();
        }
        let knobs = Knobs { ctx: Some(16_384), ..Knobs::default() };
        let found = plan(&Shape::of(&facts).unwrap(), &machine, &knobs, Extras::default()).unwrap();
        assert!(found.fits, "{gib} GiB: {:?}", found.explain);
    }
}

#[test]
fn a_context_beyond_training_is_said_to_be_of_no_use() {
    let told = |ctx: u64, parallel: u64| {
        let knobs = Knobs { ctx: Some(ctx), parallel: Some(parallel), ..Knobs::default() };
        let found = check(0, &machine(vec![gpu("CUDA0", 80)], 64), &knobs);
        found.explain.into_iter().find(|line| line.contains("was trained for"))
    };
    let at_most = "the server gives a slot at most the 131072 tokens that the model was trained for";
    assert_eq!(told(200_000, 1), Some(format!("{at_most}: the rest takes memory for nothing")));
    assert_eq!(told(200_000, 2), Some(at_most.to_owned()), "two slots share it");
    assert_eq!(told(131_072, 1), None);
}

#[test]
fn a_context_that_the_engine_rounds_up_is_told() {
    let told = |ctx: u64, parallel: u64, kv_unified: bool| {
        let kv_unified = Some(kv_unified);
        let knobs = Knobs { ctx: Some(ctx), parallel: Some(parallel), kv_unified, ..Knobs::default() };
        let found = check(0, &machine(vec![gpu("CUDA0", 24)], 64), &knobs);
        let mut steps = found.explain.into_iter().filter(|line| line.contains("in steps of 256"));
        steps.next().map(|line| line.rsplit_once(": ").unwrap().1.to_owned())
    };
    assert_eq!(told(10, 1, false).as_deref(), Some("of 10 it makes 256"));
    assert_eq!(told(10, 4, true).as_deref(), Some("of 10 it makes 256"));
    assert_eq!(told(10, 4, false).as_deref(), Some("of 10 it makes 1024, 256 for each of 4 slots"));
    assert_eq!(told(4096, 3, false).as_deref(), Some("of 4096 it makes 4608, 1536 for each of 3 slots"));
    assert_eq!((told(4096, 1, false), told(4096, 4, false), told(4096, 3, true)), (None, None, None));
}

#[test]
fn what_is_missing_is_what_is_taken_and_not_there() {
    let machine = |free: u64| {
        let mut machine = machine(vec![gpu("CUDA0", 24)], 64);
        machine.gpus[0].free = free;
        machine
    };
    let knobs = Knobs { margin: Some(30 * GIB), ctx: Some(4096), ..Knobs::default() };
    let found = check(0, &machine(24 * GIB), &knobs);
    let device = &found.devices[0];
    let missing = ByteSize((device.slack as i64 - device.left).unsigned_abs());
    assert_eq!(found.explain[0], format!("it does not fit: {missing} are missing on CUDA0"));
    assert!(device.left < -6 * GIB as i64, "{device:?}");
    let shape = Shape::of(&facts(0)).unwrap();
    let refusal = plan(&shape, &machine(u64::MAX), &knobs, Extras::default()).unwrap_err();
    assert!(refusal.why.contains("CUDA0") && refusal.hint.is_some(), "{refusal:?}");
}

#[test]
fn where_a_card_is_full_the_processor_is_what_is_left() {
    let full = Gpu { free: GIB / 2, ..gpu("CUDA0", 24) };
    let found = check(0, &machine(vec![full.clone()], 64), &max_ctx());
    assert!(!found.fits && found.alternatives[0].starts_with("--device none: "), "{:?}", found.alternatives);
    let found = check(0, &machine(vec![full], 1), &max_ctx());
    assert!(!found.alternatives.iter().any(|line| line.contains("none")), "{:?}", found.alternatives);
}

#[test]
fn only_cuda_is_taken_at_its_word() {
    let slack = |backend: &str| {
        let mut machine = machine(vec![gpu("X0", 24)], 64);
        machine.gpus[0].backend = backend.into();
        let device = check(0, &machine, &Knobs { ctx: Some(4096), ..Knobs::default() }).devices.remove(0);
        (device.slack, device.compute / 4 + (64 << 20))
    };
    assert_eq!(slack("CUDA").0, 1 << 16);
    for backend in ["Vulkan", "ROCm", "SYCL", "Metal"] {
        let (slack, wide) = slack(backend);
        assert_eq!(slack, wide, "{backend}");
    }
}

#[test]
fn what_is_loaded_besides_counts_where_it_lies() {
    let shape = Shape::of(&facts(0)).unwrap();
    let knobs = Knobs { ctx: Some(4096), ..Knobs::default() };
    let extras = Extras { projector: GIB, ..Extras::default() };
    let alone = plan(&shape, &machine(Vec::new(), 16), &knobs, extras).unwrap();
    let bare = check(0, &machine(Vec::new(), 16), &knobs);
    assert_eq!(alone.host.overhead, bare.host.overhead + GIB);
    let mut shared = machine(vec![gpu("Vulkan0", 64)], 16);
    (shared.gpus[0].shares_ram, shared.gpus[0].overhead) = (true, 2 * GIB);
    let found = check(0, &shared, &max_ctx());
    let with = &found.devices[0];
    shared.gpus[0].overhead = 0;
    let without = check(0, &shared, &max_ctx()).devices.remove(0);
    assert!(with.used - with.overhead < without.used, "{with:?} {without:?}");
}

#[test]
fn contradictions_are_refused() {
    let shape = Shape::of(&facts(0)).unwrap();
    let machine = machine(vec![gpu("CUDA0", 24)], 64);
    let text = |text: &str| Some(text.to_owned());
    for (knobs, word) in [
        (Knobs { ctx: Some(4096), ..max_ctx() }, "--max-ctx"),
        (Knobs { ctx: Some(0), ..Knobs::default() }, "--ctx"),
        (Knobs { ctx: Some(u64::MAX), ..Knobs::default() }, "--ctx"),
        (Knobs { parallel: Some(0), ..Knobs::default() }, "--parallel"),
        (Knobs { ubatch: Some(4096), batch: Some(512), ..Knobs::default() }, "--ubatch"),
        (Knobs { n_cpu_moe: Some(4), ..Knobs::default() }, "experts"),
        (Knobs { gpu_layers: text("99x"), ..Knobs::default() }, "99x"),
        (Knobs { cache_type_k: text("q9"), ..Knobs::default() }, "q9"),
        (Knobs { flash_attn: text("maybe"), ..Knobs::default() }, "maybe"),
        (
            Knobs { flash_attn: text("off"), cache_type_v: text("q8_0"), ..Knobs::default() },
            "flash attention",
        ),
        (Knobs { margin: Some(u64::MAX), ..Knobs::default() }, "a margin of"),
        (Knobs { device: Some(vec!["CUDA7".into()]), ..Knobs::default() }, "CUDA7"),
        (
            Knobs { device: Some(vec!["none".into()]), gpu_layers: text("3"), ..Knobs::default() },
            "--device none",
        ),
        (Knobs { device: Some(vec!["none".into()]), gpu_layers: text("all"), ..Knobs::default() }, "forbids"),
        (Knobs { tensor_split: Some(vec![1.0, f64::NAN]), ..Knobs::default() }, "NaN"),
        (
            Knobs { tensor_split: Some(vec![1.0, 1.0]), ..Knobs::default() },
            "2 parts, and there is one device",
        ),
        (Knobs { tensor_split: Some(vec![0.0]), ..Knobs::default() }, "no device a part"),
        (Knobs { tensor_split: Some(vec![-1.0]), ..Knobs::default() }, "-1 is none"),
        (Knobs { users: Some(0), ..Knobs::default() }, "--users"),
        (Knobs { users: Some(2), parallel: Some(3), ..Knobs::default() }, "--parallel says 3"),
    ] {
        let refusal = plan(&shape, &machine, &knobs, Extras::default()).unwrap_err();
        assert!(refusal.why.contains(word) && refusal.hint.is_some(), "{refusal:?}");
    }
}

/// Every number is the largest that a file can claim, for a model of some kind.
fn hostile(architecture: &str, recurrent: &[&str]) -> Facts {
    let mut facts = facts(8);
    facts.architecture = Some(architecture.to_owned());
    for numbers in facts.hyperparameters.values_mut() {
        *numbers = vec![i64::MAX];
    }
    for key in recurrent {
        facts.hyperparameters.insert((*key).to_owned(), vec![1 << 32]);
    }
    facts.hyperparameters.insert("expert_feed_forward_length".into(), vec![1 << 32]);
    facts.context_length = Some(1 << 30);
    facts.embedding_length = Some(u64::MAX);
    facts.vocabulary = Some(u64::MAX);
    if let Some(attention) = &mut facts.attention {
        (attention.heads, attention.kv_heads) = (vec![u64::MAX; 32], vec![u64::MAX; 32]);
        (attention.key_length, attention.value_length) = (1 << 32, 1 << 32);
    }
    for group in &mut facts.tensors {
        group.size = u64::MAX;
        group.dims = vec![0, u64::MAX];
        group.layers = vec![(u64::MAX, u64::MAX), (0, u64::MAX)];
    }
    facts
}

#[test]
fn no_layers_on_no_device_is_no_contradiction() {
    let knobs = Knobs { device: Some(vec!["none".into()]), gpu_layers: Some("0".into()), ..Knobs::default() };
    let found = check(0, &machine(vec![gpu("CUDA0", 24)], 64), &knobs);
    assert!(found.fits && found.devices.is_empty(), "{:?}", found.explain);
}

#[test]
fn numbers_of_a_hostile_file_overflow_nothing() {
    let machine = machine(vec![gpu("CUDA0", 24)], 64);
    let ssm = ["ssm.inner_size", "ssm.state_size", "ssm.group_count", "ssm.conv_kernel"];
    let index = ["attention.indexer.key_length", "attention.indexer.top_k", "attention.indexer.kpool"];
    let kinds = [&ssm[..], &["wkv.head_size"], &["shortconv.l_cache"], &["kda.head_dim"], &index, &[]];
    for architecture in crate::memory::architectures().chain(["minimax-m3", "unheard-of"]) {
        for recurrent in kinds {
            for has_attention in [true, false] {
                let mut facts = hostile(architecture, recurrent);
                facts.attention = facts.attention.filter(|_| has_attention);
                let Ok(shape) = Shape::of(&facts) else { continue };
                for knobs in [max_ctx(), Knobs { flash_attn: Some("off".into()), ..Knobs::default() }] {
                    let found = plan(&shape, &machine, &knobs, Extras::default()).unwrap();
                    assert!(!found.fits, "{architecture}");
                }
            }
        }
    }
}
