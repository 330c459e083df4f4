//! Facts of formats that are a graph of operations: ONNX, OpenVINO, CoreML, TFLite, and TensorRT's plans, which say
//! next to nothing. What such a model is for its graph does not say.

use super::{Facts, TensorUse, origin, short, weights};
use crate::Kind;
use formats::{External, Port, TypeCount, coreml, onnx, openvino, tensorrt, tflite};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a graph says of itself before it is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// Version of the layout or of what it is bound to: `IR 8`, `schema 3`, `specification 7`, `TensorRT 10.3.0.26`.
    pub version: Option<String>,
    /// What wrote it, with its version.
    pub producer: Option<String>,
    /// Sets of operators that a runtime must have: `ai.onnx 17`.
    pub opsets: Vec<String>,
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
    /// The most frequent first; at most eight.
    pub operators: Vec<OperatorUse>,
}

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    pub name: String,
    /// `F32`, `I64`; None where it is not said.
    pub dtype: Option<String>,
    /// A number, a symbol or `?` for each dimension; None where even their count is open.
    pub shape: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorUse {
    pub name: String,
    pub count: u64,
}

/// A file beside a model that holds data of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// From the model's directory; never leads out of it.
    pub name: String,
    /// How long it must be at least, bytes.
    pub size: u64,
}

/// Names and values longer than this come from nobody who means well.
const MAX_NAME: usize = 256;
const MAX_VALUES: usize = 32;
const MAX_OPERATORS: usize = 8;
const MAX_METADATA: usize = 64;
/// Exporters that write a file for each tensor make a few thousand.
const MAX_PARTS: usize = 4096;

/// Operators that compute with eight bits (<https://onnx.ai/onnx/operators>, and onnxruntime's own).
const INT8: &[&str] = &[
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "ConvInteger",
    "QLinearConv",
    "QLinearMatMul",
    "QAttention",
    "QGemm",
];

pub(crate) fn onnx(header: &onnx::Header) -> Facts {
    let metadata = |key: &str| value_of(&header.metadata, key);
    let opset = |(domain, version): &(String, u64)| {
        short(&format!("{} {version}", if domain.is_empty() { "ai.onnx" } else { domain }), MAX_NAME)
    };
    let graph = Graph {
        version: Some(format!("IR {}", header.ir_version)),
        producer: short(&format!("{} {}", header.producer, header.producer_version), MAX_NAME),
        opsets: header.opsets.iter().take(MAX_VALUES).filter_map(opset).collect(),
        ..ports(&header.inputs, &header.outputs, &header.operators)
    };
    Facts {
        quant: onnx_quant(header),
        license: metadata("license").and_then(origin::license_name),
        author: metadata("author").and_then(|text| short(text, MAX_NAME)),
        description: short(&header.doc, MAX_NAME),
        metadata: kept(&header.metadata),
        parts: parts(&header.external),
        ..described(graph, &header.types, header.packed_bits.is_empty())
    }
}

/// What was quantised, by the operators that need it and the weights that have it.
fn onnx_quant(header: &onnx::Header) -> Option<String> {
    if let Some(bits) = header.packed_bits.iter().min() {
        return Some(format!("int{bits}"));
    }
    let has = |name: &str| header.operators.iter().any(|(known, _)| known == name);
    let weights = |types: &[&str]| header.types.iter().any(|count| types.contains(&count.dtype.as_str()));
    let is_8_bit = INT8.iter().any(|name| has(name)) || (has("DequantizeLinear") && weights(&["I8", "U8"]));
    let quants = [
        (weights(&["I4", "U4"]), "int4"),
        (has("DequantizeLinear") && weights(&["F8_E4M3", "F8_E5M2"]), "fp8"),
        (is_8_bit, "int8"),
    ];
    quants.into_iter().find(|(is_it, _)| *is_it).map(|(_, quant)| quant.to_owned())
}

pub(crate) fn openvino(header: &openvino::Header, weights: Option<&str>) -> Facts {
    let metadata = |key: &str| value_of(&header.metadata, key);
    let runtime = metadata("Runtime_version").map(|version| format!("OpenVINO {version}"));
    let converter = || metadata("MO_version").map(|version| format!("model optimizer {version}"));
    let graph = Graph {
        version: Some(format!("IR {}", header.version)),
        producer: runtime.or_else(converter).and_then(|text| short(&text, MAX_NAME)),
        ..ports(&header.inputs, &header.outputs, &header.operators)
    };
    let weights = weights.map(|name| Part { name: name.to_owned(), size: header.weights_end });
    let is_packed = header.types.iter().any(|count| matches!(count.dtype.as_str(), "U4" | "I4" | "NF4"));
    Facts {
        name: short(&header.name, MAX_NAME),
        quant: metadata("nncf/weight_compression/mode")
            .and_then(|mode| short(mode, 32))
            .or_else(|| is_packed.then(|| "int4".to_owned())),
        metadata: kept(&header.metadata),
        parts: weights.into_iter().collect(),
        ..described(graph, &header.types, true)
    }
}

pub(crate) fn tflite(header: &tflite::Header) -> Facts {
    let metadata = |key: &str| value_of(&header.metadata, key);
    let graph = Graph {
        version: Some(format!("schema {}", header.version)),
        producer: None,
        ..ports(&header.inputs, &header.outputs, &[])
    };
    let text = |key: &str| metadata(key).and_then(|text| short(text, MAX_NAME));
    Facts {
        name: text("name"),
        author: text("author"),
        license: metadata("license").and_then(origin::license_name),
        description: text("description").or_else(|| short(header.description.as_deref()?, MAX_NAME)),
        ..described(graph, &header.types, true)
    }
}

pub(crate) fn coreml(header: &coreml::Header) -> Facts {
    let producer = value_of(&header.metadata, "com.github.apple.coremltools.version");
    let graph = Graph {
        version: Some(format!("specification {}", header.version)),
        producer: producer.and_then(|version| short(&format!("coremltools {version}"), MAX_NAME)),
        ..ports(&header.inputs, &header.outputs, &[])
    };
    Facts {
        architecture: header.kind.clone(),
        author: short(&header.author, MAX_NAME),
        license: origin::license_name(&header.license),
        description: short(&header.description, MAX_NAME),
        metadata: kept(&header.metadata),
        ..described(graph, &[], true)
    }
}

pub(crate) fn tensorrt(header: &tensorrt::Header) -> Facts {
    let version = header.version.as_ref().map(|version| format!("TensorRT {version}"));
    described(Graph { version, ..Graph::default() }, &[], true)
}

/// Facts that all of them have; weights that are packed have no count of parameters.
fn described(graph: Graph, types: &[TypeCount], is_plain: bool) -> Facts {
    let mut facts = Facts { kind: Some(Kind::Other), graph: Some(graph), ..Facts::default() };
    for TypeCount { dtype, tensors, elements, bytes } in types {
        let name = dtype.clone();
        let used = TensorUse { name, tensors: *tensors, elements: *elements, bytes: *bytes };
        weights::add_use(&mut facts.tensor_types, used);
    }
    let parameters = weights::total(&facts.tensor_types).filter(|_| is_plain);
    weights::describe(&mut facts, parameters);
    facts
}

fn ports(inputs: &[Port], outputs: &[Port], operators: &[(String, u64)]) -> Graph {
    let value = |port: &Port| Value {
        name: short(&port.name, MAX_NAME).unwrap_or_default(),
        dtype: port.dtype.clone(),
        shape: port.shape.clone(),
    };
    let operator = |(name, count): &(String, u64)| OperatorUse { name: name.clone(), count: *count };
    Graph {
        inputs: inputs.iter().take(MAX_VALUES).map(value).collect(),
        outputs: outputs.iter().take(MAX_VALUES).map(value).collect(),
        operators: operators.iter().take(MAX_OPERATORS).map(operator).collect(),
        ..Graph::default()
    }
}

fn parts(external: &[External]) -> Vec<Part> {
    let inside = external.iter().filter(|external| external.is_inside()).take(MAX_PARTS);
    inside.map(|external| Part { name: external.location.clone(), size: external.end }).collect()
}

fn value_of<'header>(metadata: &'header [(String, String)], key: &str) -> Option<&'header str> {
    metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn kept(metadata: &[(String, String)]) -> BTreeMap<String, String> {
    let is_kept = |(key, value): &&(String, String)| key.len() <= MAX_NAME && value.len() <= MAX_NAME;
    metadata.iter().filter(is_kept).take(MAX_METADATA).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quant(operators: &[&str], types: &[&str], packed_bits: Vec<u64>) -> Option<String> {
        let count =
            |dtype: &&str| TypeCount { dtype: (*dtype).to_owned(), tensors: 1, elements: 2, bytes: 2 };
        let operators = operators.iter().map(|name| ((*name).to_owned(), 1)).collect();
        let types = types.iter().map(count).collect();
        onnx(&onnx::Header { operators, types, packed_bits, ..onnx::Header::default() }).quant
    }

    #[test]
    fn a_quantisation_shows_in_operators_and_weights() {
        assert_eq!(quant(&["MatMul", "Add"], &["F32", "I64"], vec![]), None);
        assert_eq!(quant(&["MatMul"], &["F16"], vec![]), None);
        assert_eq!(quant(&["MatMulNBits"], &["U8", "F16"], vec![4]).as_deref(), Some("int4"));
        assert_eq!(
            quant(&["DynamicQuantizeLinear", "MatMulInteger"], &["I8"], vec![]).as_deref(),
            Some("int8")
        );
        assert_eq!(quant(&["DequantizeLinear"], &["U8"], vec![]).as_deref(), Some("int8"));
        assert_eq!(quant(&["DequantizeLinear"], &["I4"], vec![]).as_deref(), Some("int4"));
        assert_eq!(quant(&["Add"], &["U8"], vec![]), None, "a table of bytes is no quantised weight");
    }

    #[test]
    fn a_graph_says_what_a_runtime_must_have() {
        let port = Port { name: "x".into(), dtype: Some("F32".into()), shape: Some(vec!["1".into()]) };
        let header = onnx::Header {
            ir_version: 8,
            producer: "pytorch".into(),
            producer_version: "2.1.0".into(),
            opsets: vec![(String::new(), 17), ("com.microsoft".into(), 1)],
            inputs: vec![port],
            types: vec![TypeCount { dtype: "F16".into(), tensors: 2, elements: 8, bytes: 16 }],
            metadata: vec![("license".into(), "MIT".into()), ("long".into(), "x".repeat(300))],
            external: vec![
                External { location: "a.data".into(), end: 9 },
                External { location: "../b".into(), end: 9 },
            ],
            ..onnx::Header::default()
        };
        let facts = onnx(&header);
        let graph = facts.graph.unwrap();
        assert_eq!(
            (graph.version.as_deref(), graph.producer.as_deref()),
            (Some("IR 8"), Some("pytorch 2.1.0"))
        );
        assert_eq!(
            (graph.opsets, graph.inputs.len()),
            (vec!["ai.onnx 17".to_owned(), "com.microsoft 1".into()], 1)
        );
        assert_eq!(
            (facts.parameters, facts.bits_per_weight, facts.license.as_deref()),
            (Some(8), Some(16.0), Some("MIT"))
        );
        assert_eq!(facts.metadata.len(), 1);
        assert_eq!(facts.parts, [Part { name: "a.data".into(), size: 9 }]);
    }
}
