//! Asks whether roots are there, and knows which answers are still to come. Looks at none itself.

use super::{
    Core, Effect,
    roots::{Root, Roots},
};
use crate::work::Job;
use std::path::Path;

impl Roots {
    /// Whether every question is answered: what happened before it was asked is known.
    pub(super) fn are_probed(&self) -> bool {
        self.wanted.values().all(|root| root.awaited == 0)
    }

    pub(super) fn answered(&mut self, wanted: &Path) {
        if let Some(root) = self.wanted.get_mut(wanted) {
            root.awaited = root.awaited.saturating_sub(1);
        }
    }

    /// Questions that may never have been put are not waited for; they are put again.
    pub(super) fn await_nothing(&mut self) {
        self.wanted.values_mut().for_each(|root| root.awaited = 0);
    }
}

impl Core {
    pub(super) fn probe(&mut self, is_meant: impl Fn(&Path, &Root) -> bool, effects: &mut Vec<Effect>) {
        for (wanted, root) in self.roots.wanted.iter_mut().filter(|(wanted, root)| is_meant(wanted, root)) {
            root.awaited += 1;
            effects.push(Effect::Do(Job::Root { wanted: wanted.clone() }));
        }
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
