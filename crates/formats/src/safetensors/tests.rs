use super::*;
use crate::{Slice, Windowed};

fn file(json: &str, data: usize) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json.as_bytes(), &vec![0; data]].concat()
}

const TWO: &str = r#"{"__metadata__":{"format":"pt","ss_x":"{\"a\": [[["},
    "b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},
    "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#;

/// What a file is told to be: `ok`, or the variant of the error and its words.
#[track_caller]
fn check(json: &str, data: usize, expected: &str) {
    check_bytes(&file(json, data), expected);
}

#[track_caller]
fn check_bytes(bytes: &[u8], expected: &str) {
    let said = match parse(&mut Slice(bytes)) {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    assert!(said.contains(expected), "{said}\n  lacks {expected}");
}

#[test]
fn a_header_is_read_whole() {
    let bytes = file(TWO, 16);
    let header = parse(&mut Slice(&bytes)).unwrap();
    let metadata = [("format", "pt"), ("ss_x", r#"{"a": [[["#)].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(header.metadata, metadata);
    let tensors: Vec<_> =
        header.tensors.iter().map(|t| (t.name.as_str(), t.dtype.as_str(), t.size)).collect();
    assert_eq!(tensors, [("b", "F16", 12), ("a", "F32", 4)]);
    assert_eq!(header.tensors[0].shape, [2, 3]);
    assert_eq!((header.data_start, header.data_end), (8 + TWO.len() as u64, bytes.len() as u64));
    assert_eq!(header.missing_bytes(bytes.len() as u64 - 5), 5);
    assert_eq!(header.warnings, Vec::<String>::new());
}

#[test]
fn every_shorter_header_is_truncated_and_missing_data_is_counted() {
    let bytes = file(TWO, 16);
    for n in 0..bytes.len() - 16 {
        let error = parse(&mut Slice(&bytes[..n])).unwrap_err();
        assert!(matches!(error, Error::Truncated { at } if at == n as u64), "{n}: {error:?}");
    }
    for n in bytes.len() - 16..bytes.len() {
        let header = parse(&mut Slice(&bytes[..n])).unwrap();
        assert_eq!(header.missing_bytes(n as u64), (bytes.len() - n) as u64);
    }
}

#[test]
fn a_flipped_byte_never_panics() {
    let bytes = file(TWO, 16);
    for at in 0..bytes.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            drop(parse(&mut Slice(&bytes)));
        }
    }
}

#[test]
fn lengths_are_checked_before_they_are_used() {
    let prefixed = |len: u64, json: &str| [&len.to_le_bytes(), json.as_bytes()].concat();
    check_bytes(&prefixed(0, "{}"), "an empty header");
    check_bytes(&prefixed(1, "{"), "JSON is broken");
    let entry = r#"{"a":{"dtype":"F16","shape":[1e20],"data_offsets":[0,2]}}"#;
    check_bytes(
        &prefixed(entry.len() as u64, entry),
        "broken: there is the number `1e+20` where a whole number",
    );
    check_bytes(&prefixed(100_000_001, "{}"), "TooLarge");
    check_bytes(&prefixed(u64::MAX, "{}"), "Corrupt");
    check_bytes(&prefixed(90_000_000, "{}"), "Truncated { at: 10 }");
    check_bytes(b"<!DOCTYPE html><html>", "BadMagic");
    check(&" ".repeat(60_000_000), 0, "TooLarge { what: \"it has 60000000 bytes\"");
    check_bytes(&prefixed(2, "[]"), "Corrupt");
}

#[test]
fn offsets_cover_the_data_exactly() {
    let two = |begin: u64, end: u64| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},"b":{{"dtype":"U8","shape":[4],"data_offsets":[{begin},{end}]}}}}"#
        )
    };
    check(&two(4, 8), 8, "ok");
    check(&two(3, 7), 8, "shares bytes with another");
    check(&two(0, 4), 8, "shares bytes with another");
    check(&two(5, 9), 9, "comes after bytes of no tensor");
    check(&two(8, 4), 8, "ends before it begins");
    check(&two(4, 9), 9, "does not fit its bytes");
    check(&two(4, 8), 9, "1 bytes after the last tensor");
    check("{}", 0, "ok");
    check("{}", 1, "1 bytes after");
}

#[test]
fn entries_are_checked() {
    let one = |entry: &str| format!(r#"{{"a":{{{entry}}}}}"#);
    check(&one(r#""dtype":"F4","shape":[4],"data_offsets":[0,2],"extra":[[{}]]"#), 2, "ok");
    check(&one(r#""dtype":"F4","shape":[3],"data_offsets":[0,2]"#), 2, "does not fit its bytes");
    check(&one(r#""dtype":"F99","shape":[4],"data_offsets":[0,2]"#), 2, "Unsupported");
    check(&one(r#""dtype":"f32","shape":[4],"data_offsets":[0,16]"#), 16, "Unsupported");
    check(&one(r#""dtype":3,"shape":[4],"data_offsets":[0,16]"#), 16, "Corrupt");
    check(&one(r#""dtype":"U8","shape":[4]"#), 4, "missing field");
    check(&one(r#""dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]"#), 4, "duplicate field");
    check(&one(r#""dtype":"U8","shape":[-4],"data_offsets":[0,4]"#), 4, "Corrupt");
    check(&one(r#""dtype":"U8","shape":[4],"data_offsets":[0,4.0]"#), 4, "Corrupt");
    check(&one(r#""dtype":"U8","shape":[4],"data_offsets":[0,1e400]"#), 4, "Corrupt");
    check(&one(r#""dtype":"U8","shape":[4],"data_offsets":[0,4,4]"#), 4, "Corrupt");
    check(
        &one(r#""dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]"#),
        0,
        "larger than any memory",
    );
    check(
        r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#,
        0,
        "there twice",
    );
    check(
        &one(&format!(r#""dtype":"U8","shape":[{}1],"data_offsets":[0,1]"#, "1,".repeat(64))),
        1,
        "at most 64 dimensions",
    );
}

#[test]
fn metadata_is_strings_or_nothing() {
    let metadata = |value: &str| format!(r#"{{"__metadata__":{value}}}"#);
    check(&metadata("null"), 0, "ok");
    check(&metadata("[]"), 0, "Corrupt");
    check(&metadata(r#"{"a":1}"#), 0, "Corrupt");
    check(r#"{"__metadata__":{},"__metadata__":{}}"#, 0, "there twice");
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    check(&metadata(&deep), 0, "Corrupt");
    check(&deep, 0, "Corrupt");
    let unknown =
        |value: &str| format!(r#"{{"a":{{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":{value}}}}}"#);
    check(&unknown(&"[".repeat(100_000)), 0, "nested more than 128 deep");
    check(&unknown(&format!(r#""{}""#, "[{\\\"".repeat(1000))), 0, "ok");
    check(&unknown(&format!("[{}0]", "[],".repeat(1000))), 0, "ok");
}

#[test]
fn long_metadata_is_cut_and_says_so() {
    let value = "é".repeat(40_000);
    let pairs: Vec<_> = (0..20).map(|n| format!(r#""k{n}":"{value}""#)).collect();
    let bytes = file(&format!(r#"{{"__metadata__":{{{}}}}}"#, pairs.join(",")), 0);
    let header = parse(&mut Slice(&bytes)).unwrap();
    assert_eq!(header.metadata.len(), 15);
    assert!(header.metadata.iter().all(|(_, value)| value.len() == 65_536));
    assert_eq!(header.warnings.len(), 20);
    assert_eq!(header.warnings[0], "only the first 65536 bytes of the metadata \"k0\" are kept");

    let long = "\\\"".repeat(9 << 20);
    check(&format!(r#"{{"__metadata__":{{"k":"{long}"}}}}"#), 0, "TooLarge { what: \"one string\"");
}

#[test]
fn many_tensors_are_read_through_windows() {
    let entries: Vec<_> = (0..50_000)
        .map(|n| format!(r#""layer.{n}.weight":{{"dtype":"BF16","shape":[0,7],"data_offsets":[0,0]}}"#))
        .collect();
    let bytes = file(&format!("{{{}}}", entries.join(",")), 0);
    let mut windowed = Windowed::new(bytes.len() as u64, |at, buffer: &mut [u8]| {
        let from = &bytes[usize::try_from(at).unwrap()..];
        let n = from.len().min(buffer.len()).min(9999);
        buffer[..n].copy_from_slice(&from[..n]);
        Ok(n)
    });
    let header = parse(&mut windowed).unwrap();
    assert_eq!(header.tensors.len(), 50_000);
    assert_eq!(header.tensors[49_999].name, "layer.49999.weight");
    assert_eq!(header, parse(&mut Slice(&bytes)).unwrap());
}

#[test]
fn space_before_the_brace_is_said() {
    let header = parse(&mut Slice(&file(" {}  ", 0))).unwrap();
    assert_eq!(header.warnings, ["the header does not begin with a brace"]);
}
