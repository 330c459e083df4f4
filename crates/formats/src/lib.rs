//! What a model file says about itself: bytes in, typed headers out.
//! Opens nothing, executes nothing, and never allocates by a number it read.
#![forbid(unsafe_code)]

pub mod coreml;
mod cursor;
mod digest;
mod flat;
pub mod ggml;
pub mod gguf;
mod input;
pub mod onnx;
pub mod openvino;
pub mod pickle;
mod port;
mod protobuf;
pub mod safetensors;
mod sniff;
pub mod tensorrt;
pub mod tflite;
mod zip;

pub use input::{Input, Slice, Windowed};
pub use port::{External, Port, TypeCount};
pub use sniff::{Magic, sniff};
pub use zip::has_end as ends_like_zip;

/// Why a header could not be read. Each variant is a different next step for the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input ends before the header does: more bytes may still arrive.
    #[error("the file ends at byte {at}, inside its header")]
    Truncated { at: u64 },
    /// The bytes are of another format altogether.
    #[error("not {expected}: the first bytes are of something else")]
    BadMagic { expected: &'static str },
    /// The right format in a version or byte order that no current engine reads.
    #[error("{what}")]
    Unsupported { what: String },
    /// The header contradicts itself or the format's rules.
    #[error("{what} (at byte {at})")]
    Corrupt { what: String, at: u64 },
    /// Larger than any real header; reading stopped.
    #[error("the header is larger than {limit} bytes: {what}")]
    TooLarge { what: String, limit: u64 },
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
}

/// What is odd but readable; a hostile header can be odd in every line, so only the first are kept.
#[derive(Debug, Default)]
struct Warnings(Vec<String>);

impl Warnings {
    const KEPT: usize = 32;

    fn push(&mut self, warning: String) {
        if self.0.len() < Self::KEPT {
            self.0.push(warning);
        }
    }
}

/// A name out of a file as it may stand in a message: quoted, escaped and short.
fn quoted(name: &str) -> String {
    const SHOWN: usize = 80;
    match name.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{:?}...", name.get(..cut).unwrap_or_default()),
        None => format!("{name:?}"),
    }
}
