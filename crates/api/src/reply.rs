//! What the daemon answers, one struct for each method.

use crate::Job;
use domain::{
    Model, Progress, RootStatus, Verdict, Verification, WirePath,
    duplicates::Group,
    engines,
    facts::Facts,
    hardware::{Card, Cpu, Gpu, Host, Ram},
    suggest::Suggestion,
    usage::{By, Share},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `Overview`: the home screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    pub version: String,
    pub roots: Vec<RootStatus>,
    pub models: u64,
    pub locations: u64,
    /// Bytes on disk, each inode once: the total of `Usage`.
    pub disk_size: u64,
    /// Contents that lie in more than one inode, and the bytes that one copy of each would free.
    pub duplicates: u64,
    pub reclaimable: u64,
    /// Models that are not usable as they are, or are not what their source recorded.
    pub problems: Vec<Problem>,
    /// What the daemon itself has to say: a rebuilt index, a degraded watch.
    pub notices: Vec<String>,
    pub scanning: bool,
    pub runs: Vec<Run>,
    /// Bytes of memory in the machine, and what is available.
    pub ram_total: Option<u64>,
    pub ram_available: Option<u64>,
    /// What the daemon is busy with by itself.
    #[serde(default)]
    pub jobs: Vec<Job>,
    /// What is being downloaded now.
    #[serde(default)]
    pub downloads: Vec<Download>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// The model's.
    pub name: String,
    pub id: String,
    pub progress: Option<Progress>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub name: String,
    pub id: String,
    pub state: domain::State,
    #[serde(default)]
    pub verification: Option<Verification>,
    pub reason: Option<String>,
    /// What loading it runs, where it runs code.
    #[serde(default)]
    pub danger: Option<String>,
}

/// `List`. With `more` the models come in several answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    pub models: Vec<Model>,
}

/// `Duplicates`, the group that most can be won of first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicates {
    pub groups: Vec<Group>,
    /// Contents that take their bytes more than once, and the bytes that one copy of each would free.
    pub duplicates: u64,
    pub reclaimable: u64,
    /// What the figures cannot tell.
    pub notes: Vec<String>,
}

/// `Usage`: the bytes of all shares are the total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub by: By,
    pub shares: Vec<Share>,
    pub total: u64,
    pub filesystems: Vec<Filesystem>,
}

/// A filesystem with models on it, bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    pub total: u64,
    /// What this user may still write.
    pub available: u64,
    pub roots: Vec<String>,
}

/// `Show`: the model, and what its weights say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    #[serde(flatten)]
    pub model: Model,
    pub facts: Option<Facts>,
    /// Ids of models whose tensors are the same to the last byte, and whose files are not.
    #[serde(default)]
    pub same_weights: Vec<String>,
    /// Parts that go with it, by what they and it are, not by their names.
    #[serde(default)]
    pub companions: Vec<domain::Companion>,
}

/// `Inspect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspected {
    #[serde(flatten)]
    pub path: WirePath,
    /// Bytes.
    pub size: u64,
    #[serde(flatten)]
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roots {
    pub roots: Vec<RootStatus>,
}

/// `SuggestRoots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggested {
    /// Most bytes first.
    pub suggestions: Vec<Suggestion>,
    /// Folders that were listed.
    pub looked: u64,
    /// Whether the look came to its end within its bounds.
    pub complete: bool,
}

/// `AddRoot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    pub root: RootStatus,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    pub models: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanned {
    pub models: u64,
    /// Files whose header was read again.
    pub read: u64,
}

/// `Hardware`: `gpus`, `ram` and `cpu` are what `--hardware FILE` takes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HardwareReport {
    /// As the first engine sees them, then cards that it does not see.
    pub gpus: Vec<Gpu>,
    pub ram: Ram,
    pub cpu: Cpu,
    /// Names of the processes that hold memory of a card.
    pub holders: BTreeMap<u32, String>,
    pub engines: Vec<EngineDevices>,
    pub notes: Vec<String>,
    /// Of which not all is known that a plan needs, as one that sleeps.
    #[serde(default)]
    pub cards: Vec<Card>,
    #[serde(default)]
    pub host: Host,
}

impl HardwareReport {
    /// Notes of no card that is told of by itself: one of a card ends with what that says.
    pub fn other_notes(&self) -> impl Iterator<Item = &String> {
        let is_of_card = |note: &String| self.cards.iter().any(|card| note.ends_with(&card.why));
        self.notes.iter().filter(move |note| !is_of_card(note))
    }
}

/// What the drivers tell of the machine, no engine asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub gpus: Vec<Gpu>,
    pub ram: Ram,
    pub cpu: Cpu,
    #[serde(default)]
    pub cards: Vec<Card>,
}

/// Which devices an engine really sees.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineDevices {
    pub engine: String,
    pub program: String,
    pub version: Option<String>,
    pub devices: Vec<Gpu>,
    /// What one would not expect.
    pub note: Option<String>,
}

/// `Engines`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Engines {
    pub engines: Vec<EngineStatus>,
}

/// `AddEngine`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AddedEngine {
    pub engine: EngineStatus,
}

/// A program of an engine, or that there is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineStatus {
    pub engine: String,
    pub found: bool,
    pub program: Option<String>,
    /// As it prints it.
    pub version: Option<String>,
    pub devices: Vec<Gpu>,
    /// How many flags its `--help` lists.
    pub flags: u64,
    /// The user has added it.
    pub added: bool,
    /// Every place that was searched.
    pub looked: Vec<String>,
    pub note: Option<String>,
}

/// `Plan`, and the first answer of `Launch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    #[serde(flatten)]
    pub plan: engines::Plan,
}

/// The answers of `Launch`, in order: `planned`, `started`, then `ready`, `log` as they come, `exited`. The first is
/// left out where such a run was there already: it is joined. A detached launch is answered in full with `ready`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "update", rename_all = "snake_case")]
pub enum LaunchUpdate {
    Planned {
        plan: Box<engines::Plan>,
    },
    Started {
        run: Run,
    },
    /// The engine answers; `ctx` is what it says its context is.
    Ready {
        run: Run,
    },
    Log {
        line: String,
    },
    /// `code` is None where a signal ended it; `stopped` says that we did.
    Exited {
        run: Run,
        code: Option<i32>,
        signal: Option<i32>,
        stopped: bool,
    },
}

/// `Doctor`: the worst first; nothing where nothing is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    pub findings: Vec<domain::doctor::Finding>,
}

/// `Ps`: what runs, then what has ended lately.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    pub runs: Vec<Run>,
}

/// `Stop`: the run as it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    pub run: Run,
}

/// `Logs`. With `more` the lines come in several answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    pub lines: Vec<String>,
}

/// A run as `ps` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// A short word.
    pub run: String,
    pub engine: String,
    pub model: ModelRef,
    pub state: RunState,
    /// It was started by this manager.
    #[serde(default)]
    pub ours: bool,
    /// The engine's process.
    pub pid: Option<u32>,
    /// The systemd unit that it runs in, where there is a user manager.
    #[serde(default)]
    pub unit: Option<String>,
    pub url: Option<String>,
    /// Tokens, as the engine reports them.
    pub ctx: Option<u64>,
    pub since: Timestamp,
    /// Bytes in use by device; `host` is memory that nothing else shares.
    #[serde(default)]
    pub memory: BTreeMap<String, u64>,
    /// Bytes by device, as they were planned.
    #[serde(default)]
    pub planned: BTreeMap<String, u64>,
    #[serde(default)]
    pub on_cpu: Option<bool>,
    #[serde(default)]
    pub last_lines: Vec<String>,
    /// Why it failed, and what to do about it.
    #[serde(default)]
    pub why: Option<String>,
    #[serde(default)]
    pub hint: Option<String>,
    #[serde(default)]
    pub code: Option<i32>,
    #[serde(default)]
    pub signal: Option<i32>,
    /// What the user should know of it.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl RunState {
    /// Whether there is a process still.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Ready | Self::Stopping)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    pub id: String,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    Starting,
    Ready,
    Stopping,
    Exited,
    Failed,
}
