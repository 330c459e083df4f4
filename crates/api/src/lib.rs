//! The wire between `modelctl` and `modeld`, and any other program that speaks Varlink.
//!
//! 1. Connect to the unix socket `$XDG_RUNTIME_DIR/modeld/org.modelctl.Manager`.
//! 2. Send one JSON object and a NUL byte: `{"method":"org.modelctl.Manager.List","parameters":{}}`.
//! 3. Read one JSON object and a NUL byte: `{"parameters":{…}}`, or `{"error":"org.modelctl.Manager.NoSuchModel",
//!    "parameters":{…}}`.
//! 4. With `"more":true` some methods answer with many objects; each but the last has `"continues":true`.
//! 5. `org.varlink.service.GetInterfaceDescription` returns the interface file, which is `INTERFACE_FILE` here.

mod checked;
pub mod client;
mod error;
mod event;
mod frame;
mod reply;
mod request;

use std::path::{Path, PathBuf};

pub use checked::{Checked, CheckedSum, Verifying};
pub use error::{ApiError, Candidate};
pub use event::{Event, EventKind, Job};
pub use frame::{Call, END, Frame, MAX_CALL, MAX_REPLY, encode};
pub use reply::{
    Added, AddedEngine, Download, Duplicates, EngineDevices, EngineStatus, Engines, Examined, Filesystem,
    HardwareReport, Inspected, Launch, LaunchUpdate, Listed, Logged, Machine, ModelRef, Overview, Problem,
    Roots, Run, RunState, Runs, Scanned, Shown, Stopped, Suggested, Synced, Usage,
};
pub use request::{LAUNCH_VARIABLES, LaunchRequest, Request};

/// The interface's name, and the socket's file name.
pub const INTERFACE: &str = "org.modelctl.Manager";

/// Where the socket is: in the runtime directory, else below the state directory, never in a place that others share.
/// Both are XDG base directories; None where there is neither.
pub fn socket(runtime: Option<&Path>, state: Option<&Path>) -> Option<PathBuf> {
    let dir = runtime.map(|runtime| runtime.join("modeld"));
    let dir = dir.or_else(|| state.map(|state| state.join("modeld/run")));
    dir.map(|dir| dir.join(INTERFACE))
}

/// The interface in Varlink's own language.
pub const INTERFACE_FILE: &str = include_str!("org.modelctl.Manager.varlink");
