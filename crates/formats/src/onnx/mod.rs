//! ONNX models (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>).
//! Opens no file that a model names: where its data lies is told, and for the caller to look at.

mod graph;
mod tensor;
#[cfg(test)]
mod tests;

use crate::port::{External, Port, Size, Tally, TypeCount};
use crate::protobuf::{Reader, Span, Value};
use crate::{Error, Input, Warnings};
use std::collections::{BTreeMap, HashSet};

/// What a model says before its weights.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Version of the file's own layout.
    pub ir_version: u64,
    pub producer: String,
    pub producer_version: String,
    pub domain: String,
    pub model_version: i64,
    /// Its start, at most 4 KiB.
    pub doc: String,
    /// Operator sets by domain; empty is `ai.onnx`.
    pub opsets: Vec<(String, u64)>,
    pub graph: String,
    /// Without those that have a default among the weights.
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Operators, the most frequent first.
    pub operators: Vec<(String, u64)>,
    /// `bits` of the `MatMulNBits` operators, each once.
    pub packed_bits: Vec<u64>,
    /// The weights.
    pub types: Vec<TypeCount>,
    /// `metadata_props`, in file order; values at most 4 KiB.
    pub metadata: Vec<(String, String)>,
    /// Files that hold weights, each once.
    pub external: Vec<External>,
    /// What is odd but readable.
    pub warnings: Vec<String>,
}

/// The newest layout whose fields are known here, of onnx 1.23.
const NEWEST_IR: u64 = 14;
/// From this layout on, operator sets are named.
const IR_WITH_OPSETS: u64 = 3;
/// Bytes of a text that are kept.
const MAX_TEXT: usize = 4 << 10;
/// Bytes of a name; torch writes whole module paths.
const MAX_NAME: usize = 4 << 10;
/// What is kept of each kind of list.
const MAX_LISTED: usize = 1024;
/// Initializers whose names are compared.
const MAX_COMPARED: usize = 1 << 16;
/// Bytes of a name that is compared.
const MAX_COMPARED_NAME: usize = 512;

/// Reads a model's header and walks its graph; the weights themselves are skipped.
pub fn parse(input: &mut impl Input) -> Result<Header, Error> {
    let mut model = Model::new(input);
    model.read()?;
    Ok(model.finish())
}

struct Model<'a, I> {
    reader: Reader<'a, I>,
    header: Header,
    operators: Tally<u64>,
    types: Tally<Size>,
    external: BTreeMap<String, u64>,
    names: HashSet<String>,
    warnings: Warnings,
    has_graph: bool,
}

impl<'a, I: Input> Model<'a, I> {
    fn new(input: &'a mut I) -> Self {
        Self {
            reader: Reader::new(input),
            header: Header::default(),
            operators: Tally::default(),
            types: Tally::default(),
            external: BTreeMap::new(),
            names: HashSet::new(),
            warnings: Warnings::default(),
            has_graph: false,
        }
    }

    fn read(&mut self) -> Result<(), Error> {
        let mut message = self.reader.whole();
        let len = message.end;
        while let Some(field) = self.reader.next(&mut message)? {
            self.field(field)?;
        }
        let version = self.header.ir_version;
        // A file that ends between two fields is whole as far as protobuf knows.
        if version == 0 || !self.has_graph || (version >= IR_WITH_OPSETS && self.header.opsets.is_empty()) {
            return Err(Error::Truncated { at: len });
        }
        if i64::try_from(version).is_err() {
            return Err(Error::Corrupt { what: "a negative IR version".to_owned(), at: 0 });
        }
        if version > NEWEST_IR {
            self.warnings.push(format!("IR version {version}, the newest known here is {NEWEST_IR}"));
        }
        Ok(())
    }

    fn field(&mut self, field: (u64, Value)) -> Result<(), Error> {
        match field {
            (1, Value::Varint(version)) => self.header.ir_version = version,
            (2, Value::Bytes(text)) => self.header.producer = self.reader.text(text, MAX_TEXT)?,
            (3, Value::Bytes(text)) => self.header.producer_version = self.reader.text(text, MAX_TEXT)?,
            (4, Value::Bytes(text)) => self.header.domain = self.reader.text(text, MAX_TEXT)?,
            (5, Value::Varint(version)) => self.header.model_version = version.cast_signed(),
            (6, Value::Bytes(text)) => self.header.doc = self.reader.text(text, MAX_TEXT)?,
            (7, Value::Bytes(graph)) => {
                self.has_graph = true;
                self.graph(graph, 0)?;
            }
            (8, Value::Bytes(opset)) => {
                let opset = self.opset(opset)?;
                keep(&mut self.header.opsets, opset);
            }
            (14, Value::Bytes(entry)) => {
                let entry = self.entry(entry)?;
                keep(&mut self.header.metadata, entry);
            }
            (25, Value::Bytes(function)) => self.function(function)?,
            // In a field that is known, bytes where a number belongs: another message altogether.
            (1..=8 | 14 | 25, _) => return Err(Error::BadMagic { expected: "ONNX" }),
            _ => {}
        }
        Ok(())
    }

    /// `OperatorSetIdProto`.
    fn opset(&mut self, mut message: Span) -> Result<(String, u64), Error> {
        let mut opset = (String::new(), 0);
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Bytes(text)) => opset.0 = self.reader.text(text, MAX_TEXT)?,
                (2, Value::Varint(version)) => opset.1 = version,
                _ => {}
            }
        }
        Ok(opset)
    }

    /// `StringStringEntryProto`.
    fn entry(&mut self, mut message: Span) -> Result<(String, String), Error> {
        let mut entry = (String::new(), String::new());
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Bytes(text)) => entry.0 = self.reader.text(text, MAX_TEXT)?,
                (2, Value::Bytes(text)) => entry.1 = self.reader.text(text, MAX_TEXT)?,
                _ => {}
            }
        }
        Ok(entry)
    }

    fn finish(mut self) -> Header {
        let names = std::mem::take(&mut self.names);
        // Before IR 4 every weight is an input too, which nobody has to give.
        self.header.inputs.retain(|port| !names.contains(&port.name));
        let external = self.external.into_iter();
        Header {
            operators: self.operators.sorted(),
            types: self.types.counts(),
            external: external.map(|(location, end)| External { location, end }).collect(),
            warnings: self.warnings.0,
            ..self.header
        }
    }
}

/// A hostile file may have millions of anything.
fn keep<T>(list: &mut Vec<T>, item: T) {
    if list.len() < MAX_LISTED {
        list.push(item);
    }
}
