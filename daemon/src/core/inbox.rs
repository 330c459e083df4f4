//! The way to the core.

use super::Event;
use crate::{index::UnitRow, work::Looked};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Events that wait; file events are gathered before they are sent, so this is much.
const INBOX: usize = 256;

/// The core has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the daemon is stopping")]
pub struct Stopped;

/// Sends events to the core.
#[derive(Debug, Clone)]
pub struct Handle(SyncSender<Event>);

impl Event {
    /// How many locations a look has brought; None for what is no look, and stored by itself.
    pub(crate) fn brought(&self) -> Option<usize> {
        if let Self::Looked(_, Looked::Different { change, .. }) | Self::Partly(_, change) = self {
            return Some(change.locations.len());
        }
        matches!(self, Self::Looked(..) | Self::Checked { .. }).then_some(0)
    }

    /// Units whose look, or check, is over with this.
    pub(super) fn reported(&self) -> Vec<&UnitRow> {
        if let Self::Checked { same, changed } = self {
            return same.iter().chain(changed).collect();
        }
        if let Self::Looked(unit, _) = self { vec![unit] } else { Vec::new() }
    }
}

impl Handle {
    pub(crate) fn new() -> (Self, Receiver<Event>) {
        let (sender, receiver) = sync_channel(INBOX);
        (Self(sender), receiver)
    }

    /// Waits for room; not for async code.
    pub fn send(&self, event: Event) -> Result<(), Stopped> {
        self.0.send(event).map_err(|_| Stopped)
    }
}
