//! What is asked of one model and needs the others: its relatives, and what goes with it. Reads the index, and changes
//! nothing.

use super::{
    answer::{Failure, meant, refusal},
    hub::Hub,
};
use crate::{engine, index::Reader};
use api::{ApiError, Shown};
use domain::{
    Asked, Companion, Family, File, Kin, Kind, Location, Model, Part, Role, Tree, WirePath, companions,
    facts::Facts, left_out, likest_first, projector_elsewhere,
};
use std::collections::BTreeSet;

pub(super) async fn show(hub: &Hub, typed: &str) -> Result<Shown, Failure> {
    let (mut model, facts) = meant(hub, typed).await?;
    model.set_live(&hub.live().await.map_err(refusal)?.files);
    let shown = hub.read(move |reader| {
        let same_weights = reader.with_the_weights_of(&model.id)?;
        let Met { others, all } = met(reader, &model, facts.as_ref())?;
        let family = Family::new(&all);
        let companions = paired(reader, &family, (&model, facts.as_ref()), &others)?;
        for ancestor in &mut model.lineage {
            let found = family.find(ancestor).filter(|found| found.id != model.id);
            ancestor.model_id = found.map(|found| found.id.clone());
        }
        Ok(Shown { model, facts, same_weights, companions })
    });
    shown.await.map_err(refusal)
}

pub(super) async fn tree(hub: &Hub, typed: &str) -> Result<Tree, Failure> {
    let (model, _) = meant(hub, typed).await?;
    let typed = typed.to_owned();
    let drawn = hub.read(move |reader| {
        let tree = Family::new(&reader.kin(&reader.relatives(&model.id)?)?).tree(&model.id);
        // It went between the two reads.
        tree.ok_or_else(|| ApiError::NoSuchModel { name: typed, similar: Vec::new() }.into())
    });
    drawn.await.map_err(refusal)
}

/// Returns a model as it is launched: its location without what lies there and cannot serve it, and with the one
/// projector that is meant for it. Also says which. `typed` is what the model was called.
pub(super) async fn fitted(
    hub: &Hub,
    (model, facts): (Model, Option<Facts>),
    typed: String,
) -> Result<(Model, Option<Facts>, Vec<String>), Failure> {
    let fitted = hub.read(move |reader| {
        let (model, notes) = with_its_projector(reader, (model, facts.as_ref()), &typed)?;
        Ok((model, facts, notes))
    });
    fitted.await.map_err(refusal)
}

/// The same, where the index is read anyway.
pub(crate) fn with_its_projector(
    reader: &Reader,
    (mut model, facts): (Model, Option<&Facts>),
    typed: &str,
) -> anyhow::Result<(Model, Vec<String>)> {
    let chosen = engine::usable(&model, typed).filter(|_| model.kind == Some(Kind::Llm));
    let at = model.locations.iter().position(|location| Some(location) == chosen);
    let (Some(at), Some(known)) = (at, facts) else { return Ok((model, Vec::new())) };
    let mut notes = Vec::new();
    if let Some(place) = model.locations.get_mut(at) {
        notes = without_what_cannot_serve(reader, place, known)?;
        notes.extend(likest_first(&model.name, &mut place.files));
    }
    let is_projector = |file: &File| file.role == Role::Companion;
    if !model.locations.get(at).is_some_and(|place| place.files.iter().any(is_projector)) {
        let (file, note) = elsewhere(reader, &model, known)?;
        model.locations.get_mut(at).into_iter().for_each(|place| place.files.extend(file.clone()));
        notes.extend(note);
    }
    Ok((model, notes))
}

fn without_what_cannot_serve(
    reader: &Reader,
    location: &mut Location,
    facts: &Facts,
) -> anyhow::Result<Vec<String>> {
    let (mut kept, mut notes) = (Vec::new(), Vec::new());
    for file in std::mem::take(&mut location.files) {
        let name = file.path.text().rsplit('/').next().unwrap_or_default();
        let found = if file.role == Role::Companion { reader.verdict(&file.path.to_path())? } else { None };
        match found.and_then(|found| left_out(name, &found, facts)) {
            Some(why) => notes.push(why),
            None => kept.push(file),
        }
    }
    location.files = kept;
    Ok(notes)
}

/// Returns the projector from elsewhere that is launched with a model, and what is to be said of it.
fn elsewhere(
    reader: &Reader,
    model: &Model,
    facts: &Facts,
) -> anyhow::Result<(Option<File>, Option<String>)> {
    if !reader.has_projector_for(&Part::of(model, Some(facts)))? {
        return Ok((None, None)); // the rest is dear
    }
    let Met { others, all } = met(reader, model, Some(facts))?;
    let found = paired(reader, &Family::new(&all), (model, Some(facts)), &others)?;
    let projector = match projector_elsewhere(&found) {
        Ok(projector) => projector,
        Err(why) => return Ok((None, Some(why))),
    };
    let Some((Some(id), because)) = projector.map(|one| (&one.model_id, &one.because)) else {
        return Ok((None, None));
    };
    let other = reader.model(id)?.map(|(other, _)| other);
    let whole = other.iter().flat_map(|other| &other.locations);
    let whole = whole.filter(|location| location.online && !location.is_partial);
    let file = whole.flat_map(|one| &one.files).find(|file| file.role == Role::Weights);
    let note = file.map(|file| format!("the projector is {}: {because}", file.path.text()));
    Ok((file.map(|file| File { role: Role::Companion, ..file.clone() }), note))
}

/// What a model is paired among.
struct Met {
    /// By id, what may go with it.
    others: Vec<(String, Part)>,
    /// These, and all that the model was made from.
    all: Vec<Kin>,
}

fn met(reader: &Reader, model: &Model, facts: Option<&Facts>) -> anyhow::Result<Met> {
    let others = reader.parts(&Part::of(model, facts))?;
    let mut ids = reader.line(&model.id)?;
    ids.extend(others.iter().map(|(id, _)| id.clone()));
    Ok(Met { others, all: reader.kin(&ids)? })
}

fn paired(
    reader: &Reader,
    family: &Family<'_>,
    (model, facts): (&Model, Option<&Facts>),
    others: &[(String, Part)],
) -> anyhow::Result<Vec<Companion>> {
    let (kin, part) = (Kin::of(model, facts), Part::of(model, facts));
    let asked = Asked { kin: &kin, part: &part, facts };
    Ok(companions(family, asked, others, &held(reader, model)?))
}

/// What the locations of a model hold with its weights.
fn held(reader: &Reader, model: &Model) -> anyhow::Result<Vec<(WirePath, Facts)>> {
    let files = model.locations.iter().flat_map(|location| &location.files);
    let files = files.filter(|file| matches!(file.role, Role::Companion | Role::Adapter));
    let mut seen = BTreeSet::new();
    let mut held = Vec::new();
    for file in files.filter(|file| seen.insert(file.path.to_path())) {
        let found = reader.verdict(&file.path.to_path())?.filter(|found| found.state.is_usable());
        held.extend(found.and_then(|found| found.facts).map(|facts| (file.path.clone(), facts)));
    }
    Ok(held)
}
