//! What behind `--` is not passed on to llama.cpp.

use super::Refusal;

/// Why a flag is not passed on, and what to do instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The plan has a knob of the same meaning.
    Knob(&'static str),
    /// The plan counts on what it decided there.
    Plan,
    /// It is another model, or loads one besides.
    Model,
    /// Where the server listens, and how it is asked whether it is ready.
    Address,
}

use Owner::{Address, Knob, Model, Plan};

/// In all spellings of llama-server 0.7.0.
const OWNED: &[(&[&str], Owner)] = &[
    (&["-m", "--model"], Model),
    (&["-mu", "--model-url"], Model),
    (&["-hf", "-hfr", "--hf-repo", "-hff", "--hf-file"], Model),
    (&["-dr", "--docker-repo"], Model),
    (&["-mm", "--mmproj", "-mmu", "--mmproj-url"], Model),
    (&["-md", "--model-draft", "--spec-draft-model"], Model),
    (&["-hfd", "-hfrd", "--hf-repo-draft", "--spec-draft-hf"], Model),
    (&["--embd-gemma-default", "--gpt-oss-20b-default", "--gpt-oss-120b-default"], Model),
    (&["--vision-gemma-4b-default", "--vision-gemma-12b-default"], Model),
    (&["--fim-qwen-1.5b-default", "--fim-qwen-3b-default", "--fim-qwen-7b-default"], Model),
    (&["--fim-qwen-7b-spec", "--fim-qwen-14b-spec", "--fim-qwen-30b-default"], Model),
    (&["--port"], Knob("--port")),
    (&["--host", "--reuse-port", "--api-prefix", "--ssl-key-file", "--ssl-cert-file"], Address),
    (&["-fit", "--fit", "-fitc", "--fit-ctx"], Plan),
    (&["-fitt", "--fit-target"], Knob("--margin")),
    (&["-c", "--ctx-size", "--kv-unified-per-slot"], Knob("--ctx")),
    (&["-ngl", "--gpu-layers", "--n-gpu-layers"], Knob("--gpu-layers")),
    (&["-ncmoe", "--n-cpu-moe", "-cmoe", "--cpu-moe"], Knob("--n-cpu-moe")),
    (&["-ot", "--override-tensor", "-ncffn", "--n-cpu-ffn", "--moe-cache-mib"], Knob("--n-cpu-moe")),
    (&["-ctk", "--cache-type-k"], Knob("--cache-type-k")),
    (&["-ctv", "--cache-type-v"], Knob("--cache-type-v")),
    (&["-fa", "--flash-attn"], Knob("--flash-attn")),
    (&["-b", "--batch-size"], Knob("--batch")),
    (&["-ub", "--ubatch-size"], Knob("--ubatch")),
    (&["-np", "--parallel"], Knob("--parallel")),
    (&["-kvu", "--kv-unified"], Knob("--kv-unified")),
    (&["-no-kvu", "--no-kv-unified"], Knob("--no-kv-unified")),
    (&["--swa-full"], Knob("--swa-full")),
    (&["-kvo", "--kv-offload", "-nkvo", "--no-kv-offload"], Knob("--no-kv-offload")),
    (&["--op-offload", "--no-op-offload"], Knob("--no-op-offload")),
    (&["-dev", "--device", "-sm", "--split-mode", "-mg", "--main-gpu"], Knob("--device")),
    (&["-ts", "--tensor-split"], Knob("--tensor-split")),
    (&["-cram", "--cache-ram", "-ctxcp", "--ctx-checkpoints", "--swa-checkpoints"], Plan),
];

/// Says why one of these words cannot be passed on.
pub(super) fn check(extra: &[String]) -> Result<(), Refusal> {
    let owned = |word: &String| {
        let flag = super::secret::flag(word);
        let found = OWNED.iter().find(|(spellings, _)| spellings.contains(&flag.as_str()));
        found.map(|(_, owner)| (flag, *owner))
    };
    let Some((flag, owner)) = extra.iter().find_map(owned) else { return Ok(()) };
    let (why, hint) = match owner {
        Knob(knob) => ("the plan decides it", format!("give {knob} before the --, and the plan goes by it")),
        Plan => ("the plan decides it", "leave it out: other figures would not be those of the plan".into()),
        Model => ("it names another model", "give the model itself: modelctl launch ENGINE MODEL".to_owned()),
        Address => (
            "modelctl asks the server at an address of its own choice",
            "leave it out: it listens on loopback; a proxy in front of it can do the rest".to_owned(),
        ),
    };
    Err(Refusal { why: format!("{flag} cannot be passed on: {why}"), hint: Some(hint) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(word: &str) -> Refusal {
        check(&["--temp".into(), word.into(), "1".into()]).unwrap_err()
    }

    #[test]
    fn what_the_plan_decides_is_not_passed_on_in_any_spelling() {
        for word in ["-c", "--ctx-size", "--ctx_size", "--ctx_size=999"] {
            assert_eq!(
                refused(word).hint.unwrap(),
                "give --ctx before the --, and the plan goes by it",
                "{word}"
            );
        }
        for word in ["-cram", "--ctx_checkpoints", "-ot", "--split-mode", "-mg", "-ts", "-fit"] {
            assert!(refused(word).why.ends_with("the plan decides it"), "{word}");
        }
        for word in ["-hf", "--hf_repo", "-mm", "--mmproj-url", "-md", "--docker-repo", "--model"] {
            assert!(refused(word).why.ends_with("it names another model"), "{word}");
        }
        for word in ["--host", "--api-prefix", "--ssl_key_file"] {
            assert!(refused(word).hint.unwrap().contains("loopback"), "{word}");
        }
    }

    #[test]
    fn other_words_are_passed_on() {
        let extra = ["--temp", "0.5", "--api_key", "c", "-t", "4", "ctx-size", "--ctx-size-of-it"];
        assert_eq!(check(&extra.map(str::to_owned)), Ok(()));
    }
}
