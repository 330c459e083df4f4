//! What downloaders write down of how far they are. Reads bytes and no files.

use serde::Deserialize;
use std::collections::BTreeMap;

/// What a downloader wrote down of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Bytes that it has, as of its last note.
    pub done: u64,
    pub total: u64,
}

/// Reads the control file of aria2 (its manual, "Control File (*.aria2) Format"), version 1.
pub fn aria2(control: &[u8]) -> Option<Record> {
    let mut rest = control;
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at_checked(count)?;
        rest = left;
        Some(taken)
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    if take(2)? != [0, 1] {
        return None; // version 0 has the byte order of whoever wrote it
    }
    take(4)?;
    let hash = usize::try_from(number(take(4)?)).ok()?;
    take(hash)?;
    let piece = number(take(4)?);
    let total = number(take(8)?);
    take(8)?;
    let length = usize::try_from(number(take(4)?)).ok()?;
    let pieces = take(length)?;
    let mut done = bits(pieces, piece, total);
    for _ in 0..number(take(4)?) {
        let Some(head) = take(12) else { break };
        let length = head.get(4..8).map(number)?;
        let Some(blocks) = usize::try_from(head.get(8..).map(number)?).ok().and_then(&mut take) else {
            break;
        };
        done = done.saturating_add(bits(blocks, ARIA2_BLOCK, length));
    }
    Some(Record { done: done.min(total), total })
}

/// Bytes of a block of a piece that is on its way (aria2's `Piece::BLOCK_LENGTH`).
const ARIA2_BLOCK: u64 = 16 << 10;

/// Bytes that the set bits of a field stand for; the last one may stand for less.
fn bits(field: &[u8], each: u64, total: u64) -> u64 {
    let Some(count) = total.checked_next_multiple_of(each.max(1)).map(|end| end / each.max(1)) else {
        return 0;
    };
    let set: u64 = field.iter().map(|byte| u64::from(byte.count_ones())).sum();
    let last = count.checked_sub(1).is_some_and(|last| {
        let byte = usize::try_from(last / 8).ok().and_then(|at| field.get(at));
        byte.is_some_and(|byte| byte & (0x80 >> (last % 8)) != 0)
    });
    let bytes = set.min(count).saturating_mul(each);
    let lacking = count.saturating_mul(each).saturating_sub(total);
    if last { bytes.saturating_sub(lacking) } else { bytes }
}

/// Reads Ollama's notes on the parts of a blob: `sha256-…-partial-0` and on, in any order.
pub fn ollama<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<Record> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Part {
        size: u64,
        completed: u64,
    }
    let mut record: Option<Record> = None;
    for part in parts {
        // One that is just being written is as if it had nothing.
        let Ok(Part { size, completed }) = serde_json::from_slice(part) else { continue };
        let before = record.unwrap_or(Record { done: 0, total: 0 });
        record = Some(Record {
            done: before.done.checked_add(completed.min(size))?,
            total: before.total.checked_add(size)?,
        });
    }
    record
}

/// Reads the end of a `.sync.part` of the hf-hub crate: behind the room for the file, how much of it is there.
pub fn sync_part(size: u64, last: [u8; 8]) -> Option<Record> {
    let total = size.checked_sub(8)?;
    let done = u64::from_le_bytes(last);
    (done <= total).then_some(Record { done, total })
}

/// Reads a list of a revision's files (`trees/COMMIT.json` of a hub repository): bytes of the one with this SHA-256.
pub fn listed(tree: &[u8], sha256: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Tree {
        files: BTreeMap<String, Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        lfs_sha256: Option<String>,
        lfs_size: Option<u64>,
    }
    let tree: Tree = serde_json::from_slice(tree).ok()?;
    let mut files = tree.files.into_values();
    files.find(|file| file.lfs_sha256.as_deref() == Some(sha256))?.lfs_size
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control file as aria2 writes it, big-endian: pieces of `piece` bytes, then pieces that are on their way.
    fn control(piece: u32, total: u64, pieces: &[u8], under_way: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let mut bytes = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(piece.to_be_bytes());
        bytes.extend(total.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend(length(pieces));
        bytes.extend(pieces);
        bytes.extend(u32::try_from(under_way.len()).unwrap().to_be_bytes());
        for (index, long, blocks) in under_way {
            bytes.extend(index.to_be_bytes());
            bytes.extend(long.to_be_bytes());
            bytes.extend(length(blocks));
            bytes.extend(*blocks);
        }
        bytes
    }

    #[test]
    fn a_control_file_of_aria2_tells_what_is_there_and_what_will_be() {
        let mib = 1 << 20;
        // Ten pieces, the last of half a MiB: four whole ones, and one on its way with three blocks of 16 KiB.
        let total = 9 * u64::from(mib) + 524_288;
        let read = aria2(&control(mib, total, &[0b1111_0000, 0], &[(4, mib, &[0b1110_0000])]));
        assert_eq!(read, Some(Record { done: 4 * 1_048_576 + 3 * 16_384, total }));
        let last = aria2(&control(mib, total, &[0, 0b0100_0000], &[]));
        assert_eq!(last, Some(Record { done: 524_288, total }));
        let whole = aria2(&control(mib, total, &[0xff, 0b1100_0000], &[]));
        assert_eq!(whole, Some(Record { done: total, total }));
    }

    #[test]
    fn a_control_file_that_lies_or_ends_early_does_no_harm() {
        let good = control(1 << 20, 10 << 20, &[0xff, 0xc0], &[(1, 1 << 20, &[0xff; 8])]);
        for end in 0..good.len() {
            let read = aria2(&good[..end]);
            assert!(read.is_none_or(|read| read.done <= read.total), "{end}");
        }
        for (piece, total) in [(0, 0), (0, u64::MAX), (u32::MAX, u64::MAX), (1, u64::MAX)] {
            let read = aria2(&control(piece, total, &[0xff; 9], &[(0, u32::MAX, &[0xff; 3])])).unwrap();
            assert!(read.done <= read.total, "{piece} {total}");
        }
        assert_eq!(aria2(&[0, 0, 0, 0]), None, "version 0");
    }

    #[test]
    fn notes_of_ollama_add_up_and_one_that_is_just_written_counts_as_none() {
        let parts: [&[u8]; 3] = [
            br#"{"N":0,"Offset":0,"Size":100,"Completed":100}"#,
            br#"{"N":1,"Offset":100,"Size":100,"Completed":25}"#,
            b"{\"N\":2,",
        ];
        assert_eq!(ollama(parts.into_iter()), Some(Record { done: 125, total: 200 }));
        assert_eq!(ollama([&b"x"[..]].into_iter()), None);
    }

    #[test]
    fn a_list_of_a_revision_knows_sizes_by_hash() {
        let tree = br#"{"format_version":1,"files":{"README.md":{"size":3,"blob_id":"aa"},
            "m.onnx":{"size":130,"blob_id":"bb","lfs_sha256":"cc","lfs_size":5000}}}"#;
        assert_eq!((listed(tree, "cc"), listed(tree, "aa"), listed(b"{", "cc")), (Some(5000), None, None));
    }

    #[test]
    fn the_end_of_a_sync_part_says_what_is_committed() {
        assert_eq!(sync_part(308, 120_u64.to_le_bytes()), Some(Record { done: 120, total: 300 }));
        assert_eq!(sync_part(308, *b"GGUFGGUF"), None, "not its note yet");
        assert_eq!(sync_part(4, [0; 8]), None);
    }
}
