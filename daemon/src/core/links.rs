//! Links that lead out of a root to a directory of models: the directory becomes a root of its own.

use super::{
    Core, Effect,
    roots::{Root, Wanted},
};
use crate::{index::UnitRow, work::Job};
use domain::{
    App,
    stores::{STORES, Visit},
};
use jiff::SignedDuration;
use std::path::{Path, PathBuf};

impl Core {
    /// Notes links of a unit that lead out of all roots; roots that came from links that are gone go.
    pub(super) fn put_links(
        &mut self,
        unit: &UnitRow,
        links: Vec<(PathBuf, PathBuf)>,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        self.index.put_links(unit, &links)?;
        self.links.retain(|link, _| link.parent() != Some(&unit.dir));
        let is_from_here =
            |root: &Root| root.derived_from.as_deref().and_then(Path::parent) == Some(&unit.dir);
        let leads_there = |wanted: &Path, root: &Root| {
            links.iter().any(|(link, target)| Some(link) == root.derived_from.as_ref() && *target == wanted)
        };
        let re_pointed: Vec<PathBuf> = self
            .roots
            .wanted
            .iter()
            .filter(|(wanted, root)| is_from_here(root) && !leads_there(wanted, root))
            .map(|(wanted, _)| wanted.clone())
            .collect();
        re_pointed.iter().for_each(|wanted| self.unlink(wanted, effects));
        let paths = self.roots.paths();
        for (link, target) in links {
            self.roots.wanted.entry(target.clone()).and_modify(|root| root.be_linked(&link));
            let overlaps = |root: &Path| target.starts_with(root) || root.starts_with(&target);
            if !self.roots.wanted.contains_key(&target) && !paths.iter().any(|root| overlaps(root)) {
                self.links.insert(link, (target, self.now));
            }
        }
        Ok(())
    }

    /// The app whose folder a link is, and which one, where the app would follow it.
    fn stands_for(&self, link: &Path) -> Option<(App, PathBuf)> {
        let (path, root) = self.roots.around(link)?;
        let app = root.app?;
        let store = STORES.iter().find(|store| store.app() == app && store.follows_links())?;
        let place = root.place.join(link.strip_prefix(&path).ok()?);
        (store.visit(&place) != Visit::Skip).then_some((app, place))
    }

    pub(super) fn look_at_links(&mut self, effects: &mut Vec<Effect>) {
        /// A link that is swapped to and fro does not live as long.
        const STEADY_SECONDS: i64 = 2;
        let steady = SignedDuration::from_secs(STEADY_SECONDS);
        let now = self.now;
        for (link, (target, _)) in
            self.links.extract_if(.., |_, (_, since)| now.duration_since(*since) >= steady)
        {
            effects.push(Effect::Do(Job::Link { link, target }));
        }
    }

    pub(super) fn link_leads(
        &mut self,
        link: &Path,
        target: &Path,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        tracing::info!(link = %link.display(), target = %target.display(), "following a link to a directory of models");
        self.want_behind(link, target, effects)
    }

    /// Looks for a root that a link names.
    pub(super) fn want_behind(
        &mut self,
        link: &Path,
        target: &Path,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        let (app, place) = self.stands_for(link).unzip();
        let (path, derived_from) = (target.to_owned(), Some(link.to_owned()));
        let wanted = Wanted { path, app, derived_from, place: place.unwrap_or_default() };
        self.want(vec![wanted], effects).map(drop)
    }
}
