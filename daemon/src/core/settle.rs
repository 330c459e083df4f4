//! Files that are being written: those with their final name are not read until they are closed, or have been still for
//! a while. How far each is and how fast it grows is kept here alone, never stored.

use super::{Core, Effect};
use crate::{
    core::queue::Why,
    work::{Job, Sight},
};
use domain::{
    Model, Progress,
    progress::{Meter, Now},
    stores::partial,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// Downloads pause for seconds at a time; this many ticks of a second without a change are taken for the end.
const STILL_TICKS: u32 = 2;

/// A name or a header that says unfinished outlives longer pauses: a slow download is written in bursts.
const PAUSE_TICKS: u32 = 10;

/// Nothing is expected any more after this many ticks: time need not pass for it.
const QUIET_TICKS: u32 = 60;

/// What was written so lately may be written still.
const YOUNG_SECONDS: i64 = 60;

/// How far the files that are being written are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Live {
    pub files: BTreeMap<PathBuf, Now>,
    /// Some have not been looked at for a while: nothing came.
    pub is_quiet: bool,
}

#[derive(Debug, Default)]
pub(super) struct Growing {
    files: BTreeMap<PathBuf, Growth>,
    /// What was told last.
    told: Arc<Live>,
}

#[derive(Debug, Default)]
struct Growth {
    first: Option<Instant>,
    last: Option<Sight>,
    still: u32,
    phase: Phase,
    name: Name,
    /// Whoever wrote it has closed it.
    is_closed: bool,
    meter: Meter,
    /// Something was written since this was told of.
    is_news: bool,
}

/// What a file is called while it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Name {
    /// As it will be.
    #[default]
    Final,
    /// So that it says that it is not finished. Begun under our eyes, it may take its time.
    Unfinished,
    /// The same, and it was there when we came.
    Lying,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// It may be there since long.
    #[default]
    Fresh,
    /// It has grown under our eyes, so it is worth showing.
    Shown,
    /// It has grown, and does no longer.
    Resting,
}

impl Growing {
    /// Whether time has to pass for one of them.
    pub(super) fn is_awaited(&self) -> bool {
        self.files.values().any(|growth| growth.still < QUIET_TICKS)
    }

    pub(super) fn begin(&mut self, path: PathBuf, name: Name) {
        let growth = self.files.entry(path).or_default();
        // What was begun under our eyes is found lying there by the next look.
        if (growth.name, name) != (Name::Unfinished, Name::Lying) {
            growth.name = name;
        }
        growth.still = 0;
        growth.is_closed = false;
    }

    /// Whether it is being written now, as far as is known.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.files.get(path).is_some_and(|growth| growth.phase != Phase::Resting)
    }

    pub(super) fn end(&mut self, path: &Path) {
        self.files.remove(path);
    }

    /// Notes that an unfinished file has been closed; false where it is not known.
    fn close(&mut self, path: &Path) -> bool {
        let growth = self.files.get_mut(path).filter(|growth| growth.name != Name::Final);
        growth.map(|growth| (growth.is_closed, growth.still) = (true, 0)).is_some()
    }

    /// Files at any depth below a directory that are being written, and whether they are shown.
    pub(super) fn below(&self, dir: &Path) -> Vec<(PathBuf, bool)> {
        let from = self.files.range(dir.to_owned()..).take_while(|(path, _)| path.starts_with(dir));
        let now = from.filter(|(_, growth)| growth.phase != Phase::Resting);
        now.map(|(path, growth)| (path.clone(), growth.phase == Phase::Shown)).collect()
    }

    /// Puts into a model what was told of its files.
    pub(super) fn put(&self, model: &mut Model) {
        model.set_live(&self.told.files);
    }

    /// How far each is that has grown under our eyes.
    fn live(&self) -> Live {
        let seen = self.files.iter().filter(|(_, growth)| growth.phase != Phase::Fresh);
        let files = seen.filter_map(|(path, growth)| Some((path.clone(), growth.now()?))).collect();
        Live { files, is_quiet: self.files.values().any(|growth| growth.still >= QUIET_TICKS) }
    }
}

impl Growth {
    fn now(&self) -> Option<Now> {
        let rate = if self.phase == Phase::Resting { Some(0) } else { self.meter.rate() };
        let Sight { size, disk_size, progress, .. } = self.last?;
        Some(Now { progress: Progress { rate, ..progress }, size, disk_size })
    }

    fn total(&self) -> Option<u64> {
        self.last?.progress.total
    }

    /// How many ticks without a change are the end of it.
    fn patience(&self) -> u32 {
        let is_lacking = self.last.is_some_and(|last| last.progress.percent().is_some_and(|part| part < 100));
        if !self.is_closed && (self.name != Name::Final || is_lacking) { PAUSE_TICKS } else { STILL_TICKS }
    }
}

/// What a look at a growing file means.
enum Means {
    Nothing,
    /// Its unit is looked at.
    Ask,
    /// Nothing is expected of it any more, and its unit is looked at, or need not be.
    End(bool),
}

impl Core {
    pub(super) fn grown(
        &mut self,
        path: &Path,
        sight: Option<Sight>,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        let Some(growth) = self.growing.files.get_mut(path) else { return Ok(()) };
        let is_partial = growth.name != Name::Final;
        match growth.see(sight, self.now.as_second()) {
            Means::Nothing => {
                self.tell_live(effects);
                return self.tell_growth(effects);
            }
            Means::Ask => {}
            Means::End(is_asked) => {
                self.growing.end(path);
                if !is_asked {
                    return Ok(());
                }
            }
        }
        self.tell_live(effects);
        if is_partial { self.ask_about_download(path) } else { self.ask_about(path, Why::News) }
    }

    /// Looks at what a download belongs to: its own name means nothing to a store.
    pub(super) fn ask_about_download(&mut self, path: &Path) -> anyhow::Result<()> {
        self.ask_about(path, Why::News)?;
        if let Some((unit, _)) = self.roots.unit_around(path) {
            self.queue.push(unit, Why::News);
        }
        Ok(())
    }

    /// Whether a name says that it is not finished, at a place where it may become a model.
    pub(super) fn is_download(&self, path: &Path) -> bool {
        let unit = self.roots.unit_around(path);
        unit.is_some_and(|(_, below)| partial::download(&below).is_some())
    }

    /// A file under an unfinished name has been closed, or is gone: whether it is known, so that a look at it tells.
    pub(super) fn is_download_closed(
        &mut self,
        path: &Path,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<bool> {
        if !self.growing.close(path) {
            return Ok(false);
        }
        effects.push(self.look_at(path));
        // Who waits for what has happened waits for what is shown of it.
        if self.growing.told.files.contains_key(path) {
            self.ask_about_download(path)?;
        }
        Ok(true)
    }

    fn look_at(&self, path: &Path) -> Effect {
        let total = self.growing.files.get(path).and_then(Growth::total);
        Effect::Do(Job::Growing { path: path.to_owned(), total })
    }

    pub(super) fn look_at_growing(&mut self, effects: &mut Vec<Effect>) {
        let awaited = self.growing.files.iter().filter(|(_, growth)| growth.still < QUIET_TICKS);
        let looks: Vec<Effect> = awaited.map(|(path, _)| self.look_at(path)).collect();
        effects.extend(looks);
        self.tell_live(effects);
    }

    /// Somebody asks, and nobody has looked for a while at what was given up.
    pub(super) fn look_at_resting(&mut self, effects: &mut Vec<Effect>) {
        let resting = self.growing.files.iter().filter(|(_, growth)| growth.still >= QUIET_TICKS);
        effects.extend(resting.map(|(path, _)| self.look_at(path)).collect::<Vec<_>>());
    }

    /// Tells how far downloads are, where that has changed.
    fn tell_live(&mut self, effects: &mut Vec<Effect>) {
        let live = self.growing.live();
        if live != *self.growing.told {
            self.growing.told = Arc::new(live);
            effects.push(Effect::Live(Arc::clone(&self.growing.told)));
        }
    }

    /// Publishes the models that have grown.
    fn tell_growth(&mut self, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let shown = self.growing.files.iter_mut().filter(|(_, growth)| growth.phase == Phase::Shown);
        let grown =
            shown.filter_map(|(path, growth)| std::mem::take(&mut growth.is_news).then(|| path.clone()));
        let paths: Vec<PathBuf> = grown.collect();
        for path in paths {
            for mut model in self.index.downloading(&path)? {
                self.growing.put(&mut model);
                let event = api::Event::new(self.now, api::EventKind::ModelChanged);
                let event = api::Event { model: Some(Box::new(model)), ..event };
                effects.push(Effect::Publish(event));
            }
        }
        Ok(())
    }
}

impl Growth {
    fn see(&mut self, sight: Option<Sight>, now: i64) -> Means {
        let Some(sight) = sight else { return Means::End(true) };
        // A directory is made, filled and only then seen: what is so young is as if it was begun under our eyes.
        let is_young = now.saturating_sub(sight.modified.0) < YOUNG_SECONDS;
        if self.name == Name::Lying && is_young {
            self.name = Name::Unfinished;
        }
        let before = self.last.replace(sight);
        let since = sight.at.saturating_duration_since(*self.first.get_or_insert(sight.at));
        self.meter.note(since, sight.progress.bytes.unwrap_or(sight.size));
        if before.is_some_and(|before| before.is_like(&sight)) {
            self.still = self.still.saturating_add(1);
            let is_over = self.still >= self.patience();
            return match self.phase {
                Phase::Fresh if self.name == Name::Unfinished && !self.is_closed => Means::Nothing,
                Phase::Fresh if is_over => Means::End(self.name == Name::Final),
                Phase::Shown if is_over => {
                    self.phase = Phase::Resting;
                    Means::Ask
                }
                Phase::Fresh | Phase::Shown | Phase::Resting => Means::Nothing,
            };
        }
        self.still = 0;
        let Some(before) = before else { return Means::Nothing };
        self.is_news = true;
        // Its header has come: there is more to say of it.
        let is_known_better = before.progress.total.is_none() && sight.progress.total.is_some();
        let was_shown = std::mem::replace(&mut self.phase, Phase::Shown) == Phase::Shown;
        if was_shown && !is_known_better { Means::Nothing } else { Means::Ask }
    }
}
