//! What a run took is kept beside what was planned: its memory when it is ready, its speed when it ends. Decides nothing.

use super::{Entry, Runs, log};
use crate::{
    engines::Engines,
    hardware::Wish,
    index::{MeasuredRow, UserChange},
    process::{self, Process, Tree},
    remember::Memory,
};
use domain::{
    engines::{self, Allocated, HOST},
    plan::Expected,
};
use jiff::Timestamp;
use std::{collections::BTreeMap, sync::Arc};

/// Where it is kept, and who knows what processes hold.
#[derive(Debug)]
pub(super) struct Learning {
    pub(super) memory: Memory,
    pub(super) engines: Arc<Engines>,
}

/// Lines at the end of a log that tell of the last answers.
const LAST_ANSWERS: usize = 400;

impl Runs {
    /// Keeps what a run took that is ready.
    pub(super) async fn learn(
        &self,
        word: &str,
        supervisor: Process,
        allocated: &BTreeMap<String, Allocated>,
    ) {
        let Ok(Entry { run, expected: Some(expected), .. }) = self.entry(word) else { return };
        let held = self.held(supervisor, &expected).await;
        let Some(taken) = expected.measured(Timestamp::now(), allocated, &held) else { return };
        let (word, engine) = (word.to_owned(), run.engine);
        let row = MeasuredRow { run: word, model: run.model.id, engine, build: expected.build, taken };
        self.0.learning.memory.note(UserChange::Measured(Box::new(row)));
    }

    /// Bytes that drivers say a run holds, by what everybody calls a device. No look is taken for what no driver knows.
    async fn held(&self, supervisor: Process, expected: &Expected) -> BTreeMap<String, u64> {
        let devices: Vec<String> = expected.devices().map(str::to_owned).collect();
        let engines = Arc::clone(&self.0.learning.engines);
        let look = move || {
            let is_known = |device: &String| {
                device.starts_with("GPU-") || device.starts_with("MIG-") || device.contains(':')
            };
            let is_told = devices.iter().any(is_known);
            let look = is_told.then(|| engines.look_now(Wish::ASKED).ok()).flatten();
            let Some(look) = look else { return BTreeMap::new() };
            let pids = process::descendants(supervisor.pid);
            let held = |device: &String| {
                let card = look.hardware.known(device)?;
                let bytes = pids.iter().filter_map(|process| card.processes.get(&process.pid)).sum();
                Some((device.clone(), bytes)).filter(|_| bytes > 0)
            };
            devices.iter().filter_map(held).collect()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    /// Keeps how fast a run was that has ended.
    pub(super) fn learn_speed(&self, entry: &Entry) {
        let Some(engine) = engines::find(&entry.run.engine).filter(|_| entry.expected.is_some()) else {
            return;
        };
        let lines = log::last_lines(&self.dir(&entry.run.run), LAST_ANSWERS, &entry.secrets);
        if let Some(speed) = engine.rates(&lines) {
            self.0.learning.memory.note(UserChange::Speed { run: entry.run.run.clone(), speed });
        }
    }
}

/// Bytes of main memory that a run's processes hold of their own.
pub(super) fn memory(supervisor: Option<Process>, processes: &Tree) -> BTreeMap<String, u64> {
    let below = supervisor.map(|supervisor| processes.below(supervisor.pid)).unwrap_or_default();
    let host: u64 = below.iter().map(|process| process::anonymous_memory(process.pid)).sum();
    if host == 0 { BTreeMap::new() } else { BTreeMap::from([(HOST.to_owned(), host)]) }
}
