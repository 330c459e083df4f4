//! Locations of one content → the model that a person sees.

use crate::{
    Ancestor, App, File, Format, Kind, Location, Model, Role, Safety, State, Verdict,
    facts::{self, Facts},
    hashes,
    provenance::Provenance,
    stores::{Hints, incoming},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A location with what its files turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    pub location: Location,
    /// One for each of `location.files`; None where the file is not there.
    pub on_disk: Vec<Option<OnDisk>>,
    pub base_models: Vec<String>,
    /// What its records say of those base models.
    pub lineage: Vec<Ancestor>,
    pub hints: Hints,
    /// One for each weight file that could be read, in order.
    pub verdicts: Vec<Verdict>,
}

/// Where a file's bytes lie.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OnDisk {
    pub volume: String,
    pub inode: u64,
    /// Bytes allocated.
    pub disk_size: u64,
    /// Hard links to the inode, known or not; 0 where that was not looked up.
    #[serde(default)]
    pub links: u64,
}

/// What the user said and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserData {
    pub tags: Vec<String>,
    pub note: Option<String>,
    pub pinned: bool,
    pub aliases: Vec<String>,
    pub last_used: Option<Timestamp>,
    pub first_seen: Option<Timestamp>,
}

/// Builds the model; `placed` has at least one location. Also returns the facts of all its parts together.
pub fn assemble(id: &str, mut placed: Vec<Placed>, user: UserData) -> (Model, Option<Facts>) {
    placed.sort_by_cached_key(order);
    let size = placed.first().map_or(0, |place| place.location.size());
    let disk_size = disk(&placed);
    let summary = placed.first().map(Summary::of).unwrap_or_default();
    let hashed = hashes::Summary::of(&placed);
    let Summary { facts, format, kind, state, reason, mut warnings } = summary.with(&hashed);
    let fact = facts.clone().unwrap_or_default();
    let provenance = Provenance::of(&mut placed, &fact);
    // Its bytes are no worse for it: the state is about those.
    warnings.extend(provenance.warnings);
    let name =
        placed.iter().min_by_key(|place| name_rank(place.location.app)).map_or_else(String::new, name_of);
    let progress = placed.first().and_then(|place| place.location.progress).filter(|_| !state.is_usable());
    let hints = placed.first().map(|place| place.hints.clone()).unwrap_or_default();
    let model = Model {
        id: id.to_owned(),
        name,
        format,
        kind,
        architecture: fact.architecture.or(hints.architecture),
        quant: fact.quant.or(hints.quant),
        bits_per_weight: fact.bits_per_weight,
        parameters: fact.parameters,
        active_parameters: fact.active_parameters,
        context_length: fact.context_length.or(hints.context_length),
        size,
        disk_size,
        state,
        reason,
        warnings,
        safety: Safety::worst(
            placed.iter().flat_map(|place| &place.verdicts).filter_map(|verdict| verdict.safety),
        ),
        verification: hashed.verification(),
        sha256: hashed.sha256,
        license: provenance.license,
        license_spdx: provenance.license_spdx,
        license_class: provenance.license_class,
        base_models: provenance.base_models,
        lineage: provenance.lineage,
        origin: provenance.origin,
        capabilities: if fact.capabilities.is_empty() { hints.capabilities } else { fact.capabilities },
        duplicate_group: None, // what other models hold says it
        locations: placed.into_iter().map(|place| place.location).collect(),
        tags: user.tags,
        note: user.note,
        pinned: user.pinned,
        last_used: user.last_used,
        aliases: user.aliases,
        first_seen: user.first_seen,
        family: fact.family,
        progress,
        fits: None,
    };
    (model, facts)
}

/// The facts that `assemble` returns.
pub fn facts_of(mut placed: Vec<Placed>) -> Option<Facts> {
    placed.sort_by_cached_key(order);
    merged(placed.first()?)
}

/// Which place tells most of a model: the first.
fn order(place: &Placed) -> (bool, u8, bool, App, String) {
    let location = &place.location;
    let is_old = location.revision.is_some() && location.refs.is_empty();
    (!location.online, rank(place), is_old, location.app, location.id.clone())
}

fn merged(place: &Placed) -> Option<Facts> {
    let parts: Vec<Facts> = place.verdicts.iter().filter_map(|verdict| verdict.facts.clone()).collect();
    let facts = (!parts.is_empty()).then(|| facts::merge(&parts))?;
    // What a component is for is not what the tree of them is for.
    let is_tree = place.hints.format == Some(Format::Diffusers);
    Some(Facts { kind: facts.kind.filter(|_| !is_tree), ..facts })
}

/// What one location's parts say together.
#[derive(Default)]
struct Summary {
    facts: Option<Facts>,
    format: Option<Format>,
    kind: Option<Kind>,
    state: State,
    reason: Option<String>,
    warnings: Vec<String>,
}

impl Summary {
    fn of(place: &Placed) -> Self {
        let facts = merged(place);
        let mut warnings: Vec<String> = Vec::new();
        for warning in place.verdicts.iter().flat_map(|verdict| &verdict.warnings) {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        let (state, reason) = state_of(place, !warnings.is_empty());
        let own = facts.as_ref().and_then(|facts| facts.kind);
        let placed_as = place.hints.placed_as.filter(|_| may_be_as_placed(place, facts.as_ref()));
        Self {
            format: place.hints.format.or_else(|| place.verdicts.iter().find_map(|verdict| verdict.format)),
            // A graph that says nothing of its purpose leaves that open.
            kind: place.hints.kind.or(own.filter(|kind| *kind != Kind::Other)).or(placed_as).or(own),
            facts,
            state,
            reason,
            warnings,
        }
    }

    /// Bytes that are not those that were recorded are no reason to refuse a model, but to say so.
    fn with(mut self, hashed: &hashes::Summary) -> Self {
        let wrong: Vec<&String> = hashed.mismatches.iter().chain(&hashed.differing).collect();
        if let Some(first) = wrong.first() {
            self.reason.get_or_insert_with(|| (*first).clone());
            self.state = if self.state == State::Ok { State::OkWithWarning } else { self.state };
        }
        self.warnings.extend(wrong.into_iter().cloned());
        self
    }
}

/// Whether the weights leave open what the folder they lie in says: they hold tensors, or were not read. A file
/// that only runs code is of no kind, wherever it lies.
fn may_be_as_placed(place: &Placed, facts: Option<&Facts>) -> bool {
    let has_tensors =
        |facts: &Facts| facts.parameters.is_some_and(|count| count > 0) || !facts.tensors.is_empty();
    let is_dangerous = || place.verdicts.iter().any(|verdict| verdict.safety == Some(Safety::Dangerous));
    facts.map_or_else(|| !is_dangerous(), has_tensors)
}

fn state_of(place: &Placed, warned: bool) -> (State, Option<String>) {
    if !place.location.online {
        return (State::Offline, Some("the place where it lies is not there now".into()));
    }
    // What a graph keeps its data in is no model, and need not be one.
    let has_parts = |verdict: &Verdict| verdict.facts.as_ref().is_some_and(|facts| !facts.parts.is_empty());
    let has_data = place.verdicts.iter().any(has_parts);
    let told = place.verdicts.iter().filter(|verdict| !has_data || verdict.state != State::NotAModel);
    let worst = told.max_by_key(|verdict| state_rank(verdict.state));
    let bad = worst.filter(|verdict| !verdict.state.is_usable());
    // What an app still downloads may look like anything.
    let is_stopped = place.location.partial_reason.as_deref().is_some_and(incoming::is_stopped);
    let is_explained = bad.is_none_or(|verdict| verdict.state == State::Corrupt || is_stopped);
    if place.location.is_partial && is_explained {
        return (State::Incomplete, place.location.partial_reason.clone());
    }
    if let Some(bad) = bad {
        return (bad.state, bad.reason.clone());
    }
    (if warned { State::OkWithWarning } else { State::Ok }, None)
}

fn rank(place: &Placed) -> u8 {
    state_rank(state_of(place, false).0)
}

/// Better states first.
fn state_rank(state: State) -> u8 {
    match state {
        State::Ok => 0,
        State::OkWithWarning => 1,
        State::Unsupported => 2,
        State::Incomplete => 3,
        State::Downloading => 4,
        State::Corrupt => 5,
        State::Offline => 6,
        State::NotAModel => 7,
    }
}

/// Whose name for it tells most: file names keep the quantisation, Ollama's tags and blobs do not.
fn name_rank(app: App) -> u8 {
    const ORDER: &[App] = &[App::HuggingFace, App::HuggingFaceLocalDir, App::LmStudio];
    let rank = ORDER.iter().position(|known| *known == app).and_then(|at| u8::try_from(at).ok());
    rank.unwrap_or(if app == App::Ollama { u8::MAX } else { u8::MAX - 1 })
}

fn name_of(place: &Placed) -> String {
    place.location.name.clone().unwrap_or_else(|| place.location.id.clone())
}

pub(crate) fn one_weight(location: &Location) -> Option<&File> {
    let mut weights = location.files.iter().filter(|file| file.role == Role::Weights);
    weights.next().filter(|_| weights.next().is_none())
}

/// Returns bytes on disk with each inode once.
fn disk(placed: &[Placed]) -> u64 {
    let mut inodes: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for place in placed {
        for (file, on_disk) in place.location.files.iter().zip(&place.on_disk) {
            if let Some(OnDisk { volume, inode, disk_size, .. }) =
                on_disk.as_ref().filter(|_| file.is_hashed())
            {
                inodes.insert((volume, *inode), *disk_size);
            }
        }
    }
    inodes.values().copied().fold(0, u64::saturating_add)
}
