//! Starts supervisors where nothing of the daemon's end reaches them: in a transient unit of the user manager where
//! there is one, else as a process that leads a session of its own.
//!
//! `systemd-run` is asked, not the bus: it is there wherever systemd is, knows which of its versions wants what, and
//! costs no dependency. One start takes about 30 ms of a launch that takes seconds.

use crate::{config::Config, supervise::OWN_PROGRAM};
use anyhow::{Context as _, bail};
use std::{
    ffi::{OsStr, OsString},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// A manager that is alive starts a unit far sooner.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Starter {
    /// `XDG_RUNTIME_DIR`, below which the user manager has its socket.
    runtime: Option<PathBuf>,
    path: Option<OsString>,
    sysroot: PathBuf,
}

/// A user manager that can be asked.
pub(super) struct Manager {
    program: PathBuf,
    runtime: PathBuf,
}

impl Starter {
    pub(super) fn new(config: &Config) -> Self {
        let (runtime, path) = (config.runtime.clone(), config.path.clone());
        Self { runtime, path, sysroot: config.environment.sysroot.clone() }
    }

    /// Returns the user manager, where there is one now.
    pub(super) fn manager(&self) -> Option<Manager> {
        let runtime = self.runtime.clone().filter(|runtime| runtime.join("systemd/private").exists())?;
        let dirs = self.path.as_deref().map(std::env::split_paths).into_iter().flatten();
        let mut programs = dirs.chain(["/usr/bin".into()]).map(|dir| dir.join("systemd-run"));
        Some(Manager { program: programs.find(|program| program.is_file())?, runtime })
    }

    /// Says what a logout does to runs in units, where it does.
    pub(super) fn warning(&self) -> Option<String> {
        let user = user_name(&self.sysroot)?;
        let lingers = self.sysroot.join("var/lib/systemd/linger").join(&user).exists();
        let note =
            "it ends when you log out, as your user manager does; this changes that: loginctl enable-linger";
        (!lingers).then(|| note.to_owned())
    }
}

impl Manager {
    /// Starts a supervisor in a unit; returns when its program runs.
    pub(super) async fn start(&self, unit: &str, dir: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(["--user", "--quiet", "--collect", "--service-type=exec", "--slice=modelctl.slice"])
            .arg(format!("--unit={unit}"))
            // The supervisor is asked first and ends the rest in order; what is left then is killed.
            .args(["-p", "KillMode=mixed", "-p", "TimeoutStopSec=6"])
            // The supervisor must be there to say that the kernel has killed the engine for memory.
            .args(["-p", "OOMPolicy=continue", "-p", "UMask=0077", "-p", "LimitCORE=0"])
            .args([OsStr::new("--"), escaped(&own_path()?).as_os_str(), OsStr::new("supervise")])
            .arg(escaped(dir.as_os_str()))
            .env_clear()
            .env("XDG_RUNTIME_DIR", &self.runtime)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let done = timeout(PATIENCE, command.output()).await.context("systemd-run does not answer")?;
        let done = done.with_context(|| format!("starting {}", self.program.display()))?;
        if !done.status.success() {
            bail!("systemd-run: {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
        }
        Ok(())
    }
}

/// Starts a supervisor that leaves the daemon's session by itself.
pub(super) fn detached(dir: &Path) -> anyhow::Result<Child> {
    Command::new(OWN_PROGRAM)
        .arg("supervise")
        .arg(dir)
        .env_clear()
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting the supervisor")
}

/// The manager expands variables in arguments, also in those that came over its bus.
fn escaped(word: &OsStr) -> OsString {
    let bytes = word.as_bytes().iter();
    OsString::from_vec(
        bytes.flat_map(|byte| std::iter::repeat_n(*byte, 1 + usize::from(*byte == b'$'))).collect(),
    )
}

/// This program's file, for others to start; one that was replaced meanwhile is reached through this process.
fn own_path() -> anyhow::Result<OsString> {
    let path = std::fs::read_link(OWN_PROGRAM).context("looking for this program")?;
    if path.is_file() {
        return Ok(path.into());
    }
    let replaced = path
        .to_str()
        .and_then(|path| path.strip_suffix(" (deleted)"))
        .filter(|path| Path::new(path).is_file());
    Ok(replaced.map_or_else(|| format!("/proc/{}/exe", std::process::id()).into(), Into::into))
}

/// The name of this user, as /etc/passwd has it.
fn user_name(sysroot: &Path) -> Option<String> {
    let own = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let text = std::fs::read_to_string(sysroot.join("etc/passwd")).ok()?;
    let named = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == own).then(|| name.to_owned())
    };
    text.lines().find_map(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dollar_is_doubled_and_no_other_byte_is_touched() {
        assert_eq!(escaped(OsStr::from_bytes(b"/a $HOME/%h\xff")), OsStr::from_bytes(b"/a $$HOME/%h\xff"));
    }

    #[test]
    fn this_program_is_found() {
        assert_eq!(own_path().unwrap(), std::env::current_exe().unwrap());
    }
}
