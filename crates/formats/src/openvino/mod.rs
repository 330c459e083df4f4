//! OpenVINO's IR: an XML file that describes a network, with the weights in a file of the same name beside it.
//! Knows the layers by what they say of data; the weights are for the caller to find.

mod xml;

use crate::port::{Port, Size, Tally, TypeCount, bytes_of};
use crate::{Error, Input};
use xml::{Tag, Tags};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    pub name: String,
    /// Of the IR: 10 or 11.
    pub version: u64,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Types of layers, the most frequent first.
    pub operators: Vec<(String, u64)>,
    pub types: Vec<TypeCount>,
    /// Where the last weight ends in the file beside this one, bytes.
    pub weights_end: u64,
    /// `rt_info`: path of an element and its value, such as `nncf/weight_compression/mode`.
    pub metadata: Vec<(String, String)>,
}

/// Networks of the largest models are a few ten megabytes of XML.
const MAX_XML: u64 = 128 << 20;
const MAX_LISTED: usize = 1024;
const MAX_DIMS: usize = 32;
/// Elements within elements; a network has nine.
const DEEPEST: usize = 32;

/// Reads a network's description.
pub fn parse(input: &mut impl Input) -> Result<Header, Error> {
    let mut network = Network::default();
    let mut tags = Tags::new(input, MAX_XML);
    while let Some(tag) = tags.next()? {
        network.tag(&tag)?;
        if network.is_over {
            let (operators, types) = (network.operators.sorted(), network.types.counts());
            return Ok(Header { operators, types, ..network.header });
        }
    }
    match network.header.version {
        0 => Err(Error::BadMagic { expected: "OpenVINO" }),
        _ => Err(Error::Truncated { at: tags.len() }),
    }
}

#[derive(Default)]
struct Network {
    header: Header,
    operators: Tally<u64>,
    types: Tally<Size>,
    /// The elements that are open.
    path: Vec<String>,
    layer: Layer,
    is_over: bool,
}

/// The layer that is open.
#[derive(Default)]
struct Layer {
    name: String,
    kind: String,
    port: Port,
}

impl Network {
    fn tag(&mut self, tag: &Tag) -> Result<(), Error> {
        if tag.is_end {
            return self.close(tag);
        }
        if self.path.is_empty() {
            if tag.name != "net" {
                return Err(Error::BadMagic { expected: "OpenVINO" });
            }
            self.header.name = short(tag.get("name").unwrap_or_default());
            self.header.version = tag.get("version").and_then(|text| text.parse().ok()).unwrap_or(0);
            if !(10..=99).contains(&self.header.version) {
                let version = tag.get("version").unwrap_or("none");
                let what = format!("OpenVINO IR of version {}", version.chars().take(16).collect::<String>());
                return Err(Error::Unsupported { what });
            }
        }
        self.open(tag)?;
        if !tag.is_empty {
            if self.path.len() >= DEEPEST {
                return Err(Error::Corrupt {
                    what: "elements that are nested too deep".to_owned(),
                    at: tag.at,
                });
            }
            self.path.push(tag.name.clone());
        } else if self.path.is_empty() {
            self.is_over = true;
        }
        Ok(())
    }

    fn close(&mut self, tag: &Tag) -> Result<(), Error> {
        if self.path.pop().as_deref() != Some(tag.name.as_str()) {
            return Err(Error::Corrupt {
                what: "an element that ends without having begun".to_owned(),
                at: tag.at,
            });
        }
        if tag.name == "layer" && self.is_at(&["net", "layers"]) {
            self.end_layer();
        }
        self.is_over = self.path.is_empty();
        Ok(())
    }

    fn is_at(&self, path: &[&str]) -> bool {
        self.path.iter().map(String::as_str).eq(path.iter().copied())
    }

    fn open(&mut self, tag: &Tag) -> Result<(), Error> {
        // Layers of the bodies of loops have weights of their own.
        match tag.name.as_str() {
            "layer" => self.begin_layer(tag),
            "data" => self.data(tag)?,
            "port" if self.is_at(&["net", "layers", "layer", "output"]) => self.port(tag),
            _ => {}
        }
        if self.path.get(1).is_some_and(|part| part == "rt_info")
            && let Some(value) = tag.get("value")
            && self.header.metadata.len() < MAX_LISTED
        {
            let above = self.path.iter().skip(2).map(String::as_str);
            let key = above.chain([tag.name.as_str()]).collect::<Vec<_>>().join("/");
            self.header.metadata.push((short(&key), short(value)));
        }
        Ok(())
    }

    fn begin_layer(&mut self, tag: &Tag) {
        let kind = tag.get("type").unwrap_or_default().to_owned();
        self.operators.add(&kind);
        if self.is_at(&["net", "layers"]) {
            let name = short(tag.get("name").unwrap_or_default());
            self.layer = Layer { name, kind, port: Port::default() };
            if tag.is_empty {
                self.end_layer();
            }
        }
    }

    /// `<data>` of a constant says where its weights are, that of a parameter what goes in.
    fn data(&mut self, tag: &Tag) -> Result<(), Error> {
        let number = |name: &str| tag.get(name).and_then(|text| text.parse::<u64>().ok());
        let dtype = tag.get("element_type");
        if let (Some(offset), Some(size)) = (number("offset"), number("size")) {
            let end = offset.checked_add(size).filter(|end| i64::try_from(*end).is_ok());
            let Some(end) = end else {
                return Err(Error::Corrupt {
                    what: "weights that end beyond any file".to_owned(),
                    at: tag.at,
                });
            };
            self.header.weights_end = end.max(self.header.weights_end);
            let dims = |shape| sizes(shape).map(|dim| dim.parse().unwrap_or(u64::MAX));
            if let Some((elements, _)) = tag.get("shape").and_then(|shape| bytes_of(dims(shape), 1)) {
                self.types.add(&dtype.unwrap_or("unknown").to_ascii_uppercase(), elements, size);
            }
        }
        if self.layer.kind == "Parameter" && self.is_at(&["net", "layers", "layer"]) {
            self.layer.port.dtype = dtype.map(|dtype| short(dtype).to_ascii_uppercase());
            self.layer.port.shape =
                tag.get("shape").map(|shape| sizes(shape).take(MAX_DIMS).map(dim).collect());
        }
        Ok(())
    }

    fn port(&mut self, tag: &Tag) {
        // A port may have several names; the first is what people use.
        let name = tag.get("names").and_then(|names| names.split(',').next()).filter(|name| !name.is_empty());
        if let Some(name) = name {
            self.layer.port.name = short(name);
        }
    }

    fn end_layer(&mut self) {
        let Layer { name, kind, mut port } = std::mem::take(&mut self.layer);
        let list = match kind.as_str() {
            "Parameter" => &mut self.header.inputs,
            "Result" => &mut self.header.outputs,
            _ => return,
        };
        if port.name.is_empty() {
            // `logits/sink_port_0`: the result of what is called so.
            port.name = name.split("/sink_port_").next().unwrap_or_default().to_owned();
        }
        if list.len() < MAX_LISTED {
            list.push(port);
        }
    }
}

fn sizes(shape: &str) -> impl Iterator<Item = &str> {
    shape.split(',').map(str::trim).filter(|dim| !dim.is_empty())
}

/// What is kept of a text.
fn short(text: &str) -> String {
    const KEPT: usize = 1024;
    text.chars().take(KEPT).collect()
}

/// `?` and `-1` are of any size.
fn dim(text: &str) -> String {
    let text: String = text.chars().take(32).collect();
    if text == "-1" { "?".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slice;

    const NETWORK: &str = r#"<?xml version="1.0"?>
<!-- made by hand -->
<net name="tiny" version="11">
  <layers>
    <layer id="0" name="ids" type="Parameter" version="opset1">
      <data shape="?,77" element_type="i64"/>
      <output><port id="0" precision="I64" names="input_ids,x"><dim>-1</dim><dim>77</dim></port></output>
    </layer>
    <layer id="1" name="w &lt;1>" type="Const" version="opset1">
      <data element_type="f16" shape="2, 3" offset="64" size="12"/>
    </layer>
    <layer id="2" name="logits/sink_port_0" type="Result" version="opset1"/>
  </layers>
  <edges><edge from-layer="0" to-layer='1'/></edges>
  <rt_info>
    <Runtime_version value="2024.4.0"/>
    <nncf><weight_compression><mode value="int4_asym"/></weight_compression></nncf>
  </rt_info>
</net>
"#;

    #[test]
    fn a_network_says_what_goes_in_and_where_its_weights_end() {
        let header = parse(&mut Slice(NETWORK.as_bytes())).unwrap();
        assert_eq!((header.name.as_str(), header.version, header.weights_end), ("tiny", 11, 76));
        let shape = Some(vec!["?".to_owned(), "77".to_owned()]);
        assert_eq!(header.inputs, [Port { name: "input_ids".into(), dtype: Some("I64".into()), shape }]);
        assert_eq!(header.outputs[0].name, "logits");
        assert_eq!(header.types, [TypeCount { dtype: "F16".into(), tensors: 1, elements: 6, bytes: 12 }]);
        let metadata: Vec<_> =
            header.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            metadata,
            [("Runtime_version", "2024.4.0"), ("nncf/weight_compression/mode", "int4_asym")]
        );
        assert_eq!(header.operators.len(), 3);
    }

    #[test]
    fn every_prefix_is_truncated_and_no_change_of_a_byte_panics() {
        let bytes = NETWORK.trim_end().as_bytes();
        for end in 60..bytes.len() {
            let read = parse(&mut Slice(&bytes[..end]));
            assert!(matches!(read, Err(Error::Truncated { .. })), "{end}: {read:?}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1 << bit;
                drop(parse(&mut Slice(&changed)));
            }
        }
    }

    #[test]
    fn other_documents_are_told_apart() {
        let read = |text: &str| parse(&mut Slice(text.as_bytes()));
        assert!(matches!(read("<svg></svg>"), Err(Error::BadMagic { .. })));
        assert!(matches!(read("<net name='a' version='7'></net>"), Err(Error::Unsupported { .. })));
        assert!(matches!(read("<net version='11'></layers>"), Err(Error::Corrupt { .. })));
        assert!(matches!(
            read(&format!("<net version='11'>{}", "<a>".repeat(1000))),
            Err(Error::Corrupt { .. })
        ));
        assert!(matches!(read("plain text"), Err(Error::BadMagic { .. })));
        assert!(read("<net version='11'/>").is_ok());
    }
}
