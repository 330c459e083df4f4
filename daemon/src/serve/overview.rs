//! The daemon and its surroundings in one answer: the home screen, and what is wrong.

use super::{
    answer::{Failure, off_the_loop, refusal},
    hub::Hub,
    machine, space,
};
use crate::hardware;
use api::{Download, Examined, HardwareReport, Overview, Problem};
use domain::{
    Model, Safety, State, Verification,
    doctor::{self, Health, Watches},
    duplicates,
    hardware::CardState,
    progress::{Grown, after},
    safety,
};
use std::{collections::BTreeMap, fs, path::PathBuf};

pub(super) async fn overview(hub: &Hub) -> Result<Overview, Failure> {
    hub.first_scan().await;
    let (roots, totals, models, (groups, disk_size)) = hub
        .read(|reader| {
            let mut models: Vec<Model> = Vec::new();
            reader.models(|_, text| {
                let model: Model = serde_json::from_str(text)?;
                models.extend(Some(model).filter(|model| is_problem(model) || model.progress.is_some()));
                Ok(())
            })?;
            Ok((reader.roots()?, reader.totals()?, models, space::groups(reader)?))
        })
        .await
        .map_err(refusal)?;
    let (twice, reclaimable) = duplicates::totals(&groups);
    let live = hub.live().await.map_err(refusal)?;
    let mut models = models;
    let downloads = models.iter_mut().filter(|model| model.progress.is_some());
    let grown: Grown = downloads.flat_map(|model| model.set_live(&live.files)).collect();
    let (downloading, models): (Vec<Model>, Vec<Model>) =
        models.into_iter().partition(|model| model.state == State::Downloading);
    let problem = |model: &Model| {
        let danger = safety::danger(model);
        Problem {
            name: model.name.clone(),
            id: model.id.clone(),
            state: model.state,
            verification: Some(model.verification),
            reason: model.reason.clone().or_else(|| danger.clone()),
            danger,
        }
    };
    let mut notices = hub.notices();
    if roots.is_empty() {
        let looked_at = hub.discover().await.map_err(refusal)?;
        let count = looked_at.len();
        notices.push(format!(
            "none of the {count} folders where apps keep models is there: modelctl roots suggest looks elsewhere"
        ));
    }
    let ram = hardware::ram(&hub.config.environment.sysroot);
    let known = |bytes: u64| Some(bytes).filter(|_| ram.total > 0);
    Ok(Overview {
        version: env!("CARGO_PKG_VERSION").into(),
        models: totals.models,
        locations: totals.locations,
        disk_size: after(disk_size, grown.values()),
        duplicates: twice,
        reclaimable,
        problems: models.iter().filter(|model| is_problem(model)).map(problem).collect(),
        notices,
        scanning: hub.is_scanning(),
        runs: hub.runs.live(),
        roots: space::with_growth(roots, &grown),
        ram_total: known(ram.total),
        ram_available: known(ram.available),
        downloads: downloading.into_iter().map(download).collect(),
        jobs: hub.verify.job.borrow().iter().cloned().collect(),
    })
}

fn is_problem(model: &Model) -> bool {
    !model.state.is_usable()
        || model.verification == Verification::Mismatch
        || model.safety == Some(Safety::Dangerous)
}

fn download(model: Model) -> Download {
    Download { name: model.name, id: model.id, progress: model.progress }
}

/// What is odd about the machine; that a card sleeps is not.
fn odd(report: &HardwareReport) -> Vec<String> {
    let cards = report.cards.iter().filter(|card| card.state != CardState::Asleep);
    let told = cards.map(|card| {
        let name =
            card.pci.as_ref().map_or_else(|| card.name.clone(), |pci| format!("{} ({pci})", card.name));
        format!("{name}: {}", card.why)
    });
    report.other_notes().cloned().chain(told).collect()
}

/// Looks at everything that `domain::doctor` judges.
pub(super) async fn doctor(hub: &Hub, callers: BTreeMap<String, String>) -> Result<Examined, Failure> {
    let overview = overview(hub).await?;
    let engines = machine::engines(hub, callers.clone()).await?.engines;
    let devices = odd(&machine::hardware(hub, callers).await?);
    let places = vec![hub.config.state.clone(), hub.config.data.clone()];
    let (watches, places) = off_the_loop(move || anyhow::Ok((watches(), with_space(places)))).await?;
    let models =
        overview.problems.into_iter().map(|Problem { name, state, verification, reason, danger, .. }| {
            doctor::Sick {
                name,
                state,
                is_mismatch: verification == Some(Verification::Mismatch),
                danger,
                reason,
            }
        });
    let found = engines.into_iter().filter(|engine| engine.found);
    let health = Health {
        roots: overview.roots,
        watches,
        unwatched_places: hub.unwatched_places(),
        notices: overview.notices,
        models: models.collect(),
        places,
        engines: found.map(|engine| (engine.engine, engine.note)).collect(),
        devices,
    };
    Ok(Examined { findings: doctor::examine(&health) })
}

/// Counts our inotify watches: one line each in the table of the descriptor (proc_pid_fdinfo(5)).
fn watches() -> Option<Watches> {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?.trim().parse().ok()?;
    let tables = fs::read_dir("/proc/self/fdinfo").ok()?.flatten();
    let lines = tables.filter_map(|table| fs::read_to_string(table.path()).ok());
    let used =
        lines.map(|table| table.lines().filter(|line| line.starts_with("inotify ")).count() as u64).sum();
    Some(Watches { used, limit })
}

/// Bytes that are free for us at each place that tells.
fn with_space(places: Vec<PathBuf>) -> Vec<(PathBuf, u64)> {
    places.into_iter().filter_map(|path| space::room(&path).map(|(_, free)| (path, free))).collect()
}
