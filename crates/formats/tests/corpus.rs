//! Reads the hostile and the real files in `shared/`, where it is at hand.
#![expect(clippy::disallowed_methods, reason = "the crate is pure, its corpus is on disk")]
#![expect(clippy::print_stderr, reason = "says what was skipped")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use formats::gguf::Value;
use formats::{Error, Slice, gguf, safetensors};
use serde_json::Value as Json;

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if !path.exists() {
        eprintln!("skipped: {} is not here", path.display());
        return None;
    }
    Some(path)
}

fn state(read: Result<u64, Error>) -> &'static str {
    match read {
        Ok(0) => "ok",
        Ok(_) | Err(Error::Truncated { .. }) => "incomplete",
        Err(Error::BadMagic { .. }) => "not_a_model",
        Err(Error::Unsupported { .. }) => "unsupported",
        Err(Error::Corrupt { .. } | Error::TooLarge { .. }) => "corrupt",
        Err(Error::Io(error)) => panic!("{error}"),
    }
}

/// Compares the states of a folder's files and returns how often each was said.
fn run(folder: &Path, read: impl Fn(&[u8], &Json) -> Result<u64, Error>) -> BTreeMap<&'static str, usize> {
    let expected: Json =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let mut said = BTreeMap::new();
    let mut wrong = Vec::new();
    for file in expected["files"].as_array().unwrap() {
        let name = file["file"].as_str().unwrap();
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let started = Instant::now();
        let state = state(read(&bytes, file));
        assert!(started.elapsed() < Duration::from_secs(1), "{name} took {:?}", started.elapsed());
        let right = file["must"]["state_any_of"].as_array().unwrap();
        if !right.iter().any(|right| right == state) {
            wrong.push(format!("{name}: {state}, not {right:?}"));
        }
        if state == "ok" && file["group"] != "valid" {
            let reference = &file["reference"];
            let rejected =
                reference["llama.cpp"]["meta"] == "reject" || reference["deserialize"]["verdict"] == "reject";
            assert!(!rejected, "{name} is ok, but the reference reader rejects it");
        }
        *said.entry(state).or_insert(0) += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{}: {said:?}", folder.display());
    said
}

/// Compares with what gguf-py read, where it read the file.
fn compare(header: &gguf::Header, file: &Json) {
    let (name, facts) = (&file["file"], &file["reference"]["gguf-py"]);
    if facts["verdict"] != "accept" || file["group"] != "valid" {
        return;
    }
    assert_eq!(facts["version"], header.version, "{name}");
    assert_eq!(facts["n_kv"], header.metadata.len(), "{name}");
    assert_eq!(facts["n_tensors"], header.tensors.len(), "{name}");
    assert_eq!(facts["alignment"], header.alignment, "{name}");
    if let Some(architecture) = facts["architecture"].as_str() {
        assert_eq!(header.get("general.architecture").and_then(Value::as_str), Some(architecture), "{name}");
    }
    for (read, facts) in header.tensors.iter().zip(facts["tensors"].as_array().unwrap()) {
        assert_eq!(facts["name"], *read.name, "{name}");
        assert_eq!(facts["type"], *read.kind.name(), "{name}");
        assert_eq!(facts["bytes"], read.size, "{name}");
        let shape: Vec<_> = facts["shape"].as_array().unwrap().iter().filter_map(Json::as_u64).collect();
        assert_eq!(shape, read.dims, "{name}");
    }
    assert_eq!(header.warnings, Vec::<String>::new(), "{name}");
}

#[test]
fn each_gguf_of_the_corpus_is_in_a_right_state() {
    let Some(folder) = shared("corpus/gguf") else { return };
    let said = run(&folder, |bytes, file| {
        let header = gguf::parse(&mut Slice(bytes))?;
        compare(&header, file);
        Ok(header.missing_bytes(bytes.len() as u64))
    });
    // 21 valid, 26 with odd values, and those of the malformed that llama.cpp reads too.
    assert!(said["ok"] >= 47, "{said:?}");
}

#[test]
fn each_safetensors_of_the_corpus_is_in_a_right_state() {
    let Some(folder) = shared("corpus/safetensors") else { return };
    let said = run(&folder, |bytes, file| {
        let header = safetensors::parse(&mut Slice(bytes))?;
        if let Some(n_tensors) = file["reference"]["deserialize"]["n_tensors"].as_u64() {
            assert_eq!(n_tensors, header.tensors.len() as u64, "{}", file["file"]);
        }
        Ok(header.missing_bytes(bytes.len() as u64))
    });
    assert!(said["ok"] >= 11, "{said:?}");
}

#[track_caller]
fn check(file: &str, architecture: &str, n_keys: usize, n_tokens: u64) {
    let Some(path) = shared(&format!("real/{file}")) else { return };
    let bytes = std::fs::read(path).unwrap();
    let header = gguf::parse(&mut Slice(&bytes)).unwrap();
    assert_eq!((header.version, header.tensors.len(), header.metadata.len()), (3, 0, n_keys));
    assert_eq!(header.get("general.architecture").and_then(Value::as_str), Some(architecture));
    assert_eq!(header.get("tokenizer.ggml.tokens"), Some(&Value::Array { len: n_tokens, items: vec![] }));
    assert_eq!(header.data_end, bytes.len() as u64);
    assert_eq!(header.warnings, Vec::<String>::new());
}

#[test]
fn real_vocabularies_are_counted() {
    // Counts as a Python script with nothing but `struct` read them.
    check("ggml-vocab-bert-bge.gguf", "bert", 20, 30_522);
    check("ggml-vocab-gemma-4.gguf", "gemma4", 42, 262_144);
    check("ggml-vocab-llama-bpe.gguf", "llama", 20, 128_256);
    check("ggml-vocab-llama-spm.gguf", "llama", 22, 32_000);
    check("ggml-vocab-phi-3.gguf", "phi3", 26, 32_064);
    check("ggml-vocab-qwen35.gguf", "qwen2", 20, 151_936);
}
