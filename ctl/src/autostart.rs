//! Starts `modeld` where none listens, detached, and waits until it answers.

use crate::{environment::Environment, failure::Failure};
use anyhow::{Context as _, Result};
use api::client::Client;
use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    os::unix::{
        fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A daemon opens its index and binds; on a cold disk that takes seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// A daemon that ended may have lost the race against another one, which answers shortly.
const PATIENCE_FOR_ANOTHER: Duration = Duration::from_millis(500);
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(50);
const LOG_LINES: usize = 8;
/// The end of the log that is looked through for its last lines, bytes.
const LOG_TAIL: u64 = 16 << 10;

pub(crate) fn start(environment: &Environment, socket: &Path, err: &mut dyn Write) -> Result<Client> {
    let program = find(environment).ok_or_else(|| missing(environment, socket))?;
    let state = environment.state_home().ok_or_else(|| Failure::Unreachable {
        why: "cannot start modeld: neither XDG_STATE_HOME nor HOME says where its log goes".into(),
        lines: Vec::new(),
        hint: "set HOME to your home directory, or start modeld yourself".into(),
    })?;
    let directory = state.join("modeld");
    let log = Log::open(&directory).map_err(|error| cannot_write(&directory, &error))?;
    if environment.stderr_is_terminal {
        writeln!(err, "starting {}", program.display())?;
    }
    let child = spawn(environment, &program, &log).map_err(|error| cannot_start(&program, &error))?;
    wait(child, socket, &log)
}

/// Beside this program, else on the PATH.
fn find(environment: &Environment) -> Option<PathBuf> {
    let beside = environment.program.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = environment.variable("PATH").map(std::env::split_paths).into_iter().flatten();
    let mut candidates = beside.into_iter().chain(path).filter(|directory| directory.is_absolute());
    candidates.find_map(|directory| Some(directory.join("modeld")).filter(|program| is_program(program)))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn spawn(environment: &Environment, program: &Path, log: &Log) -> io::Result<Child> {
    Command::new(program)
        .env_clear()
        .envs(&environment.variables)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.file.try_clone()?)
        .stderr(log.file.try_clone()?)
        .spawn()
}

fn wait(mut child: Child, socket: &Path, log: &Log) -> Result<Client> {
    let started = Instant::now();
    let (mut deadline, mut pause, mut ended) = (started + PATIENCE, FIRST_WAIT, None);
    loop {
        let error = match Client::connect(socket) {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        if ended.is_none() {
            ended = child.try_wait().context("waiting for modeld")?;
            if ended.is_some() {
                deadline = deadline.min(Instant::now() + PATIENCE_FOR_ANOTHER);
            }
        }
        if Instant::now() >= deadline {
            return Err(match ended {
                Some(status) => did_not_start(&status.to_string(), log),
                None => {
                    let at = socket.display();
                    let why = format!("modeld was started and does not answer at {at}: {error}");
                    Failure::Unreachable { why, lines: log.last_lines(), hint: log.hint() }
                }
            }
            .into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_WAIT);
    }
}

/// The daemon says why, and what to do; else its last words are shown.
fn did_not_start(status: &str, log: &Log) -> Failure {
    let lines = log.last_lines();
    let said = |what: &str| lines.iter().rev().find_map(|line| line.strip_prefix(what).map(str::to_owned));
    match (said("error: "), said("hint: ")) {
        (Some(why), Some(hint)) => Failure::Unreachable {
            why: format!("modeld did not start: {why}"),
            lines: vec![log.hint()],
            hint,
        },
        _ => Failure::Unreachable { why: format!("modeld did not start: {status}"), lines, hint: log.hint() },
    }
}

fn missing(environment: &Environment, socket: &Path) -> Failure {
    let beside = environment.program.as_deref().and_then(Path::parent);
    let beside = beside.map(|directory| format!(" beside modelctl ({}) nor", directory.display()));
    let hint = format!(
        "there is no program `modeld`{} on your PATH; install it, or start it where it is",
        beside.unwrap_or_default()
    );
    let why = format!("modeld does not run: nobody listens at {}", socket.display());
    Failure::Unreachable { why, lines: Vec::new(), hint }
}

fn cannot_write(directory: &Path, error: &io::Error) -> Failure {
    Failure::Unreachable {
        why: format!(
            "modeld cannot keep its index and its log: {} cannot be written: {error}",
            directory.display()
        ),
        lines: Vec::new(),
        hint: "set XDG_STATE_HOME to a directory that you can write".into(),
    }
}

fn cannot_start(program: &Path, error: &io::Error) -> Failure {
    Failure::Unreachable {
        why: format!("cannot start {}: {error}", program.display()),
        lines: Vec::new(),
        hint: "start modeld yourself to see more".into(),
    }
}

/// The daemon's log, and where this start's part of it begins.
struct Log {
    path: PathBuf,
    file: File,
    start: u64,
}

impl Log {
    fn open(directory: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = directory.join("modeld.log");
        let file = File::options().create(true).append(true).mode(0o600).open(&path)?;
        let start = file.metadata()?.len();
        Ok(Self { path, file, start })
    }

    fn hint(&self) -> String {
        format!("its log is {}", self.path.display())
    }

    /// What the daemon wrote last; nothing where that cannot be read, as the reason is told anyway.
    fn last_lines(&self) -> Vec<String> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.start.max(end.saturating_sub(LOG_TAIL))))?;
            let mut bytes = Vec::new();
            file.take(LOG_TAIL).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let text = read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(LOG_LINES)).map(|line| (*line).to_owned()).collect()
    }
}
