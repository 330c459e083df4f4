//! The caller's world, as a value: variables, terminal, place, time.

use domain::stores::lexical;
use jiff::Timestamp;
use rustix::fs::FileType;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::{self, IsTerminal as _},
    os::{fd::AsFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

#[derive(Debug, Clone)]
pub struct Environment {
    pub variables: BTreeMap<OsString, OsString>,
    /// Where relative paths start.
    pub directory: PathBuf,
    /// This program's own file; the daemon is looked for beside it.
    pub program: Option<PathBuf>,
    pub stdout_is_terminal: bool,
    /// Somebody else reads what is written, and can leave.
    pub stdout_is_pipe: bool,
    pub stderr_is_terminal: bool,
    /// Columns that the terminal has; None leaves lines as long as they are.
    pub width: Option<usize>,
    pub now: Timestamp,
}

impl Environment {
    pub fn of_process() -> Self {
        let stdout_is_terminal = io::stdout().is_terminal();
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|n| *n > 0);
        let size = if stdout_is_terminal { terminal_size::terminal_size() } else { None };
        Self {
            variables: std::env::vars_os().collect(),
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            program: std::env::current_exe().ok(),
            stdout_is_terminal,
            stdout_is_pipe: is_pipe(io::stdout()),
            stderr_is_terminal: io::stderr().is_terminal(),
            width: columns.or_else(|| size.map(|(width, _)| usize::from(width.0))),
            now: Timestamp::now(),
        }
    }

    /// Returns a variable; an empty one counts as unset.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Whether the terminal's locale has more than ASCII, by the variable that wins (POSIX: LC_ALL, LC_CTYPE, LANG).
    pub(crate) fn is_utf8(&self) -> bool {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| self.variable(name));
        let locale = locale.map(|locale| locale.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        locale.contains("utf-8") || locale.contains("utf8")
    }

    /// Columns at which sentences are broken: a program that reads them gets each on one line.
    pub(crate) fn prose_width(&self) -> Option<usize> {
        self.width.filter(|_| self.stdout_is_terminal)
    }

    /// Returns a variable that names a directory; the XDG specification says to ignore relative ones.
    pub(crate) fn directory_in(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// What of this world the daemon is told where engines are looked for or started.
    pub(crate) fn callers(&self) -> BTreeMap<String, String> {
        // An empty list of devices means none, which is not the same as no list.
        let is_said = |name: &str, value: &OsStr| !value.is_empty() || name.ends_with("_VISIBLE_DEVICES");
        let value = |name: &&str| {
            let value = self.variables.get(OsStr::new(*name)).filter(|value| is_said(name, value))?;
            match value.to_str() {
                Some(text) => Some(text.to_owned()),
                None if LISTS.contains(name) => sendable(value),
                None => None,
            }
        };
        let sent = api::LAUNCH_VARIABLES.iter();
        sent.filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect()
    }

    /// Returns a path as people write it, the home as `~`.
    pub(crate) fn shown<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let home = self.variable("HOME").and_then(OsStr::to_str).map(|home| home.trim_end_matches('/'));
        let below = home.filter(|home| home.starts_with('/')).and_then(|home| path.strip_prefix(home));
        match below {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("~{rest}").into(),
            _ => path.into(),
        }
    }

    pub(crate) fn state_home(&self) -> Option<PathBuf> {
        let from_home = || Some(self.directory_in("HOME")?.join(".local/state"));
        self.directory_in("XDG_STATE_HOME").or_else(from_home)
    }

    pub(crate) fn colours_stdout(&self) -> bool {
        self.stdout_is_terminal && self.variable("NO_COLOR").is_none()
    }

    pub(crate) fn colours_stderr(&self) -> bool {
        self.stderr_is_terminal && self.variable("NO_COLOR").is_none()
    }

    /// Returns the path from `/`. A `..` stays: behind a symlink only the disk knows where it leads.
    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        self.directory.join(path).components().collect()
    }

    /// A model named by `./file` or `../file`, or by a slash in the path of a file, is meant by its path; every other
    /// name goes as it was typed. The wire has text alone, and so have the paths that it is compared with.
    pub(crate) fn model(&self, typed: &OsStr) -> String {
        let path = Path::new(typed);
        let bytes = typed.as_bytes();
        let is_marked = bytes.starts_with(b"./") || bytes.starts_with(b"../");
        let is_file = || bytes.contains(&b'/') && !path.is_absolute() && self.directory.join(path).is_file();
        let meant = if is_marked || is_file() { lexical(&self.directory, path) } else { path.to_owned() };
        meant.to_string_lossy().into_owned()
    }
}

fn is_pipe(stream: impl AsFd) -> bool {
    let kind = rustix::fs::fstat(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::Socket))
}

/// Variables that name many paths.
const LISTS: &[&str] = &["PATH", "LD_LIBRARY_PATH", "VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

/// Returns what of a list of paths is UTF-8, and None where nothing is: the wire has no other text.
fn sendable(list: &OsStr) -> Option<String> {
    let paths: Vec<&str> =
        list.as_bytes().split(|byte| *byte == b':').filter_map(|path| str::from_utf8(path).ok()).collect();
    (!paths.is_empty()).then(|| paths.join(":"))
}
