//! Facts of a checkpoint that is pickled: what its tensors tell, as those of a safetensors file do, and what loading it
//! would reach.

use super::{Facts, safetensors};
use formats::{
    pickle::{self, Header, Layout},
    safetensors::{Header as Tensors, Tensor},
};
use serde::{Deserialize, Serialize};

/// What loading a pickle does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pickled {
    /// How the pickles are kept: `torch zip`, `torch legacy`, `bare`.
    pub layout: String,
    /// Names that are looked up, in the order of the file.
    pub reaches: Vec<Reached>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// With its module: `torch._utils._rebuild_tensor_v2`.
    pub name: String,
    pub standing: Standing,
    /// The member of an archive that it is in.
    pub member: Option<String>,
}

/// What is known of a name: that it only rebuilds tensors, that it runs code or reaches outside, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Harmless,
    Dangerous,
    Unknown,
}

/// Characters of a name that are kept.
const MAX_NAME: usize = 200;

/// Reads what a pickle tells.
pub(crate) fn pickle(header: Header) -> Facts {
    let tensors = header.tensors.into_iter().map(|tensor| {
        let pickle::Tensor { name, dtype, shape, size } = tensor;
        Tensor { name, dtype, shape, size }
    });
    let tensors = Tensors {
        metadata: Vec::new(),
        tensors: tensors.collect(),
        data_start: 0,
        data_end: 0,
        warnings: Vec::new(),
    };
    let layout = match header.layout {
        Layout::Bare => "bare",
        Layout::TorchZip => "torch zip",
        Layout::TorchLegacy => "torch legacy",
        Layout::TorchTar => "torch tar",
        Layout::Zip => "zip",
        Layout::NumPy => "numpy",
    };
    let reaches = header.globals.iter().map(|global| Reached {
        name: format!("{}.{}", global.module, global.name).chars().take(MAX_NAME).collect(),
        standing: match global.standing {
            pickle::Standing::Harmless => Standing::Harmless,
            pickle::Standing::Dangerous => Standing::Dangerous,
            pickle::Standing::Unknown => Standing::Unknown,
        },
        member: global.member.as_ref().map(|member| member.chars().take(MAX_NAME).collect()),
    });
    let pickle = Pickled { layout: layout.to_owned(), reaches: reaches.collect() };
    Facts { pickle: Some(pickle), ..safetensors(&tensors).0 }
}

/// What loading all parts of a model reaches, each name once.
pub(super) fn join<'a>(parts: impl Iterator<Item = &'a Pickled>) -> Option<Pickled> {
    parts.cloned().reduce(|mut joined, part| {
        for reached in part.reaches {
            if joined.reaches.iter().all(|known| known.name != reached.name) {
                joined.reaches.push(reached);
            }
        }
        joined
    })
}
