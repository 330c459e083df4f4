//! `__metadata__` of a safetensors file: modelspec and kohya's `ss_*`. What a training saw and where it lay is not kept.

use super::{gguf::MAX_DESCRIPTION, origin, short};
use crate::hashes::sha256;
use std::collections::BTreeMap;

/// Metadata that is worth keeping, besides `modelspec.*`. Captions and paths of a training stay where they are.
const KEPT: &[&str] = &[
    "format",
    "ss_base_model_version",
    "ss_network_module",
    "ss_network_dim",
    "ss_network_alpha",
    "ss_output_name",
    "ss_sd_model_name",
    "ss_sd_model_hash",
    "ss_new_sd_model_hash",
    "sshs_model_hash",
];
/// `modelspec.*` that is not: a picture.
const THUMBNAIL: &str = "modelspec.thumbnail";
pub(super) const MAX_VALUE: usize = 256;
const MAX_KEPT: usize = 64;
/// Trigger words and merged models that are kept.
const MAX_LIST: usize = 32;
/// SHA-256 of nothing, which some tools write.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// How modelspec's architectures and kohya's base versions begin, of which only letters and digits count.
const FAMILIES: &[(&str, &str)] = &[
    ("stablediffusionxlv1refiner", "sdxl-refiner"),
    ("stablediffusionxl", "sdxl"),
    ("stablediffusionv1", "sd15"),
    ("stablediffusionv2", "sd2"),
    ("stablediffusion3", "sd3"),
    ("sdxl", "sdxl"),
    ("sdv1", "sd15"),
    ("sd15", "sd15"),
    ("sdv2", "sd2"),
    ("sd3", "sd3"),
    ("flux1kontext", "flux-kontext"),
    ("flux1devkontext", "flux-kontext"),
    ("flux1dev", "flux-dev"),
    ("flux1schnell", "flux-schnell"),
    ("flux2", "flux2"),
    ("flux", "flux"),
    ("chroma", "chroma"),
    ("hunyuanvideo", "hunyuan-video"),
    ("wan", "wan"),
    ("qwenimage", "qwen-image"),
    ("lumina2", "lumina2"),
    ("zimage", "z-image"),
    ("ltxv", "ltxv"),
    ("auraflow", "auraflow"),
    ("hidream", "hidream"),
];

/// The metadata, in file order.
pub(super) struct Claims<'a>(pub(super) &'a [(String, String)]);

impl<'a> Claims<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        let value = self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.trim());
        value.filter(|value| !value.is_empty())
    }

    pub(super) fn name(&self) -> Option<String> {
        short(self.get("modelspec.title")?, MAX_VALUE)
    }

    /// Returns what comes before the slash of `stable-diffusion-xl-v1-base/lora`; behind it is the kind.
    pub(super) fn architecture(&self) -> Option<String> {
        short(self.get("modelspec.architecture")?.split('/').next()?, 64)
    }

    /// Returns the family that it is said to be of, or to have been trained on.
    pub(super) fn family(&self) -> Option<&'static str> {
        let family = |key: &str| {
            let text: String = self.get(key)?.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
            let text = text.to_ascii_lowercase();
            FAMILIES.iter().find(|(start, _)| text.starts_with(start)).map(|(_, family)| *family)
        };
        family("modelspec.architecture").or_else(|| family("ss_base_model_version"))
    }

    pub(super) fn license(&self) -> Option<String> {
        origin::license_name(self.get("modelspec.license")?)
    }

    pub(super) fn author(&self) -> Option<String> {
        short(self.get("modelspec.author")?, MAX_VALUE)
    }

    pub(super) fn description(&self) -> Option<String> {
        short(self.get("modelspec.description")?, MAX_DESCRIPTION)
    }

    pub(super) fn trigger_words(&self) -> Vec<String> {
        list(self.get("modelspec.trigger_phrase"))
    }

    /// Returns the model that it was trained on.
    pub(super) fn base_models(&self) -> Vec<String> {
        list(self.get("ss_sd_model_name").map(file_name))
    }

    /// Returns the models that it was merged from, as they are called there.
    pub(super) fn merged_from(&self) -> Vec<String> {
        list(self.get("modelspec.merged_from"))
    }

    /// Returns a network's alpha; kohya writes `None` where none was given.
    pub(super) fn alpha(&self) -> Option<f64> {
        self.get("ss_network_alpha")?.parse::<f64>().ok().filter(|alpha| alpha.is_finite())
    }

    /// Returns the SHA-256 of the tensors as kohya or modelspec state it (modelspec with `0x`).
    pub(super) fn tensor_hash(&self) -> Option<String> {
        let hash = |key: &str| sha256(self.get(key)?.trim_start_matches("0x")).filter(|hash| hash != EMPTY);
        hash("sshs_model_hash").or_else(|| hash("modelspec.hash_sha256"))
    }

    pub(super) fn kept(&self) -> BTreeMap<String, String> {
        let is_kept = |(key, value): &&(String, String)| {
            let is_modelspec = key.starts_with("modelspec.") && key.as_str() != THUMBNAIL;
            value.len() <= MAX_VALUE && (is_modelspec || KEPT.contains(&key.as_str()))
        };
        let short_path = |(key, value): &(String, String)| {
            let value = if key == "ss_sd_model_name" { file_name(value) } else { value.as_str() };
            (key.clone(), value.to_owned())
        };
        self.0.iter().filter(is_kept).take(MAX_KEPT).map(short_path).collect()
    }
}

/// Returns the last part of a path on someone's disk; `org/name` stays as it is.
pub(super) fn file_name(text: &str) -> &str {
    let is_path = text.starts_with(['/', '.', '~']) || text.contains('\\') || text.contains(":/");
    if is_path { text.rsplit(['/', '\\']).next().unwrap_or_default() } else { text }
}

fn list(text: Option<&str>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in text.into_iter().flat_map(|text| text.split(',')).filter_map(|word| short(word, MAX_VALUE)) {
        if found.len() < MAX_LIST && !found.contains(&word) {
            found.push(word);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn training_captions_pictures_and_paths_stay_where_they_are() {
        let metadata = pairs(&[
            ("format", "pt"),
            ("modelspec.title", " Tiny XL "),
            ("modelspec.thumbnail", "data:image/jpeg;base64,AA"),
            ("modelspec.usage_hint", &"x".repeat(1000)),
            ("ss_sd_model_name", "/home/u/models/sd_xl_base_1.0.safetensors"),
            ("ss_tag_frequency", "{}"),
            ("ss_dataset_dirs", "/home/u"),
        ]);
        let kept: Vec<_> = Claims(&metadata).kept().into_iter().collect();
        assert_eq!(
            kept,
            pairs(&[
                ("format", "pt"),
                ("modelspec.title", " Tiny XL "),
                ("ss_sd_model_name", "sd_xl_base_1.0.safetensors"),
            ])
        );
        assert_eq!(Claims(&metadata).name().as_deref(), Some("Tiny XL"));
    }

    #[test]
    fn what_it_was_made_from_is_a_name_and_no_path() {
        for (value, expected) in [
            ("runwayml/stable-diffusion-v1-5", &["runwayml/stable-diffusion-v1-5"][..]),
            ("C:\\Users\\me\\v1-5.ckpt", &["v1-5.ckpt"]),
            ("D:/ai/v1-5.ckpt", &["v1-5.ckpt"]),
            ("/", &[]),
        ] {
            assert_eq!(Claims(&pairs(&[("ss_sd_model_name", value)])).base_models(), expected, "{value}");
        }
        let merged = pairs(&[("modelspec.merged_from", "SDXL 1.0 Base, Acme Mix,")]);
        assert_eq!(Claims(&merged).merged_from(), ["SDXL 1.0 Base", "Acme Mix"]);
    }

    #[test]
    fn a_hash_of_the_tensors_is_64_digits_and_not_of_nothing() {
        let hash = "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b";
        let stated = |key: &str, value: &str| Claims(&pairs(&[(key, value)])).tensor_hash();
        assert_eq!(stated("sshs_model_hash", hash).as_deref(), Some(hash));
        let upper = format!("0x{}", hash.to_uppercase());
        assert_eq!(stated("modelspec.hash_sha256", &upper).as_deref(), Some(hash));
        for wrong in [EMPTY, "31e35c80fc48", "0x", &"g".repeat(64)] {
            assert_eq!(stated("sshs_model_hash", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_alpha_is_a_number() {
        for (text, expected) in [("16", Some(16.0)), ("2.0", Some(2.0)), ("None", None), ("inf", None)] {
            assert_eq!(Claims(&pairs(&[("ss_network_alpha", text)])).alpha(), expected);
        }
    }

    #[test]
    fn families_are_stated_in_many_spellings() {
        for (key, text, expected) in [
            ("modelspec.architecture", "stable-diffusion-xl-v1-base/lora", Some("sdxl")),
            ("modelspec.architecture", "stable-diffusion-v2-768-v", Some("sd2")),
            ("modelspec.architecture", "flux-1-dev", Some("flux-dev")),
            ("ss_base_model_version", "sdxl_base_v1-0", Some("sdxl")),
            ("ss_base_model_version", "sd_v1", Some("sd15")),
            ("ss_base_model_version", "sd_1.5", Some("sd15")),
            ("ss_base_model_version", "flux1", Some("flux")),
            ("ss_base_model_version", "acme", None),
        ] {
            assert_eq!(Claims(&pairs(&[(key, text)])).family(), expected, "{text}");
        }
    }
}
