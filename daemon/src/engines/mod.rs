//! Which engines there are and what they can do: looked for where the caller's shell would, asked once, remembered.
//! Starts none.

mod ask;
mod counter;
mod known;

use crate::{
    cache::Cache,
    config::Config,
    hardware::{self, Snapshot, Wish},
    index::User,
};
use api::ApiError;
pub(crate) use counter::{beside, count};
use domain::{
    engines::{CUDA_ORDER, Engine, is_server},
    hardware::{Gpu, Listing, Seen, see},
    stores::lexical,
};
use jiff::Timestamp;
use known::is_young;
use known::{Key, Made, Question, Stamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Variables of the daemon that an engine needs to run at all.
const INHERITED: &[&str] =
    &["HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "USER", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"];

/// Variables that decide which devices a program sees.
const PLACING: &[&str] = &[
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
    "LLAMA_NO_GPU",
    "ROCR_VISIBLE_DEVICES",
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
];

/// How old a list of devices may be: what is free on a card that a driver knows is asked of that.
pub(crate) const LISTED: Duration = Duration::from_secs(60);

/// A listing of this age is of this moment.
const FRESH: Duration = Duration::from_secs(2);

/// How old what a card holds may be where nothing is started.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// A driver that says nothing for this long hangs.
const LOOKED: Duration = Duration::from_secs(10);

/// Three questions and a look, each with a limit of its own.
const ASKED: Duration = Duration::from_secs(75);

/// An engine's program that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) program: PathBuf,
    /// What makes it this engine: `serve`.
    pub(crate) arguments: &'static [&'static str],
    /// The user has added it.
    pub(crate) is_added: bool,
}

/// What a program says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Probed {
    pub(crate) program: PathBuf,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) flags: BTreeSet<String>,
    /// As it printed it.
    pub(crate) version: Option<String>,
    /// The devices that it sees, or why it does not say.
    pub(crate) devices: Result<Vec<Gpu>, String>,
    pub(crate) listed_at: Timestamp,
    /// The drivers' cards just before.
    cards: Vec<Gpu>,
    /// Why CUDA did not start.
    complaint: Option<String>,
}

/// The engines of this machine, and the machine.
#[derive(Debug)]
pub(crate) struct Engines {
    sysroot: PathBuf,
    machine: Arc<Machine>,
    /// The daemon's own PATH, searched last.
    path: Option<OsString>,
    user: PathBuf,
    dir: PathBuf,
    known: Cache<Key, Made>,
    /// When the machine woke last.
    woke: watch::Sender<Option<Timestamp>>,
}

/// The one owner of looks at the machine.
#[derive(Debug)]
struct Machine {
    sysroot: PathBuf,
    looks: Cache<(), Arc<Snapshot>>,
}

impl Machine {
    /// Looks, or returns a look of at most this age that says what is wished.
    fn look(&self, max_age: Duration, wish: Wish) -> anyhow::Result<Arc<Snapshot>> {
        let sysroot = self.sysroot.clone();
        self.looks.get(
            (),
            move |look| is_young(look.at, max_age) && (look.wish.with_holders || !wish.with_holders),
            move |before| Arc::new(hardware::snapshot(&sysroot, before.as_deref(), wish)),
        )
    }
}

impl Engines {
    pub(crate) fn start(config: &Config) -> Self {
        let sysroot = config.environment.sysroot.clone();
        Self {
            machine: Arc::new(Machine { sysroot: sysroot.clone(), looks: Cache::start(LOOKED) }),
            sysroot,
            path: config.path.clone(),
            user: config.user(),
            dir: config.engines(),
            known: Cache::start(ASKED),
            woke: watch::Sender::new(None),
        }
    }

    /// Finds an engine and asks it what it can do; its devices are told as they were at most `max_age` ago.
    /// Blocking, like all that follows. `callers` is the environment that came with the request.
    pub(crate) fn probe(
        &self,
        engine: &dyn Engine,
        callers: &BTreeMap<String, String>,
        max_age: Duration,
    ) -> anyhow::Result<Probed> {
        let (found, looked) = self.find(engine, callers)?;
        let found = found.into_iter().next().ok_or_else(|| missing(engine, looked))?;
        let probed = self.ask(&found, callers, max_age)?;
        if !is_server(&probed.flags) {
            let hint = Some(format!("put the one of {} first on your PATH", engine.name()));
            return Err(ApiError::Refused { why: not_a_server(engine, &probed), hint }.into());
        }
        Ok(probed)
    }

    pub(crate) fn ask(
        &self,
        found: &Found,
        callers: &BTreeMap<String, String>,
        max_age: Duration,
    ) -> anyhow::Result<Probed> {
        let question = self.question(found, callers, max_age)?;
        let (key, stamp) = (question.key.clone(), question.stamp.clone());
        let made = self.known.get(
            key,
            move |made| known::is_good(made, &stamp, max_age),
            move |last| question.make(last),
        )?;
        let known = made.map_err(|failed| failed.error.clone())?;
        Ok(Probed {
            program: found.program.clone(),
            arguments: found.arguments,
            flags: known.flags.clone(),
            version: known.version.clone(),
            devices: known.devices.clone(),
            listed_at: known.listed_at,
            cards: known.cards.clone(),
            complaint: known.complaint.clone(),
        })
    }

    /// Whether it was asked before, and its answer still holds but for its age.
    pub(crate) fn has_asked(&self, found: &Found, callers: &BTreeMap<String, String>) -> bool {
        self.question(found, callers, Duration::MAX).is_ok_and(|question| question.is_answered())
    }

    fn question(
        &self,
        found: &Found,
        callers: &BTreeMap<String, String>,
        max_age: Duration,
    ) -> anyhow::Result<Question> {
        let is_placing = |name: &str| PLACING.contains(&name);
        let variables = callers.iter().filter(|(name, _)| is_placing(name));
        Ok(Question {
            key: Key {
                program: found.program.clone(),
                arguments: found.arguments,
                variables: variables.map(|(name, value)| (name.clone(), value.clone())).collect(),
            },
            stamp: Stamp::of(&found.program, hardware::nvidia_driver(&self.sysroot))?,
            environment: environment(callers),
            max_age,
            dir: self.dir.clone(),
            machine: Arc::clone(&self.machine),
        })
    }

    /// Looks at the machine, or returns a look of moments ago.
    pub(crate) fn machine(&self) -> anyhow::Result<Arc<Snapshot>> {
        self.machine.look(LOOK, Wish::ASKED)
    }

    /// The same of at most this age, without who holds memory.
    pub(crate) fn look(&self, max_age: Duration) -> anyhow::Result<Arc<Snapshot>> {
        self.machine.look(max_age, Wish::PLANNED)
    }

    /// Looks at the machine now.
    pub(crate) fn look_now(&self, wish: Wish) -> anyhow::Result<Arc<Snapshot>> {
        self.machine.look(Duration::ZERO, wish)
    }

    /// How old a list of devices may be where nothing is started: to make one wakes a card, and where all of them sleep
    /// the last one will do, whatever its age.
    pub(crate) fn list_age(&self) -> anyhow::Result<Duration> {
        if self.machine()?.is_asleep {
            return Ok(Duration::MAX);
        }
        let woke = *self.woke.borrow();
        let since = woke.and_then(|woke| Duration::try_from(Timestamp::now().duration_since(woke)).ok());
        Ok(since.unwrap_or(LISTED).min(LISTED))
    }

    /// What engines have seen before the machine slept may have gone.
    pub(crate) fn has_slept(&self) {
        self.woke.send_replace(Some(Timestamp::now()));
    }

    /// The machine as this engine sees it, and of when that is: drivers are asked for what is at most this old.
    pub(crate) fn see(
        &self,
        probed: &Probed,
        callers: &BTreeMap<String, String>,
        (max_age, wish): (Duration, Wish),
    ) -> anyhow::Result<(Seen, Timestamp)> {
        let look = self.machine.look(max_age, wish)?;
        let is_fresh = probed.listed_at >= look.at && is_young(probed.listed_at, FRESH);
        let listing = Listing {
            devices: probed.devices.as_deref().unwrap_or_default(),
            is_fresh,
            cards: &probed.cards,
            others: &look.cards,
            complaint: probed.complaint.as_deref(),
            cuda_visible: callers.get("CUDA_VISIBLE_DEVICES").map(String::as_str),
        };
        let mut seen = see(&listing, &look.hardware);
        if let Err(why) = &probed.devices {
            seen.notes = vec![why.clone()];
        }
        // What no driver knows is as old as the list, however old that is.
        let is_told = |gpu: &Gpu| gpu.shares_ram || gpu.uuid.is_some() || gpu.pci.is_some();
        let is_listed = is_fresh || !seen.hardware.gpus.iter().all(is_told);
        let at = if is_listed { look.at.min(probed.listed_at) } else { look.at };
        Ok((seen, at))
    }

    /// What the user has added.
    pub(crate) fn added(&self) -> anyhow::Result<Vec<PathBuf>> {
        User::reader(&self.user)?.engines()
    }

    /// Every program that is this engine, in the order in which they are taken, and every place that was looked at:
    /// the caller's PATH, what the user has added, the daemon's own PATH. The two PATHs give one program at most.
    pub(crate) fn find(
        &self,
        engine: &dyn Engine,
        callers: &BTreeMap<String, String>,
    ) -> anyhow::Result<(Vec<Found>, Vec<String>)> {
        let added = self.added()?;
        let of_callers = directories(callers.get("PATH").map(OsStr::new));
        let own = directories(self.path.as_deref());
        let mut found: Vec<Found> = search(engine, &of_callers).into_iter().collect();
        let is_there = |program: &&PathBuf| is_executable(program);
        found.extend(added.iter().filter(is_there).map(|program| as_added(engine, program)));
        if found.is_empty() {
            found.extend(search(engine, &own));
        }
        let mut looked: Vec<String> = Vec::new();
        for place in of_callers.iter().chain(&added).chain(&own).map(|place| place.display().to_string()) {
            if !looked.contains(&place) {
                looked.push(place);
            }
        }
        if let [first, rest @ ..] = found.as_mut_slice()
            && let Some(same) = rest.iter().position(|other| other.program == first.program)
        {
            first.is_added = true;
            found.remove(same + 1);
        }
        Ok((found, looked))
    }
}

/// Why a program that is called like an engine is none.
pub(crate) fn not_a_server(engine: &dyn Engine, probed: &Probed) -> String {
    let program = probed.program.display();
    format!("{program} is not a server of {}: its --help has no --model, --host and --port", engine.name())
}

fn missing(engine: &dyn Engine, looked: Vec<String>) -> ApiError {
    ApiError::EngineMissing { engine: engine.name().to_owned(), program: program_names(engine), looked }
}

/// `llama-server or llama`.
pub(crate) fn program_names(engine: &dyn Engine) -> String {
    let names: Vec<&str> = engine.programs().iter().map(|program| program.name).collect();
    names.join(" or ")
}

fn directories(path: Option<&OsStr>) -> Vec<PathBuf> {
    let dirs = path.into_iter().flat_map(std::env::split_paths);
    dirs.filter(|dir| dir.is_absolute()).collect()
}

fn search(engine: &dyn Engine, dirs: &[PathBuf]) -> Option<Found> {
    let programs = engine.programs().iter();
    let places = programs.flat_map(|program| dirs.iter().map(move |dir| (program, dir.join(program.name))));
    let mut there = places.filter(|(_, path)| is_executable(path));
    there.next().map(|(program, path)| Found { program: path, arguments: program.arguments, is_added: false })
}

/// A program that was added may have any name; by its name one is told that needs a word to be this engine.
pub(crate) fn as_added(engine: &dyn Engine, path: &Path) -> Found {
    let named = engine.programs().iter().find(|program| path.file_name() == Some(OsStr::new(program.name)));
    let arguments = named.map_or(&[][..], |program| program.arguments);
    Found { program: path.to_owned(), arguments, is_added: true }
}

/// The program of an engine in a folder, as a build leaves it.
pub(crate) fn in_directory(engine: &dyn Engine, dir: &Path) -> Option<Found> {
    search(engine, &[dir.to_owned()]).map(|found| Found { is_added: true, ..found })
}

/// What was added by this path, also where its file is gone: the program itself, or one in that folder.
pub(crate) fn added_by<'a>(engine: &dyn Engine, path: &Path, added: &'a [PathBuf]) -> Option<&'a PathBuf> {
    let path = lexical(path, Path::new(""));
    let inside: Vec<PathBuf> = engine.programs().iter().map(|program| path.join(program.name)).collect();
    let mut wanted = std::iter::once(&path).chain(&inside);
    wanted.find_map(|wanted| added.iter().find(|program| lexical(program, Path::new("")) == *wanted))
}

/// The path as its user named it, links and all, without a `..` that can be left out: one file is one engine.
pub(crate) fn tidied(path: PathBuf) -> PathBuf {
    let tidied = lexical(&path, Path::new(""));
    let leads_there =
        tidied.canonicalize().is_ok_and(|real| path.canonicalize().is_ok_and(|own| own == real));
    if leads_there { tidied } else { path }
}

pub(crate) fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What the caller sent and the engine is placed by; `LLAMA_ARG_*` and tokens can never be among it.
pub(crate) fn shown(callers: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_shown = |name: &String| name.as_str() != "PATH" && api::LAUNCH_VARIABLES.contains(&name.as_str());
    callers.iter().filter(|(name, _)| is_shown(name)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// An engine's whole environment: nothing else is inherited.
pub(crate) fn environment(callers: &BTreeMap<String, String>) -> BTreeMap<String, OsString> {
    let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?)));
    let mut environment: BTreeMap<String, OsString> = inherited.collect();
    environment.insert(CUDA_ORDER.0.into(), CUDA_ORDER.1.into());
    environment.extend(shown(callers).into_iter().map(|(name, value)| (name, value.into())));
    if let Some(path) = callers.get("PATH") {
        environment.insert("PATH".into(), path.into());
    }
    environment
}

/// What stands before a command that is to be pasted: the caller's, and the order of devices where it matters.
pub(crate) fn placing(callers: &BTreeMap<String, String>, probed: &Probed) -> BTreeMap<String, String> {
    let mut variables = shown(callers);
    if probed.devices.iter().flatten().any(|device| device.backend == "CUDA") {
        variables.entry(CUDA_ORDER.0.into()).or_insert_with(|| CUDA_ORDER.1.into());
    }
    variables
}
