//! llama.cpp's `llama-server` (and `llama serve`).
//! Context and layers are left to its own fit: neither `--ctx-size` nor `--gpu-layers` is given, as mixing them
//! takes fit's freedom away.

use super::{Engine, Launch, Order, Program, Ready, Refusal};
use crate::{ByteSize, Format, Kind, Model, Role, State};
use std::{ffi::OsString, path::PathBuf};

pub(super) struct LlamaCpp;

impl Engine for LlamaCpp {
    fn name(&self) -> &'static str {
        "llama.cpp"
    }

    fn programs(&self) -> &'static [Program] {
        &[Program { name: "llama-server", arguments: &[] }, Program { name: "llama", arguments: &["serve"] }]
    }

    fn accepts(&self, model: &Model) -> Result<(), Refusal> {
        let refuse = |why: String, hint: Option<&str>| Err(Refusal { why, hint: hint.map(str::to_owned) });
        let name = &model.name;
        if model.format != Some(Format::Gguf) {
            let format = model.format.map_or("of an unknown format", Format::name);
            return refuse(
                format!("llama.cpp runs GGUF files, and {name} is {format}"),
                Some(
                    "vLLM, SGLang or TGI take safetensors; or look for a GGUF of it: modelctl list format=gguf",
                ),
            );
        }
        if !model.state.is_usable() {
            let reason = model.reason.as_deref().unwrap_or("it cannot be used as it is");
            let hint = (model.state == State::Incomplete).then_some("finish the download, then try again");
            return refuse(format!("{name} is {}: {reason}", model.state), hint);
        }
        match model.kind {
            Some(Kind::Llm | Kind::Embedding | Kind::Reranker) | None => Ok(()),
            Some(kind) => refuse(
                format!("{name} is no language model but of kind {kind}"),
                Some("it is used together with one; see: modelctl list kind=llm format=gguf"),
            ),
        }
    }

    fn render(&self, order: &Order<'_>) -> Launch {
        let mut argv: Vec<OsString> = vec![order.program.clone().into()];
        argv.extend(order.program_arguments.iter().map(OsString::from));
        let mut explain = vec![
            "context and GPU layers are left to llama.cpp's own fit, which keeps 1024 MiB of each GPU free"
                .to_owned(),
        ];
        let mut emit = |flag: &str, value: OsString| {
            if order.flags.contains(flag) {
                argv.extend([flag.into(), value]);
            } else {
                explain.push(format!("{flag} is left out: this llama-server does not have it"));
            }
        };
        if let Some(weights) = path_of(order, Role::Weights) {
            emit("--model", weights.into());
        }
        if let Some(projector) = path_of(order, Role::Companion) {
            emit("--mmproj", projector.into());
        }
        emit("--host", HOST.into());
        emit("--port", order.port.to_string().into());
        emit("--parallel", "1".into());
        // Else any web page that the user opens may talk to it. Older programs do not have it and need no word.
        if order.flags.contains("--cors-origins") {
            emit("--cors-origins", "localhost".into());
        }
        argv.extend(order.extra.iter().map(OsString::from));
        explain.push(format!("the weights take {}", ByteSize(order.model.size)));
        Launch { argv, env: order.environment.clone(), url: format!("http://{HOST}:{}", order.port), explain }
    }

    fn ready(&self) -> Ready {
        Ready { health: "/health", context: ("/props", "/default_generation_settings/n_ctx") }
    }
}

const HOST: &str = "127.0.0.1";

/// The first file of a role: the first shard names the others itself.
fn path_of(order: &Order<'_>, role: Role) -> Option<PathBuf> {
    order.location.files.iter().find(|file| file.role == role).map(|file| file.path.to_path())
}
