//! The one writer of `user.db`, on a thread of its own: a slow disk stalls nobody who does not wait for it.

use crate::index::{Restored, User, UserChange};
use anyhow::Context as _;
use jiff::Timestamp;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Sends changes to the writer.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    orders: Sender<Order>,
    learned: Arc<AtomicU64>,
}

type Answer = oneshot::Sender<anyhow::Result<()>>;

enum Order {
    Change(UserChange, Option<Answer>),
    Stop,
}

/// How often a daemon that runs for weeks looks whether there is a copy of the day.
const COPY_EVERY: Duration = Duration::from_secs(3600);

/// Changes that are committed together: a first scan brings thousands.
const BATCH: usize = 1000;

impl Memory {
    /// Also says whether the database had to be restored.
    pub(crate) fn start(path: &Path) -> anyhow::Result<(Self, JoinHandle<()>, Option<Restored>)> {
        let (user, restored) = User::open(path)?;
        let (orders, queue) = channel();
        let learned = Arc::default();
        let mut writer = Writer { user, path: path.to_owned(), learned: Arc::clone(&learned) };
        let thread = thread::Builder::new().name("remember".into()).spawn(move || writer.write(&queue))?;
        Ok((Self { orders, learned }, thread, restored))
    }

    /// How often it was written or forgotten what runs took.
    pub(crate) fn learned(&self) -> u64 {
        self.learned.load(Ordering::Acquire)
    }

    /// Returns when the change is on the disk.
    pub(crate) async fn change(&self, change: UserChange) -> anyhow::Result<()> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Change(change, Some(answer))).context("the daemon is stopping")?;
        answered.await.context("the daemon is stopping")?
    }

    /// Returns when the change is on the disk; not for async code.
    pub(crate) fn change_blocking(&self, change: UserChange) -> anyhow::Result<()> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Change(change, Some(answer))).context("the daemon is stopping")?;
        answered.blocking_recv().context("the daemon is stopping")?
    }

    /// Does not wait.
    pub(crate) fn note(&self, change: UserChange) {
        drop(self.orders.send(Order::Change(change, None))); // the writer ends with the process
    }

    /// Ends the writer after what was sent before.
    pub(crate) fn stop(&self) {
        drop(self.orders.send(Order::Stop));
    }
}

struct Writer {
    user: User,
    path: PathBuf,
    learned: Arc<AtomicU64>,
}

impl Writer {
    fn write(&mut self, queue: &Receiver<Order>) {
        // What could not be written is tried again with what comes next.
        let mut batch: Vec<UserChange> = Vec::new();
        self.back_up();
        let mut copied = Instant::now();
        while let Ok(order) = queue.recv() {
            let mut next = Some(order);
            while let Some(Order::Change(change, None)) = next {
                batch.push(change);
                next = if batch.len() < BATCH { queue.try_recv().ok() } else { None };
            }
            if !batch.is_empty() {
                match self.change(&batch) {
                    Ok(()) => batch.clear(),
                    Err(error) => {
                        tracing::error!(error = format!("{error:#}"), "user.db could not be written");
                    }
                }
            }
            if copied.elapsed() >= COPY_EVERY {
                self.back_up();
                copied = Instant::now();
            }
            match next {
                Some(Order::Change(asked, Some(answer))) => {
                    drop(answer.send(self.change(&[asked]))); // who asked may have gone
                }
                Some(Order::Stop) => return self.back_up(),
                Some(Order::Change(_, None)) | None => {}
            }
        }
    }

    fn back_up(&self) {
        if let Err(error) = self.user.back_up(Timestamp::now()) {
            tracing::warn!(error = format!("{error:#}"), "user.db could not be copied");
        }
    }

    /// A file that was deleted under us takes words that nobody will find again.
    fn change(&mut self, changes: &[UserChange]) -> anyhow::Result<()> {
        let path = &self.path;
        anyhow::ensure!(
            path.exists(),
            "{} was deleted: restart modeld, which makes a new one",
            path.display()
        );
        self.user.change(changes, Timestamp::now()).with_context(|| format!("writing {}", path.display()))?;
        if changes.iter().any(UserChange::is_of_measurements) {
            self.learned.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }
}
