//! What every connection needs: the way to the core, to the databases, to the runs.

use super::pulse::Pulse;
use crate::{
    config::Config,
    core::{Event, Handle, Live, Settled, Stopped, Wanted},
    discover,
    engines::Engines,
    fits::{self, Fits, View},
    index::{Opened, Reader, Restored, is_damage},
    mounts::Mounts,
    remember::Memory,
    runs::Runs,
    verify::Desk,
};
use anyhow::Context as _;
use api::ApiError;
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{broadcast, oneshot, watch},
    time::timeout,
};

pub(crate) struct Hub {
    pub(crate) config: Config,
    pub(crate) memory: Memory,
    pub(crate) runs: Runs,
    pub(crate) engines: Arc<Engines>,
    pub(crate) verify: Desk,
    fits: Fits,
    pub(crate) pulse: Pulse,
    published: broadcast::Sender<Arc<api::Event>>,
    core: Handle,
    settled: watch::Receiver<bool>,
    live: watch::Receiver<Arc<Live>>,
    failed: watch::Receiver<Option<ApiError>>,
    unwatched: watch::Receiver<usize>,
    found: Found,
    mounts: Mounts,
    cookies: AtomicU64,
    /// The first scan is over, or was waited for long enough.
    was_settled: AtomicBool,
}

/// The ways to the other parts of the daemon.
pub(crate) struct Links {
    pub(crate) core: Handle,
    pub(crate) memory: Memory,
    pub(crate) published: broadcast::Sender<Arc<api::Event>>,
    /// Whether everything that is known to have changed has been looked at.
    pub(crate) settled: watch::Receiver<bool>,
    /// How far downloads are.
    pub(crate) live: watch::Receiver<Arc<Live>>,
    /// Why the core could not store an event, each time.
    pub(crate) failed: watch::Receiver<Option<ApiError>>,
    /// Folders in which an app may appear unseen.
    pub(crate) unwatched: watch::Receiver<usize>,
    pub(crate) verify: Desk,
    pub(crate) fits: Fits,
    pub(crate) mounts: Mounts,
}

/// What the daemon found when it started.
pub(crate) struct Found {
    pub(crate) opened: Opened,
    /// `user.db` was damaged.
    pub(crate) restored: Option<Restored>,
    /// The directory of cookies is watched.
    pub(crate) has_cookies: bool,
}

/// How long an index that was deleted under the daemon may take to be there again.
const REMAKING: Duration = Duration::from_secs(5);

/// The core drops a question that it cannot answer, and says why right after.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How long the first list of a new index waits for the first scan.
const FIRST_SCAN: Duration = Duration::from_secs(20);

impl Hub {
    pub(crate) fn new(config: Config, links: Links, found: Found) -> Self {
        let Links { core, memory, published, settled, live, failed, unwatched, verify, fits, mounts } = links;
        let engines = Arc::new(Engines::start(&config));
        let runs = Runs::new(&config, published.clone(), (memory.clone(), Arc::clone(&engines)));
        let pulse = Pulse::start(Arc::clone(&engines), runs.clone(), published.clone());
        Self {
            config,
            memory,
            runs,
            engines,
            verify,
            fits,
            pulse,
            published,
            core,
            settled,
            live,
            failed,
            unwatched,
            found,
            mounts,
            cookies: AtomicU64::new(0),
            was_settled: AtomicBool::new(false),
        }
    }

    pub(crate) fn core(&self) -> Handle {
        self.core.clone()
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<api::Event>> {
        self.published.subscribe()
    }

    /// How far downloads are; those to which nothing came for a while are looked at again for the next who asks.
    pub(crate) async fn live(&self) -> anyhow::Result<Arc<Live>> {
        let live = Arc::clone(&self.live.borrow());
        if live.is_quiet {
            self.tell(Event::Asked).await?;
        }
        Ok(live)
    }

    /// How models fit the machine as whoever asks has it run them; None where that is not known within moments.
    /// `is_needed`: it decides what is answered, and is waited for; not to know it is an error then.
    pub(crate) async fn fits(
        &self,
        callers: BTreeMap<String, String>,
        is_needed: bool,
    ) -> Result<Option<View>, ApiError> {
        match self.fits_now(callers, is_needed).await {
            None if is_needed => Err(ApiError::Refused {
                why: "how models fit is not known yet: the look at this machine, or what follows from it, took too long"
                    .into(),
                hint: Some("try again; modelctl hardware shows what is seen of the machine".into()),
            }),
            view => Ok(view),
        }
    }

    async fn fits_now(&self, callers: BTreeMap<String, String>, is_needed: bool) -> Option<View> {
        let (engines, runs) = (Arc::clone(&self.engines), self.runs.clone());
        let learned = self.memory.learned();
        let look = move || fits::site(&engines, &callers, |since| runs.reserved(since), learned);
        let look = tokio::task::spawn_blocking(look);
        let site = timeout(fits::patience(is_needed), look).await.ok()?.ok()?;
        self.fits.view(site.ok()?, is_needed).await
    }

    /// Has how the rest of the models fit worked out.
    pub(crate) fn fit_the_rest(&self, view: &View) {
        self.fits.work(&view.site);
    }

    /// Runs a read of the index off the event loop, on a connection of its own.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + REMAKING;
        let mut is_made_anew = false;
        let reader = loop {
            let path = self.config.index();
            match tokio::task::spawn_blocking(move || Reader::open(&path)).await? {
                Ok(reader) => break reader,
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => {
                    // It was deleted under us: any event lets the core see that.
                    self.tell(Event::Tick).await?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    is_made_anew = true;
                }
            }
        };
        if is_made_anew {
            self.is_settled().await;
        }
        let answer = tokio::task::spawn_blocking(move || work(&reader)).await?;
        if answer.as_ref().is_err_and(is_damage) {
            self.tell(Event::Doubted).await?;
        }
        answer
    }

    /// Waits until everything that is known to have changed has been looked at, but not for long.
    async fn is_settled(&self) {
        let mut settled = self.settled.clone();
        let done = settled.wait_for(|settled| *settled);
        drop(timeout(FIRST_SCAN, done).await); // then with what there is
    }

    /// Sends an event to the core, off the event loop: its inbox may be full.
    pub(crate) async fn tell(&self, event: Event) -> anyhow::Result<()> {
        let core = self.core.clone();
        Ok(tokio::task::spawn_blocking(move || core.send(event)).await??)
    }

    /// A new index says nothing yet: waits for the first scan, not for long.
    pub(crate) async fn first_scan(&self) {
        if self.found.opened == Opened::AsItWas || self.was_settled.load(Ordering::Relaxed) {
            return;
        }
        self.is_settled().await;
        self.was_settled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_scanning(&self) -> bool {
        !*self.settled.borrow()
    }

    /// Folders in which an app may appear unseen.
    pub(crate) fn unwatched_places(&self) -> usize {
        *self.unwatched.borrow()
    }

    /// What the daemon itself has to say.
    pub(crate) fn notices(&self) -> Vec<String> {
        let index = match &self.found.opened {
            Opened::Rebuilt { aside } => Some(format!(
                "the index was damaged and has been made anew; tags and notes are kept. The old file: {}",
                aside.display()
            )),
            Opened::AsItWas | Opened::New => None,
        };
        let user = self.found.restored.as_ref().map(|Restored { aside, copy }| {
            format!(
                "user.db was damaged, and {} was put in its place: what you said since then is lost. The damaged \
                 file: {}",
                copy.display(),
                aside.display()
            )
        });
        let failed = self.failed.borrow().as_ref().map(|error| {
            let hint =
                if let ApiError::Refused { hint: Some(hint), .. } = error { hint } else { "see its log" };
            format!("the index is behind the disk: {error}; {hint}")
        });
        index.into_iter().chain(user).chain(failed).collect()
    }

    /// Returns when everything that happened on disk before is in the index.
    pub(crate) async fn sync(&self) -> anyhow::Result<Settled> {
        // Told by another way than files' events, and perhaps later.
        if self.mounts.have_changed() {
            self.tell(Event::Mounted).await?;
        }
        if !self.found.has_cookies {
            return self.scan().await;
        }
        let name = format!("{}-{}", std::process::id(), self.cookies.fetch_add(1, Ordering::Relaxed));
        let settled = self.ask(|reply| Event::Sync { cookie: name.clone(), reply }).await?;
        let path: PathBuf = self.config.cookies().join(name);
        let made = path.clone();
        tokio::task::spawn_blocking(move || fs::write(&made, b""))
            .await?
            .with_context(|| format!("making {}", path.display()))?;
        let settled = settled.get().await;
        drop(fs::remove_file(&path)); // a leftover is harmless
        settled
    }

    /// Returns where stores may live now.
    pub(crate) async fn discover(&self) -> anyhow::Result<Vec<Wanted>> {
        let environment = self.config.environment.clone();
        Ok(tokio::task::spawn_blocking(move || discover::roots(&environment)).await?)
    }

    /// Looks at everything again, also at what was installed since the start.
    pub(crate) async fn scan(&self) -> anyhow::Result<Settled> {
        self.ask(Event::Scan).await?.get().await
    }

    /// Has a model assembled again after the user said something of it.
    pub(crate) async fn said(&self, model: String) -> anyhow::Result<Option<Box<domain::Model>>> {
        self.ask(|reply| Event::Said(model, reply)).await?.get().await
    }

    async fn ask<T>(&self, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> anyhow::Result<Answer<T>> {
        let mut failed = self.failed.clone();
        failed.mark_unchanged();
        let (reply, answer) = oneshot::channel();
        self.tell(event(reply)).await?;
        Ok(Answer { answer, failed })
    }
}

/// An answer of the core that is on its way.
struct Answer<T> {
    answer: oneshot::Receiver<T>,
    failed: watch::Receiver<Option<ApiError>>,
}

impl<T> Answer<T> {
    /// Where none comes the core could not store what it was to answer for, or it has ended.
    async fn get(mut self) -> anyhow::Result<T> {
        if let Ok(answer) = self.answer.await {
            return Ok(answer);
        }
        let failure = match timeout(LAST_WORD, self.failed.changed()).await {
            Ok(Ok(())) => self.failed.borrow().clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        Err(failure.map_or_else(|| Stopped.into(), anyhow::Error::from))
    }
}
