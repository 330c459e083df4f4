//! Tensors: their type and size, and whether the bytes that are here or elsewhere can be theirs.

use super::{MAX_NAME, Model};
use crate::port::bytes_of;
use crate::protobuf::{Span, Value};
use crate::{Error, Input, quoted};

/// Files of one model: exporters that write one for each tensor make a few thousand.
const MAX_EXTERNAL: usize = 1 << 14;
/// Bytes of a path in a model.
const MAX_LOCATION: usize = 1024;
/// `TensorProto.DataType.STRING`, whose elements have no size of their own.
const STRING: u64 = 8;
/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: u64 = 1;

/// Returns the name of a `TensorProto.DataType` (onnx 1.23) as safetensors spell it, and the bits of an element.
pub(super) fn dtype(number: u64) -> Option<(&'static str, u64)> {
    Some(match number {
        1 => ("F32", 32),
        2 => ("U8", 8),
        3 => ("I8", 8),
        4 => ("U16", 16),
        5 => ("I16", 16),
        6 => ("I32", 32),
        7 => ("I64", 64),
        STRING => ("STRING", 0),
        9 => ("BOOL", 8),
        10 => ("F16", 16),
        11 => ("F64", 64),
        12 => ("U32", 32),
        13 => ("U64", 64),
        14 => ("C64", 64),
        15 => ("C128", 128),
        16 => ("BF16", 16),
        17 => ("F8_E4M3", 8),
        18 => ("F8_E4M3FNUZ", 8),
        19 => ("F8_E5M2", 8),
        20 => ("F8_E5M2FNUZ", 8),
        21 => ("U4", 4),
        22 => ("I4", 4),
        23 => ("F4", 4),
        24 => ("F8_E8M0", 8),
        25 => ("U2", 2),
        26 => ("I2", 2),
        _ => return None,
    })
}

/// What a `TensorProto` says, before it is checked.
#[derive(Default)]
struct Tensor {
    name: String,
    kind: u64,
    dims: Vec<u64>,
    raw: Option<Span>,
    is_external: bool,
    entries: Vec<(String, String)>,
}

/// Dimensions of one tensor; more are no tensor's.
const MAX_DIMS: usize = 64;
/// Entries of `external_data`: location, offset, length, checksum, basepath.
const MAX_ENTRIES: usize = 16;

impl<I: Input> Model<'_, I> {
    /// `TensorProto`; returns its name.
    pub(super) fn tensor(&mut self, message: Span) -> Result<String, Error> {
        let at = message.at;
        let tensor = self.read_tensor(message)?;
        let corrupt = |what: String| {
            Err(Error::Corrupt { what: format!("tensor {} {what}", quoted(&tensor.name)), at })
        };
        let Some((dtype, bits)) = dtype(tensor.kind) else {
            let what = format!("tensor {} is of the unknown type {}", quoted(&tensor.name), tensor.kind);
            return Err(Error::Unsupported { what });
        };
        let Some((elements, bytes)) = bytes_of(tensor.dims.iter().copied(), bits) else {
            return corrupt("is larger than any memory".to_owned());
        };
        if let Some(raw) = tensor.raw.filter(|raw| tensor.kind != STRING && raw.len() != bytes) {
            return corrupt(format!("has {} bytes where its shape needs {bytes}", raw.len()));
        }
        if tensor.is_external {
            match external(&tensor, bytes) {
                Ok((location, end)) => self.note_external(location, end)?,
                Err(what) => return corrupt(what),
            }
        }
        self.types.add(dtype, elements, bytes);
        Ok(tensor.name)
    }

    fn read_tensor(&mut self, mut message: Span) -> Result<Tensor, Error> {
        let mut tensor = Tensor::default();
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Varint(dim)) => tensor.dims.push(dim),
                (1, Value::Bytes(mut packed)) => {
                    while packed.at < packed.end && tensor.dims.len() <= MAX_DIMS {
                        tensor.dims.push(self.reader.varint(&mut packed)?);
                    }
                }
                (2, Value::Varint(kind)) => tensor.kind = kind,
                (8, Value::Bytes(text)) => tensor.name = self.reader.short(text, MAX_NAME)?,
                (9, Value::Bytes(raw)) => tensor.raw = Some(raw),
                (13, Value::Bytes(entry)) if tensor.entries.len() < MAX_ENTRIES => {
                    let entry = self.entry(entry)?;
                    tensor.entries.push(entry);
                }
                (14, Value::Varint(place)) => tensor.is_external = place == EXTERNAL,
                _ => {}
            }
            if tensor.dims.len() > MAX_DIMS {
                let what = format!("a tensor of more than {MAX_DIMS} dimensions");
                return Err(Error::Corrupt { what, at: message.at });
            }
        }
        Ok(tensor)
    }

    fn note_external(&mut self, location: String, end: u64) -> Result<(), Error> {
        if self.external.len() >= MAX_EXTERNAL && !self.external.contains_key(&location) {
            return Err(Error::TooLarge {
                what: "data in too many files".to_owned(),
                limit: MAX_EXTERNAL as u64,
            });
        }
        let known = self.external.entry(location).or_default();
        *known = end.max(*known);
        Ok(())
    }
}

/// Returns the file that a tensor's data is in, and where it ends there; or what is wrong with that.
fn external(tensor: &Tensor, bytes: u64) -> Result<(String, u64), String> {
    let find = |name: &str| {
        let entry = tensor.entries.iter().rev().find(|(key, _)| key == name);
        entry.map(|(_, value)| value.as_str())
    };
    let number = |name: &str| match find(name).map(|text| (text, text.parse::<u64>())) {
        None => Ok(None),
        Some((_, Ok(number))) => Ok(Some(number)),
        Some((text, Err(_))) => Err(format!("has its data at the {name} {}", quoted(text))),
    };
    let location = find("location").unwrap_or_default();
    if location.is_empty()
        || location == "."
        || location.contains(char::is_control)
        || location.len() > MAX_LOCATION
    {
        return Err(format!("has its data in a file that cannot be: {}", quoted(location)));
    }
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if let Some(length) = length.filter(|length| tensor.kind != STRING && *length != bytes) {
        return Err(format!("has {length} bytes elsewhere where its shape needs {bytes}"));
    }
    let end = offset.checked_add(length.unwrap_or(bytes)).filter(|end| i64::try_from(*end).is_ok());
    let end = end.ok_or_else(|| "ends beyond any file".to_owned())?;
    Ok((location.to_owned(), end))
}
