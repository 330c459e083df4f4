//! Filesystems that are mounted in a root, or over a part of it: what is not seen any more is offline, not gone. Looks
//! at no mount table.

use super::{Core, Effect, queue::Why};
use crate::seats::Seats;
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
        self.index.put_seats(path, &now)?;
        if before.is_empty() {
            return Ok(false); // seen for the first time
        }
        // Watches tell of what is hidden now as if it were still there.
        effects.extend(now.changes(&before).map(|point| Effect::Unwatch(point.to_owned())));
        let models = self.index.reseat(path, &before, &now, self.now)?;
        tracing::info!(path = %path.display(), models = models.len(), "other filesystems are seen in the root");
        self.refresh_all(&models, effects)?;
        Ok(true)
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
