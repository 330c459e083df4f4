//! Filesystems that are mounted in a root, or over a part of it: what is not seen any more is offline, not gone. Looks
//! at no mount table.

use super::{Core, Effect, queue::Why};
use crate::{index::UnitRow, seats::Seats, work::Job};
use std::{path::Path, sync::Arc};

impl Core {
    /// Notes what is seen at a root and below it now. Returns whether that has changed: then what was not seen before
    /// is still to be looked at.
    pub(super) fn seat(
        &mut self,
        path: &Path,
        now: &Seats,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<bool> {
        let Some(root) = self.roots.at_mut(path) else { return Ok(false) };
        let before = Arc::clone(&root.seats);
        let now = now.clone().after(&before);
        // A table that could not be read says nothing.
        if now == *before || now.is_empty() {
            return Ok(false);
        }
        root.seats = Arc::new(now.clone());
        if now.have_names_of(&before) {
            return Ok(false); // mounted anew
        }
        self.index.put_seats(path, &now)?;
        if before.is_empty() {
            return Ok(false); // seen for the first time
        }
        if now.are_in_place(&before) {
            effects.push(Effect::Do(Job::Anew)); // its name came later: others are to hear of it
        }
        // Watches tell of what is hidden now as if it were still there.
        effects.extend(now.changes(&before).map(|point| Effect::Unwatch(point.to_owned())));
        let models = self.index.reseat(path, &before, &now, self.now)?;
        tracing::info!(path = %path.display(), models = models.len(), "other filesystems are seen in the root");
        self.refresh_all(&models, effects)?;
        Ok(true)
    }

    /// A look met other filesystems than were thought to be seen: it is made again when that was asked.
    pub(super) fn ask_what_is_seen(&mut self, unit: &UnitRow, effects: &mut Vec<Effect>) {
        self.queue.push_as_of(unit.clone(), Why::Scan, self.queue.tick_of(unit));
        let is_asked = self.roots.at(&unit.root).is_some_and(|root| root.unanswered > 0);
        if self.queue.hold(&unit.root) && !is_asked {
            self.probe_again(&unit.root, effects);
        }
    }

    /// As `seat`, and looks again at what is or was being looked at.
    pub(super) fn reseat(
        &mut self,
        path: &Path,
        now: &Seats,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        if self.seat(path, now, effects)? {
            self.queue.void(path);
            self.look_at_roots_below(path)?;
            self.look_at_root(path, Why::Check)?;
        }
        Ok(())
    }
}
