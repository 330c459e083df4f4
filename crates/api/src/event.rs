//! The live stream: what happens, and to what.

use crate::{Machine, Run};
use domain::Model;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of the live stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    pub event: EventKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Box<Model>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Box<Run>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Box<Machine>>,
}

impl Event {
    /// That something has happened, without what it has happened to.
    pub fn new(at: Timestamp, event: EventKind) -> Self {
        Self { at, event, model: None, run: None, job: None, hardware: None }
    }
}

/// Work that takes long. The last that is told of one has `done` equal to `total`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What it is: `verify`.
    pub job: String,
    /// The name of the model that it is at.
    pub name: Option<String>,
    /// Bytes.
    pub done: u64,
    pub total: u64,
}

/// Named like the D-Bus signals. `Listening` opens every stream: what happens after it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    Listening,
    ModelAdded,
    ModelChanged,
    ModelRemoved,
    RunChanged,
    JobChanged,
    HardwareChanged,
}
