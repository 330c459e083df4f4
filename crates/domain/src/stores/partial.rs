//! Names that downloaders give to what is not finished yet, as STORES.md lists them. Case matters.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

const SUFFIXES: &[&str] = &[
    ".incomplete",
    ".part",
    ".partial",
    ".tmp",
    ".downloading",
    ".downloadInProgress",
    ".crdownload",
    ".smdownload",
    ".aria2",
    ".aria2__temp",
    ".lock",
    ".!qB",
    ".download",
];

const PREFIXES: &[&str] = &["tmpinstall_", "._____temp"];

/// Returns whether a file or directory of this name is a download under way, its bookkeeping or a lock.
pub fn is_partial(name: &OsStr) -> bool {
    let name = name.as_bytes();
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix.as_bytes()))
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
        || (name.starts_with(b"incomplete-") && name.ends_with(b".gguf"))
        || is_ollama_part(name)
}

/// `sha256-<64 hex>-partial` and `-partial-<n>`.
fn is_ollama_part(name: &[u8]) -> bool {
    let Some((digest, rest)) = name.strip_prefix(b"sha256-").and_then(|rest| rest.split_at_checked(64))
    else {
        return false;
    };
    let number = rest.strip_prefix(b"-partial-");
    digest.iter().all(u8::is_ascii_hexdigit)
        && (rest == b"-partial" || number.is_some_and(|number| number.iter().all(u8::is_ascii_digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_names_are_known_and_finished_ones_are_left_alone() {
        let digest = "2b31cedb3dfb8012117c732a1be2c9e88e188fcda9232f857a5d84ff2377422f";
        for name in [
            "2b31.0a1b2c3d.incomplete",
            "x.sync.part",
            "downloading_x.gguf.part",
            "Unconfirmed 482913.crdownload",
            "Unconfirmed 123.smdownload",
            "Unconfirmed big.safetensors.tmp",
            "incomplete-Other.Q4_0.gguf",
            "x.gguf.downloadInProgress",
            "other.downloading",
            "x.gguf.aria2",
            "x.gguf.aria2__temp",
            "tmpinstall_ab12",
            "._____temp",
            ".partial",
            "model.gguf.!qB",
            "x.gguf.download",
            "x.lock",
            &format!("sha256-{digest}-partial"),
            &format!("sha256-{digest}-partial-12"),
        ] {
            assert!(is_partial(OsStr::new(name)), "{name}");
        }
        for name in [
            "a.gguf",
            "incomplete-notes.txt",
            "partial.gguf",
            "X.PART",
            "-partial",
            "sha256-12-partial",
            "",
            &format!("sha256-{digest}"),
            &format!("sha256-{digest}-partial-x"),
        ] {
            assert!(!is_partial(OsStr::new(name)), "{name}");
        }
    }
}
