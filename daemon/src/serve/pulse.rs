//! Looks at the machine by itself, only as often as somebody needs it, and tells when what a launch could have has changed.
//! Plans nothing, and asks no engine.

use crate::{
    engines::Engines,
    hardware::{
        Keep, Snapshot, Wish,
        slept::{Alarm, Clocks},
    },
    runs::Runs,
};
use api::{EventKind, Machine};
use domain::hardware::{Card, Gpu, Hardware, Ram, differ};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, sleep_until, timeout},
};

/// While somebody watches, or a run takes its memory.
const BEAT: Duration = Duration::from_secs(1);

/// While nobody does.
const IDLE: Duration = Duration::from_secs(30);

/// Of the processor's time a look may take one part in so many while nobody needs it: 0.05 %. A driver that nothing holds
/// open may take a second to start.
const SHARE: u32 = 2000;

/// Who listens waits no longer for the first look.
const FIRST: Duration = Duration::from_secs(1);

/// The way to the one who looks.
#[derive(Debug)]
pub(crate) struct Pulse {
    eyes: watch::Sender<Eyes>,
    /// Whether there was a look yet; each is news.
    seen: watch::Receiver<bool>,
}

/// Who wants to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Eyes {
    /// Streams of events, which may stay for ever.
    listening: usize,
    /// Somebody looks at it now.
    watching: usize,
}

/// How much is needed; what is more is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Nobody,
    Listener,
    Start,
    Watcher,
}

/// Somebody wants to know, until this is dropped.
#[derive(Debug)]
pub(crate) struct Eye {
    eyes: watch::Sender<Eyes>,
    is_watching: bool,
}

impl Drop for Eye {
    fn drop(&mut self) {
        self.eyes.send_modify(|eyes| *eyes.count(self.is_watching) -= 1);
    }
}

impl Eyes {
    fn count(&mut self, is_watching: bool) -> &mut usize {
        if is_watching { &mut self.watching } else { &mut self.listening }
    }
}

impl Need {
    fn of(eyes: Eyes, is_starting: bool) -> Self {
        match eyes {
            Eyes { watching: 1.., .. } => Self::Watcher,
            _ if is_starting => Self::Start,
            Eyes { listening: 1.., .. } => Self::Listener,
            Eyes { .. } => Self::Nobody,
        }
    }

    /// From one look to the next, where the last has cost so much.
    fn pause(self, cost: Duration) -> Duration {
        if self == Self::Nobody { IDLE.max(cost * SHARE) } else { BEAT.max(cost * 10) }
    }

    fn wish(self) -> Wish {
        Wish {
            with_holders: self == Self::Watcher,
            keep: if self == Self::Nobody { Keep::No } else { Keep::Yes },
            is_gentle: self <= Self::Listener,
        }
    }
}

impl Pulse {
    /// Starts to look; needs a runtime.
    pub(crate) fn start(
        engines: Arc<Engines>,
        runs: Runs,
        published: broadcast::Sender<Arc<api::Event>>,
    ) -> Self {
        let (eyes, wanted) = watch::channel(Eyes::default());
        let (told, seen) = watch::channel(false);
        tokio::spawn(Looker { engines, runs, wanted, told, published, last: None }.beat());
        Self { eyes, seen }
    }

    /// Looks every second from now on, and tells of each look.
    pub(crate) fn watch(&self) -> (Eye, watch::Receiver<bool>) {
        let mut seen = self.seen.clone();
        seen.mark_unchanged();
        (self.open(true), seen)
    }

    /// Every change from now on is an event.
    pub(crate) async fn listen(&self) -> Eye {
        let eye = self.open(false);
        let mut seen = self.seen.clone();
        drop(timeout(FIRST, seen.wait_for(|seen| *seen)).await); // then from the first look on
        eye
    }

    fn open(&self, is_watching: bool) -> Eye {
        self.eyes.send_modify(|eyes| *eyes.count(is_watching) += 1);
        Eye { eyes: self.eyes.clone(), is_watching }
    }
}

struct Looker {
    engines: Arc<Engines>,
    runs: Runs,
    wanted: watch::Receiver<Eyes>,
    told: watch::Sender<bool>,
    published: broadcast::Sender<Arc<api::Event>>,
    /// What was told last.
    last: Option<Machine>,
}

impl Looker {
    async fn beat(mut self) {
        let (alarm, mut changes) = (Alarm::new(), self.runs.changes());
        let (mut clocks, mut looked, mut cost) = (Clocks::now(), Instant::now(), Duration::ZERO);
        loop {
            let need = self.need();
            let is_due = tokio::select! {
                () = sleep_until(looked + need.pause(cost)) => true,
                () = alarm.rings() => true,
                () = changes.next() => false,
                changed = self.wanted.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return, // the daemon is stopping
                },
            };
            // Who has gone leaves a library behind that is let go.
            let is_less = self.need() < need;
            if !is_due && !is_less {
                continue;
            }
            let now = Clocks::now();
            let slept = clocks.slept_until(now);
            clocks = now;
            cost = self.look(slept).await;
            looked = Instant::now();
        }
    }

    fn need(&self) -> Need {
        Need::of(*self.wanted.borrow(), self.runs.is_starting())
    }

    /// Looks, tells what is new, and returns what that has cost.
    async fn look(&mut self, slept: Option<Duration>) -> Duration {
        let mut wish = self.need().wish();
        if let Some(slept) = slept {
            tracing::info!(seconds = slept.as_secs(), "the machine has slept");
            self.engines.has_slept();
            wish.keep = Keep::No; // what was opened before may be of no use
        }
        let engines = Arc::clone(&self.engines);
        let look = tokio::task::spawn_blocking(move || engines.look_now(wish)).await;
        let look = match look.map_err(anyhow::Error::from).and_then(|look| look) {
            Ok(look) => look,
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "the machine could not be looked at");
                return IDLE / SHARE;
            }
        };
        self.tell(&look);
        self.told.send_replace(true);
        look.cost
    }

    fn tell(&mut self, look: &Snapshot) {
        let Hardware { gpus, ram, cpu } = &look.hardware;
        let is_news =
            |last: &Machine| differs((gpus, *ram, &look.cards), (&last.gpus, last.ram, &last.cards));
        if self.last.as_ref().is_some_and(|last| !is_news(last)) {
            return;
        }
        let now = Machine { gpus: gpus.clone(), ram: *ram, cpu: cpu.clone(), cards: look.cards.clone() };
        if self.last.replace(now.clone()).is_none() {
            return; // the first look is what changes are told from
        }
        let event = api::Event::new(Timestamp::now(), EventKind::HardwareChanged);
        let event = api::Event { hardware: Some(Box::new(now)), ..event };
        drop(self.published.send(Arc::new(event))); // nobody may be listening
    }
}

/// Whether a launch could have more or less than it could.
pub(super) fn differs(
    (gpus, ram, cards): (&[Gpu], Ram, &[Card]),
    (gpus_before, ram_before, cards_before): (&[Gpu], Ram, &[Card]),
) -> bool {
    let is_like =
        |now: &Card, then: &Card| (&now.pci, &now.name, now.state) == (&then.pci, &then.name, then.state);
    differ((gpus, ram), (gpus_before, ram_before))
        || cards.len() != cards_before.len()
        || !cards.iter().zip(cards_before).all(|(now, then)| is_like(now, then))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_as_often_as_somebody_needs() {
        let eyes = |listening, watching| Eyes { listening, watching };
        let ms = Duration::from_millis;
        for (eyes, is_starting, cost, pause) in [
            (eyes(0, 0), false, ms(1), ms(30_000)),
            (eyes(0, 0), false, ms(30), ms(60_000)),
            (eyes(0, 0), true, ms(30), ms(1000)),
            (eyes(1, 0), false, ms(1), ms(1000)),
            (eyes(0, 2), true, ms(300), ms(3000)),
        ] {
            assert_eq!(Need::of(eyes, is_starting).pause(cost), pause, "{eyes:?} {cost:?}");
        }
    }

    #[test]
    fn a_library_is_kept_while_somebody_needs_it_and_cards_are_spared_where_nobody_looks() {
        let told = |need: Need| (need.wish().keep, need.wish().is_gentle, need.wish().with_holders);
        assert_eq!(told(Need::Nobody), (Keep::No, true, false));
        assert_eq!(told(Need::Listener), (Keep::Yes, true, false));
        assert_eq!(told(Need::Start), (Keep::Yes, false, false));
        assert_eq!(told(Need::Watcher), (Keep::Yes, false, true));
    }
}
