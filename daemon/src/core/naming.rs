//! Who names a root: the user, an app's settings or layout, a link. What nobody names any more is forgotten where it is
//! there, and kept as offline where its disk is not. Looks at neither.

use super::{
    Core, Effect,
    roots::{Root, Wanted},
};
use crate::work::Probed;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Settings may be read while they are being written: a second look has to find the same.
const SURE: u32 = 2;

/// Who names a root, besides a link.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Where it cannot be used, that is told.
    pub(super) by_user: bool,
    /// When places were looked for last.
    by_store: bool,
    /// Settings of its store that cannot be understood, and why: they are no sign that it is named no longer.
    pub(super) illegible: Option<(PathBuf, String)>,
    /// How often in a row nobody named it.
    doubts: u32,
}

impl Root {
    fn is_nameless(&self) -> bool {
        !self.names.by_user && !self.names.by_store && self.derived_from.is_none()
    }

    /// A link leads here; that counts where nobody else names it.
    pub(super) fn be_linked(&mut self, link: &Path) {
        if self.is_nameless() {
            (self.derived_from, self.names.doubts) = (Some(link.to_owned()), 0);
            if let Some(status) = &mut self.status {
                status.derived_from = Some(link.to_string_lossy().into_owned());
            }
        }
    }

    /// Notes which settings of its store cannot be understood.
    fn have_settings(&mut self, illegible: Option<(PathBuf, String)>) {
        let illegible = illegible.filter(|_| self.names.by_store);
        if self.names.illegible != illegible {
            self.names.illegible = illegible;
            if self.status.as_ref().is_some_and(|status| status.online) {
                self.judge();
            }
        }
    }

    fn is_given_up(&self) -> bool {
        self.is_nameless() && self.names.doubts >= SURE
    }
}

impl Core {
    /// Looks for roots that the user has named.
    pub(super) fn want_by_user(
        &mut self,
        wanted: Vec<Wanted>,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        let paths: BTreeSet<PathBuf> = wanted.iter().map(|wanted| wanted.path.clone()).collect();
        self.want(wanted, effects)?;
        let named = self.roots.wanted.iter_mut().filter(|(path, _)| paths.contains(*path));
        named.for_each(|(_, root)| root.names.by_user = true);
        // One that was looked for before may have been found not to be there, and nobody was told.
        let is_untold =
            |path: &Path, root: &Root| paths.contains(path) && root.status.is_none() && root.unanswered == 0;
        self.probe(is_untold, effects);
        self.want_as_before(effects)
    }

    /// Looks for roots that stores name now. Returns whether any was not looked for before, or is named no longer.
    pub(super) fn want_by_stores(
        &mut self,
        wanted: Vec<Wanted>,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<bool> {
        let paths: BTreeSet<PathBuf> = wanted.iter().map(|wanted| wanted.path.clone()).collect();
        let is_news = self.want(wanted, effects)?;
        let illegible = self.doubts().clone();
        for (path, root) in &mut self.roots.wanted {
            let of_app = root.app.and_then(|app| illegible.get(&app));
            root.names.by_store = paths.contains(path) || (root.names.by_store && of_app.is_some());
            root.have_settings(of_app.cloned());
            root.names.doubts = if root.is_nameless() { root.names.doubts.saturating_add(1) } else { 0 };
        }
        self.probe(|_, root| root.is_given_up(), effects);
        Ok(is_news || self.has_doubts())
    }

    /// Looks for roots that were known before the start: those behind links are named by these, the others by nobody.
    fn want_as_before(&mut self, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let mut before = self.index.stored_roots()?;
        before.retain(|status| self.roots.at(&status.path.to_path()).is_none());
        loop {
            // One link may lead to another.
            let of_link = |link: &String| self.roots.around(Path::new(link)).is_some();
            let (linked, others) =
                before.into_iter().partition(|status| status.derived_from.as_ref().is_some_and(of_link));
            before = others;
            let linked: Vec<domain::RootStatus> = linked;
            if linked.is_empty() {
                break;
            }
            for status in linked {
                if let Some(link) = status.derived_from {
                    self.want_behind(Path::new(&link), &status.path.to_path(), effects)?;
                }
            }
        }
        for status in before {
            let path = status.path.to_path();
            let wanted = Wanted {
                path: path.clone(),
                app: Some(status.app),
                derived_from: None,
                place: PathBuf::new(),
            };
            self.want(vec![wanted], effects)?;
            let illegible = self.doubts().get(&status.app).cloned();
            self.roots.wanted.entry(path).and_modify(|root| match illegible {
                None => root.names.doubts = SURE,
                Some(_) => {
                    root.names.by_store = true; // as far as can be told
                    root.have_settings(illegible);
                }
            });
        }
        Ok(())
    }

    /// The user names a root no longer; a link may do so still.
    pub(super) fn unwant_by_user(&mut self, wanted: &Path, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        if let Some(root) = self.roots.at_mut(wanted) {
            let was_by_user = std::mem::take(&mut root.names.by_user);
            if was_by_user && self.is_linked(wanted)? {
                return Ok(());
            }
        }
        self.unwant(wanted, effects)
    }

    /// Whether a link leads to a root that nobody else names any more; then that names it.
    pub(super) fn is_linked(&mut self, path: &Path) -> anyhow::Result<bool> {
        let Some(link) = self.index.link_to(path)? else { return Ok(false) };
        if let Some(root) = self.roots.at_mut(path) {
            root.be_linked(&link);
        }
        Ok(true)
    }

    /// Whether a root has lost its name, and another look is to say so too.
    pub(super) fn has_doubts(&self) -> bool {
        self.roots.wanted.values().any(|root| root.is_nameless() && root.names.doubts < SURE)
    }

    /// A link that named a root leads there no longer.
    pub(super) fn unlink(&mut self, wanted: &Path, effects: &mut Vec<Effect>) {
        if let Some(root) = self.roots.wanted.get_mut(wanted) {
            (root.derived_from, root.names.doubts) = (None, SURE);
            self.probe(|path, root| path == wanted && root.is_given_up(), effects);
        }
    }

    /// Links at any depth below a directory are gone.
    pub(super) fn unlink_below(&mut self, dir: &Path, effects: &mut Vec<Effect>) {
        let is_below =
            |root: &Root| root.derived_from.as_ref().is_some_and(|link| link.starts_with(dir) && link != dir);
        let behind = self.roots.wanted.iter().filter(|(_, root)| is_below(root));
        let behind: Vec<PathBuf> = behind.map(|(wanted, _)| wanted.clone()).collect();
        behind.iter().for_each(|wanted| self.unlink(wanted, effects));
    }

    /// Whether nobody names a root any more, and its disk is there: what it held is no more to be kept than what is
    /// removed from a folder.
    pub(super) fn is_left_over(&self, probed: &Probed) -> bool {
        let Some(root) = self.roots.wanted.get(&probed.wanted).filter(|root| root.is_given_up()) else {
            return false;
        };
        let spot = root.path().and_then(|path| root.seats.spot(&path));
        // A disk that has come back may bring back who names it.
        !self.is_sight_stale() && !self.is_looking_for_places() && (spot.is_none() || spot == probed.spot)
    }
}
