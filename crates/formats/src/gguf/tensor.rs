//! Tensor infos, held to the rules of llama.cpp's `gguf_init_from_file`.

use super::{Reader, TensorType};
use crate::cursor::Text;
use crate::{Error, Input, quoted};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    /// Elements per dimension, fastest first; 0 to 4 of them.
    pub dims: Vec<u64>,
    pub kind: TensorType,
    /// Bytes from `Header::data_start`.
    pub offset: u64,
    /// Bytes of data.
    pub size: u64,
}

/// `GGML_MAX_NAME` less its NUL.
const MAX_NAME: u64 = 63;

/// `GGML_MAX_DIMS`.
const MAX_DIMS: u32 = 4;

impl<I: Input> Reader<'_, I> {
    pub(super) fn tensors(&mut self, count: u64, alignment: u64) -> Result<Vec<Tensor>, Error> {
        let mut tensors = Vec::new();
        let mut expected = 0;
        for _ in 0..count {
            let tensor = self.tensor()?;
            if tensor.offset != expected {
                let what =
                    format!("tensor {} lies at {}, not at {expected}", quoted(&tensor.name), tensor.offset);
                return self.cursor.corrupt(what);
            }
            let end = tensor.offset.checked_add(tensor.size);
            let Some(next) = end.and_then(|end| end.checked_next_multiple_of(alignment)) else {
                return self.cursor.corrupt(format!("tensor {} is too large", quoted(&tensor.name)));
            };
            expected = next;
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    fn tensor(&mut self) -> Result<Tensor, Error> {
        let Text { text: name, len, replaced } = self.cursor.text()?;
        if len > MAX_NAME {
            return self
                .cursor
                .corrupt(format!("the tensor name {} is longer than {MAX_NAME} bytes", quoted(&name)));
        }
        if replaced {
            self.warnings.push(format!("the tensor name {} is not UTF-8", quoted(&name)));
        }
        let n_dims = self.cursor.u32()?;
        if n_dims > MAX_DIMS {
            return self.cursor.corrupt(format!("tensor {} has {n_dims} dimensions", quoted(&name)));
        }
        let mut dims = Vec::new();
        for _ in 0..n_dims {
            dims.push(self.cursor.u64()?);
        }
        let kind = self.tensor_type(&name)?;
        let size = match size(&dims, kind) {
            Ok(size) => size,
            Err(why) => return self.cursor.corrupt(format!("tensor {} {why}", quoted(&name))),
        };
        let offset = self.cursor.u64()?;
        self.keep_tensor(size_of::<Tensor>() + name.len() + size_of_val(dims.as_slice()))?;
        Ok(Tensor { name, dims, kind, offset, size })
    }

    fn tensor_type(&mut self, name: &str) -> Result<TensorType, Error> {
        let id = self.cursor.u32()?;
        if let Some(kind) = TensorType::from_id(id) {
            return Ok(kind);
        }
        let name = quoted(name);
        match i32::try_from(id) {
            Ok(_) if id >= TensorType::COUNT => Err(Error::Unsupported {
                what: format!("tensor {name} has type {id}, which is newer than this program"),
            }),
            Ok(_) => self.cursor.corrupt(format!("tensor {name} has type {id}, which ggml has removed")),
            Err(_) => self.cursor.corrupt(format!("tensor {name} has a negative type")),
        }
    }
}

/// Returns the bytes of a tensor.
fn size(dims: &[u64], kind: TensorType) -> Result<u64, &'static str> {
    if dims.iter().any(|dim| i64::try_from(*dim).is_err()) {
        return Err("has a negative dimension");
    }
    // A row ends with its block (`gguf_init_from_file`); a scalar's row has one element.
    if !dims.first().copied().unwrap_or(1).is_multiple_of(kind.block_len()) {
        return Err("has rows that are not whole blocks");
    }
    // As in ggml, which divides: three large dimensions overflow even where the fourth is zero.
    let elements = dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
    let elements = elements.filter(|elements| i64::try_from(*elements).is_ok());
    let blocks = elements.and_then(|elements| elements.checked_div(kind.block_len()));
    let size = blocks.and_then(|blocks| blocks.checked_mul(kind.block_size()));
    size.filter(|size| i64::try_from(*size).is_ok()).ok_or("is larger than any memory")
}
