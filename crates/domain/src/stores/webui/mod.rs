//! What AUTOMATIC1111's web UI and those made from it have in common: where a checkout is and what it is, the
//! directories that its settings name, and its cache of hashes. Nothing but models and settings is looked at.

use super::{
    Environment, Known, Step, Unit, Visit,
    ask::Ask,
    handle, hf_hub,
    image::{
        self, Style,
        places::{self, Extra},
    },
    stability_matrix,
};
use crate::App;
use serde_json::Value;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Where people put each of them.
const USUAL: &[(&str, App)] = &[
    ("stable-diffusion-webui", App::A1111),
    ("stable-diffusion-webui-forge", App::Forge),
    ("sdnext", App::SdNext),
    ("automatic", App::SdNext),
];

/// Options of the command line that name a directory, and what it stands for; plural ones may come often.
const OPTIONS: &[(&str, &str)] = &[
    ("--models-dir", "models"),
    ("--ckpt-dir", "models/Stable-diffusion"),
    ("--ckpt-dirs", "models/Stable-diffusion"),
    ("--vae-dir", "models/VAE"),
    ("--vae-dirs", "models/VAE"),
    ("--lora-dir", "models/Lora"),
    ("--lora-dirs", "models/Lora"),
    ("--lyco-dir", "models/LyCORIS"),
    ("--embeddings-dir", "embeddings"),
    ("--hypernetwork-dir", "models/hypernetworks"),
    ("--text-encoder-dir", "models/text_encoder"),
    ("--text-encoder-dirs", "models/text_encoder"),
    ("--controlnet-dir", "models/ControlNet"),
    ("--esrgan-models-path", "models/ESRGAN"),
    ("--realesrgan-models-path", "models/RealESRGAN"),
    ("--bsrgan-models-path", "models/BSRGAN"),
    ("--scunet-models-path", "models/ScuNET"),
    ("--swinir-models-path", "models/SwinIR"),
    ("--ldsr-models-path", "models/LDSR"),
    ("--dat-models-path", "models/DAT"),
    ("--gfpgan-models-path", "models/GFPGAN"),
    ("--codeformer-models-path", "models/Codeformer"),
];

/// Settings of SD.Next's `config.json` that do the same.
const SETTINGS: &[(&str, &str)] = &[
    ("models_dir", "models"),
    ("ckpt_dir", "models/Stable-diffusion"),
    ("diffusers_dir", "models/Diffusers"),
    ("hfcache_dir", "models/huggingface"),
    ("vae_dir", "models/VAE"),
    ("unet_dir", "models/UNET"),
    ("te_dir", "models/Text-encoder"),
    ("lora_dir", "models/Lora"),
    ("embeddings_dir", "models/embeddings"),
    ("control_dir", "models/control"),
    ("yolo_dir", "models/yolo"),
    ("onnx_dir", "models/ONNX"),
    ("esrgan_models_path", "models/ESRGAN"),
    ("bsrgan_models_path", "models/BSRGAN"),
    ("realesrgan_models_path", "models/RealESRGAN"),
    ("scunet_models_path", "models/ScuNET"),
    ("swinir_models_path", "models/SwinIR"),
    ("ldsr_models_path", "models/LDSR"),
    ("gfpgan_models_path", "models/GFPGAN"),
    ("codeformer_models_path", "models/Codeformer"),
];

/// The variable that they stand in.
const ARGUMENTS: &str = "COMMANDLINE_ARGS";

/// Where hashes are cached, below a checkout.
const CACHES: &[&str] = &["cache.json", "data/cache.json"];
/// Files keep their times in 100 ns and less; what Python wrote down of it is a float of seconds.
const ROUNDING_NS: f64 = 1000.0;

/// Returns the roots of an app: its checkouts, data directories, and single directories that settings name.
pub(super) fn roots(environment: &Environment, app: App) -> Vec<PathBuf> {
    let extras = extras(environment, app).into_iter().map(|extra| extra.path);
    super::distinct(checkouts_of(environment, app).into_iter().chain(extras))
}

pub(super) fn pointers(environment: &Environment, app: App) -> Vec<PathBuf> {
    let files = ["webui-user.sh", "config.json"];
    let files = files.iter().filter(|name| **name != "config.json" || app == App::SdNext);
    let checkouts = checkouts_of(environment, app);
    let own = files.flat_map(|name| checkouts.iter().map(move |checkout| checkout.join(name)));
    own.chain(stability_matrix::pointers(environment)).collect()
}

pub(super) fn place(environment: &Environment, app: App, root: &Path) -> PathBuf {
    let mut extras = extras(environment, app).into_iter();
    extras.find(|extra| extra.path == root).map(|extra| extra.place).unwrap_or_default()
}

/// Returns every checkout, whichever of the apps it is.
pub(super) fn checkouts(environment: &Environment) -> Vec<PathBuf> {
    let apps = [App::A1111, App::Forge, App::SdNext];
    apps.into_iter().flat_map(|app| checkouts_of(environment, app)).collect()
}

/// Only the two folders that hold models are looked into; all else is program and pictures.
pub(super) fn visit(dir: &Path) -> Visit {
    match dir.iter().next().and_then(OsStr::to_str) {
        None => Visit::Pass,
        Some("models" | "embeddings") => image::visit(dir),
        Some(_) => Visit::Skip,
    }
}

pub(super) fn step(app: App, unit: &Unit<'_>, known: &Known) -> Step {
    if hf_hub::is_repository(&unit.layout()) {
        return hf_hub::step(app, unit, known);
    }
    let style = Style { app, top: "models", has_extension: false };
    let mut ask = Ask::new(known);
    let mut found = image::found(&mut ask, style, unit);
    if unit.place.as_os_str().is_empty() && !found.is_empty() {
        let caches: Vec<(PathBuf, Value)> = CACHES
            .iter()
            .map(|cache| unit.root.join(cache))
            .filter_map(|cache| Some((cache.clone(), ask.json(&cache)?)))
            .collect();
        for found in &mut found {
            for (path, cache) in &caches {
                add_hash(&mut ask, unit, found, path, cache);
            }
        }
    }
    ask.step(found)
}

/// Takes a hash that the app made itself, where the file has not changed since. `hashes-addnet` are of tensors.
fn add_hash(ask: &mut Ask<'_>, unit: &Unit<'_>, found: &mut super::Found, path: &Path, cache: &Value) {
    let Some(file) = found.files.first() else { return };
    let Some(entry) = key(unit.root, &file.path).and_then(|key| cache.get("hashes")?.get(&key)) else {
        return;
    };
    let sha256 = entry.get("sha256").and_then(|sha256| handle::sha256(sha256.as_str()?));
    let (Some(sha256), Some(recorded)) = (sha256, entry.get("mtime").and_then(Value::as_f64)) else { return };
    let Some(stat) = ask.stat(&file.path) else { return };
    #[expect(clippy::cast_precision_loss, reason = "the float that it is compared with is no more exact")]
    let modified = stat.modified as f64;
    if recorded * 1e9 + ROUNDING_NS < modified {
        return;
    }
    found.depends.push(path.to_path_buf());
    match found.files.first_mut().map(|file| &mut file.sha256) {
        Some(known @ None) => *known = Some(sha256),
        Some(Some(known)) if *known != sha256 => {
            let evidence = found.source.iter_mut().map(|source| &mut source.evidence);
            let name = path.strip_prefix(unit.root).unwrap_or(path).display().to_string();
            evidence.for_each(|evidence| evidence.push(format!("{name} has another sha256")));
        }
        _ => {}
    }
}

/// Returns what a file is called in the cache: `checkpoint/sub/x.safetensors`, `lora/x`.
fn key(root: &Path, file: &Path) -> Option<String> {
    let below = file.strip_prefix(root).ok()?;
    let stem = below.file_stem()?.to_str()?;
    if let Ok(file) = below.strip_prefix("models/Stable-diffusion") {
        return Some(format!("checkpoint/{}", file.to_str()?));
    }
    let is_in = |dirs: &[&str]| dirs.iter().any(|dir| below.starts_with(dir));
    match () {
        () if is_in(&["models/Lora", "models/LyCORIS"]) => Some(format!("lora/{stem}")),
        () if is_in(&["embeddings"]) => Some(format!("textual_inversion/{stem}")),
        () => None,
    }
}

fn checkouts_of(environment: &Environment, app: App) -> Vec<PathBuf> {
    let is_of = |dir: &&PathBuf| app_of(environment, dir) == Some(app);
    let marked = environment.places.keys().filter(is_of).cloned();
    let usual = USUAL.iter().filter(|(_, usual)| *usual == app);
    let usual = usual.filter_map(|(name, _)| environment.in_home(name));
    let usual = usual.filter(|dir| app_of(environment, dir).is_none_or(|other| other == app));
    super::distinct(usual.chain(marked).chain(stability_matrix::packages(environment, app)))
}

/// Says which of the apps a folder of the home is.
fn app_of(environment: &Environment, dir: &Path) -> Option<App> {
    let entries = environment.places.get(dir)?;
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    // Most folders are none of these, and have nothing below that is worth a look.
    let has_below = |folder: &str, name: &str| has(folder) && environment.has_entry(&dir.join(folder), name);
    let is_home = environment.home.as_deref() == Some(dir);
    let starts = ["webui.sh", "webui.py", "launch.py", "webui-user.sh", "webui.bat"];
    let is_started = starts.into_iter().any(has);
    let is_layout = ["Stable-diffusion", "Diffusers"].into_iter().any(|name| has_below("models", name));
    let is_program = has("modules") || has("models");
    if is_home || !(is_started && is_program || is_layout) {
        return None;
    }
    let name = dir.file_name()?.to_str()?.to_ascii_lowercase();
    let is_next = has("installer.py") || has_below("models", "Diffusers") || has_below("data", "cache.json");
    let usual = USUAL.iter().find(|(usual, _)| *usual == name).map(|(_, app)| *app);
    Some(if has("modules_forge") || name.contains("forge") {
        App::Forge
    } else if is_next {
        App::SdNext
    } else {
        usual.unwrap_or(App::A1111)
    })
}

/// Returns the directories outside the checkouts that settings name.
fn extras(environment: &Environment, app: App) -> Vec<Extra> {
    let mut extras = Vec::new();
    for checkout in checkouts_of(environment, app) {
        let mut add = |text: &str, place: &str| {
            let path = places::expand(environment, &checkout, text);
            extras.extend(path.map(|path| Extra { path, place: place.into() }));
        };
        let script = environment.pointers.get(&checkout.join("webui-user.sh"));
        let words = script.map(|script| arguments(&String::from_utf8_lossy(script))).unwrap_or_default();
        let mut options = words.iter().peekable();
        while let Some(word) = options.next() {
            let (option, inline) = word.split_once('=').map_or((word.as_str(), None), |(o, v)| (o, Some(v)));
            let value = inline.or_else(|| options.peek().map(|value| value.as_str()));
            let known = OPTIONS.iter().chain(&[("--data-dir", "")]).find(|(name, _)| *name == option);
            if let (Some((_, place)), Some(value)) = (known, value) {
                add(value, place);
            }
        }
        let settings = environment.pointers.get(&checkout.join("config.json")).filter(|_| app == App::SdNext);
        let settings = settings.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        for (name, place) in SETTINGS {
            let value = settings.as_ref().and_then(|settings| settings.get(name)?.as_str());
            value.into_iter().filter(|value| !value.trim().is_empty()).for_each(|value| add(value, place));
        }
    }
    places::outside(environment, extras)
}

/// Returns the words of `COMMANDLINE_ARGS` in a shell script. What is assigned last counts, with what it adds to.
fn arguments(script: &str) -> Vec<String> {
    let script = script.replace("\\\n", " ");
    let lines = script.lines().map(|line| line.trim().trim_start_matches("export ").trim_start());
    let mut all: Vec<String> = Vec::new();
    for rest in lines.filter_map(|line| line.strip_prefix(ARGUMENTS)) {
        let (value, is_more) = match (rest.strip_prefix("+="), rest.strip_prefix('=')) {
            (Some(value), _) => (value, true),
            (None, Some(value)) => (value, false),
            (None, None) => continue,
        };
        let is_own = |word: &String| word.trim_matches(['$', '{', '}']) == ARGUMENTS;
        let (before, words): (Vec<_>, Vec<_>) = words(&unquoted(value)).into_iter().partition(is_own);
        if !is_more && before.is_empty() {
            all.clear();
        }
        all.extend(words);
    }
    all
}

/// Takes the outer quotes off a value.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote) {
            let end = if quote == '"' { closing(inner) } else { inner.find(quote) };
            let inner = end.and_then(|end| inner.get(..end)).unwrap_or(inner);
            return if quote == '"' { inner.replace("\\\"", "\"") } else { inner.to_owned() };
        }
    }
    value.to_owned()
}

/// Where a text in double quotes ends.
fn closing(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let ends = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        ends.then_some(at)
    })
}

/// Splits as a shell does: at spaces that are not quoted.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match letter {
            _ if quote == Some(letter) => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            _ if letter.is_whitespace() && quote.is_none() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests;
