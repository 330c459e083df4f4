//! What the folders of image generators are for, by the names that the apps gave them. Case is theirs.

use crate::Kind;

/// ComfyUI's categories, the folders of A1111, Forge, SD.Next and Stability Matrix, InvokeAI's types.
const FOLDERS: &[(Kind, &[&str])] = &[
    (Kind::Checkpoint, &["checkpoints", "Stable-diffusion", "StableDiffusion", "main"]),
    (Kind::Lora, &["loras", "Lora", "LyCORIS", "lora"]),
    (Kind::Vae, &["vae", "VAE", "vae_approx", "VAE-approx", "ApproxVAE"]),
    (
        Kind::TextEncoder,
        &["text_encoders", "clip", "CLIP", "text_encoder", "Text-encoder", "TextEncoders", "clip_gguf"],
    ),
    (Kind::DiffusionModel, &["diffusion_models", "unet", "UNET", "DiffusionModels", "unet_gguf"]),
    (Kind::ControlNet, &["controlnet", "t2i_adapter", "ControlNet", "T2IAdapter", "control", "control_lora"]),
    (Kind::TextualInversion, &["embeddings", "Embeddings", "TextualInversion", "embedding"]),
    (Kind::Hypernetwork, &["hypernetworks", "Hypernetwork"]),
    (
        Kind::Upscaler,
        &[
            "upscale_models",
            "latent_upscale_models",
            "ESRGAN",
            "RealESRGAN",
            "SwinIR",
            "ScuNET",
            "DAT",
            "BSRGAN",
            "LDSR",
            "Spandrel",
        ],
    ),
    (Kind::ImagePipeline, &["diffusers", "Diffusers"]),
    (
        Kind::Other,
        &[
            "clip_vision",
            "ClipVision",
            "style_models",
            "StyleModels",
            "gligen",
            "GLIGEN",
            "photomaker",
            "model_patches",
            "ModelPatches",
            "audio_encoders",
            "AudioEncoders",
            "background_removal",
            "BackgroundRemoval",
            "frame_interpolation",
            "geometry_estimation",
            "optical_flow",
            "detection",
            "ControlNetPreprocessor",
            "GFPGAN",
            "Codeformer",
            "ipadapter",
            "IpAdapter",
            "sams",
            "Sams",
            "Ultralytics",
            "AfterDetailer",
            "insightface",
            "animatediff_models",
            "RIFE",
            "yolo",
        ],
    ),
];

/// Returns what a folder is for; None where its name says nothing of that.
pub(in crate::stores) fn of(folder: &str) -> Option<Kind> {
    FOLDERS.iter().find(|(_, names)| names.contains(&folder)).map(|(kind, _)| *kind)
}

/// Returns what CivitAI calls a model's type, in our words.
pub(super) fn of_civitai(kind: &str) -> Option<Kind> {
    Some(match kind {
        "Checkpoint" => Kind::Checkpoint,
        "LORA" | "LoCon" | "DoRA" => Kind::Lora,
        "TextualInversion" => Kind::TextualInversion,
        "Hypernetwork" => Kind::Hypernetwork,
        "VAE" => Kind::Vae,
        "Controlnet" => Kind::ControlNet,
        "Upscaler" => Kind::Upscaler,
        _ => return None,
    })
}
