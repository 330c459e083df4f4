//! What llama.cpp's own `--fit on` picked, and how a plan compares with it.

use domain::{
    memory::{FlashAttention, Shape},
    plan::{Knobs, Planned},
};
use serde_json::{Value, json};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// One question, and fit's answer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) model: String,
    pub(crate) devices: usize,
    /// Bytes on each.
    pub(crate) free: u64,
    slots: u64,
    ctx_requested: Option<u64>,
    n_outputs: u64,
    /// What it picked.
    ctx: u64,
    gpu_layers: u64,
    /// Layers of which something is on the processor.
    cut: BTreeSet<u64>,
    /// It keeps the margin of 1024 MiB itself.
    pub(crate) kept: bool,
}

const MARGIN: u64 = 1 << 30;
/// `--fit` counts with it where the number of outputs is left open.
const BATCH: u64 = 2048;

impl Peer {
    /// A line of fit.jsonl.
    pub(crate) fn read(row: &Value) -> Self {
        let number = |value: &Value| value.as_u64().unwrap();
        let free = number(&row["free_bytes_per_device"]);
        let picked = &row["picked"];
        let layer = |rule: &Value| -> Option<u64> {
            let rule = rule.as_str().unwrap();
            let number: String = rule.chars().skip(5).take_while(char::is_ascii_digit).collect();
            rule.ends_with("=CPU").then(|| number.parse().unwrap())
        };
        let mut used = row["used"]["devices"].as_array().unwrap().iter().map(|device| {
            ["model", "context", "compute"].iter().map(|part| number(&device[*part])).sum::<u64>()
        });
        Self {
            model: super::models::key(row["model"].as_str().unwrap()),
            devices: usize::try_from(number(&row["n_devices"])).unwrap(),
            free,
            slots: number(&row["n_seq_max"]),
            ctx_requested: Some(number(&row["ctx_requested"])).filter(|ctx| *ctx > 0),
            n_outputs: Some(number(&row["n_outputs_max"])).filter(|n| *n > 0).unwrap_or(BATCH),
            ctx: number(&picked["ctx"]),
            gpu_layers: picked["ngl"].as_u64().unwrap_or(u64::MAX),
            cut: picked["override_tensor"].as_array().unwrap().iter().filter_map(layer).collect(),
            kept: used.all(|used| used + MARGIN <= free),
        }
    }

    /// A line of the stored sample.
    pub(crate) fn stored(row: &Value) -> Self {
        let number = |name: &str| row[name].as_u64().unwrap();
        Self {
            model: row["model"].as_str().unwrap().to_owned(),
            devices: usize::try_from(number("devices")).unwrap(),
            free: number("gib") << 30,
            slots: number("slots"),
            ctx_requested: row["ctx_requested"].as_u64(),
            n_outputs: number("n_outputs"),
            ctx: number("ctx"),
            gpu_layers: row["gpu_layers"].as_u64().unwrap_or(u64::MAX),
            cut: row["cut"].as_array().unwrap().iter().map(|layer| layer.as_u64().unwrap()).collect(),
            kept: row["kept"].as_bool().unwrap(),
        }
    }

    /// The same question to the planner.
    pub(crate) fn knobs(&self, ctx: Option<u64>) -> Knobs {
        Knobs {
            ctx: ctx.or(self.ctx_requested),
            parallel: Some(self.slots),
            kv_unified: Some(self.slots > 1),
            n_outputs: Some(self.n_outputs),
            batch: Some(BATCH),
            ubatch: Some(512),
            ..Knobs::default()
        }
    }

    /// It gave up all but the least context (`--fit-ctx`).
    pub(crate) fn has_fallen(&self, shape: &Shape) -> bool {
        self.ctx_requested.is_none() && self.ctx <= 4096 && shape.trained > 4096
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, devices, free, slots, ctx, gpu_layers, cut, .. } = self;
        let layers = if *gpu_layers == u64::MAX { "all".to_owned() } else { gpu_layers.to_string() };
        let gib = free >> 30;
        write!(
            f,
            "{model} {devices}x{gib} GiB, {slots} slots: {ctx} tokens, {layers} layers, {} cut",
            cut.len()
        )
    }
}

pub(crate) fn told(found: &Planned) -> String {
    let settings = &found.settings;
    format!("{} tokens, {} layers, {} cut", settings.ctx, settings.gpu_layers, settings.n_cpu_moe)
}

/// The plan beside fit: less where it has less of anything, greater where it has more of something.
pub(crate) fn compare(peer: &Peer, found: &Planned, shape: &Shape) -> Ordering {
    let settings = &found.settings;
    let whole = |gpu_layers: u64, is_cut: &dyn Fn(u64) -> bool| {
        let start = (shape.layers + 1).saturating_sub(gpu_layers);
        let blocks = (start..shape.layers).filter(|layer| !is_cut(*layer)).count() as u64;
        blocks + u64::from(gpu_layers > 0)
    };
    let ours = whole(settings.gpu_layers, &|layer| layer < settings.n_cpu_moe);
    let theirs = whole(peer.gpu_layers.min(found.layers), &|layer| peer.cut.contains(&layer));
    let (context, layers) = (settings.ctx.cmp(&peer.ctx), ours.cmp(&theirs));
    // What was asked for is rounded up to whole steps there.
    let context = if peer.ctx_requested.is_some() { Ordering::Equal } else { context };
    match (context, layers) {
        (Ordering::Less, _) | (_, Ordering::Less) => Ordering::Less,
        (Ordering::Equal, Ordering::Equal) => Ordering::Equal,
        _ => Ordering::Greater,
    }
}

/// Measured sets of parameters: bytes on each device.
#[derive(Debug, Default)]
pub(crate) struct Measured(BTreeMap<String, Vec<u64>>);

impl Measured {
    /// The lines of breakdown.jsonl.
    pub(crate) fn read(rows: impl Iterator<Item = Value>) -> Self {
        let devices = |row: &Value| -> Vec<u64> {
            let parts = ["model", "context", "compute"];
            let all = |device: &Value| parts.iter().map(|part| device[*part].as_u64().unwrap()).sum();
            row["devices"].as_array().unwrap().iter().map(all).collect()
        };
        let usual = rows.filter(|row| row["ok"] == true && row["params"]["embeddings"] == false);
        Self(usual.map(|row| (key(&row["model"], &row["params"]), devices(&row))).collect())
    }

    /// The figures for just this plan, if it was measured.
    pub(crate) fn find(&self, peer: &Peer, found: &Planned) -> Option<&Vec<u64>> {
        let settings = &found.settings;
        if settings.flash_attn != FlashAttention::On || found.devices.len() > 1 {
            return None;
        }
        let n_outputs = if peer.n_outputs == BATCH { 0 } else { peer.n_outputs };
        let params = json!({
            "ngl": settings.gpu_layers, "ctx": settings.ctx, "ctk": "f16", "ctv": "f16", "batch": BATCH, "ubatch": 512,
            "n_seq_max": peer.slots, "kv_unified": peer.slots > 1, "n_outputs_max": n_outputs,
            "flash_attn": "auto", "kv_offload": true, "op_offload": true, "swa_full": false,
            "n_cpu_moe": settings.n_cpu_moe, "n_devices": found.devices.len(), "embeddings": false,
        });
        let all = if settings.gpu_layers == found.layers { Some(json!(999)) } else { None };
        let with = |ngl: Value| {
            let mut params = params.clone();
            params["ngl"] = ngl;
            self.0.get(&key(&json!(peer.model), &params))
        };
        with(params["ngl"].clone()).or_else(|| with(all?))
    }
}

fn key(model: &Value, params: &Value) -> String {
    let order = [
        "ngl",
        "ctx",
        "ctk",
        "ctv",
        "batch",
        "ubatch",
        "n_seq_max",
        "kv_unified",
        "n_outputs_max",
        "flash_attn",
        "kv_offload",
        "op_offload",
        "swa_full",
        "n_cpu_moe",
        "n_devices",
    ];
    let parts: Vec<String> = order.iter().map(|name| params[*name].to_string()).collect();
    format!("{} {}", super::models::key(model.as_str().unwrap()), parts.join(" "))
}
