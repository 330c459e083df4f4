//! Whether units are as they were: nothing that they rest on has another stamp.

use super::{UnitJob, Worker};
use crate::index::{Depend, UnitRow};
use std::{collections::BTreeSet, path::PathBuf};

/// A unit, what it rests on, and the directories that are watched where they are there.
struct Known {
    unit: UnitRow,
    depends: Vec<Depend>,
    optional: Vec<PathBuf>,
}

impl Worker {
    /// Tells the units that are as they were from those that are to be looked at, and watches the directories of both
    /// again.
    pub(super) fn check(&mut self, jobs: Vec<UnitJob>) -> (Vec<UnitRow>, Vec<UnitRow>) {
        self.mind_mounts();
        let is_in_place = self.is_in_place(&jobs);
        let known: Vec<Known> = jobs.into_iter().map(|job| self.known_of(job)).collect();
        let dirs: BTreeSet<PathBuf> = known.iter().flat_map(Known::dirs).cloned().collect();
        // Before the stamps: what changes after them is told by an event.
        let unwatched: BTreeSet<PathBuf> =
            self.watch.add(dirs.into_iter().collect()).into_iter().map(|(dir, _)| dir).collect();
        let (same, changed): (Vec<Known>, Vec<Known>) =
            known.into_iter().partition(|known| is_in_place && self.is_same(known, &unwatched));
        let units = |all: Vec<Known>| all.into_iter().map(|known| known.unit);
        if self.mind_mounts() {
            return (Vec::new(), units(same).chain(units(changed)).collect());
        }
        (units(same).collect(), units(changed).collect())
    }

    /// Whether the same filesystems are seen in the root as was thought; a look says what there is else.
    fn is_in_place(&mut self, jobs: &[UnitJob]) -> bool {
        jobs.first().is_none_or(|job| self.volumes.seats(&job.unit.root).are_in_place(&job.seats))
    }

    /// Nothing is known of a unit that cannot be read: it is looked at, which says why.
    fn known_of(&mut self, job: UnitJob) -> Known {
        let depends = self.reader().and_then(|reader| reader.depends(&job.unit)).unwrap_or_default();
        Known { optional: Self::incoming(&job), unit: job.unit, depends }
    }

    fn is_same(&mut self, known: &Known, unwatched: &BTreeSet<PathBuf>) -> bool {
        let Known { depends, optional, .. } = known;
        let is_watched =
            |depend: &Depend| optional.contains(&depend.path) || !unwatched.contains(&depend.path);
        !depends.is_empty()
            && depends.iter().filter(|depend| depend.is_dir).all(is_watched)
            && depends
                .iter()
                .all(|depend| depend.stamp.is_some() && self.stamp_of(&depend.path) == depend.stamp)
    }
}

impl Known {
    fn dirs(&self) -> impl Iterator<Item = &PathBuf> {
        let listed = self.depends.iter().filter(|depend| depend.is_dir).map(|depend| &depend.path);
        listed.chain(&self.optional)
    }
}
