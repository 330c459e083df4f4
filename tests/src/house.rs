//! A house: a home, a runtime directory and a system tree of its own, with a daemon that sees nothing else.

use crate::{wait::poll, wire::Wire};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

#[derive(Debug, Clone)]
pub struct Programs {
    pub modeld: PathBuf,
    pub modelctl: PathBuf,
}

pub struct House {
    temp: TempDir,
    programs: Programs,
    daemon: Option<Child>,
    /// The whole environment of every program that runs in the house.
    variables: BTreeMap<String, OsString>,
    /// What the daemon is started by (`setpriv …`).
    wrapper: Vec<String>,
}

/// What a program said until it ended.
#[derive(Debug, Clone)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A debug build starts in milliseconds; a busy machine needs more.
const START: u64 = 20;
const ANSWER: u64 = 60;

impl House {
    /// A house in which nothing runs yet.
    pub fn new(programs: Programs) -> Self {
        let temp = tempfile::Builder::new().prefix("house-").tempdir().unwrap();
        let mut house =
            Self { temp, programs, daemon: None, variables: BTreeMap::new(), wrapper: Vec::new() };
        for dir in ["home", "home/models", "run", "sys", "bin"] {
            fs::create_dir(house.at(dir)).unwrap();
        }
        house.is_busy(true);
        fs::set_permissions(house.at("run"), fs::Permissions::from_mode(0o700)).unwrap();
        for (name, dir) in [("HOME", "home"), ("XDG_RUNTIME_DIR", "run"), ("MODELD_SYSROOT", "sys")] {
            house.set(name, house.at(dir));
        }
        house.set("PATH", format!("{}:/usr/bin:/bin", house.at("bin").display()));
        house.set("MODELCTL_AUTOSTART", "0");
        house
    }

    /// Whether the machine is busy: then nothing is hashed in the background.
    pub fn is_busy(&self, busy: bool) {
        fs::create_dir_all(self.at("sys/proc")).unwrap();
        fs::write(
            self.at("sys/proc/loadavg"),
            if busy { "99.00 99.00 99.00 9/99 9" } else { "0.00 0.00 0.00 1/99 9" },
        )
        .unwrap();
    }

    /// A house with a running daemon.
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.temp.path().join(path)
    }

    pub fn home(&self, path: impl AsRef<Path>) -> PathBuf {
        self.at("home").join(path)
    }

    pub fn models(&self, path: impl AsRef<Path>) -> PathBuf {
        self.at("home/models").join(path)
    }

    pub fn state(&self, path: &str) -> PathBuf {
        self.home(".local/state/modeld").join(path)
    }

    pub fn user_db(&self) -> PathBuf {
        self.home(".local/share/modeld/user.db")
    }

    pub fn socket(&self) -> PathBuf {
        match self.variables.get("XDG_RUNTIME_DIR") {
            Some(runtime) => Path::new(runtime).join("modeld").join(api::INTERFACE),
            None => self.state("run").join(api::INTERFACE),
        }
    }

    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.insert(name.into(), value.into());
    }

    pub fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// Lets the daemon start behind another program, as `setpriv --reuid 1000`.
    pub fn wrap(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    /// Puts the programs under their own names into `bin`; links would be seen through to where they were built.
    pub fn install(&mut self) {
        for (program, name) in [(&self.programs.modeld, "modeld"), (&self.programs.modelctl, "modelctl")] {
            let to = self.at("bin").join(name);
            if fs::hard_link(program, &to).is_err() {
                fs::copy(program, &to).unwrap();
            }
        }
        let bin = self.at("bin");
        self.programs = Programs { modeld: bin.join("modeld"), modelctl: bin.join("modelctl") };
    }

    fn command(&self, program: &Path, wrapper: &[String]) -> Command {
        let mut command = match wrapper {
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            [] => Command::new(program),
        };
        command.env_clear().envs(&self.variables).current_dir("/").stdin(Stdio::null());
        command
    }

    fn spawn_daemon(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.at("log")).unwrap();
        let mut command = self.command(&self.programs.modeld, &self.wrapper);
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    /// Starts the daemon and waits until it answers.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.daemon.is_none(), "one runs already");
        let mut child = self.spawn_daemon();
        let socket = self.socket();
        let answered = poll(START, || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("modeld ended at once, {status}:\n{}", self.log());
            }
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
        self.daemon = Some(child);
        assert!(answered.is_some(), "modeld does not answer:\n{}", self.log());
    }

    /// Starts a daemon that is to refuse; returns how and what it said.
    #[track_caller]
    pub fn start_refused(&self) -> Said {
        let mut command = self.command(&self.programs.modeld, &self.wrapper);
        finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), START)
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("no daemon runs").id()
    }

    pub fn is_alive(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Sends a signal to the daemon and waits for its end.
    #[track_caller]
    pub fn end(&mut self, signal: Signal) -> ExitStatus {
        let mut child = self.daemon.take().expect("no daemon runs");
        send(child.id(), signal);
        let ended = poll(START, || child.try_wait().unwrap());
        ended.unwrap_or_else(|| {
            self.daemon = Some(child);
            panic!("modeld does not end on {signal:?}")
        })
    }

    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.end(Signal::TERM).success());
        self.start();
    }

    /// A command of `modelctl`, not started yet.
    pub fn ctl_command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = self.command(&self.programs.modelctl, &[]);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    #[track_caller]
    pub fn ctl<S: AsRef<OsStr>>(&self, args: &[S]) -> Said {
        finish(self.ctl_command(args).spawn().unwrap(), ANSWER)
    }

    /// Runs `modelctl` as the user that the daemon runs as.
    #[track_caller]
    pub fn ctl_wrapped(&self, args: &[&str]) -> Said {
        let mut command = self.command(&self.programs.modelctl, &self.wrapper);
        finish(command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), ANSWER)
    }

    /// Runs `modelctl` that is to succeed, and returns its JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let said = self.ctl(&[args, &["--json"]].concat());
        assert_eq!(said.code, 0, "{args:?}: {said:?}\n{}", self.log());
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{args:?}: {error}: {said:?}"))
    }

    /// Runs `modelctl` that is to succeed.
    #[track_caller]
    pub fn does(&self, args: &[&str]) -> String {
        let said = self.ctl(args);
        assert_eq!(said.code, 0, "{args:?}: {said:?}\n{}", self.log());
        said.out
    }

    #[track_caller]
    pub fn list(&self, filters: &[&str]) -> Vec<Value> {
        match self.json(&[&["list"], filters].concat())["models"].take() {
            Value::Array(models) => models,
            other => panic!("no list: {other}"),
        }
    }

    /// Names of the models that pass, in the order of the list.
    #[track_caller]
    pub fn names(&self, filters: &[&str]) -> Vec<String> {
        self.list(filters).iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub fn show(&self, model: &str) -> Value {
        self.json(&["show", model])
    }

    #[track_caller]
    pub fn sync(&self) {
        self.does(&["sync"]);
    }

    #[track_caller]
    pub fn wire(&self) -> Wire {
        Wire::connect(&self.socket())
    }

    #[track_caller]
    pub fn stream(&self, args: &[&str]) -> Stream {
        Stream::of(self.ctl_command(args).spawn().unwrap())
    }

    /// Ends what outlives the daemon: supervisors and engines stand in the directories of their runs.
    fn end_runs(&self) {
        let runs = fs::canonicalize(self.state("runs")).unwrap_or_else(|_| self.state("runs"));
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let stands = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&runs));
            if let Some(pid) = pid.filter(|_| stands) {
                send(pid, Signal::KILL);
            }
        }
    }

    pub fn log(&self) -> String {
        fs::read(self.at("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
        // One that modelctl has started is nobody's child.
        let lock = fs::read_to_string(self.state("modeld.lock")).unwrap_or_default();
        let is_ours = |pid: &u32| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(self.at("bin")))
        };
        if let Some(pid) = lock.trim().parse().ok().filter(is_ours) {
            send(pid, Signal::KILL);
        }
        self.end_runs();
        if thread::panicking() {
            eprintln!("--- log of modeld in {}\n{}---", self.temp.path().display(), self.log());
        }
    }
}

/// A running `modelctl` whose lines are read as they come.
pub struct Stream {
    child: Child,
    lines: Receiver<String>,
}

impl Stream {
    fn of(mut child: Child) -> Self {
        let (sender, lines) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = sender.clone();
        thread::spawn(move || {
            BufReader::new(err).lines().map_while(Result::ok).try_for_each(|line| errors.send(line))
        });
        thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// Returns what the first line gives that gives something; fails with all lines when the time is up.
    #[track_caller]
    pub fn find<T>(&self, what: &str, seconds: u64, mut give: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(found) = give(&line) {
                return found;
            }
            seen.push(line);
        }
        panic!("{what} was not said within {seconds} s; said was:\n{}", seen.join("\n"))
    }

    /// Returns the first event that gives something.
    #[track_caller]
    pub fn event<T>(&self, what: &str, give: impl Fn(&Value) -> Option<T>) -> T {
        self.find(what, 15, |line| give(&serde_json::from_str(line).unwrap()))
    }

    pub fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Waits for the end; returns the exit code and the lines that were left.
    #[track_caller]
    pub fn end(&mut self, seconds: u64) -> (i32, Vec<String>) {
        let status = poll(seconds, || self.child.try_wait().unwrap()).expect("it does not end");
        (code(status), self.lines.iter().collect())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    let _ = kill_process(pid, signal); // it may be gone
}

/// Waits for a program's end; one that hangs is killed, and fails the test.
#[track_caller]
pub fn finish(mut child: Child, seconds: u64) -> Said {
    let collect = |mut pipe: Box<dyn std::io::Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            drop(pipe.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = collect(Box::new(child.stdout.take().unwrap()));
    let err = collect(Box::new(child.stderr.take().unwrap()));
    let ended = poll(seconds, || child.try_wait().unwrap());
    if ended.is_none() {
        drop(child.kill());
        drop(child.wait());
    }
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    let status = ended.unwrap_or_else(|| panic!("it does not end in {seconds} s: {out}\n{err}"));
    Said { code: code(status), out, err }
}

/// As a shell tells it.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
