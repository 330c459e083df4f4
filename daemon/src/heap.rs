//! One heap for all threads. glibc gives each thread its own and returns little of it: the daemon, which sleeps
//! nearly always, would keep a fourth more memory for threads that once were busy.

use std::{env, os::unix::process::CommandExt as _, process::Command};

/// glibc's own setting (mallopt(3)); it is read when a program starts.
const SETTING: &str = "MALLOC_ARENA_MAX";

/// Starts this program again in its own place, with the setting, unless it has one. Returns if that is impossible.
pub fn be_frugal() {
    if env::var_os(SETTING).is_none()
        && let Ok(program) = env::current_exe()
    {
        let error = Command::new(program).args(env::args_os().skip(1)).env(SETTING, "1").exec();
        tracing::debug!(%error, "starting again was not possible");
    }
}
