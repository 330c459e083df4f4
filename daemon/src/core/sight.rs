//! When to look again for places where stores may live. Looks nowhere itself.

use super::{Core, Effect};
use crate::{
    discover::{Concerns, Discovered, Doubts},
    watch::Change,
    work::Job,
};
use jiff::{SignedDuration, Timestamp};
use std::path::Path;

/// Between two looks, seconds: as long after one that brought something, twice as long after each that brought nothing.
/// A home in which folders come and go all the time is looked through twice a minute at most.
const SHORTEST_PAUSE: i64 = 1;
const LONGEST_PAUSE: i64 = 32;
/// Folders for which there is no watch are looked at this often, seconds.
const UNWATCHED_PAUSE: i64 = 600;

#[derive(Debug, Default)]
pub(super) struct Lookout {
    concerns: Concerns,
    doubts: Doubts,
    /// Something may be new since the last look began.
    is_stale: bool,
    /// The ticket of the look that is under way.
    under_way: Option<u64>,
    /// The ticket of the one after it, where somebody waits for that.
    next: Option<u64>,
    /// When the last look began.
    last: Option<Timestamp>,
    pause: i64,
}

impl Lookout {
    /// In how many seconds it is to be looked, if at all.
    fn due(&self, now: Timestamp) -> Option<u64> {
        let pause = if self.is_stale {
            self.pause
        } else if self.concerns.unwatched > 0 {
            UNWATCHED_PAUSE
        } else {
            return None;
        };
        let since = self.last.map_or(SignedDuration::MAX, |last| now.duration_since(last));
        // A clock that was set back says nothing.
        let left = if since.is_negative() { 0 } else { pause.saturating_sub(since.as_secs()) };
        self.under_way.is_none().then_some(u64::try_from(left).unwrap_or(0))
    }

    /// After a time without news the next is looked for at once.
    fn rest(&mut self, now: Timestamp) {
        let quiet = SignedDuration::from_secs(self.pause.saturating_mul(4));
        if self.last.is_none_or(|last| now.duration_since(last) >= quiet) {
            self.pause = SHORTEST_PAUSE;
        }
    }
}

impl Core {
    /// Notes whether a change may be of a place that was looked at.
    pub(super) fn sighted(&mut self, path: &Path, change: Change) {
        let is_entry_new = match change {
            Change::Begun | Change::Settled => true,
            Change::Touched | Change::Closed => false,
        };
        let concerns = &self.sight.concerns;
        if self.sight.is_stale || !concerns.has(path, is_entry_new) || self.is_only_a_model(path) {
            return;
        }
        tracing::debug!(path = %path.display(), "an app may have come");
        self.sight.rest(self.now);
        self.sight.is_stale = true;
    }

    /// A model in a root is that root's, and no sign of another.
    fn is_only_a_model(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| domain::names::looks_like_model(&name.to_string_lossy()))
            && self.roots.unit_of(path).is_some()
    }

    /// Anything may be new.
    pub(super) fn doubt_sight(&mut self) {
        self.sight.is_stale = true;
    }

    /// Watches that are void were perhaps set for looking here.
    pub(super) fn unwatched_sight(&mut self, effects: &[Effect]) {
        let is_ours =
            |effect: &Effect| matches!(effect, Effect::Unwatch(dir) if self.sight.concerns.is_around(dir));
        self.sight.is_stale |= effects.iter().any(is_ours);
    }

    /// Looks for new places, if it is time.
    pub(super) fn look_for_places(&mut self, effects: &mut Vec<Effect>) {
        if self.sight.due(self.now) == Some(0) {
            self.discover(effects);
        }
    }

    /// Looks for new places now, where something may be new: who asked waits for that.
    pub(super) fn catch_up_on_places(&mut self, effects: &mut Vec<Effect>) {
        if self.sight.is_stale || self.sight.concerns.unwatched > 0 {
            self.discover(effects);
        }
    }

    /// Looks for new places; where that is under way, once more after it.
    pub(super) fn discover(&mut self, effects: &mut Vec<Effect>) {
        let ticket = self.sight.next.take().unwrap_or_else(|| self.queue.open());
        if self.sight.under_way.is_some() {
            self.sight.next = Some(ticket);
            return;
        }
        self.sight.under_way = Some(ticket);
        self.sight.is_stale = false;
        self.sight.last = Some(self.now);
        effects.push(Effect::Do(Job::Discover));
    }

    /// What a look has brought could not be stored.
    pub(super) fn give_up_on_places(&mut self) {
        self.wait_for_no_places();
        self.sight.is_stale = true;
    }

    fn wait_for_no_places(&mut self) {
        for ticket in [self.sight.under_way.take(), self.sight.next.take()].into_iter().flatten() {
            self.queue.close(ticket);
        }
    }

    /// What cannot be understood of an app's settings.
    pub(super) fn doubts(&self) -> &Doubts {
        &self.sight.doubts
    }

    pub(super) fn is_sight_stale(&self) -> bool {
        self.sight.is_stale
    }

    pub(super) fn is_looking_for_places(&self) -> bool {
        self.sight.under_way.is_some()
    }

    /// A look that began before and does not come back (a settings file on a server that is gone) is waited for no
    /// longer; what it brings later is taken.
    pub(super) fn give_up_silent_places(&mut self, since: Timestamp) {
        if self.is_looking_for_places() && self.sight.last.is_some_and(|began| began <= since) {
            tracing::warn!("looking for places where apps keep models does not come to an end");
            self.wait_for_no_places();
        }
    }

    /// Counts the time of a look that is under way from now.
    pub(super) fn count_places_from_now(&mut self) {
        if self.is_looking_for_places() {
            self.sight.last = Some(self.now);
        }
    }

    pub(super) fn discovered(
        &mut self,
        found: Option<Discovered>,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        if let Some(ticket) = self.sight.under_way.take() {
            self.queue.close(ticket);
        }
        if self.sight.next.is_some() {
            self.discover(effects);
        }
        let Some(Discovered { wanted, concerns, doubts }) = found else { return Ok(()) };
        for (app, (file, why)) in &doubts {
            if !self.sight.doubts.contains_key(app) {
                tracing::warn!(path = %file.display(), %app, why, "settings of an app cannot be understood");
            }
        }
        self.sight.doubts = doubts;
        let is_news = self.want_by_stores(wanted, effects)?;
        let is_doubtful = self.has_doubts();
        let sight = &mut self.sight;
        sight.last.get_or_insert(self.now);
        sight.concerns = concerns;
        sight.is_stale |= is_doubtful;
        sight.pause =
            if is_news { SHORTEST_PAUSE } else { (sight.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE) };
        Ok(())
    }

    /// Folders in which an app may appear unseen.
    pub fn unwatched_places(&self) -> usize {
        self.sight.concerns.unwatched
    }

    /// In how many seconds places are to be looked for.
    pub(super) fn next_discovery(&self) -> Option<u64> {
        self.sight.due(self.now).map(|seconds| seconds.max(1))
    }
}
