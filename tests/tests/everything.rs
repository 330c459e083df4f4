//! A home with every app in it (`make_stores.py`), through the whole program, against its answer key.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tests::{House, house, skip};

const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/stores");

/// What the key says otherwise than a rule gives it, or cannot say: app, handle, field, why.
const OTHERWISE: &[(&str, &str, &str, &str)] = &[
    ("loose", "models/odd names", "id", "a description, not a handle"),
    (
        "huggingface",
        "acme-ai/TinyAcme-1.1B-Instruct-GGUF@1095154a:Q8_0",
        "id",
        "others end in the file's name",
    ),
    ("huggingface", "acme-ai/TinyAcme-1.1B-Instruct-GGUF@1095154a:Q8_0", "url", "others lead to the file"),
    ("huggingface", "acme-ai/tiny-moe-GGUF:TinyMoE-8x0.1B-Q6_K.gguf", "id", "others have the revision"),
    ("huggingface", "acme-ai/tiny-moe-GGUF:TinyMoE-8x0.1B-Q6_K.gguf", "url", "others lead to the file"),
    ("llama.cpp", "models-dir:tiny-lora-f32", "id", "llama.cpp names a folder's model by the folder"),
    ("llama.cpp", "models-dir:big-endian", "id", "llama.cpp names a folder's model by the folder"),
    ("llama.cpp", "models-dir:v2", "id", "llama.cpp names a folder's model by the folder"),
    ("gpt4all", "python:embed", "id", "others end in the file's name"),
    ("gpt4all", "python:embed", "quant", "the same file has it in LM Studio"),
    ("ramalama", "https://example.com/embed.gguf:latest", "quant", "the same file has it in LM Studio"),
    ("textgen", "truncated.gguf", "id", "others end in the file's name"),
    ("textgen", "truncated.gguf", "quant", "the header is whole and says so"),
    ("a1111", "ControlNet/control_tiny", "id", "the file is control_v11p_tiny"),
    ("comfyui", "unet/tiny-flux-Q8_0.gguf", "quant", "the header says so"),
];

/// What is not read yet, and is to be: an entry that comes right must be taken off here.
const NOT_YET: &[(&str, &str, &str, &str)] = &[];

/// What the program lists: each location with the model that it is of.
struct Answer {
    places: Vec<(Value, Value)>,
}

fn furnished() -> Option<(House, Value)> {
    let script = Path::new(SHARED).join("make_stores.py");
    if !script.exists() {
        return None;
    }
    let mut house = house!();
    let output = Command::new("python3").arg(script).arg(house.at("all")).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let key = serde_json::from_slice(&fs::read(house.at("all/expected.json")).unwrap()).unwrap();
    house.set("HOME", house.at("all/home/user"));
    house.set("MODELD_SYSROOT", house.at("all/sys"));
    Some((house, key))
}

impl Answer {
    fn of(house: &House) -> Self {
        let each = |model: Value| -> Vec<(Value, Value)> {
            model["locations"]
                .as_array()
                .unwrap()
                .iter()
                .map(|place| (place.clone(), model.clone()))
                .collect()
        };
        Self { places: house.list(&[]).into_iter().flat_map(each).collect() }
    }

    /// Returns the location that an entry of the key means: the app's own that has its first weight file.
    fn find(&self, top: &Path, entry: &Value) -> Option<&(Value, Value)> {
        let path = first_weights(entry).map(|path| top.join(path).to_string_lossy().into_owned());
        let is_it = |(place, _): &&(Value, Value)| {
            place["app"] == entry["app"]
                && match &path {
                    Some(path) => {
                        files(place).any(|file| file["role"] != "sidecar" && file["path"] == **path)
                    }
                    None => place["id"] == entry["id"],
                }
        };
        let mut candidates: Vec<_> = self.places.iter().filter(is_it).collect();
        if candidates.len() > 1 {
            candidates.retain(|(place, _)| place["id"] == entry["id"]);
        }
        candidates.into_iter().next()
    }
}

fn files(place: &Value) -> impl Iterator<Item = &Value> {
    place["files"].as_array().into_iter().flatten()
}

fn first_weights(entry: &Value) -> Option<&str> {
    files(entry).find(|file| file["role"] == "weights")?["path"].as_str()
}

/// Bytes of weights, companions and adapters, each once.
fn size(place: &Value) -> u64 {
    let counted =
        |file: &&Value| ["weights", "companion", "adapter"].contains(&file["role"].as_str().unwrap());
    files(place).filter(counted).map(|file| file["size"].as_u64().unwrap_or(0)).sum()
}

/// What differs between an entry of the key and what was found, in words, by field.
fn differences(top: &Path, entry: &Value, place: &Value, model: &Value) -> Vec<(&'static str, String)> {
    let unknown = |value: &Value| if value == "unknown" { Value::Null } else { value.clone() };
    let mut fields = vec![
        ("id", entry["id"].clone(), place["id"].clone()),
        ("format", unknown(&entry["format"]), model["format"].clone()),
        ("kind", unknown(&entry["kind"]), model["kind"].clone()),
        ("quant", unknown(&entry["quant"]), model["quant"].clone()),
        ("size", entry["size"].clone(), json!(size(place))),
        ("source", json!(entry["source"].is_object()), json!(place["source"].is_object())),
        ("revision", entry["revision"].clone(), place["revision"].clone()),
        ("is_partial", json!(entry["is_partial"] == true), place["is_partial"].clone()),
    ];
    for field in ["kind", "repo", "url"] {
        fields.push((field, entry["source"][field].clone(), place["source"][field].clone()));
    }
    let mut differ: Vec<(&'static str, String)> = fields
        .into_iter()
        .filter(|(_, expected, found)| expected != found)
        .map(|(field, expected, found)| (field, format!("{expected} expected, {found} found")))
        .collect();
    if let Some(license) = entry["license"].as_str()
        && model["license"] != license
        && place["license"] != license
    {
        differ.push((
            "license",
            format!("{license} expected, {} and {} found", place["license"], model["license"]),
        ));
    }
    if let Some(base) = entry["base_model"].as_str()
        && !model["base_models"].as_array().unwrap().iter().any(|found| found == base)
    {
        differ.push(("base_model", format!("{base} expected, {} found", model["base_models"])));
    }
    for file in files(entry) {
        let path = top.join(file["path"].as_str().unwrap());
        let path = path.to_string_lossy();
        match files(place).find(|found| found["path"] == *path) {
            None => differ.push(("files", format!("{path} is missing"))),
            Some(found) if found["role"] != file["role"] || found["link"] != file["link"] => {
                differ.push(("files", format!("{path}: {} {}", found["role"], found["link"])));
            }
            Some(_) => {}
        }
    }
    differ
}

/// Pairs of entries that share a duplicate group in the key must share one here, and no others.
fn groups_that_differ(top: &Path, answer: &Answer, key: &Value) -> Vec<String> {
    let mut by_theirs: BTreeMap<&str, Vec<(&Value, Value)>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for entry in key["models"].as_array().unwrap() {
        let Some((_, model)) = answer.find(top, entry) else { continue };
        match entry["duplicate_group"].as_str() {
            Some(group) => {
                by_theirs.entry(group).or_default().push((entry, model["duplicate_group"].clone()))
            }
            None if model["duplicate_group"].is_null() => {}
            None => wrong.push(format!("{} {}: no group expected", entry["app"], entry["id"])),
        }
    }
    for (group, members) in &by_theirs {
        let first = &members[0].1;
        for (entry, ours) in members {
            if ours.is_null() || ours != first {
                wrong.push(format!(
                    "{} {}: group {group:.8} expected, {ours} found",
                    entry["app"], entry["id"]
                ));
            }
        }
    }
    wrong
}

#[test]
fn a_home_with_every_app_in_it_lists_as_its_key_says() {
    let Some((mut house, key)) = furnished() else { skip!("the generator of stores is not here") };
    house.start();
    house.json(&["scan"]);
    let (top, answer) = (house.at("all"), Answer::of(&house));
    let mut wrong: Vec<String> = Vec::new();
    let mut met: Vec<(&str, &str, &str)> = Vec::new();
    for entry in key["models"].as_array().unwrap() {
        let (app, id) = (entry["app"].as_str().unwrap(), entry["id"].as_str().unwrap());
        let differ = match answer.find(&top, entry) {
            None => vec![("listed", "not listed".to_owned())],
            Some((place, model)) => differences(&top, entry, place, model),
        };
        for (field, words) in differ {
            met.push((app, id, field));
            let is_known = |(of, handle, known, _): &(&str, &str, &str, &str)| {
                (*of, *handle, *known) == (app, id, field)
            };
            if !OTHERWISE.iter().chain(NOT_YET).any(is_known) {
                wrong.push(format!("{app} {id}: {field}: {words}"));
            }
        }
    }
    for (app, id, field, _) in NOT_YET.iter().filter(|(app, id, field, _)| !met.contains(&(app, id, field))) {
        wrong.push(format!("{app} {id}: {field} is right now: take it off the list"));
    }
    wrong.extend(groups_that_differ(&top, &answer, &key));
    let ignored: Vec<PathBuf> = key["ignore"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["path_bytes_hex"].is_null())
        .map(|entry| top.join(entry["path"].as_str().unwrap()))
        .collect();
    for (place, model) in &answer.places {
        for file in files(place)
            .filter(|file| ["weights", "companion", "adapter"].contains(&file["role"].as_str().unwrap()))
        {
            let path = Path::new(file["path"].as_str().unwrap());
            if let Some(ignored) = ignored.iter().find(|ignored| path.starts_with(ignored)) {
                wrong.push(format!(
                    "{} in {}: listed, though {} is nothing",
                    model["name"],
                    place["app"],
                    ignored.display()
                ));
            }
        }
    }
    let more = answer.places.len().saturating_sub(key["models"].as_array().unwrap().len());
    eprintln!("{} places listed, {more} more than the key has", answer.places.len());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_never_to_be_read_is_nowhere() {
    let Some((mut house, key)) = furnished() else { skip!("the generator of stores is not here") };
    house.start();
    house.json(&["scan"]);
    let secret = key["keep_out_sentinel"].as_str().unwrap();
    let replies = [&["list", "--json"][..], &["roots", "--json"], &[]].map(|args| house.does(args));
    for text in replies.iter().chain([&house.log()]) {
        assert!(!text.contains(secret));
    }
    for model in house.list(&[]) {
        assert!(!house.does(&["show", model["id"].as_str().unwrap(), "--json"]).contains(secret));
    }
    house.end(rustix::process::Signal::TERM);
    for dir in [".local/state/modeld", ".local/share/modeld"] {
        let mut waiting = vec![house.at("all/home/user").join(dir)];
        while let Some(dir) = waiting.pop() {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                match entry.file_type().unwrap() {
                    kind if kind.is_dir() => waiting.push(entry.path()),
                    kind if kind.is_file() => {
                        let bytes = fs::read(entry.path()).unwrap();
                        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                        assert!(!found, "{} has it", entry.path().display());
                    }
                    _ => {}
                }
            }
        }
    }
}
