//! A watched root and how well it is watched, as `roots` shows it.

use crate::{App, WirePath};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootStatus {
    #[serde(flatten)]
    pub path: WirePath,
    pub app: App,
    /// The link that led here, for a root outside the places that were looked for.
    pub derived_from: Option<String>,
    pub online: bool,
    pub offline_since: Option<Timestamp>,
    /// Whether the kernel tells of changes; a root that is not watched is scanned from time to time.
    pub watched: bool,
    pub degraded: bool,
    /// Why it is degraded or offline, and the line that mends it.
    pub reason: Option<String>,
    pub models: u64,
    /// Bytes allocated on disk, each inode once.
    pub bytes: u64,
    pub rescans: u64,
    pub last_scan: Option<Timestamp>,
    /// The filesystem it is on: its UUID where it has one.
    #[serde(default)]
    pub volume: Option<String>,
}
