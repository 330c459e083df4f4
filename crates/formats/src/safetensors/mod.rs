//! safetensors headers (<https://github.com/huggingface/safetensors>).
//! Refuses what the reference reader refuses: holes, overlaps and bytes after the last tensor.

mod json;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::{Error, Input, quoted};

/// A read header: offsets are contiguous and cover the data exactly, as the reference reader demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// `__metadata__`, in file order.
    pub metadata: Vec<(String, String)>,
    pub tensors: Vec<Tensor>,
    /// Where tensor data starts, bytes from the start of the file.
    pub data_start: u64,
    /// Where the last tensor ends, bytes from the start of the file. More than the file's length: data is missing.
    pub data_end: u64,
    /// What is odd but readable.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    /// As the file writes it: `F16`, `BF16`, `F8_E4M3`; only ever one whose width is known.
    pub dtype: String,
    /// Elements per dimension, slowest first.
    pub shape: Vec<u64>,
    /// Bytes of data.
    pub size: u64,
}

/// The reference reader's limit, bytes of JSON.
pub(crate) const MAX_HEADER: u64 = 100_000_000;

/// Memory for tensors ends long before; what else could fill so much JSON would only take time (half a second).
const MAX_READ: u64 = 48 << 20;

/// Bytes in front of the JSON: its length.
const PREFIX: u64 = 8;

/// Names and bits of one element, from the reference reader 0.8.
const DTYPES: [(&str, u64); 22] = [
    ("BOOL", 8),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("C64", 64),
    ("F64", 64),
    ("I64", 64),
    ("U64", 64),
];

/// Reads a header.
pub fn parse(input: &mut impl Input) -> Result<Header, Error> {
    let len = input.len();
    let data_start = data_start(input)?;
    let json::Parsed { metadata, entries, warnings, .. } = json::read(input, PREFIX, data_start)?;
    let data_end = check_offsets(&entries, data_start)?;
    if data_end < len {
        return corrupt(format!("{} bytes after the last tensor", len - data_end), data_end);
    }
    let tensors: Vec<Tensor> = entries.into_iter().map(|(tensor, _)| tensor).collect();
    Ok(Header { metadata, tensors, data_start, data_end, warnings: warnings.0 })
}

impl Header {
    /// Returns how many bytes of tensor data a file of `len` bytes lacks.
    pub fn missing_bytes(&self, len: u64) -> u64 {
        self.data_end.saturating_sub(len)
    }
}

fn corrupt<T>(what: impl Into<String>, at: u64) -> Result<T, Error> {
    Err(Error::Corrupt { what: what.into(), at })
}

/// Returns where the JSON ends.
fn data_start(input: &mut impl Input) -> Result<u64, Error> {
    let len = input.len();
    let head = input.view(0, 9)?;
    let Some((prefix, json)) = head.split_first_chunk() else {
        return Err(Error::Truncated { at: head.len() as u64 });
    };
    let n = u64::from_le_bytes(*prefix);
    if n > MAX_HEADER {
        // A length that cannot be and no JSON behind it: text, or another format.
        if json.first().is_some_and(|byte| *byte != b'{') {
            return Err(Error::BadMagic { expected: "safetensors" });
        }
        if i64::try_from(n).is_err() {
            return corrupt(format!("a header of {n} bytes"), 0);
        }
        return Err(Error::TooLarge { what: format!("it says {n} bytes"), limit: MAX_HEADER });
    }
    if n == 0 {
        return corrupt("an empty header", 0);
    }
    let data_start = PREFIX + n;
    if data_start > len {
        return Err(Error::Truncated { at: len });
    }
    if n > MAX_READ {
        return Err(Error::TooLarge { what: format!("it has {n} bytes"), limit: MAX_READ });
    }
    Ok(data_start)
}

/// Where an entry's data begins and ends, bytes from the end of the JSON.
type Range = (u64, u64);

/// Returns where the data ends in the file.
fn check_offsets(entries: &[(Tensor, Range)], data_start: u64) -> Result<u64, Error> {
    let mut seen = HashSet::new();
    if let Some((tensor, _)) = entries.iter().find(|(tensor, _)| !seen.insert(tensor.name.as_str())) {
        return corrupt(format!("the tensor {} is there twice", quoted(&tensor.name)), PREFIX);
    }
    let mut order: Vec<_> = entries.iter().map(|(tensor, range)| (*range, tensor)).collect();
    order.sort_unstable_by_key(|(range, _)| *range);
    let mut data_end = 0;
    for ((begin, end), tensor) in order {
        if begin != data_end {
            let what =
                if begin < data_end { "shares bytes with another" } else { "comes after bytes of no tensor" };
            return corrupt(format!("tensor {} {what}", quoted(&tensor.name)), data_start);
        }
        data_end = end;
    }
    match data_start.checked_add(data_end) {
        Some(data_end) => Ok(data_end),
        None => corrupt("the tensors are larger than any file", PREFIX),
    }
}

/// Checks one entry on its own; the error says what is wrong with the tensor.
fn tensor(
    name: String,
    dtype: String,
    shape: Vec<u64>,
    (begin, end): Range,
) -> Result<(Tensor, Range), Error> {
    let Some((_, bits)) = DTYPES.iter().find(|(name, _)| *name == dtype) else {
        let what = format!("tensor {} is of the unknown type {}", quoted(&name), quoted(&dtype));
        return Err(Error::Unsupported { what });
    };
    let wrong = |what: &str| corrupt(format!("tensor {} {what}", quoted(&name)), PREFIX);
    let Some(size) = end.checked_sub(begin) else { return wrong("ends before it begins") };
    let n_bits = shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
    let Some(n_bits) = n_bits.and_then(|elements| elements.checked_mul(*bits)) else {
        return wrong("is larger than any memory");
    };
    if !n_bits.is_multiple_of(8) || n_bits / 8 != size {
        return wrong("has a shape that does not fit its bytes");
    }
    Ok((Tensor { name, dtype, shape, size }, (begin, end)))
}
