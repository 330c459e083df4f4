//! From looks to models: stores what a look has brought, assembles what it concerns, tells who listens.

use super::{Core, Effect, queue::Why, settle::Name};
use crate::{
    index::{Applied, Refreshed, UnitChange, UnitRow, UserChange},
    watch::Change,
    work::Looked,
};
use anyhow::Context as _;
use domain::Model;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

impl Core {
    pub(super) fn looked(
        &mut self,
        unit: &UnitRow,
        looked: Looked,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        if !self.is_wanted(unit) {
            self.finish_unwanted(unit, effects);
            return Ok(());
        }
        self.queue.heard_of(&unit.root, self.now);
        let is_news_waiting = self.queue.is_waiting(unit);
        match looked {
            Looked::Same => {
                self.roots.can_read(unit);
                self.roots.unwatched(unit, Vec::new());
            }
            Looked::Elsewhere => self.ask_what_is_seen(unit, effects),
            Looked::Gone if unit.dir == unit.root => self.probe_again(&unit.root, effects),
            Looked::Gone => {
                self.forget_below(unit, effects)?;
                self.unlink_below(&unit.dir, effects);
            }
            Looked::Unreadable(why) => {
                self.roots.cannot_read(unit, &why);
                self.put_roots()?;
            }
            Looked::Different { change, children, links, unwatched, damaged, read, restless } => {
                self.read = self.read.saturating_add(read);
                self.roots.can_read(unit);
                self.roots.damaged(unit, damaged);
                self.roots.unwatched(unit, unwatched);
                self.children(unit, &children, effects)?;
                let whole = change.files.iter().filter(|(_, known)| known.is_whole);
                let whole: Vec<PathBuf> = whole.map(|(path, _)| path.clone()).collect();
                self.put(unit, change, effects)?;
                self.put_links(unit, links, effects)?;
                whole.iter().for_each(|path| self.growing.end(path));
                // Unless it was closed meanwhile: then the look that waits reads it whole.
                for path in restless.into_iter().filter(|_| !is_news_waiting) {
                    let name = if self.is_download(&path) { Name::Lying } else { Name::Final };
                    self.growing.begin(path, name);
                }
            }
        }
        self.queue.finish(unit);
        Ok(())
    }

    /// A look at a unit is over that nobody wants to know of.
    pub(super) fn finish_unwanted(&mut self, unit: &UnitRow, effects: &mut Vec<Effect>) {
        let was_given_up = self.queue.is_given_up(&unit.root);
        self.queue.finish(unit);
        if was_given_up && !self.queue.is_given_up(&unit.root) {
            self.probe_again(&unit.root, effects); // it answers again
        }
    }

    pub(super) fn partly(
        &mut self,
        unit: &UnitRow,
        change: UnitChange,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        self.queue.heard_of(&unit.root, self.now);
        if self.is_wanted(unit) { self.put(unit, change, effects) } else { Ok(()) }
    }

    /// Whether what a look at a unit brings is still of use.
    pub(super) fn is_wanted(&self, unit: &UnitRow) -> bool {
        self.roots.app_of(&unit.root).is_some() && !self.queue.is_unwanted(unit)
    }

    fn put(&mut self, unit: &UnitRow, change: UnitChange, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let user = &self.user;
        // A new id in place of one that cannot be read would hide what the user said of the model.
        let durable = |key: &[u8]| user.model_of(key).context("reading user.db");
        let applied = self
            .index
            .apply(unit, change, &durable, &self.mint)
            .with_context(|| format!("storing what {} holds", unit.dir.display()))?;
        self.take(applied, effects)
    }

    /// Has the new contents remembered, and assembles what has changed.
    fn take(&mut self, applied: Applied, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        for (key, model, path) in applied.adopted {
            effects.push(Effect::Remember(UserChange::Adopt { key, model, path, at: self.now }));
        }
        self.refresh_all(&applied.models, effects)
    }

    /// Assembles a model again and publishes what has changed; returns it if it exists.
    pub(super) fn refresh(
        &mut self,
        id: &str,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<Option<Box<Model>>> {
        let mut user = self.user.data(id)?;
        if user.first_seen.is_none() {
            // It is on its way to user.db.
            user.first_seen = self.index.first_seen(id)?.or(Some(self.now));
        }
        let durable = &self.user;
        let hashes = |same: &str, sampled: &[u8]| durable.hashes(same, sampled);
        let refreshed = self.index.refresh(id, user, &hashes).with_context(|| format!("assembling {id}"))?;
        let (kind, model) = match refreshed {
            Refreshed::Added(model) => (api::EventKind::ModelAdded, model),
            Refreshed::Changed(model) => (api::EventKind::ModelChanged, model),
            Refreshed::Removed(model) => (api::EventKind::ModelRemoved, model),
            Refreshed::Same(model) => return Ok(Some(model)),
            Refreshed::Absent => return Ok(None),
        };
        let is_there = kind != api::EventKind::ModelRemoved;
        let mut told = model.clone();
        self.growing.put(&mut told);
        let event = api::Event { model: Some(told), ..api::Event::new(self.now, kind) };
        effects.push(Effect::Publish(event));
        Ok(is_there.then_some(model))
    }

    pub(super) fn refresh_all(
        &mut self,
        models: &BTreeSet<String>,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        for model in models {
            self.refresh(model, effects)?;
        }
        Ok(())
    }

    /// Compares a directory's units with those that are known below it: new ones are looked at, gone ones forgotten.
    fn children(
        &mut self,
        unit: &UnitRow,
        children: &[PathBuf],
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        // By name: comparing thousands of paths takes longer than all the rest.
        let mut known = self.index.names_below(unit)?;
        let (tick, why) = (self.queue.tick_of(unit), self.queue.why_of(unit));
        for child in children {
            let is_known = child.file_name().is_some_and(|name| known.remove(name));
            let child = UnitRow { root: unit.root.clone(), dir: child.clone() };
            if is_known && !self.roots.is_unreadable(&child) {
                continue;
            }
            // Its parent is as it was at the next start, wherever a kill comes in between.
            self.index.note_unit(&child)?;
            self.queue.push_as_of(child, why, tick);
        }
        for gone in known.into_iter().map(|name| unit.dir.join(name)) {
            self.forget_below(&UnitRow { root: unit.root.clone(), dir: gone.clone() }, effects)?;
            self.unlink_below(&gone, effects);
        }
        Ok(())
    }

    /// Forgets a unit and all below it.
    pub(super) fn forget_below(&mut self, unit: &UnitRow, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let below = self.index.units_below(unit)?;
        let mut models = BTreeSet::new();
        for gone in &below {
            models.extend(self.index.remove_unit(gone)?);
        }
        self.roots.forget(unit);
        self.queue.forget(|waiting| waiting.root == unit.root && waiting.dir.starts_with(&unit.dir));
        effects.push(Effect::Unwatch(unit.dir.clone()));
        self.refresh_all(&models, effects)
    }

    pub(super) fn changed(
        &mut self,
        changes: Vec<(PathBuf, Change)>,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        for (path, change) in changes {
            tracing::debug!(path = %path.display(), ?change, "changed");
            self.roots_above(&path, effects);
            self.sighted(&path, change);
            match change {
                Change::Begun if self.is_download(&path) => {
                    self.growing.begin(path, Name::Unfinished);
                    continue;
                }
                Change::Begun if self.is_candidate(&path) => {
                    self.growing.begin(path, Name::Final);
                    continue;
                }
                // A downloader that sets attributes has not finished for that.
                Change::Touched if self.growing.has(&path) => continue,
                Change::Closed | Change::Settled if self.is_download_closed(&path, effects)? => continue,
                Change::Begun | Change::Touched | Change::Closed | Change::Settled => {}
            }
            self.growing.end(&path);
            self.directory_changed(&path, effects)?;
            self.ask_about(&path, Why::News)?;
        }
        Ok(())
    }

    /// A directory that is known has been moved, replaced or given other rights: all below it is looked at again,
    /// under new watches.
    fn directory_changed(&mut self, path: &Path, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let listing = self.index.listing(path)?;
        // What they list is not stored yet, and may be what was there before.
        let under_way = self.queue.in_flight_below(path);
        if listing.is_empty() && under_way.is_empty() {
            return Ok(());
        }
        effects.push(Effect::Unwatch(path.to_owned()));
        self.look_at_roots_below(path)?;
        under_way.into_iter().for_each(|unit| self.queue.push(unit, Why::News));
        for unit in listing {
            for below in self.index.units_below(&UnitRow { root: unit.root.clone(), dir: path.to_owned() })? {
                self.queue.push(below, Why::News);
            }
            self.queue.push(unit, Why::News);
        }
        Ok(())
    }

    /// Queues the units that a path concerns: the one it lies in, and those that rest on it.
    pub(super) fn ask_about(&mut self, path: &Path, why: Why) -> anyhow::Result<()> {
        let mut dependents = self.index.dependents(path)?;
        // A unit may rest on a directory that is no unit of its own.
        if let Some(parent) = path.parent() {
            let on_parent = self.index.dependents(parent)?;
            dependents.extend(on_parent.into_iter().filter(|unit| unit.dir != parent));
        }
        let is_partial = path.file_name().is_some_and(domain::stores::partial::is_partial);
        if !is_partial && let Some(unit) = self.roots.unit_of(path) {
            self.queue.push(unit, why);
        }
        if path.file_name().is_some_and(domain::stores::partial::is_staging)
            && let Some((unit, _)) = self.roots.unit_around(path)
        {
            self.queue.push(unit, why);
        }
        for unit in dependents {
            // A directory's own times change with every entry; the entry is told of by itself.
            if unit.dir != path {
                self.queue.push(unit, why);
            }
        }
        Ok(())
    }

    /// Whether a new file may become a model: anything else is taken as it is.
    fn is_candidate(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| domain::names::looks_like_model(&name.to_string_lossy()))
            && self.roots.unit_of(path).is_some()
    }

    /// Keeps ids that only the index knows (a crash came between the two databases), goes by those of user.db where
    /// it knows others (it was restored, or brought here), and takes in what the user said unheard by the index.
    pub fn reconcile(&mut self) -> anyhow::Result<Vec<Effect>> {
        self.as_one(|core, effects| {
            let durable = core.user.contents()?;
            let mut renamed = BTreeSet::new();
            for (key, model) in core.index.contents()? {
                match durable.get(&key) {
                    Some(known) if *known == model => {}
                    Some(known) => {
                        core.index.rename_content(&key, &model, known)?;
                        renamed.extend([model, known.clone()]);
                    }
                    None => {
                        let (path, at) = (PathBuf::new(), core.now);
                        effects.push(Effect::Remember(UserChange::Adopt { key, model, path, at }));
                    }
                }
            }
            core.refresh_all(&renamed, effects)?;
            let parted = core.index.part_unfinished(&core.mint)?;
            core.take(parted, effects)?;
            for model in core.user.spoken_of()? {
                core.refresh(&model, effects)?;
            }
            Ok(())
        })
    }
}
