//! Facts of a checkpoint that is pickled: what its tensors tell, as those of a safetensors file do.

use super::{Facts, safetensors};
use formats::{
    pickle::Header,
    safetensors::{Header as Tensors, Tensor},
};

/// Reads what the tensors of a pickle tell.
pub(crate) fn pickle(header: &Header) -> Facts {
    let tensors = header.tensors.iter().map(|tensor| Tensor {
        name: tensor.name.clone(),
        dtype: tensor.dtype.clone(),
        shape: tensor.shape.clone(),
        size: tensor.size,
    });
    let tensors = Tensors {
        metadata: Vec::new(),
        tensors: tensors.collect(),
        data_start: 0,
        data_end: 0,
        warnings: Vec::new(),
    };
    safetensors(&tensors).0
}
