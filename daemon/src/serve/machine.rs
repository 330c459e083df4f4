//! What there is to run models on, and by which engines: looked at when asked, and again while somebody watches.

use super::{
    answer::{Done, Failure, off_the_loop, refusal},
    hub::Hub,
    pulse::differs,
    varlink::Out,
};
use crate::{
    engines::{
        Engines, Found, LISTED, LOOK, added_by, as_added, in_directory, is_executable, not_a_server,
        program_names, tidied,
    },
    hardware::Wish,
    index::UserChange,
};
use anyhow::Context as _;
use api::{ApiError, EngineDevices, EngineStatus, HardwareReport};
use domain::{
    engines::{ENGINES, Engine, is_server},
    hardware::{Card, Gpu},
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::unix::OwnedReadHalf,
};

/// What comes with a request of the caller's world.
type Callers = BTreeMap<String, String>;

pub(super) async fn hardware(hub: &Hub, callers: Callers) -> Result<HardwareReport, Failure> {
    with_engines(hub, move |engines| report(engines, &callers)).await
}

/// A new report whenever it differs enough, until the peer hangs up.
pub(super) async fn watch(
    hub: &Hub,
    callers: Callers,
    out: &mut Out<'_>,
    read: &mut BufReader<OwnedReadHalf>,
) -> Done {
    let (_eye, mut looks) = hub.pulse.watch();
    let mut told: Option<HardwareReport> = None;
    loop {
        let now = hardware(hub, callers.clone()).await?;
        if told.as_ref().is_none_or(|told| is_news(&now, told)) {
            out.more(&now).await?;
            told = Some(now);
        }
        tokio::select! {
            looked = looks.changed() => looked.map_err(|_| anyhow::anyhow!("the daemon is stopping"))?,
            // Whatever it is, the peer does not listen any more.
            _ = read.fill_buf() => return Ok(()),
        }
    }
}

fn is_news(now: &HardwareReport, told: &HardwareReport) -> bool {
    let programs = |report: &HardwareReport| -> Vec<(String, Option<String>)> {
        report.engines.iter().map(|engine| (engine.program.clone(), engine.note.clone())).collect()
    };
    differs((&now.gpus, now.ram, &now.cards), (&told.gpus, told.ram, &told.cards))
        || programs(now) != programs(told)
        || now.notes != told.notes
        || now.holders != told.holders
}

async fn with_engines<T: Send + 'static>(
    hub: &Hub,
    work: impl FnOnce(&Engines) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let engines = Arc::clone(&hub.engines);
    off_the_loop(move || work(&engines)).await
}

fn report(engines: &Engines, callers: &Callers) -> anyhow::Result<HardwareReport> {
    let look = engines.machine()?;
    let max_age = engines.list_age()?;
    let mut seen: Option<(Vec<Gpu>, Vec<Card>)> = None;
    let mut reported = Vec::new();
    for engine in ENGINES {
        for found in engines.find(*engine, callers)?.0 {
            let status = status(engines, *engine, (&found, max_age), callers)?;
            let (devices, unseen) = (status.devices.clone(), status.unseen);
            seen.get_or_insert_with(|| (devices.into_iter().chain(unseen).collect(), status.others));
            reported.push(EngineDevices {
                engine: engine.name().into(),
                program: found.program.display().to_string(),
                version: status.version,
                devices: status.devices,
                note: status.note,
            });
        }
    }
    let (gpus, cards) = seen.unwrap_or_else(|| (look.hardware.gpus.clone(), look.cards.clone()));
    Ok(HardwareReport {
        holders: look.holders.clone(),
        gpus,
        ram: look.hardware.ram,
        cpu: look.hardware.cpu.clone(),
        engines: reported,
        notes: look.notes.clone(),
        cards,
        host: look.host.clone(),
    })
}

/// What is told of one program, also of one that cannot be asked.
struct Status {
    version: Option<String>,
    devices: Vec<Gpu>,
    unseen: Vec<Gpu>,
    others: Vec<Card>,
    flags: usize,
    note: Option<String>,
}

fn status(
    engines: &Engines,
    engine: &dyn Engine,
    (found, max_age): (&Found, Duration),
    callers: &Callers,
) -> anyhow::Result<Status> {
    let probed = match engines.ask(found, callers, max_age) {
        Ok(probed) => probed,
        Err(error) => {
            let look = engines.machine()?;
            let (unseen, others) = (look.hardware.gpus.clone(), look.cards.clone());
            let note = Some(format!("{error:#}"));
            return Ok(Status { version: None, devices: Vec::new(), unseen, others, flags: 0, note });
        }
    };
    let (seen, _) = engines.see(&probed, callers, (LOOK, Wish::ASKED))?;
    let mut notes = seen.notes;
    if !is_server(&probed.flags) {
        notes.insert(0, not_a_server(engine, &probed));
    }
    Ok(Status {
        version: probed.version,
        devices: seen.hardware.gpus,
        unseen: seen.unseen,
        others: seen.others,
        flags: probed.flags.len(),
        note: (!notes.is_empty()).then(|| notes.join("; ")),
    })
}

pub(super) async fn engines(hub: &Hub, callers: Callers) -> Result<api::Engines, Failure> {
    with_engines(hub, move |engines| {
        let max_age = engines.list_age()?;
        let mut all = Vec::new();
        for engine in ENGINES {
            let (found, looked) = engines.find(*engine, &callers)?;
            if found.is_empty() {
                all.push(EngineStatus { engine: engine.name().into(), looked, ..EngineStatus::default() });
                continue;
            }
            for found in found {
                let told = status(engines, *engine, (&found, max_age), &callers)?;
                all.push(shown(*engine, &found, told, &looked));
            }
        }
        Ok(api::Engines { engines: all })
    })
    .await
}

fn shown(engine: &dyn Engine, found: &Found, told: Status, looked: &[String]) -> EngineStatus {
    EngineStatus {
        engine: engine.name().into(),
        found: true,
        program: Some(found.program.display().to_string()),
        version: told.version,
        devices: told.devices,
        flags: told.flags as u64,
        added: found.is_added,
        looked: looked.to_vec(),
        note: told.note,
    }
}

/// Remembers a program, after it was asked what it is.
pub(super) async fn add(hub: &Hub, path: PathBuf, callers: Callers) -> Result<api::AddedEngine, Failure> {
    if !path.is_absolute() {
        return Err(ApiError::InvalidParameter { parameter: "path".into() }.into());
    }
    let examined = with_engines(hub, move |engines| examine(engines, &tidied(path), &callers));
    let (program, engine) = examined.await?;
    hub.memory.change(UserChange::AddEngine(program)).await.map_err(refusal)?;
    Ok(api::AddedEngine { engine })
}

fn examine(
    engines: &Engines,
    path: &std::path::Path,
    callers: &Callers,
) -> anyhow::Result<(PathBuf, EngineStatus)> {
    let engine: &dyn Engine = *ENGINES.first().context("no engine is known")?;
    let found = in_directory(engine, path).unwrap_or_else(|| as_added(engine, path));
    let names = program_names(engine);
    let refuse = |why: String| {
        let hint = Some(format!("give the path of {names}, or the folder that it is in"));
        anyhow::Error::from(ApiError::Refused { why, hint })
    };
    if !is_executable(&found.program) {
        let path = path.display();
        return Err(refuse(match found.program.is_dir() {
            true => format!("there is no {names} in {path}"),
            false => format!("{path} is not a program that can be run"),
        }));
    }
    let probed = engines.ask(&found, callers, LISTED)?;
    if !is_server(&probed.flags) {
        return Err(refuse(not_a_server(engine, &probed)));
    }
    let told = status(engines, engine, (&found, LISTED), callers)?;
    let shown = shown(engine, &found, told, &[]);
    Ok((found.program, shown))
}

/// Forgets what was added by this path.
pub(super) async fn remove(hub: &Hub, path: PathBuf) -> Result<serde_json::Value, Failure> {
    let meant = with_engines(hub, move |engines| {
        let added = engines.added()?;
        let meant = ENGINES.iter().find_map(|engine| added_by(*engine, &path, &added));
        Ok(meant.cloned().unwrap_or(path))
    });
    let path = meant.await?;
    hub.memory.change(UserChange::RemoveEngine(path)).await.map_err(refusal)?;
    Ok(serde_json::json!({}))
}
