//! What the daemon answers, one struct for each method.

use domain::{
    Model, RootStatus, Verdict, WirePath, engines,
    facts::Facts,
    hardware::{Cpu, Gpu, Ram},
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
    /// Bytes on disk, each inode once.
    pub disk_size: u64,
    /// Contents that lie in more than one inode, and the bytes that one copy of each would free.
    pub duplicates: u64,
    pub reclaimable: u64,
    /// Models that are not usable as they are: `{name, state, reason}`.
    pub problems: Vec<Problem>,
    /// What the daemon itself has to say: a rebuilt index, a degraded watch.
    pub notices: Vec<String>,
    pub scanning: bool,
    pub runs: Vec<RunRef>,
    /// Bytes of memory in the machine, and what is available.
    pub ram_total: Option<u64>,
    pub ram_available: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub name: String,
    pub id: String,
    pub state: domain::State,
    pub reason: Option<String>,
}

/// `List`. With `more` the models come in several answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    pub models: Vec<Model>,
}

/// `Show`: the model, and what its weights say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    #[serde(flatten)]
    pub model: Model,
    pub facts: Option<Facts>,
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

/// The answers of `Launch`, in order: `planned`, `started`, then `ready`, `log` as they come, `exited`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "update", rename_all = "snake_case")]
pub enum LaunchUpdate {
    Planned {
        plan: engines::Plan,
    },
    Started {
        run: RunRef,
    },
    /// The engine answers; `ctx` is what it says its context is.
    Ready {
        run: RunRef,
    },
    Log {
        line: String,
    },
    /// `code` is None where a signal ended it; `stopped` says that we did.
    Exited {
        run: RunRef,
        code: Option<i32>,
        signal: Option<i32>,
        stopped: bool,
    },
}

/// A run as `ps` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRef {
    pub run: String,
    pub engine: String,
    pub model: ModelRef,
    pub state: RunState,
    pub pid: Option<u32>,
    pub url: Option<String>,
    pub ctx: Option<u64>,
    pub since: Timestamp,
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

/// One line of the live stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    pub event: EventKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Box<Model>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRef>,
}

/// Named like the D-Bus signals. `Listening` opens every stream: what happens after it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    Listening,
    ModelAdded,
    ModelChanged,
    ModelRemoved,
    RunChanged,
}
