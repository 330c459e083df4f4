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
    magic.or_else(|| is_page(head).then_some(Magic::Page)).or_else(|| is_zeros(head).then_some(Magic::Zeros))
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
        check(b"<net name=\"m\" version=\"11\">", None);
    }
}
