//! What a GGUF is for, by the type that it states and by its architecture.

use super::keys::Keys;
use crate::Kind;

/// Image and video models as stable-diffusion.cpp and ComfyUI-GGUF name them, and their families.
const DIFFUSION: &[(&str, &str)] = &[
    ("aura", "auraflow"),
    ("chroma", "chroma"),
    ("cosmos", "cosmos1"),
    ("flux", "flux"),
    ("flux2", "flux2"),
    ("hidream", "hidream"),
    ("hyvid", "hunyuan-video"),
    ("ltxv", "ltxv"),
    ("lumina2", "lumina2"),
    ("qwen_image", "qwen-image"),
    ("sd1", "sd15"),
    ("sd3", "sd3"),
    ("sdxl", "sdxl"),
    ("wan", "wan"),
    ("z_image", "z-image"),
];
/// `LLAMA_POOLING_TYPE_NONE` and `LLAMA_POOLING_TYPE_RANK`.
const POOLING_NONE: u64 = 0;
const POOLING_RANK: u64 = 4;

pub(super) fn read(keys: &Keys<'_>, has_tensors: bool) -> Option<Kind> {
    match keys.text("general.type") {
        Some("adapter") => return Some(Kind::Lora),
        Some("imatrix") => return Some(Kind::Imatrix),
        Some("mmproj") => return Some(Kind::VisionProjector),
        Some(_) | None => {}
    }
    let architecture = keys.architecture()?;
    if !has_tensors {
        return Some(Kind::Other);
    }
    Some(match architecture {
        "clip" => Kind::VisionProjector,
        "whisper" => Kind::Asr,
        "wavtokenizer-dec" => Kind::Tts,
        "t5encoder" => Kind::TextEncoder,
        "controlvector" => Kind::Other,
        name if DIFFUSION.iter().any(|(known, _)| *known == name) => Kind::DiffusionModel,
        name => match keys.own("pooling_type").and_then(formats::gguf::Value::as_u64) {
            Some(POOLING_RANK) => Kind::Reranker,
            Some(pooling) if pooling != POOLING_NONE => Kind::Embedding,
            _ if is_encoder(name) => Kind::Embedding,
            _ => Kind::Llm,
        },
    })
}

/// Returns the family of an image model by the architecture that it states.
pub(super) fn family(keys: &Keys<'_>) -> Option<String> {
    let architecture = keys.architecture()?;
    DIFFUSION.iter().find(|(name, _)| *name == architecture).map(|(_, family)| (*family).to_owned())
}

/// Whether an architecture only ever encodes.
pub(crate) fn is_encoder(architecture: &str) -> bool {
    architecture.contains("bert")
        || architecture.starts_with("gte")
        || matches!(architecture, "gemma-embedding" | "llama-embed" | "t5encoder")
}
