//! Metadata values. Vocabularies are walked over, small arrays are kept.

use super::Reader;
use crate::cursor::Text;
use crate::digest::Digest;
use crate::{Error, Input, quoted};

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    /// At most 1 MiB is kept; `Header::warnings` says when there was more.
    String(String),
    /// `items` is empty where the array is a vocabulary or longer than is kept; `len` is what the file says.
    Array {
        len: u64,
        items: Vec<Value>,
    },
}

impl Value {
    /// Returns the number if it is an integer of any width that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(n) => Some(*n),
            Self::Signed(n) => u64::try_from(*n).ok(),
            Self::Float(_) | Self::Bool(_) | Self::String(_) | Self::Array { .. } => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }
}

/// Numbers per layer are kept (hybrid models have arrays of head counts); no model has more layers.
const KEPT_NUMBERS: u64 = 1024;

/// Tags, languages and base models are kept.
const KEPT_STRINGS: u64 = 64;

/// The texts of all tokens.
const VOCABULARY: &str = "tokenizer.ggml.tokens";

/// `enum gguf_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

const KINDS: [Kind; 13] = [
    Kind::U8,
    Kind::I8,
    Kind::U16,
    Kind::I16,
    Kind::U32,
    Kind::I32,
    Kind::F32,
    Kind::Bool,
    Kind::String,
    Kind::Array,
    Kind::U64,
    Kind::I64,
    Kind::F64,
];

impl Kind {
    /// Bytes of one item; of strings and arrays the least that one takes.
    fn width(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::String | Self::U64 | Self::I64 | Self::F64 => 8,
            Self::Array => 12,
        }
    }
}

impl<I: Input> Reader<'_, I> {
    pub(super) fn kind(&mut self, key: &str) -> Result<Kind, Error> {
        let id = self.cursor.u32()?;
        let Some(kind) = usize::try_from(id).ok().and_then(|id| KINDS.get(id)) else {
            return self.cursor.corrupt(format!("{} has the unknown value type {id}", quoted(key)));
        };
        Ok(*kind)
    }

    pub(super) fn value(&mut self, key: &str, kind: Kind) -> Result<Value, Error> {
        match kind {
            Kind::Array => self.array(key),
            Kind::String => self.string(key).map(Value::String),
            Kind::U8
            | Kind::I8
            | Kind::U16
            | Kind::I16
            | Kind::U32
            | Kind::I32
            | Kind::F32
            | Kind::Bool
            | Kind::U64
            | Kind::I64
            | Kind::F64 => self.scalar(key, kind),
        }
    }

    fn scalar(&mut self, key: &str, kind: Kind) -> Result<Value, Error> {
        let cursor = &mut self.cursor;
        Ok(match kind {
            Kind::U8 => Value::Unsigned(u8::from_le_bytes(cursor.take()?).into()),
            Kind::U16 => Value::Unsigned(u16::from_le_bytes(cursor.take()?).into()),
            Kind::U32 => Value::Unsigned(cursor.u32()?.into()),
            Kind::U64 => Value::Unsigned(cursor.u64()?),
            Kind::I8 => Value::Signed(i8::from_le_bytes(cursor.take()?).into()),
            Kind::I16 => Value::Signed(i16::from_le_bytes(cursor.take()?).into()),
            Kind::I32 => Value::Signed(i32::from_le_bytes(cursor.take()?).into()),
            Kind::I64 => Value::Signed(i64::from_le_bytes(cursor.take()?)),
            Kind::F32 => Value::Float(f32::from_le_bytes(cursor.take()?).into()),
            Kind::F64 => Value::Float(f64::from_le_bytes(cursor.take()?)),
            Kind::Bool => {
                let [byte] = cursor.take()?;
                if byte > 1 {
                    self.warnings.push(format!("{} is a bool with the value {byte}", quoted(key)));
                }
                Value::Bool(byte != 0)
            }
            Kind::String | Kind::Array => return cursor.corrupt(format!("{} is no number", quoted(key))),
        })
    }

    fn string(&mut self, key: &str) -> Result<String, Error> {
        let text = self.cursor.text()?;
        if text.is_cut() {
            self.warnings.push(format!("only the first MiB of {} is kept", quoted(key)));
        }
        let Text { text, replaced, .. } = text;
        if replaced {
            self.warnings.push(format!("the value of {} is not UTF-8", quoted(key)));
        }
        self.keep(text.len())?;
        Ok(text)
    }

    fn array(&mut self, key: &str) -> Result<Value, Error> {
        let kind = self.kind(key)?;
        if kind == Kind::Array {
            return Err(Error::Unsupported { what: format!("{} is an array of arrays", quoted(key)) });
        }
        let len = self.cursor.u64()?;
        self.cursor.need(len, kind.width())?;
        let most = if kind == Kind::String { KEPT_STRINGS } else { KEPT_NUMBERS };
        let mut items = Vec::new();
        if len <= most && !key.starts_with("tokenizer.") {
            for _ in 0..len {
                self.keep(size_of::<Value>())?;
                items.push(self.value(key, kind)?);
            }
        } else if kind == Kind::String && key == VOCABULARY {
            let mut digest = Digest::default();
            self.cursor.skip_texts(len, Some(&mut digest))?;
            self.vocabulary = Some(digest.finish());
        } else if kind == Kind::String {
            self.cursor.skip_texts(len, None)?;
        } else {
            self.cursor.skip(len, kind.width())?;
        }
        Ok(Value::Array { len, items })
    }
}
