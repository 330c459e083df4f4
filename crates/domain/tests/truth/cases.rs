//! One measured set of parameters, in the planner's words.

use domain::memory::{CacheType, FlashAttention, Settings, TensorSplit};
use serde_json::Value;

/// What llama.cpp allocates for one set of parameters.
pub(crate) struct Case {
    pub(crate) model: String,
    pub(crate) group: &'static str,
    pub(crate) settings: Settings,
    /// Weights, context, compute.
    pub(crate) devices: Vec<[u64; 3]>,
    pub(crate) host: [u64; 3],
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn cache_type(value: &Value) -> CacheType {
    *CacheType::ALL.iter().find(|kind| kind.name() == value.as_str().unwrap()).unwrap()
}

fn triple(value: &Value) -> [u64; 3] {
    ["model", "context", "compute"].map(|part| number(&value[part]))
}

/// None for a case that llama.cpp itself refuses.
pub(crate) fn case(row: &Value, trained: u64) -> Option<Case> {
    let params = &row["params"];
    if row["ok"] == false {
        return None;
    }
    let flag = |name: &str| params[name].as_bool().unwrap();
    let batch = number(&params["batch"]);
    let n_outputs = Some(number(&params["n_outputs_max"])).filter(|n| *n > 0 && !flag("embeddings"));
    let is_off = params["flash_attn"] == "off" || row["flash_attn_resolved"] == "off";
    let devices: Vec<_> = row["devices"].as_array().unwrap().iter().map(triple).collect();
    let layers = number(&row["n_layer_all"]);
    let gpu_layers = number(&params["ngl"]);
    // Cards of the same size: proportions are what is free of each.
    let tensor_split = TensorSplit::of_parts(&vec![1.0; devices.len()], gpu_layers.min(layers + 1));
    let settings = Settings {
        ctx: Some(number(&params["ctx"])).filter(|ctx| *ctx > 0).unwrap_or(trained),
        gpu_layers,
        tensor_split,
        n_cpu_moe: number(&params["n_cpu_moe"]),
        cache_type_k: cache_type(&params["ctk"]),
        cache_type_v: cache_type(&params["ctv"]),
        flash_attn: if is_off { FlashAttention::Off } else { FlashAttention::On },
        batch,
        ubatch: number(&params["ubatch"]),
        parallel: number(&params["n_seq_max"]),
        kv_unified: flag("kv_unified"),
        swa_full: flag("swa_full"),
        kv_offload: flag("kv_offload"),
        op_offload: flag("op_offload"),
        n_outputs: n_outputs.unwrap_or(batch),
    };
    Some(Case {
        model: super::models::key(row["model"].as_str().unwrap()),
        group: match devices.len() {
            0 => "no device",
            // The cache was made for flash attention, and is turned around for every batch; a plan says on or off.
            _ if is_off && params["flash_attn"] == "auto" => "off after all",
            1 => group(&settings, layers),
            _ => "several devices",
        },
        settings,
        devices,
        host: triple(&row["host"]),
    })
}

fn group(settings: &Settings, layers: u64) -> &'static str {
    let is_quantized = settings.cache_type_k.is_quantized() || settings.cache_type_v.is_quantized();
    match () {
        () if !settings.kv_offload || !settings.op_offload => "kv or ops not offloaded",
        () if settings.flash_attn == FlashAttention::Off => "no flash attention",
        () if settings.gpu_layers > layers && settings.n_cpu_moe == 0 && is_quantized => "full, quantized KV",
        () if settings.gpu_layers > layers && settings.n_cpu_moe == 0 => "full",
        () if settings.gpu_layers > layers => "experts in main memory",
        () => "partial",
    }
}
