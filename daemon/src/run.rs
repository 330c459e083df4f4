//! Starts the parts, joins them, and stops them in order.

use crate::{
    config::Config,
    core::{Core, Effect, Event, Handle, Live, Wanted},
    discover, fault,
    fits::Fits,
    index::{Index, User, is_damage, is_damaged, put_aside_if_damaged},
    lock,
    mounts::{self, Mounts},
    remember::Memory,
    serve::{self, Found, Hub, Links},
    verify,
    watch::Watch,
    work::Workers,
};
use anyhow::Context as _;
use api::ApiError;
use jiff::Timestamp;
use std::{
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{broadcast, watch};

/// After an event that could not be stored.
const RETRY_SECONDS: u64 = 5;

/// Locations that are stored in one go, about: they are held in memory.
const TOGETHER: usize = 256;

/// Events that a slow listener may be behind before it is disconnected.
const BEHIND: usize = 4096;

/// Runs until `shutdown` resolves. `listener` is a socket that a service manager made, if there is one.
pub async fn run(
    config: Config,
    listener: Option<UnixListener>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    config.make_directories()?;
    let lock = lock::take(&config.state.join("modeld.lock"))?;
    let (index, opened) = Index::open(&config.index())?;
    let is_checked = index.is_checked();
    let (memory, writer, restored) = Memory::start(&config.user())?;
    let user = User::reader(&config.user())?;
    let mut core = Core::new(index, user, Timestamp::now(), mint, config.poll_seconds);
    let (inbox, events) = Handle::new();
    let watch = Watch::start(inbox.clone(), config.cookies())?;
    let has_cookies = watch.add(vec![config.cookies()]).is_empty();
    let workers = Workers::start(&inbox, &watch, &config.index(), &config.environment)?;
    mounts::start(inbox.clone()).context("watching mounts")?;
    let mounts = Mounts::open().context("watching mounts")?;

    let (published, _) = broadcast::channel(BEHIND);
    let (settled, is_settled) = watch::channel(false);
    let (live, is_live) = watch::channel(Arc::default());
    let (failed, has_failed) = watch::channel(None);
    let (unwatched, are_unwatched) = watch::channel(0);
    let (verify, desk) = verify::start(&config, &memory, &inbox, &published)?;
    let (to, told) = (memory.clone(), published.clone());
    let world =
        World { workers, watch, memory: to, published: told, settled, live, failed, unwatched, verify };
    for effect in core.reconcile()? {
        world.perform(effect);
    }
    let added = User::reader(&config.user())?.roots()?;
    let found = discover::discover(&config.environment, Some(&world.watch));
    inbox.send(Event::Discovered(Some(Box::new(found))))?;
    inbox.send(Event::Want(by_user(&config, added)))?;
    let own = config.clone();
    let turning =
        thread::Builder::new().name("core".into()).spawn(move || turn(core, &events, &world, &own))?;

    if !is_checked {
        tokio::spawn(check(config.index(), is_settled.clone(), inbox.clone()));
    }
    let links = Links {
        core: inbox.clone(),
        memory: memory.clone(),
        published,
        settled: is_settled,
        live: is_live,
        failed: has_failed,
        unwatched: are_unwatched,
        verify: desk,
        fits: Fits::start(config.index(), config.user())?,
        mounts,
    };
    let hub = Arc::new(Hub::new(config, links, Found { opened, restored, has_cookies }));
    let listener = serve::bind(&hub.config.socket, listener)?;
    let served = serve::run(listener, Arc::clone(&hub), shutdown).await;
    inbox.send(Event::Stopping).ok(); // it may have ended by itself
    join(turning)?;
    memory.stop(); // after all that the core had to say
    join(writer)?;
    drop(lock);
    served
}

/// Looks for damage in an index that was used at once, when there is nothing else to do.
async fn check(index: PathBuf, mut is_settled: watch::Receiver<bool>, inbox: Handle) {
    if is_settled.wait_for(|settled| *settled).await.is_ok() {
        let look = move || if is_damaged(&index) { inbox.send(Event::Doubted) } else { Ok(()) };
        drop(tokio::task::spawn_blocking(look).await); // the core may have ended
    }
}

fn join(thread: thread::JoinHandle<()>) -> anyhow::Result<()> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread of the daemon failed"))
}

/// Roots of `config.toml`, and those that the user added.
fn by_user(config: &Config, added: Vec<PathBuf>) -> Vec<Wanted> {
    let by_user = config.roots.iter().cloned().chain(added);
    by_user.map(|path| Wanted { path, app: None, derived_from: None, place: PathBuf::new() }).collect()
}

/// What the core's effects act on.
struct World {
    workers: Workers,
    watch: Watch,
    memory: Memory,
    published: broadcast::Sender<Arc<api::Event>>,
    settled: watch::Sender<bool>,
    live: watch::Sender<Arc<Live>>,
    failed: watch::Sender<Option<ApiError>>,
    unwatched: watch::Sender<usize>,
    verify: verify::Kick,
}

impl World {
    fn perform(&self, effect: Effect) {
        match effect {
            Effect::Do(job) => self.workers.take(job),
            Effect::Unwatch(dir) => self.watch.remove_below(dir),
            Effect::Remember(change) => self.memory.note(change),
            Effect::Publish(event) => {
                if let Some(model) = &event.model {
                    tracing::debug!(event = ?event.event, name = model.name, state = %model.state, "model");
                }
                drop(self.published.send(Arc::new(event))); // nobody may be listening
            }
            Effect::Live(live) => drop(self.live.send_replace(live)),
            Effect::Wake(_) | Effect::Stop => {}
        }
    }
}

/// The loop that owns all state.
fn turn(mut core: Core, events: &Receiver<Event>, world: &World, config: &Config) {
    let index = config.index();
    let mut wake: Option<Instant> = None;
    let mut next = None;
    loop {
        let received = |at: Instant| events.recv_timeout(at.saturating_duration_since(Instant::now()));
        let event = match next.take() {
            Some(event) => Ok(event),
            None => wake.map_or_else(|| events.recv().map_err(|_| RecvTimeoutError::Disconnected), received),
        };
        let event = match event {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => {
                wake = None;
                Event::Tick
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if matches!(event, Event::Doubted) {
            put_aside(&index);
        }
        if !index.exists() {
            world.settled.send_replace(false);
        }
        let together;
        (together, next) = with_what_waits(event, events);
        let effects = reopened(&mut core, world, config).and_then(|mut effects| {
            effects.extend(core.handle_all(together, Timestamp::now())?);
            Ok(effects)
        });
        for effect in effects.unwrap_or_else(|error| failed(error, &index, world)) {
            match effect {
                Effect::Wake(seconds) => {
                    let at = Instant::now() + Duration::from_secs(seconds);
                    wake = Some(wake.map_or(at, |sooner| sooner.min(at)));
                }
                Effect::Stop => return close(core),
                effect @ (Effect::Do(_)
                | Effect::Unwatch(_)
                | Effect::Publish(_)
                | Effect::Live(_)
                | Effect::Remember(_)) => {
                    world.perform(effect);
                }
            }
        }
        world.unwatched.send_replace(core.unwatched_places());
        let is_settled = core.is_settled();
        let is_news =
            world.settled.send_if_modified(|settled| std::mem::replace(settled, is_settled) != is_settled);
        if is_settled && !core.is_behind() {
            world.failed.send_if_modified(|failed| failed.take().is_some());
        }
        if is_news && is_settled {
            world.verify.kick();
        }
    }
}

/// Says why an event could not be stored; it is tried again.
fn failed(error: anyhow::Error, index: &Path, world: &World) -> Vec<Effect> {
    let error = error.context(format!("writing {}", index.display()));
    world.failed.send_replace(Some(fault::told(&error)));
    tracing::error!(error = format!("{error:#}"), "event failed");
    if is_damage(&error) {
        put_aside(index);
    }
    vec![Effect::Wake(RETRY_SECONDS)]
}

fn close(core: Core) {
    if let Err(error) = core.close() {
        tracing::warn!(error = format!("{error:#}"), "the index will be checked at the next start");
    }
}

/// Looks that are over by now are stored in one go: what a commit costs hardly depends on how much it brings. Returns
/// the event that came after them too.
fn with_what_waits(event: Event, events: &Receiver<Event>) -> (Vec<Event>, Option<Event>) {
    let mut brought = event.brought();
    let mut together = vec![event];
    while let Some(locations) = brought.filter(|locations| *locations < TOGETHER) {
        let Ok(next) = events.try_recv() else { break };
        let Some(more) = next.brought() else { return (together, Some(next)) };
        brought = Some(locations + more);
        together.push(next);
    }
    (together, None)
}

/// A database file that was deleted under us is made anew.
fn reopened(core: &mut Core, world: &World, config: &Config) -> anyhow::Result<Vec<Effect>> {
    let path = config.index();
    if path.exists() {
        return Ok(Vec::new());
    }
    config.make_directories()?;
    world.watch.add_later(vec![config.cookies()]);
    tracing::warn!(path = %path.display(), "the index was deleted, making it anew");
    let (index, _) = Index::open(&path)?;
    core.reopen(index)
}

/// Moves an index that has been damaged under us out of the way; it is made anew with the next event.
fn put_aside(index: &Path) {
    match put_aside_if_damaged(index) {
        Ok(Some(aside)) => tracing::error!(aside = %aside.display(), "the index was damaged, making it anew"),
        Ok(None) => {}
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the damaged index could not be put aside");
        }
    }
}

/// A model id: opaque, and short enough to type the first letters of.
pub(crate) fn mint() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut random = [0_u8; 12];
    // The kernel's generator never fails once the system is up; without it the clock tells ids apart.
    if rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).is_err() {
        random = Timestamp::now()
            .as_nanosecond()
            .to_le_bytes()
            .into_iter()
            .take(12)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap_or(random);
    }
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).map_or('a', |letter| char::from(*letter));
    random.iter().map(letter).collect()
}
