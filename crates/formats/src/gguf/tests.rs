use std::io;

use super::build::{BOOL, F32, File, I32, STRING, U32};
use super::*;
use crate::{Slice, Windowed};

fn vocabulary(n: usize) -> Vec<String> {
    (0..n).map(|n| "t".repeat(n % 23)).collect()
}

/// One of everything: 2 x 3 F32 at 0, one Q8_0 block at 32, a scalar at 96.
fn valid() -> File {
    File::new()
        .string("general.architecture", "llama")
        .number("llama.block_count", 2)
        .array("llama.attention.head_count", I32, 2, |file| [file.u32(8), file.u32(0)].concat())
        .strings("general.tags", &["a".to_owned(), String::new()])
        .strings("tokenizer.ggml.tokens", &vocabulary(40))
        .array("tokenizer.ggml.scores", F32, 3, |_| vec![0; 12])
        .pair("tokenizer.ggml.add_bos_token", BOOL, |_| vec![1])
        .tensor("token_embd.weight", &[2, 3], 0, 0)
        .tensor("blk.0.attn_q.weight", &[32], 8, 32)
        .tensor("scale", &[], 0, 96)
        .data(128)
}

fn read(file: &File) -> Header {
    parse(&mut Slice(&file.bytes())).unwrap()
}

/// What a file is told to be: `ok`, or the variant of the error and its words.
#[track_caller]
fn check(file: &File, expected: &str) {
    check_bytes(&file.bytes(), expected);
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
    let header = read(&valid());
    assert_eq!((header.version, header.byte_order, header.alignment), (3, ByteOrder::Little, 32));
    assert_eq!(header.get("general.architecture").and_then(Value::as_str), Some("llama"));
    assert_eq!(header.get("llama.block_count").and_then(Value::as_u64), Some(2));
    let heads = vec![Value::Signed(8), Value::Signed(0)];
    assert_eq!(header.get("llama.attention.head_count"), Some(&Value::Array { len: 2, items: heads }));
    let tags = vec![Value::String("a".to_owned()), Value::String(String::new())];
    assert_eq!(header.get("general.tags"), Some(&Value::Array { len: 2, items: tags }));
    assert_eq!(header.get("tokenizer.ggml.tokens"), Some(&Value::Array { len: 40, items: vec![] }));
    assert_eq!(header.get("tokenizer.ggml.add_bos_token"), Some(&Value::Bool(true)));
    assert_eq!(header.get("general.name"), None);

    let tensors: Vec<_> =
        header.tensors.iter().map(|t| (t.name.as_str(), t.kind.name(), t.offset, t.size)).collect();
    let expected = [
        ("token_embd.weight", "F32", 0, 24),
        ("blk.0.attn_q.weight", "Q8_0", 32, 34),
        ("scale", "F32", 96, 4),
    ];
    assert_eq!(tensors, expected);
    assert_eq!(header.data_end, header.data_start + 128);
    assert_eq!(header.missing_bytes(header.data_start), 128);
    assert_eq!(header.missing_bytes(u64::MAX), 0);
    assert_eq!(header.warnings, Vec::<String>::new());
}

#[test]
fn byte_orders_and_versions_differ_in_nothing_else() {
    let little = read(&valid());
    let v2 = File { version: 2, ..valid() };
    assert_eq!(read(&v2), Header { version: 2, ..little });

    let mut big = File { big_endian: true, ..File::new() };
    big = big.string("general.architecture", "llama").strings("tokenizer.ggml.tokens", &vocabulary(99));
    let header = read(&big.tensor("w", &[256, 2], 12, 0).data(288));
    assert_eq!((header.version, header.byte_order), (3, ByteOrder::Big));
    assert_eq!(header.get("tokenizer.ggml.tokens"), Some(&Value::Array { len: 99, items: vec![] }));
    assert_eq!(header.tensors[0].size, 288);
}

#[test]
fn every_shorter_prefix_is_truncated() {
    for file in [valid(), File { big_endian: true, ..File::new() }.number("general.file_type", 7)] {
        let header = file.header();
        for n in 0..header.len() {
            let error = parse(&mut Slice(&header[..n])).unwrap_err();
            assert!(matches!(error, Error::Truncated { at } if at <= n as u64), "{n}: {error:?}");
        }
        parse(&mut Slice(&header)).unwrap();
    }
}

#[test]
fn a_flipped_byte_never_panics() {
    let bytes = valid().bytes();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            drop(parse(&mut Slice(&bytes)));
        }
    }
}

/// Shows exactly what is asked for.
struct Stingy<'a>(&'a [u8]);

impl Input for Stingy<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn view(&mut self, at: u64, want: usize) -> io::Result<&[u8]> {
        assert!(want <= 1 << 20);
        let all = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        Ok(all.get(..want).unwrap_or(all))
    }
}

#[test]
fn windows_change_nothing() {
    let mut long = vocabulary(50_000);
    long[30_000] = "x".repeat(700_000);
    let files = [
        valid(),
        valid().strings("tokenizer.ggml.merges", &long),
        File::new().strings("tokenizer.ggml.tokens", &long),
        valid().number("llama.block_count", 3),
    ];
    for bytes in files.map(|file| file.bytes()) {
        for bytes in [&bytes[..], &bytes[..bytes.len() / 2]] {
            let whole = format!("{:?}", parse(&mut Slice(bytes)));
            assert_eq!(format!("{:?}", parse(&mut Stingy(bytes))), whole);
            let mut windowed = Windowed::new(bytes.len() as u64, |at, buffer: &mut [u8]| {
                let from = &bytes[usize::try_from(at).unwrap()..];
                let n = from.len().min(buffer.len()).min(10_007);
                buffer[..n].copy_from_slice(&from[..n]);
                Ok(n)
            });
            assert_eq!(format!("{:?}", parse(&mut windowed)), whole);
        }
    }
}

#[test]
fn vocabularies_are_told_apart_by_their_tokens_alone() {
    let of = |file: File, tokens: &[&str]| {
        let tokens: Vec<String> = tokens.iter().map(|token| (*token).to_owned()).collect();
        read(&file.strings("tokenizer.ggml.tokens", &tokens)).vocabulary
    };
    let tokens = ["<s>", "a token of some length", "b"];
    let one = of(File::new(), &tokens);
    assert!(one.is_some());
    assert_eq!(of(File::new().string("general.name", "elsewhere in the file"), &tokens), one);
    for other in [
        ["<s>", "a token of some lengtH", "b"],
        ["<s>", "b", "a token of some length"],
        ["<s>a", " token of some length", "b"],
        ["<s>", "a token of some length", "b\0"],
        ["", "<s>", "a token of some length"],
    ] {
        assert_ne!(of(File::new(), &other), one, "{other:?}");
    }
    assert_eq!(read(&File::new()).vocabulary, None);
}

#[test]
fn other_formats_and_versions_are_told_apart() {
    let file = |version| File { version, ..valid() };
    check_bytes(b"FUGG\x03\0\0\0", "BadMagic");
    check_bytes(b"GG", "Truncated { at: 2 }");
    check_bytes(b"", "Truncated { at: 0 }");
    check(&file(0), "GGUF version 0");
    check(&file(1), "GGUF v1");
    check(&file(4), "Unsupported { what: \"GGUF version 4");
    // Swapped version, body not: 3 tensors read as 3 << 56.
    check(&file(3_u32.swap_bytes()), "TooLarge");
}

#[test]
fn counts_and_lengths_are_checked_before_they_are_used() {
    let counts = |n_tensors: u64, n_keys: u64| {
        let numbers = [n_tensors.to_le_bytes(), n_keys.to_le_bytes()].concat();
        [b"GGUF\x03\0\0\0".to_vec(), numbers, vec![0; 800]].concat()
    };
    check_bytes(&counts(u64::MAX, 0), "Corrupt");
    check_bytes(&counts(0, 1 << 63), "Corrupt");
    check_bytes(&counts(1 << 61, 0), "Corrupt");
    check_bytes(&counts(1 << 40, 0), "TooLarge");
    check_bytes(&counts(0, 100), "Truncated { at: 824 }");
    check_bytes(&counts(0, 1), "key 0 is 0 bytes long");

    let array = |kind, len| File::new().array("x", kind, len, |_| vec![0; 16]);
    check(&array(STRING, 1 << 60), "Corrupt");
    check(&array(10, 1 << 61), "Corrupt");
    check(&array(0, 1 << 30), "TooLarge");
    check(&array(0, 1000), "Truncated");
    check(&array(9, 1), "array of arrays");
    check(&array(13, 1), "unknown value type 13");
    check(&File::new().pair("x", u32::MAX, |_| vec![0; 8]), "unknown value type");
    check(&File::new().pair("x", STRING, |file| file.u64(u64::MAX)), "Corrupt");
}

#[test]
fn keys_are_unique_and_the_alignment_is_sane() {
    check(&valid().number("llama.block_count", 2), "\\\"llama.block_count\\\" is there twice");
    let aligned = |alignment| File::new().number("general.alignment", alignment);
    for wrong in [0, 13, 1 << 17, 1 << 31] {
        check(&aligned(wrong), "an alignment of");
    }
    check(&File::new().pair("general.alignment", 10, |file| file.u64(32)), "of type U64, not U32");
    assert_eq!(read(&aligned(1)).alignment, 1);
    let header = read(&aligned(64).tensor("a", &[3], 0, 0).tensor("b", &[3], 0, 64).data(128));
    assert!(header.data_start.is_multiple_of(64));
}

#[test]
fn tensors_are_held_to_ggmls_rules() {
    let one = |dims: &[u64], kind| File::new().tensor("w", dims, kind, 0).data(4096);
    check(&one(&[1 << 40], 0), "ok");
    check(&one(&[1, 1, 1, 1, 1], 0), "has 5 dimensions");
    check(&one(&[1, u64::MAX], 0), "has a negative dimension");
    check(&one(&[33], 8), "rows that are not whole blocks");
    check(&one(&[], 8), "rows that are not whole blocks");
    check(&one(&[1 << 32, 1 << 32], 0), "larger than any memory");
    check(&one(&[1 << 31, 1 << 30], 28), "larger than any memory");
    check(&one(&[32], 4), "type 4, which ggml has removed");
    check(&one(&[32], 37), "type 37, which ggml has removed");
    check(&one(&[32], 43), "Unsupported { what: \"tensor \\\"w\\\" has type 43, which is newer");
    check(&one(&[32], u32::MAX), "has a negative type");
    check(&File::new().tensor([b'n'; 63], &[1], 0, 0).data(32), "ok");
    check(&File::new().tensor([b'n'; 64], &[1], 0, 0).data(32), "is longer than 63 bytes");

    let two = |name, offset| File::new().tensor("a", &[9], 0, 0).tensor(name, &[9], 0, offset).data(256);
    check(&two("b", 64), "ok");
    check(&two("a", 64), "\\\"a\\\" is there twice");
    for wrong in [0, 32, 36, 96, u64::MAX - 31] {
        check(&two("b", wrong), &format!("lies at {wrong}, not at 64"));
    }
    let huge = one(&[(i64::MAX as u64) / 4], 0);
    check(&huge.tensor("b", &[1 << 60], 0, 1 << 63), "larger than any file");
}

#[test]
fn padding_is_not_missing() {
    let vocabulary_only = File::new().number("general.file_type", 1).header();
    let header = parse(&mut Slice(&vocabulary_only)).unwrap();
    assert_eq!(header.missing_bytes(vocabulary_only.len() as u64), 0);

    let whole = File::new().tensor("w", &[3], 0, 0).data(32).bytes();
    let missing = |cut: usize| {
        let short = &whole[..whole.len() - cut];
        parse(&mut Slice(short)).unwrap().missing_bytes(short.len() as u64)
    };
    assert_eq!(missing(0), 0);
    assert_eq!(missing(20), 0);
    assert_eq!(missing(21), 1);
    // Half a padding is a cut download.
    assert_eq!(missing(1), 1);
    assert_eq!(missing(19), 19);
}

#[test]
fn what_is_odd_is_said() {
    let odd = File::new()
        .pair(b"k\xff", U32, |file| file.u32(1))
        .pair("s", STRING, |file| file.text(b"\xffabc"))
        .pair("b", BOOL, |_| vec![2])
        .pair("long", STRING, |file| file.text("é".repeat(1 << 20)))
        .tensor("w", &[8], 0, 0)
        .data(100);
    let header = read(&odd);
    let expected = [
        "the key \"k\u{fffd}\" is not UTF-8",
        "the value of \"s\" is not UTF-8",
        "\"b\" is a bool with the value 2",
        "only the first MiB of \"long\" is kept",
        "68 bytes after the last tensor",
    ];
    assert_eq!(header.warnings, expected);
    assert_eq!(header.get("long").and_then(Value::as_str).map(str::len), Some(1 << 20));
    assert_eq!(header.get("s"), Some(&Value::String("\u{fffd}abc".to_owned())));
    assert_eq!(header.get("b"), Some(&Value::Bool(true)));
}

#[test]
fn memory_has_a_limit() {
    let mut text = File::new();
    for n in 0..20 {
        text = text.string(&format!("k{n}"), &"x".repeat(1 << 20));
    }
    check(&text, "TooLarge { what: \"metadata\", limit: 16777216 }");
    let mut tensors = File::new();
    for n in 0..300_000 {
        tensors = tensors.tensor(format!("t{n}"), &[0], 0, 0);
    }
    check(&tensors, "TooLarge { what: \"tensor infos\", limit: 33554432 }");
}

#[test]
fn tensor_types_have_ggmls_sizes() {
    let all: Vec<_> = (0..TensorType::COUNT + 9).filter_map(TensorType::from_id).collect();
    assert_eq!(all.len(), 35);
    let q4_k = TensorType::from_id(12).unwrap();
    assert_eq!((q4_k.id(), q4_k.name(), q4_k.block_len(), q4_k.block_size()), (12, "Q4_K", 256, 144));
    for removed in [4, 5, 31, 32, 33, 36, 37, 38, 43] {
        assert_eq!(TensorType::from_id(removed), None);
    }
}
