//! All state; event → effects. Never waits, never reads a file, has no clock: an event that needs time carries it.

mod arrive;
mod dispatch;
#[cfg(test)]
mod growth_tests;
mod inbox;
mod inside;
mod links;
mod models;
mod naming;
mod probe;
mod queue;
mod roots;
mod settle;
mod sight;
#[cfg(test)]
mod tests;
mod whose;

use crate::{
    discover::Discovered,
    index::{Index, UnitChange, UnitRow, User, UserChange},
    watch::Change,
    work::{Job, Looked, Probed, Sight},
};
use domain::Model;
use jiff::Timestamp;
use queue::Queue;
use roots::Roots;
use settle::Growing;
use sight::Lookout;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use tokio::sync::oneshot;

pub use inbox::{Handle, Stopped};
pub use roots::Wanted;
pub use settle::Live;

/// Everything that can happen to the daemon.
#[derive(Debug)]
pub enum Event {
    /// Roots to look for: what the environment names and what the user added.
    Want(Vec<Wanted>),
    /// Where stores may live was looked for; None where that failed.
    Discovered(Option<Box<Discovered>>),
    /// The user's root is not wanted any more.
    Unwant(PathBuf),
    /// What is offline at this path need not be kept.
    Forget(PathBuf),
    /// Paths at which something happened.
    Changed(Vec<(PathBuf, Change)>),
    /// Events were lost: anything may have changed.
    Lost,
    /// The mount table changed.
    Mounted,
    /// Every event of the kernel from before this cookie was made has been seen.
    Cookie(String),
    Looked(UnitRow, Looked),
    /// Which units are as they were; the others are to be looked at.
    Checked {
        same: Vec<UnitRow>,
        changed: Vec<UnitRow>,
    },
    /// A part of what looking at a large unit brings; the rest follows.
    Partly(UnitRow, UnitChange),
    Probed(Probed),
    /// A link out of a root has led to a directory of models for a while.
    LinkLeads {
        link: PathBuf,
        target: PathBuf,
    },
    /// A file that is being written, as it is now; None where it is gone.
    Grown(PathBuf, Option<Sight>),
    /// Somebody wants to know of downloads that nobody has looked at for a while.
    Asked,
    /// Somebody met damage in the index.
    Doubted,
    /// Time passes. Comes only while something waits for it.
    Tick,
    /// What the user said of a model has changed; it is assembled again, and returned.
    Said(String, oneshot::Sender<Option<Box<Model>>>),
    /// Answers when everything up to the cookie is in the index.
    Sync {
        cookie: String,
        reply: oneshot::Sender<Settled>,
    },
    /// Looks at everything again, then answers.
    Scan(oneshot::Sender<Settled>),
    Stopping,
}

/// Everything the daemon can do to the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Do(Job),
    /// Watches of this directory and below are void. Comes before the jobs that set them anew.
    Unwatch(PathBuf),
    Publish(api::Event),
    /// user.db is told in the background; nobody waits.
    Remember(UserChange),
    /// How far downloads are now.
    Live(Arc<Live>),
    /// A tick is needed in this many seconds.
    Wake(u64),
    Stop,
}

/// The index is up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Headers that were read since it was asked.
    pub read: u64,
}

/// Between an event that could not be stored and the next try.
const TROUBLE_SECONDS: u64 = 5;

/// The owner of the index.
#[derive(Debug)]
pub struct Core {
    index: Index,
    /// Reads user.db; another thread writes it.
    user: User,
    roots: Roots,
    queue: Queue,
    growing: Growing,
    sight: Lookout,
    /// Links out of roots, where they lead, and when they were first seen.
    links: BTreeMap<PathBuf, (PathBuf, Timestamp)>,
    waiting: Vec<Waiting>,
    /// An event could not be stored.
    is_troubled: bool,
    /// Answers that wait until the index has what they say.
    said: Vec<(SaidReply, Option<Box<Model>>)>,
    now: Timestamp,
    /// Headers read since the start.
    read: u64,
    mint: fn() -> String,
    poll_seconds: u64,
}

type SaidReply = oneshot::Sender<Option<Box<Model>>>;

#[derive(Debug)]
struct Waiting {
    until: Until,
    read_before: u64,
    reply: oneshot::Sender<Settled>,
}

#[derive(Debug, PartialEq, Eq)]
enum Until {
    Cookie(String),
    /// Every job of this tick or an earlier one is done.
    Tick(u64),
}

impl Core {
    /// `poll_seconds`: how often roots that the kernel does not tell of are looked at.
    pub fn new(index: Index, user: User, now: Timestamp, mint: fn() -> String, poll_seconds: u64) -> Self {
        Self {
            index,
            user,
            roots: Roots::default(),
            queue: Queue::default(),
            growing: Growing::default(),
            sight: Lookout::default(),
            links: BTreeMap::new(),
            waiting: Vec::new(),
            said: Vec::new(),
            is_troubled: false,
            now,
            read: 0,
            mint,
            poll_seconds,
        }
    }

    #[cfg(test)]
    fn handle(&mut self, event: Event, now: Timestamp) -> anyhow::Result<Vec<Effect>> {
        self.handle_all(vec![event], now)
    }

    /// Takes events and the time they came, returns what is to be done about them. What they mean for the index is
    /// stored as a whole or not at all, before anybody is told.
    pub fn handle_all(&mut self, events: Vec<Event>, now: Timestamp) -> anyhow::Result<Vec<Effect>> {
        self.now = now;
        let reported: Vec<UnitRow> = events.iter().flat_map(Event::reported).cloned().collect();
        let is_discovery = events.iter().any(|event| matches!(event, Event::Discovered(_)));
        let stored =
            self.as_one(|core, effects| events.into_iter().try_for_each(|event| core.react(event, effects)));
        if stored.is_err() {
            // These looks are over, whatever became of what they brought.
            reported.iter().for_each(|unit| self.queue.finish(unit));
        }
        if stored.is_err() && is_discovery {
            self.give_up_on_places();
        }
        stored
    }

    /// Makes one change of the index; who waits for it is answered afterwards.
    fn as_one(
        &mut self,
        change: impl FnOnce(&mut Self, &mut Vec<Effect>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Effect>> {
        let mut effects = Vec::new();
        let was_probed = self.roots.are_probed();
        let stored = self.index.begin().and_then(|()| {
            self.user.begin()?;
            change(self, &mut effects)?;
            self.settle_roots()?;
            self.index.commit()
        });
        self.user.end();
        if let Err(error) = stored {
            self.index.roll_back();
            self.start_over();
            return Err(error);
        }
        for (reply, model) in self.said.drain(..) {
            drop(reply.send(model)); // who asked may have gone
        }
        if !was_probed {
            // What the probes have brought belongs to what is waited for.
            let tick = self.queue.tick();
            for waiting in &mut self.waiting {
                if matches!(waiting.until, Until::Tick(_)) {
                    waiting.until = Until::Tick(tick);
                }
            }
        }
        self.unwatched_sight(&effects);
        self.look_for_places(&mut effects);
        self.dispatch(&mut effects); // of what is stored only
        self.answer_waiting();
        effects.push(Effect::Wake(self.next_wake()));
        Ok(effects)
    }

    /// What was stored and what is in memory may differ now: all is to be looked at again, but not at once, as what
    /// went wrong (a full disk) may last. What looks under way still bring is a part, and would pass for the whole.
    /// Who waits sees that there is no answer.
    fn start_over(&mut self) {
        self.said.clear();
        self.waiting.clear();
        self.queue.forget(|_| true);
        self.roots.expect_nothing();
        self.is_troubled = true;
    }

    fn react(&mut self, event: Event, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        match event {
            Event::Want(wanted) => self.want_by_user(wanted, effects)?,
            Event::Discovered(found) => self.discovered(found.map(|found| *found), effects)?,
            Event::Unwant(path) => self.unwant_by_user(&path, effects)?,
            Event::Forget(path) => self.forget_offline(&path, effects)?,
            Event::Changed(changes) => self.changed(changes, effects)?,
            Event::Lost => self.lost(effects)?,
            Event::Mounted => self.mounted(effects),
            Event::Cookie(name) => self.cookie(&name, effects),
            Event::Partly(unit, change) => self.partly(&unit, change, effects)?,
            Event::Looked(unit, looked) => self.looked(&unit, looked, effects)?,
            Event::Checked { same, changed } => self.checked(&same, changed, effects)?,
            Event::Probed(probed) => self.probed(probed, effects)?,
            Event::LinkLeads { link, target } => self.link_leads(&link, &target, effects)?,
            Event::Grown(path, sight) => self.grown(&path, sight, effects)?,
            Event::Asked => self.look_at_resting(effects),
            Event::Tick | Event::Doubted => self.tick(effects)?,
            Event::Said(model, reply) => {
                // A hash that was computed tells of the copies in other models too.
                let mut sharing = self.index.sharing_with(&model)?;
                sharing.remove(&model);
                let model = self.refresh(&model, effects)?;
                self.refresh_all(&sharing, effects)?;
                self.said.push((reply, model));
            }
            Event::Sync { cookie, reply } => {
                self.try_again(effects)?;
                self.poll_unwatched()?;
                self.wait(Until::Cookie(cookie), reply);
            }
            Event::Scan(reply) => {
                self.index.prune_files()?;
                self.probe_all(effects);
                self.discover(effects);
                self.look_everywhere()?;
                self.wait(Until::Tick(self.queue.tick()), reply);
            }
            Event::Stopping => effects.push(Effect::Stop),
        }
        Ok(())
    }

    /// Whether everything that is known to have changed has been looked at.
    pub fn is_settled(&self) -> bool {
        self.queue.is_idle() && self.roots.are_probed()
    }

    /// Whether something could not be stored, and was not tried again yet.
    pub fn is_behind(&self) -> bool {
        self.is_troubled
    }

    /// Ends, leaving the index in order.
    pub fn close(self) -> anyhow::Result<()> {
        self.index.close()
    }

    /// Starts again with another index: the file was deleted under us.
    pub fn reopen(&mut self, index: Index) -> anyhow::Result<Vec<Effect>> {
        self.index = index;
        let mut effects = vec![Effect::Do(Job::Anew)];
        self.queue.forget(|_| true);
        self.roots.forget_all();
        self.probe_all(&mut effects);
        Ok(effects)
    }

    fn wait(&mut self, until: Until, reply: oneshot::Sender<Settled>) {
        self.waiting.push(Waiting { until, read_before: self.read, reply });
    }

    fn cookie(&mut self, name: &str, effects: &mut Vec<Effect>) {
        self.catch_up_on_places(effects);
        let tick = self.queue.tick();
        for waiting in &mut self.waiting {
            if waiting.until == Until::Cookie(name.to_owned()) {
                waiting.until = Until::Tick(tick);
            }
        }
    }

    fn answer_waiting(&mut self) {
        let (done, is_probed) = (self.queue.done_up_to(), self.roots.are_probed());
        let is_done = |waiting: &mut Waiting| match waiting.until {
            Until::Cookie(_) => false,
            Until::Tick(tick) => done.is_none_or(|oldest| tick < oldest) && is_probed,
        };
        for waiting in self.waiting.extract_if(.., is_done) {
            let settled = Settled { read: self.read.saturating_sub(waiting.read_before) };
            waiting.reply.send(settled).ok(); // who asked may have gone
        }
    }

    /// In how many seconds time has to pass for something to be done.
    fn next_wake(&self) -> u64 {
        if self.is_troubled {
            return TROUBLE_SECONDS;
        }
        let mut next = self.roots.next_look(self.poll_seconds);
        if self.growing.is_awaited() || !self.links.is_empty() || self.queue.is_holding() {
            next = next.min(1);
        }
        if self.is_expecting() {
            next = next.min(probe::SILENCE_SECONDS);
        }
        self.next_discovery().map_or(next, |discovery| discovery.min(next))
    }
}
