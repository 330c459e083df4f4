//! What `Verify` answers: files, and whether they are what their sources recorded.

use crate::Job;
use domain::{App, Verification, WirePath};
use serde::{Deserialize, Serialize};

/// `Verify`: with `more` first the progress, now and then; at last the results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verifying {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Job>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<Vec<Checked>>,
    /// Of the results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<CheckedSum>,
}

/// How many files came out how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedSum {
    pub verified: u64,
    pub mismatch: u64,
    /// Read, and no source recorded what they should be.
    pub unrecorded: u64,
    pub unread: u64,
}

impl CheckedSum {
    pub fn of(results: &[Checked]) -> Self {
        let mut sum = Self::default();
        for checked in results {
            let count = match (checked.verification, &checked.actual) {
                (Verification::Verified, _) => &mut sum.verified,
                (Verification::Mismatch, _) => &mut sum.mismatch,
                (Verification::Unverified, Some(_)) => &mut sum.unrecorded,
                (Verification::Unverified, None) => &mut sum.unread,
            };
            *count += 1;
        }
        sum
    }
}

/// A file of a model, and whether it is what its source recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The model's name.
    pub model: String,
    /// The model's id.
    pub id: String,
    #[serde(flatten)]
    pub path: WirePath,
    /// The app of the location, and the SHA-256 that was recorded there.
    pub app: App,
    pub expected: Option<String>,
    /// The SHA-256 that was computed; None where that was not possible.
    pub actual: Option<String>,
    pub verification: Verification,
    /// Why there is none.
    pub reason: Option<String>,
}
