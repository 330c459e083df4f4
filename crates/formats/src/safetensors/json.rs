//! The JSON of a header, read as a stream: what is not kept never lies in memory, deep nesting ends in an error.

use std::fmt;
use std::io::{self, BufReader, Read};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{Range, Tensor};
use crate::{Error, Input, Warnings, quoted};

/// Bytes of memory for tensors: some 160,000 of them, three times the most ever seen.
const MAX_TENSORS: usize = 32 << 20;

/// Bytes of memory that a name, a shape and a type cost beside their own.
const OVERHEAD: usize = 96;

/// No framework has more.
const MAX_DIMS: usize = 64;

/// Kept of one metadata value: enough for all but thumbnails and tag counts.
const MAX_VALUE: usize = 64 << 10;

/// Kept of all metadata.
const MAX_METADATA: usize = 1 << 20;

/// serde_json holds one string at a time in memory, so strings have a limit of their own.
const MAX_STRING: usize = 16 << 20;

/// As serde_json's own limit, which does not hold for what it skips.
const MAX_DEPTH: usize = 128;

const BUFFER: usize = 64 << 10;

#[derive(Default)]
pub(super) struct Parsed {
    pub(super) metadata: Vec<(String, String)>,
    pub(super) entries: Vec<(Tensor, Range)>,
    pub(super) warnings: Warnings,
    has_metadata: bool,
    metadata_kept: usize,
    tensors_kept: usize,
    /// Why reading stopped, where it was not for the JSON.
    refusal: Option<Error>,
}

pub(super) fn read(input: &mut impl Input, at: u64, end: u64) -> Result<Parsed, Error> {
    let mut parsed = Parsed::default();
    if input.view(at, 1)?.first() != Some(&b'{') {
        parsed.warnings.push("the header does not begin with a brace".to_owned());
    }
    let body = Body { input, at, end, open: Open::default() };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(BUFFER, body));
    let result = Entries(&mut parsed).deserialize(&mut json).and_then(|()| json.end());
    match (parsed.refusal.take(), result) {
        (Some(refusal), _) => Err(refusal),
        (None, Ok(())) => Ok(parsed),
        (None, Err(error)) => Err(refusal(error, at)),
    }
}

fn refusal(error: serde_json::Error, at: u64) -> Error {
    if error.is_io() {
        let error = io::Error::from(error);
        let kind = error.kind();
        if kind == io::ErrorKind::FileTooLarge {
            return Error::TooLarge { what: "one string".to_owned(), limit: MAX_STRING as u64 };
        }
        if kind == io::ErrorKind::UnexpectedEof {
            return Error::Truncated { at };
        }
        if kind == io::ErrorKind::InvalidData {
            return Error::Corrupt {
                what: format!("the header's JSON is nested more than {MAX_DEPTH} deep"),
                at,
            };
        }
        return Error::Io(error);
    }
    // serde_json counts columns; a header is one line unless someone wrote it by hand.
    let column = if error.line() == 1 { error.column() } else { 0 };
    Error::Corrupt {
        what: format!("the header's JSON is broken: {}", plain(&error.to_string())),
        at: at + column as u64,
    }
}

/// What serde_json says in Rust's words, without its lines and columns.
fn plain(error: &str) -> String {
    let error = error.split(" at line ").next().unwrap_or_default();
    let found = error.strip_prefix("invalid type: ").or_else(|| error.strip_prefix("invalid value: "));
    match found.and_then(|found| found.split_once(", expected ")) {
        Some((found, wanted)) => {
            let found = found.replace("floating point", "the number").replace("integer", "the number");
            let wanted = match wanted {
                "u64" | "usize" => "a whole number",
                "a sequence" => "a list",
                other => other,
            };
            format!("there is {found} where {wanted} should be")
        }
        None => error.to_owned(),
    }
}

/// The bytes of the JSON, watched for what serde_json would hold in memory.
struct Body<'a, I> {
    input: &'a mut I,
    at: u64,
    end: u64,
    open: Open,
}

/// What has been opened and not yet closed.
#[derive(Clone, Copy, Default)]
struct Open {
    brackets: usize,
    in_string: bool,
    is_escaped: bool,
    string_len: usize,
}

impl Open {
    fn read(mut self, bytes: &[u8]) -> io::Result<Self> {
        for byte in bytes {
            if self.in_string {
                self.string_len += 1;
                self.in_string = self.is_escaped || *byte != b'"';
                self.is_escaped = !self.is_escaped && *byte == b'\\';
                continue;
            }
            match byte {
                b'"' => (self.in_string, self.string_len) = (true, 0),
                b'[' | b'{' if self.brackets == MAX_DEPTH => return Err(io::ErrorKind::InvalidData.into()),
                b'[' | b'{' => self.brackets += 1,
                b']' | b'}' => self.brackets = self.brackets.saturating_sub(1),
                _ => {}
            }
        }
        // A string that ended here is no longer than a buffer.
        if self.in_string && self.string_len > MAX_STRING {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(self)
    }
}

impl<I: Input> Read for Body<'_, I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let window = self.input.view(self.at, left)?;
        let n = window.len().min(left);
        let (Some(to), Some(from)) = (buffer.get_mut(..n), window.get(..n)) else { return Ok(0) };
        to.copy_from_slice(from);
        self.at += n as u64;
        // The input has become shorter since its length was taken.
        if n == 0 && left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.open = self.open.read(buffer.get(..n).unwrap_or_default())?;
        Ok(n)
    }
}

/// The whole object.
struct Entries<'a>(&'a mut Parsed);

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let parsed = self.0;
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                if std::mem::replace(&mut parsed.has_metadata, true) {
                    return Err(A::Error::custom("__metadata__ is there twice"));
                }
                map.next_value_seed(Metadata(parsed))?;
                continue;
            }
            let Entry { dtype, shape, data_offsets } = map.next_value()?;
            parsed.tensors_kept +=
                size_of::<(Tensor, Range)>() + OVERHEAD + name.len() + size_of_val(shape.as_slice());
            let entry = if parsed.tensors_kept > MAX_TENSORS {
                Err(Error::TooLarge { what: "tensors".to_owned(), limit: MAX_TENSORS as u64 })
            } else {
                super::tensor(name, dtype, shape, data_offsets)
            };
            match entry {
                Ok(entry) => parsed.entries.push(entry),
                Err(error) => {
                    parsed.refusal = Some(error);
                    return Err(A::Error::custom("refused"));
                }
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    #[serde(deserialize_with = "shape")]
    shape: Vec<u64>,
    data_offsets: Range,
}

fn shape<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<u64>, D::Error> {
    json.deserialize_seq(Shape)
}

struct Shape;

impl<'de> Visitor<'de> for Shape {
    type Value = Vec<u64>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "at most {MAX_DIMS} dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u64>, A::Error> {
        let mut dims = Vec::new();
        while let Some(dim) = seq.next_element()? {
            if dims.len() == MAX_DIMS {
                return Err(A::Error::invalid_length(MAX_DIMS + 1, &self));
            }
            dims.push(dim);
        }
        Ok(dims)
    }
}

/// `__metadata__`: strings, or null, which the reference reader takes for none.
struct Metadata<'a>(&'a mut Parsed);

impl<'de> DeserializeSeed<'de> for Metadata<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of strings")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.warnings.push("__metadata__ is null".to_owned());
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let (value, cut) = map.next_value_seed(Capped)?;
            let parsed = &mut *self.0;
            let cost = size_of::<(String, String)>() + key.len() + value.len();
            if parsed.metadata_kept + cost > MAX_METADATA {
                parsed.warnings.push(format!("the metadata {} is left out: there is too much", quoted(&key)));
                continue;
            }
            if cut {
                parsed.warnings.push(format!(
                    "only the first {MAX_VALUE} bytes of the metadata {} are kept",
                    quoted(&key)
                ));
            }
            parsed.metadata_kept += cost;
            parsed.metadata.push((key, value));
        }
        Ok(())
    }
}

/// The start of a string, and whether there was more.
struct Capped;

impl<'de> DeserializeSeed<'de> for Capped {
    type Value = (String, bool);

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Capped {
    type Value = (String, bool);

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        let kept = text.floor_char_boundary(MAX_VALUE);
        Ok((text.get(..kept).unwrap_or(text).to_owned(), kept < text.len()))
    }
}
