//! Tells the core when something is mounted or unmounted: file events do not.

use crate::core::{Event, Handle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{fs::File, thread};

/// The mount table, asked whether it has changed.
#[derive(Debug)]
pub(crate) struct Mounts(File);

impl Mounts {
    pub(crate) fn open() -> std::io::Result<Self> {
        Ok(Self(File::open(TABLE)?))
    }

    /// Whether something was mounted or unmounted since this was asked last. Does not wait.
    pub(crate) fn have_changed(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.0, PollFlags::PRI)];
        poll(&mut descriptors, Some(&Timespec::default())).is_ok_and(|changed| changed > 0)
    }
}

const TABLE: &str = "/proc/self/mountinfo";

/// Starts a thread that sleeps until the mount table changes.
pub(crate) fn start(inbox: Handle) -> std::io::Result<()> {
    let table = File::open(TABLE)?;
    thread::Builder::new().name("mounts".into()).spawn(move || {
        // The kernel raises PRI and ERR on this file at each change (proc_pid_mounts(5)).
        loop {
            let mut descriptors = [PollFd::new(&table, PollFlags::PRI)];
            if poll(&mut descriptors, None).is_err() || inbox.send(Event::Mounted).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
