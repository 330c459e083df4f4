//! How far a download is: what its own file, its header and its downloader's record say, and how fast it grows.
//! Reads nothing itself, and says nothing that none of these knows.

use crate::{File, Location, Model, Role};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    time::Duration,
};

/// Of a file or a model that is not whole, or not yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes that are there.
    pub bytes: Option<u64>,
    /// Bytes that there will be.
    pub total: Option<u64>,
    /// Bytes a second over the last seconds; 0 where nothing has come for a while.
    pub rate: Option<u64>,
}

impl Progress {
    /// Returns that of a file of which all is there.
    pub fn whole(size: u64) -> Self {
        Self { bytes: Some(size), total: Some(size), rate: None }
    }

    /// Returns how much is there, in hundredths; 100 only once all is.
    pub fn percent(&self) -> Option<u64> {
        let (bytes, total) = (self.bytes?, self.total.filter(|total| *total > 0)?);
        u64::try_from(u128::from(bytes.min(total)) * 100 / u128::from(total)).ok()
    }

    /// Returns in how many seconds all will be there, as it goes now.
    pub fn seconds_left(&self) -> Option<u64> {
        let rate = self.rate.filter(|rate| *rate > 0)?;
        Some(self.total?.checked_sub(self.bytes?)?.div_ceil(rate))
    }

    /// Takes two parts of one model together.
    pub fn and(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| a?.checked_add(b?);
        let rate = match (self.rate, other.rate) {
            (Some(a), Some(b)) => a.checked_add(b),
            (a, b) => a.or(b),
        };
        Self { bytes: sum(self.bytes, other.bytes), total: sum(self.total, other.total), rate }
    }
}

impl Model {
    /// Puts in how far its files are now, by path, where they are being written.
    pub fn set_live(&mut self, live: &BTreeMap<PathBuf, Progress>) {
        let is_known = |file: &File| file.role == Role::Weights && live.contains_key(&file.path.to_path());
        for location in self.locations.iter_mut().filter(|location| location.files.iter().any(is_known)) {
            let weights = location.files.iter().filter(|file| file.role == Role::Weights);
            let parts = weights.map(|file| {
                live.get(&file.path.to_path()).copied().unwrap_or_else(|| Progress::whole(file.size))
            });
            let now = parts.reduce(Progress::and);
            // Where a part is not there at all, nobody knows the whole.
            let is_open =
                location.is_several() && location.progress.is_some_and(|before| before.total.is_none());
            location.progress = now.map(|now| if is_open { Progress { total: None, ..now } } else { now });
        }
        if !self.state.is_usable() {
            self.progress = self.locations.iter().find_map(|location| location.progress);
        }
    }
}

impl Location {
    fn is_several(&self) -> bool {
        self.files.iter().filter(|file| file.role == Role::Weights).nth(1).is_some()
    }
}

/// What a downloader wrote down of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Bytes that it has, as of its last note.
    pub done: u64,
    pub total: u64,
}

/// What there is to see of a file that is being written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Witness {
    /// Bytes from the start to the end of the file, holes included.
    pub size: u64,
    /// Bytes that are no holes; None where the filesystem does not tell.
    pub written: Option<u64>,
    /// Bytes that a whole file has, by its header.
    pub header: Option<u64>,
    pub record: Option<Record>,
    /// Bytes that a whole file has, by a list of the files that its source has.
    pub listed: Option<u64>,
}

impl Witness {
    /// Returns what is there and what there will be.
    ///
    /// A record that has room for all that the header names knows the end to the byte; the header knows the end of the
    /// last tensor. Where space was reserved at once, neither length nor blocks say how much has come: the record does.
    pub fn progress(&self) -> Progress {
        let recorded = self.record.map(|record| record.total).filter(|total| *total > 0);
        let total = match (recorded, self.header) {
            (Some(recorded), Some(header)) if recorded < header => Some(header),
            (recorded, header) => recorded.or(header).or(self.listed),
        };
        let written = self.written.unwrap_or(self.size).min(self.size);
        let is_reserved = recorded.is_some_and(|total| written >= total);
        let bytes = match self.record {
            Some(record) if is_reserved => record.done,
            Some(record) => written.max(record.done),
            None => written,
        };
        let bytes = total.map_or(bytes, |total| bytes.min(total));
        Progress { bytes: Some(bytes), total, rate: None }
    }
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

/// Over how long a rate is taken: downloaders write in bursts.
const WINDOW: Duration = Duration::from_secs(10);

/// Two looks that are closer than this say nothing of a rate.
const CLOSEST: Duration = Duration::from_millis(200);

/// How fast a file grows, from looks at it by a clock that nobody sets.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    seen: VecDeque<(Duration, u64)>,
}

impl Meter {
    /// Notes how many bytes were there so long after the first look; a file that became shorter starts anew.
    pub fn note(&mut self, at: Duration, bytes: u64) {
        if self.seen.back().is_some_and(|(_, before)| *before > bytes) {
            self.seen.clear();
        }
        self.seen.push_back((at, bytes));
        // The last one from before the window stays: it is where the window begins.
        while self.seen.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= WINDOW) {
            self.seen.pop_front();
        }
    }

    /// Returns bytes a second; None before there are two looks.
    pub fn rate(&self) -> Option<u64> {
        let ((first, from), (last, to)) = (self.seen.front()?, self.seen.back()?);
        let took = last.saturating_sub(*first);
        let grown = u128::from(to.saturating_sub(*from)) * 1_000_000;
        (took >= CLOSEST).then(|| u64::try_from(grown / took.as_micros().max(1)).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        App, Hints, Placed, UserData, assemble,
        model::testing::{location, weights},
    };

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

    #[test]
    fn what_was_reserved_is_not_taken_for_what_has_come() {
        let seen = |size, written, header, record: Option<(u64, u64)>| {
            let record = record.map(|(done, total)| Record { done, total });
            let progress = Witness { size, written, header, record, listed: Some(3000) }.progress();
            (progress.bytes.unwrap(), progress.total)
        };
        assert_eq!(seen(500, Some(500), Some(1000), None), (500, Some(1000)), "grows at its end");
        assert_eq!(seen(1000, Some(300), None, Some((250, 1000))), (300, Some(1000)), "the note is older");
        assert_eq!(seen(1000, Some(1000), Some(990), Some((250, 1000))), (250, Some(1000)), "all reserved");
        assert_eq!(
            seen(500, Some(500), Some(2000), Some((0, 1000))),
            (500, Some(2000)),
            "the record is wrong"
        );
        assert_eq!(seen(1010, None, Some(1000), None), (1000, Some(1000)));
        assert_eq!(seen(500, None, None, None), (500, Some(3000)), "its repository's list");
        let alone = Witness { size: 500, ..Witness::default() }.progress();
        assert_eq!((alone.bytes, alone.total), (Some(500), None));
    }

    #[test]
    fn a_rate_is_of_the_last_seconds_and_falls_to_nothing() {
        let at = Duration::from_secs;
        let mut meter = Meter::default();
        meter.note(at(0), 0);
        assert_eq!(meter.rate(), None);
        meter.note(at(1), 1000);
        assert_eq!(meter.rate(), Some(1000));
        (2..=20).for_each(|second| meter.note(at(second), 1000 + (second - 1) * 3000));
        assert_eq!(meter.rate(), Some(3000), "the slow start is forgotten");
        (21..=31).for_each(|second| meter.note(at(second), 58_000));
        assert_eq!(meter.rate(), Some(0));
        meter.note(at(32), 10);
        assert_eq!(meter.rate(), None, "it began anew");
    }

    #[test]
    fn a_model_is_as_far_as_its_parts_are_now() {
        let files = vec![weights("/m/1.gguf"), weights("/m/2.gguf")];
        let mut place = location(App::Loose, "m", files);
        place.is_partial = true;
        place.progress = Some(Progress { bytes: Some(2), total: Some(1001), rate: None });
        let placed = |location| Placed {
            location,
            on_disk: vec![None, None],
            base_models: Vec::new(),
            lineage: Vec::new(),
            hints: Hints::default(),
            verdicts: Vec::new(),
        };
        let part = Progress { bytes: Some(700), total: Some(1000), rate: Some(50) };
        let live = [("/m/2.gguf".into(), part), ("/elsewhere".into(), part)].into();
        let (mut model, _) = assemble("m1", vec![placed(place.clone())], UserData::default());
        model.set_live(&live);
        let now = Progress { bytes: Some(701), total: Some(1001), rate: Some(50) };
        assert_eq!((model.progress, model.locations[0].progress), (Some(now), Some(now)));
        place.progress = None;
        place.is_partial = false;
        let (mut whole, _) = assemble("m1", vec![placed(place)], UserData::default());
        whole.set_live(&BTreeMap::new());
        assert_eq!(whole.progress, None);
    }

    #[test]
    fn a_part_says_how_much_and_how_long() {
        let part = Progress { bytes: Some(999), total: Some(1000), rate: Some(10) };
        assert_eq!((part.percent(), part.seconds_left()), (Some(99), Some(1)));
        assert_eq!(Progress { bytes: Some(5), ..Progress::default() }.percent(), None);
        let whole = Progress { bytes: Some(500), total: Some(500), rate: None };
        let both = Progress { bytes: Some(1499), total: Some(1500), rate: Some(10) };
        assert_eq!(part.and(whole), both);
    }
}
