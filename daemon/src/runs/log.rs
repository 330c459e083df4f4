//! What an engine has printed, read as it grows, across the two files that its supervisor keeps. Keys are left out.

use crate::{
    rundir::{LOG, OLD_LOG},
    supervise::HALF,
};
use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Longest piece that is read at once, bytes.
const PIECE: u64 = 64 << 10;

/// Pieces that hold all that is kept of a run; each of its two files may end with a short one.
pub(crate) const PIECES: u64 = 2 * (HALF / PIECE + 1);

/// What one answer takes of a log, bytes.
const ANSWER: u64 = 1 << 20;

/// What a llama-server prints until it is ready, bytes: 20 to 100 KiB; a vocabulary's metadata may make it longer.
const FIRST: u64 = 1 << 20;

/// Told where the supervisor has thrown away what was not read yet.
const GAP: &str = "[modeld: lines are left out here: the engine prints faster than they are read]";

/// Told where an answer has no room for the whole log.
const EARLIER: &str = "[modeld: earlier lines are left out here: they are told in several answers only]";

#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    /// The file that is being read, and how far.
    inode: Option<u64>,
    at: u64,
    partial: Vec<u8>,
    /// The last piece was a full one.
    is_behind: bool,
    secrets: Vec<String>,
}

impl Log {
    pub(super) fn open(dir: &Path, from_start: bool, secrets: &[String]) -> Self {
        let new = |inode, at| Self {
            dir: dir.to_owned(),
            inode,
            at,
            partial: Vec::new(),
            is_behind: false,
            secrets: secrets.to_owned(),
        };
        let first = if from_start { OLD_LOG } else { LOG };
        match file(&dir.join(first)) {
            Some((_, inode, _)) if from_start => new(Some(inode), 0),
            Some((_, inode, size)) => new(Some(inode), size),
            None => new(None, 0),
        }
    }

    /// Whole lines since the last look, as many as are read at once; the rest waits for its end.
    pub(crate) fn new_lines(&mut self) -> Vec<String> {
        loop {
            let (piece, has_gap) = self.piece();
            self.at += piece.len() as u64;
            self.is_behind = piece.len() as u64 == PIECE;
            let is_all = piece.is_empty();
            let mut bytes = std::mem::take(&mut self.partial);
            bytes.extend(piece);
            let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.partial = bytes.split_off(end);
            if self.partial.len() as u64 > PIECE {
                bytes.append(&mut self.partial); // a line without end is cut
            }
            if is_all || has_gap || !bytes.is_empty() {
                let gap = has_gap.then(|| GAP.to_owned());
                return gap.into_iter().chain(lines(&bytes, &self.secrets)).collect();
            }
        }
    }

    /// Whether there is more to read at once.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// What is left where nothing more will come.
    pub(crate) fn last_line(&mut self) -> Vec<String> {
        lines(&std::mem::take(&mut self.partial), &self.secrets)
    }

    fn piece(&mut self) -> (Vec<u8>, bool) {
        let find = |name: &str| file(&self.dir.join(name));
        let (current, old) = (find(LOG), find(OLD_LOG));
        let is_ours = |found: &(File, u64, u64)| Some(found.1) == self.inode && found.2 >= self.at;
        if let Some(found) = old.filter(is_ours) {
            let piece = read(found.0, self.at);
            if !piece.is_empty() {
                return (piece, false);
            }
            self.inode = None; // it is read to its end: the next one
        }
        let Some((file, inode, size)) = current else { return (Vec::new(), false) };
        let has_gap = self.inode.is_some_and(|own| own != inode || size < self.at);
        if self.inode.is_none() || has_gap {
            (self.inode, self.at) = (Some(inode), 0);
        }
        (read(file, self.at), has_gap)
    }
}

/// The last lines of a run.
pub(super) fn last_lines(dir: &Path, count: usize, secrets: &[String]) -> Vec<String> {
    let lines = domain::engines::telling(lines(&tail(dir, PIECE).0, secrets));
    let before = lines.len().saturating_sub(count);
    lines.into_iter().skip(before).collect()
}

/// The end of what a run has printed, as much as one answer takes.
pub(super) fn end(dir: &Path, secrets: &[String]) -> Vec<String> {
    let (bytes, is_cut) = tail(dir, ANSWER);
    if !is_cut {
        return lines(&bytes, secrets);
    }
    let begun = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let whole = lines(bytes.get(begun..).unwrap_or_default(), secrets);
    std::iter::once(EARLIER.to_owned()).chain(whole).collect()
}

/// The last bytes of both files, and whether there are others before them.
fn tail(dir: &Path, most: u64) -> (Vec<u8>, bool) {
    let end = |name: &str, most: u64| match file(&dir.join(name)) {
        Some((file, _, size)) => (read_up_to(file, size.saturating_sub(most), most), size > most),
        None => (Vec::new(), false),
    };
    let (current, is_cut) = end(LOG, most);
    let (old, is_old_cut) = end(OLD_LOG, most.saturating_sub(current.len() as u64));
    ([old, current].concat(), is_cut || is_old_cut)
}

/// What was printed first, as far as it is kept: there an engine says what it allocates.
pub(super) fn first_lines(dir: &Path) -> Vec<String> {
    let first = file(&dir.join(OLD_LOG)).or_else(|| file(&dir.join(LOG)));
    first.map(|(file, _, _)| lines(&read_up_to(file, 0, FIRST), &[])).unwrap_or_default()
}

/// Bytes that were printed, as far as they are kept.
pub(super) fn size(dir: &Path) -> u64 {
    file(&dir.join(LOG)).map_or(0, |(_, inode, size)| inode.rotate_left(32) ^ size)
}

fn file(path: &Path) -> Option<(File, u64, u64)> {
    let file = File::open(path).ok()?;
    let meta = file.metadata().ok()?;
    Some((file, meta.ino(), meta.len()))
}

fn read(file: File, at: u64) -> Vec<u8> {
    read_up_to(file, at, PIECE)
}

fn read_up_to(mut file: File, at: u64, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let done = file.seek(SeekFrom::Start(at)).and_then(|_| file.take(most).read_to_end(&mut bytes));
    if done.is_err() {
        bytes.clear();
    }
    bytes
}

fn lines(bytes: &[u8], secrets: &[String]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(|line| domain::engines::redact(line, secrets)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_line_is_read_once_across_a_rotation_and_keys_are_hidden() {
        let dir = tempfile::TempDir::new().unwrap();
        let (current, old) = (dir.path().join(LOG), dir.path().join(OLD_LOG));
        let mut log = Log::open(dir.path(), true, &["sk-1234".into()]);
        assert!(log.new_lines().is_empty());
        fs::write(&current, "one sk-1234\ntw").unwrap();
        assert_eq!(log.new_lines(), ["one ***"]);
        fs::write(&current, "one sk-1234\ntwo\nthree\n").unwrap();
        fs::rename(&current, &old).unwrap();
        fs::write(&current, "four\nfi").unwrap();
        assert_eq!([log.new_lines(), log.new_lines()].concat(), ["two", "three", "four"]);
        assert_eq!(log.last_line(), ["fi"]);
        assert_eq!(last_lines(dir.path(), 2, &[]), ["four", "fi"]);
        assert_eq!(last_lines(dir.path(), 3, &[]), ["three", "four", "fi"]);
        let mut whole = Log::open(dir.path(), true, &[]);
        assert_eq!([whole.new_lines(), whole.new_lines()].concat().len(), 4);
        assert!(Log::open(dir.path(), false, &[]).new_lines().is_empty());
    }

    #[test]
    fn an_answer_has_the_end_of_a_long_log_in_whole_lines() {
        let dir = tempfile::TempDir::new().unwrap();
        let line = format!("{}\n", "x".repeat(99));
        fs::write(dir.path().join(OLD_LOG), line.repeat(10_000)).unwrap();
        fs::write(dir.path().join(LOG), "last\n").unwrap();
        assert_eq!(end(dir.path(), &[]).len(), 10_001);
        fs::write(dir.path().join(OLD_LOG), line.repeat(11_000)).unwrap();
        let told = end(dir.path(), &[]);
        assert_eq!((told[0].as_str(), told[1].len(), told.last().unwrap().as_str()), (EARLIER, 99, "last"));
        assert_eq!(told.len(), 1 + 10_485 + 1);
        let mut log = Log::open(dir.path(), true, &[]);
        log.new_lines();
        assert!(log.is_behind());
    }

    #[test]
    fn what_was_thrown_away_unread_is_said() {
        let dir = tempfile::TempDir::new().unwrap();
        let (current, old) = (dir.path().join(LOG), dir.path().join(OLD_LOG));
        fs::write(&current, "one\n").unwrap();
        let mut log = Log::open(dir.path(), true, &[]);
        assert_eq!(log.new_lines(), ["one"]);
        let held = File::open(&current).unwrap(); // its inode is not given away again
        fs::write(dir.path().join("next"), "two\n").unwrap();
        fs::rename(dir.path().join("next"), &old).unwrap();
        fs::remove_file(&current).unwrap();
        fs::write(&current, "three\n").unwrap();
        assert_eq!(log.new_lines(), [GAP, "three"]);
        drop(held);
    }
}
