//! What relatives and companions of a model are told by, without the rest of it. Decides nothing.

use crate::{
    Ancestor, App, Kind, Model, Role, State, WirePath,
    facts::{Facts, Module, Projector, Tokenizer},
    lineage::folded,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What tells whose relative it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kin {
    pub id: String,
    pub name: String,
    pub kind: Option<Kind>,
    pub quant: Option<String>,
    /// Bytes.
    pub size: u64,
    pub state: State,
    /// Tuned to follow instructions, or not.
    pub is_instruct: Option<bool>,
    /// Repositories and handles that it is known by, folded.
    pub keys: BTreeSet<String>,
    /// As it is written.
    pub repo: Option<String>,
    pub sha256: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<Ancestor>,
}

/// What tells with whom it works together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    pub architecture: Option<String>,
    /// What image, video and audio models are based on, by the shapes of their tensors.
    pub family: Option<String>,
    pub parameters: Option<u64>,
    pub active_parameters: Option<u64>,
    /// Its first file with weights.
    pub path: Option<WirePath>,
    /// Directories that its weights lie in.
    pub dirs: BTreeSet<String>,
    /// Elements of one token's embedding.
    pub width: Option<u64>,
    pub vocabulary: Option<u64>,
    pub tokenizer: Option<Tokenizer>,
    pub projector: Option<Projector>,
    /// What an adapter of a language model changes; one of an image model goes by its family.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Module>,
}

impl Kin {
    pub fn of(model: &Model, facts: Option<&Facts>) -> Self {
        let sources = model.locations.iter().filter_map(|location| location.source.as_ref()?.repo.as_ref());
        let sources = sources.chain(model.origin.as_ref().and_then(|origin| origin.repo.as_ref()));
        // A handle of Ollama is what its manifests and Modelfiles name a base by.
        let handles = model.locations.iter().filter(|location| location.app == App::Ollama);
        let handles = handles.map(|location| &location.id);
        let tuning = facts.and_then(|facts| facts.tuning.as_ref());
        Self {
            id: model.id.clone(),
            name: model.name.clone(),
            kind: model.kind,
            quant: model.quant.clone(),
            size: model.size,
            state: model.state,
            is_instruct: tuning.map(|tuning| tuning.is_instruct),
            keys: sources.chain(handles).map(|name| folded(name)).collect(),
            repo: model.origin.as_ref().and_then(|origin| origin.repo.clone()),
            sha256: model.sha256.clone(),
            lineage: model.lineage.clone(),
        }
    }

    /// Returns what it is known by, wherever it is named.
    pub fn own_words(&self) -> BTreeSet<String> {
        self.keys.iter().chain(&self.sha256).cloned().collect()
    }

    /// Returns what those are known by that it was made from.
    pub fn named_words(&self) -> BTreeSet<String> {
        self.lineage.iter().flat_map(|one| [one.sha256.clone(), one.key()]).flatten().collect()
    }

    /// Whether it is a model by itself, not a part that another one takes.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(
            self.kind,
            Some(
                Kind::Lora
                    | Kind::VisionProjector
                    | Kind::Vae
                    | Kind::TextualInversion
                    | Kind::Hypernetwork
                    | Kind::Imatrix
            )
        )
    }
}

impl Part {
    pub fn of(model: &Model, facts: Option<&Facts>) -> Self {
        let files = model.locations.iter().flat_map(|location| &location.files);
        let weights = || files.clone().filter(|file| file.role == Role::Weights);
        let dirs = weights().filter_map(|file| file.path.text().rsplit_once('/'));
        Self {
            architecture: model.architecture.clone(),
            parameters: model.parameters,
            path: weights().next().map(|file| file.path.clone()),
            dirs: dirs.map(|(dir, _)| dir.to_owned()).collect(),
            ..facts.map(Self::of_file).unwrap_or_default()
        }
    }

    /// What one file says of it.
    pub(crate) fn of_file(facts: &Facts) -> Self {
        let adapter = facts.adapter.as_ref().filter(|_| facts.family.is_none());
        Self {
            architecture: facts.architecture.clone(),
            family: facts.family.clone(),
            parameters: facts.parameters,
            active_parameters: facts.active_parameters,
            path: None,
            dirs: BTreeSet::new(),
            width: facts.embedding_length,
            vocabulary: facts.vocabulary,
            tokenizer: facts.tokenizer.clone(),
            projector: facts.projector.clone(),
            modules: adapter.map(|adapter| adapter.modules.clone()).unwrap_or_default(),
        }
    }

    /// The width that it and its companion must agree on.
    pub fn meeting_width(&self) -> Option<u64> {
        self.projector.as_ref().map_or(self.width, |projector| projector.width)
    }

    /// What its vocabulary is told from others by.
    pub fn tokens(&self) -> Option<&str> {
        self.tokenizer.as_ref()?.tokens.as_deref()
    }
}
