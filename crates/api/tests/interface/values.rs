//! One value of everything that is sent, every field filled.

use api::{
    Checked, EngineDevices, EngineStatus, HardwareReport, Job, LaunchRequest, ModelRef, Overview, Problem,
    Run, RunState,
};
use domain::{
    App, Confidence, File, Format, Hashes, Kind, Link, Location, Model, Role, RootStatus, Safety, Source,
    SourceKind, State, Verdict, Verification, WirePath,
    doctor::{Finding, Severity},
    engines, facts,
    hardware::{Cpu, Gpu, Hardware, Ram},
    memory::{CacheType, FlashAttention},
    plan::{DeviceUse, Goal, HostUse, Knobs, Limit},
};
use jiff::Timestamp;
use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

pub(crate) fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

pub(crate) fn wire_path() -> WirePath {
    WirePath::from(Path::new(OsStr::from_bytes(b"/m/\xff.gguf")))
}

pub(crate) fn launch() -> LaunchRequest {
    LaunchRequest {
        engine: "e".into(),
        model: "m".into(),
        max_ctx: true,
        knobs: knobs(),
        hardware: Some(Hardware { gpus: vec![gpu()], ram: hardware().ram, cpu: hardware().cpu }),
        port: Some(1),
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
    }
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
        cpu: Cpu { cores: Some(1), threads: Some(2), name: Some("c".into()) },
        holders: [(1, "p".to_owned())].into(),
        engines: vec![seen],
        notes: vec!["n".into()],
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
        explain: vec!["e".into()],
        alternatives: vec!["a".into()],
        command: "llama-server".into(),
        url: "http://127.0.0.1".into(),
    }
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
    }
}

pub(crate) fn finding() -> Finding {
    let word = || "w".to_owned();
    Finding { severity: Severity::Problem, about: word(), what: word(), means: word(), fix: Some(word()) }
}

pub(crate) fn root() -> RootStatus {
    RootStatus {
        path: wire_path(),
        app: App::Ollama,
        derived_from: Some("/l".into()),
        online: false,
        offline_since: Some(now()),
        watched: true,
        degraded: true,
        reason: Some("r".into()),
        models: 1,
        bytes: 1,
        rescans: 1,
        volume: Some("8a3f1c2e-5d4b-4a6f-9c7e-0b1d2e3f4a5b".into()),
        last_scan: Some(now()),
    }
}

pub(crate) fn overview() -> Overview {
    let problem =
        Problem { name: "m".into(), id: "m1".into(), state: State::Corrupt, reason: Some("r".into()) };
    Overview {
        version: "0".into(),
        roots: vec![root()],
        models: 1,
        locations: 1,
        disk_size: 1,
        duplicates: 1,
        reclaimable: 1,
        problems: vec![problem],
        notices: vec!["n".into()],
        scanning: true,
        runs: vec![run(RunState::Failed)],
        ram_total: Some(2),
        ram_available: Some(1),
        jobs: vec![job()],
    }
}

pub(crate) fn job() -> Job {
    Job { job: "verify".into(), name: Some("m".into()), done: 1, total: 2 }
}

pub(crate) fn checked() -> Checked {
    Checked {
        model: "m".into(),
        id: "m1".into(),
        path: wire_path(),
        app: App::Ollama,
        expected: Some("00".into()),
        actual: Some("01".into()),
        verification: Verification::Mismatch,
        reason: Some("r".into()),
    }
}

pub(crate) fn verdict() -> Verdict {
    Verdict {
        format: Some(Format::Pickle),
        state: State::NotAModel,
        reason: Some("r".into()),
        warnings: vec!["w".into()],
        safety: Some(Safety::Dangerous),
        facts: Some(facts()),
        data_start: Some(1),
    }
}

pub(crate) fn model() -> Model {
    Model {
        id: "m1".into(),
        name: "m".into(),
        format: Some(Format::LfsPointer),
        kind: Some(Kind::VisionProjector),
        architecture: Some("qwen3".into()),
        quant: Some("Q4_K_M".into()),
        bits_per_weight: Some(4.5),
        parameters: Some(2),
        active_parameters: Some(1),
        context_length: Some(1),
        size: 1,
        disk_size: 1,
        state: State::OkWithWarning,
        reason: Some("r".into()),
        warnings: vec!["w".into()],
        safety: Some(Safety::TensorsOnly),
        sha256: Some("00".into()),
        verification: Verification::Mismatch,
        license: Some("mit".into()),
        base_models: vec!["b".into()],
        capabilities: vec!["chat".into()],
        locations: vec![location()],
        duplicate_group: Some("d".into()),
        tags: vec!["t".into()],
        note: Some("n".into()),
        pinned: true,
        last_used: Some(now()),
        aliases: vec!["a".into()],
        first_seen: Some(now()),
        family: Some("sdxl".into()),
    }
}

pub(crate) fn location() -> Location {
    let source = Source {
        kind: Some(SourceKind::OllamaCloud),
        repo: Some("r".into()),
        url: Some("u".into()),
        confidence: Confidence::Claimed,
        evidence: vec!["e".into()],
    };
    let (role, link) = (Role::LfsObject, Some(Link::Dangling));
    Location {
        app: App::HuggingFaceLocalDir,
        id: "h".into(),
        name: Some("n".into()),
        source: Some(source),
        revision: Some("r".into()),
        refs: vec!["main".into()],
        license: Some("mit".into()),
        owner: Some("me:me".into()),
        online: true,
        is_partial: true,
        partial_reason: Some("p".into()),
        files: vec![File {
            path: wire_path(),
            role,
            size: 1,
            sha256: Some("00".into()),
            hashes: Some(hashes()),
            link,
        }],
    }
}

fn hashes() -> Hashes {
    let text = || Some(String::from("00"));
    Hashes { sha256: "00".into(), tensors: text(), autov1: text(), autov2: text(), autov3: text() }
}

pub(crate) fn facts() -> facts::Facts {
    let place = facts::Place::Favored;
    let mix = facts::MatrixUse { name: "Q6_K".into(), place, short_rows: false, elements: 1, bytes: 1 };
    facts::Facts {
        name: Some("n".into()),
        kind: Some(Kind::Llm),
        architecture: Some("a".into()),
        parameters: Some(1),
        active_parameters: Some(1),
        quant: Some("F16".into()),
        bits_per_weight: Some(16.0),
        tensor_types: vec![facts::TensorUse { name: "F16".into(), tensors: 1, elements: 1, bytes: 2 }],
        context_length: Some(1),
        block_count: Some(1),
        embedding_length: Some(1),
        vocabulary: Some(1),
        experts: Some(facts::Experts { count: 8, used: 2 }),
        attention: Some(facts::Attention {
            heads: vec![1],
            kv_heads: vec![1],
            key_length: 1,
            value_length: 1,
            sliding_window: Some(1),
            kv_elements_per_token: 2,
        }),
        chat_template: Some("t".into()),
        tuning: Some(facts::Tuning { is_instruct: true, because: "b".into() }),
        license: Some("mit".into()),
        base_models: vec!["b".into()],
        source_url: Some("https://example.org".into()),
        capabilities: vec!["chat".into()],
        split: Some(facts::Split { no: 0, count: 2 }),
        metadata: [("format".into(), "pt".into())].into(),
        expert_elements: 1,
        file_type: Some(15),
        tensors: vec![facts::TensorGroup {
            name: "output.weight".into(),
            kind: "F16".into(),
            dims: vec![1, 1],
            size: 2,
            layers: vec![(0, 1)],
        }],
        hyperparameters: [("block_count".into(), vec![1])].into(),
        mix: vec![mix],
        family: Some("sdxl".into()),
        claimed_tensor_hash: Some("00".into()),
        author: Some("a".into()),
        description: Some("d".into()),
        merged_from: vec!["m".into()],
        trigger_words: vec!["w".into()],
        tokenizer: Some(facts::Tokenizer {
            kind: Some("gpt2".into()),
            pre: Some("qwen2".into()),
            bos: Some(1),
            eos: Some(2),
        }),
        projector: Some(facts::Projector { kind: Some("mlp".into()), width: Some(1) }),
        adapter: Some(adapter()),
    }
}

fn adapter() -> facts::Adapter {
    let module = facts::Module { name: "m".into(), input: Some(1), output: Some(1) };
    facts::Adapter { method: "lora".into(), rank: Some(4), alpha: Some(2.5), modules: vec![module] }
}
