use super::*;
use crate::Slice;
use std::time::{Duration, Instant};

mod hidden;

/// `module.name` as protocol 4 reaches it, from texts on the stack.
fn global(module: &str, name: &str) -> Vec<u8> {
    [text(module), text(name), vec![0x93]].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[0x8c, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn int(number: u32) -> Vec<u8> {
    [&b"J"[..], &number.to_le_bytes()].concat()
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
}

fn called(callee: Vec<u8>, arguments: &[Vec<u8>]) -> Vec<u8> {
    [callee, tuple(arguments), b"R".to_vec()].concat()
}

fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> =
        entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [&b"}("[..], &entries, b"u"].concat()
}

fn pickle(object: &[u8]) -> Vec<u8> {
    [&[0x80, 4], object, b"."].concat()
}

/// A tensor of F16 with these dimensions, all of its storage.
fn tensor(key: &str, shape: &[u32]) -> Vec<u8> {
    let elements: u32 = shape.iter().product();
    let storage =
        tuple(&[text("storage"), global("torch", "HalfStorage"), text(key), text("cpu"), int(elements)]);
    let storage = [storage, b"Q".to_vec()].concat();
    let strides: Vec<Vec<u8>> =
        (0..shape.len()).map(|at| int(shape.get(at + 1..).unwrap().iter().product())).collect();
    let shape: Vec<Vec<u8>> = shape.iter().map(|dim| int(*dim)).collect();
    let hooks = called(global("collections", "OrderedDict"), &[]);
    let arguments = [storage, int(0), tuple(&shape), tuple(&strides), vec![0x89], hooks];
    called(global("torch._utils", "_rebuild_tensor_v2"), &arguments)
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 },
        )
    })
}

/// A zip archive of these members, as they are.
fn zip(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let at = u32::try_from(bytes.len()).unwrap();
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        let length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let common =
            [&[0; 4][..], &[0, 0, 33, 0], &crc(content).to_le_bytes(), &size, &size, &length, &[0; 2]]
                .concat();
        bytes.extend([&b"PK\x03\x04\x14\0"[..], &common, name.as_bytes(), content].concat());
        directory.extend(
            [&b"PK\x01\x02\x14\0\x14\0"[..], &common, &[0; 10], &at.to_le_bytes(), name.as_bytes()].concat(),
        );
    }
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    let sizes =
        [directory.len(), bytes.len()].map(|size| u32::try_from(size).unwrap().to_le_bytes()).concat();
    [bytes, directory, [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &sizes, &[0; 2]].concat()].concat()
}

/// A checkpoint of two tensors, with what else is in the archive.
fn checkpoint(object: &[u8], more: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut members = vec![
        ("m/data.pkl", pickle(object)),
        ("m/byteorder", b"little".to_vec()),
        ("m/data/0", vec![0; 16]),
        ("m/data/1", vec![0; 8]),
        ("m/version", b"3\n".to_vec()),
    ];
    members.extend_from_slice(more);
    zip(&members)
}

fn weights() -> Vec<u8> {
    dict(&[("a.weight", tensor("0", &[2, 4])), ("a.bias", tensor("1", &[4]))])
}

fn legacy(object: &[u8]) -> Vec<u8> {
    let keys = [&b"]("[..], &text("0"), &text("1"), b"e"].concat();
    let pickles = [pickle(&int(1001)), pickle(&dict(&[])), pickle(object), pickle(&keys)].concat();
    let storages = [&8_u64.to_le_bytes()[..], &[0; 16], &4_u64.to_le_bytes(), &[0; 8]].concat();
    [legacy::MAGIC, &pickles, &storages].concat()
}

fn read(bytes: &[u8]) -> Header {
    parse(&mut Slice(bytes)).unwrap()
}

#[track_caller]
fn check(bytes: &[u8], is_tensors_only: bool, dangers: &[&str]) -> Header {
    let header = read(bytes);
    let found: Vec<String> =
        header.dangers().map(|global| format!("{}.{}", global.module, global.name)).collect();
    assert_eq!(
        (header.is_tensors_only(), found.as_slice()),
        (is_tensors_only, &*dangers.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()),
        "{header:?}"
    );
    header
}

fn names(header: &Header) -> Vec<(&str, &[u64], u64)> {
    header.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice(), tensor.size)).collect()
}

const WEIGHTS: [(&str, &[u64], u64); 2] = [("a.weight", &[2, 4], 16), ("a.bias", &[4], 8)];

#[test]
fn tensors_are_described_wherever_torch_puts_them() {
    let inside = |key: &str| {
        dict(&[("epoch", int(3)), (key, weights()), ("optimizer", dict(&[("x", tensor("0", &[2, 4]))]))])
    };
    for object in [weights(), inside("state_dict"), inside("model")] {
        for (bytes, layout) in
            [(checkpoint(&object, &[]), Layout::TorchZip), (legacy(&object), Layout::TorchLegacy)]
        {
            let header = check(&bytes, true, &[]);
            assert_eq!((header.layout, names(&header)), (layout, WEIGHTS.to_vec()));
            assert!(header.tensors.iter().all(|tensor| tensor.dtype == "F16"));
        }
    }
    assert_eq!(read(&legacy(&weights())).data_end, Some(legacy(&weights()).len() as u64));
}

#[test]
fn a_whole_module_is_not_vouched_for_and_its_tensors_are_named() {
    let parameters = dict(&[("weight", tensor("0", &[2, 4]))]);
    let object = |class: &str, state: &[(&str, Vec<u8>)]| {
        [global("mymodel", class), b")\x81".to_vec(), dict(state), b"b".to_vec()].concat()
    };
    let layer = object("Linear", &[("_parameters", parameters), ("_modules", dict(&[]))]);
    let header = read(&checkpoint(&object("Net", &[("_modules", dict(&[("first", layer)]))]), &[]));
    assert!(!header.is_tensors_only());
    assert_eq!(names(&header), [("first.weight", &[2, 4][..], 16)]);
    assert!(header.globals.iter().any(|global| global.name == "Net" && global.is_called));
}

#[test]
fn every_way_to_reach_a_name_is_seen() {
    let run = |steps: &[u8]| [&[0x80, 4], steps, b"(tR."].concat();
    check(&run(b"cos\nsystem\n"), false, &["os.system"]);
    check(&run(&global("posix", "system")), false, &["posix.system"]);
    check(b"(S'true'\nios\nsystem\n.", false, &["os.system"]);
    check(b"(cos\nsystem\nS'true'\no.", false, &["os.system"]);
    check(b"\x80\x02csubprocess\nPopen\n)\x81.", false, &["subprocess.Popen"]);
    // by way of the memo, from texts of all kinds
    check(b"\x80\x04\x8c\x02os\x940U\x06systemq\x010h\0h\x01\x93)R.", false, &["os.system"]);
    check(b"S'os'\nV'\n0S'system'\n\x93.", false, &["os.system"]);
    // a path out of a harmless module
    check(&run(&global("torch.serialization", "os.system")), false, &["torch.serialization.os.system"]);
    // after STOP, before something broken, in an id, and as an argument
    check(b"}.cos\nsystem\n)R.", false, &["os.system"]);
    check(b"cos\nsystem\n)R\xff", false, &["os.system"]);
    check(b"\x80\x02cos\nsystem\n)RQ.", false, &["os.system"]);
    // names that are not there to be read
    for hidden in [
        &b"S'\\x6fs'\nS'system'\n\x93."[..],
        b"K\x01K\x02\x93.",
        b"\x82\x05.",
        b"}X\x02\0\0\0osq\0s.",
        b")R.",
    ] {
        match parse(&mut Slice(hidden)) {
            Ok(header) => assert!(!header.is_tensors_only(), "{hidden:?}"),
            Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{error}"),
        }
    }
}

#[test]
fn a_harmless_name_is_harmless_only_for_what_it_is() {
    for (steps, is_fine) in [
        (&b"ccollections\nOrderedDict\n)R."[..], true),
        (b"ccollections\nOrderedDict\n}b.", false),
        (b"ccollections\nOrderedDict\n)R)R.", false),
        (b"ccollections\nOrderedDict\n)RK\x01a.", false),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n(ccollections\nOrderedDict\nN)NtR.", true),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n(NN)NtR.", false),
        (b"cmymodel\nOrderedDict\n)R.", false),
    ] {
        check(steps, is_fine, &[]);
    }
}

#[test]
fn a_tensor_stays_within_its_storage() {
    let bad = |object: &[u8]| assert!(!read(&checkpoint(object, &[])).is_tensors_only());
    bad(&dict(&[("w", tensor("0", &[3, 4]))]));
    bad(&dict(&[("w", tensor("9", &[4]))]));
    let replaced = |from: &[u8], to: &[u8]| {
        let object = tensor("0", &[2, 4]);
        let at = object.windows(from.len()).position(|window| window == from).unwrap();
        [&object[..at], to, &object[at + from.len()..]].concat()
    };
    // strides of 4 and 1 from element 0
    bad(&replaced(&tuple(&[int(4), int(1)]), &tuple(&[int(5), int(1)])));
    bad(&replaced(&tuple(&[int(4), int(1)]), &tuple(&[int(4), int(u32::MAX)])));
    bad(&replaced(&tuple(&[int(2), int(4)]), &tuple(&[int(1 << 30), int(1 << 30)])));
}

#[test]
fn what_a_file_calls_its_storages_is_escaped_where_it_is_told() {
    let odd = "\x1b[2J";
    let object = dict(&[("w", tensor(odd, &[4]))]);
    let outside = [tuple(&[int(4)]), tuple(&[int(1)])].concat();
    let at = object.windows(outside.len()).position(|window| window == outside).unwrap();
    let outside =
        [&object[..at], &tuple(&[int(5)]), &tuple(&[int(1)]), &object[at + outside.len()..]].concat();
    for bytes in [checkpoint(&object, &[]), legacy(&object), checkpoint(&outside, &[])] {
        let damage = read(&bytes).damage.unwrap().to_string();
        assert!(!damage.contains('\x1b') && damage.contains("u{1b}[2J"), "{damage}");
    }
}

#[test]
fn an_archive_that_is_described_in_two_ways_is_not_vouched_for() {
    let fine = checkpoint(&weights(), &[]);
    check(&fine, true, &[]);
    let evil = pickle(&called(global("os", "getcwd"), &[]));
    check(&checkpoint(&weights(), &[("m/extra.bin", evil.clone())]), false, &["os.getcwd"]);
    check(&checkpoint(&weights(), &[("m/data.pkl", evil)]), false, &["os.getcwd"]);
    check(&checkpoint(&weights(), &[("m/code/x.py", b"pass".to_vec())]), false, &[]);
    check(&checkpoint(&weights(), &[("../../etc/cron.d/x", b"x".to_vec())]), false, &[]);
    check(&checkpoint(&called(global("os", "getcwd"), &[]), &[]), false, &["os.getcwd"]);
    let before = [&[0; 64], &*fine].concat();
    let header = parse_zip(&mut Slice(&before)).unwrap();
    assert!(!header.is_tensors_only() && header.tensors.len() == 2, "{header:?}");
    // each byte of the first header of its own: another name, other flags, another checksum
    for at in [6, 8, 14, 18, 30] {
        let mut changed = fine.clone();
        changed[at] ^= 1;
        assert!(!read(&changed).is_tensors_only(), "byte {at}");
    }
    assert!(matches!(parse(&mut Slice(&fine[..fine.len() - 1])), Err(Error::Truncated { .. })));
    assert!(matches!(parse(&mut Slice(&zip(&[("a.txt", b"hello".to_vec())]))), Err(Error::BadMagic { .. })));
}

#[test]
fn arrays_of_objects_are_pickles() {
    let array = |kind: &str, content: &[u8]| {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (1,), }}\n");
        [npy::MAGIC, &[1, 0], &u16::try_from(header.len()).unwrap().to_le_bytes(), header.as_bytes(), content]
            .concat()
    };
    let evil = pickle(&called(global("os", "getcwd"), &[]));
    check(&array("|O", &evil), false, &["os.getcwd"]);
    check(
        &zip(&[("arr_0.npy", array("<f4", &[0; 4])), ("arr_1.npy", array("|O", &evil))]),
        false,
        &["os.getcwd"],
    );
    for numbers in [array("<f4", &[0; 4]), zip(&[("arr_0.npy", array("<f4", &[0; 4]))])] {
        assert!(matches!(parse(&mut Slice(&numbers)), Err(Error::BadMagic { .. })));
    }
}

/// A generator with nothing random about it (xorshift).
fn next(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed >> 16).unwrap()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a reader that does not end is wrong too")]
fn no_prefix_and_no_changed_byte_makes_a_call_harmless_or_takes_long() {
    let attack = dict(&[("a", tensor("0", &[2, 4])), ("b", called(global("os", "getcwd"), &[]))]);
    let fixtures = [
        checkpoint(&attack, &[]),
        legacy(&attack),
        pickle(&attack),
        checkpoint(&weights(), &[]),
        legacy(&weights()),
    ];
    let started = Instant::now();
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for (number, fixture) in fixtures.iter().enumerate() {
        for end in 0..fixture.len() {
            if let Ok(header) = parse(&mut Slice(&fixture[..end])) {
                let is_whole = header.data_end.is_none_or(|data_end| data_end <= end as u64);
                assert!(!header.is_tensors_only() || !is_whole, "{number}: {end}");
            }
        }
        for _ in 0..2000 {
            let mut changed = fixture.clone();
            let at = next(&mut seed) % changed.len();
            changed[at] ^= 1 << (next(&mut seed) % 8);
            if let Ok(header) = parse(&mut Slice(&changed)) {
                // It may reach another name instead, which is then no longer known to be harmless.
                let is_attack = number < 3;
                assert!(!is_attack || !header.is_tensors_only(), "{number}: byte {at}: {header:?}");
            }
        }
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a reader that does not end is wrong too")]
fn what_would_grow_without_end_is_refused_at_once() {
    let started = Instant::now();
    let deep = [&b"\x80\x04"[..], &b"]".repeat(300_000), &b"a".repeat(299_999), b"."].concat();
    let wide = [&b"\x80\x04]"[..], &b"2a".repeat(900_000), b"."].concat();
    let marks = [&b"("[..], &b"(".repeat(2_000_000)].concat();
    let long = b"\x80\x02\x8b\xff\xff\xff\x7f.".to_vec();
    let memo = b"\x80\x02Nr\xff\xff\xff\xff.".to_vec();
    let names = (0..50_000).flat_map(|at| format!("cm{at}\nn\n0").into_bytes()).collect();
    let itself = [&b"\x80\x04}q\0"[..], &b"X\x01\0\0\0ah\0s".repeat(200_000), b"."].concat();
    for bytes in [deep, wide, marks, long, memo, names, itself] {
        assert!(
            parse(&mut Slice(&bytes)).is_ok_and(|header| !header.is_tensors_only())
                || parse(&mut Slice(&bytes)).is_err()
        );
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
