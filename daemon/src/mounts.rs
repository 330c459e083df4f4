//! Tells the core when something is mounted or unmounted: file events do not.

use crate::core::{Event, Handle};
use rustix::event::{PollFd, PollFlags, poll};
use std::{fs::File, thread};

/// Starts a thread that sleeps until the mount table changes.
pub(crate) fn start(inbox: Handle) -> std::io::Result<()> {
    let table = File::open("/proc/self/mountinfo")?;
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
