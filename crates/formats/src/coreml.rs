//! CoreML's `.mlmodel`, a protobuf message (<https://apple.github.io/coremltools/mlmodel>).
//! Reads what it says of itself; the network and what lies beside it in a package are walked over.

use crate::port::Port;
use crate::protobuf::{Reader, Span, Value};
use crate::{Error, Input};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// `specificationVersion`: which systems can load it.
    pub version: u64,
    /// What computes: `neuralNetwork`, `mlProgram`, `pipeline`.
    pub kind: Option<String>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub description: String,
    pub model_version: String,
    pub author: String,
    pub license: String,
    /// `userDefined`: short texts of whoever made it.
    pub metadata: Vec<(String, String)>,
}

const MAX_TEXT: usize = 4 << 10;
const MAX_LISTED: usize = 256;
const MAX_DIMS: usize = 32;
/// No version of the specification is near (9 in coremltools 8); a larger one is another file's number.
const MAX_VERSION: u64 = 1000;

/// Names of the fields from 200 on, one of which is the model itself.
const KINDS: &[(u64, &str)] = &[
    (200, "pipelineClassifier"),
    (201, "pipelineRegressor"),
    (202, "pipeline"),
    (300, "glmRegressor"),
    (301, "supportVectorRegressor"),
    (302, "treeEnsembleRegressor"),
    (303, "neuralNetworkRegressor"),
    (400, "glmClassifier"),
    (401, "supportVectorClassifier"),
    (402, "treeEnsembleClassifier"),
    (403, "neuralNetworkClassifier"),
    (500, "neuralNetwork"),
    (501, "itemSimilarityRecommender"),
    (502, "mlProgram"),
];

/// Reads a model's header.
pub fn parse(input: &mut impl Input) -> Result<Header, Error> {
    let mut model = Model { reader: Reader::new(input), header: Header::default() };
    let mut message = model.reader.whole();
    let len = message.end;
    while let Some(field) = model.reader.next(&mut message)? {
        match field {
            (1, Value::Varint(version)) => model.header.version = version,
            (2, Value::Bytes(description)) => model.description(description)?,
            (1 | 2, _) => return Err(Error::BadMagic { expected: "CoreML" }),
            (field, _) => {
                let kind =
                    KINDS.iter().find(|(known, _)| *known == field).map(|(_, name)| (*name).to_owned());
                model.header.kind = model.header.kind.or(kind);
            }
        }
    }
    match model.header.version {
        0 => Err(Error::Truncated { at: len }),
        1..=MAX_VERSION => Ok(model.header),
        version => Err(Error::Corrupt { what: format!("version {version} of the specification"), at: 0 }),
    }
}

struct Model<'a, I> {
    reader: Reader<'a, I>,
    header: Header,
}

impl<I: Input> Model<'_, I> {
    /// `ModelDescription`.
    fn description(&mut self, mut message: Span) -> Result<(), Error> {
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Bytes(feature)) if self.header.inputs.len() < MAX_LISTED => {
                    let port = self.feature(feature)?;
                    self.header.inputs.push(port);
                }
                (10, Value::Bytes(feature)) if self.header.outputs.len() < MAX_LISTED => {
                    let port = self.feature(feature)?;
                    self.header.outputs.push(port);
                }
                (100, Value::Bytes(metadata)) => self.metadata(metadata)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `Metadata`.
    fn metadata(&mut self, mut message: Span) -> Result<(), Error> {
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Bytes(text)) => self.header.description = self.reader.text(text, MAX_TEXT)?,
                (2, Value::Bytes(text)) => self.header.model_version = self.reader.text(text, MAX_TEXT)?,
                (3, Value::Bytes(text)) => self.header.author = self.reader.text(text, MAX_TEXT)?,
                (4, Value::Bytes(text)) => self.header.license = self.reader.text(text, MAX_TEXT)?,
                (100, Value::Bytes(mut entry)) if self.header.metadata.len() < MAX_LISTED => {
                    let (mut key, mut value) = (String::new(), String::new());
                    while let Some(field) = self.reader.next(&mut entry)? {
                        match field {
                            (1, Value::Bytes(text)) => key = self.reader.text(text, MAX_TEXT)?,
                            (2, Value::Bytes(text)) => value = self.reader.text(text, MAX_TEXT)?,
                            _ => {}
                        }
                    }
                    self.header.metadata.push((key, value));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `FeatureDescription`.
    fn feature(&mut self, mut message: Span) -> Result<Port, Error> {
        let mut port = Port::default();
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Bytes(text)) => port.name = self.reader.text(text, MAX_TEXT)?,
                (3, Value::Bytes(kind)) => self.feature_type(kind, &mut port)?,
                _ => {}
            }
        }
        Ok(port)
    }

    /// `FeatureType`, one of these.
    fn feature_type(&mut self, mut message: Span, port: &mut Port) -> Result<(), Error> {
        while let Some((field, value)) = self.reader.next(&mut message)? {
            let Value::Bytes(kind) = value else { continue };
            let name = match field {
                1 => "int64",
                2 => "double",
                3 => "string",
                4 => "image",
                5 => "array",
                6 => "dictionary",
                7 => "sequence",
                8 => "state",
                _ => continue,
            };
            port.dtype = Some(name.to_owned());
            match field {
                4 => self.image(kind, port)?,
                5 => self.array(kind, port)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `ImageFeatureType`.
    fn image(&mut self, mut message: Span, port: &mut Port) -> Result<(), Error> {
        let (mut width, mut height) = (0, 0);
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Varint(number)) => width = number,
                (2, Value::Varint(number)) => height = number,
                _ => {}
            }
        }
        port.shape = (width > 0 && height > 0).then(|| vec![width.to_string(), height.to_string()]);
        Ok(())
    }

    /// `ArrayFeatureType`.
    fn array(&mut self, mut message: Span, port: &mut Port) -> Result<(), Error> {
        let mut shape = Vec::new();
        while let Some(field) = self.reader.next(&mut message)? {
            match field {
                (1, Value::Varint(dim)) => shape.push(dim),
                (1, Value::Bytes(mut packed)) => {
                    while packed.at < packed.end && shape.len() < MAX_DIMS {
                        shape.push(self.reader.varint(&mut packed)?);
                    }
                }
                (2, Value::Varint(kind)) => port.dtype = dtype(kind).map(str::to_owned).or(port.dtype.take()),
                _ => {}
            }
            shape.truncate(MAX_DIMS);
        }
        port.shape = Some(shape.iter().map(|dim| dim.cast_signed().to_string()).collect());
        Ok(())
    }
}

/// `ArrayFeatureType.ArrayDataType`: the kind above 64 Ki, the bits below.
fn dtype(number: u64) -> Option<&'static str> {
    Some(match number {
        65552 => "F16",
        65568 => "F32",
        65600 => "F64",
        131_080 => "I8",
        131_104 => "I32",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slice;
    use crate::protobuf::build::{bytes, number};

    fn model() -> Vec<u8> {
        let array = bytes(5, [bytes(1, [1, 77]), number(2, 131_104)].concat());
        let image = bytes(4, [number(1, 640), number(2, 480)].concat());
        let feature =
            |field, name: &str, kind: Vec<u8>| bytes(field, [bytes(1, name), bytes(3, kind)].concat());
        let pair = bytes(100, [bytes(1, "source"), bytes(2, "torch==2.1")].concat());
        let metadata = [bytes(1, "a tiny one"), bytes(3, "Acme"), bytes(4, "MIT"), pair].concat();
        let described =
            [feature(1, "ids", array), feature(10, "picture", image), bytes(100, metadata)].concat();
        [number(1, 7), bytes(2, described), bytes(502, "program")].concat()
    }

    #[test]
    fn a_model_says_who_made_it_and_what_goes_in() {
        let header = parse(&mut Slice(&model())).unwrap();
        assert_eq!((header.version, header.kind.as_deref()), (7, Some("mlProgram")));
        let shape = |shape: [&str; 2]| Some(shape.map(str::to_owned).to_vec());
        let port = |name: &str, dtype: &str, dims| Port {
            name: name.into(),
            dtype: Some(dtype.into()),
            shape: shape(dims),
        };
        assert_eq!(header.inputs, [port("ids", "I32", ["1", "77"])]);
        assert_eq!(header.outputs, [port("picture", "image", ["640", "480"])]);
        assert_eq!(
            (header.description.as_str(), header.author.as_str(), header.license.as_str()),
            ("a tiny one", "Acme", "MIT")
        );
        assert_eq!(header.metadata, [("source".to_owned(), "torch==2.1".to_owned())]);
    }

    #[test]
    fn a_model_may_be_little_more_than_its_version() {
        assert_eq!(parse(&mut Slice(&[8, 7])).unwrap().version, 7);
        assert!(matches!(parse(&mut Slice(b"")), Err(Error::Truncated { .. })));
        assert!(matches!(parse(&mut Slice(&number(1, 5000))), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn a_file_that_ends_early_is_truncated_and_no_change_of_a_byte_panics() {
        let bytes = model();
        // Between two fields, all that can be said is that it may be whole.
        let boundaries = [2, bytes.len() - bytes_of_program()];
        for end in 0..bytes.len() {
            match parse(&mut Slice(&bytes[..end])) {
                Err(Error::Truncated { .. }) => {}
                Ok(_) if boundaries.contains(&end) => {}
                other => panic!("{end}: {other:?}"),
            }
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                drop(parse(&mut Slice(&changed)));
            }
        }
    }

    fn bytes_of_program() -> usize {
        bytes(502, "program").len()
    }
}
