//! Where files lie on their disk: what lies at the same place is there once, however many inodes name it (reflinks,
//! deduplicated blocks). Asks no kernel.

use std::collections::BTreeMap;

/// The stretches of one file, of which every byte's place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extents {
    /// The disk that the places are on, which may show itself as several volumes.
    pub disk: String,
    pub all: Vec<Extent>,
}

/// A stretch, bytes from the start of the disk's own count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub start: u64,
    pub length: u64,
    /// Another file has it too, says the filesystem: a copy, or a snapshot.
    pub is_shared: bool,
}

/// What of a file's bytes is new, and what outlives the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) all: u64,
    /// Not at a place that was counted before.
    pub(super) new: u64,
    /// Of the new, what the filesystem says is another file's too, and none of those known.
    pub(super) elsewhere: u64,
}

impl Part {
    /// Returns so much of `bytes` as `part` is of all: what is compressed takes less than it spans.
    fn of(self, bytes: u64, part: u64) -> u64 {
        let share = u128::from(bytes) * u128::from(part) / u128::from(self.all.max(1));
        u64::try_from(share).unwrap_or(bytes)
    }

    /// Bytes that were not counted before.
    pub(super) fn new_of(self, bytes: u64) -> u64 {
        self.of(bytes, self.new)
    }

    /// Of these, what would be free without the file.
    pub(super) fn free_of(self, bytes: u64) -> u64 {
        self.of(bytes, self.new.saturating_sub(self.elsewhere))
    }
}

/// Places that were counted, on each disk: start and end, apart from each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Places<'a>(BTreeMap<&'a str, BTreeMap<u64, u64>>);

impl<'a> Places<'a> {
    pub(super) fn of(files: impl IntoIterator<Item = &'a Extents>) -> Self {
        let mut places = Self::default();
        files.into_iter().for_each(|file| places.add(file));
        places
    }

    pub(super) fn add(&mut self, file: &'a Extents) {
        let places = self.0.entry(&file.disk).or_default();
        for extent in &file.all {
            let (mut start, mut end) = (extent.start, extent.start.saturating_add(extent.length));
            // What it touches becomes one with it.
            while let Some((from, to)) = places.range(..=end).next_back().map(|(from, to)| (*from, *to)) {
                if to < start {
                    break;
                }
                (start, end) = (start.min(from), end.max(to));
                places.remove(&from);
            }
            places.insert(start, end);
        }
    }

    /// What of a file is new besides these, and what is only `others`' as well.
    pub(super) fn part(&self, file: &Extents, others: &Self) -> Part {
        let mut part = Part::default();
        for extent in &file.all {
            let end = extent.start.saturating_add(extent.length);
            part.all = part.all.saturating_add(end - extent.start);
            let gaps = self.gaps(&file.disk, extent.start, end);
            for (start, end) in gaps {
                part.new = part.new.saturating_add(end - start);
                let unknown = others.gaps(&file.disk, start, end).into_iter().filter(|_| extent.is_shared);
                part.elsewhere =
                    unknown.map(|(start, end)| end - start).fold(part.elsewhere, u64::saturating_add);
            }
        }
        part
    }

    /// What is not counted between two places.
    fn gaps(&self, disk: &str, start: u64, end: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut at = start;
        let places = self.0.get(disk);
        let before = places.and_then(|places| places.range(..=start).next_back());
        let within =
            places.into_iter().flat_map(|places| places.range(start.saturating_add(1)..end.max(start + 1)));
        for (from, to) in before.into_iter().chain(within) {
            if *from > at {
                gaps.push((at, (*from).min(end)));
            }
            at = at.max(*to);
        }
        if at < end {
            gaps.push((at, end));
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(disk: &str, all: &[(u64, u64, bool)]) -> Extents {
        let extent = |(start, length, is_shared): &(u64, u64, bool)| Extent {
            start: *start,
            length: *length,
            is_shared: *is_shared,
        };
        Extents { disk: disk.into(), all: all.iter().map(extent).collect() }
    }

    fn part(counted: &[&Extents], of: &Extents, others: &[&Extents]) -> (u64, u64, u64) {
        let part = Places::of(counted.iter().copied()).part(of, &Places::of(others.iter().copied()));
        (part.all, part.new, part.elsewhere)
    }

    #[test]
    fn the_same_place_is_the_same_bytes_however_it_is_cut() {
        let whole = file("d", &[(1000, 400, true)]);
        let cut = file("d", &[(1300, 100, true), (1000, 150, true), (1150, 150, true)]);
        assert_eq!(part(&[&whole], &cut, &[&whole]), (400, 0, 0));
        assert_eq!(part(&[&cut], &whole, &[&cut]), (400, 0, 0));
        assert_eq!(part(&[], &cut, &[&whole]), (400, 400, 0));
        let other = file("e", &[(1000, 400, false)]);
        assert_eq!(part(&[&whole, &cut], &other, &[]), (400, 400, 0), "another disk");
    }

    #[test]
    fn a_copy_of_which_a_part_was_written_anew_is_partly_new() {
        let first = file("d", &[(0, 100, true), (500, 100, false)]);
        let copy = file("d", &[(0, 100, true), (900, 100, false)]);
        assert_eq!(part(&[&first], &copy, &[&first]), (200, 100, 0));
        let over = file("d", &[(50, 500, true)]);
        assert_eq!(part(&[&first], &over, &[&first, &copy]), (500, 400, 400), "from 100 to 500");
        assert_eq!(
            part(&[&over], &first, &[&over]),
            (200, 100, 50),
            "0 to 50 is a snapshot's, 550 to 600 nobody's"
        );
    }

    #[test]
    fn bytes_follow_the_places_in_proportion() {
        let part = Part { all: 1000, new: 250, elsewhere: 50 };
        assert_eq!((part.new_of(100), part.free_of(100)), (25, 20), "compressed to a tenth");
        assert_eq!(Part::default().new_of(u64::MAX), 0);
        let odd = file("d", &[(u64::MAX - 1, u64::MAX, true), (0, 0, false)]);
        assert_eq!(Places::of([&odd]).part(&odd, &Places::default()).new, 0);
    }
}
