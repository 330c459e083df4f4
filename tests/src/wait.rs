//! Waiting for something to become true: polled against a deadline, never slept through.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

const BEAT: Duration = Duration::from_millis(20);

/// Asks until there is an answer; None when the time is up.
pub fn poll<T>(seconds: u64, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(BEAT);
    }
}

/// Asks until it is true; fails the test, naming what was waited for, when the time is up.
#[track_caller]
pub fn wait_until(what: &str, seconds: u64, mut is_true: impl FnMut() -> bool) {
    assert!(poll(seconds, || is_true().then_some(())).is_some(), "after {seconds} s not yet: {what}");
}
