//! From what went wrong to words, a hint, and an exit code.

use crate::{
    environment::Environment,
    style::Style,
    text::{clean, width},
};
use api::{ApiError, Candidate, client::ClientError};
use domain::{ByteSize, Safety};
use std::{
    fmt,
    io::{self, Write},
};

pub(crate) const DONE: u8 = 0;
pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const UNREACHABLE: u8 = 3;
pub(crate) const UNSAFE: u8 = 4;

/// What can go wrong besides the daemon's refusals.
#[derive(Debug)]
pub(crate) enum Failure {
    /// `lines` are the daemon's last words.
    Unreachable {
        why: String,
        lines: Vec<String>,
        hint: String,
    },
    Unsafe {
        why: String,
    },
    /// What was typed is wrong, whatever the model.
    Usage {
        why: String,
        hint: Option<String>,
    },
    /// Files are not what they should be, or could not be read.
    Differs {
        why: String,
        lines: Vec<String>,
        hint: Option<String>,
    },
    /// An engine ended by itself.
    Ended {
        why: String,
        lines: Vec<String>,
        hint: Option<String>,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { why, .. }
            | Self::Unsafe { why }
            | Self::Usage { why, .. }
            | Self::Differs { why, .. }
            | Self::Ended { why, .. } => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}

/// Everything that is told of a failure.
struct Told {
    code: u8,
    what: String,
    lines: Vec<String>,
    hint: Option<String>,
}

/// Writes the reason, and the hint where there is one, and returns the exit code.
pub(crate) fn report(error: &anyhow::Error, environment: &Environment, err: &mut dyn Write) -> u8 {
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return DONE; // the reader has seen enough: `modelctl list | head`
    }
    let told = tell(error);
    let Style { bad, strong, off, .. } = Style::new(environment.colours_stderr());
    let mut text = format!("{bad}error:{off} {}\n", clean(&told.what));
    for line in &told.lines {
        text.push_str(&format!("  {}\n", clean(line)));
    }
    if let Some(hint) = &told.hint {
        text.push_str(&format!("{strong}hint:{off} {}\n", clean(hint)));
    }
    // The exit code tells it where stderr is closed.
    drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
    told.code
}

fn tell(error: &anyhow::Error) -> Told {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return tell_failure(failure);
    }
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return tell_client(error);
    }
    Told { code: FAILED, what: format!("{error:#}"), lines: Vec::new(), hint: None }
}

fn tell_failure(failure: &Failure) -> Told {
    let (code, lines, hint) = match failure {
        Failure::Unreachable { lines, hint, .. } => (UNREACHABLE, lines.clone(), Some(hint.clone())),
        Failure::Unsafe { .. } => (UNSAFE, Vec::new(), Some(Safety::INSTEAD.to_owned())),
        Failure::Usage { hint, .. } => (USAGE, Vec::new(), hint.clone()),
        Failure::Differs { lines, hint, .. } | Failure::Ended { lines, hint, .. } => {
            (FAILED, lines.clone(), hint.clone())
        }
    };
    Told { code, what: failure.to_string(), lines, hint }
}

fn tell_client(error: &ClientError) -> Told {
    let (code, hint) = match error {
        ClientError::Refused(refusal) => return tell_refusal(refusal),
        ClientError::Closed | ClientError::Io(_) => {
            (UNREACHABLE, "see what modeld says: journalctl --user -u modeld, or its modeld.log")
        }
        ClientError::Garbled(_) => {
            (FAILED, "modeld and modelctl are of different versions: install both, restart modeld")
        }
    };
    Told { code, what: error.to_string(), lines: Vec::new(), hint: Some(hint.into()) }
}

fn tell_refusal(refusal: &ApiError) -> Told {
    let (lines, hint): (&[String], Option<String>) = match refusal {
        ApiError::NoSuchModel { similar, .. } => {
            (&[], Some(did_you_mean(similar, "modelctl list shows what there is")))
        }
        ApiError::AmbiguousModel { models, .. } if !models.is_empty() => {
            let hint = Some("type the id that stands in front".to_owned());
            return Told { code: FAILED, what: refusal.to_string(), lines: apart(models), hint };
        }
        ApiError::AmbiguousModel { candidates, .. } => {
            (candidates, Some("name one of them, or its id".into()))
        }
        ApiError::NoSuchEngine { name, .. } if let Some(instead) = instead_of(name) => {
            let what = format!("this version neither plans for {name} nor starts it");
            return Told { code: FAILED, what, lines: Vec::new(), hint: Some(instead.to_owned()) };
        }
        ApiError::NoSuchEngine { known, .. } => (&[], Some(format!("there are: {}", known.join(" ")))),
        ApiError::EngineMissing { engine, looked, .. } => (looked, Some(how_to_install(engine))),
        ApiError::Unsupported { hint, .. }
        | ApiError::Unsafe { hint, .. }
        | ApiError::Refused { hint, .. } => (&[], hint.clone()),
        ApiError::BadFilter { .. } => {
            (&[], Some("modelctl list --help shows how filters are written".into()))
        }
        ApiError::BadSort { .. } => (&[], Some("-KEY sorts the other way: --sort -size".into())),
        ApiError::RunFailed { last_lines, hint, .. } => (last_lines, hint.clone()),
        ApiError::NoSuchRun { runs, .. } if runs.is_empty() => {
            (&[], Some("nothing runs; modelctl ps shows what has ended lately".into()))
        }
        ApiError::NoSuchRun { runs, .. } => (&[], Some(format!("there are: {}", runs.join(" ")))),
        ApiError::Internal { .. } => (
            &[],
            Some(
                "this is a bug; modeld's log has more: journalctl --user -u modeld, or its modeld.log".into(),
            ),
        ),
        ApiError::MethodNotFound { .. } | ApiError::InterfaceNotFound { .. } => {
            (&[], Some("restart modeld: it is older than this modelctl".into()))
        }
        ApiError::InvalidParameter { .. } | ApiError::ExpectedMore {} => {
            (&[], Some("modeld and modelctl are of different versions: restart modeld".into()))
        }
    };
    let looked = matches!(refusal, ApiError::EngineMissing { looked, .. } if !looked.is_empty());
    let what = if looked { format!("{refusal}; looked in") } else { refusal.to_string() };
    let is_usage = matches!(refusal, ApiError::BadFilter { .. } | ApiError::BadSort { .. });
    let is_unsafe = matches!(refusal, ApiError::Unsafe { .. });
    let code = if is_unsafe {
        UNSAFE
    } else if is_usage {
        USAGE
    } else {
        FAILED
    };
    Told { code, what, lines: lines.to_vec(), hint }
}

/// What does for the models of an engine that is none of ours yet.
fn instead_of(engine: &str) -> Option<&'static str> {
    match engine {
        "ollama" | "lm-studio" | "jan" | "ramalama" | "koboldcpp" | "llama-swap" => Some(
            "its models are GGUF files, which llama.cpp runs where they lie: modelctl launch llama.cpp MODEL",
        ),
        "vllm" | "sglang" | "tgi" => Some(
            "it takes safetensors by the path that modelctl show MODEL has; a GGUF runs with llama.cpp: modelctl list \
             format=gguf",
        ),
        "comfyui" | "a1111" => {
            Some("its models are found, not planned: modelctl list kind=checkpoint,diffusion-model")
        }
        _ => None,
    }
}

/// A line for each model, with the id that means it.
fn apart(models: &[Candidate]) -> Vec<String> {
    let what = |model: &Candidate| {
        let format = model.format.map(|format| format.name().to_owned());
        let size = Some(ByteSize(model.size).to_string());
        let words = [Some(model.app.name().to_owned()), format, model.quant.clone(), size];
        words.into_iter().flatten().collect::<Vec<_>>().join(", ")
    };
    let widest = |of: &dyn Fn(&Candidate) -> usize| models.iter().map(of).max().unwrap_or_default();
    let name = |model: &Candidate| clean(&model.name).into_owned();
    let (names, whats) = (widest(&|model| width(&name(model))), widest(&|model| width(&what(model))));
    let line = |model: &Candidate| {
        let path = model.path.as_deref().unwrap_or_default();
        let line = format!("{}  {:names$}  {:whats$}  {path}", model.id, name(model), what(model));
        line.trim_end().to_owned()
    };
    models.iter().map(line).collect()
}

fn did_you_mean(similar: &[String], otherwise: &str) -> String {
    if similar.is_empty() {
        return otherwise.to_owned();
    }
    let quoted: Vec<_> = similar.iter().map(|name| format!("`{name}`")).collect();
    format!("did you mean {}?", quoted.join(" or "))
}

pub(crate) fn how_to_install(engine: &str) -> String {
    let what = match engine {
        "llama.cpp" => "llama.cpp (its llama-server)",
        other => other,
    };
    format!("install {what} or put it on PATH, or name one that is elsewhere: modelctl engines add PATH")
}
