//! Files of models against what their sources recorded, for who asks: a thread of its own hashes, until it is done or
//! the peer hangs up. Looks at no file that is not there whole.

use super::{
    answer::{Done, meant, refusal},
    hub::Hub,
    varlink::Out,
};
use crate::{
    hash::Pages,
    verify::{Asked, Hasher, NoHash},
};
use anyhow::anyhow;
use api::{Checked, CheckedSum, Job, Verifying};
use domain::{File, Location, Model};
use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::unix::OwnedReadHalf,
    sync::mpsc::{Receiver, Sender, channel},
};

/// Answers on the way to a peer that reads slowly; progress that finds no place is left out.
const BEHIND: usize = 8;
/// How often progress is told.
const BEAT: Duration = Duration::from_millis(100);

type Update = anyhow::Result<Verifying>;

pub(super) async fn verify(
    hub: &Hub,
    (models, again): (Vec<String>, bool),
    is_more: bool,
    out: &mut Out<'_>,
    read: &mut BufReader<OwnedReadHalf>,
) -> Done {
    hub.sync().await.map_err(refusal)?;
    let mut chosen = Vec::new();
    for typed in &models {
        chosen.push(meant(hub, typed).await?.0);
    }
    if models.is_empty() {
        chosen = hub.read(usable).await.map_err(refusal)?;
    }
    let mut updates = begin(hub, chosen, again).map_err(refusal)?;
    loop {
        let update = tokio::select! {
            update = updates.recv() => update.unwrap_or_else(|| Err(anyhow!("hashing has failed by a bug"))),
            () = hung_up(read) => return Ok(()),
        };
        let update = update.map_err(refusal)?;
        if update.results.is_some() {
            // What was found changed on the way is in the index before it is told.
            hub.sync().await.map_err(refusal)?;
            return Ok(out.last(&update).await?);
        }
        if is_more {
            out.more(&update).await?;
        }
    }
}

/// Returns when the peer has gone. Another call of it waits for its turn.
async fn hung_up(read: &mut BufReader<OwnedReadHalf>) {
    if read.fill_buf().await.is_ok_and(|bytes| !bytes.is_empty()) {
        std::future::pending::<()>().await;
    }
}

fn usable(reader: &crate::index::Reader) -> anyhow::Result<Vec<Model>> {
    let mut models: Vec<Model> = Vec::new();
    reader.models(|_, text| {
        models.extend(Some(serde_json::from_str::<Model>(text)?).filter(|model| model.state.is_usable()));
        Ok(())
    })?;
    Ok(models)
}

/// Starts the hashing; it ends when nobody takes its updates any more.
fn begin(hub: &Hub, models: Vec<Model>, again: bool) -> anyhow::Result<Receiver<Update>> {
    let (updates, taken) = channel(BEHIND);
    let (index, user) = (hub.config.index(), hub.config.user());
    let (memory, core, asked) = (hub.memory.clone(), hub.core(), hub.verify.ask());
    let work = move || {
        let results = Hasher::open((&index, &user), memory, core, Pages::Keep).map(|hasher| {
            let total = models.iter().flat_map(places).filter(|(_, file)| file.is_hashed());
            let total = total.map(|(_, file)| file.size).fold(0, u64::saturating_add);
            let mut work =
                Work { hasher, again, updates: &updates, told: None, done: 0, total, _asked: asked };
            let results: Vec<Checked> =
                models.iter().map_while(|model| work.check(model)).flatten().collect();
            let sum = Some(CheckedSum::of(&results));
            Verifying { progress: None, results: Some(results), sum }
        });
        drop(updates.blocking_send(results)); // who asked may have gone
    };
    thread::Builder::new().name("hash".into()).spawn(work)?;
    Ok(taken)
}

struct Work<'a> {
    hasher: Hasher,
    again: bool,
    updates: &'a Sender<Update>,
    told: Option<Instant>,
    /// Bytes of files that are done, and of all.
    done: u64,
    total: u64,
    _asked: Asked,
}

impl Work<'_> {
    /// None where nobody waits for it any more.
    fn check(&mut self, model: &Model) -> Option<Vec<Checked>> {
        let mut results = Vec::new();
        let mut seen = BTreeSet::new();
        for (location, file) in places(model) {
            let expected = file.recorded_sha256().map(|recorded| recorded.to_ascii_lowercase());
            if !seen.insert((file.path.to_path(), expected.clone())) {
                continue;
            }
            let (hashes, reason) = match why_not(model, location, file) {
                Some(why) => (None, Some(why)),
                None => match self.hash(model, file)? {
                    Ok(hashes) => (Some(hashes), None),
                    Err(why) => (None, Some(why)),
                },
            };
            let recorded = file.recorded_sha256().cloned();
            let mut file = File { sha256: recorded, hashes: None, recorded: None, ..file.clone() };
            hashes.into_iter().for_each(|hashes| file.put_hashes(hashes));
            results.push(Checked {
                model: model.name.clone(),
                id: model.id.clone(),
                verification: file.verification(),
                path: file.path,
                app: location.app,
                expected,
                actual: file.hashes.map(|hashes| hashes.sha256),
                reason,
            });
        }
        Some(results)
    }

    fn hash(&mut self, model: &Model, file: &File) -> Option<Result<domain::Hashes, String>> {
        let Self { hasher, again, updates, told, done: before, total, .. } = self;
        let mut go_on = |done: u64| {
            if told.is_none_or(|at| at.elapsed() >= BEAT) {
                *told = Some(Instant::now());
                let done = before.saturating_add(done);
                let progress =
                    Job { job: "verify".into(), name: Some(model.name.clone()), done, total: *total };
                // One that is left out is followed by the next.
                let update = Verifying { progress: Some(progress), ..Verifying::default() };
                drop(updates.try_send(Ok(update)));
            }
            !updates.is_closed()
        };
        let hashed = hasher.hashes((&model.id, file), *again, &mut go_on);
        self.done = self.done.saturating_add(file.size);
        match hashed {
            Ok(hashes) => Some(Ok(hashes)),
            Err(NoHash::Stopped) => None,
            Err(NoHash::Restless) => Some(Err("it changes while it is read: try again later".into())),
            Err(NoHash::Failed(error)) => Some(Err(format!("{error:#}"))),
        }
    }
}

/// Files whose bytes matter, with where they are.
fn places(model: &Model) -> impl Iterator<Item = (&Location, &File)> {
    let all = model.locations.iter().flat_map(|place| place.files.iter().map(move |file| (place, file)));
    all.filter(|(_, file)| file.is_hashed())
}

fn why_not(model: &Model, location: &Location, file: &File) -> Option<String> {
    if !location.online {
        return Some("it is not there now".into());
    }
    if location.is_partial || file.size == 0 {
        let why = location.partial_reason.as_deref().or(model.reason.as_deref());
        return Some(format!("it is not whole: {}", why.unwrap_or("the rest is missing")));
    }
    None
}
