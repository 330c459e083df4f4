use super::*;
use crate::Slice;
use crate::protobuf::build::{bytes, number};

fn entry(field: u64, key: &str, value: &str) -> Vec<u8> {
    bytes(field, [bytes(1, key), bytes(2, value)].concat())
}

/// `ValueInfoProto` of a tensor: numbers as they are, anything else a symbol.
fn value(field: u64, name: &str, kind: u64, dims: &[&str]) -> Vec<u8> {
    let dim = |dim: &&str| match dim.parse::<u64>() {
        Ok(size) => bytes(1, number(1, size)),
        Err(_) => bytes(1, bytes(2, dim)),
    };
    let shape: Vec<u8> = dims.iter().flat_map(dim).collect();
    let tensor = bytes(1, [number(1, kind), bytes(2, shape)].concat());
    bytes(field, [bytes(1, name), bytes(2, tensor)].concat())
}

fn node(kind: &str, attributes: &[u8]) -> Vec<u8> {
    bytes(1, [bytes(1, "x"), bytes(2, "y"), bytes(4, kind), attributes.to_vec()].concat())
}

fn tensor(name: &str, kind: u64, dims: &[u64], more: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| number(1, *dim)).collect();
    [dims, number(2, kind), bytes(8, name), more.to_vec()].concat()
}

fn elsewhere(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(key, value)| entry(13, key, value));
    entries.chain(number(14, 1)).collect()
}

fn model(graph: &[u8]) -> Vec<u8> {
    let opset = bytes(8, [bytes(1, ""), number(2, 17)].concat());
    [number(1, 8), bytes(2, "pytorch"), bytes(3, "2.1.0"), bytes(7, graph), opset].concat()
}

/// A graph of every kind of part.
fn whole() -> Vec<u8> {
    let branch =
        bytes(6, [node("Relu", &[]), bytes(5, tensor("inner", 10, &[4], &bytes(9, [0; 8])))].concat());
    let graph = [
        node("MatMul", &[]),
        node("If", &bytes(5, [bytes(1, "then_branch"), branch].concat())),
        node("MatMul", &[]),
        node("MatMulNBits", &bytes(5, [bytes(1, "bits"), number(3, 4)].concat())),
        bytes(2, "main"),
        bytes(5, tensor("w", 1, &[2, 3], &bytes(9, [0; 24]))),
        bytes(
            5,
            tensor(
                "far",
                1,
                &[4],
                &elsewhere(&[("location", "m.onnx_data"), ("offset", "64"), ("length", "16")]),
            ),
        ),
        bytes(5, tensor("near", 3, &[4], &elsewhere(&[("location", "m.onnx_data"), ("junk", "x")]))),
        value(11, "ids", 7, &["batch", "77", ""]),
        value(11, "w", 1, &["2", "3"]),
        value(12, "logits", 1, &["1"]),
    ];
    [model(&graph.concat()), entry(14, "license", "MIT")].concat()
}

fn read(bytes: &[u8]) -> Result<Header, Error> {
    parse(&mut Slice(bytes))
}

#[track_caller]
fn wrong(bytes: &[u8], words: &str) {
    let error = read(bytes).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_model_says_what_goes_in_and_what_it_is_made_of() {
    let header = read(&whole()).unwrap();
    assert_eq!(
        (header.ir_version, header.producer.as_str(), header.producer_version.as_str()),
        (8, "pytorch", "2.1.0")
    );
    assert_eq!((header.opsets.as_slice(), header.graph.as_str()), (&[(String::new(), 17)][..], "main"));
    let [ids] = header.inputs.as_slice() else { panic!("{:?}", header.inputs) };
    let shape = ["batch", "77", "?"].map(str::to_owned).to_vec();
    assert_eq!((ids.name.as_str(), ids.dtype.as_deref(), &ids.shape), ("ids", Some("I64"), &Some(shape)));
    assert_eq!(header.outputs[0].name, "logits");
    let operators: Vec<_> = header.operators.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(operators, [("MatMul", 2), ("If", 1), ("MatMulNBits", 1), ("Relu", 1)]);
    let types: Vec<_> =
        header.types.iter().map(|t| (t.dtype.as_str(), t.tensors, t.elements, t.bytes)).collect();
    assert_eq!(types, [("F16", 1, 4, 8), ("F32", 2, 10, 40), ("I8", 1, 4, 4)]);
    assert_eq!(header.packed_bits, [4]);
    assert_eq!(header.metadata, [("license".to_owned(), "MIT".to_owned())]);
    assert_eq!(header.external, [External { location: "m.onnx_data".to_owned(), end: 80 }]);
    assert_eq!(header.warnings, Vec::<String>::new());
}

#[test]
fn a_file_that_ends_early_is_truncated_wherever_it_ends() {
    let bytes = whole();
    let metadata = entry(14, "license", "MIT").len();
    for end in 0..bytes.len() {
        match read(&bytes[..end]) {
            Err(Error::Truncated { .. }) => {}
            // The last field may be absent as well.
            Ok(_) if end == bytes.len() - metadata => {}
            other => panic!("{end}: {other:?}"),
        }
    }
}

#[test]
fn no_change_of_a_byte_panics() {
    let bytes = whole();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            drop(read(&changed));
        }
    }
}

#[test]
fn data_elsewhere_has_a_place_that_can_be() {
    let external = |entries: &[(&str, &str)]| model(&bytes(5, tensor("w", 1, &[2], &elsewhere(entries))));
    wrong(&external(&[("location", "")]), "cannot be");
    wrong(&external(&[("location", "a\0b")]), "cannot be");
    wrong(&external(&[("location", "a"), ("offset", "-1")]), "at the offset \"-1\"");
    wrong(&external(&[("location", "a"), ("offset", "abc")]), "at the offset \"abc\"");
    wrong(&external(&[("location", "a"), ("length", "4")]), "4 bytes elsewhere where its shape needs 8");
    wrong(&external(&[("location", "a"), ("offset", "18446744073709551615")]), "beyond any file");
    let header = read(&external(&[("location", "../../etc/passwd"), ("offset", "4096")])).unwrap();
    assert_eq!(header.external[0].end, 4104);
    assert!(!header.external[0].is_inside());
}

#[test]
fn tensors_have_the_bytes_that_their_shape_needs() {
    let with = |kind, dims: &[u64], more: &[u8]| model(&bytes(5, tensor("w", kind, dims, more)));
    wrong(&with(1, &[1000], &bytes(9, [0; 8])), "has 8 bytes where its shape needs 4000");
    wrong(&with(1, &[u64::MAX, 2], &[]), "larger than any memory");
    wrong(&with(1, &[1 << 40, 1 << 40], &[]), "larger than any memory");
    wrong(&with(99, &[2], &[]), "unknown type 99");
    assert_eq!(read(&with(22, &[3], &bytes(9, [0; 2]))).unwrap().types[0].bytes, 2);
}

#[test]
fn what_is_odd_is_said_and_what_is_too_deep_refused() {
    let twice = bytes(5, tensor("w", 1, &[1], &bytes(9, [0; 4])));
    assert_eq!(read(&model(&twice.repeat(2))).unwrap().warnings, ["the initializer \"w\" is there twice"]);
    let future = [model(&[]), number(1, 999)].concat();
    assert_eq!(read(&future).unwrap().warnings, ["IR version 999, the newest known here is 14"]);
    let mut graph = bytes(2, "deep");
    for _ in 0..200 {
        graph = node("If", &bytes(5, bytes(6, graph)));
    }
    wrong(&model(&graph), "graphs in more than 32 others");
}
