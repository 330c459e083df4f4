//! One daemon for one state directory: a lock that the kernel drops with the process.

use anyhow::Context as _;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

/// Another daemon holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("another modeld runs already (pid {pid}); it holds {path}")]
pub struct Held {
    pub pid: String,
    pub path: String,
}

/// How long a daemon that is ending is waited for.
const ENDING: Duration = Duration::from_millis(600);

/// Takes the lock; it lasts as long as the file is open.
pub(crate) fn take(path: &Path) -> anyhow::Result<File> {
    let context = || format!("locking {}", path.display());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(context)?;
    // One that is just ending lets go of its socket before its lock.
    let until = Instant::now() + ENDING;
    let locked = loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(Duration::from_millis(20)),
            other => break other,
        }
    };
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).with_context(context)?;
            return Err(Held { pid: pid.trim().to_owned(), path: path.display().to_string() }.into());
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(context),
    }
    file.set_len(0).with_context(context)?;
    writeln!(file, "{}", std::process::id()).with_context(context)?;
    Ok(file)
}
