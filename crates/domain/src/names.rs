//! What a file name claims: split parts, quantisation, companions. Claims only; the bytes decide.

use std::path::{Path, PathBuf};

/// Extensions of the formats that are read.
const MODEL_EXTENSIONS: &[&str] = &[
    "gguf",
    "safetensors",
    "sft",
    "onnx",
    "tflite",
    "mlmodel",
    "engine",
    "plan",
    "trt",
    "pt",
    "pth",
    "ckpt",
    "th",
];
/// Extensions of checkpoints and of ggml's old files, which other files have more often.
const LOOSE_EXTENSIONS: &[&str] = &["bin", "pkl"];
const SPLIT_EXTENSIONS: &[&str] = &["gguf", "safetensors", "bin"];

/// Quantisations as the field writes them; longer names come before their beginnings.
const QUANTS: &[&str] = &[
    "MXFP4_MOE",
    "MXFP4",
    "NVFP4",
    "FP32",
    "FP16",
    "BF16",
    "F32",
    "F16",
    "FP8",
    "TQ1_0",
    "TQ2_0",
    "IQ1_S",
    "IQ1_M",
    "IQ2_XXS",
    "IQ2_XS",
    "IQ2_S",
    "IQ2_M",
    "IQ3_XXS",
    "IQ3_XS",
    "IQ3_S",
    "IQ3_M",
    "IQ4_NL",
    "IQ4_XS",
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q2_K_XL",
    "Q2_K_L",
    "Q2_K_S",
    "Q2_K",
    "Q3_K_XL",
    "Q3_K_L",
    "Q3_K_M",
    "Q3_K_S",
    "Q3_K",
    "Q4_K_XL",
    "Q4_K_L",
    "Q4_K_M",
    "Q4_K_S",
    "Q4_K",
    "Q5_K_XL",
    "Q5_K_L",
    "Q5_K_M",
    "Q5_K_S",
    "Q5_K",
    "Q6_K_XL",
    "Q6_K_L",
    "Q6_K",
    "Q8_K_XL",
];

/// Where a file stands in a split model, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitName {
    /// What comes before `-00001-of-00003.gguf`.
    pub stem: String,
    /// From 1.
    pub no: u32,
    pub count: u32,
}

/// Returns where `Model-00002-of-00003.gguf` stands.
pub fn split_of(file_name: &str) -> Option<SplitName> {
    let (base, extension) = file_name.rsplit_once('.')?;
    is_one_of(extension, SPLIT_EXTENSIONS).then(|| split_stem(base)).flatten()
}

/// Returns the quantisation that a name claims, as the field writes it: `Q4_K_M`, `UD-Q4_K_XL`, `MXFP4`.
pub fn quant_in(file_name: &str) -> Option<String> {
    let name = file_name.to_ascii_uppercase();
    let starts = name.char_indices().filter(|(at, _)| {
        !name.get(..*at).and_then(|before| before.chars().next_back()).is_some_and(char::is_alphanumeric)
    });
    // The last one counts: `Model-F16-Q4_K_M` was F16 once.
    let (at, quant) = starts.filter_map(|(at, _)| Some((at, quant_at(name.get(at..)?)?))).next_back()?;
    let is_dynamic = name.get(..at).is_some_and(|before| before.ends_with("UD-"));
    Some(if is_dynamic { format!("UD-{quant}") } else { quant.to_owned() })
}

/// Whether a name is that of a vision projector.
pub fn is_projector(file_name: &str) -> bool {
    file_name.to_ascii_lowercase().contains("mmproj")
}

/// Whether a name is that of an importance matrix: a by-product of quantising, no model.
pub fn is_imatrix(file_name: &str) -> bool {
    file_name.to_ascii_lowercase().contains("imatrix")
}

/// Whether a name is that of a draft model that belongs to another model.
pub fn is_draft(file_name: &str) -> bool {
    let name = file_name.to_ascii_lowercase();
    ["mtp-", "eagle3-", "dflash-", "dspark-"].iter().any(|start| name.starts_with(start))
}

/// Returns the path of what stands beside a file under its name and more: `model.gguf.aria2`, `index.db-wal`.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether a file should be looked into, by its extension.
pub fn looks_like_model(file_name: &str) -> bool {
    base(file_name, MODEL_EXTENSIONS).is_some()
}

/// Whether a file may be a model though its extension says little: the bytes decide.
pub fn may_be_model(file_name: &str) -> bool {
    looks_like_model(file_name) || base(file_name, LOOSE_EXTENSIONS).is_some()
}

/// Returns a name for people: without a model's extension and split suffix.
pub fn display_name(file_name: &str) -> String {
    let base =
        base(file_name, MODEL_EXTENSIONS).or_else(|| base(file_name, LOOSE_EXTENSIONS)).unwrap_or(file_name);
    split_stem(base).map_or_else(|| base.to_owned(), |split| split.stem)
}

/// Returns what stands before one of these extensions, unless that is nothing.
fn base<'name>(file_name: &'name str, extensions: &[&str]) -> Option<&'name str> {
    let (base, extension) = file_name.rsplit_once('.')?;
    (!base.is_empty() && is_one_of(extension, extensions)).then_some(base)
}

fn split_stem(base: &str) -> Option<SplitName> {
    let (rest, count) = base.rsplit_once("-of-")?;
    let (stem, no) = rest.rsplit_once('-')?;
    let number = |digits: &str| {
        let is_padded = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_padded.then(|| digits.parse::<u32>().ok()).flatten()
    };
    let (no, count) = (number(no)?, number(count)?);
    (!stem.is_empty() && (1..=count).contains(&no)).then(|| SplitName { stem: stem.to_owned(), no, count })
}

/// Returns the quantisation at the start of an upper-case text, if it ends there.
fn quant_at(text: &str) -> Option<&'static str> {
    let ends_there = |quant: &&&str| {
        text.strip_prefix(**quant).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    QUANTS.iter().find(ends_there).map(|quant| match *quant {
        "MXFP4_MOE" => "MXFP4",
        "FP16" => "F16",
        "FP32" => "F32",
        "FP8" => "fp8",
        quant => quant,
    })
}

fn is_one_of(extension: &str, known: &[&str]) -> bool {
    known.iter().any(|one| extension.eq_ignore_ascii_case(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_known_by_its_name() {
        let part = |stem: &str, no, count| Some(SplitName { stem: stem.to_owned(), no, count });
        for (name, expected) in [
            ("Qwen3-00002-of-00003.gguf", part("Qwen3", 2, 3)),
            ("model-00001-of-00002.safetensors", part("model", 1, 2)),
            ("pytorch_model-00001-of-00001.bin", part("pytorch_model", 1, 1)),
            ("a-of-b-00001-of-00002.GGUF", part("a-of-b", 1, 2)),
            ("x-00000-of-00002.gguf", None),
            ("x-00003-of-00002.gguf", None),
            ("x-1-of-2.gguf", None),
            ("x-000001-of-00002.gguf", None),
            ("-00001-of-00002.gguf", None),
            ("x-00001-of-00002.part", None),
            ("x-00001-of-00002.gguf.part", None),
            ("x-+0001-of-00002.gguf", None),
        ] {
            assert_eq!(split_of(name), expected, "{name}");
        }
    }

    #[test]
    fn quantisations_are_found_as_people_write_them() {
        for (name, expected) in [
            ("TinyAcme-1.1B-Instruct-v0.3-Q4_K_M.gguf", Some("Q4_K_M")),
            ("tiny-v2.q4_0.gguf", Some("Q4_0")),
            ("mistral-7b-instruct-v0.2.Q5_K_S.gguf", Some("Q5_K_S")),
            ("model_q8_0.gguf", Some("Q8_0")),
            ("Qwen3-30B-A3B-UD-Q4_K_XL.gguf", Some("UD-Q4_K_XL")),
            ("DeepSeek-R1-UD-IQ2_XXS-00001-of-00004.gguf", Some("UD-IQ2_XXS")),
            ("gpt-oss-20b-mxfp4.gguf", Some("MXFP4")),
            ("gpt-oss-20b-MXFP4_MOE.gguf", Some("MXFP4")),
            ("mmproj-model-f16.gguf", Some("F16")),
            ("Model-F16-Q6_K.gguf", Some("Q6_K")),
            ("sdxl.fp16.safetensors", Some("F16")),
            ("flux1-dev-fp8.safetensors", Some("fp8")),
            ("Llama-3.2-BF16.gguf", Some("BF16")),
            ("foo.i1-IQ3_M.gguf", Some("IQ3_M")),
            ("SQ8_0.gguf", None),
            ("Qwen3-8B.gguf", None),
            ("模型-Q4_K_M.gguf", Some("Q4_K_M")),
        ] {
            assert_eq!(quant_in(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn companions_and_names_are_told_apart() {
        assert!(
            is_projector("mmproj-F16.gguf")
                && is_projector("Qwen2-VL.MMPROJ-f16.gguf")
                && !is_projector("a.gguf")
        );
        assert!(is_imatrix("Qwen3.imatrix.gguf") && is_imatrix("imatrix.dat") && !is_imatrix("matrix.gguf"));
        assert!(is_draft("mtp-GLM-4.5.gguf") && is_draft("EAGLE3-x.gguf") && !is_draft("GLM-mtp-4.5.gguf"));
        for name in ["a.gguf", "a.GGUF", "a.safetensors", "a.sft", "a.onnx", "a.tflite", "a.engine"] {
            assert!(looks_like_model(name), "{name}");
        }
        for name in [".gguf", "gguf", "a.gguf.part", "a.bin", "a.gguf~", ""] {
            assert!(!looks_like_model(name), "{name}");
        }
        for (name, may) in
            [("a.bin", true), ("a.PT", true), ("a.gguf", true), (".bin", false), ("a.txt", false)]
        {
            assert_eq!(may_be_model(name), may, "{name}");
        }
        for (name, expected) in [
            ("Qwen3-8B-Q4_K_M.gguf", "Qwen3-8B-Q4_K_M"),
            ("Llama-3.3-70B-00001-of-00002.gguf", "Llama-3.3-70B"),
            ("Llama-3.1", "Llama-3.1"),
            (".gguf", ".gguf"),
        ] {
            assert_eq!(display_name(name), expected);
        }
    }
}
