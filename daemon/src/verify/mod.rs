//! Full hashes of models' files: computed for who asks, and in the background while nothing else is to do. A hash is
//! kept by what the file is on disk, and is trusted only where the file is the same before and after.

mod background;
mod idle;

pub(crate) use background::{Kick, start};

use crate::{
    core::{Event, Handle},
    hash::{self, Hashed, Pages},
    index::{HashRow, Reader, User, UserChange},
    look::{open_resolved, resolved},
    read,
    remember::Memory,
    volume::{Volume, Volumes},
    watch::Change,
};
use anyhow::Context as _;
use domain::{File, Format, Hashes, hashes::Digests};
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::SystemTime,
};
use tokio::sync::{oneshot, watch};

/// A file that changes while it is hashed is tried this often.
const TRIES: usize = 3;

/// What who asks and the background know of each other.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    /// How many are hashing for somebody who waits: the background rests meanwhile.
    asked: Arc<AtomicUsize>,
    /// What the background is at.
    pub(crate) job: watch::Receiver<Option<api::Job>>,
}

/// While it lives, the background rests.
pub(crate) struct Asked(Arc<AtomicUsize>);

impl Desk {
    pub(crate) fn ask(&self) -> Asked {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Asked(Arc::clone(&self.asked))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Hashes files, on the thread that owns it.
pub(crate) struct Hasher {
    reader: Reader,
    user: User,
    volumes: Volumes,
    memory: Memory,
    core: Handle,
    pages: Pages,
}

/// Why a file has no hash.
#[derive(Debug)]
pub(crate) enum NoHash {
    /// Nobody wants it any more.
    Stopped,
    /// It was changed each time that it was read.
    Restless,
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for NoHash {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What a file is at one moment.
struct Moment {
    file: fs::File,
    meta: Metadata,
    stamp: String,
    volume: Volume,
}

impl Hasher {
    pub(crate) fn open(
        (index, user): (&Path, &Path),
        memory: Memory,
        core: Handle,
        pages: Pages,
    ) -> anyhow::Result<Self> {
        let (reader, user) = (Reader::open(index)?, User::reader(user)?);
        Ok(Self { reader, user, volumes: Volumes::read(), memory, core, pages })
    }

    /// Returns the hashes of a file, computed where they are not known or wanted `again`; they are on the disk then,
    /// and the model is assembled with them.
    pub(crate) fn hashes(
        &mut self,
        (model, file): (&str, &File),
        again: bool,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Hashes, NoHash> {
        let hashes = self.compute(&file.path.to_path(), again, go_on)?;
        if file.hashes.as_ref() != Some(&hashes) {
            let (reply, assembled) = oneshot::channel();
            self.core.send(Event::Said(model.to_owned(), reply))?;
            drop(assembled.blocking_recv()); // without an answer it is assembled with what comes next
        }
        Ok(hashes)
    }

    fn compute(
        &mut self,
        path: &Path,
        again: bool,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Hashes, NoHash> {
        for _ in 0..TRIES {
            let moment = self.moment(path)?;
            let Some((sampled, data_start, format)) = self.content(path, &moment)? else { continue };
            let same = read::without_ctime(&moment.stamp, moment.volume.has_inodes).to_owned();
            if !again && let Some(known) = self.user.hashes(&same, &sampled)? {
                return Ok(known);
            }
            let length = moment.meta.len();
            let digests = match hash::hash(&moment.file, (length, data_start), self.pages, go_on) {
                Ok(Hashed::Done(digests)) => digests,
                Ok(Hashed::Stopped) => return Err(NoHash::Stopped),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(error.into()),
            };
            // Opened anew: another file may stand there now.
            if self.moment(path)?.stamp == moment.stamp {
                return self.keep(same, sampled, (&digests, format));
            }
        }
        Err(NoHash::Restless)
    }

    fn keep(
        &self,
        same: String,
        sampled: Vec<u8>,
        (digests, format): (&Digests, Option<Format>),
    ) -> Result<Hashes, NoHash> {
        let hashes = Hashes::new(digests, format == Some(Format::Safetensors));
        let row = HashRow { same, sampled, hashes: hashes.clone() };
        self.memory.change_blocking(UserChange::Hashed(row))?;
        Ok(hashes)
    }

    /// Whether every byte of a file would come over a network.
    pub(crate) fn is_remote(&mut self, file: &File) -> bool {
        let path = file.path.to_path();
        path.metadata().is_ok_and(|meta| self.volumes.of(meta.dev(), &path).is_remote)
    }

    /// Opens a file, at a time when a change of it would show in its stamp.
    fn moment(&mut self, path: &Path) -> Result<Moment, NoHash> {
        let real: PathBuf = resolved(path).context("it is not there any more")?;
        let file = open_resolved(&real)?;
        let mut meta = file.metadata()?;
        if read::is_racy(&meta, SystemTime::now()) {
            thread::sleep(read::racy_for(&meta));
            meta = file.metadata()?;
        }
        let volume = self.volumes.of(meta.dev(), path).clone();
        let stamp = read::stamp(&volume, &meta, path);
        Ok(Moment { file, meta, stamp, volume })
    }

    /// What the index knows of a file as it is now, else what is read: the sampled id, where its data starts, what it
    /// is. None where it changes.
    #[expect(clippy::type_complexity, reason = "three facts of one reading, used in one place")]
    fn content(
        &self,
        path: &Path,
        moment: &Moment,
    ) -> Result<Option<(Vec<u8>, Option<u64>, Option<Format>)>, NoHash> {
        let inode = if moment.volume.has_inodes { moment.meta.ino() } else { 0 };
        if let Some((_, known)) = self.reader.file(path, &moment.volume.name, inode, &moment.stamp)? {
            return Ok(Some((known.sampled, known.verdict.data_start, known.verdict.format)));
        }
        // It was changed where nothing told of it.
        self.core.send(Event::Changed(vec![(path.to_owned(), Change::Settled)]))?;
        let reading = read::read(&moment.file, path.file_name())?;
        let read::Reading { verdict, sampled, is_still } = reading;
        Ok(is_still.then_some((sampled, verdict.data_start, verdict.format)))
    }
}
