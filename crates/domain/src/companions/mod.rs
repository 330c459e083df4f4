//! Which parts go with a model: projectors, adapters, drafts, VAEs. Widths, shapes and vocabularies decide, lineage and
//! place settle what they leave open. A name alone never pairs.

mod fit;
#[cfg(test)]
mod tests;

use crate::{
    Ancestor, Basis, CompanionRole, Confidence, Family, File, Kin, Kind, Role, State, Verdict, WirePath,
    facts::{Facts, TensorGroup},
    kin::Part,
};
use fit::Fit;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// More of one role in one answer help nobody.
const MOST_OF_A_ROLE: usize = 16;

/// A part that fits, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Companion {
    pub role: CompanionRole,
    /// None where it is a file of the model's own location.
    pub model_id: Option<String>,
    #[serde(flatten)]
    pub path: Option<WirePath>,
    pub name: String,
    /// In words, and as a program reads it.
    pub because: String,
    pub basis: Vec<Basis>,
    /// That it was made for this model, not only that it fits.
    pub confidence: Confidence,
}

impl Companion {
    /// Somebody says that it belongs to the model, or has published it with the model.
    fn is_meant(&self) -> bool {
        self.basis.iter().any(|basis| matches!(basis, Basis::Lineage | Basis::Repository))
    }
}

/// The model that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub kin: &'a Kin,
    pub part: &'a Part,
    pub facts: Option<&'a Facts>,
}

/// Why two that fit belong together.
struct Bond {
    basis: Basis,
    because: String,
    confidence: Confidence,
}

/// Returns what goes with a model: of `others`, by id, and of the files that its locations hold with it.
pub fn companions(
    family: &Family<'_>,
    asked: Asked<'_>,
    others: &[(String, Part)],
    held: &[(WirePath, Facts)],
) -> Vec<Companion> {
    let line = family.line_of(&asked.kin.id);
    let own = held.iter().filter_map(|(path, facts)| {
        let kin = Kin { name: file_name(path), kind: facts.kind, ..Kin::default() };
        let bond =
            Bond { basis: Basis::Held, because: "held with it".to_owned(), confidence: Confidence::Inferred };
        let found = pair(asked, &kin, &Part::of_file(facts), Some(bond))?;
        Some(Companion { model_id: None, path: Some(path.clone()), ..found })
    });
    let others = others.iter().filter_map(|(id, part)| {
        let kin = family.model(id).filter(|kin| kin.id != asked.kin.id && kin.state.is_usable())?;
        pair(asked, kin, part, bond(asked, &line, kin, part))
    });
    let mut found: Vec<Companion> = own.chain(others).collect();
    // Where nothing else tells them apart, the one whose name is most like the model's comes first.
    found.sort_by_cached_key(|one| {
        let is_strange = !one.is_meant() && one.model_id.is_some();
        (one.role, is_strange, one.confidence, strangeness(&asked.kin.name, &one.name), one.name.clone())
    });
    let mut counts: BTreeMap<CompanionRole, usize> = BTreeMap::new();
    found.retain(|one| {
        let count = counts.entry(one.role).or_default();
        *count += 1;
        *count <= MOST_OF_A_ROLE
    });
    found
}

/// The projector that is launched with a model which holds none: the only one that is meant for it. Where there are
/// several, says so.
pub fn projector_elsewhere(found: &[Companion]) -> Result<Option<&Companion>, String> {
    let elsewhere = |one: &&Companion| one.role == CompanionRole::Projector && one.model_id.is_some();
    let meant: Vec<&Companion> = found.iter().filter(elsewhere).filter(|one| one.is_meant()).collect();
    match meant.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => {
            let names: Vec<&str> = several.iter().take(4).map(|one| one.name.as_str()).collect();
            let more = if several.len() > names.len() { " and others" } else { "" };
            let names = names.join(", ");
            Err(format!("no projector is given: {names}{more} fit alike; put one beside the model"))
        }
    }
}

/// Why a file that lies with a model as its projector cannot serve it; None where that is not known.
pub fn left_out(name: &str, found: &Verdict, model: &Facts) -> Option<String> {
    let because = |why: String| Some(format!("{name} is left out: {why}"));
    if !found.state.is_usable() && found.state != State::Offline {
        let reason = found.reason.as_deref().unwrap_or("it cannot be used");
        return because(format!("it is {}: {reason}", found.state));
    }
    let facts = found.facts.as_ref()?;
    match facts.kind {
        Some(Kind::VisionProjector) => {}
        Some(kind) => return because(format!("it is no projector but of kind {kind}")),
        None => return None,
    }
    let (own, other) = (model.embedding_length?, facts.projector.as_ref()?.width?);
    if own == other { None } else { because(format!("it projects to {other}, and the model is {own} wide")) }
}

/// Puts the projector first that is called most like the model, as an engine takes one; says which where there are
/// several.
pub fn likest_first(model: &str, files: &mut [File]) -> Option<String> {
    files.sort_by_cached_key(|file| {
        let is_projector = file.role == Role::Companion;
        (is_projector, if is_projector { strangeness(model, &file_name(&file.path)) } else { 0 })
    });
    let mut projectors = files.iter().filter(|file| file.role == Role::Companion);
    let (first, others) = (projectors.next()?, projectors.count());
    (others > 0).then(|| {
        format!("of {} projectors beside it that may fit, {} is given", others + 1, file_name(&first.path))
    })
}

/// What was made from this model or from what it descends from belongs to it, as does what its source has published
/// with it; what only lies in the same folder may.
fn bond(asked: Asked<'_>, line: &BTreeSet<String>, kin: &Kin, part: &Part) -> Option<Bond> {
    let is_of_line = |one: &&Ancestor| {
        one.sha256.as_ref().is_some_and(|hash| line.contains(hash))
            || one.key().is_some_and(|key| line.contains(&key))
    };
    if let Some(base) = kin.lineage.iter().find(is_of_line) {
        let because = format!("made from {}", base.name);
        return Some(Bond { basis: Basis::Lineage, because, confidence: base.confidence });
    }
    // An adapter that was made from another one is that one's, wherever it lies.
    let is_anothers = kin.kind == Some(Kind::Lora) && kin.lineage.iter().any(|one| one.key().is_some());
    if is_anothers {
        return None;
    }
    let (basis, because) = if kin.keys.iter().any(|key| asked.kin.keys.contains(key)) {
        (Basis::Repository, "same repository")
    } else if part.dirs.iter().any(|dir| asked.part.dirs.contains(dir)) {
        (Basis::Folder, "same folder")
    } else {
        return None;
    };
    Some(Bond { basis, because: because.to_owned(), confidence: Confidence::Inferred })
}

fn pair(asked: Asked<'_>, kin: &Kin, part: &Part, bond: Option<Bond>) -> Option<Companion> {
    let tensors: &[TensorGroup] = asked.facts.map(|facts| facts.tensors.as_slice()).unwrap_or_default();
    let (model, tie) = (asked.part, bond.as_ref().map(|bond| bond.basis));
    let is_llm = asked.kin.kind == Some(Kind::Llm);
    let (role, fit) = match kin.kind? {
        Kind::VisionProjector if is_llm => (CompanionRole::Projector, fit::projects(model, part, tie)),
        Kind::Lora if is_llm => {
            let is_free = kin.lineage.is_empty();
            (CompanionRole::Adapter, fit::adapts((model, tensors), part, tie, is_free))
        }
        Kind::Llm if is_llm => (CompanionRole::Draft, fit::drafts(model, part)),
        Kind::Lora => (CompanionRole::Adapter, same_family(asked, part)),
        Kind::Vae => (CompanionRole::Vae, same_family(asked, part)),
        Kind::TextEncoder => (CompanionRole::TextEncoder, same_family(asked, part)),
        Kind::Llm
        | Kind::VisionProjector
        | Kind::Embedding
        | Kind::Reranker
        | Kind::Checkpoint
        | Kind::DiffusionModel
        | Kind::ImagePipeline
        | Kind::ControlNet
        | Kind::Upscaler
        | Kind::TextualInversion
        | Kind::Hypernetwork
        | Kind::Asr
        | Kind::Tts
        | Kind::Imatrix
        | Kind::Other => return None,
    };
    let Fit { mut basis, because } = fit?;
    basis.extend(tie);
    let confidence = bond.as_ref().map_or(Confidence::Inferred, |bond| bond.confidence);
    Some(Companion {
        role,
        model_id: Some(kin.id.clone()),
        path: part.path.clone(),
        name: kin.name.clone(),
        because: bond.map_or_else(|| because.clone(), |bond| format!("{because}; {}", bond.because)),
        basis,
        confidence,
    })
}

fn same_family(asked: Asked<'_>, part: &Part) -> Option<Fit> {
    let is_image =
        matches!(asked.kin.kind, Some(Kind::Checkpoint | Kind::DiffusionModel | Kind::ImagePipeline));
    is_image.then(|| fit::same_family(asked.part, part)).flatten()
}

fn file_name(path: &WirePath) -> String {
    path.text().rsplit('/').next().unwrap_or_default().to_owned()
}

/// How many words of the model's name the other one lacks.
fn strangeness(model: &str, other: &str) -> usize {
    let words = |name: &str| -> BTreeSet<String> {
        let words = name.split(|letter: char| !letter.is_alphanumeric()).map(str::to_lowercase);
        words.filter(|word| !word.is_empty()).collect()
    };
    words(model).difference(&words(other)).count()
}
