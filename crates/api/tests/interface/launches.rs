//! One value of what concerns machines, engines, plans and runs, every field filled.

use crate::values::now;
use api::{EngineDevices, EngineStatus, HardwareReport, LaunchRequest, Machine, ModelRef, Run, RunState};
use domain::{
    engines::{self, Confirmed, ConfirmedUse, Counted, Rates},
    hardware::{Card, CardState, Cpu, Gpu, Hardware, Host, Node, Pool, Ram},
    memory::{CacheType, FlashAttention, Settings, TensorSplit},
    plan::{
        Amounts, Curve, DeviceUse, Goal, HostUse, Kept, Knobs, Limit, Measured, MeasuredUse, Point, Series,
        Speed, Term,
    },
};
use std::collections::BTreeMap;

pub(crate) fn launch() -> LaunchRequest {
    LaunchRequest {
        engine: "e".into(),
        model: "m".into(),
        max_ctx: true,
        knobs: knobs(),
        hardware: Some(Hardware { gpus: vec![gpu()], ram: hardware().ram, cpu: hardware().cpu }),
        port: Some(1),
        allow_unsafe: true,
        curve: true,
        terms: true,
        detach: true,
        extra: vec!["x".into()],
        environment: environment(),
    }
}

pub(crate) fn knobs() -> Knobs {
    let text = || Some(String::from("t"));
    Knobs {
        goal: Some(Goal::MaxCtx),
        ctx: Some(1),
        parallel: Some(1),
        users: Some(1),
        gpu_layers: text(),
        n_cpu_moe: Some(1),
        cache_type_k: text(),
        cache_type_v: text(),
        allow_kv_quant: Some(true),
        flash_attn: text(),
        batch: Some(1),
        ubatch: Some(1),
        kv_unified: Some(true),
        swa_full: Some(true),
        kv_offload: Some(true),
        op_offload: Some(true),
        n_outputs: Some(1),
        device: Some(vec!["CUDA0".into()]),
        tensor_split: Some(vec![1.0]),
        margin: Some(1),
    }
}

pub(crate) fn environment() -> BTreeMap<String, String> {
    BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())])
}

pub(crate) fn gpu() -> Gpu {
    Gpu {
        id: "CUDA0".into(),
        name: "n".into(),
        backend: "CUDA".into(),
        total: 2,
        free: 1,
        overhead: 1,
        shares_ram: true,
        uuid: Some("GPU-1".into()),
        pci: Some("0000:01:00.0".into()),
        driver: Some("580".into()),
        processes: [(1, 1)].into(),
        target: Some("gfx1100".into()),
        pools: vec![Pool { name: "vram".into(), total: 2, used: 1 }],
    }
}

pub(crate) fn card() -> Card {
    Card {
        id: Some("card1".into()),
        name: "n".into(),
        backend: "CUDA".into(),
        pci: Some("0000:01:00.0".into()),
        driver: Some("580".into()),
        state: CardState::Asleep,
        total: Some(2),
        at_least: Some(1),
        processes: [(1, 1)].into(),
        why: "it sleeps".into(),
    }
}

pub(crate) fn machine() -> Machine {
    let HardwareReport { gpus, ram, cpu, cards, .. } = hardware();
    Machine { gpus, ram, cpu, cards }
}

pub(crate) fn hardware() -> HardwareReport {
    let seen = EngineDevices {
        engine: "llama.cpp".into(),
        program: "/p".into(),
        version: Some("1".into()),
        devices: vec![gpu()],
        note: Some("n".into()),
    };
    HardwareReport {
        gpus: vec![gpu()],
        ram: Ram { total: 2, available: 1 },
        cpu: Cpu { cores: Some(1), threads: Some(2), name: Some("c".into()), features: vec!["avx2".into()] },
        holders: [(1, "p".to_owned())].into(),
        engines: vec![seen],
        notes: vec!["n".into()],
        cards: vec![card()],
        host: Host {
            numa: vec![Node { node: 1, total: 2, free: 1 }],
            pressure: Some(0.5),
            wsl: true,
            limited_by: Some("/sys/fs/cgroup/user.slice".into()),
        },
    }
}

pub(crate) fn engine() -> EngineStatus {
    EngineStatus {
        engine: "llama.cpp".into(),
        found: true,
        program: Some("/p".into()),
        version: Some("1".into()),
        devices: vec![gpu()],
        flags: 1,
        added: true,
        looked: vec!["/usr/bin".into()],
        note: Some("n".into()),
    }
}

pub(crate) fn run(state: RunState) -> Run {
    let bytes = BTreeMap::from([("host".to_owned(), 1)]);
    Run {
        run: "r".into(),
        engine: "llama.cpp".into(),
        model: ModelRef { id: "m1".into(), name: "m".into() },
        state,
        ours: true,
        pid: Some(1),
        unit: Some("modelctl-r.service".into()),
        url: Some("http://127.0.0.1".into()),
        ctx: Some(1),
        since: now(),
        memory: bytes.clone(),
        planned: bytes,
        on_cpu: Some(true),
        last_lines: vec!["l".into()],
        why: Some("w".into()),
        hint: Some("h".into()),
        code: Some(1),
        signal: Some(9),
        notes: vec!["n".into()],
    }
}

pub(crate) fn plan() -> engines::Plan {
    engines::Plan {
        engine: "llama.cpp".into(),
        model: engines::Named { id: "m1".into(), name: "m".into() },
        family: engines::Family::Llama,
        goal: Some("max-ctx".into()),
        fits: Some(true),
        limited_by: Some(Limit::GpuMemory),
        llama: Some(llama()),
        devices: vec![device_use()],
        host: Some(HostUse { weights: 1, ..HostUse::default() }),
        argv: vec!["llama-server".into()],
        env: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
        files: vec![engines::PlannedFile { path: "/p".into(), content: "c".into() }],
        speed: Some(Speed { low: 1.5, high: 2.5, basis: "b".into() }),
        terms: vec![Term { place: "CUDA0".into(), what: "w".into(), bytes: 1, note: Some("n".into()) }],
        curve: Some(Curve { limit: 2, ctx: 1, series: vec![series()] }),
        explain: vec!["e".into()],
        alternatives: vec!["a".into()],
        measured: Some(measured()),
        confirmed: Some(confirmed()),
        command: "llama-server".into(),
        url: "http://127.0.0.1".into(),
    }
}

fn series() -> Series {
    Series { cache_type: CacheType::F16, points: vec![Point { ctx: 1, bytes: 1 }] }
}

pub(crate) fn llama() -> engines::LlamaKnobs {
    engines::LlamaKnobs {
        ctx: 2,
        ctx_per_slot: 1,
        parallel: 2,
        kv_unified: false,
        gpu_layers: 1,
        layers: 2,
        n_cpu_moe: 1,
        cache_type_k: CacheType::Q8_0,
        cache_type_v: CacheType::F16,
        flash_attn: FlashAttention::On,
        batch: 2,
        ubatch: 1,
        tensor_split: vec![1.0],
    }
}

pub(crate) fn device_use() -> DeviceUse {
    DeviceUse {
        id: "CUDA0".into(),
        name: "n".into(),
        backend: "CUDA".into(),
        total: 9,
        free: 8,
        weights: 1,
        context: 1,
        compute: 1,
        overhead: 1,
        margin: 1,
        used: 4,
        left: 3,
        shares_ram: true,
        slack: 1,
        layers: 1,
    }
}

fn measured() -> Measured {
    let amounts = Amounts { weights: 1, context: 2, compute: 3, overhead: Some(4) };
    let flags = Settings {
        ctx: 4096,
        gpu_layers: 33,
        tensor_split: TensorSplit::of_layers([16, 17]),
        ..Settings::default()
    };
    let settings = Kept { flags, layers: 33, projector: 0, adapters: 0 };
    let place = MeasuredUse {
        id: "CUDA0".into(),
        device: "GPU-1".into(),
        taken: amounts,
        planned: amounts,
        slack: 5,
        read: 6,
    };
    let speed = Some(Rates { prompt: Some(1.5), answer: Some(2.5) });
    let at = "2026-11-28T09:00:00Z".parse().unwrap();
    Measured { at, settings, devices: vec![place], speed, same_settings: true }
}

fn confirmed() -> Confirmed {
    let counted = Counted { weights: 1, context: 2, compute: 3 };
    let devices = vec![ConfirmedUse { id: "CUDA0".into(), counted, difference: -1 }];
    Confirmed { program: "p".into(), seconds: 0.5, devices, left_out: vec!["--x".into()] }
}
