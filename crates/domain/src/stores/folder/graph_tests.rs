use super::*;
use crate::{
    Format, Kind, Role,
    stores::drive::{Tree, files},
};

const ROOT: &str = "/home/u/models";

/// An ONNX model with one tensor of four bytes in the file of this name.
fn onnx(location: &str) -> Vec<u8> {
    let field =
        |number: u8, bytes: &[u8]| [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let entry = field(13, &[field(1, b"location"), field(2, location.as_bytes())].concat());
    let tensor = [&[8, 1, 16, 1][..], &field(8, b"w"), &entry, &[14 << 3, 1]].concat();
    [&[8, 8][..], &field(7, &field(5, &tensor)), &field(8, &[16, 17])].concat()
}

const NETWORK: &str = r#"<net name="n" version="11"><layers><layer id="0" name="w" type="Const" version="opset1"><data element_type="f32" shape="1" offset="0" size="4"/></layer></layers></net>"#;

fn found(tree: &Tree) -> Vec<Found> {
    tree.found(&Folder, ROOT)
}

#[test]
fn data_beside_a_graph_belongs_to_it_under_any_name() {
    let tree = Tree::default()
        .file("/home/u/models/a.onnx", onnx("weights/a.bin"))
        .file("/home/u/models/weights/a.bin", [0; 4])
        .file("/home/u/models/b.onnx", onnx("b.safetensors"))
        .file("/home/u/models/b.safetensors", [0; 4])
        .file("/home/u/models/c.onnx", onnx("../../../etc/passwd"))
        .file("/etc/passwd", [0; 4]);
    let found = found(&tree);
    // Another directory is looked at by itself, and the bytes of a `.bin` say what it is.
    let (found, alone): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| found.id != "models/weights/a.bin");
    assert_eq!(alone.len(), 1);
    let [a, b, c] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((files(a), a.id.as_str()), (vec!["w:a.onnx".to_owned(), "w:a.bin".into()], "models/a.onnx"));
    assert_eq!(
        (files(b), b.partial.as_deref()),
        (vec!["w:b.onnx".to_owned(), "w:b.safetensors".into()], None)
    );
    assert_eq!((files(c), c.partial.as_deref()), (vec!["w:c.onnx".to_owned()], None));
    let data: Vec<bool> = b.files.iter().map(|file| b.is_data(file)).collect();
    assert_eq!((b.hints.format, data), (Some(Format::Onnx), vec![false, true]));
    assert!(!c.is_data(&c.files[0]), "a file that stands alone says itself what it is");
}

#[test]
fn a_graph_without_its_data_is_not_whole() {
    let tree = Tree::default()
        .file("/home/u/models/gone.onnx", onnx("gone.data"))
        .file("/home/u/models/short.onnx", onnx("short.data"))
        .file("/home/u/models/short.data", [0; 3])
        .file("/home/u/models/openvino_model.xml", NETWORK)
        .file("/home/u/models/pair.xml", NETWORK)
        .file("/home/u/models/pair.bin", [0; 4]);
    let found = found(&tree);
    let partial: Vec<_> = found.iter().map(|found| (found.id.as_str(), found.partial.as_deref())).collect();
    assert_eq!(
        partial,
        [
            ("models/gone.onnx", Some("missing-sibling: gone.data is not there, and holds 4 bytes")),
            (
                "models/openvino_model.xml",
                Some("missing-sibling: openvino_model.bin is not there, and holds 4 bytes")
            ),
            ("models/pair.xml", None),
            (
                "models/short.onnx",
                Some("missing-sibling: short.data has 3 bytes, and the last of the weights ends at 4")
            ),
        ]
    );
}

#[test]
fn other_documents_and_tokenizers_are_no_models() {
    let tree = Tree::default()
        .file("/home/u/models/notes.xml", "<svg/>")
        .file("/home/u/models/openvino_tokenizer.xml", NETWORK)
        .file("/home/u/models/openvino_tokenizer.bin", [0; 4])
        .file("/home/u/models/openvino_detokenizer.xml", NETWORK);
    assert_eq!(found(&tree), []);
}

#[test]
fn a_coreml_package_is_one_model() {
    let manifest = r#"{"itemInfoEntries":{"A":{"path":"com.apple.CoreML/model.mlmodel"},"B":{"path":"com.apple.CoreML/weights"}}}"#;
    let data = "/home/u/models/Tiny.mlpackage/Data/com.apple.CoreML";
    let tree = Tree::default()
        .file("/home/u/models/Tiny.mlpackage/Manifest.json", manifest)
        .file(format!("{data}/model.mlmodel"), [8, 7])
        .file(format!("{data}/weights/weight.bin"), [0; 4])
        .file("/home/u/models/x/Half.mlpackage/Manifest.json", manifest)
        .file("/home/u/models/x/Half.mlpackage/Data/com.apple.CoreML/model.mlmodel", [8, 7])
        .file("/home/u/models/c.mlmodelc/coremldata.bin", [1])
        .file("/home/u/models/c.mlmodelc/weights/weight.bin", [0; 4])
        .file("/home/u/models/c.mlmodelc/metadata.json", r#"[{"license":"MIT"}]"#);
    let found = found(&tree);
    let [tiny, compiled, half] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (tiny.id.as_str(), files(tiny)),
        ("models/Tiny.mlpackage", vec!["w:model.mlmodel".to_owned(), "w:weight.bin".into()])
    );
    assert_eq!((tiny.partial.as_deref(), tiny.hints.kind), (None, Some(Kind::Other)));
    assert_eq!(half.partial.as_deref(), Some("missing-sibling: com.apple.CoreML/weights"));
    assert_eq!((compiled.id.as_str(), compiled.license.as_deref()), ("models/c.mlmodelc", Some("MIT")));
    assert_eq!(files(compiled), ["w:weight.bin"]);
}

#[test]
fn a_directory_of_a_graph_and_its_configuration_is_one_model() {
    let config = r#"{"architectures":["WhisperForConditionalGeneration"],"quantization_config":{"quant_method":"awq","bits":4}}"#;
    let tree = Tree::default()
        .file("/home/u/models/w/config.json", config)
        .file("/home/u/models/w/model.onnx", onnx("model.onnx_data"))
        .file("/home/u/models/w/model.onnx_data", [0; 4])
        .file("/home/u/models/w/model_fp16.onnx", "");
    let found = found(&tree);
    let [whole, variant] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (whole.id.as_str(), whole.hints.kind, whole.hints.quant.as_deref()),
        ("models/w", Some(Kind::Asr), None)
    );
    assert_eq!(whole.files.iter().filter(|file| file.role == Role::Weights).count(), 2);
    assert_eq!(variant.id, "models/w/model_fp16.onnx");
}
