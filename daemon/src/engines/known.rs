//! What is known of a program: asked of it once, kept for as long as its file is the same, also over a restart.

use super::{LOOK, Machine, ask::ask};
use crate::{
    config::{make_private, write_private},
    hardware::Wish,
};
use api::ApiError;
use domain::{engines, hardware::Gpu};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A program in an environment: which devices it sees depends on both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) program: PathBuf,
    pub(super) arguments: &'static [&'static str],
    pub(super) variables: BTreeMap<String, String>,
}

/// While this is the same, so are flags and version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// The NVIDIA driver, which decides what can be seen.
    driver: Option<String>,
}

impl Stamp {
    pub(super) fn of(program: &Path, driver: Option<String>) -> io::Result<Self> {
        let meta = program.metadata()?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            driver,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) stamp: Stamp,
    pub(super) flags: BTreeSet<String>,
    pub(super) version: Option<String>,
    /// What it lists, or why it lists nothing.
    pub(super) devices: Result<Vec<Gpu>, String>,
    pub(super) listed_at: Timestamp,
    /// The drivers' cards just before: what the engine saw less of is its own context.
    #[serde(default)]
    pub(super) cards: Vec<Gpu>,
    /// Why CUDA did not start, in its own words.
    #[serde(default)]
    pub(super) complaint: Option<String>,
}

/// What an ask has brought; a failure is kept for moments only.
pub(super) type Made = Result<Arc<Known>, Arc<Failed>>;

#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: ApiError,
    stamp: Stamp,
    at: Timestamp,
}

/// A program that could not be asked is not asked again at once.
const FAILED: Duration = Duration::from_secs(5);

pub(super) fn is_good(made: &Made, stamp: &Stamp, max_age: Duration) -> bool {
    match made {
        Ok(known) => known.stamp == *stamp && is_young(known.listed_at, max_age),
        Err(failed) => failed.stamp == *stamp && is_young(failed.at, FAILED.min(max_age)),
    }
}

/// A time to come is no age: the clock was set back.
pub(super) fn is_young(then: Timestamp, max_age: Duration) -> bool {
    Timestamp::now().duration_since(then).try_into().is_ok_and(|age: Duration| age <= max_age)
}

/// Where and how a program is asked.
pub(super) struct Question {
    pub(super) key: Key,
    pub(super) stamp: Stamp,
    pub(super) environment: BTreeMap<String, OsString>,
    pub(super) max_age: Duration,
    /// Where answers are kept over a restart.
    pub(super) dir: PathBuf,
    pub(super) machine: Arc<Machine>,
}

impl Question {
    /// Asks for what is not known yet, or not any more.
    pub(super) fn make(&self, last: Option<Made>) -> Made {
        let last = last.and_then(Result::ok).or_else(|| self.stored().map(Arc::new));
        let last = last.filter(|last| last.stamp == self.stamp);
        if let Some(last) = last.as_ref().filter(|last| is_young(last.listed_at, self.max_age)) {
            return Ok(Arc::clone(last));
        }
        let (flags, version) = match last {
            Some(last) => (last.flags.clone(), last.version.clone()),
            None => self.flags().map_err(|error| self.failed(error))?,
        };
        let cards =
            self.machine.look(LOOK, Wish::PLANNED).map(|look| look.hardware.gpus.clone()).unwrap_or_default();
        let (devices, complaint) = match self.devices(&flags) {
            Ok((devices, complaint)) => (Ok(devices), complaint),
            Err(why) => (Err(why), None),
        };
        let (stamp, listed_at) = (self.stamp.clone(), Timestamp::now());
        let known = Known { stamp, flags, version, devices, listed_at, cards, complaint };
        if let Err(error) = self.store(&known) {
            tracing::debug!(%error, "what is known of an engine could not be kept");
        }
        Ok(Arc::new(known))
    }

    /// Whether an answer is kept, of whatever age.
    pub(super) fn is_answered(&self) -> bool {
        self.stored().is_some_and(|known| known.stamp == self.stamp)
    }

    fn failed(&self, error: ApiError) -> Arc<Failed> {
        Arc::new(Failed { error, stamp: self.stamp.clone(), at: Timestamp::now() })
    }

    fn ask(&self, word: &str) -> Result<super::ask::Said, String> {
        let arguments: Vec<&str> = self.key.arguments.iter().copied().chain([word]).collect();
        ask(&self.key.program, &arguments, &self.environment)
    }

    fn flags(&self) -> Result<(BTreeSet<String>, Option<String>), ApiError> {
        let program = self.key.program.display();
        let help = self.ask("--help").map_err(|why| ApiError::Refused {
            why: format!("{program} --help failed: {why}"),
            hint: Some(format!("try it by hand: {program} --help")),
        })?;
        let flags = engines::listed_flags(&help.out);
        let said = flags.contains("--version").then(|| self.ask("--version").ok()).flatten();
        // llama.cpp prints it to stderr.
        let version = said.and_then(|said| {
            engines::listed_version(&said.out).or_else(|| engines::listed_version(&said.err))
        });
        Ok((flags, version))
    }

    /// The devices that it sees, and why CUDA did not start.
    fn devices(&self, flags: &BTreeSet<String>) -> Result<(Vec<Gpu>, Option<String>), String> {
        if !flags.contains("--list-devices") {
            return Err("it has no --list-devices: too old to tell its devices".into());
        }
        let said = self.ask("--list-devices").map_err(|why| format!("--list-devices failed: {why}"))?;
        let devices = engines::listed_devices(&said.out).ok_or("its --list-devices cannot be read")?;
        Ok((devices, engines::cuda_complaint(&said.err).or_else(|| engines::cuda_complaint(&said.out))))
    }

    fn path(&self) -> PathBuf {
        let mut hash = blake3::Hasher::new();
        hash.update(self.key.program.as_os_str().as_bytes());
        for (name, value) in &self.key.variables {
            hash.update(&[0]).update(name.as_bytes()).update(b"=").update(value.as_bytes());
        }
        self.dir.join(format!("{}.json", hash.finalize().to_hex()))
    }

    fn stored(&self) -> Option<Known> {
        serde_json::from_slice(&fs::read(self.path()).ok()?).ok()
    }

    fn store(&self, known: &Known) -> anyhow::Result<()> {
        make_private(&self.dir)?;
        write_private(&self.path(), known)?;
        forget_old(&self.dir)?;
        Ok(())
    }
}

/// Files that are kept: a person has a handful of engines.
const KEPT: usize = 32;

fn forget_old(dir: &Path) -> io::Result<()> {
    let mut files: Vec<_> = fs::read_dir(dir)?
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    for (_, path) in files.iter().take(files.len().saturating_sub(KEPT)) {
        fs::remove_file(path)?;
    }
    Ok(())
}
