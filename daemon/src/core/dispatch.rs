//! From what waits to jobs.

use super::{Core, Effect, queue::Why};
use crate::{
    index::UnitRow,
    work::{Job, Looked, UnitJob},
};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

/// Units that are checked in one go: handing one over takes as long as its check.
const TOGETHER: usize = 16;

impl Core {
    /// Hands waiting units to the workers.
    pub(super) fn dispatch(&mut self, effects: &mut Vec<Effect>) {
        let roots: Arc<BTreeSet<PathBuf>> = self.roots.paths();
        let mut checks: Vec<UnitJob> = Vec::new();
        while let Some((unit, if_changed)) = self.queue.next(self.now) {
            let Some(job) = self.job(unit, &roots) else { continue };
            if !if_changed {
                effects.push(Effect::Do(Job::Unit(job)));
                continue;
            }
            let is_other = checks.first().is_some_and(|first| first.unit.root != job.unit.root);
            if is_other || checks.len() >= TOGETHER {
                effects.push(Effect::Do(Job::Check(std::mem::take(&mut checks))));
            }
            checks.push(job);
        }
        if !checks.is_empty() {
            effects.push(Effect::Do(Job::Check(checks)));
        }
    }

    /// None where its root has gone.
    fn job(&mut self, unit: UnitRow, roots: &Arc<BTreeSet<PathBuf>>) -> Option<UnitJob> {
        let Some(app) = self.roots.app_of(&unit.root) else {
            self.queue.finish(&unit);
            return None;
        };
        let growing = self.growing.below(&unit.dir);
        let root = self.roots.at(&unit.root);
        let (place, seats) =
            root.map(|root| (root.place.clone(), Arc::clone(&root.seats))).unwrap_or_default();
        Some(UnitJob { unit, app, place, seats, growing, roots: Arc::clone(roots) })
    }

    /// Units were compared with what they rested on: those that differ are looked at, for whoever waits for the check.
    pub(super) fn checked(
        &mut self,
        same: &[UnitRow],
        changed: Vec<UnitRow>,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        for unit in changed {
            if !self.is_wanted(&unit) {
                self.finish_unwanted(&unit, effects);
                continue;
            }
            self.queue.push_as_of(unit.clone(), Why::Scan, self.queue.tick_of(&unit));
            self.queue.finish(&unit);
        }
        same.iter().try_for_each(|unit| self.looked(unit, Looked::Same, effects))
    }
}
