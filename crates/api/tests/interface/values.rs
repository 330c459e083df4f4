//! One value of everything that is sent, every field filled.

use crate::launches::run;
use api::{Checked, Download, Duplicates, Filesystem, Job, Overview, Problem, RunState, Usage};
use domain::plan::{Fit, How};
use domain::{
    Ancestor, App, Basis, Companion, CompanionRole, Confidence, File, Format, Hashes, Kind, LicenseClass,
    Link, Location, Model, Progress, Relation, Role, RootStatus, Safety, Source, SourceKind, State, Tree,
    TreeNode, Verdict, Verification, WirePath,
    doctor::{Finding, Severity},
    duplicates::{CopyAt, Group, ModelName, Sameness},
    facts,
    suggest::Suggestion,
    usage::{By, Share},
};
use jiff::Timestamp;
use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

pub(crate) fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

pub(crate) fn wire_path() -> WirePath {
    WirePath::from(Path::new(OsStr::from_bytes(b"/m/\xff.gguf")))
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

pub(crate) fn suggestion() -> Suggestion {
    let (path, evidence) = (wire_path(), vec!["e".into()]);
    Suggestion { path, app: App::Loose, models: 1, bytes: 1, evidence, command: "c".into() }
}

pub(crate) fn overview() -> Overview {
    let problem = Problem {
        name: "m".into(),
        id: "m1".into(),
        state: State::Corrupt,
        verification: Some(Verification::Mismatch),
        reason: Some("r".into()),
        danger: Some("d".into()),
    };
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
        downloads: vec![Download { name: "m".into(), id: "m1".into(), progress: Some(progress()) }],
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

pub(crate) fn duplicates() -> Duplicates {
    let copy = CopyAt {
        reflink: true,
        path: wire_path(),
        app: App::Ollama,
        inode: 1,
        volume: "v".into(),
        size: 1,
        disk_size: 1,
        role: Role::Bundle,
        link: Some(Link::Symlink),
        owner: Some("me:me".into()),
        online: true,
        model: "m1".into(),
        held_elsewhere: true,
        remove: Some("ollama rm m".into()),
        remove_note: Some("n".into()),
    };
    let group = Group {
        kind: Sameness::SameWeights,
        group: "g".into(),
        sha256: Some("00".into()),
        certain: true,
        reclaimable: 1,
        models: vec![ModelName { id: "m1".into(), name: "m".into() }],
        copies: vec![copy],
    };
    Duplicates { groups: vec![group], duplicates: 1, reclaimable: 1, notes: vec!["n".into()] }
}

pub(crate) fn usage() -> Usage {
    let share = Share { name: Some("n".into()), models: 1, bytes: 1, exclusive: 1, shared: 1 };
    let filesystem = Filesystem { total: 2, available: 1, roots: vec!["/r".into()] };
    Usage { by: By::Family, shares: vec![share], total: 1, filesystems: vec![filesystem] }
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
        license_spdx: Some("MIT".into()),
        license_class: Some(LicenseClass::WeakCopyleft),
        base_models: vec!["b".into()],
        lineage: vec![ancestor()],
        origin: Some(source()),
        capabilities: vec!["chat".into()],
        locations: vec![location()],
        duplicate_group: Some("d".into()),
        tags: vec!["t".into()],
        note: Some("n".into()),
        pinned: true,
        last_used: Some(now()),
        aliases: vec!["a".into()],
        progress: Some(progress()),
        first_seen: Some(now()),
        family: Some("sdxl".into()),
        fits: Some(fit()),
    }
}

fn fit() -> Fit {
    Fit { fits: false, how: How::No, ctx: 1, gpu_layers: 2, layers: 3, n_cpu_moe: 1, short: Some(4) }
}

pub(crate) fn source() -> Source {
    Source {
        kind: Some(SourceKind::OllamaCloud),
        repo: Some("r".into()),
        url: Some("u".into()),
        confidence: Confidence::Claimed,
        evidence: vec!["e".into()],
    }
}

pub(crate) fn companion() -> Companion {
    Companion {
        role: CompanionRole::Projector,
        model_id: Some("m2".into()),
        path: Some(wire_path()),
        name: "n".into(),
        because: "b".into(),
        basis: vec![Basis::Width],
        confidence: Confidence::Claimed,
    }
}

pub(crate) fn tree() -> Tree {
    let node = TreeNode {
        model_id: Some("m1".into()),
        name: "n".into(),
        repo: Some("o/b".into()),
        relation: Some(Relation::Adapter),
        confidence: Some(Confidence::Claimed),
        evidence: vec!["e".into()],
        kind: Some(Kind::Llm),
        quant: Some("Q4_K_M".into()),
        size: Some(1),
        state: Some(State::Ok),
        is_instruct: Some(true),
        is_asked: true,
        is_repeated: false,
        children: Vec::new(),
    };
    let root = TreeNode { children: vec![node.clone()], ..node };
    Tree { model_id: "m1".into(), roots: vec![root], left_out: 1 }
}

pub(crate) fn ancestor() -> Ancestor {
    Ancestor {
        relation: Relation::Finetune,
        name: "o/b".into(),
        repo: Some("o/b".into()),
        url: Some("u".into()),
        sha256: Some("00".into()),
        model_id: Some("m0".into()),
        confidence: Confidence::Claimed,
        evidence: vec!["e".into()],
    }
}

pub(crate) fn location() -> Location {
    let (role, link) = (Role::LfsObject, Some(Link::Dangling));
    Location {
        app: App::HuggingFaceLocalDir,
        id: "h".into(),
        name: Some("n".into()),
        source: Some(source()),
        claims: vec![source()],
        revision: Some("r".into()),
        refs: vec!["main".into()],
        license: Some("mit".into()),
        owner: Some("me:me".into()),
        online: true,
        is_partial: true,
        progress: Some(progress()),
        partial_reason: Some("p".into()),
        files: vec![File {
            path: wire_path(),
            role,
            size: 1,
            sha256: Some("00".into()),
            hashes: Some(hashes()),
            recorded: Some("00".into()),
            disk_size: Some(1),
            link,
        }],
    }
}

fn progress() -> Progress {
    Progress { bytes: Some(1), total: Some(2), rate: Some(1) }
}

fn hashes() -> Hashes {
    let text = || Some(String::from("00"));
    Hashes { sha256: "00".into(), tensors: text(), autov1: text(), autov2: text(), autov3: text() }
}

fn attention() -> facts::Attention {
    facts::Attention {
        heads: vec![1],
        kv_heads: vec![1],
        key_length: 1,
        value_length: 1,
        sliding_window: Some(1),
        kv_elements_per_token: 2,
    }
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
        attention: Some(attention()),
        chat_template: Some("t".into()),
        tuning: Some(facts::Tuning { is_instruct: true, because: "b".into() }),
        license: Some("mit".into()),
        base_models: vec!["b".into()],
        claims: vec![source()],
        ancestors: vec![ancestor()],
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
            tokens: Some("00".into()),
        }),
        projector: Some(facts::Projector { kind: Some("mlp".into()), width: Some(1) }),
        adapter: Some(adapter()),
        graph: Some(graph()),
        pickle: Some(pickle()),
        parts: vec![facts::Part { name: "model.onnx_data".into(), size: 1 }],
    }
}

fn pickle() -> facts::Pickled {
    let reached = facts::Reached {
        name: "os.system".into(),
        standing: facts::Standing::Dangerous,
        member: Some("archive/data.pkl".into()),
    };
    facts::Pickled { layout: "torch zip".into(), reaches: vec![reached] }
}

fn graph() -> facts::Graph {
    let value = facts::Value { name: "x".into(), dtype: Some("F32".into()), shape: Some(vec!["?".into()]) };
    facts::Graph {
        version: Some("IR 8".into()),
        producer: Some("pytorch 2.1.0".into()),
        opsets: vec!["ai.onnx 17".into()],
        inputs: vec![value.clone()],
        outputs: vec![value],
        operators: vec![facts::OperatorUse { name: "MatMul".into(), count: 1 }],
    }
}

fn adapter() -> facts::Adapter {
    let module = facts::Module { name: "m".into(), input: Some(1), output: Some(1) };
    facts::Adapter { method: "lora".into(), rank: Some(4), alpha: Some(2.5), modules: vec![module] }
}
