//! Processes as the kernel tells of them in /proc. A process is its number and its start time: numbers come again.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks since boot, field 22 of `/proc/PID/stat`.
    pub(crate) started: u64,
}

#[derive(Debug, Clone, Copy)]
struct Stat {
    process: Process,
    parent: u32,
    session: u32,
    /// Ended, and not yet fetched by its parent.
    is_dead: bool,
}

impl Process {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| stat.process)
    }

    /// Returns a descriptor that becomes readable with the process's end; None where that has come.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid.cast_signed())?, PidfdFlags::empty()).ok()?;
        // Opened first and looked at then: it is the one that is meant, or it has ended.
        stat(self.pid).filter(|stat| stat.process == self && !stat.is_dead).map(|_| fd)
    }

    /// Sends a signal; nobody else gets it where the process has ended.
    pub(crate) fn signal(self, signal: Signal) {
        if let Some(fd) = self.open() {
            pidfd_send_signal(fd, signal).ok(); // it may have ended just now
        }
    }
}

/// Tells one start of the machine from another.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// All processes of a moment, by their parents.
#[derive(Default)]
pub(crate) struct Tree(BTreeMap<u32, Vec<Stat>>);

impl Tree {
    pub(crate) fn now() -> Self {
        let mut below: BTreeMap<u32, Vec<Stat>> = BTreeMap::new();
        for stat in all() {
            below.entry(stat.parent).or_default().push(stat);
        }
        Self(below)
    }

    /// Processes below one, at any depth, that have not ended.
    pub(crate) fn below(&self, root: u32) -> Vec<Process> {
        let (mut found, mut next, mut seen) = (Vec::new(), vec![root], BTreeSet::new());
        while let Some(parent) = next.pop() {
            for stat in self.0.get(&parent).into_iter().flatten().filter(|stat| seen.insert(stat.process)) {
                next.push(stat.process.pid);
                if !stat.is_dead {
                    found.push(stat.process);
                }
            }
        }
        found
    }
}

/// Processes below one, at any depth, that have not ended.
pub(crate) fn descendants(root: u32) -> Vec<Process> {
    Tree::now().below(root)
}

/// Names a run's directory to all that its engine starts, so that what has left its session is known as well.
pub(crate) const MARK: &str = "RUN_BY_MODELD";

/// What a supervisor that was killed has left: processes of its session, and those that carry its mark. Standing in its
/// directory says nothing: a user's shell may.
pub(crate) fn left_behind(supervisor: Process, dir: &Path) -> Vec<Process> {
    let mark = [MARK.as_bytes(), b"=", dir.as_os_str().as_bytes()].concat();
    let is_marked = |pid: u32| {
        let variables = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        variables.split(|byte| *byte == 0).any(|variable| variable == mark)
    };
    // While a session has processes its number is given to nobody else; after them another one may have it.
    let is_given_away = Process::of(supervisor.pid).is_some_and(|now| now != supervisor);
    let is_left = |stat: &Stat| {
        let Process { pid, started } = stat.process;
        let is_of_session = stat.session == supervisor.pid && !is_given_away;
        (is_of_session || is_marked(pid)) && started >= supervisor.started && !stat.is_dead
    };
    all().filter(is_left).map(|stat| stat.process).collect()
}

/// Bytes of memory that nothing else shares.
pub(crate) fn anonymous_memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&text, "RssAnon:").unwrap_or_default()
}

/// Bytes behind a name in `status` and `meminfo`, which are in KiB and say kB.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What a process is called, where it still runs.
pub(crate) fn name(pid: u32) -> Option<String> {
    name_in(Path::new("/proc"), pid)
}

/// The same, of the machine that a tree stands for.
pub(crate) fn name_in(proc: &Path, pid: u32) -> Option<String> {
    let bytes = fs::read(proc.join(pid.to_string()).join("comm")).ok()?; // a name is any bytes
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Whether one of these processes listens on a TCP port.
pub(crate) fn listens(port: u16, processes: &[Process]) -> bool {
    let sockets = listening(port);
    processes.iter().any(|process| holds(process.pid, &sockets))
}

/// Returns the process that listens on a TCP port, and its name, where this user may see that.
pub(crate) fn listener(port: u16) -> Option<(u32, String)> {
    let sockets = listening(port);
    let pid = all().map(|stat| stat.process.pid).find(|pid| holds(*pid, &sockets))?;
    Some((pid, name(pid).unwrap_or_default()))
}

fn holds(pid: u32, sockets: &BTreeSet<PathBuf>) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| sockets.contains(&target))
}

/// `socket:[INODE]` of what listens on a port (proc(5), /proc/net/tcp).
fn listening(port: u16) -> BTreeSet<PathBuf> {
    /// TCP_LISTEN
    const LISTENS: &str = "0A";
    let port = format!(":{port:04X}");
    let text = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_meant = fields.get(1)?.ends_with(&port) && *fields.get(3)? == LISTENS;
        is_meant.then_some(format!("socket:[{}]", fields.get(9)?).into())
    };
    text.iter().flat_map(|text| text.lines().skip(1)).filter_map(socket).collect()
}

fn all() -> impl Iterator<Item = Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
}

fn stat(pid: u32) -> Option<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The name stands in parentheses and may hold any of them itself.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        process: Process { pid, started: number(19)? },
        parent: u32::try_from(number(1)?).ok()?,
        session: u32::try_from(number(3)?).ok()?,
        is_dead: fields.first().is_some_and(|state| matches!(*state, "Z" | "X")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeping() -> (Child, Process) {
        let child = Command::new("sleep").arg("100").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        (child, process)
    }

    #[test]
    fn a_child_is_found_below_and_ends_by_its_own_number_only() {
        let (mut child, process) = sleeping();
        assert!(descendants(std::process::id()).contains(&process));
        Process { started: process.started + 1, ..process }.signal(Signal::KILL);
        assert!(child.try_wait().unwrap().is_none(), "another process with this number was meant");
        process.signal(Signal::KILL);
        child.wait().unwrap();
        assert!(process.open().is_none());
    }

    #[test]
    fn what_is_left_is_of_the_session_or_carries_the_mark_and_a_shell_in_the_directory_is_neither() {
        let dir = tempfile::TempDir::new().unwrap();
        let sleep = |program: &str, mark: &Path| {
            let mut command = Command::new(program);
            command.args(if program == "setsid" { &["sleep", "100"][..] } else { &["100"] });
            command.env(MARK, mark).current_dir(dir.path()).spawn().unwrap()
        };
        let (leader, marked) = (sleep("setsid", Path::new("")), sleep("sleep", dir.path()));
        let shell = sleep("sleep", Path::new(""));
        let mut children = [leader, marked, shell];
        let [leader, marked, _] = children.each_ref().map(|child| Process::of(child.id()).unwrap());
        while stat(leader.pid).is_none_or(|stat| stat.session != leader.pid) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let left = |supervisor| BTreeSet::from_iter(left_behind(supervisor, dir.path()));
        assert_eq!(left(leader), BTreeSet::from([leader, marked]));
        let before = Process { started: leader.started - 1, ..leader };
        assert_eq!(left(before), BTreeSet::from([marked]), "another session has its number now");
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn who_listens_is_told_from_who_does_not() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = Process::of(std::process::id()).unwrap();
        let (mut child, other) = sleeping();
        assert!(listens(port, &[other, own]) && !listens(port, &[other]));
        assert_eq!(super::listener(port).map(|(pid, _)| pid), Some(own.pid));
        drop(listener);
        assert!(!listens(port, &[own]));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
