//! Refusals, one variant for each decision that a caller can make.

use domain::{App, Format, Model};
use serde::{Deserialize, Serialize};

/// Serialises as `{"error":…,"parameters":…}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum ApiError {
    #[serde(rename = "org.modelctl.Manager.NoSuchModel")]
    #[error("no model named `{name}`")]
    NoSuchModel { name: String, similar: Vec<String> },
    #[serde(rename = "org.modelctl.Manager.AmbiguousModel")]
    #[error("`{name}` names more than one model")]
    AmbiguousModel {
        name: String,
        candidates: Vec<String>,
        /// What they are, in the same order.
        #[serde(default)]
        models: Vec<Candidate>,
    },
    #[serde(rename = "org.modelctl.Manager.NoSuchEngine")]
    #[error("no engine named `{name}`")]
    NoSuchEngine { name: String, known: Vec<String> },
    /// `looked` has every place that was searched.
    #[serde(rename = "org.modelctl.Manager.EngineMissing")]
    #[error("{engine} is not installed where your shell would find it")]
    EngineMissing { engine: String, program: String, looked: Vec<String> },
    /// The model cannot be run, or not by this engine.
    #[serde(rename = "org.modelctl.Manager.Unsupported")]
    #[error("{why}")]
    Unsupported { why: String, hint: Option<String> },
    #[serde(rename = "org.modelctl.Manager.BadFilter")]
    #[error("cannot understand the filter `{filter}`: {why}")]
    BadFilter { filter: String, why: String },
    #[serde(rename = "org.modelctl.Manager.BadSort")]
    #[error("{why}")]
    BadSort { sort: String, why: String },
    /// Loading the model runs code, or may: it is left alone unless the caller allows it.
    #[serde(rename = "org.modelctl.Manager.Unsafe")]
    #[error("{why}")]
    Unsafe { why: String, hint: Option<String> },
    /// The request is understood and refused.
    #[serde(rename = "org.modelctl.Manager.Refused")]
    #[error("{why}")]
    Refused { why: String, hint: Option<String> },
    #[serde(rename = "org.modelctl.Manager.RunFailed")]
    #[error("{engine} ended before it was ready: {why}")]
    RunFailed { engine: String, why: String, last_lines: Vec<String>, hint: Option<String> },
    /// `runs` are those that could have been meant.
    #[serde(rename = "org.modelctl.Manager.NoSuchRun")]
    #[error("no run named `{name}`")]
    NoSuchRun { name: String, runs: Vec<String> },
    #[serde(rename = "org.modelctl.Manager.Internal")]
    #[error("modeld failed: {message}")]
    Internal { message: String },
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    #[error("this modeld does not know the method {method}")]
    MethodNotFound { method: String },
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    #[error("this modeld does not know the interface {interface}")]
    InterfaceNotFound { interface: String },
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    #[error("the parameter `{parameter}` cannot be understood")]
    InvalidParameter { parameter: String },
    #[serde(rename = "org.varlink.service.ExpectedMore")]
    #[error("this method answers with a stream: call it with `more`")]
    ExpectedMore {},
}

/// A model that may have been meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub id: String,
    pub name: String,
    /// Of its first location.
    pub app: App,
    pub format: Option<Format>,
    pub quant: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Of its first file; None where it has none.
    pub path: Option<String>,
}

impl From<&Model> for Candidate {
    fn from(model: &Model) -> Self {
        let first = model.locations.first();
        Self {
            id: model.id.clone(),
            name: model.name.clone(),
            app: first.map_or(App::Loose, |location| location.app),
            format: model.format,
            quant: model.quant.clone(),
            size: model.size,
            path: first.and_then(|location| location.files.first()).map(|file| file.path.text().to_owned()),
        }
    }
}
