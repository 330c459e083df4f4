//! Files that are being written in place: not read until they are closed, or have been still for a while.

use super::{Core, Effect};
use crate::{core::queue::Why, work::Job};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Downloads pause for seconds at a time; this many ticks of a second without a change are taken for the end.
const STILL_TICKS: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Growing {
    files: BTreeMap<PathBuf, Growth>,
}

#[derive(Debug, Default)]
struct Growth {
    /// Size and time when it was looked at last.
    last: Option<(u64, i64, i64)>,
    still: u32,
    /// It has grown under our eyes, so it is worth showing.
    is_shown: bool,
}

impl Growing {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn begin(&mut self, path: PathBuf) {
        self.files.entry(path).or_default();
    }

    pub(super) fn has(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    pub(super) fn end(&mut self, path: &Path) {
        self.files.remove(path);
    }

    /// Files at any depth below a directory, and whether they are shown.
    pub(super) fn below(&self, dir: &Path) -> Vec<(PathBuf, bool)> {
        let from = self.files.range(dir.to_owned()..).take_while(|(path, _)| path.starts_with(dir));
        from.map(|(path, growth)| (path.clone(), growth.is_shown)).collect()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.keys()
    }
}

impl Core {
    pub(super) fn grown(&mut self, path: &Path, size: Option<(u64, i64, i64)>) -> anyhow::Result<()> {
        let Some(growth) = self.growing.files.get_mut(path) else { return Ok(()) };
        let is_first = growth.last.is_none();
        if size.is_none() {
            self.growing.end(path);
            return self.ask_about(path, Why::News);
        }
        if growth.last == size {
            growth.still += 1;
            if growth.still >= STILL_TICKS {
                self.growing.end(path);
                return self.ask_about(path, Why::News);
            }
            return Ok(());
        }
        growth.last = size;
        growth.still = 0;
        if !is_first && !growth.is_shown {
            growth.is_shown = true;
            return self.ask_about(path, Why::News);
        }
        Ok(())
    }

    pub(super) fn look_at_growing(&self, effects: &mut Vec<Effect>) {
        effects.extend(self.growing.paths().map(|path| Effect::Do(Job::Growing { path: path.clone() })));
    }
}
