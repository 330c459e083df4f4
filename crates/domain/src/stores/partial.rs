//! Names that downloaders give to what is not finished yet, as STORES.md lists them. Case matters.

use crate::names;
use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

/// What ends the names of locks, of notes, and of bundles that a browser fills.
const ASIDE: &[&str] = &[".aria2", ".aria2__temp", ".lock", ".download"];

const PREFIXES: &[&str] = &["tmpinstall_", "._____temp"];

/// Returns whether a file or directory of this name is a download under way, its bookkeeping or a lock.
pub fn is_partial(name: &OsStr) -> bool {
    let name = name.as_bytes();
    BEHIND.iter().chain(ASIDE).any(|suffix| name.ends_with(suffix.as_bytes()))
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
        || (name.starts_with(b"incomplete-") && name.ends_with(b".gguf"))
        || is_ollama_part(name)
}

/// What a file that grows under such a name will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// What it will be called, where its name says so.
    pub name: Option<String>,
    /// What the bytes will hash to, where it is named so.
    pub sha256: Option<String>,
    pub record: RecordAt,
}

/// Where a downloader notes how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordAt {
    None,
    /// In files called as this one, with a number behind: Ollama's.
    Parts,
    /// In the last eight bytes of the file itself: the hf-hub crate's.
    End,
}

/// What is behind a finished name, the longest first where one ends in another.
const BEHIND: &[&str] = &[
    ".sync.part",
    ".incomplete",
    ".part",
    ".partial",
    ".tmp",
    ".downloading",
    ".downloadInProgress",
    ".crdownload",
    ".smdownload",
    ".!qB",
];

/// Directories in which downloads have the names that they will have, or none of their own.
const STAGING: &[&str] = &["tmpinstall_", "._____temp", ".partial"];

/// Says what a file below its unit's directory will be. None for what has its final name, for locks and notes, and for
/// what will be no model by its name.
pub fn download(below: &Path) -> Option<Download> {
    let name = below.file_name()?;
    let is_staged = below.parent().is_some_and(|dirs| dirs.iter().any(is_staging));
    if !is_staged && !is_partial(name) {
        return None;
    }
    let text = name.to_string_lossy();
    if let Some(digest) = text.strip_prefix("sha256-").and_then(|rest| rest.strip_suffix("-partial")) {
        let record = RecordAt::Parts;
        return Some(Download { name: None, sha256: super::handle::sha256(digest), record });
    }
    let behind = BEHIND.iter().find(|behind| text.ends_with(**behind));
    let is_prefixed = text.starts_with("incomplete-");
    if behind.is_none() && !is_prefixed && !is_staged || is_note(&text) {
        return None;
    }
    let record = if text.ends_with(".sync.part") { RecordAt::End } else { RecordAt::None };
    let rest = behind.map_or(&*text, |behind| text.strip_suffix(behind).unwrap_or(&text));
    let rest = ["downloading_", "Unconfirmed ", "incomplete-"]
        .iter()
        .find_map(|prefix| rest.strip_prefix(prefix))
        .unwrap_or(rest);
    let plain = Path::new(rest).extension().filter(|end| is_of_chance(end)).and(Path::new(rest).file_stem());
    let plain = plain.and_then(OsStr::to_str).filter(|plain| names::looks_like_model(plain));
    let rest = plain.unwrap_or(rest);
    // Blobs have the hash for a name, some with digits of chance behind it.
    let sha256 =
        super::handle::sha256(rest.trim_start_matches("sha256-").split('.').next().unwrap_or_default());
    let is_named = names::looks_like_model(rest) && sha256.is_none();
    let says_another = Path::new(rest).extension().is_some_and(|end| !is_of_chance(end)) && sha256.is_none();
    if !is_named && says_another && !is_staged {
        return None;
    }
    Some(Download { name: is_named.then(|| rest.to_owned()), sha256, record })
}

/// Says whether a directory of this name holds downloads alone.
pub fn is_staging(part: &OsStr) -> bool {
    let text = part.to_string_lossy();
    STAGING.iter().any(|start| text.starts_with(start)) || text.ends_with(".download")
}

/// Locks, what a downloader keeps for itself, and what is no model under any of its names.
fn is_note(text: &str) -> bool {
    [".lock", ".aria2", ".aria2__temp", ".json", ".metadata", ".url"].iter().any(|end| text.ends_with(end))
}

/// Digits that keep two downloads of one file apart: `ETAG.0a1b2c3d.incomplete`, a UUID.
fn is_of_chance(end: &OsStr) -> bool {
    let end = end.as_bytes();
    (8..=64).contains(&end.len()) && end.iter().all(|digit| digit.is_ascii_hexdigit() || *digit == b'-')
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

    const DIGEST: &str = "2b31cedb3dfb8012117c732a1be2c9e88e188fcda9232f857a5d84ff2377422f";

    #[test]
    fn unfinished_names_are_known_and_finished_ones_are_left_alone() {
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
            &format!("sha256-{DIGEST}-partial"),
            &format!("sha256-{DIGEST}-partial-12"),
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
            &format!("sha256-{DIGEST}"),
            &format!("sha256-{DIGEST}-partial-x"),
        ] {
            assert!(!is_partial(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn every_convention_of_downloaders_says_what_will_be() {
        let (hash, none) = (Some(DIGEST), None);
        for (path, name, sha256, record) in [
            // huggingface_hub: now, before 1.0, a local folder; a small file has a git hash for its etag
            ("blobs/{D}.0a1b2c3d.incomplete", none, hash, RecordAt::None),
            ("blobs/{D}.incomplete", none, hash, RecordAt::None),
            (
                ".cache/huggingface/download/Q1p2l2BzM1m6P5jKvr8WTq1TUio=.{D}.99aabbcc.incomplete",
                none,
                none,
                RecordAt::None,
            ),
            ("blobs/ae0f48b7d610cc7cf251124c177f3dd977cb1eb2.incomplete", none, none, RecordAt::None),
            // Docker Model Runner, ModelScope
            ("blobs/sha256/{D}.incomplete", none, hash, RecordAt::None),
            ("model.safetensors.incomplete", Some("model.safetensors"), none, RecordAt::None),
            ("._____temp/x.safetensors", Some("x.safetensors"), none, RecordAt::None),
            // hf-hub crate
            ("blobs/{D}.part", none, hash, RecordAt::None),
            ("blobs/{D}.sync.part", none, hash, RecordAt::End),
            // LM Studio, Firefox, Lora Manager
            ("downloading_TinyAcme-Q6_K.gguf.part", Some("TinyAcme-Q6_K.gguf"), none, RecordAt::None),
            ("big-Q4.gguf.part", Some("big-Q4.gguf"), none, RecordAt::None),
            // RamaLama, LocalAI with its staging, SD.Next
            ("blobs/sha256-{D}.partial", none, hash, RecordAt::None),
            ("other.gguf.partial", Some("other.gguf"), none, RecordAt::None),
            (".artifacts/.partial/e899.w1/blob", none, none, RecordAt::None),
            (
                "x.safetensors.0a1b2c3d-0000-4000-8000-0a1b2c3d0a1b.partial",
                Some("x.safetensors"),
                none,
                RecordAt::None,
            ),
            // Ollama: a pull, a model of tensors
            ("blobs/sha256-{D}-partial", none, hash, RecordAt::Parts),
            ("blobs/sha256-{D}.tmp", none, hash, RecordAt::None),
            // Jan, Forge and A1111, ComfyUI Desktop
            ("model.gguf.tmp", Some("model.gguf"), none, RecordAt::None),
            (
                "RealESRGAN_x4plus.safetensors.tmp",
                Some("RealESRGAN_x4plus.safetensors"),
                none,
                RecordAt::None,
            ),
            ("Unconfirmed big.safetensors.tmp", Some("big.safetensors"), none, RecordAt::None),
            // Civitai Helper puts its word in place of the extension, InvokeAI behind it
            ("other.downloading", none, none, RecordAt::None),
            ("tmpinstall_ab12cd34/x.safetensors.downloading", Some("x.safetensors"), none, RecordAt::None),
            ("tmpinstall_ab12cd34/x.safetensors", Some("x.safetensors"), none, RecordAt::None),
            // llama.cpp: flat, and in the hub's layout
            ("acme-ai_x_y.gguf.downloadInProgress", Some("acme-ai_x_y.gguf"), none, RecordAt::None),
            ("blobs/{D}.downloadInProgress", none, hash, RecordAt::None),
            // Chromium, Stability Matrix, GPT4All, qBittorrent, Safari
            ("Unconfirmed 482913.crdownload", none, none, RecordAt::None),
            ("x.gguf.crdownload", Some("x.gguf"), none, RecordAt::None),
            ("Unconfirmed 12345678.smdownload", none, none, RecordAt::None),
            ("incomplete-Other.Q4_0.gguf", Some("Other.Q4_0.gguf"), none, RecordAt::None),
            ("model.gguf.!qB", Some("model.gguf"), none, RecordAt::None),
            ("x.gguf.download/x.gguf", Some("x.gguf"), none, RecordAt::None),
        ] {
            let path = path.replace("{D}", DIGEST);
            let found = download(Path::new(&path)).unwrap_or_else(|| panic!("{path} is no download"));
            let expected =
                Download { name: name.map(str::to_owned), sha256: sha256.map(str::to_owned), record };
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn bookkeeping_finished_files_and_what_is_no_model_are_no_downloads() {
        let parts = format!("blobs/sha256-{DIGEST}-partial-0");
        for path in [
            "x.gguf",
            "aria-model.safetensors",
            "aria-model.safetensors.aria2",
            "x.gguf.aria2__temp",
            &format!("blobs/{DIGEST}.lock"),
            &parts,
            &format!("blobs/sha256-{DIGEST}"),
            "movie.mkv.part",
            "setup.exe.crdownload",
            "model.gguf.url",
            "tmpinstall_ab12cd34/config.json",
            "x.gguf.download",
        ] {
            assert_eq!(download(Path::new(path)), None, "{path}");
        }
    }
}
