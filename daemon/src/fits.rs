//! How each model fits the machine now: worked out in the background when a list asks, kept by content and machine.
//! Reads the index, has engines list their devices but wakes none for it, and never says what is not of this machine.

use crate::{
    engine::{usable, without},
    engines::{Engines, LISTED},
    hardware::Wish,
    index::{Reader, User},
    serve::with_its_projector,
};
use domain::{
    Model,
    engines::{ENGINES, Engine, is_server},
    facts::Facts,
    hardware::Hardware,
    memory::countable,
    plan::{Fit, Runs, fit},
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

/// How long a list waits for the look at the machine, and for what is being worked out.
const BRIEFLY: Duration = Duration::from_millis(150);

/// How long one waits that chooses by it: what is not known yet would be missing from the answer.
const PATIENTLY: Duration = Duration::from_secs(20);

/// What is worked out is shown after this long, though there is more to do.
const BEAT: Duration = Duration::from_millis(50);

/// How old a look at the machine may be: with what follows from a new one, a list is right a second after a change.
const SEEN: Duration = Duration::from_millis(250);

/// Wishes that wait for the one that works; each is the whole machine, and the last one counts.
const WISHES: usize = 16;

/// An engine's version, as it prints it, and its flags.
type Program = (String, Arc<BTreeSet<String>>);

/// Where models are to fit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site {
    /// As the engine sees it.
    machine: Hardware,
    /// None where no engine is there.
    program: Option<Program>,
    /// How often something was learned of what runs take.
    learned: u64,
}

impl Site {
    /// Whether what was worked out for one still holds for the other: memory moves all the time.
    fn is_same(&self, other: &Self) -> bool {
        let seen = |machine: &Hardware| -> Vec<(String, u64, bool)> {
            machine.gpus.iter().map(|gpu| (gpu.backend.clone(), gpu.overhead, gpu.shares_ram)).collect()
        };
        (self.learned, &self.program) == (other.learned, &other.program)
            && !self.machine.differs_enough(&other.machine)
            && seen(&self.machine) == seen(&other.machine)
    }
}

/// How models fit one machine, by their texts in the index.
#[derive(Debug, Default)]
pub(crate) struct Table {
    site: Option<Site>,
    /// By the model's id.
    runs: Arc<HashMap<String, Runs>>,
    rows: HashMap<u64, Option<Fit>>,
    /// Nothing is left to do of what there was.
    is_done: bool,
}

/// What a list is shown with.
#[derive(Debug, Clone)]
pub(crate) struct View {
    table: Arc<Table>,
    /// What it is all about.
    pub(crate) site: Site,
    keys: Keys,
}

/// The way to the one that works.
#[derive(Debug)]
pub(crate) struct Fits {
    wishes: SyncSender<Site>,
    table: watch::Receiver<Arc<Table>>,
    keys: Keys,
}

/// Texts of models in short: whatever is changed of a model, the text is another.
#[derive(Debug, Clone)]
struct Keys(u64);

impl Keys {
    /// Eight bytes at a time: it is made of every text of every list. Seeded, so that nobody can aim at another's.
    fn of(&self, text: &str) -> u64 {
        /// 2^64 by the golden ratio: spreads what was mixed in over all bits.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |sum: u64, word: u64| (sum.rotate_left(5) ^ word).wrapping_mul(SPREAD);
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        let sum = words.iter().fold(self.0, |sum, word| mix(sum, u64::from_le_bytes(*word)));
        rest.iter().fold(mix(sum, text.len() as u64), |sum, byte| mix(sum, u64::from(*byte)))
    }
}

impl View {
    /// How a model fits, by its text; None in the outer place where that is not worked out yet.
    pub(crate) fn of(&self, text: &str) -> Option<Option<Fit>> {
        self.table.rows.get(&self.keys.of(text)).copied()
    }

    /// Works out how a model fits.
    pub(crate) fn how(&self, reader: &Reader, found: (Model, Option<Facts>)) -> anyhow::Result<Option<Fit>> {
        how(reader, found, &self.site, &self.table.runs)
    }
}

impl Fits {
    /// Starts the thread, which ends with the process; nothing is done before somebody asks.
    pub(crate) fn start(index: PathBuf, user: PathBuf) -> anyhow::Result<Self> {
        let (wishes, wished) = sync_channel(WISHES);
        let (shown, table) = watch::channel(Arc::default());
        let keys = Keys(RandomState::new().hash_one(0));
        let worker = Worker { index, user, wished, shown, keys: keys.clone() };
        thread::Builder::new().name("fits".into()).spawn(move || worker.run())?;
        Ok(Self { wishes, table, keys })
    }

    /// What is known for this machine; begins with the rest where something is left to do.
    pub(crate) async fn view(&self, site: Site, is_needed: bool) -> Option<View> {
        let mut table = self.table.clone();
        let is_for = |table: &Table| table.site.as_ref().is_some_and(|known| known.is_same(&site));
        if !is_for(&table.borrow()) {
            self.work(&site);
        }
        let done = table.wait_for(|table| is_for(table) && table.is_done);
        drop(timeout(patience(is_needed), done).await); // then with what there is
        let table = Arc::clone(&table.borrow());
        is_for(&table).then(|| View { table, site, keys: self.keys.clone() })
    }

    /// Has what is missing worked out.
    pub(crate) fn work(&self, site: &Site) {
        self.wishes.try_send(site.clone()).ok(); // those that wait bring the same
    }
}

/// How long whoever asks waits, for a look and for what follows from it.
pub(crate) fn patience(is_needed: bool) -> Duration {
    if is_needed { PATIENTLY } else { BRIEFLY }
}

/// The machine as the engine that a launch would take sees it, without what launches on their way will take; where there
/// is none, as the drivers tell. A program that was asked before is not asked again for what drivers tell too. `learned`
/// is how often something was learned of runs. Blocking.
pub(crate) fn site(
    engines: &Engines,
    callers: &BTreeMap<String, String>,
    reserved: impl Fn(Timestamp) -> BTreeMap<String, u64>,
    learned: u64,
) -> anyhow::Result<Site> {
    let seen = ENGINES.first().and_then(|engine| seen(engines, *engine, callers));
    let (machine, at, program) = match seen {
        Some((machine, at, program)) => (machine, at, Some(program)),
        None => {
            let look = engines.look(SEEN)?;
            (look.hardware.clone(), look.at, None)
        }
    };
    Ok(Site { machine: without(machine, &reserved(at)), program, learned })
}

fn seen(
    engines: &Engines,
    engine: &dyn Engine,
    callers: &BTreeMap<String, String>,
) -> Option<(Hardware, Timestamp, Program)> {
    let found = engines.find(engine, callers).ok()?.0.into_iter().next()?;
    let ask = |max_age: Duration| {
        let probed = engines.ask(&found, callers, max_age).ok().filter(|probed| is_server(&probed.flags))?;
        let (seen, at) = engines.see(&probed, callers, (SEEN, Wish::PLANNED)).ok()?;
        Some((seen.hardware, at, (probed.version.unwrap_or_default(), Arc::new(probed.flags))))
    };
    let is_asleep = engines.look(SEEN).ok()?.is_asleep;
    if is_asleep && !engines.has_asked(&found, callers) {
        return None; // to ask would wake it
    }
    let (seen, at, program) = ask(Duration::MAX)?;
    let is_old = Timestamp::now().duration_since(at).unsigned_abs() > LISTED;
    if is_old && !is_asleep { ask(LISTED) } else { Some((seen, at, program)) }
}

/// The one that works.
struct Worker {
    index: PathBuf,
    user: PathBuf,
    wished: Receiver<Site>,
    shown: watch::Sender<Arc<Table>>,
    keys: Keys,
}

impl Worker {
    fn run(self) {
        let mut wish = self.wished.recv().ok();
        while let Some(site) = wish {
            let site = self.wished.try_iter().last().unwrap_or(site);
            let next = self.pass(&site).unwrap_or_else(|error| {
                tracing::debug!(error = format!("{error:#}"), "how models fit could not be worked out");
                None
            });
            wish = next.or_else(|| self.wished.recv().ok());
        }
    }

    /// Works out what is missing for this machine; stops for another one, which is returned.
    fn pass(&self, site: &Site) -> anyhow::Result<Option<Site>> {
        let before = Arc::clone(&self.shown.borrow());
        let known = before.site.as_ref().filter(|known| known.is_same(site)).cloned();
        let (mut rows, runs) = match known {
            Some(_) => (before.rows.clone(), Arc::clone(&before.runs)),
            None => (HashMap::new(), self.runs(site)),
        };
        let site = known.unwrap_or_else(|| site.clone());
        drop(before);
        let show = |rows: &HashMap<u64, Option<Fit>>, is_done: bool| {
            let (site, runs) = (Some(site.clone()), Arc::clone(&runs));
            self.shown.send_replace(Arc::new(Table { site, runs, rows: rows.clone(), is_done }));
        };
        let reader = Reader::open(&self.index)?;
        let (mut there, mut todo) = (HashSet::new(), Vec::new());
        reader.texts(|id, text| {
            let key = self.keys.of(text);
            there.insert(key);
            if !rows.contains_key(&key) {
                todo.push((key, id.to_owned()));
            }
        })?;
        rows.retain(|key, _| there.contains(key));
        let mut told = Instant::now();
        for (key, id) in todo {
            let found = reader.model(&id)?;
            let how = found.map(|found| how(&reader, found, &site, &runs)).transpose()?;
            rows.insert(key, how.flatten());
            if told.elapsed() >= BEAT {
                told = Instant::now();
                show(&rows, false);
                if let Some(other) = self.wished.try_iter().last().filter(|other| !other.is_same(&site)) {
                    return Ok(Some(other));
                }
            }
        }
        show(&rows, true);
        Ok(None)
    }

    /// What runs took with this build. Without it models fit as if nothing had run.
    fn runs(&self, site: &Site) -> Arc<HashMap<String, Runs>> {
        let Some((engine, (build, _))) = ENGINES.first().zip(site.program.as_ref()) else {
            return Arc::default();
        };
        let runs = User::reader(&self.user).and_then(|user| user.all_measured(engine.name(), build));
        Arc::new(runs.unwrap_or_else(|error| {
            tracing::debug!(error = format!("{error:#}"), "what runs took could not be read");
            HashMap::new()
        }))
    }
}

/// How a model fits; None where no engine takes it, or its memory cannot be planned.
fn how(
    reader: &Reader,
    (model, facts): (Model, Option<Facts>),
    site: &Site,
    runs: &HashMap<String, Runs>,
) -> anyhow::Result<Option<Fit>> {
    let Some(engine) = ENGINES.iter().find(|engine| engine.accepts(&model).is_ok()) else { return Ok(None) };
    let Ok(shape) = countable(&model.warnings, facts.as_ref()) else { return Ok(None) };
    let (model, _) = with_its_projector(reader, (model, facts.as_ref()), "")?;
    let Some(location) = usable(&model, "") else { return Ok(None) };
    let program = site.program.as_ref().map(|(build, flags)| (build.as_str(), &**flags));
    let extras = engine.extras(&model, location, program);
    let none = Runs::default();
    Ok(fit(&shape, &site.machine, extras, runs.get(&model.id).unwrap_or(&none)).ok())
}
