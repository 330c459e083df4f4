//! Which format the first bytes are of. Magic decides, the file name does not.

use crate::safetensors::MAX_HEADER;

/// What the first bytes of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Magic {
    Gguf,
    Safetensors,
    /// llama.cpp's formats before GGUF: ggml, ggmf, ggjt and the LoRA ggla.
    Ggml,
    /// A zip archive, which a torch checkpoint is since 1.6.
    Zip,
    /// A bare pickle of protocol 2 or later.
    Pickle,
    /// NumPy's array in a file, which may be a pickle.
    NumPy,
    /// Something packed as a whole, and by what.
    Packed(&'static str),
    /// A protobuf message that begins as ONNX models do; there is no magic.
    Onnx,
    /// A protobuf message that begins as CoreML models do.
    CoreMl,
    /// The description of an OpenVINO network.
    OpenVino,
    TfLite,
    TensorRt,
    /// A git-lfs pointer: text that stands for a file which is not here.
    LfsPointer,
    /// A web page or a JSON answer saved under a model's name.
    Page,
    /// Only NUL bytes so far: preallocated, not yet written.
    Zeros,
    Empty,
}

const MAGICS: &[(&[u8], Magic)] = &[
    (b"GGUF", Magic::Gguf),
    (b"lmgg", Magic::Ggml),
    (b"fmgg", Magic::Ggml),
    (b"tjgg", Magic::Ggml),
    (b"algg", Magic::Ggml),
    (b"PK\x03\x04", Magic::Zip),
    (b"PK\x05\x06", Magic::Zip),
    (b"\x80\x02", Magic::Pickle),
    (b"\x80\x03", Magic::Pickle),
    (b"\x80\x04", Magic::Pickle),
    (b"\x80\x05", Magic::Pickle),
    (b"\x93NUMPY", Magic::NumPy),
    (b"7z\xbc\xaf\x27\x1c", Magic::Packed("a 7z archive")),
    (b"\x1f\x8b\x08", Magic::Packed("gzip")),
    (b"\xfd7zXZ\0", Magic::Packed("xz")),
    (b"BZh", Magic::Packed("bzip2")),
    (b"\x28\xb5\x2f\xfd", Magic::Packed("zstd")),
    // zlib at each of its levels; joblib packs at 3, whose byte is 5e
    (b"\x78\x01", Magic::Packed("zlib")),
    (b"\x78\x5e", Magic::Packed("zlib")),
    (b"\x78\x9c", Magic::Packed("zlib")),
    (b"\x78\xda", Magic::Packed("zlib")),
    (b"ftrt", Magic::TensorRt),
    (b"ptrt", Magic::TensorRt),
    (b"version https://git-lfs.github.com/spec/v1", Magic::LfsPointer),
];

/// Recognises the format by the first bytes (64 are enough) and the whole length.
pub fn sniff(head: &[u8], len: u64) -> Option<Magic> {
    if len == 0 {
        return Some(Magic::Empty);
    }
    // A header's length may begin like any other magic, so the stricter test comes first.
    if is_safetensors(head) {
        return Some(Magic::Safetensors);
    }
    let magic = MAGICS.iter().find(|(bytes, _)| head.starts_with(bytes)).map(|(_, magic)| *magic);
    magic
        .or_else(|| (head.get(4..8) == Some(b"TFL3")).then_some(Magic::TfLite))
        .or_else(|| is_network(head).then_some(Magic::OpenVino))
        .or_else(|| message(head))
        .or_else(|| is_page(head).then_some(Magic::Page))
        .or_else(|| is_zeros(head).then_some(Magic::Zeros))
}

/// `<net name="…" version="11">`, behind what may stand before a document.
fn is_network(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let end = text.windows(2).position(|bytes| bytes == b"?>").filter(|_| text.starts_with(b"<?xml"));
    let text = end.and_then(|end| text.get(end + 2..)).unwrap_or(text).trim_ascii_start();
    text.starts_with(b"<net ") || text.starts_with(b"<net\n")
}

/// ONNX and CoreML both begin with a small version in field 1. What follows tells them apart: ONNX goes on with
/// the text of who made it or with its graph, CoreML with a message of messages.
fn message(head: &[u8]) -> Option<Magic> {
    let (&[key, version, next, length], rest) = head.split_first_chunk()?;
    if key != 8 || !(1..=99).contains(&version) {
        return None;
    }
    let text = rest.get(..usize::from(length).min(rest.len())).unwrap_or_default();
    let is_text = !text.is_empty() && text.iter().all(|byte| (b' '..0x7f).contains(byte));
    match next {
        // producer_name, producer_version, domain
        0x12 | 0x1a | 0x22 if is_text && length < 0x80 => Some(Magic::Onnx),
        // graph: its first field is a node, its name or an initializer
        0x3a if has_graph(head) => Some(Magic::Onnx),
        // description: the first input
        0x12 if text.first() == Some(&0x0a)
            || (length >= 0x80 && text.get(..3).is_some_and(|text| text.contains(&0x0a))) =>
        {
            Some(Magic::CoreMl)
        }
        _ => None,
    }
}

fn has_graph(head: &[u8]) -> bool {
    let length = head.get(3..).unwrap_or_default();
    let end = length.iter().take(5).position(|byte| byte & 0x80 == 0);
    let first = end.and_then(|end| length.get(end + 1));
    matches!(first, Some(0x0a | 0x12 | 0x2a))
}

fn is_safetensors(head: &[u8]) -> bool {
    let Some((len, json)) = head.split_first_chunk() else { return false };
    // `{}` is the shortest header.
    (2..=MAX_HEADER).contains(&u64::from_le_bytes(*len)) && json.trim_ascii_start().starts_with(b"{")
}

fn is_page(head: &[u8]) -> bool {
    let is_text = head.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace());
    if is_text && matches!(head.first(), Some(b'{' | b'[')) {
        return true;
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    ["<!doctype", "<html"]
        .iter()
        .any(|tag| text.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes())))
}

fn is_zeros(head: &[u8]) -> bool {
    !head.is_empty() && head.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &[u8], magic: impl Into<Option<Magic>>) {
        assert_eq!(sniff(head, head.len() as u64), magic.into(), "{}", head.escape_ascii());
    }

    #[test]
    fn the_first_bytes_name_the_format() {
        check(b"GGUF\x03\0\0\0", Magic::Gguf);
        check(b"gguf\x03\0\0\0", None);
        check(b"GGU", None);
        check(b"tjgg\x03\0\0\0", Magic::Ggml);
        check(b"PK\x03\x04\0\0", Magic::Zip);
        check(b"\x80\x02\x8a\x0al\xfc\x9cF", Magic::Pickle);
        check(b"\x80\x01", None);
        check(b"\x93NUMPY\x01\0", Magic::NumPy);
        check(b"7z\xbc\xaf\x27\x1c\0\x04", Magic::Packed("a 7z archive"));
        check(b"\x1f\x8b\x08\0", Magic::Packed("gzip"));
        check(b"\x78\x5e\xa5\x54", Magic::Packed("zlib"));
        check(b"version https://git-lfs.github.com/spec/v1\noid sha256:", Magic::LfsPointer);
        check(b"version 2", None);
        check(b"", Magic::Empty);
        check(&[0; 64], Magic::Zeros);
        check(b"MZ\x90", None);
    }

    #[test]
    fn safetensors_has_a_plausible_length_and_a_brace() {
        check(b"\x02\0\0\0\0\0\0\0{}", Magic::Safetensors);
        check(b"\x7b\0\0\0\0\0\0\0{\"a\"", Magic::Safetensors);
        check(b"\x80\x02\0\0\0\0\0\0 \n{\"a\"", Magic::Safetensors);
        check(b"\x01\0\0\0\0\0\0\0{", None);
        check(b"\0\0\0\0\0\x01\0\0{}", None);
        check(b"\x20\0\0\0\0\0\0\0[]", None);
    }

    #[test]
    fn pages_saved_under_a_models_name_are_seen() {
        check(b"<!DOCTYPE html><title>404", Magic::Page);
        check(b"\xef\xbb\xbf\r\n <HTML lang=en>", Magic::Page);
        check(b"{\"error\": \"Repository not found\"}", Magic::Page);
        check(b"[1]", Magic::Page);
        check(b"{\x01\x02", None);
    }

    #[test]
    fn graphs_are_told_by_how_they_begin() {
        check(b"<net name=\"m\" version=\"11\">", Magic::OpenVino);
        check(b"<?xml version=\"1.0\"?>\n<net name=\"tiny\" version=\"11\"", Magic::OpenVino);
        check(b"<?xml version=\"1.0\"?>\n<svg", None);
        check(b"\x10\0\0\0TFL3\x08\0", Magic::TfLite);
        check(b"ftrt\0\0\0\0", Magic::TensorRt);
        check(b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x80", Magic::Onnx);
        check(b"\x08\x08:\x90\x01\x0a\x12\x0a", Magic::Onnx);
        check(b"\x08\x07\x12\x40\x0a\x0d\x0a\x03ids", Magic::CoreMl);
        check(b"\x08\x07\x12\xc0\x02\x0a\x0d\x0a\x03ids", Magic::CoreMl);
        check(b"\x08\x07", None);
        check(b"\x08\0\x12\x02ab", None);
        check(b"\x89HDF\r\n\x1a\n", None);
    }
}
