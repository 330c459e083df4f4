//! Verdicts and facts over files that were made without this code: hostile and damaged ones, a home with every
//! app's layout, what llama.cpp ships, and full-size headers whose cache llama.cpp measured.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "tests read files")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "a check that could not be made is named")]

use domain::{State, Verdict, facts, judge, names};
use formats::Windowed;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Returns a folder of the shared material, and says which check is skipped where it is not there.
fn shared(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(folder);
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
    }
    path.exists().then_some(path)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn inspect(path: &Path) -> Verdict {
    let file = File::open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let mut input = Windowed::new(length, |at, buffer: &mut [u8]| file.read_at(buffer, at));
    let started = Instant::now();
    let verdict = judge(path.file_name().unwrap(), &mut input).unwrap();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(1), "{}: {took:?}", path.display());
    verdict
}

#[test]
fn hostile_and_damaged_files_get_the_state_they_deserve() {
    for format in ["gguf", "safetensors", "ggml"] {
        let Some(folder) = shared(&format!("corpus/{format}")) else { continue };
        let expected = json(&folder.join("expected.json"));
        let mut wrong = Vec::new();
        for entry in expected["files"].as_array().unwrap() {
            let name = entry["file"].as_str().unwrap();
            let verdict = inspect(&folder.join(name));
            let allowed = entry["must"]["state_any_of"].as_array().unwrap();
            if !allowed.iter().any(|state| state == verdict.state.name()) {
                wrong.push(format!("{name}: {verdict:?}, not {allowed:?}"));
            }
            let is_explained = verdict.state.is_usable() || verdict.reason.is_some();
            assert!(is_explained, "{name}: {} without a reason", verdict.state);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn hostile_and_damaged_graphs_get_the_state_they_deserve() {
    let Some(folder) = shared("corpus/onnx") else { return };
    let expected = json(&folder.join("expected.json"));
    let mut wrong = Vec::new();
    for entry in expected["files"].as_array().unwrap() {
        let name = entry["file"].as_str().unwrap();
        let verdict = inspect(&folder.join(name)).with_parts(|part| {
            let path = folder.join(part);
            assert_eq!(path.parent(), Some(folder.as_path()), "{name} is looked for in its own directory");
            fs::metadata(path).ok().map(|meta| meta.len())
        });
        let allowed = entry["must"]["state_any_of"].as_array().unwrap();
        if !allowed.iter().any(|state| state == verdict.state.name()) {
            wrong.push(format!("{name}: {verdict:?}, not {allowed:?}"));
        }
        if allowed.iter().any(|state| state == "unsafe") && verdict.state == State::OkWithWarning {
            assert!(!verdict.warnings.is_empty(), "{name}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pickles_get_the_safety_that_they_deserve() {
    let Some(folder) = shared("corpus/pickle") else { return };
    let expected = json(&folder.join("expected.json"));
    let mut wrong = Vec::new();
    let mut dangerous = 0;
    for entry in expected["files"].as_array().unwrap() {
        let name = entry["file"].as_str().unwrap();
        let verdict = inspect(&folder.join(name));
        let said = verdict.safety.map_or(verdict.state.name(), |safety| safety.name());
        let allowed = entry["must"]["state_any_of"].as_array().unwrap();
        let is_malicious = entry["truth"] == "malicious";
        if !allowed.iter().any(|state| state == said) || (is_malicious && verdict.safety.is_none()) {
            wrong.push(format!("{name}: {verdict:?}, not {allowed:?}"));
        }
        let is_explained = said == "tensors_only" || verdict.reason.is_some() || !verdict.warnings.is_empty();
        assert!(is_explained, "{name}: {verdict:?}");
        dangerous += usize::from(is_malicious && said == "dangerous");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Of 84 that run something; the others are packed, or reach names that nobody knows.
    assert!(dangerous >= 79, "{dangerous} are named");
}

#[test]
fn vocabularies_that_llama_cpp_ships_are_read_right() {
    // name, architecture, context, blocks, width, vocabulary, heads, KV elements a token
    type Row<'a> = (&'a str, &'a str, u64, u64, u64, u64, u64, u64);
    const ROWS: &[Row<'_>] = &[
        ("bert-bge", "bert", 512, 12, 384, 30522, 12, 0),
        ("gemma-4", "gemma4", 262_144, 30, 2816, 262_144, 16, 112_640),
        ("llama-bpe", "llama", 8192, 32, 4096, 128_256, 32, 65536),
        ("llama-spm", "llama", 4096, 32, 4096, 32000, 32, 262_144),
        ("phi-3", "phi3", 4096, 32, 3072, 32064, 32, 196_608),
        ("qwen35", "qwen2", 32768, 32, 4096, 151_936, 32, 262_144),
    ];
    let Some(folder) = shared("real") else { return };
    for (name, architecture, context, blocks, width, vocabulary, heads, kv) in ROWS {
        let verdict = inspect(&folder.join(format!("ggml-vocab-{name}.gguf")));
        assert_eq!((verdict.state, verdict.warnings), (State::Ok, Vec::new()), "{name}");
        let facts = verdict.facts.unwrap();
        assert_eq!(facts.architecture.as_deref(), Some(*architecture), "{name}");
        assert_eq!(facts.kind, Some(domain::Kind::Other), "{name}");
        let numbers = [facts.context_length, facts.block_count, facts.embedding_length, facts.vocabulary];
        assert_eq!(numbers, [context, blocks, width, vocabulary].map(|n| Some(*n)), "{name}");
        let attention = facts.attention.unwrap();
        assert_eq!(attention.heads, vec![*heads; attention.heads.len()], "{name}");
        assert_eq!(attention.kv_elements_per_token, *kv, "{name}");
        assert_eq!((facts.parameters, facts.quant), (None, None), "{name}");
    }
}

/// Runs one of the shared generators, in a folder of its own; None (and a line) where that cannot be.
fn generate(script: &str, what: &str) -> Option<PathBuf> {
    let script = shared(script)?;
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(what);
    if out.exists() {
        fs::remove_dir_all(&out).unwrap();
    }
    let ran = Command::new("python3").arg(&script).arg(&out).env("NOVOCAB", "1").output();
    let is_made = ran.is_ok_and(|output| output.status.success());
    if !is_made {
        println!("skipped: {} did not run", script.display());
    }
    is_made.then_some(out)
}

#[test]
fn models_of_every_store_have_the_facts_that_their_makers_gave_them() {
    let Some(home) = generate("stores/make_stores.py", "stores") else { return };
    let mut seen = 0;
    for model in json(&home.join("expected.json"))["models"].as_array().unwrap() {
        let format = model["format"].as_str().unwrap();
        if !matches!(format, "gguf" | "safetensors") || model["is_partial"] == true {
            continue;
        }
        let files = model["files"].as_array().unwrap().iter();
        let weights = files.filter(|file| file["role"] == "weights");
        let verdicts = weights.map(|file| inspect(&home.join(file["path"].as_str().unwrap())));
        check_store_model(model, &verdicts.collect::<Vec<_>>());
        seen += 1;
    }
    assert!(seen > 50, "{seen} models");
}

#[track_caller]
fn check_store_model(model: &Value, weights: &[Verdict]) {
    let id = format!("{} {}", model["app"], model["id"]);
    let text = |key: &str| model[key].as_str().map(str::to_owned);
    for verdict in weights {
        assert_eq!(verdict.format.map(|format| format.name().to_owned()), text("format"), "{id}");
    }
    let parts: Vec<_> = weights.iter().map(|verdict| verdict.facts.clone().expect(&id)).collect();
    let facts = facts::merge(&parts);
    // Recipes of other engines are in files beside the weights.
    if let Some(quant) = text("quant").filter(|_| model["format"] == "gguf") {
        assert_eq!(facts.quant, Some(quant), "{id}");
    }
    if let Some(license) = facts.license {
        assert_eq!(text("license"), Some(license), "{id}");
    }
    if let Some(kind) = facts.kind.filter(|_| parts.len() == 1) {
        assert_eq!(text("kind").as_deref(), Some(kind.name()), "{id}");
    }
}

#[test]
fn full_size_models_are_named_and_measured_right() {
    let Some(folder) = generate("truth/make_models.py", "models") else { return };
    // Millions of parameters, in all and at work (tensors summed by a script of their own); elements of F16 cache a token.
    let rows = BTreeMap::from([
        ("DeepSeek-V2-Lite-Chat-Q4_K_M", (15706, 2661, Some(15552))),
        ("GLM-4.5-Air-Q4_K_M", (110_469, 14965, Some(94208))),
        ("Jamba-v0.1-Q4_K_M", (51570, 12110, Some(8192))),
        ("LFM2-1.2B-Q4_K_M", (1170, 1170, Some(6144))),
        ("Llama-3.1-8B-Instruct-BF16", (8030, 8030, Some(65536))),
        ("Llama-3.3-70B-Instruct-Q4_K_M", (70554, 70554, Some(163_840))),
        ("Mixtral-8x7B-Instruct-v0.1-Q4_K_M", (46703, 12880, Some(65536))),
        ("Qwen3-30B-A3B-Q4_K_M", (30532, 3353, Some(49152))),
        ("Qwen3-Next-80B-A3B-Instruct-Q4_K_M", (79674, 3875, Some(12288))),
        ("gpt-oss-20b-MXFP4", (20915, 4187, Some(24576))),
        ("mamba-2.8b-hf-Q8_0", (2768, 2768, None)),
        ("rwkv7-2.9B-world-Q8_0", (2948, 2948, None)),
    ]);
    let mut parts: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if names::looks_like_model(&name) {
            let verdict = inspect(&folder.join(&name));
            assert_eq!((verdict.state, verdict.warnings), (State::Ok, Vec::new()), "{name}");
            let no = names::split_of(&name).map(|split| split.no);
            parts.entry(names::display_name(&name)).or_default().push((no, verdict.facts.unwrap()));
        }
    }
    assert!(parts.len() > 30, "{} models", parts.len());
    for (name, mut parts) in parts {
        parts.sort_by_key(|(no, _)| *no);
        let facts = facts::merge(&parts.into_iter().map(|(_, facts)| facts).collect::<Vec<_>>());
        assert_eq!(facts.quant, names::quant_in(&name), "{name}");
        let Some((parameters, active, kv)) = rows.get(name.as_str()) else { continue };
        assert_eq!(facts.attention.map(|attention| attention.kv_elements_per_token), *kv, "{name}");
        let millions =
            [facts.parameters, facts.active_parameters].map(|n| n.map(|n| (n + 500_000) / 1_000_000));
        assert_eq!(millions, [Some(*parameters), Some(*active)], "{name}");
    }
}
