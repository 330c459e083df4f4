//! Times of a model against now: `unused>90d`, `used<7d`, `added<7d`. Has no clock.

use super::How;
use crate::Model;
use jiff::{SignedDuration, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Age {
    since: Since,
    how: How,
    than: SignedDuration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// Last used or, if never, first seen.
    Unused,
    Used,
    Added,
}

const SINCE: &[(&str, Since)] = &[("unused", Since::Unused), ("used", Since::Used), ("added", Since::Added)];
pub(super) const NAMES: &[&str] = &["unused", "used", "added"];

impl Age {
    /// None where the key is no time.
    pub(super) fn parse(key: &str, operator: &str, value: &str) -> Option<Result<Self, String>> {
        let (_, since) = SINCE.iter().find(|(name, _)| *name == key)?;
        let how = How::parse(operator);
        Some(match (how, duration(value)) {
            (Some(how), Some(than)) => Ok(Self { since: *since, how, than }),
            _ => Err(format!("write {key}>90d or {key}<12w, 6m, 1y, 48h")),
        })
    }

    pub(super) fn holds(self, model: &Model, now: Timestamp) -> bool {
        let then = match self.since {
            Since::Unused => model.last_used.or(model.first_seen),
            Since::Used => model.last_used,
            Since::Added => model.first_seen,
        };
        then.is_some_and(|then| self.how.holds(now.duration_since(then), self.than))
    }
}

/// Months have 30 days, years 365.
fn duration(text: &str) -> Option<SignedDuration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let hours = match unit {
        "h" => 1,
        "d" => 24,
        "w" => 7 * 24,
        "m" => 30 * 24,
        "y" => 365 * 24,
        _ => return None,
    };
    let seconds = number.parse::<u32>().ok().map(i64::from)?.checked_mul(hours * 3600)?;
    Some(SignedDuration::from_secs(seconds))
}
