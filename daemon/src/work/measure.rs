//! How much of a file that is being written is there: its length, its holes, its header, its downloader's record.
//! Never waits, and changes nothing.

use crate::look;
use domain::{
    names::with_suffix,
    progress::{Progress, Record, Witness, record},
    stores::partial::{self, RecordAt},
    whole_size,
};
use formats::Windowed;
use rustix::fs::{SeekFrom, seek};
use std::{
    fs::{File, Metadata},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    time::Instant,
};

/// A file that is being written, as it was at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Bytes from its start to its end.
    pub size: u64,
    /// Bytes allocated.
    pub disk_size: u64,
    /// Seconds and nanoseconds.
    pub modified: (i64, i64),
    pub progress: Progress,
    /// By a clock that nobody sets.
    pub at: Instant,
}

impl Sight {
    /// Whether nothing has been written between two looks.
    pub fn is_like(&self, other: &Self) -> bool {
        let seen = |sight: &Self| (sight.size, sight.modified, sight.progress.bytes);
        seen(self) == seen(other)
    }
}

/// Stretches of data in one file that are counted; a download has a few dozen.
const STRETCHES: usize = 4096;

/// Parts in which Ollama downloads a blob: it makes them of 100 MB at least.
const PARTS: usize = 4096;

/// Lists of revisions that are looked into; a repository has a handful.
const LISTS: usize = 16;

/// Looks at a file; None where there is none. `total` is what its header has said before.
pub(crate) fn sight(path: &Path, total: Option<u64>) -> Option<Sight> {
    let meta = path.symlink_metadata().ok().filter(Metadata::is_file)?;
    let modified = (meta.mtime(), meta.mtime_nsec());
    let (size, disk_size) = (meta.len(), meta.blocks().saturating_mul(512));
    Some(Sight { size, disk_size, modified, progress: progress(path, &meta, total), at: Instant::now() })
}

/// Says how much of a file is there.
pub(crate) fn progress(path: &Path, meta: &Metadata, total: Option<u64>) -> Progress {
    let opened = look::resolved(path).and_then(|path| look::open_resolved(&path).ok());
    // Of a file that must not be read, the blocks are known all the same.
    let allocated = || Some(meta.blocks().saturating_mul(512));
    let written = opened.as_ref().map_or_else(allocated, |file| data(file, meta.len()));
    let header = || {
        let file = opened.as_ref()?;
        whole_size(&mut Windowed::new(meta.len(), |at, buffer: &mut [u8]| file.read_at(buffer, at)))
    };
    let record = record(path, opened.as_ref(), meta.len());
    let header = total.or_else(header);
    let listed = if header.is_none() { listed(path) } else { None };
    Witness { size: meta.len(), written, header, record, listed }.progress()
}

fn record(path: &Path, opened: Option<&File>, size: u64) -> Option<Record> {
    match partial::download(Path::new(path.file_name()?)).map(|download| download.record) {
        Some(RecordAt::Parts) => {
            let parts = (0..PARTS).map_while(|n| look::small_file(&with_suffix(path, &format!("-{n}"))));
            record::ollama(parts.collect::<Vec<_>>().iter().map(Vec::as_slice))
        }
        Some(RecordAt::End) => {
            let mut last = [0; 8];
            opened?.read_exact_at(&mut last, size.checked_sub(8)?).ok()?;
            record::sync_part(size, last)
        }
        Some(RecordAt::None) => None,
        None => record::aria2(&look::small_file(&with_suffix(path, ".aria2"))?),
    }
}

/// What a hub repository's own lists say of a blob that is named by its hash.
fn listed(path: &Path) -> Option<u64> {
    let sha256 = partial::download(Path::new(path.file_name()?))?.sha256?;
    let trees = path.parent().filter(|dir| dir.ends_with("blobs"))?.with_file_name("trees");
    let lists = std::fs::read_dir(trees).ok()?.take(LISTS).flatten();
    lists.into_iter().find_map(|list| record::listed(&look::small_file(&list.path())?, &sha256))
}

/// Bytes that are no holes. None where the filesystem does not tell, or there are too many stretches to count.
fn data(file: &File, size: u64) -> Option<u64> {
    let (mut at, mut bytes) = (0, 0_u64);
    for _ in 0..STRETCHES {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Some(bytes), // no data behind
            Err(_) => return None,
        };
        let end = seek(file, SeekFrom::Hole(start)).ok()?.min(size);
        bytes = bytes.saturating_add(end.saturating_sub(start));
        at = end;
        if at >= size || end <= start {
            return Some(bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn seen(path: &Path) -> Progress {
        sight(path, None).unwrap().progress
    }

    #[test]
    fn holes_are_not_counted_and_the_notes_of_ollama_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("sha256-{}-partial", "ab".repeat(32)));
        let file = File::create(&path).unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(&[7; 1 << 20], 4 << 20).unwrap();
        assert_eq!(seen(&path), Progress { bytes: Some(1 << 20), total: None, rate: None });
        let note = |n: u64, done: u64| {
            let text = format!(r#"{{"N":{n},"Offset":{},"Size":4194304,"Completed":{done}}}"#, n << 22);
            fs::write(with_suffix(&path, &format!("-{n}")), text).unwrap();
        };
        note(0, 0);
        note(1, 2 << 20);
        assert_eq!(seen(&path), Progress { bytes: Some(2 << 20), total: Some(8 << 20), rate: None });
    }

    #[test]
    fn a_blob_of_which_the_header_says_nothing_is_in_its_repositorys_list() {
        let dir = tempfile::tempdir().unwrap();
        let sha256 = "ab".repeat(32);
        let path = dir.path().join("blobs").join(format!("{sha256}.0a1b2c3d.incomplete"));
        fs::create_dir(dir.path().join("blobs")).unwrap();
        fs::write(&path, [8; 100]).unwrap();
        assert_eq!(seen(&path).total, None);
        fs::create_dir(dir.path().join("trees")).unwrap();
        let list =
            format!(r#"{{"files":{{"m.onnx":{{"size":1,"lfs_sha256":"{sha256}","lfs_size":5000}}}}}}"#);
        fs::write(dir.path().join("trees/0123.json"), list).unwrap();
        assert_eq!(seen(&path), Progress { bytes: Some(100), total: Some(5000), rate: None });
    }

    #[test]
    fn a_file_that_was_reserved_is_as_far_as_its_control_file_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.safetensors");
        fs::write(&path, vec![7; 3 << 20]).unwrap();
        // Version 1, pieces of 1 MiB, 3 MiB in all, the first of three pieces.
        let control =
            b"\0\x01\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x30\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x80\0\0\0\0";
        fs::write(with_suffix(&path, ".aria2"), control).unwrap();
        assert_eq!(seen(&path), Progress { bytes: Some(1 << 20), total: Some(3 << 20), rate: None });
    }

    #[test]
    fn what_is_no_regular_file_is_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(sight(dir.path(), None), None);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("x.gguf.part")).unwrap();
        assert_eq!(sight(&dir.path().join("x.gguf.part"), None), None);
    }
}
