//! llama.cpp's `llama-server` (and `llama serve`).
//! Two ways, never mixed: what was planned is pinned, and fit is off; where nothing could be planned, context and layers
//! are left to llama.cpp's own fit.

use super::{
    Allocated, ContextOf, Counted, Engine, Launch, Order, Program, Rates, Ready, Refusal, llama_cpp_able,
    llama_cpp_devices::FLASH_SWITCH, llama_cpp_extra, llama_cpp_fit, llama_cpp_log, llama_cpp_words::Words,
};
use crate::{
    Format, Kind, Model, Role, State,
    memory::{CacheType, FlashAttention, Settings, sum},
    plan::{Extras, Knobs, MARGIN, Planned},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
};

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
        if let (None, Some(reason)) = (model.format, &model.reason) {
            return refuse(format!("{name} cannot be run: {reason}"), None); // such as: it cannot be read
        }
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

    fn usual_flags(&self) -> &'static [&'static str] {
        USUAL
    }

    fn check_extra(&self, extra: &[String]) -> Result<(), Refusal> {
        llama_cpp_extra::check(extra)
    }

    fn able(&self, knobs: Knobs, flags: &BTreeSet<String>) -> Result<Knobs, Refusal> {
        llama_cpp_able::able(knobs, flags)
    }

    fn extras(
        &self,
        model: &Model,
        location: &crate::Location,
        program: Option<(&str, &BTreeSet<String>)>,
    ) -> Extras {
        let is_projector = |file: &&crate::File| file.role == Role::Companion;
        Extras {
            projector: location.files.iter().find(is_projector).map_or(0, |file| file.size),
            adapters: sum(adapters(location).map(|file| file.size)),
            embeds: matches!(model.kind, Some(Kind::Embedding | Kind::Reranker)),
            build: program.map(llama_cpp_able::build).unwrap_or_default(),
        }
    }

    fn context_of(&self) -> ContextOf {
        ContextOf::AllSlots
    }

    fn render(&self, order: &Order<'_>) -> Launch {
        let mut words = Words::new(order);
        if let Some(weights) = path_of(order, Role::Weights) {
            words.put("--model", weights);
        }
        if let Some(projector) = path_of(order, Role::Companion) {
            words.put("--mmproj", projector);
        }
        let adapters: Vec<&str> = adapters(order.location).map(|file| file.path.text()).collect();
        if !adapters.is_empty() {
            words.put("--lora", adapters.join(","));
        }
        match order.planned {
            Some(planned) => {
                words.put("--ctx-size", self.context_of().number(&planned.settings).to_string());
                pin(&mut words, planned);
            }
            None => delegate(&mut words, order.knobs),
        }
        match order.model.kind {
            Some(Kind::Embedding) => words.switch("--embeddings"),
            Some(Kind::Reranker) => words.switch("--rerank"),
            _ => {}
        }
        words.put("--host", HOST);
        words.put("--port", order.port.to_string());
        // Else any web page that the user opens may talk to it. Older programs do not have it and need no word.
        words.put_if_known("--cors-origins", "localhost");
        // The lines that say what was allocated where.
        words.put_if_known("--log-verbosity", "4");
        let mut env = order.environment.clone();
        let devices = order.planned.map_or(&[][..], |planned| &planned.devices);
        if devices.iter().any(|device| device.backend == "CUDA") {
            // Devices are numbered as they were when they were listed.
            env.entry(CUDA_ORDER.0.into()).or_insert_with(|| CUDA_ORDER.1.into());
        }
        let Words { mut argv, explain, .. } = words;
        argv.extend(order.extra.iter().map(OsString::from));
        Launch { argv, env, url: format!("http://{HOST}:{}", order.port), explain }
    }

    fn allocated(&self, lines: &[String]) -> BTreeMap<String, Allocated> {
        llama_cpp_log::allocated(lines.iter().map(String::as_str))
    }

    fn counters(&self) -> &'static [Program] {
        llama_cpp_fit::PROGRAMS
    }

    fn count(&self, argv: &[OsString], flags: &BTreeSet<String>) -> Option<(Vec<OsString>, Vec<String>)> {
        llama_cpp_fit::words(argv, flags)
    }

    fn counted(&self, text: &str) -> Option<BTreeMap<String, Counted>> {
        llama_cpp_fit::counted(text)
    }

    fn rates(&self, lines: &[String]) -> Option<Rates> {
        llama_cpp_log::rates(lines.iter().map(String::as_str))
    }

    fn ready(&self) -> Ready {
        Ready { health: "/health", context: ("/props", "/default_generation_settings/n_ctx") }
    }
}

/// Of llama-server 0.7.0.
pub(super) const USUAL: &[&str] = &[
    "--model",
    "--mmproj",
    "--lora",
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
    "--kv-unified",
    "--no-kv-unified",
    "--swa-full",
    "--no-kv-offload",
    "--no-op-offload",
    "--fit",
    "--fit-target",
    "--cache-ram",
    "--ctx-checkpoints",
    "--embeddings",
    "--rerank",
    "--host",
    "--port",
    "--cors-origins",
    "--log-verbosity",
];

/// CUDA counts the fastest card first unless told; NVML, and so everybody else, goes by address.
pub const CUDA_ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");

const HOST: &str = "127.0.0.1";

/// Nothing of what was planned is left to a default.
fn pin(words: &mut Words<'_>, planned: &Planned) {
    let Settings {
        n_cpu_moe,
        cache_type_k,
        cache_type_v,
        flash_attn,
        batch,
        ubatch,
        parallel,
        kv_unified,
        swa_full,
        kv_offload,
        op_offload,
        ..
    } = planned.settings;
    place(words, planned);
    if n_cpu_moe > 0 {
        words.put("--n-cpu-moe", n_cpu_moe.to_string());
    }
    if (cache_type_k, cache_type_v) != (CacheType::F16, CacheType::F16) {
        words.put("--cache-type-k", cache_type_k.name());
        words.put("--cache-type-v", cache_type_v.name());
    }
    match flash_attn {
        FlashAttention::On if words.flags.contains(FLASH_SWITCH) => words.switch("--flash-attn"),
        FlashAttention::Off if words.flags.contains(FLASH_SWITCH) => {}
        FlashAttention::On => words.put("--flash-attn", "on"),
        FlashAttention::Off => words.put("--flash-attn", "off"),
    }
    words.put("--batch-size", batch.to_string());
    words.put("--ubatch-size", ubatch.to_string());
    words.put("--parallel", parallel.to_string());
    if parallel > 1 {
        words.switch_if_known(if kv_unified { "--kv-unified" } else { "--no-kv-unified" });
    }
    let switches =
        [("--swa-full", swa_full), ("--no-kv-offload", !kv_offload), ("--no-op-offload", !op_offload)];
    for (switch, _) in switches.into_iter().filter(|(_, is_on)| *is_on) {
        words.switch(switch);
    }
    words.put_if_known("--fit", "off");
    words.put_if_known("--cache-ram", (planned.host.cache_ram >> 20).to_string());
    if let Some(checkpoints) = planned.ctx_checkpoints {
        words.put_if_known("--ctx-checkpoints", checkpoints.to_string());
    }
}

/// Which devices, and what each gets of the layers.
fn place(words: &mut Words<'_>, planned: &Planned) {
    if planned.devices.is_empty() {
        if planned.avoids_devices {
            words.put("--device", "none");
        }
        return;
    }
    let ids: Vec<&str> = planned.devices.iter().map(|device| device.id.as_str()).collect();
    words.put("--device", ids.join(","));
    words.put("--gpu-layers", planned.settings.gpu_layers.to_string());
    if !planned.tensor_split.is_empty() {
        words.put_if_known("--split-mode", "layer"); // its default
        words.put("--tensor-split", joined(&planned.tensor_split));
    }
}

/// What the user fixed goes out as it is, as `able` left it; of the rest only how much stays free is said.
fn delegate(words: &mut Words<'_>, knobs: &Knobs) {
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    for (flag, value) in [
        ("--ctx-size", number(knobs.total_ctx())),
        ("--gpu-layers", knobs.gpu_layers.clone()),
        ("--n-cpu-moe", number(knobs.n_cpu_moe)),
        ("--cache-type-k", knobs.cache_type_k.clone()),
        ("--cache-type-v", knobs.cache_type_v.clone()),
        ("--flash-attn", knobs.flash_attn.clone()),
        ("--batch-size", number(knobs.batch)),
        ("--ubatch-size", number(knobs.ubatch)),
        ("--device", knobs.device.as_ref().map(|ids| ids.join(","))),
        ("--tensor-split", knobs.tensor_split.as_deref().map(joined)),
        ("--parallel", Some(knobs.slots().to_string())),
    ] {
        if let Some(value) = value {
            words.put_if_known(flag, value);
        }
    }
    for (switch, is_on) in [
        ("--kv-unified", knobs.kv_unified == Some(true)),
        ("--no-kv-unified", knobs.kv_unified == Some(false)),
        ("--swa-full", knobs.swa_full == Some(true)),
        ("--no-kv-offload", knobs.kv_offload == Some(false)),
        ("--no-op-offload", knobs.op_offload == Some(false)),
    ] {
        if is_on {
            words.switch_if_known(switch);
        }
    }
    for (what, is_given) in [
        ("the goal", knobs.goal.is_some()),
        ("--allow-kv-quant", knobs.allow_kv_quant == Some(true)),
        ("--n-outputs", knobs.n_outputs.is_some()),
    ] {
        words.explain.extend(is_given.then(|| format!("{what} is left out: only a plan goes by it")));
    }
    let is_there = |flag: &&str| words.argv.iter().any(|word| word == flag);
    for flag in ["--device", "--tensor-split"].into_iter().filter(is_there) {
        words.explain.push(format!("{flag} is passed on as it is: only a plan compares it with the devices"));
    }
    words.put_if_known("--fit-target", (knobs.margin.unwrap_or(MARGIN) >> 20).to_string());
}

fn joined(parts: &[f64]) -> String {
    parts.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
}

/// What belongs to the model itself, as Ollama stores it. Commas divide them on the command line.
fn adapters(location: &crate::Location) -> impl Iterator<Item = &crate::File> {
    let is_one = |file: &&crate::File| file.role == Role::Adapter && file.path.to_path().to_str().is_some();
    location.files.iter().filter(is_one).filter(|file| !file.path.text().contains(','))
}

/// The first file of a role: the first shard names the others itself.
fn path_of(order: &Order<'_>, role: Role) -> Option<PathBuf> {
    order.location.files.iter().find(|file| file.role == role).map(|file| file.path.to_path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Goal;

    #[track_caller]
    fn written(write: impl FnOnce(&mut Words<'_>), flags: &[&str]) -> (String, Vec<String>) {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut words = Words { argv: Vec::new(), flags: &flags, explain: Vec::new() };
        write(&mut words);
        let argv: Vec<String> = words.argv.into_iter().map(|word| word.into_string().unwrap()).collect();
        (argv.join(" "), words.explain)
    }

    #[test]
    fn without_a_plan_nothing_that_was_fixed_is_lost() {
        let knobs = Knobs {
            kv_unified: Some(true),
            swa_full: Some(true),
            kv_offload: Some(false),
            op_offload: Some(false),
            n_outputs: Some(4),
            goal: Some(Goal::MaxCtx),
            allow_kv_quant: Some(true),
            tensor_split: Some(vec![3.0, 1.5]),
            ..Knobs::default()
        };
        let (argv, explain) = written(|words| delegate(words, &knobs), USUAL);
        assert_eq!(
            argv,
            "--tensor-split 3,1.5 --parallel 1 --kv-unified --swa-full --no-kv-offload --no-op-offload \
             --fit-target 1024"
        );
        assert_eq!(
            explain,
            [
                "the goal is left out: only a plan goes by it",
                "--allow-kv-quant is left out: only a plan goes by it",
                "--n-outputs is left out: only a plan goes by it",
                "--tensor-split is passed on as it is: only a plan compares it with the devices",
            ]
        );
    }
}
