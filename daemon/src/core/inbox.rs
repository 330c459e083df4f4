//! The way to the core.

use super::Event;
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
