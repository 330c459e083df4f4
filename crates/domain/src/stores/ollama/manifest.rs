//! A manifest and what it names. A digest is thirty-two bytes before it is a path.

use crate::Role;
use serde::{Deserialize, Deserializer};
use std::path::{Path, PathBuf};

#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub config: Option<Layer>,
    /// Go writes an empty list as null.
    #[serde(default, deserialize_with = "listed")]
    pub layers: Vec<Layer>,
}

impl Manifest {
    /// Whether it says which bytes make the model; of a layer that it can do without, that may be unclear.
    pub(super) fn is_clear(&self) -> bool {
        self.layers.iter().all(|layer| layer.digest.is_some() || layer.role().is_none())
    }
}

fn listed<'de, D: Deserializer<'de>>(layers: D) -> Result<Vec<Layer>, D::Error> {
    Ok(Option::deserialize(layers)?.unwrap_or_default())
}

fn digest<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Digest>, D::Error> {
    Ok(String::deserialize(text)?.try_into().ok())
}

#[derive(Debug, Deserialize)]
pub(super) struct Layer {
    #[serde(default, rename = "mediaType")]
    media_type: String,
    #[serde(default, deserialize_with = "digest")]
    pub digest: Option<Digest>,
    /// The model it was made from: a name, or a path on the machine where it was made.
    pub from: Option<String>,
    /// `component/tensor`, or the name of a config file.
    pub name: Option<String>,
}

impl Layer {
    /// Returns what kind of layer it is: `model`, `projector`, `tensor`, `license`, …
    pub(super) fn kind(&self) -> &str {
        self.media_type.strip_prefix("application/vnd.ollama.image.").unwrap_or_default()
    }

    /// Returns what part of the model it holds, if any.
    pub(super) fn role(&self) -> Option<Role> {
        match self.kind() {
            "model" | "tensor" => Some(Role::Weights),
            "projector" | "draft" => Some(Role::Companion),
            "adapter" => Some(Role::Adapter),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the blob's path below the store's root.
    pub(super) fn path(self, root: &Path) -> PathBuf {
        root.join(super::BLOBS).join(format!("sha256-{}", self.hex()))
    }

    /// Returns where servers of before put it; those of today rename it when they start.
    pub(super) fn old_path(self, root: &Path) -> PathBuf {
        root.join(super::BLOBS).join(format!("sha256:{}", self.hex()))
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let hex = text.strip_prefix("sha256:").ok_or("no SHA-256")?;
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err("not 64 hex digits");
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| "not text")?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| "not hex")?;
        }
        Ok(Self(bytes))
    }
}

/// The config blob: what Ollama says of the model.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub model_format: String,
    pub model_family: String,
    pub file_type: String,
    pub capabilities: Option<Vec<String>>,
    pub context_length: Option<u64>,
    /// Where a cloud model runs; nothing of it is here.
    pub remote_host: String,
}
