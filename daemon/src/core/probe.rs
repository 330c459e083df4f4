//! Asks whether roots are there, and knows which answers are still to come. Looks at none itself.

use super::{
    Core, Effect,
    roots::{Root, Roots},
};
use crate::work::Job;
use jiff::SignedDuration;
use std::path::{Path, PathBuf};

/// Of a root that answers something is heard sooner, also while much of it is looked at.
pub(super) const SILENCE_SECONDS: u64 = 15;

impl Roots {
    /// Whether every question is answered: what happened before it was asked is known.
    pub(super) fn are_probed(&self) -> bool {
        self.wanted.values().all(|root| root.unanswered == 0)
    }

    pub(super) fn answered(&mut self, wanted: &Path) {
        if let Some(root) = self.wanted.get_mut(wanted) {
            root.is_silent = false;
            root.unanswered = root.unanswered.saturating_sub(1);
            root.asked = root.asked.filter(|_| root.unanswered > 0);
        }
    }

    /// Questions that may never have been put are not waited for; they are put again.
    pub(super) fn expect_nothing(&mut self) {
        self.wanted.values_mut().for_each(|root| (root.unanswered, root.asked) = (0, None));
    }
}

impl Core {
    pub(super) fn probe(&mut self, is_meant: impl Fn(&Path, &Root) -> bool, effects: &mut Vec<Effect>) {
        for (wanted, root) in self.roots.wanted.iter_mut().filter(|(wanted, root)| is_meant(wanted, root)) {
            if !root.is_silent {
                root.unanswered += 1;
                root.asked.get_or_insert(self.now);
            }
            effects.push(Effect::Do(Job::Root { wanted: wanted.clone() }));
        }
    }

    pub(super) fn is_expecting(&self) -> bool {
        self.queue.is_expecting() || !self.roots.are_probed() || self.is_looking_for_places()
    }

    /// Roots that do not answer (a server that is gone) are offline until they do, and nobody waits for them.
    pub(super) fn give_up_silent(&mut self, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let long = SignedDuration::from_secs(SILENCE_SECONDS.cast_signed());
        let now = self.now;
        let gap = now.duration_since(self.roots.last_tick.replace(now).unwrap_or(now));
        if gap.is_negative() || gap > long.saturating_mul(2) {
            // The clock was set, the machine slept, or nothing was waited for.
            self.queue.count_from(now);
            let asked = self.roots.wanted.values_mut().filter_map(|root| root.asked.as_mut());
            asked.for_each(|asked| *asked = now);
            self.count_places_from_now();
            return Ok(());
        }
        let since = now.checked_sub(long).unwrap_or(now);
        self.give_up_silent_places(since);
        let silent = self.queue.silent(since);
        for root in &silent {
            self.queue.give_up(root);
        }
        let is_silent = |root: &Root| {
            root.asked.is_some_and(|asked| asked <= since)
                || root.path().is_some_and(|path| silent.contains(&path) && root.is_online_at(&path))
        };
        let wanted = self.roots.wanted.iter().filter(|(_, root)| is_silent(root));
        let wanted: Vec<PathBuf> = wanted.map(|(wanted, _)| wanted.clone()).collect();
        for wanted in wanted {
            if let Some(root) = self.roots.wanted.get_mut(&wanted) {
                (root.unanswered, root.asked, root.is_silent) = (0, None, true);
            }
            let reason = "it does not answer: is its server there?".to_owned();
            self.root_is_gone(&wanted, Some(reason), effects)?;
        }
        Ok(())
    }

    pub(super) fn probe_all(&mut self, effects: &mut Vec<Effect>) {
        self.probe(|_, _| true, effects);
    }

    pub(super) fn probe_again(&mut self, path: &Path, effects: &mut Vec<Effect>) {
        self.probe(|_, root| root.path().as_deref() == Some(path), effects);
    }

    /// Something happened on the way to a root, or at it: it may have come or gone.
    pub(super) fn roots_above(&mut self, changed: &Path, effects: &mut Vec<Effect>) {
        let is_meant = |wanted: &Path, root: &Root| {
            let path = root.path();
            let is_offline_around = root.identity.is_none() && path.as_deref() == changed.parent();
            wanted.starts_with(changed)
                || path.is_some_and(|path| path.starts_with(changed))
                || is_offline_around
        };
        self.probe(is_meant, effects);
    }
}
