//! One weight file: from an open descriptor to what the index keeps of it. Does not touch the index.

use crate::volume::Volume;
use domain::{State, Verdict, judge};
use formats::Windowed;
use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _},
    },
    path::Path,
    time::{Duration, SystemTime},
};

/// A file's content, as far as it is known without reading all of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) verdict: Verdict,
    pub(crate) sampled: Vec<u8>,
    /// Size and times were the same before and after.
    pub(crate) is_still: bool,
}

/// The start of the header that is hashed, bytes.
const HEAD: u64 = 64 << 10;
/// The end of the header that is hashed, bytes: templates and tensor infos, which are edited, stand there.
const HEADER_END: u64 = 128 << 10;
/// Each sample of the data, bytes.
const SAMPLE: u64 = 4 << 10;
/// How many samples lie between the header and the end.
const SAMPLES: u64 = 4;

/// Times younger than this prove nothing: kernels before 6.13 stamp files with a clock that ticks every 4 to 10 ms.
const RACY: Duration = Duration::from_millis(20);
/// Where there are no parts of a second, as on FAT and on ext4 that was ext3, times are even up to 2 s old.
const RACY_SECONDS: Duration = Duration::from_millis(2020);

/// Reads what a file is and what tells its content from others. One without a name only holds data of another.
pub(crate) fn read(file: &File, name: Option<&OsStr>) -> io::Result<Reading> {
    let before = file.metadata()?;
    let verdict = name.map_or_else(|| Ok(Verdict::of_data()), |name| verdict(file, before.len(), name))?;
    let sampled = sample(file, before.len(), verdict.data_start.unwrap_or(HEAD))?;
    let after = file.metadata()?;
    let is_still = (before.len(), before.mtime(), before.mtime_nsec())
        == (after.len(), after.mtime(), after.mtime_nsec());
    Ok(Reading { verdict, sampled, is_still })
}

/// Reads only what a file is.
pub(crate) fn verdict(file: &File, size: u64, name: &OsStr) -> io::Result<Verdict> {
    judge(name, &mut Windowed::new(size, |at, buffer: &mut [u8]| file.read_at(buffer, at)))
}

/// Whether the bytes are all there, as far as the structure tells: an unfinished file may become something else.
pub(crate) fn is_whole(state: State) -> bool {
    !matches!(state, State::Incomplete | State::Downloading)
}

/// Identity of a path's content: volume, inode, size, mtime and ctime; without inodes path, size and mtime.
pub(crate) fn stamp(volume: &Volume, meta: &Metadata, path: &Path) -> String {
    let modified = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
    if volume.has_inodes {
        let changed = format!("{}.{:09}", meta.ctime(), meta.ctime_nsec());
        return format!("{}|{}|{}|{modified}|{changed}", volume.name, meta.ino(), meta.len());
    }
    let path = blake3::hash(path.as_os_str().as_bytes());
    format!("{}|{path}|{}|{modified}", volume.name, meta.len())
}

/// What of a stamp stays when only ctime changes: a hard link was made, or rights were given.
pub(crate) fn without_ctime(stamp: &str, has_inodes: bool) -> &str {
    stamp.rsplit_once('|').filter(|_| has_inodes).map_or(stamp, |(rest, _)| rest)
}

/// How long a file has to be as it is before its times tell of every further change.
pub(crate) fn racy_for(meta: &Metadata) -> Duration {
    if has_parts(meta) { RACY } else { RACY_SECONDS }
}

/// Whether its times are more exact than a second.
pub(crate) fn has_parts(meta: &Metadata) -> bool {
    meta.ctime_nsec() != 0 || meta.mtime_nsec() != 0
}

/// Says whether a change right after `now` could leave the same stamp.
pub(crate) fn is_racy(meta: &Metadata, now: SystemTime) -> bool {
    let changed = SystemTime::UNIX_EPOCH
        + Duration::new(
            u64::try_from(meta.ctime()).unwrap_or(0),
            u32::try_from(meta.ctime_nsec()).unwrap_or(0),
        );
    now.duration_since(changed).is_ok_and(|age| age < racy_for(meta))
}

/// BLAKE3 over size, head and end of the header, and evenly spaced samples of the data up to its end. Collisions
/// cannot be made, so that nobody's file takes over the tags of another; where there are no SHA instructions it is
/// many times faster than SHA-256.
fn sample(file: &File, len: u64, header_end: u64) -> io::Result<Vec<u8>> {
    let mut hash = blake3::Hasher::new();
    hash.update(&len.to_le_bytes());
    let header_end = header_end.min(len);
    let head = HEAD.min(header_end);
    let mut spans = vec![0..head, header_end.saturating_sub(HEADER_END).max(head)..header_end];
    let data = len.saturating_sub(header_end);
    spans.extend((1..=SAMPLES).map(|n| {
        let end = if n == SAMPLES { len } else { header_end + data / SAMPLES * n };
        end.saturating_sub(SAMPLE).max(header_end)..end
    }));
    let mut buffer = vec![0; 64 << 10];
    for span in spans {
        hash_span(file, &mut hash, &mut buffer, span)?;
    }
    Ok(hash.finalize().as_bytes().to_vec())
}

fn hash_span(
    file: &File,
    hash: &mut blake3::Hasher,
    buffer: &mut [u8],
    span: std::ops::Range<u64>,
) -> io::Result<()> {
    let mut at = span.start;
    while at < span.end {
        let wanted = usize::try_from(span.end - at).unwrap_or(usize::MAX).min(buffer.len());
        let got = file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), at)?;
        let Some(bytes) = buffer.get(..got).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        hash.update(bytes);
        at += got as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(bytes: &[u8], header_end: u64) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        std::fs::write(&path, bytes).unwrap();
        sample(&File::open(path).unwrap(), bytes.len() as u64, header_end).unwrap()
    }

    #[test]
    fn the_sampled_id_sees_head_header_end_tail_and_length() {
        let bytes = vec![7; 1 << 20];
        let same = sampled(&bytes, 400_000);
        assert_eq!(sampled(&bytes, 400_000), same);
        for at in [0, 65_535, 300_000, 399_999, bytes.len() - 1] {
            let mut other = bytes.clone();
            other[at] = 8;
            assert_ne!(sampled(&other, 400_000), same, "byte {at}");
        }
        assert_ne!(sampled(&bytes[1..], 400_000), same);
    }

    #[test]
    fn every_byte_of_a_small_file_counts() {
        let bytes: Vec<u8> = (0..2000_u32).map(|n| (n % 251) as u8).collect();
        let same = sampled(&bytes, 800);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(sampled(&other, 800), same, "byte {at}");
        }
    }
}
