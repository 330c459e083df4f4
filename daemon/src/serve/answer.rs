//! One function a request: asks the core, the index or the runs, and writes what they say.

use super::{
    events::events, hub::Hub, inspect, kin, list, machine, overview, runs, said, space, varlink::Out, verify,
};
use crate::{
    config::quoted,
    confirm::confirm,
    core::{Event, Wanted},
    engine, fault,
    index::{Reader, User, UserChange, UserError},
    look, suggest,
};
use api::{ApiError, LaunchRequest, Request, Roots, Scanned, Suggested, Synced};
use domain::{
    Model, RootStatus,
    engines::Plan,
    facts::Facts,
    resolve::{Names, Resolved, resolve},
    suggest::suggestions,
};
use serde::Serialize;
use serde_json::value::RawValue;
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{io::BufReader, net::unix::OwnedReadHalf};

/// Why an answer was not given.
pub(crate) enum Failure {
    /// The caller is told.
    Refused(ApiError),
    /// The connection is of no use any more.
    Broken(anyhow::Error),
}

impl From<ApiError> for Failure {
    fn from(refusal: ApiError) -> Self {
        Self::Refused(refusal)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

pub(super) type Done = Result<(), Failure>;

/// Answers a request, in one message or in many.
pub(super) async fn answer(
    request: Request,
    is_more: bool,
    hub: &Arc<Hub>,
    out: &mut Out<'_>,
    read: &mut BufReader<OwnedReadHalf>,
) -> Done {
    match request {
        Request::List { filters, sort, environment } => {
            list::list(hub, (&filters, sort.as_deref()), environment, is_more, out).await
        }
        Request::Launch { .. } | Request::Events {} if !is_more => Err(ApiError::ExpectedMore {}.into()),
        Request::Launch { launch: order } => runs::launch(hub, order, out, read).await,
        Request::Logs { follow: true, .. } if !is_more => Err(ApiError::ExpectedMore {}.into()),
        Request::Logs { run, follow: true } => runs::follow(hub, &run, out, read).await,
        Request::Logs { run, .. } if is_more => runs::whole_log(hub, &run, out).await,
        Request::Events {} => events(hub, out, read).await,
        Request::Verify { models, again } => verify::verify(hub, (models, again), is_more, out, read).await,
        Request::Hardware { environment } if is_more => machine::watch(hub, environment, out, read).await,
        Request::Overview {}
        | Request::Duplicates { .. }
        | Request::Usage { .. }
        | Request::Show { .. }
        | Request::Tree { .. }
        | Request::Inspect { .. }
        | Request::Roots {}
        | Request::SuggestRoots {}
        | Request::AddRoot { .. }
        | Request::RemoveRoot { .. }
        | Request::Sync {}
        | Request::Scan {}
        | Request::Tag { .. }
        | Request::Note { .. }
        | Request::Pin { .. }
        | Request::Alias { .. }
        | Request::Hardware { .. }
        | Request::Engines { .. }
        | Request::AddEngine { .. }
        | Request::RemoveEngine { .. }
        | Request::Doctor { .. }
        | Request::Ps {}
        | Request::Stop { .. }
        | Request::Logs { .. }
        | Request::Plan { .. } => Ok(out.last(&reply(request, hub).await?).await?),
    }
}

/// Answers a request that has one answer.
#[expect(clippy::cognitive_complexity, reason = "one flat arm a request; every await counts as a loop")]
async fn reply(request: Request, hub: &Hub) -> Result<Box<RawValue>, Failure> {
    match request {
        Request::Overview {} => raw(overview::overview(hub).await?),
        Request::Duplicates { filters, environment } => {
            raw(space::duplicates(hub, filters, environment).await?)
        }
        Request::Usage { by } => raw(space::usage(hub, by).await?),
        Request::Show { model } => raw(kin::show(hub, &model).await?),
        Request::Tree { model } => raw(kin::tree(hub, &model).await?),
        Request::Inspect { path } => raw(inspect::inspect(hub, path).await?),
        Request::Roots {} => raw(Roots { roots: space::roots(hub).await? }),
        Request::SuggestRoots {} => raw(suggest(hub).await?),
        Request::AddRoot { path } => raw(add_root(hub, path.to_path()).await?),
        Request::RemoveRoot { path } => raw(remove_root(hub, path.to_path()).await?),
        Request::Sync {} => {
            hub.sync().await.map_err(refusal)?;
            raw(Synced { models: count(hub).await? })
        }
        Request::Scan {} => {
            let settled = hub.scan().await.map_err(refusal)?;
            raw(Scanned { models: count(hub).await?, read: settled.read })
        }
        Request::Tag { model, add, remove } => raw(said::tag(hub, model, add, remove).await?),
        Request::Note { model, note } => raw(said::note(hub, model, note).await?),
        Request::Pin { model, pinned } => raw(said::pin(hub, model, pinned).await?),
        Request::Alias { model, add, remove } => raw(said::alias(hub, model, add, remove).await?),
        Request::Hardware { environment } => raw(machine::hardware(hub, environment).await?),
        Request::Engines { environment } => raw(machine::engines(hub, environment).await?),
        Request::AddEngine { path, environment } => {
            raw(machine::add(hub, path.to_path(), environment).await?)
        }
        Request::RemoveEngine { path } => raw(machine::remove(hub, path.to_path()).await?),
        Request::Plan { launch, confirm, forget } => {
            raw(api::Launch { plan: plan(hub, launch, (confirm, forget)).await? })
        }
        Request::Doctor { environment } => raw(overview::doctor(hub, environment).await?),
        Request::Ps {} => raw(api::Runs { runs: runs::all(hub).await? }),
        Request::Stop { run } => raw(runs::stop(hub, &run).await?),
        Request::Logs { run, .. } => runs::log_end(hub, &run).await,
        Request::List { .. } | Request::Launch { .. } | Request::Events {} | Request::Verify { .. } => {
            Err(ApiError::ExpectedMore {}.into())
        }
    }
}

fn raw(value: impl Serialize) -> Result<Box<RawValue>, Failure> {
    serde_json::value::to_raw_value(&value).map_err(|error| refusal(error.into()))
}

/// Does what waits for disks, programs or drivers where it holds nobody up.
pub(super) async fn off_the_loop<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Failure>
where
    T: Send + 'static,
    E: Into<anyhow::Error> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from);
    done.and_then(|done| done.map_err(Into::into)).map_err(refusal)
}

/// A domain's refusal travels as itself; anything else is a bug or a fault of the disk, and logged.
pub(super) fn refusal(error: anyhow::Error) -> Failure {
    let refusal = match error.downcast::<ApiError>() {
        Ok(refusal) => refusal,
        Err(error) => match error.downcast_ref::<UserError>() {
            Some(refused) => ApiError::Refused { why: refused.to_string(), hint: None },
            None => {
                tracing::error!(error = format!("{error:#}"), "request failed");
                fault::told(&error)
            }
        },
    };
    Failure::Refused(refusal)
}

async fn count(hub: &Hub) -> Result<u64, Failure> {
    hub.read(|reader| Ok(reader.totals()?.models)).await.map_err(refusal)
}

/// Finds the model that was meant.
pub(super) async fn find(hub: &Hub, typed: String) -> Result<String, Failure> {
    hub.first_scan().await;
    let found = hub.read(move |reader| {
        let names = reader.names()?;
        let refusal = match resolve(&typed, &names) {
            Resolved::One(id) => return Ok(id),
            Resolved::Ambiguous(found) => {
                let (candidates, ids): (Vec<String>, Vec<String>) = found.into_iter().unzip();
                let models = ids.iter().map(|id| Ok(reader.model(id)?.map(|(model, _)| (&model).into())));
                let models = models.filter_map(Result::transpose).collect::<anyhow::Result<_>>()?;
                ApiError::AmbiguousModel { name: typed, candidates, models }
            }
            Resolved::Unknown(_) if typed.starts_with('/') => {
                return Ok(at_path(&typed, &names, &reader.roots()?)?);
            }
            Resolved::Unknown(similar) => ApiError::NoSuchModel { name: typed, similar },
        };
        Err(refusal.into())
    });
    found.await.map_err(refusal)
}

/// A path that is no model's own may lead to one; else it is said why it means none.
fn at_path(typed: &str, names: &[Names], roots: &[RootStatus]) -> Result<String, ApiError> {
    let path = Path::new(typed);
    let refuse = |why: String, hint: Option<&str>, path: &Path| ApiError::Refused {
        why,
        hint: hint.map(|hint| format!("{hint} {}", quoted(path))),
    };
    let real = path.canonicalize().map_err(|error| {
        let is_gone = error.kind() == ErrorKind::NotFound;
        let missing = || format!("there is no file {typed}");
        let why = if is_gone { missing() } else { format!("{typed} cannot be read: {error}") };
        refuse(why, None, path)
    })?;
    if let Resolved::One(id) = resolve(&real.to_string_lossy(), names) {
        return Ok(id);
    }
    let below: Vec<&Names> = inside(&real, names).collect();
    let is_root = roots.iter().any(|root| real == root.path.to_path());
    if let [one] = *below
        && !is_root
    {
        return Ok(one.id.clone());
    }
    if roots.iter().any(|root| real.starts_with(root.path.to_path())) {
        let (why, hint) = match below.len() {
            0 => (format!("{typed} is not known as a model"), "see what it is: modelctl inspect"),
            several => (format!("{typed} has {several} models in it"), "see which: modelctl list"),
        };
        return Err(refuse(why, Some(hint), path));
    }
    let dir = if real.is_dir() { Some(path) } else { path.parent() }.unwrap_or(path);
    let why = format!("{typed} is in no place that is looked at");
    Err(refuse(why, Some("modelctl roots add"), dir))
}

/// Models with weights below a directory.
pub(super) fn inside<'a>(directory: &'a Path, all: &'a [Names]) -> impl Iterator<Item = &'a Names> {
    let is_below = move |path: &String| Path::new(path).starts_with(directory);
    all.iter().filter(move |names| names.paths.iter().any(is_below))
}

/// Returns the model that was meant, and what its weights say.
pub(super) async fn meant(hub: &Hub, typed: &str) -> Result<(Model, Option<Facts>), Failure> {
    let id = find(hub, typed.to_owned()).await?;
    let found = hub.read(move |reader| reader.model(&id)).await.map_err(refusal)?;
    found.ok_or_else(|| ApiError::NoSuchModel { name: typed.to_owned(), similar: Vec::new() }.into())
}

/// Whether it is the whole system, or what the kernel and services show as files. Disks are mounted below `/run`.
fn is_no_place(real: &Path) -> bool {
    let whole = ["/", "/run", "/dev"].iter().any(|path| real == Path::new(path));
    whole || ["/proc", "/sys"].iter().any(|path| real.starts_with(path))
}

async fn add_root(hub: &Hub, path: PathBuf) -> Result<api::Added, Failure> {
    let refuse = |why: String| ApiError::Refused { why, hint: None };
    if !path.is_absolute() {
        return Err(ApiError::InvalidParameter { parameter: "path".into() }.into());
    }
    let real = look::resolved(&path)
        .filter(|real| real.is_dir())
        .ok_or_else(|| refuse(format!("{} is not a directory", path.display())))?;
    if is_no_place(&real) || Some(&real) == hub.config.environment.home.as_ref() {
        let why = format!("{} holds far more than models", real.display());
        return Err(
            ApiError::Refused { why, hint: Some("add the directory with the models in it".into()) }.into()
        );
    }
    let (path, app) = look::models_in(&path).map_or((path, None), |(path, app)| (path, Some(app)));
    let real = look::resolved(&path).unwrap_or(real);
    hub.memory.change(UserChange::AddRoot(path.clone())).await.map_err(refusal)?;
    hub.tell(Event::Want(vec![Wanted { path, app, derived_from: None, place: PathBuf::new() }]))
        .await
        .map_err(refusal)?;
    hub.sync().await.map_err(refusal)?;
    let roots = hub.read(Reader::roots).await.map_err(refusal)?;
    let root = roots.into_iter().find(|root| root.path.to_path() == real);
    Ok(api::Added { root: root.ok_or_else(|| refuse(format!("{} cannot be watched", real.display())))? })
}

async fn suggest(hub: &Hub) -> Result<Suggested, Failure> {
    let config = hub.config.clone();
    let roots = space::roots(hub).await?;
    let work = move || -> anyhow::Result<Suggested> {
        let own = [config.state.clone(), config.data.clone()];
        let known = roots.iter().map(|root| root.path.to_path()).chain(own).collect();
        let sighted = suggest::look(&config.environment, &known);
        let suggestions = suggestions(sighted.spots, &sighted.never);
        Ok(Suggested { suggestions, looked: sighted.looked, complete: sighted.is_complete })
    };
    off_the_loop(work).await
}

async fn remove_root(hub: &Hub, path: PathBuf) -> Result<serde_json::Value, Failure> {
    let (added, user) = (path.clone(), hub.config.user());
    let stored = off_the_loop(move || -> anyhow::Result<PathBuf> {
        // `roots` shows where a path leads; what was typed may have been a link.
        let roots = User::reader(&user)?.roots()?;
        let models = look::models_in(&added).map(|(models, _)| models);
        let is_meant = |root: &PathBuf| {
            *root == added || look::resolved(root).as_ref() == Some(&added) || models.as_ref() == Some(root)
        };
        Ok(roots.into_iter().find(is_meant).unwrap_or(added))
    });
    let stored = stored.await?;
    let at = stored.clone();
    let is_kept = move |root: &RootStatus| !root.online && root.volume.is_some() && root.path.to_path() == at;
    let is_left = hub.read(move |reader| Ok(reader.roots()?.iter().any(is_kept))).await.map_err(refusal)?;
    match hub.memory.change(UserChange::RemoveRoot(stored.clone())).await {
        // What a disk has left behind was added by nobody.
        Err(error) if is_left && matches!(error.downcast_ref(), Some(UserError::NotAdded { .. })) => {}
        removed => removed.map_err(refusal)?,
    }
    hub.tell(Event::Forget(stored.clone())).await.map_err(refusal)?;
    // A place that is looked at anyway stays.
    let found = hub.discover().await.map_err(refusal)?;
    if !found.iter().any(|root| root.path == stored) && !hub.config.roots.contains(&stored) {
        hub.tell(Event::Unwant(stored)).await.map_err(refusal)?;
    }
    hub.sync().await.map_err(refusal)?;
    Ok(serde_json::json!({}))
}

async fn plan(
    hub: &Hub,
    order: LaunchRequest,
    (is_confirmed, is_forgotten): (bool, bool),
) -> Result<Plan, Failure> {
    engine::named(&order.engine)?;
    let (model, facts) = meant(hub, &order.model).await?;
    let extra = order.extra.clone();
    if is_forgotten && order.hardware.is_some() {
        let why = "no launch was on a machine that is described: there is nothing to forget".to_owned();
        let hint = Some("leave --forget or --hardware out".to_owned());
        return Err(ApiError::Refused { why, hint }.into());
    }
    if is_forgotten {
        // What cannot be planned is refused before anything is forgotten.
        drop(runs::prepare(hub, order.clone(), (model.clone(), facts.clone()), engine::PLANNED).await?);
        let (model, engine) = (model.id.clone(), order.engine.clone());
        hub.memory.change(UserChange::Unlearn { model, engine }).await?;
    }
    let prepared = runs::prepare(hub, order, (model, facts), engine::PLANNED).await?;
    if !is_confirmed {
        return Ok(prepared.plan);
    }
    off_the_loop(move || confirm(prepared, &extra)).await
}
