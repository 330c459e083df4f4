//! Texts that leave a store: handles, licences, hashes. Bounded, and unique where a name is not text.

pub(super) use crate::hashes::sha256;
use std::{os::unix::ffi::OsStrExt as _, path::Path};

/// Longer texts come from nobody who means well, and a list has no room for them.
const LONGEST: usize = 256;

/// Returns a relative path as a handle. One that is no UTF-8 gets a digest of its bytes, so that two stay two.
pub(super) fn of_path(path: &Path) -> String {
    path.to_str().map_or_else(|| format!("{}~{:016x}", path.display(), digest(path)), str::to_owned)
}

/// Cuts a handle that is too long; what was cut lives on in a digest.
pub(super) fn fit(handle: String) -> String {
    if handle.len() <= LONGEST {
        return handle;
    }
    let kept = handle.get(..handle.floor_char_boundary(LONGEST - 17)).unwrap_or_default();
    format!("{kept}~{:016x}", digest(Path::new(&handle)))
}

/// Returns a text of sane length on one line, without the spaces around it.
pub(super) fn bounded(text: &str) -> Option<String> {
    let text = text.trim();
    let is_sane = !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_control);
    is_sane.then(|| text.to_owned())
}

/// FNV-1a, 64 bits: tells names apart, protects nothing.
fn digest(path: &Path) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn handles_are_text_bounded_and_distinct() {
        let of = |bytes: &[u8]| of_path(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(of(b"a/b.gguf"), "a/b.gguf");
        assert!(of(b"\xe9.gguf").starts_with("\u{fffd}.gguf~"));
        assert_ne!(of(b"\xe9.gguf"), of(b"\xe8.gguf"));
        let long = "日".repeat(100);
        assert!(fit(long.clone()).len() <= 256);
        assert_ne!(fit(long.clone() + "a"), fit(long + "b"));
    }

    #[test]
    fn odd_texts_are_refused() {
        assert_eq!(bounded(" mit\n"), Some("mit".into()));
        assert_eq!(bounded("a\nb"), None);
        assert_eq!(bounded(&"x".repeat(257)), None);
        assert_eq!(sha256(&"AB".repeat(32)), Some("ab".repeat(32)));
        assert_eq!(sha256("../../etc"), None);
    }
}
