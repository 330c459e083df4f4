//! What the user says of models: judged by `domain::said`, remembered, and answered with the model as it is then.

use super::{
    answer::{Failure, find, refusal},
    hub::Hub,
};
use crate::index::{Reader, UserChange};
use api::ApiError;
use domain::{Model, said};

type Said = Result<Model, Failure>;

pub(super) async fn tag(hub: &Hub, model: String, add: Vec<String>, remove: Vec<String>) -> Said {
    let add = said::tags(add).map_err(refused)?;
    say(hub, model, |model| UserChange::Tag { model, add, remove: trimmed(remove) }).await
}

pub(super) async fn note(hub: &Hub, model: String, note: Option<String>) -> Said {
    let note = note.filter(|note| !note.trim().is_empty());
    say(hub, model, |model| UserChange::Note { model, note }).await
}

pub(super) async fn pin(hub: &Hub, model: String, pinned: bool) -> Said {
    say(hub, model, |model| UserChange::Pin { model, pinned }).await
}

pub(super) async fn alias(hub: &Hub, typed: String, add: Vec<String>, remove: Vec<String>) -> Said {
    let id = find(hub, typed.clone()).await?;
    let names = hub.read(Reader::names).await.map_err(refusal)?;
    let add = said::aliases(add, &id, &names).map_err(refused)?;
    let change = UserChange::Alias { model: id.clone(), add, remove: trimmed(remove) };
    remember(hub, typed, id, change).await
}

async fn say(hub: &Hub, typed: String, change: impl FnOnce(String) -> UserChange) -> Said {
    let id = find(hub, typed.clone()).await?;
    let change = change(id.clone());
    remember(hub, typed, id, change).await
}

async fn remember(hub: &Hub, typed: String, id: String, change: UserChange) -> Said {
    hub.memory.change(change).await.map_err(refusal)?;
    let model = hub.said(id).await.map_err(refusal)?;
    Ok(*model.ok_or(ApiError::NoSuchModel { name: typed, similar: Vec::new() })?)
}

fn refused(why: String) -> ApiError {
    ApiError::Refused { why, hint: None }
}

fn trimmed(words: Vec<String>) -> Vec<String> {
    words.into_iter().map(|word| word.trim().to_owned()).collect()
}
