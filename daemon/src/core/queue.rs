//! Which units wait to be looked at, and which are being looked at. One unit is never looked at twice at once.

use crate::index::UnitRow;
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    path::{Path, PathBuf},
};

/// Units with the workers at once: enough to keep them busy while what some brought is stored, and to have many stored
/// in one go; few enough that news is not stuck behind a scan.
const IN_FLIGHT: usize = 64;

/// A root may be held so often between two ticks before the next one is waited for: what is seen there may change all
/// the time, or not be found out.
const OFTEN: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Grows with every job, so that one can wait for all that came before.
    tick: u64,
    /// Told by an event: before all else.
    news: VecDeque<UnitRow>,
    /// Part of a scan.
    scan: VecDeque<UnitRow>,
    waiting: HashMap<UnitRow, Entry>,
    in_flight: HashMap<UnitRow, Flight>,
    /// Of those in flight: what they bring is of no use any more.
    unwanted: BTreeSet<UnitRow>,
    /// Ticks that are not done, with how many jobs have them.
    open: BTreeMap<u64, usize>,
    /// Roots that were held since the last tick.
    held: BTreeMap<PathBuf, Hold>,
}

/// Nothing of a root is handed over until it is known what is seen there.
#[derive(Debug, Default)]
struct Hold {
    times: u32,
    is_over: bool,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    /// None where nobody waits for it any more.
    tick: Option<u64>,
    /// When it was handed over, or last heard of.
    heard: Timestamp,
    is_news: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    tick: u64,
    if_changed: bool,
}

/// How urgent a look is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Something happened there.
    News,
    /// It is part of a scan; look whatever the stamps say.
    Scan,
    /// It is part of a scan; skip it when its stamps are the same.
    Check,
}

impl Queue {
    pub(super) fn tick(&self) -> u64 {
        self.tick
    }

    pub(super) fn push(&mut self, unit: UnitRow, why: Why) {
        self.tick += 1;
        self.push_as_of(unit, why, self.tick);
    }

    /// Queues a unit that was found by a job of this tick: who waits for that job waits for this one too.
    pub(super) fn push_as_of(&mut self, unit: UnitRow, why: Why, tick: u64) {
        let if_changed = why == Why::Check;
        if let Some(entry) = self.waiting.get_mut(&unit) {
            entry.if_changed &= if_changed;
            let before = entry.tick;
            if tick < before {
                entry.tick = tick;
                *self.open.entry(tick).or_default() += 1;
                self.close(before);
            }
            return;
        }
        *self.open.entry(tick).or_default() += 1;
        self.waiting.insert(unit.clone(), Entry { tick, if_changed });
        if why == Why::News { self.news.push_back(unit) } else { self.scan.push_back(unit) }
    }

    /// Returns a unit to look at now, and whether only if its stamps changed.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(UnitRow, bool)> {
        if self.in_flight.values().filter(|flight| flight.tick.is_some()).count() >= IN_FLIGHT {
            return None;
        }
        let Self { in_flight, held, .. } = self;
        let is_free = |unit: &UnitRow| {
            !in_flight.contains_key(unit) && held.get(&unit.root).is_none_or(|hold| hold.is_over)
        };
        let news = take(&mut self.news, is_free);
        let is_news = news.is_some();
        let unit = news.or_else(|| take(&mut self.scan, is_free))?;
        let entry = self.waiting.remove(&unit)?;
        self.in_flight.insert(unit.clone(), Flight { tick: Some(entry.tick), heard: now, is_news });
        Some((unit, entry.if_changed))
    }

    /// The tick of a unit that is being looked at.
    pub(super) fn tick_of(&self, unit: &UnitRow) -> u64 {
        self.in_flight.get(unit).and_then(|flight| flight.tick).unwrap_or(self.tick)
    }

    /// How urgent what is found by a look is: as urgent as the look.
    pub(super) fn why_of(&self, unit: &UnitRow) -> Why {
        let is_news = self.in_flight.get(unit).is_none_or(|flight| flight.is_news);
        if is_news { Why::News } else { Why::Scan }
    }

    /// Units at a directory or below it that are being looked at.
    pub(super) fn in_flight_below(&self, dir: &Path) -> Vec<UnitRow> {
        self.in_flight.keys().filter(|unit| unit.dir.starts_with(dir)).cloned().collect()
    }

    /// Whether something has happened since the look that is under way began.
    pub(super) fn is_waiting(&self, unit: &UnitRow) -> bool {
        self.waiting.contains_key(unit)
    }

    pub(super) fn finish(&mut self, unit: &UnitRow) {
        self.unwanted.remove(unit);
        if let Some(tick) = self.in_flight.remove(unit).and_then(|flight| flight.tick) {
            self.close(tick);
        }
    }

    /// A root answers: what is being looked at of it may be waiting for its turn.
    pub(super) fn heard_of(&mut self, root: &Path, now: Timestamp) {
        let flights = self.in_flight.iter_mut().filter(|(unit, _)| unit.root == root);
        flights.for_each(|(_, flight)| flight.heard = now);
    }

    /// Counts the time of all that is being looked at from now.
    pub(super) fn count_from(&mut self, now: Timestamp) {
        self.in_flight.values_mut().for_each(|flight| flight.heard = now);
    }

    /// Whether anything is being looked at that may turn out not to answer.
    pub(super) fn is_expecting(&self) -> bool {
        self.in_flight.values().any(|flight| flight.tick.is_some())
    }

    /// Roots of which nothing was heard since then.
    pub(super) fn silent(&self, since: Timestamp) -> BTreeSet<PathBuf> {
        let silent = |(_, flight): &(&UnitRow, &Flight)| flight.tick.is_some() && flight.heard <= since;
        self.in_flight.iter().filter(silent).map(|(unit, _)| unit.root.clone()).collect()
    }

    /// Waits no longer for what is being looked at of a root; what it brings will be of no use.
    pub(super) fn give_up(&mut self, root: &Path) {
        self.forget(|unit| unit.root == root);
        let flights = self.in_flight.iter_mut().filter(|(unit, _)| unit.root == root);
        let ticks: Vec<u64> = flights.filter_map(|(_, flight)| flight.tick.take()).collect();
        ticks.into_iter().for_each(|tick| self.close(tick));
    }

    /// Whether looks that were given up are still to come back.
    pub(super) fn is_given_up(&self, root: &Path) -> bool {
        self.in_flight.iter().any(|(unit, flight)| unit.root == root && flight.tick.is_none())
    }

    /// Looks of a root that were given up hold up others no longer.
    pub(super) fn write_off(&mut self, root: &Path) {
        self.in_flight.retain(|unit, flight| unit.root != root || flight.tick.is_some());
        let Self { unwanted, in_flight, .. } = self;
        unwanted.retain(|unit| in_flight.contains_key(unit));
    }

    /// Hands over nothing of a root until `release`. Returns whether it did until now.
    pub(super) fn hold(&mut self, root: &Path) -> bool {
        let hold = self.held.entry(root.to_owned()).or_insert(Hold { times: 0, is_over: true });
        let is_new = std::mem::take(&mut hold.is_over);
        hold.times += u32::from(is_new);
        is_new
    }

    /// Goes on with a root, unless it was held too often.
    pub(super) fn release(&mut self, root: &Path) {
        if let Some(hold) = self.held.get_mut(root) {
            hold.is_over = hold.times <= OFTEN;
        }
    }

    /// Goes on with all roots: time has passed.
    pub(super) fn release_all(&mut self) {
        self.held.clear();
    }

    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Begins something that is no look, but is waited for like one; `close` ends it.
    pub(super) fn open(&mut self) -> u64 {
        self.tick += 1;
        *self.open.entry(self.tick).or_default() += 1;
        self.tick
    }

    /// Forgets units that are not wanted any more; those in flight will report to nobody.
    pub(super) fn forget(&mut self, is_unwanted: impl Fn(&UnitRow) -> bool) {
        self.unwanted.extend(self.in_flight.keys().filter(|unit| is_unwanted(unit)).cloned());
        let gone: BTreeSet<UnitRow> = self.waiting.keys().filter(|unit| is_unwanted(unit)).cloned().collect();
        for unit in &gone {
            if let Some(entry) = self.waiting.remove(unit) {
                self.close(entry.tick);
            }
        }
        self.news.retain(|unit| !gone.contains(unit));
        self.scan.retain(|unit| !gone.contains(unit));
    }

    /// What is being looked at of a root will be of no use: it is looked at again.
    pub(super) fn void(&mut self, root: &Path) {
        let flights = self.in_flight.iter().filter(|(unit, _)| unit.root == root);
        let again: Vec<(UnitRow, u64)> =
            flights.filter_map(|(unit, flight)| Some((unit.clone(), flight.tick?))).collect();
        for (unit, tick) in again {
            self.unwanted.insert(unit.clone());
            self.push_as_of(unit, Why::Scan, tick);
        }
    }

    /// Whether a unit was forgotten while it was looked at.
    pub(super) fn is_unwanted(&self, unit: &UnitRow) -> bool {
        self.unwanted.contains(unit)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// The oldest tick that is not done; None when all are.
    pub(super) fn done_up_to(&self) -> Option<u64> {
        self.open.keys().next().copied()
    }

    pub(super) fn close(&mut self, tick: u64) {
        if let Some(count) = self.open.get_mut(&tick) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.open.remove(&tick);
            }
        }
    }
}

/// The first unit that can be looked at.
fn take(queue: &mut VecDeque<UnitRow>, is_free: impl Fn(&UnitRow) -> bool) -> Option<UnitRow> {
    let at = queue.iter().position(is_free)?;
    queue.remove(at)
}
