//! What downloaders wrote down of a model from CivitAI: Civitai Helper's `.civitai.info`, Stability Matrix's
//! `.cm-info.json`, Lora Manager's `.metadata.json`. Read once and kept in short: they can be long, and many.

use super::kinds;
use crate::{Kind, SourceKind, stores::handle, stores::web::Address};
use serde_json::Value;

/// Trigger words and files beyond these say nothing more.
const MOST: usize = 32;

/// What a sidecar records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    pub source: Option<SourceKind>,
    /// CivitAI's id of the model, digits.
    pub model: Option<String>,
    /// CivitAI's id of the version, digits.
    pub version: Option<String>,
    pub url: Option<String>,
    pub kind: Option<Kind>,
    /// The family that it is for, as CivitAI writes it: `SDXL 1.0`.
    pub family: Option<String>,
    pub words: Vec<String>,
    /// What CivitAI's licence flags forbid or ask for.
    pub terms: Vec<String>,
    pub hashes: Vec<Hash>,
}

/// The SHA-256 of a file of the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash {
    /// None where it is that of the file beside the sidecar.
    pub file: Option<String>,
    /// KiB, rounded down.
    pub size: Option<u64>,
    pub sha256: String,
}

pub(super) const HELPER: &str = ".civitai.info";
pub(super) const MATRIX: &str = ".cm-info.json";
pub(super) const MANAGER: &str = ".metadata.json";

/// Reads a sidecar by the form that its name stands for. None where it says nothing.
pub fn record(name: &str, bytes: &[u8]) -> Option<Record> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let mut record = match name {
        _ if name.ends_with(HELPER) => of_version(&value),
        _ if name.ends_with(MATRIX) => of_matrix(&value),
        _ if name.ends_with(MANAGER) => of_manager(&value),
        _ => return None,
    };
    if record.source.is_none() || record.source == Some(SourceKind::Civitai) {
        record.url = page(record.model.as_deref(), record.version.as_deref());
        record.source = record.url.is_some().then_some(SourceKind::Civitai);
    }
    (record != Record::default()).then_some(record)
}

/// Returns the address of a version's page, or of its download where the model is not known.
pub(super) fn page(model: Option<&str>, version: Option<&str>) -> Option<String> {
    match (model, version) {
        (Some(model), Some(version)) => {
            Some(format!("https://civitai.com/models/{model}?modelVersionId={version}"))
        }
        (Some(model), None) => Some(format!("https://civitai.com/models/{model}")),
        (None, Some(version)) => Some(format!("https://civitai.com/api/download/models/{version}")),
        (None, None) => None,
    }
}

/// The JSON of a model version as CivitAI's API gives it.
fn of_version(version: &Value) -> Record {
    let files = version.get("files").and_then(Value::as_array).into_iter().flatten().take(MOST);
    let model = version.get("model");
    Record {
        model: id(version, "modelId"),
        version: id(version, "id"),
        kind: model.and_then(|model| kinds::of_civitai(model.get("type")?.as_str()?)),
        family: text(version, "baseModel"),
        words: words(version, "trainedWords"),
        terms: model.map(terms).unwrap_or_default(),
        hashes: files.filter_map(hash).collect(),
        ..Record::default()
    }
}

fn of_matrix(info: &Value) -> Record {
    let sha256 = info.get("Hashes").and_then(|hashes| handle::sha256(hashes.get("SHA256")?.as_str()?));
    // Files of before there were other sources have none.
    let is_civitai = info.get("Source").is_none_or(|source| source.is_null() || source.as_u64() == Some(0));
    let page = info.get("SourceUrl").and_then(Value::as_str).and_then(Address::parse);
    let elsewhere = page.filter(|_| !is_civitai);
    Record {
        source: elsewhere.as_ref().map(|page| page.kind),
        url: elsewhere.map(|page| page.url),
        model: id(info, "ModelId").filter(|_| is_civitai),
        version: id(info, "VersionId").filter(|_| is_civitai),
        kind: info.get("ModelType").and_then(|kind| kinds::of_civitai(kind.as_str()?)),
        family: text(info, "BaseModel"),
        words: words(info, "TrainedWords"),
        terms: Vec::new(),
        hashes: sha256.map(|sha256| Hash { file: None, size: None, sha256 }).into_iter().collect(),
    }
}

fn of_manager(metadata: &Value) -> Record {
    let version = metadata.get("civitai").map(of_version).unwrap_or_default();
    let own = metadata.get("sha256").and_then(|sha256| handle::sha256(sha256.as_str()?));
    let own = own.map(|sha256| Hash { file: None, size: None, sha256 });
    let family = version.family.clone().or_else(|| text(metadata, "base_model"));
    Record { family, hashes: own.into_iter().chain(version.hashes).collect(), ..version }
}

/// Ids are numbers; Civitai Helper writes an empty text where it found none.
fn id(value: &Value, name: &str) -> Option<String> {
    let value = value.get(name)?;
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    (number > 0).then(|| number.to_string())
}

fn text(value: &Value, name: &str) -> Option<String> {
    value
        .get(name)?
        .as_str()
        .and_then(handle::bounded)
        .filter(|text| !matches!(text.as_str(), "Unknown" | "Other"))
}

fn words(value: &Value, name: &str) -> Vec<String> {
    let words = value.get(name).and_then(Value::as_array).into_iter().flatten();
    words.filter_map(|word| handle::bounded(word.as_str()?)).take(MOST).collect()
}

/// CivitAI's flags say what is allowed; what is not is what a user must know.
fn terms(model: &Value) -> Vec<String> {
    let denied = |name: &str| model.get(name).and_then(Value::as_bool) == Some(false);
    let is_none = |uses: &Value| match uses {
        Value::String(uses) => uses == "None" || uses == "{None}",
        Value::Array(uses) => uses.is_empty() || uses.iter().all(|used| used == "None"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    };
    let terms = [
        (denied("allowNoCredit"), "credit the creator"),
        (model.get("allowCommercialUse").is_some_and(is_none), "no commercial use"),
        (denied("allowDerivatives"), "no derivatives"),
        (denied("allowDifferentLicense"), "derivatives under the same terms"),
    ];
    terms.into_iter().filter(|(holds, _)| *holds).map(|(_, term)| term.to_owned()).collect()
}

fn hash(file: &Value) -> Option<Hash> {
    let sha256 = handle::sha256(file.get("hashes")?.get("SHA256")?.as_str()?)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float is cut to the range of u64, which is what is wanted"
    )]
    let size = file.get("sizeKB").and_then(Value::as_f64).map(|size| size as u64);
    Some(Hash { file: Some(text(file, "name").unwrap_or_default()), size, sha256 })
}

impl Record {
    /// Returns the SHA-256 of the file beside the sidecar, of this name and size (bytes); None where the version
    /// has several files and nothing says which one it is.
    pub(super) fn sha256(&self, name: &str, size: Option<u64>) -> Option<&str> {
        let only = |wanted: &dyn Fn(&Hash) -> bool| {
            let mut hashes = self.hashes.iter().filter(|hash| wanted(hash));
            hashes.next().filter(|_| hashes.next().is_none())
        };
        let own = self.hashes.iter().find(|hash| hash.file.is_none());
        let size = size.map(|size| size >> 10);
        let hash = own
            .or_else(|| only(&|hash| hash.file.as_deref() == Some(name)))
            .or_else(|| only(&|hash| hash.size.is_some() && hash.size == size))
            .or_else(|| self.hashes.first().filter(|_| self.hashes.len() == 1));
        hash.map(|hash| hash.sha256.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(name: &str, value: &Value) -> Option<Record> {
        record(name, value.to_string().as_bytes())
    }

    #[test]
    fn a_version_says_page_family_words_and_terms() {
        let upper = "AB".repeat(32);
        let version = json!({"id": 501, "modelId": "42", "baseModel": "SDXL 1.0", "trainedWords": ["a b", 7],
            "model": {"type": "LoCon", "allowNoCredit": false, "allowCommercialUse": ["None"],
                "allowDerivatives": true, "allowDifferentLicense": false},
            "files": [{"name": "x.safetensors", "sizeKB": 2048.9, "hashes": {"SHA256": upper, "AutoV2": "AB"}}]});
        let record = read("x.civitai.info", &version).unwrap();
        assert_eq!(record.url.as_deref(), Some("https://civitai.com/models/42?modelVersionId=501"));
        assert_eq!((record.kind, record.family.as_deref()), (Some(Kind::Lora), Some("SDXL 1.0")));
        assert_eq!(record.words, ["a b"]);
        assert_eq!(
            record.terms,
            ["credit the creator", "no commercial use", "derivatives under the same terms"]
        );
        assert_eq!(record.sha256("renamed.safetensors", None), Some("ab".repeat(32).as_str()));
    }

    #[test]
    fn which_file_of_a_version_is_meant_is_never_guessed() {
        let file = |name: &str, size: f64, digit: &str| json!({"name": name, "sizeKB": size, "hashes": {"SHA256": digit.repeat(64)}});
        let version = json!({"id": 1, "modelId": 2,
            "files": [file("full.safetensors", 6_000_000.5, "a"), file("pruned.safetensors", 2000.7, "b")]});
        let record = read("x.civitai.info", &version).unwrap();
        assert_eq!(record.sha256("full.safetensors", None), Some("a".repeat(64).as_str()));
        assert_eq!(record.sha256("mine.safetensors", Some(2000 * 1024 + 700)), Some("b".repeat(64).as_str()));
        assert_eq!(record.sha256("mine.safetensors", Some(5)), None);
    }

    #[test]
    fn sidecars_that_say_nothing_are_nothing() {
        for text in ["", "{", "[]", "{}", r#"{"id": "", "modelId": ""}"#, r#"{"id": -5}"#, "null"] {
            for name in ["x.civitai.info", "x.cm-info.json", "x.metadata.json"] {
                assert_eq!(record(name, text.as_bytes()), None, "{name} {text}");
            }
        }
        assert_eq!(record("x.json", br#"{"id": 1, "modelId": 2}"#), None);
    }

    #[test]
    fn other_downloaders_write_the_same_in_their_words() {
        let sha = "CD".repeat(32);
        let info =
            json!({"ModelId": 4, "VersionId": 5, "ModelType": "VAE", "Source": 0, "Hashes": {"SHA256": sha}});
        let record = read("x.cm-info.json", &info).unwrap();
        assert_eq!(record.url.as_deref(), Some("https://civitai.com/models/4?modelVersionId=5"));
        assert_eq!(record.sha256("x", None), Some("cd".repeat(32).as_str()));
        let other =
            json!({"ModelId": null, "Source": 1, "SourceUrl": "https://openmodeldb.info/models/4x?k=v"});
        let record = read("x.cm-info.json", &other).unwrap();
        assert_eq!(
            (record.source, record.url.as_deref()),
            (Some(SourceKind::Url), Some("https://openmodeldb.info/models/4x"))
        );
        let managed = json!({"sha256": sha, "base_model": "Flux.1 D", "civitai": {"id": 9, "modelId": 8}});
        let record = read("x.metadata.json", &managed).unwrap();
        assert_eq!((record.model.as_deref(), record.family.as_deref()), (Some("8"), Some("Flux.1 D")));
        let alone = read("x.metadata.json", &json!({"sha256": sha, "civitai": null})).unwrap();
        assert_eq!((alone.source, alone.url), (None, None));
    }
}
