//! Graphs and what they are made of: nodes, and graphs within nodes to a fixed depth.

use super::{MAX_COMPARED, MAX_COMPARED_NAME, MAX_NAME, MAX_TEXT, Model, keep, tensor};
use crate::port::Port;
use crate::protobuf::{Span, Value};
use crate::{Error, Input, quoted};

/// Branches within branches; protobuf's own limit of 100 messages is about as deep.
const DEEPEST: usize = 32;
/// Dimensions of one value; ONNX has no limit, tensors of more than eight are unheard of.
const MAX_DIMS: usize = 32;

impl<I: Input> Model<'_, I> {
    /// `GraphProto`.
    pub(super) fn graph(&mut self, mut message: Span, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(Error::Unsupported { what: format!("graphs in more than {DEEPEST} others") });
        }
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Bytes(node)) => self.node(node, depth)?,
                (2, Value::Bytes(text)) if depth == 0 => {
                    self.header.graph = self.reader.text(text, MAX_TEXT)?;
                }
                (5, Value::Bytes(tensor)) => {
                    let name = self.tensor(tensor)?;
                    if depth == 0 {
                        self.note_name(name);
                    }
                }
                (11, Value::Bytes(value)) if depth == 0 => {
                    let port = self.value(value)?;
                    keep(&mut self.header.inputs, port);
                }
                (12, Value::Bytes(value)) if depth == 0 => {
                    let port = self.value(value)?;
                    keep(&mut self.header.outputs, port);
                }
                (15, Value::Bytes(sparse)) => self.sparse(sparse)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn note_name(&mut self, name: String) {
        if self.names.len() >= MAX_COMPARED || name.len() > MAX_COMPARED_NAME {
            return;
        }
        if self.names.contains(&name) {
            self.warnings.push(format!("the initializer {} is there twice", quoted(&name)));
        }
        self.names.insert(name);
    }

    /// `FunctionProto`: its nodes are operators like others.
    pub(super) fn function(&mut self, mut message: Span) -> Result<(), Error> {
        while let Some(field) = self.reader.next(&mut message)? {
            if let (7, Value::Bytes(node)) = field {
                self.node(node, 0)?;
            }
        }
        Ok(())
    }

    /// `NodeProto`.
    fn node(&mut self, mut message: Span, depth: usize) -> Result<(), Error> {
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (4, Value::Bytes(text)) => {
                    let kind = self.reader.text(text, MAX_NAME)?;
                    self.operators.add(&kind);
                }
                (5, Value::Bytes(attribute)) => self.attribute(attribute, depth)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `AttributeProto`: weights of `Constant`, branches of `If`, bodies of `Loop` and `Scan`.
    fn attribute(&mut self, mut message: Span, depth: usize) -> Result<(), Error> {
        let (mut is_bits, mut number) = (false, None);
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Bytes(text)) => is_bits = text.len() == 4 && self.reader.text(text, 4)? == "bits",
                (3, Value::Varint(value)) => number = Some(value),
                (5 | 10, Value::Bytes(tensor)) => drop(self.tensor(tensor)?),
                (6 | 11, Value::Bytes(graph)) => self.graph(graph, depth + 1)?,
                (22 | 23, Value::Bytes(sparse)) => self.sparse(sparse)?,
                _ => {}
            }
        }
        if let (true, Some(bits)) = (is_bits, number)
            && (1..=8).contains(&bits)
            && !self.header.packed_bits.contains(&bits)
        {
            self.header.packed_bits.push(bits);
        }
        Ok(())
    }

    /// `SparseTensorProto`: values and indices.
    fn sparse(&mut self, mut message: Span) -> Result<(), Error> {
        while let Some(field) = self.reader.next(&mut message)? {
            if let (1 | 2, Value::Bytes(tensor)) = field {
                drop(self.tensor(tensor)?);
            }
        }
        Ok(())
    }

    /// `ValueInfoProto`, of which tensors and sequences of them have a shape.
    fn value(&mut self, mut message: Span) -> Result<Port, Error> {
        let mut port = Port::default();
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Bytes(text)) => port.name = self.reader.text(text, MAX_NAME)?,
                (2, Value::Bytes(kind)) => self.value_type(kind, &mut port)?,
                _ => {}
            }
        }
        Ok(port)
    }

    /// `TypeProto`.
    fn value_type(&mut self, mut message: Span, port: &mut Port) -> Result<(), Error> {
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1 | 8, Value::Bytes(tensor)) => self.tensor_type(tensor, port)?,
                (4, Value::Bytes(_)) => port.dtype = Some("sequence".to_owned()),
                (5, Value::Bytes(_)) => port.dtype = Some("map".to_owned()),
                (9, Value::Bytes(_)) => port.dtype = Some("optional".to_owned()),
                _ => {}
            }
        }
        Ok(())
    }

    /// `TypeProto.Tensor`.
    fn tensor_type(&mut self, mut message: Span, port: &mut Port) -> Result<(), Error> {
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Varint(kind)) => port.dtype = tensor::dtype(kind).map(|(name, _)| name.to_owned()),
                (2, Value::Bytes(shape)) => port.shape = Some(self.shape(shape)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// `TensorShapeProto`.
    fn shape(&mut self, mut message: Span) -> Result<Vec<String>, Error> {
        let mut shape = Vec::new();
        while let Some(field) = self.reader.next(&mut message)? {
            if let (1, Value::Bytes(dim)) = field {
                let dim = self.dim(dim)?;
                if shape.len() < MAX_DIMS {
                    shape.push(dim);
                }
            }
        }
        Ok(shape)
    }

    fn dim(&mut self, mut message: Span) -> Result<String, Error> {
        const SHOWN: usize = 64;
        let mut dim = "?".to_owned();
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Varint(value)) => dim = value.cast_signed().to_string(),
                (2, Value::Bytes(symbol)) if symbol.len() > 0 => dim = self.reader.text(symbol, SHOWN)?,
                _ => {}
            }
        }
        Ok(dim)
    }
}
