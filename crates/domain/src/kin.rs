//! What relatives and companions of a model are told by: so little that it can be read of every model at once.
//! Decides nothing.

use crate::{
    Ancestor, App, Kind, Model, Role, State,
    facts::{Facts, Module, Projector, Tokenizer},
    lineage::folded,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kin {
    pub id: String,
    pub name: String,
    pub kind: Option<Kind>,
    pub architecture: Option<String>,
    /// What image, video and audio models are based on, by the shapes of their tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    pub quant: Option<String>,
    /// Bytes.
    pub size: u64,
    pub state: State,
    pub parameters: Option<u64>,
    /// Tuned to follow instructions, or not.
    pub is_instruct: Option<bool>,
    /// Repositories and handles that it is known by, folded.
    pub keys: BTreeSet<String>,
    /// As it is written.
    pub repo: Option<String>,
    pub sha256: Option<String>,
    /// Directories that its weights lie in.
    pub dirs: BTreeSet<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lineage: Vec<Ancestor>,
    /// Elements of one token's embedding.
    pub width: Option<u64>,
    pub vocabulary: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<Tokenizer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projector: Option<Projector>,
    /// What an adapter changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Module>,
}

impl Kin {
    pub fn of(model: &Model, facts: Option<&Facts>) -> Self {
        let plain = Facts::default();
        let facts = facts.unwrap_or(&plain);
        let sources = model.locations.iter().filter_map(|location| location.source.as_ref()?.repo.as_ref());
        let sources = sources.chain(model.origin.as_ref().and_then(|origin| origin.repo.as_ref()));
        // A handle of Ollama is what its manifests and Modelfiles name a base by.
        let handles = model.locations.iter().filter(|location| location.app == App::Ollama);
        let handles = handles.map(|location| &location.id);
        let files = model.locations.iter().flat_map(|location| &location.files);
        let weights = files.filter(|file| file.role == Role::Weights);
        let dirs = weights.filter_map(|file| file.path.text().rsplit_once('/'));
        Self {
            id: model.id.clone(),
            name: model.name.clone(),
            kind: model.kind,
            architecture: model.architecture.clone(),
            family: facts.family.clone(),
            quant: model.quant.clone(),
            size: model.size,
            state: model.state,
            parameters: model.parameters,
            is_instruct: facts.tuning.as_ref().map(|tuning| tuning.is_instruct),
            keys: sources.chain(handles).map(|name| folded(name)).collect(),
            repo: model.origin.as_ref().and_then(|origin| origin.repo.clone()),
            sha256: model.sha256.clone(),
            dirs: dirs.map(|(dir, _)| dir.to_owned()).collect(),
            lineage: model.lineage.clone(),
            width: facts.embedding_length,
            vocabulary: facts.vocabulary,
            tokenizer: facts.tokenizer.clone(),
            projector: facts.projector.clone(),
            modules: facts.adapter.as_ref().map(|adapter| adapter.modules.clone()).unwrap_or_default(),
        }
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
