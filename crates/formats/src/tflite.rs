//! TFLite models, a flatbuffer
//! (<https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs>).
//! Says which tensors go in and come out and where the weights end; refuses none for what it computes.

use crate::flat::{Flat, Table, Vector};
use crate::port::{Port, Size, Tally, TypeCount, bytes_of};
use crate::{Error, Input};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Version of the schema: 3 since 2017.
    pub version: u32,
    pub description: Option<String>,
    /// Of the first graph.
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub graphs: u64,
    pub operators: u64,
    /// Tensors of the graphs that have data.
    pub types: Vec<TypeCount>,
    /// What the model's own metadata says: name, description, version, author, license.
    pub metadata: Vec<(String, String)>,
    /// Where the last of the weights ends, bytes from the start. More than the file's length: data is missing.
    pub data_end: u64,
}

/// A model of more of anything takes only time to walk.
const MAX_WALKED: u64 = 1 << 16;
/// Inputs and outputs that are kept.
const MAX_PORTS: u64 = 256;
const MAX_DIMS: u64 = 32;
const MAX_TEXT: usize = 4 << 10;
/// The name of the metadata that describes the model, and the magic of its flatbuffer.
const DESCRIBED: &str = "TFLITE_METADATA";
const DESCRIPTION: &[u8; 4] = b"M001";

/// Reads a model's header.
pub fn parse(input: &mut impl Input) -> Result<Header, Error> {
    let len = input.len();
    let head = input.view(0, 8)?;
    match head.get(4..8) {
        Some(magic) if magic == b"TFL3" => {}
        Some(_) => return Err(Error::BadMagic { expected: "TFLite" }),
        None => return Err(Error::Truncated { at: len }),
    }
    let mut model = Model { flat: Flat::new(input, 0), header: Header::default(), left: MAX_WALKED };
    let described = model.read()?;
    let mut header = model.header;
    if let Some(at) = described {
        header.metadata = describe(input, at)?;
    }
    Ok(header)
}

impl Header {
    /// Returns how many bytes of weights a file of `len` bytes lacks.
    pub fn missing_bytes(&self, len: u64) -> u64 {
        self.data_end.saturating_sub(len)
    }
}

struct Model<'a, I> {
    flat: Flat<'a, I>,
    header: Header,
    /// Tables that may still be walked.
    left: u64,
}

impl<I: Input> Model<'_, I> {
    /// Returns where the description is, where there is one.
    fn read(&mut self) -> Result<Option<u64>, Error> {
        let root = self.flat.root()?;
        self.header.version = self.flat.number(root, 0)?.map_or(0, u32::from_le_bytes);
        self.header.description = self.flat.text(root, 3, MAX_TEXT)?;
        let buffers = self.flat.vector(root, 4)?;
        let data = self.buffers(buffers)?;
        let graphs = self.flat.vector(root, 2)?;
        self.header.graphs = graphs.map_or(0, |graphs| graphs.len);
        let mut types = Tally::default();
        for no in 0..self.header.graphs {
            let Some(graphs) = graphs else { break };
            let graph = self.flat.at(graphs, no)?;
            self.graph(graph, no == 0, &data, &mut types)?;
        }
        self.header.types = types.counts();
        self.described(root, buffers)
    }

    fn walk(&mut self) -> Result<(), Error> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(Error::TooLarge { what: "too many tables".to_owned(), limit: MAX_WALKED });
        };
        self.left = left;
        Ok(())
    }

    /// Notes where the buffers end; returns which of them have data.
    fn buffers(&mut self, buffers: Option<Vector>) -> Result<Vec<bool>, Error> {
        let mut has_data = Vec::new();
        for no in 0..buffers.map_or(0, |buffers| buffers.len) {
            let Some(buffers) = buffers else { break };
            self.walk()?;
            let buffer = self.flat.at(buffers, no)?;
            let inside = self.flat.vector(buffer, 0)?.map_or((0, 0), |data| (data.at, data.len));
            // Behind the flatbuffer, where the model has more than 2 GiB.
            let offset = self.flat.number(buffer, 1)?.map_or(0, u64::from_le_bytes);
            let size = self.flat.number(buffer, 2)?.map_or(0, u64::from_le_bytes);
            let (at, len) = if offset > 1 { (offset, size) } else { inside };
            let Some(end) = at.checked_add(len).filter(|end| i64::try_from(*end).is_ok()) else {
                return Err(Error::Corrupt {
                    what: "weights that end beyond any file".to_owned(),
                    at: buffers.at,
                });
            };
            self.header.data_end = end.max(self.header.data_end);
            has_data.push(len > 0);
        }
        Ok(has_data)
    }

    fn graph(
        &mut self,
        graph: Table,
        is_first: bool,
        data: &[bool],
        types: &mut Tally<Size>,
    ) -> Result<(), Error> {
        self.walk()?;
        let operators = self.flat.vector(graph, 3)?.map_or(0, |operators| operators.len);
        self.header.operators = self.header.operators.saturating_add(operators);
        let Some(tensors) = self.flat.vector(graph, 0)? else { return Ok(()) };
        for no in 0..tensors.len {
            self.walk()?;
            let tensor = self.flat.at(tensors, no)?;
            let buffer = self.flat.number(tensor, 2)?.map_or(0, u32::from_le_bytes);
            if usize::try_from(buffer).ok().and_then(|at| data.get(at)) == Some(&true) {
                self.count(tensor, types)?;
            }
        }
        if is_first {
            self.header.inputs = self.ports(graph, 1, tensors)?;
            self.header.outputs = self.ports(graph, 2, tensors)?;
        }
        Ok(())
    }

    fn count(&mut self, tensor: Table, types: &mut Tally<Size>) -> Result<(), Error> {
        let kind = self.flat.number(tensor, 1)?.map_or(0, u8::from_le_bytes);
        let shape = self.shape(tensor, 0)?.unwrap_or_default();
        let dims = shape.iter().map(|dim| u64::try_from(*dim).unwrap_or(u64::MAX));
        if let Some((name, bits)) = dtype(kind)
            && let Some((elements, bytes)) = bytes_of(dims, bits)
        {
            types.add(name, elements, bytes);
        }
        Ok(())
    }

    fn shape(&mut self, tensor: Table, no: u64) -> Result<Option<Vec<i32>>, Error> {
        let Some(shape) = self.flat.vector(tensor, no)? else { return Ok(None) };
        let dims = (0..shape.len.min(MAX_DIMS)).map(|dim| self.flat.u32(shape.at + 4 * dim));
        let dims: Result<Vec<i32>, Error> = dims.map(|dim| dim.map(u32::cast_signed)).collect();
        dims.map(Some)
    }

    fn ports(&mut self, graph: Table, no: u64, tensors: Vector) -> Result<Vec<Port>, Error> {
        let Some(list) = self.flat.vector(graph, no)? else { return Ok(Vec::new()) };
        let mut ports = Vec::new();
        for place in 0..list.len.min(MAX_PORTS) {
            let at = u64::from(self.flat.u32(list.at + 4 * place)?);
            if at >= tensors.len {
                return Err(Error::Corrupt { what: format!("tensor {at} of {}", tensors.len), at: list.at });
            }
            let tensor = self.flat.at(tensors, at)?;
            let kind = self.flat.number(tensor, 1)?.map_or(0, u8::from_le_bytes);
            // The signature has -1 where the shape has what the converter chose.
            let shape = match self.shape(tensor, 7)?.filter(|shape| !shape.is_empty()) {
                Some(shape) => Some(shape),
                None => self.shape(tensor, 0)?,
            };
            let dim = |dim: &i32| if *dim < 0 { "?".to_owned() } else { dim.to_string() };
            ports.push(Port {
                name: self.flat.text(tensor, 3, MAX_TEXT)?.unwrap_or_default(),
                dtype: dtype(kind).map(|(name, _)| name.to_owned()),
                shape: shape.map(|shape| shape.iter().map(dim).collect()),
            });
        }
        Ok(ports)
    }

    /// Returns where the buffer with the model's metadata begins.
    fn described(&mut self, root: Table, buffers: Option<Vector>) -> Result<Option<u64>, Error> {
        let Some((list, buffers)) = self.flat.vector(root, 6)?.zip(buffers) else { return Ok(None) };
        for no in 0..list.len {
            self.walk()?;
            let entry = self.flat.at(list, no)?;
            let buffer = self.flat.number(entry, 1)?.map_or(0, u32::from_le_bytes);
            if self.flat.text(entry, 0, DESCRIBED.len())?.as_deref() == Some(DESCRIBED)
                && u64::from(buffer) < buffers.len
            {
                let buffer = self.flat.at(buffers, u64::from(buffer))?;
                return Ok(self.flat.vector(buffer, 0)?.map(|data| data.at));
            }
        }
        Ok(None)
    }
}

/// `ModelMetadata` of tflite-support's metadata_schema.fbs.
fn describe(input: &mut impl Input, at: u64) -> Result<Vec<(String, String)>, Error> {
    if input.view(at, 8)?.get(4..8) != Some(DESCRIPTION) {
        return Ok(Vec::new());
    }
    let mut flat = Flat::new(input, at);
    let root = flat.root()?;
    let mut found = Vec::new();
    for (no, name) in [(0, "name"), (1, "description"), (2, "version"), (4, "author"), (5, "license")] {
        found.extend(flat.text(root, no, MAX_TEXT)?.map(|text| (name.to_owned(), text)));
    }
    Ok(found)
}

/// Returns the name of a `TensorType` as safetensors spell it, and the bits of an element.
fn dtype(number: u8) -> Option<(&'static str, u64)> {
    Some(match number {
        0 => ("F32", 32),
        1 => ("F16", 16),
        2 => ("I32", 32),
        3 => ("U8", 8),
        4 => ("I64", 64),
        5 => ("STRING", 0),
        6 => ("BOOL", 8),
        7 => ("I16", 16),
        8 => ("C64", 64),
        9 => ("I8", 8),
        10 => ("F64", 64),
        11 => ("C128", 128),
        12 => ("U64", 64),
        15 => ("U32", 32),
        16 => ("U16", 16),
        17 => ("I4", 4),
        18 => ("BF16", 16),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slice;

    /// Appends a table of fields that are (number, bytes); returns where it is. Offsets are filled in by `point`.
    fn table(bytes: &mut Vec<u8>, fields: &[(usize, &[u8])]) -> usize {
        let slots = fields.iter().map(|(no, _)| no + 1).max().unwrap_or(0);
        let (mut layout, mut body) = (vec![0_u16; slots], vec![0; 4]);
        for (no, value) in fields {
            layout[*no] = u16::try_from(body.len()).unwrap();
            body.extend_from_slice(value);
        }
        let vtable = bytes.len();
        bytes.extend(u16::try_from(4 + 2 * slots).unwrap().to_le_bytes());
        bytes.extend(u16::try_from(body.len()).unwrap().to_le_bytes());
        layout.iter().for_each(|slot| bytes.extend(slot.to_le_bytes()));
        let at = bytes.len();
        body[..4].copy_from_slice(&u32::try_from(at - vtable).unwrap().to_le_bytes());
        bytes.extend(body);
        at
    }

    /// Makes the offset at `from` lead to `to`.
    fn point(bytes: &mut [u8], from: usize, to: usize) {
        bytes[from..from + 4].copy_from_slice(&u32::try_from(to - from).unwrap().to_le_bytes());
    }

    fn vector(bytes: &mut Vec<u8>, len: usize, content: &[u8]) -> usize {
        let at = bytes.len();
        bytes.extend(u32::try_from(len).unwrap().to_le_bytes());
        bytes.extend(content);
        at
    }

    /// One graph: a tensor that goes in, one with 8 bytes of weights.
    fn model() -> Vec<u8> {
        let offset = [0; 4];
        let mut b = [&offset[..], b"TFL3"].concat();
        let root = table(&mut b, &[(0, &3_u32.to_le_bytes()), (2, &offset), (3, &offset), (4, &offset)]);
        point(&mut b, 0, root);
        let graphs = vector(&mut b, 1, &offset);
        point(&mut b, root + 8, graphs);
        let text = vector(&mut b, 4, b"tiny");
        point(&mut b, root + 12, text);
        let buffers = vector(&mut b, 2, &[0; 8]);
        point(&mut b, root + 16, buffers);
        let graph = table(&mut b, &[(0, &offset), (1, &offset)]);
        point(&mut b, graphs + 4, graph);
        let tensors = vector(&mut b, 2, &[0; 8]);
        point(&mut b, graph + 4, tensors);
        let inputs = vector(&mut b, 1, &offset);
        point(&mut b, graph + 8, inputs);
        let input = table(&mut b, &[(0, &offset), (1, &[3]), (3, &offset)]);
        point(&mut b, tensors + 4, input);
        let shape = vector(&mut b, 2, &[1, 0, 0, 0, 77, 0, 0, 0]);
        point(&mut b, input + 4, shape);
        let name = vector(&mut b, 2, b"in");
        point(&mut b, input + 9, name);
        let weight = table(&mut b, &[(0, &offset), (2, &1_u32.to_le_bytes())]);
        point(&mut b, tensors + 8, weight);
        let shape = vector(&mut b, 1, &[2, 0, 0, 0]);
        point(&mut b, weight + 4, shape);
        let empty = table(&mut b, &[]);
        point(&mut b, buffers + 4, empty);
        let full = table(&mut b, &[(0, &offset)]);
        point(&mut b, buffers + 8, full);
        let data = vector(&mut b, 8, &[0; 8]);
        point(&mut b, full + 4, data);
        b
    }

    #[test]
    fn a_model_says_what_goes_in() {
        let bytes = model();
        let header = parse(&mut Slice(&bytes)).unwrap();
        assert_eq!((header.version, header.description.as_deref(), header.graphs), (3, Some("tiny"), 1));
        let shape = Some(vec!["1".to_owned(), "77".to_owned()]);
        assert_eq!(header.inputs, [Port { name: "in".into(), dtype: Some("U8".into()), shape }]);
        assert_eq!(header.types, [TypeCount { dtype: "F32".into(), tensors: 1, elements: 2, bytes: 8 }]);
        assert_eq!(header.data_end, bytes.len() as u64);
    }

    #[test]
    fn every_prefix_lacks_something_and_no_change_of_a_byte_panics() {
        let bytes = model();
        for end in 0..bytes.len() {
            match parse(&mut Slice(&bytes[..end])) {
                Err(Error::Truncated { .. }) => {}
                Ok(header) => assert!(header.missing_bytes(end as u64) > 0, "{end}"),
                Err(error) => panic!("{end}: {error}"),
            }
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                drop(parse(&mut Slice(&changed)));
            }
        }
        assert!(matches!(parse(&mut Slice(b"\x10\0\0\0TFL2")), Err(Error::BadMagic { .. })));
    }

    #[test]
    fn the_smallest_model_is_one() {
        let bytes = [&[16, 0, 0, 0][..], b"TFL3", &[8, 0, 8, 0, 4, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0], &[0; 8]]
            .concat();
        let header = parse(&mut Slice(&bytes)).unwrap();
        assert_eq!((header.version, header.graphs, header.data_end), (3, 0, 0));
    }
}
