//! Small files of the kernel's, and of trees that stand in for it: whatever lies there, reading one ends.

use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

/// Longest file that is read, bytes: `/proc/cpuinfo` of a large server has less.
const LONGEST: u64 = 2 << 20;

/// Entries of a directory that are looked at: no machine has so many devices.
const MOST: usize = 1 << 16;

/// More memory than any machine has, bytes: a file that says so says nothing.
const ABSURD: u64 = 1 << 50;

/// Returns what a file says, without blanks at its ends; bytes that are no text are shown as such.
pub(super) fn text(path: &Path) -> Option<String> {
    // A pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let mut bytes = Vec::new();
    file.metadata().ok().filter(fs::Metadata::is_file)?;
    file.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// A number of bytes.
pub(super) fn bytes(path: &Path) -> Option<u64> {
    text(path)?.parse().ok().filter(|bytes| *bytes <= ABSURD)
}

pub(super) fn hex(path: &Path) -> Option<u32> {
    u32::from_str_radix(text(path)?.strip_prefix("0x")?, 16).ok()
}

/// What stands behind a word at the start of a line.
pub(super) fn told(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// What lies in a directory, in the order of names.
pub(super) fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().take(MOST).map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// The last part of a path, where it is text.
pub(super) fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// A kind of file or device that is numbered: `card1`, `node0`.
pub(super) fn number(path: &Path, kind: &str) -> Option<u64> {
    let digits = name(path)?.strip_prefix(kind)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_lies_there_is_read_or_left() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("directory")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::write(at("odd"), b"DRIVER=\xff\xfe\n").unwrap();
        fs::write(at("empty"), "").unwrap();
        fs::write(at("huge"), "18446744073709551616").unwrap();
        fs::write(at("absurd"), "1125899906842625").unwrap();
        fs::write(at("gib"), "1073741824\n").unwrap();
        assert_eq!((text(&at("directory")), text(&at("pipe")), text(&at("gone"))), (None, None, None));
        assert_eq!(told(&text(&at("odd")).unwrap(), "DRIVER=").as_deref(), Some("\u{fffd}\u{fffd}"));
        assert_eq!(text(&at("empty")).as_deref(), Some(""));
        let numbers = ["empty", "huge", "absurd", "gib"].map(|name| bytes(&at(name)));
        assert_eq!(numbers, [None, None, None, Some(1 << 30)]);
        assert!(entries(&at("pipe")).is_empty());
        assert_eq!((number(&at("card12"), "card"), number(&at("card1-DP-1"), "card")), (Some(12), None));
    }
}
