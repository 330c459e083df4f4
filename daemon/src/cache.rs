//! Values that take long to make, kept by one owner. Who asks for one that is being made waits for that one.

use anyhow::{Context as _, anyhow};
use std::{
    collections::BTreeMap,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};
use tokio::sync::mpsc;

/// More is kept for nobody: a person has a handful of engines, and one machine.
const KEPT: usize = 32;

/// The way to the owner, a task of its own.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    asks: mpsc::UnboundedSender<Message<K, V>>,
    patience: Duration,
}

type IsGood<V> = Box<dyn FnOnce(&V) -> bool + Send>;
type Make<V> = Box<dyn FnOnce(Option<V>) -> V + Send>;

enum Message<K, V> {
    Ask {
        key: K,
        is_good: IsGood<V>,
        make: Make<V>,
        answer: Sender<V>,
    },
    /// None where making it has failed with a panic.
    Made(K, Option<V>),
}

impl<K, V> Cache<K, V>
where
    K: Ord + Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Starts the owner; needs a runtime. Nobody waits for longer than `patience`, as a driver may hang for ever.
    pub(crate) fn start(patience: Duration) -> Self {
        let (asks, inbox) = mpsc::unbounded_channel();
        tokio::spawn(own(inbox, asks.downgrade()));
        Self { asks, patience }
    }

    /// Returns the value that is kept where it `is_good`, else what is made of the last one; blocking.
    pub(crate) fn get(
        &self,
        key: K,
        is_good: impl FnOnce(&V) -> bool + Send + 'static,
        make: impl FnOnce(Option<V>) -> V + Send + 'static,
    ) -> anyhow::Result<V> {
        let (answer, answered) = channel();
        let ask = Message::Ask { key, is_good: Box::new(is_good), make: Box::new(make), answer };
        self.asks.send(ask).ok().context("the daemon is stopping")?;
        answered.recv_timeout(self.patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => anyhow!(
                "a look at the machine has not ended in {} s: a driver hangs; dmesg may tell more",
                self.patience.as_secs()
            ),
            RecvTimeoutError::Disconnected => anyhow!("a look at the machine has failed"),
        })
    }
}

async fn own<K, V>(
    mut inbox: mpsc::UnboundedReceiver<Message<K, V>>,
    asks: mpsc::WeakUnboundedSender<Message<K, V>>,
) where
    K: Ord + Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    let mut kept: Vec<(K, V)> = Vec::new();
    let mut waiting: BTreeMap<K, Vec<Sender<V>>> = BTreeMap::new();
    while let Some(message) = inbox.recv().await {
        match message {
            Message::Ask { key, is_good, make, answer } => {
                let last = kept.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone());
                if let Some(waiting) = waiting.get_mut(&key) {
                    waiting.push(answer);
                } else if let Some(good) = last.as_ref().filter(|last| is_good(last)) {
                    drop(answer.send(good.clone())); // who asked may have gone
                } else if let Some(asks) = asks.upgrade() {
                    waiting.insert(key.clone(), vec![answer]);
                    start(Making { key, made: None, asks }, last, make);
                }
            }
            Message::Made(key, made) => {
                kept.retain(|(known, _)| *known != key);
                let waiting = waiting.remove(&key).unwrap_or_default();
                let Some(value) = made else { continue };
                waiting.into_iter().for_each(|answer| drop(answer.send(value.clone())));
                kept.push((key, value));
                kept.drain(..kept.len().saturating_sub(KEPT));
            }
        }
    }
}

/// A thread of its own, not the runtime's: the daemon's end does not wait for it.
fn start<K, V>(making: Making<K, V>, last: Option<V>, make: Make<V>)
where
    K: Clone + Send + 'static,
    V: Send + 'static,
{
    let work = move || {
        let mut making = making;
        making.made = Some(make(last));
    };
    // Where no thread can be had, `making` is dropped and tells.
    drop(thread::Builder::new().name("look".into()).spawn(work));
}

/// Tells the owner, whatever happens.
struct Making<K: Clone, V> {
    key: K,
    made: Option<V>,
    asks: mpsc::UnboundedSender<Message<K, V>>,
}

impl<K: Clone, V> Drop for Making<K, V> {
    fn drop(&mut self) {
        drop(self.asks.send(Message::Made(self.key.clone(), self.made.take()))); // the daemon may be stopping
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    const LONG: Duration = Duration::from_secs(60);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    #[test]
    fn a_hundred_who_ask_at_once_have_it_made_once() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let (cache, made) = (Arc::new(Cache::<u8, usize>::start(LONG)), Arc::new(AtomicUsize::new(0)));
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let (cache, made) = (Arc::clone(&cache), Arc::clone(&made));
                thread::spawn(move || {
                    let make = move |_| {
                        thread::sleep(Duration::from_millis(100));
                        made.fetch_add(1, Ordering::SeqCst) + 1
                    };
                    cache.get(1, |_| true, make).unwrap()
                })
            })
            .collect();
        assert!(asking.into_iter().all(|thread| thread.join().unwrap() == 1));
        assert_eq!(cache.get(1, |last| *last > 1, |last| last.unwrap() + 5).unwrap(), 6);
        assert_eq!(cache.get(1, |last| *last > 1, |_| 0).unwrap(), 6);
        assert_eq!(cache.get(2, |_| true, |last| last.unwrap_or(9)).unwrap(), 9);
    }

    #[test]
    fn what_cannot_be_made_is_an_error_and_is_tried_again() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let cache = Cache::<u8, u8>::start(LONG);
        assert!(cache.get(1, |_| true, |last| last.unwrap()).is_err());
        assert_eq!(cache.get(1, |_| true, |_| 7).unwrap(), 7);
    }

    #[test]
    fn nobody_waits_for_ever_for_what_hangs() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let cache = Cache::<u8, u8>::start(Duration::from_millis(50));
        let (release, hangs) = channel::<u8>();
        let waited = cache.get(1, |_| true, move |_| hangs.recv().unwrap());
        assert!(waited.unwrap_err().to_string().contains("a driver"));
        assert_eq!(cache.get(2, |_| true, |_| 5).unwrap(), 5);
        release.send(7).unwrap();
        assert_eq!(cache.get(1, |_| true, |_| 0).unwrap(), 7);
    }
}
