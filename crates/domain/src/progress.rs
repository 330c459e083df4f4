//! How far a download is: what its own file, its header and its downloader's record say, and how fast it grows.
//! Reads nothing itself, and says nothing that none of these knows.

pub mod record;

use crate::{File, Location, Model, Role};
pub use record::Record;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
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

/// A file that is being written, as it was seen last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    pub progress: Progress,
    /// Bytes from its start to its end, and bytes allocated.
    pub size: u64,
    pub disk_size: u64,
}

/// Bytes that were allocated for a file before, and are now.
pub type Grown = BTreeMap<PathBuf, (u64, u64)>;

impl Model {
    /// Puts in how far its files are now, by path, where they are being written; returns how those have grown.
    pub fn set_live(&mut self, live: &BTreeMap<PathBuf, Now>) -> Grown {
        let is_known = |file: &File| file.role == Role::Weights && live.contains_key(&file.path.to_path());
        let mut grown = Grown::new();
        for location in self.locations.iter_mut().filter(|location| location.files.iter().any(is_known)) {
            for file in location.files.iter_mut().filter(|file| file.disk_size.is_some()) {
                let path = file.path.to_path();
                let Some(now) = live.get(&path) else { continue };
                file.size = now.size;
                let before = file.disk_size.replace(now.disk_size).unwrap_or_default();
                grown.insert(path, (before, now.disk_size));
            }
            let weights = location.files.iter().filter(|file| file.role == Role::Weights);
            let parts = weights.map(|file| {
                let now = live.get(&file.path.to_path());
                now.map_or_else(|| Progress::whole(file.size), |now| now.progress)
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
        if !grown.is_empty() {
            self.size = self.locations.first().map_or(0, Location::size);
            self.disk_size = after(self.disk_size, grown.values());
        }
        grown
    }
}

/// Returns bytes allocated for files of which some have grown.
pub fn after<'g>(bytes: u64, grown: impl IntoIterator<Item = &'g (u64, u64)>) -> u64 {
    let add = |bytes: u64, (before, now): &(u64, u64)| bytes.saturating_sub(*before).saturating_add(*now);
    grown.into_iter().fold(bytes, add)
}

impl Location {
    /// Returns the bytes of weights and companions, each file once; of weights that are not whole, those that are there.
    pub(crate) fn size(&self) -> u64 {
        let there = self.progress.and_then(|progress| progress.bytes).filter(|_| self.is_partial);
        let mut seen = BTreeSet::new();
        let once = |file: &&File| file.is_hashed() && seen.insert(file.path.to_path());
        let is_added = |file: &&File| there.is_none() || file.role != Role::Weights;
        let sizes = self.files.iter().filter(once).filter(is_added).map(|file| file.size);
        sizes.fold(there.unwrap_or(0), u64::saturating_add)
    }

    fn is_several(&self) -> bool {
        self.files.iter().filter(|file| file.role == Role::Weights).nth(1).is_some()
    }
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
        App, Hints, OnDisk, Placed, UserData, assemble,
        model::testing::{location, weights},
    };

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
        let part = Now { progress: part, size: 900, disk_size: 1024 };
        let live = [("/m/2.gguf".into(), part), ("/elsewhere".into(), part)].into();
        place.files[1].disk_size = Some(512);
        let on_disk = |inode| Some(OnDisk { volume: "v".into(), inode, disk_size: 512, links: 1 });
        let placed = |location| Placed { on_disk: vec![on_disk(1), on_disk(2)], ..placed(location) };
        let (mut model, _) = assemble("m1", vec![placed(place.clone())], UserData::default());
        assert_eq!((model.size, model.disk_size), (2, 1024), "as it was looked at");
        let grown = model.set_live(&live);
        let now = Progress { bytes: Some(701), total: Some(1001), rate: Some(50) };
        assert_eq!((model.progress, model.locations[0].progress), (Some(now), Some(now)));
        assert_eq!((model.size, model.disk_size, model.locations[0].files[1].size), (701, 1536, 900));
        assert_eq!(grown, [("/m/2.gguf".into(), (512, 1024))].into());
        assert_eq!(after(10_000, grown.values()), 10_512);
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
