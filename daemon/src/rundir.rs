//! The directory of a run: what the daemon orders, what the supervisor reports, and the lock that says it lives.
//! Each file has one writer and is replaced as a whole.

use crate::{config::write_private, process::Process};
use anyhow::Context as _;
use domain::{WirePath, plan::Expected};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// By the daemon, before the start: what to run.
const ORDER: &str = "order.json";
/// By the supervisor: what runs, and how it ended.
const STATE: &str = "state.json";
/// By the daemon: the run as it is shown.
const SHOWN: &str = "run.json";
/// Held by the supervisor as long as it lives.
const LOCK: &str = "lock";

pub(crate) const LOG: &str = "log";
/// The older part of the log.
pub(crate) const OLD_LOG: &str = "log.1";

/// What a supervisor starts, exact to the byte. Words and values are wire paths: text, base64 where it is not UTF-8.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    argv: Vec<WirePath>,
    environment: BTreeMap<String, WirePath>,
    #[serde(flatten)]
    pub(crate) ordered: Ordered,
}

/// What another daemon needs to go on with a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ordered {
    /// Two launches with one key mean the same run.
    pub(crate) key: String,
    pub(crate) port: u16,
    /// Tokens.
    pub(crate) planned_ctx: Option<u64>,
    /// What it will take, as planned.
    #[serde(default)]
    pub(crate) expected: Option<Expected>,
    pub(crate) run: api::Run,
}

impl Order {
    pub(crate) fn new(argv: &[OsString], environment: &BTreeMap<String, OsString>, ordered: Ordered) -> Self {
        let exact = |word: &OsStr| WirePath::from(Path::new(word));
        Self {
            argv: argv.iter().map(|word| exact(word)).collect(),
            environment: environment.iter().map(|(name, value)| (name.clone(), exact(value))).collect(),
            ordered,
        }
    }

    pub(crate) fn argv(&self) -> Vec<OsString> {
        self.argv.iter().map(|word| word.to_path().into()).collect()
    }

    pub(crate) fn environment(&self) -> impl Iterator<Item = (&String, PathBuf)> {
        self.environment.iter().map(|(name, value)| (name, value.to_path()))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    /// Process numbers mean nothing after another start of the machine.
    pub(crate) boot: String,
    pub(crate) supervisor: Option<Process>,
    pub(crate) engine: Option<Process>,
    pub(crate) ended: Option<Ended>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// It was asked to end.
    pub(crate) stopped: bool,
    /// The kernel has killed in its cgroup for memory.
    pub(crate) oom_kill: bool,
    /// Why it could not be started or followed.
    pub(crate) error: Option<String>,
    pub(crate) at: Timestamp,
}

pub(crate) fn order(dir: &Path) -> anyhow::Result<Order> {
    read(&dir.join(ORDER))
}

pub(crate) fn write_order(dir: &Path, order: &Order) -> anyhow::Result<()> {
    write(dir, ORDER, order)
}

/// None where the supervisor has not got so far.
pub(crate) fn state(dir: &Path) -> Option<State> {
    read(&dir.join(STATE)).ok()
}

pub(crate) fn write_state(dir: &Path, state: &State) -> anyhow::Result<()> {
    write(dir, STATE, state)
}

pub(crate) fn shown(dir: &Path) -> Option<api::Run> {
    read(&dir.join(SHOWN)).ok()
}

pub(crate) fn write_shown(dir: &Path, run: &api::Run) -> anyhow::Result<()> {
    write(dir, SHOWN, run)
}

/// Forgets what an attempt has left, so that the next one starts from nothing.
pub(crate) fn clear(dir: &Path) {
    for name in [STATE, LOG, OLD_LOG] {
        fs::remove_file(dir.join(name)).ok(); // there may be none
    }
}

/// Whether nothing stands there but what this module writes.
pub(crate) fn is_ours(dir: &Path) -> bool {
    let is_known = |name: &OsStr| {
        let name = name.to_str().unwrap_or_default();
        [ORDER, STATE, SHOWN, LOCK, LOG, OLD_LOG].contains(&name.trim_end_matches(".new"))
    };
    fs::read_dir(dir).is_ok_and(|entries| entries.flatten().all(|entry| is_known(&entry.file_name())))
}

/// Opens the file whose lock is held by the supervisor.
pub(crate) fn lock_file(dir: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK))
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let context = || format!("reading {}", path.display());
    serde_json::from_slice(&fs::read(path).with_context(context)?).with_context(context)
}

fn write(dir: &Path, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
    write_private(&dir.join(name), value)
}
