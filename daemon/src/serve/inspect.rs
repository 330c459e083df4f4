//! What any path on disk is: a file by its bytes, a directory by the models that are listed in it.

use super::{
    answer::{Failure, inside, off_the_loop, refusal},
    hub::Hub,
};
use crate::{index::Reader, look, read};
use api::{ApiError, Inspected};
use domain::{State, Verdict, WirePath};
use rustix::io::Errno;
use std::{fs::Metadata, path::Path};

pub(super) async fn inspect(hub: &Hub, path: WirePath) -> Result<Inspected, Failure> {
    let own = path.to_path();
    if !own.is_absolute() {
        return Err(ApiError::InvalidParameter { parameter: "path".into() }.into());
    }
    let inspected = off_the_loop(move || at(path)).await?;
    let real = tokio::task::spawn_blocking(move || look::resolved(&own).filter(|real| real.is_dir()));
    match real.await.map_err(|error| refusal(error.into()))? {
        Some(directory) => {
            let found = hub.read(move |reader| directory_of(reader, inspected, &directory));
            found.await.map_err(refusal)
        }
        None => Ok(inspected),
    }
}

fn at(path: WirePath) -> Result<Inspected, ApiError> {
    let own = path.to_path();
    let shown = own.display();
    let refuse = |error: &dyn std::fmt::Display| ApiError::Refused {
        why: format!("{shown} cannot be read: {error}"),
        hint: None,
    };
    let meta = own.metadata().map_err(|error| refuse(&error))?;
    if !meta.is_file() {
        let what = if meta.is_dir() { "a directory" } else { "a fifo, socket or device" };
        let verdict = Verdict::new(None, State::NotAModel, &format!("it is {what}"));
        return Ok(Inspected { path, size: 0, verdict });
    }
    let opened = look::resolved(&own).ok_or(Errno::NOENT).and_then(|at| look::open_resolved(&at));
    let file = opened.map_err(|error| refuse(&error))?;
    let name = own.file_name().unwrap_or_default();
    let verdict = read::verdict(&file, meta.len(), name).map_err(|error| refuse(&error))?;
    let beside = |name: &str| own.parent()?.join(name).metadata().ok().filter(Metadata::is_file);
    let verdict = verdict.with_parts(|name| beside(name).map(|meta| meta.len()));
    Ok(Inspected { path, size: meta.len(), verdict })
}

/// A directory is what the one model in it is; of several it says how many.
fn directory_of(reader: &Reader, found: Inspected, directory: &Path) -> anyhow::Result<Inspected> {
    let names = reader.names()?;
    let ids: Vec<&str> = inside(directory, &names).map(|names| &*names.id).collect();
    let model = match *ids {
        [id] => reader.model(id)?,
        _ => None,
    };
    let Some((model, facts)) = model else {
        let several = format!("it is a directory with {} listed models in it", ids.len());
        let verdict = Verdict::new(None, State::NotAModel, &several);
        return Ok(if ids.is_empty() { found } else { Inspected { verdict, ..found } });
    };
    let mut reason = format!("it is a directory, listed as the model `{}` ({})", model.name, model.id);
    if let Some(why) = &model.reason {
        reason = format!("{reason}: {why}");
    }
    let verdict = Verdict {
        format: model.format,
        state: model.state,
        reason: Some(reason),
        warnings: model.warnings,
        safety: model.safety,
        facts,
        data_start: None,
    };
    Ok(Inspected { size: model.size, verdict, ..found })
}
