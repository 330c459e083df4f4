//! The one writer of `user.db`, on a thread of its own: a slow disk stalls nobody who does not wait for it.

use crate::index::{User, UserChange};
use anyhow::Context as _;
use jiff::Timestamp;
use std::{
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
};
use tokio::sync::oneshot;

/// Sends changes to the writer.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    orders: Sender<Order>,
}

type Answer = oneshot::Sender<anyhow::Result<()>>;

enum Order {
    Change(UserChange, Option<Answer>),
    Stop,
}

/// Changes that are committed together: a first scan brings thousands.
const BATCH: usize = 1000;

impl Memory {
    pub(crate) fn start(path: &Path) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let mut user = User::open(path)?;
        let (orders, queue) = channel();
        let thread =
            thread::Builder::new().name("remember".into()).spawn(move || write(&mut user, &queue))?;
        Ok((Self { orders }, thread))
    }

    /// Returns when the change is on the disk.
    pub(crate) async fn change(&self, change: UserChange) -> anyhow::Result<()> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Change(change, Some(answer))).context("the daemon is stopping")?;
        answered.await.context("the daemon is stopping")?
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

fn write(user: &mut User, queue: &Receiver<Order>) {
    while let Ok(Order::Change(change, answer)) = queue.recv() {
        if let Some(answer) = answer {
            drop(answer.send(user.change(&[change], Timestamp::now()))); // who asked may have gone
            continue;
        }
        let mut batch = vec![change];
        let mut asked = None;
        while batch.len() < BATCH {
            match queue.try_recv() {
                Ok(Order::Change(change, None)) => batch.push(change),
                Ok(order) => {
                    asked = Some(order);
                    break;
                }
                Err(_) => break,
            }
        }
        if let Err(error) = user.change(&batch, Timestamp::now()) {
            tracing::error!(error = format!("{error:#}"), "user.db could not be written");
        }
        match asked {
            Some(Order::Change(change, Some(answer))) => {
                drop(answer.send(user.change(&[change], Timestamp::now())));
            }
            Some(Order::Stop) => return,
            Some(Order::Change(_, None)) | None => {}
        }
    }
}
