//! What an engine prints, in two files that stay within bounds. An engine that prints without end is slowed down.

use crate::rundir::{LOG, OLD_LOG};
use anyhow::Context as _;
use std::{
    fs::{self, File, OpenOptions},
    io::{PipeReader, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// Half of what is kept, bytes.
pub(crate) const HALF: u64 = 8 << 20;

/// A chatty engine prints a few KiB in a second; more than this is a fault, and must not take a core.
const RATE: u64 = 16 << 20;

const PIECE: usize = 64 << 10;

/// What a process that cannot be killed may keep open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Says when all is written.
pub(super) type Done = Receiver<()>;

/// Copies a pipe to the log until nobody writes to it any more.
pub(super) fn keep(dir: &Path, mut pipe: PipeReader) -> anyhow::Result<Done> {
    let mut log = Log::open(dir).context("opening the log")?;
    let (done, is_done) = channel();
    thread::Builder::new().name("log".into()).spawn(move || {
        let mut piece = vec![0; PIECE];
        let mut pace = Pace { since: Instant::now(), bytes: 0 };
        while let Ok(size @ 1..) = pipe.read(&mut piece) {
            // A full disk loses lines; the engine must not notice.
            log.write(piece.get(..size).unwrap_or_default()).ok();
            pace.keep(size as u64);
        }
        done.send(()).ok(); // nobody may wait
    })?;
    Ok(is_done)
}

/// Waits until the last words are written.
pub(super) fn wait(log: &Done) {
    log.recv_timeout(LAST_WORDS).ok(); // then without them
}

struct Log {
    dir: PathBuf,
    file: File,
    size: u64,
}

impl Log {
    fn open(dir: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join(LOG))?;
        let size = file.metadata()?.len();
        Ok(Self { dir: dir.to_owned(), file, size })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.size + bytes.len() as u64 > HALF {
            fs::rename(self.dir.join(LOG), self.dir.join(OLD_LOG))?;
            *self = Self::open(&self.dir)?;
        }
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    /// Sleeps where more was written than the rate allows.
    fn keep(&mut self, bytes: u64) {
        self.bytes += bytes;
        let due = Duration::from_millis(self.bytes.saturating_mul(1000) / RATE);
        let elapsed = self.since.elapsed();
        if let Some(early) = due.checked_sub(elapsed).filter(|early| early.as_millis() > 10) {
            thread::sleep(early);
        } else if elapsed > Duration::from_secs(1) {
            *self = Self { since: Instant::now(), bytes: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_kept_within_bounds_and_slowed_down() {
        let dir = tempfile::TempDir::new().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let done = keep(dir.path(), reader).unwrap();
        let begun = Instant::now();
        for _ in 0..24 << 20 >> 16 {
            writer.write_all(&[b'x'; PIECE]).unwrap();
        }
        writer.write_all(b"last").unwrap();
        drop(writer);
        done.recv().unwrap();
        assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
        let size = |name| fs::metadata(dir.path().join(name)).unwrap().len();
        assert!(size(LOG) + size(OLD_LOG) <= 2 * HALF);
        assert!(fs::read(dir.path().join(LOG)).unwrap().ends_with(b"last"));
    }
}
