//! GGUF v2 and v3 headers (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
//! Vocabularies are told apart and skipped, tensor infos are kept.

mod tensor;
mod tensor_type;
mod value;

#[cfg(test)]
mod build;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

pub use tensor::Tensor;
pub use tensor_type::TensorType;
use value::Kind;
pub use value::Value;

use crate::cursor::{Cursor, Text};
use crate::{Error, Input, Warnings, quoted};

/// A read header. Its counts, offsets and sizes have been checked against each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    pub version: u32,
    pub byte_order: ByteOrder,
    /// `general.alignment`, bytes.
    pub alignment: u64,
    /// Key-value pairs in file order; keys are unique.
    pub metadata: Vec<(String, Value)>,
    pub tensors: Vec<Tensor>,
    /// Where tensor data starts, bytes from the start of the file.
    pub data_start: u64,
    /// Where the last tensor ends, bytes from the start of the file; after its padding if the file has any of that.
    /// More than the file's length: data is missing.
    pub data_end: u64,
    /// Of two files of one byte order equal for equal lists of tokens, and hardly ever for others; no proof. None
    /// without tokens.
    pub vocabulary: Option<u64>,
    /// What is odd but readable.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    Little,
    Big,
}

/// The largest real ones, with vocabularies of 262,144 tokens, have 16 MiB.
const MAX_HEADER: u64 = 128 << 20;

/// Real models have under a hundred keys.
const MAX_KEYS: u64 = 65_536;

/// Bytes of memory for keys and values; templates and licences, the largest, are below 100 KiB.
const MAX_METADATA: usize = 16 << 20;

/// Bytes of memory for tensor infos: some 250,000 of them, five times the most ever seen.
const MAX_TENSORS: usize = 32 << 20;

/// What an allocation costs beside its bytes.
const OVERHEAD: usize = 32;

/// Padding of tensor data; llama.cpp writes 32, and nothing gains by more than a page.
const MAX_ALIGNMENT: u64 = 64 << 10;

const DEFAULT_ALIGNMENT: u64 = 32;

/// Least bytes of a key-value pair: length of the key, type, one byte of value.
const MIN_PAIR: u64 = 8 + 4 + 1;

/// Least bytes of a tensor info: length of the name, number of dimensions, type, offset.
const MIN_TENSOR: u64 = 8 + 4 + 4 + 8;

/// Reads a header.
pub fn parse(input: &mut impl Input) -> Result<Header, Error> {
    check_magic(input)?;
    let len = input.len();
    let mut cursor = Cursor::new(input, MAX_HEADER);
    cursor.skip(4, 1)?;
    let (version, byte_order) = version(cursor.u32()?)?;
    if byte_order == ByteOrder::Big {
        cursor.read_big_endian();
    }
    let mut reader =
        Reader { cursor, warnings: Warnings::default(), vocabulary: None, metadata_kept: 0, tensors_kept: 0 };
    let (n_tensors, n_keys) = reader.counts()?;
    let metadata = reader.metadata(n_keys)?;
    let alignment = reader.alignment(&metadata)?;
    let tensors = reader.tensors(n_tensors, alignment)?;
    reader.check_unique("key", metadata.iter().map(|(key, _)| key.as_str()))?;
    reader.check_unique("tensor", tensors.iter().map(|tensor| tensor.name.as_str()))?;
    let (data_start, mut data_end) = reader.data(&tensors, alignment)?;
    let padded_end = data_end.next_multiple_of(alignment);
    if !tensors.is_empty() && padded_end < len {
        reader.warnings.push(format!("{} bytes after the last tensor", len - padded_end));
    } else if !tensors.is_empty() && data_end < len {
        // Writers pad the last tensor whole or not at all: with part of the padding, the file was cut.
        data_end = padded_end;
    }
    let (vocabulary, warnings) = (reader.vocabulary, reader.warnings.0);
    Ok(Header {
        version,
        byte_order,
        alignment,
        metadata,
        tensors,
        data_start,
        data_end,
        vocabulary,
        warnings,
    })
}

impl Header {
    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Returns how many bytes of tensor data a file of `len` bytes lacks.
    pub fn missing_bytes(&self, len: u64) -> u64 {
        self.data_end.saturating_sub(len)
    }
}

fn check_magic(input: &mut impl Input) -> Result<(), Error> {
    const MAGIC: &[u8] = b"GGUF";
    let head = input.view(0, MAGIC.len())?;
    if head.starts_with(MAGIC) {
        return Ok(());
    }
    if MAGIC.starts_with(head) {
        return Err(Error::Truncated { at: head.len() as u64 });
    }
    Err(Error::BadMagic { expected: "GGUF" })
}

fn version(version: u32) -> Result<(u32, ByteOrder), Error> {
    let what = match (version, version.swap_bytes()) {
        (2 | 3, _) => return Ok((version, ByteOrder::Little)),
        // Byte orders were introduced with version 3.
        (_, 3) => return Ok((3, ByteOrder::Big)),
        (1, _) => "GGUF v1, which llama.cpp no longer reads".to_owned(),
        _ => format!("GGUF version {version}"),
    };
    Err(Error::Unsupported { what })
}

struct Reader<'a, I> {
    cursor: Cursor<'a, I>,
    warnings: Warnings,
    vocabulary: Option<u64>,
    metadata_kept: usize,
    tensors_kept: usize,
}

impl<I: Input> Reader<'_, I> {
    fn counts(&mut self) -> Result<(u64, u64), Error> {
        let n_tensors = self.cursor.u64()?;
        let n_keys = self.cursor.u64()?;
        self.cursor.need(n_tensors, MIN_TENSOR)?;
        self.cursor.need(n_keys, MIN_PAIR)?;
        if n_keys > MAX_KEYS {
            return Err(Error::TooLarge { what: format!("{n_keys} keys"), limit: MAX_HEADER });
        }
        Ok((n_tensors, n_keys))
    }

    fn metadata(&mut self, count: u64) -> Result<Vec<(String, Value)>, Error> {
        let mut metadata = Vec::new();
        for n in 0..count {
            let key = self.cursor.text()?;
            if key.is_cut() || key.len == 0 {
                return self.cursor.corrupt(format!("key {n} is {} bytes long", key.len));
            }
            let Text { text: key, replaced, .. } = key;
            if replaced {
                self.warnings.push(format!("the key {} is not UTF-8", quoted(&key)));
            }
            self.keep(size_of::<(String, Value)>() + key.len())?;
            let kind = self.kind(&key)?;
            if key == "general.alignment" && kind != Kind::U32 {
                return self.cursor.corrupt(format!("general.alignment is of type {kind:?}, not U32"));
            }
            let value = self.value(&key, kind)?;
            metadata.push((key, value));
        }
        Ok(metadata)
    }

    fn alignment(&self, metadata: &[(String, Value)]) -> Result<u64, Error> {
        let value = metadata.iter().find(|(key, _)| key == "general.alignment");
        let alignment = value.and_then(|(_, value)| value.as_u64()).unwrap_or(DEFAULT_ALIGNMENT);
        if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
            return self.cursor.corrupt(format!("an alignment of {alignment}"));
        }
        Ok(alignment)
    }

    fn check_unique<'n>(&self, what: &str, names: impl Iterator<Item = &'n str>) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for name in names {
            if !seen.insert(name) {
                return self.cursor.corrupt(format!("the {what} {} is there twice", quoted(name)));
            }
        }
        Ok(())
    }

    /// Returns where tensor data starts and ends.
    fn data(&self, tensors: &[Tensor], alignment: u64) -> Result<(u64, u64), Error> {
        let header_end = self.cursor.at();
        let start = header_end.next_multiple_of(alignment);
        // Without data there is nothing that the padding would align: a vocabulary may end with its header.
        let Some(last) = tensors.iter().rfind(|tensor| tensor.size > 0) else {
            return Ok((start, header_end));
        };
        let end = last.offset.checked_add(last.size).and_then(|end| start.checked_add(end));
        let Some(end) = end.filter(|end| i64::try_from(*end).is_ok()) else {
            return self.cursor.corrupt("the tensors are larger than any file");
        };
        Ok((start, end))
    }

    fn keep(&mut self, bytes: usize) -> Result<(), Error> {
        self.metadata_kept += bytes + OVERHEAD;
        within(self.metadata_kept, MAX_METADATA, "metadata")
    }

    fn keep_tensor(&mut self, bytes: usize) -> Result<(), Error> {
        self.tensors_kept += bytes + OVERHEAD;
        within(self.tensors_kept, MAX_TENSORS, "tensor infos")
    }
}

fn within(kept: usize, limit: usize, what: &str) -> Result<(), Error> {
    if kept > limit {
        return Err(Error::TooLarge { what: what.to_owned(), limit: limit as u64 });
    }
    Ok(())
}
