//! Runs a program for the text that it prints: no shell, a listed environment, an end in time, a bounded answer.

use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::Read,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// A program that says nothing for this long is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest answer that is read, bytes: a `--help` has some 100 KiB.
const LONGEST: u64 = 4 << 20;

/// What it printed.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) out: String,
    pub(super) err: String,
}

/// Returns what the program printed, or why that is nothing to go by.
pub(super) fn ask(
    program: &Path,
    arguments: &[&str],
    environment: &BTreeMap<String, OsString>,
) -> Result<Said, String> {
    ask_within(PATIENCE, program, arguments, environment)
}

/// The same, of words that need not be text, with an end of its own.
pub(super) fn ask_within(
    patience: Duration,
    program: &Path,
    arguments: &[impl AsRef<OsStr>],
    environment: &BTreeMap<String, OsString>,
) -> Result<Said, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    let (out, err) = (child.stdout.take().map(collect), child.stderr.take().map(collect));
    let until = Instant::now() + patience;
    let Some(status) = end(&mut child, until)? else {
        return Err(format!("no answer in {} s", patience.as_secs()));
    };
    // A wrapper may leave a child behind that holds the pipe.
    let left = || until.saturating_duration_since(Instant::now());
    let text = |pipe: Option<Receiver<String>>| pipe.and_then(|pipe| pipe.recv_timeout(left()).ok());
    let (Some(out), Some(err)) = (text(out), text(err)) else {
        kill(&child);
        return Err("its output does not end".into());
    };
    if !status.success() {
        let last = out.lines().chain(err.lines()).rfind(|line| !line.trim().is_empty());
        return Err(last.map_or_else(|| status.to_string(), |last| format!("{status}: {}", last.trim())));
    }
    Ok(Said { out, err })
}

fn collect(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (text, collected) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(pipe.take(LONGEST).read_to_end(&mut bytes)); // what came is what there is
        drop(text.send(String::from_utf8_lossy(&bytes).into_owned())); // nobody waits for ever
    });
    collected
}

/// Waits for its end; None where it had to be ended.
fn end(child: &mut Child, until: Instant) -> Result<Option<ExitStatus>, String> {
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => return Ok(Some(status)),
            None if Instant::now() < until => thread::sleep(Duration::from_millis(2)),
            None => {
                kill(child);
                drop(child.wait()); // it is gone either way
                return Ok(None);
            }
        }
    }
}

/// Ends it and what it has started.
fn kill(child: &Child) {
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        kill_process_group(group, Signal::KILL).ok(); // it may have ended just now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Result<Said, String> {
        let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".into())]);
        ask_within(Duration::from_secs(1), Path::new("/bin/sh"), &["-c", script], &environment)
    }

    #[test]
    fn what_is_printed_is_told_from_what_is_complained_of() {
        let said = sh("echo out; echo err >&2").unwrap();
        assert_eq!((said.out.as_str(), said.err.as_str()), ("out\n", "err\n"));
        assert_eq!(sh("echo $HOME").unwrap().out, "\n", "nothing is inherited");
    }

    #[test]
    fn a_failure_is_told_with_its_last_line() {
        assert_eq!(sh("echo usage; echo no libcuda >&2; exit 3").unwrap_err(), "exit status: 3: no libcuda");
        assert_eq!(sh("exit 3").unwrap_err(), "exit status: 3");
        assert!(ask(Path::new("/nowhere"), &[], &BTreeMap::new()).is_err());
    }

    #[test]
    fn what_hangs_is_ended_with_what_it_has_started() {
        let begun = Instant::now();
        for script in ["sleep 60 & echo $!; wait", "sleep 60 &"] {
            assert!(sh(script).is_err(), "{script}");
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn an_answer_without_end_is_cut() {
        let begun = Instant::now();
        drop(sh("yes")); // whether it counts as failed is up to the shell
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
