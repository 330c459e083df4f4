//! The nouns of the wire: a model (one content), its locations (where apps hold it), their files.
//! Names and fields are the contract that scripts rely on; they only ever gain.

use crate::{lineage::Ancestor, progress::Progress};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

/// What a person means by "a model": one content, wherever it lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Opaque, minted once, survives rename, move and reindex.
    pub id: String,
    pub name: String,
    pub format: Option<Format>,
    pub kind: Option<Kind>,
    pub architecture: Option<String>,
    /// The true mix's name as the field writes it: `Q4_K_M`, `F16`, `MXFP4`.
    pub quant: Option<String>,
    pub bits_per_weight: Option<f64>,
    pub parameters: Option<u64>,
    /// Parameters that work on one token; less than `parameters` for a mixture of experts.
    pub active_parameters: Option<u64>,
    /// The context it was trained with, tokens.
    pub context_length: Option<u64>,
    /// Bytes of weights and companions, each content once.
    pub size: u64,
    /// Bytes allocated on disk over all locations, each inode once.
    pub disk_size: u64,
    pub state: State,
    /// Why the state is not `ok`, in words.
    pub reason: Option<String>,
    pub warnings: Vec<String>,
    pub safety: Option<Safety>,
    /// Of the one weight file: as it was computed here, else as an app claims to know it.
    pub sha256: Option<String>,
    pub verification: Verification,
    /// As its source writes it.
    pub license: Option<String>,
    /// An SPDX id, or `LicenseRef-…` for a licence that is known and on no list.
    #[serde(default)]
    pub license_spdx: Option<String>,
    #[serde(default)]
    pub license_class: Option<LicenseClass>,
    pub base_models: Vec<String>,
    /// What it was made from, and how that is known.
    #[serde(default)]
    pub lineage: Vec<Ancestor>,
    /// The surest of what its locations know of where it came from.
    #[serde(default)]
    pub origin: Option<Source>,
    pub capabilities: Vec<String>,
    pub locations: Vec<Location>,
    /// Set where the bytes of a weight file, of the first that is so, are held at more than one path, also as a part of
    /// another model: their SHA-256, else `sampled:` and the sampled id. Equal for all that hold them.
    pub duplicate_group: Option<String>,
    pub tags: Vec<String>,
    pub note: Option<String>,
    pub pinned: bool,
    pub last_used: Option<Timestamp>,
    /// Names that the user gave it.
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub first_seen: Option<Timestamp>,
    /// Of image, video and audio models and what goes with them: `sdxl`, `flux-dev`.
    #[serde(default)]
    pub family: Option<String>,
    /// Of what it is being downloaded from, or was; as of now while it grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// How it fits this machine now; None where that is not known, or no engine takes it. Told by the list alone, which
    /// puts it in as the last field.
    #[serde(default)]
    pub fits: Option<crate::plan::Fit>,
}

/// A place where an app holds a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    pub app: App,
    /// The app's own handle: `llama3:8b`, `org/repo@revision:file`, a path.
    pub id: String,
    pub name: Option<String>,
    /// What the app itself goes by; what agrees with it is among its evidence.
    pub source: Option<Source>,
    /// Everything that says where it came from, the surest first.
    #[serde(default)]
    pub claims: Vec<Source>,
    pub revision: Option<String>,
    pub refs: Vec<String>,
    pub license: Option<String>,
    /// `user:group` of the first weight file.
    pub owner: Option<String>,
    pub online: bool,
    pub is_partial: bool,
    pub partial_reason: Option<String>,
    pub files: Vec<File>,
    /// Of its weights, where they are not all here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    pub kind: Option<SourceKind>,
    pub repo: Option<String>,
    pub url: Option<String>,
    pub confidence: Confidence,
    /// Where this was read, one short phrase each.
    pub evidence: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    #[serde(flatten)]
    pub path: WirePath,
    pub role: Role,
    /// Bytes.
    pub size: u64,
    /// Of its bytes where it was computed, else as its source recorded it.
    pub sha256: Option<String>,
    /// As they were computed here.
    #[serde(default)]
    pub hashes: Option<crate::Hashes>,
    /// What its source recorded, where `hashes` says what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<String>,
    /// Bytes allocated, while it is being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_size: Option<u64>,
    pub link: Option<Link>,
}

impl File {
    /// One of which nothing is known but where it is.
    pub fn at(path: &Path, role: Role) -> Self {
        let path = WirePath::from(path);
        Self { path, role, size: 0, sha256: None, hashes: None, recorded: None, disk_size: None, link: None }
    }
}

/// A path on the wire: text for people, and the exact bytes where text cannot hold them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WirePath {
    path: String,
    /// base64, only where the path is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
}

impl From<&Path> for WirePath {
    fn from(path: &Path) -> Self {
        let path_bytes = path.to_str().is_none().then(|| BASE64_STANDARD.encode(path.as_os_str().as_bytes()));
        Self { path: path.to_string_lossy().into_owned(), path_bytes }
    }
}

impl WirePath {
    /// Returns the exact path; a `path_bytes` that is no base64 leaves the text.
    pub fn to_path(&self) -> PathBuf {
        let bytes = self.path_bytes.as_ref().and_then(|text| BASE64_STANDARD.decode(text).ok());
        bytes.map_or_else(|| PathBuf::from(&self.path), |bytes| OsString::from_vec(bytes).into())
    }

    /// Returns the path as text, lossy where it is not UTF-8.
    pub fn text(&self) -> &str {
        &self.path
    }
}

/// Declares an enum whose values are a closed list of the contract, with their spelling.
macro_rules! closed {
    ($(#[$meta:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$of])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

pub(crate) use closed;

closed!(App {
    HuggingFace = "huggingface", HuggingFaceLocalDir = "huggingface-local-dir", Ollama = "ollama",
    LmStudio = "lmstudio", LlamaCpp = "llama.cpp", RamaLama = "ramalama", DockerModelRunner = "docker-model-runner",
    Jan = "jan", Gpt4All = "gpt4all", TextGen = "textgen", LocalAi = "localai", AnythingLlm = "anythingllm",
    Msty = "msty", ModelScope = "modelscope", WhisperCpp = "whisper.cpp", Tgi = "tgi", Git = "git",
    ComfyUi = "comfyui", ComfyUiDesktop = "comfyui-desktop", A1111 = "a1111", Forge = "forge", SdNext = "sdnext",
    StabilityMatrix = "stabilitymatrix", InvokeAi = "invokeai", Loose = "loose",
});
closed!(Format {
    Gguf = "gguf", Safetensors = "safetensors", Pickle = "pickle", Onnx = "onnx", Ggml = "ggml",
    OpenVino = "openvino", CoreMl = "coreml", TfLite = "tflite", TensorRt = "tensorrt", Diffusers = "diffusers",
    Mlx = "mlx", LfsPointer = "lfs-pointer", Remote = "remote",
});
closed!(Kind {
    Llm = "llm", Embedding = "embedding", Reranker = "reranker", VisionProjector = "vision-projector", Lora = "lora",
    Checkpoint = "checkpoint", DiffusionModel = "diffusion-model", ImagePipeline = "image-pipeline", Vae = "vae",
    TextEncoder = "text-encoder", ControlNet = "controlnet", Upscaler = "upscaler",
    TextualInversion = "textual-inversion", Hypernetwork = "hypernetwork", Asr = "asr", Tts = "tts",
    Imatrix = "imatrix", Other = "other",
});
closed!(
    /// `NotAModel` is an answer of `inspect` only: such files are not in the index.
    State {
        Ok = "ok", OkWithWarning = "ok_with_warning", Incomplete = "incomplete", Downloading = "downloading",
        Corrupt = "corrupt", Unsupported = "unsupported", Offline = "offline", NotAModel = "not_a_model",
    }
);
closed!(Safety { TensorsOnly = "tensors_only", Dangerous = "dangerous", Unverifiable = "unverifiable" });
closed!(Verification { Unverified = "unverified", Verified = "verified", Mismatch = "mismatch" });
closed!(
    /// `Recorded`: the app wrote it down; `Claimed`: the file says so; `Inferred`: from names and places.
    Confidence { Recorded = "recorded", Claimed = "claimed", Inferred = "inferred" }
);
closed!(
    /// Coarse classes of licences; None is unknown. `Restricted`: free with conditions on use, users or revenue.
    LicenseClass {
        Permissive = "permissive", WeakCopyleft = "weak-copyleft", Copyleft = "copyleft",
        NonCommercial = "non-commercial", ResearchOnly = "research-only", Restricted = "restricted",
        Proprietary = "proprietary",
    }
);
closed!(
    /// How a model came from another. `Base`: it was made from it, how is not said.
    Relation {
        Base = "base", Finetune = "finetune", Adapter = "adapter", Merge = "merge", Quantized = "quantized",
    }
);
closed!(
    /// What a companion is to the model that it goes with.
    CompanionRole {
        Projector = "projector", Adapter = "adapter", Draft = "draft", Vae = "vae", TextEncoder = "text-encoder",
    }
);
closed!(
    /// What a companion was paired by: the first five are of the files themselves, the rest of where they come from.
    Basis {
        Width = "width", Projector = "projector", Shapes = "shapes", Vocabulary = "vocabulary", Family = "family",
        Lineage = "lineage", Repository = "repository", Folder = "folder", Held = "held",
    }
);
closed!(Role {
    Weights = "weights", Companion = "companion", Adapter = "adapter", Blob = "blob", Bundle = "bundle",
    LfsObject = "lfs-object", Config = "config", Card = "card", Sidecar = "sidecar", Metadata = "metadata",
});
closed!(Link { Symlink = "symlink", Hardlink = "hardlink", Dangling = "dangling" });
closed!(SourceKind {
    HuggingFace = "huggingface", Ollama = "ollama", OllamaCloud = "ollama-cloud", Civitai = "civitai", Oci = "oci",
    Git = "git", ModelScope = "modelscope", Url = "url",
});

impl Default for State {
    /// Nothing is known of it: it is not offered.
    fn default() -> Self {
        Self::Incomplete
    }
}

impl State {
    /// Whether an engine may be started on it.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Ok | Self::OkWithWarning)
    }
}

/// Values with nothing in them but what a test says.
#[cfg(test)]
pub(crate) mod testing {
    use super::{App, File, Location, Role};
    use std::path::Path;

    pub(crate) fn weights(path: &str) -> File {
        File { size: 1, ..File::at(Path::new(path), Role::Weights) }
    }

    pub(crate) fn location(app: App, id: &str, files: Vec<File>) -> Location {
        Location {
            app,
            id: id.into(),
            name: None,
            source: None,
            claims: Vec::new(),
            revision: None,
            refs: Vec::new(),
            license: None,
            owner: None,
            online: true,
            is_partial: false,
            partial_reason: None,
            files,
            progress: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn a_path_that_is_not_utf8_survives_the_wire() {
        let path = Path::new(OsStr::from_bytes(b"/m/non\xffutf8.gguf"));
        let wire = serde_json::to_string(&WirePath::from(path)).unwrap();
        assert!(wire.contains("path_bytes"), "{wire}");
        assert_eq!(serde_json::from_str::<WirePath>(&wire).unwrap().to_path(), path);
        let plain = serde_json::to_string(&WirePath::from(Path::new("/m/a.gguf"))).unwrap();
        assert_eq!(plain, r#"{"path":"/m/a.gguf"}"#);
    }
}
