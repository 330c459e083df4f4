//! llama.cpp's own count of what settings take, by its `llama-fit-params` (`--fit-print on`), which loads no weights.
//! It counts logits for a whole batch, as a tool does, where a server counts one for each slot.

use super::{HOST, Program};
use crate::memory::sum;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
};

/// Programs that count, as they lie beside a server.
pub(super) const PROGRAMS: &[Program] = &[
    Program { name: "llama-fit-params", arguments: &[] },
    Program { name: "llama", arguments: &["fit-params"] },
];

/// Flags of a launch that say what takes memory, with a value.
const WITH_VALUE: &[&str] = &[
    "--model",
    "--ctx-size",
    "--device",
    "--gpu-layers",
    "--n-cpu-moe",
    "--split-mode",
    "--tensor-split",
    "--cache-type-k",
    "--cache-type-v",
    "--flash-attn",
    "--batch-size",
    "--ubatch-size",
    "--parallel",
];

const SWITCHES: &[&str] =
    &["--kv-unified", "--no-kv-unified", "--swa-full", "--no-kv-offload", "--no-op-offload"];

/// What a server loads or does besides, and is never counted.
const BESIDE: &[&str] = &["--mmproj", "--lora", "--embeddings", "--rerank"];

/// Bytes in one place, as they were counted: whole MiB, rounded down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    pub weights: u64,
    pub context: u64,
    pub compute: u64,
}

/// Turns the words of a launch into those that have them counted; None where this program cannot print a count. A flag
/// that it does not list is left out, and told.
pub(super) fn words(argv: &[OsString], flags: &BTreeSet<String>) -> Option<(Vec<OsString>, Vec<String>)> {
    if !flags.contains("--fit-print") {
        return None;
    }
    let (mut words, mut left_out) = (Vec::new(), Vec::new());
    let mut rest = argv.iter().skip(1);
    while let Some(word) = rest.next() {
        let Some(flag) = word.to_str() else { continue };
        let value = if WITH_VALUE.contains(&flag) {
            rest.next()
        } else if SWITCHES.contains(&flag) {
            None
        } else if BESIDE.contains(&flag) {
            left_out.push(flag.to_owned());
            continue;
        } else {
            continue;
        };
        if flags.contains(flag) {
            words.push(word.clone());
            words.extend(value.cloned());
        } else {
            left_out.push(flag.to_owned());
        }
    }
    words.extend(["--fit-print", "on"].map(OsString::from));
    Some((words, left_out))
}

impl Counted {
    pub fn total(&self) -> u64 {
        sum([self.weights, self.context, self.compute])
    }
}

/// Reads what it printed: `CUDA0 4403 512 304` a device and `Host 62 8 99`, in MiB: weights, context, compute. None where
/// it is anything else.
pub(super) fn counted(text: &str) -> Option<BTreeMap<String, Counted>> {
    let mut places = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace().rev();
        let mut bytes = || words.next()?.parse::<u64>().ok()?.checked_mul(1 << 20);
        let (compute, context, weights) = (bytes()?, bytes()?, bytes()?);
        let name: Vec<&str> = words.rev().collect();
        let name = if name == ["Host"] { HOST.to_owned() } else { name.join(" ") };
        places.insert(name, Counted { weights, context, compute });
    }
    places.contains_key(HOST).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_it_prints_is_read_by_place() {
        // Of the README of llama.cpp's tools/fit-params, with a line for main memory as common/fit.cpp prints it.
        let read = counted("CUDA0 61807 0 898 \nHost 62 8 99 \n").unwrap();
        let mib = |weights: u64, context: u64, compute: u64| Counted {
            weights: weights << 20,
            context: context << 20,
            compute: compute << 20,
        };
        assert_eq!(read["CUDA0"], mib(61807, 0, 898));
        assert_eq!(read[HOST], mib(62, 8, 99));
        for text in ["", "-c 8192 -ngl -1", "CUDA0 1 2 3", "Host 1 2", "Host 1 2 99999999999999999999"] {
            assert_eq!(counted(text), None, "{text}");
        }
    }

    #[test]
    fn only_what_takes_memory_and_is_known_is_passed_on() {
        let argv = [
            "/bin/llama-server",
            "--model",
            "/m/a b.gguf",
            "--ctx-size",
            "4096",
            "--device",
            "CUDA0",
            "--fit",
            "off",
            "--swa-full",
            "--n-cpu-moe",
            "3",
            "--port",
            "1",
            "--jinja",
        ];
        let argv = argv.map(OsString::from);
        let known = flags(&["--fit-print", "--model", "--ctx-size", "--device", "--swa-full"]);
        let (told, left_out) = words(&argv, &known).unwrap();
        let expected = [
            "--model",
            "/m/a b.gguf",
            "--ctx-size",
            "4096",
            "--device",
            "CUDA0",
            "--swa-full",
            "--fit-print",
            "on",
        ];
        assert_eq!(told, expected.map(OsString::from));
        assert_eq!(left_out, ["--n-cpu-moe"]);
        assert_eq!(words(&argv, &flags(&["--model"])), None);
    }

    #[test]
    fn what_is_counted_cannot_be_passed_on_besides() {
        for flag in [WITH_VALUE, SWITCHES].concat() {
            assert!(super::super::llama_cpp_extra::check(&[flag.to_owned()]).is_err(), "{flag}");
        }
    }
}
