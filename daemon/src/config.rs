//! Where things live, and what of the environment stores may see. Read once, at start.

use anyhow::Context as _;
use domain::{
    engines::shell_line,
    names::with_suffix,
    stores::{Environment, VARIABLES},
    wrong::no_such,
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{ErrorKind, Write as _},
    num::NonZeroU64,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Network folders, and folders for which no watch is left, are seldom changed and slow to look at.
const POLL_SECONDS: u64 = 60;

/// The daemon's own places and the user's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// `index.db`, `modeld.lock`, `cookies/`, `engines/`, `runs/`.
    pub state: PathBuf,
    /// `user.db`.
    pub data: PathBuf,
    pub socket: PathBuf,
    /// `XDG_RUNTIME_DIR`: a user manager is found there.
    pub runtime: Option<PathBuf>,
    pub environment: Environment,
    /// Roots of `config.toml`, besides those that stores find and the user adds.
    pub roots: Vec<PathBuf>,
    /// How often what the kernel does not tell of is looked at, seconds; never 0.
    pub poll_seconds: u64,
    /// The daemon's own PATH, searched after the caller's.
    pub path: Option<OsString>,
    /// Bytes a second that are hashed in the background; None where nothing is.
    pub verify_rate: Option<u64>,
}

/// `config.toml`; with none, everything is found by itself.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// More directories to index.
    #[serde(default)]
    roots: Vec<PathBuf>,
    poll_seconds: Option<NonZeroU64>,
    /// Whether files are hashed in the background, to be compared with what their source recorded.
    verify: Option<bool>,
    /// How fast, in MB (1,000,000 bytes) a second.
    verify_rate: Option<u64>,
}

/// A tenth of what a processor with SHA instructions hashes, and less than any SSD reads; MB a second.
const VERIFY_RATE: u64 = 100;

impl Settings {
    fn verify_rate(&self) -> Option<u64> {
        let rate = self.verify_rate.unwrap_or(VERIFY_RATE);
        Some(rate.saturating_mul(1_000_000)).filter(|rate| *rate > 0 && self.verify.unwrap_or(true))
    }
}

impl Config {
    /// Reads the process's environment and `config.toml`.
    pub fn from_environment() -> anyhow::Result<Self> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        let base = |variable: &str, default: &str| {
            absolute(variable).or_else(|| home.as_ref().map(|home| home.join(default))).with_context(|| {
                format!("there is no home directory: set HOME, or {variable}, to an absolute path")
            })
        };
        let states = base("XDG_STATE_HOME", ".local/state")?;
        let data = base("XDG_DATA_HOME", ".local/share")?.join("modeld");
        let mut settings = read_settings(&base("XDG_CONFIG_HOME", ".config")?.join("modeld/config.toml"))?;
        settings.roots.iter_mut().for_each(|root| at_home(root, home.as_deref()));
        let runtime = absolute("XDG_RUNTIME_DIR");
        let socket =
            api::socket(runtime.as_deref(), Some(&states)).context("there is no place for the socket")?;
        let variables: BTreeMap<String, OsString> = VARIABLES
            .iter()
            .filter_map(|name| {
                Some(((*name).to_owned(), std::env::var_os(name).filter(|value| !value.is_empty())?))
            })
            .collect();
        let sysroot = absolute("MODELD_SYSROOT").unwrap_or_else(|| PathBuf::from("/"));
        Ok(Self {
            socket,
            runtime,
            state: states.join("modeld"),
            data,
            environment: Environment {
                home,
                sysroot,
                variables,
                pointers: BTreeMap::new(),
                places: BTreeMap::new(),
            },
            verify_rate: settings.verify_rate(),
            roots: settings.roots,
            poll_seconds: settings.poll_seconds.map_or(POLL_SECONDS, NonZeroU64::get),
            path: std::env::var_os("PATH"),
        })
    }

    pub fn index(&self) -> PathBuf {
        self.state.join("index.db")
    }

    pub fn user(&self) -> PathBuf {
        self.data.join("user.db")
    }

    pub fn cookies(&self) -> PathBuf {
        self.state.join("cookies")
    }

    pub fn runs(&self) -> PathBuf {
        self.state.join("runs")
    }

    /// What is known of engines.
    pub fn engines(&self) -> PathBuf {
        self.state.join("engines")
    }

    /// Makes the daemon's own directories, for this user only.
    pub fn make_directories(&self) -> anyhow::Result<()> {
        for (dir, variable) in [
            (&self.state, "XDG_STATE_HOME"),
            (&self.data, "XDG_DATA_HOME"),
            (&self.cookies(), "XDG_STATE_HOME"),
            (&self.runs(), "XDG_STATE_HOME"),
        ] {
            make_private(dir).context(NotMade { variable })?;
        }
        Ok(())
    }
}

/// A directory of the daemon's own cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("modeld needs a directory of its own")]
pub struct NotMade {
    /// That places it elsewhere.
    pub variable: &'static str,
}

/// Says what to do where the daemon cannot start.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(NotMade { variable }) = error.downcast_ref() {
        return Some(format!("set {variable} to a directory that you can write"));
    }
    let Misread { file, .. } = error.downcast_ref()?;
    Some(format!("mend that line, or do without the file: mv {0} {0}.off", quoted(file)))
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    shell_line(&BTreeMap::new(), &[path.into()])
}

/// Makes a directory with mode 0700, and its parents.
pub(crate) fn make_private(dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("making the directory {}", dir.display()))
}

/// Replaces a file as a whole with what a value is as JSON, mode 0600.
pub(crate) fn write_private(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let making = with_suffix(path, ".new");
    let write = || -> anyhow::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&making)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        Ok(fs::rename(&making, path)?)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// `config.toml` cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}, line {line}: {why}", file.display())]
pub struct Misread {
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    pub why: String,
}

const KEYS: &[&str] = &["roots", "poll_seconds", "verify", "verify_rate"];

fn read_settings(path: &Path) -> anyhow::Result<Settings> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(toml::from_str(&text).map_err(|error| misread(path, &text, &error))?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn misread(path: &Path, text: &str, error: &toml::de::Error) -> Misread {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let unknown = error.message().strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    let why = match unknown {
        Some(key) => no_such(&format!("there is no setting `{key}`"), key, KEYS),
        None => error.message().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    Misread { file: path.to_owned(), line: before.matches('\n').count() + 1, why }
}

/// `~` and what lies below it, as a shell would read it.
fn at_home(path: &mut PathBuf, home: Option<&Path>) {
    if let (Ok(below), Some(home)) = (path.strip_prefix("~"), home) {
        *path = home.join(below);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_not_understood_are_named_with_their_line() {
        let check = |text: &str, line: usize, why: &str| {
            let error = toml::from_str::<Settings>(text).unwrap_err();
            let told = misread(Path::new("/c.toml"), text, &error);
            assert!(told.line == line && told.why.starts_with(why), "{told:?}");
        };
        let meant = "there is no setting `pol_seconds`; did you mean `poll_seconds`? there are roots";
        check("roots = []\n\npol_seconds = 3\n", 3, meant);
        check("verify = true\nroots = 7\n", 2, "invalid type: integer `7`, expected a sequence");
        check("roots = [\n", 1, "");
    }

    #[test]
    fn every_setting_is_among_the_keys_that_are_told() {
        let text = "roots = []\npoll_seconds = 1\nverify = true\nverify_rate = 1\n";
        toml::from_str::<Settings>(text).unwrap();
        let told: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(told, KEYS);
    }

    #[test]
    fn a_tilde_is_the_home() {
        for (typed, meant) in
            [("~/m", "/home/u/m"), ("~", "/home/u"), ("/a/~", "/a/~"), ("~other/m", "~other/m")]
        {
            let mut path = PathBuf::from(typed);
            at_home(&mut path, Some(Path::new("/home/u")));
            assert_eq!(path, Path::new(meant));
        }
    }
}
