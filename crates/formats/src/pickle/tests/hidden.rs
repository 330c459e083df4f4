//! Pickles where nobody looks for one, and files that cost more to look at than they have bytes.

use super::*;

fn evil() -> Vec<u8> {
    pickle(&called(global("os", "getcwd"), &[]))
}

fn array(description: &str, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(description.len()).unwrap().to_le_bytes();
    [npy::MAGIC, &[1, 0], &length, description.as_bytes(), content].concat()
}

fn is_none(bytes: &[u8]) -> bool {
    matches!(parse(&mut Slice(bytes)), Err(Error::BadMagic { .. }))
}

#[test]
fn an_array_is_of_numbers_only_where_its_description_leaves_no_doubt() {
    for description in [
        "{'descr': 'object', 'fortran_order': False, 'shape': (1,), }",
        "{'fortran_order': False, \"descr\": '|O', 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'descr': '|O', }",
        r"{'descr': '|\x4f', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4,O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4'#', 'fortran_order': False, 'shape': (1,)}\n[:0] 'O', 'fortran_order': False, 'shape': (1,)}",
    ] {
        let array = array(description, &evil());
        check(&array, false, &["os.getcwd"]);
        check(&zip(&[("arr_0.npy", array.clone())]), false, &["os.getcwd"]);
        check(&zip(&[("arr_0", array)]), false, &["os.getcwd"]);
    }
    for kind in ["<f4", "|b1", ">i8", "|S10", "<U3", "|V8", "<M8[ns]", "<m8[25s]", "<c16"] {
        let numbers =
            array(&format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (3, 4), }}   \n"), &[0; 4]);
        assert!(is_none(&numbers) && is_none(&zip(&[("a.npy", numbers.clone())])), "{kind}");
    }
    let fields = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }";
    check(&array(fields, &[0; 4]), false, &[]);
}

#[test]
fn members_of_an_archive_are_what_they_hold_whatever_they_are_called() {
    let benign = pickle(&int(1));
    check(&zip(&[("a/DATA.PKL", evil()), ("a/x.pkl", benign.clone())]), false, &["os.getcwd"]);
    check(&zip(&[("a.pkl", benign.clone()), ("payload.bin", evil())]), false, &["os.getcwd"]);
    check(&zip(&[("payload", [b"N.".to_vec(), evil()].concat())]), false, &["os.getcwd"]);
    check(&checkpoint(&weights(), &[("m/.data/serialization_id", evil())]), false, &["os.getcwd"]);
    check(&checkpoint(&weights(), &[("m/data/extra", evil())]), false, &["os.getcwd"]);
    check(&checkpoint(&weights(), &[("m/DATA.pkl", benign)]), false, &[]);
    let named = dict(&[("w", tensor("0", &[2, 4])), ("v", tensor("x.pkl", &[4]))]);
    check(&checkpoint(&named, &[("m/data/x.pkl", evil())]), false, &["os.getcwd"]);
    // broken behind a call, and too long to be followed
    assert!(read(&zip(&[("a", b"cmine\nrun\n)R\xff".to_vec())])).is_pickle);
    assert!(read(&zip(&[("a", b"S'\\x6fs'\nS'f'\n\x93)R\xff".to_vec())])).is_pickle);
    let long = [b"N0".repeat(600_000), b"cos\nsystem\n)R.".to_vec()].concat();
    check(&zip(&[("a", long)]), false, &[]);
    // the storages of a checkpoint are what it says, and no more
    check(&checkpoint(&weights(), &[("m/.data/serialization_id", b"0636457".to_vec())]), true, &[]);
    let texts = ["hello", "Please\nwait", "cats\nare\nfine", "This is X"].map(|text| ("a", text.into()));
    assert!(texts.into_iter().all(|text| is_none(&zip(&[text]))));
}

#[test]
fn what_is_not_looked_at_in_an_archive_is_doubted() {
    let names: Vec<String> = (0..1500).map(|at| at.to_string()).collect();
    let mut members: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), b"x".to_vec())).collect();
    let header = read(&zip(&members));
    assert!(!header.is_pickle && header.doubts == ["of its members only 1024 were looked at"], "{header:?}");
    members.truncate(1000);
    assert!(is_none(&zip(&members)));
}

#[test]
fn a_storage_whose_own_header_says_otherwise_is_doubted() {
    let fine = checkpoint(&weights(), &[]);
    let at = fine.windows(8).position(|name| name == b"m/data/1").unwrap();
    for byte in [at - 24, at - 22, at - 16, at - 12, at + 7] {
        let mut changed = fine.clone();
        changed[byte] ^= 1;
        check(&changed, false, &[]);
    }
}

#[test]
fn a_bare_pickle_does_not_have_the_tensors_that_it_describes() {
    let header = check(&pickle(&weights()), false, &[]);
    let damage = header.damage.unwrap().to_string();
    assert!(damage.starts_with("its tensors are in storages that are not here"), "{damage}");
}

#[test]
fn lines_are_read_as_python_reads_them() {
    for kept in ["1_0", " 10 ", "+10", "0010", "10\x0b", "99999999999999999999"] {
        check(format!("Np{kept}\n0g{kept}\n0cos\nsystem\n)R.").as_bytes(), false, &["os.system"]);
    }
    for bad in ["_1", "1__0", "-1", "", "1 0", "0x1"] {
        assert!(parse(&mut Slice(format!("Np{bad}\n0cos\nsystem\n)R.").as_bytes())).is_err(), "{bad}");
    }
    let long = [b"V", &*b"a".repeat(100_000), b"\n0cos\nsystem\n)R."].concat();
    check(&long, false, &["os.system"]);
    let longer = [b"V", &*b"a".repeat(10 << 20), b"\n0cos\nsystem\n)R."].concat();
    assert!(read(&longer).is_pickle, "it was not followed to its end");
}

#[test]
fn names_and_shapes_have_room_for_a_model_and_no_more() {
    let many = |name: usize, dims: usize| {
        let named = |at: u32| {
            let (name, offset) = (format!("{at:06}{}", "n".repeat(name)), int(at));
            let tensor = [&b"h\x01("[..], b"h\x02", &offset, b"h\x03h\x03tR"].concat();
            [&b"X"[..], &u32::try_from(name.len()).unwrap().to_le_bytes(), name.as_bytes(), &tensor].concat()
        };
        let storage =
            tuple(&[text("storage"), global("torch", "HalfStorage"), text("0"), text("cpu"), int(1 << 20)]);
        let kept = [
            &global("torch._utils", "_rebuild_tensor_v2")[..],
            b"q\x010",
            &storage,
            b"Qq\x020",
            &tuple(&vec![int(1); dims]),
            b"q\x030",
        ];
        let tensors: Vec<u8> = (0..20_000).flat_map(named).collect();
        read(&pickle(&[&kept.concat()[..], b"}(", &tensors, b"u"].concat()))
    };
    let real = many(60, 5);
    assert_eq!((real.tensors.len(), real.doubts.len()), (20_000, 0), "{:?}", real.damage);
    let bytes = |header: &Header| header.tensors.iter().map(|tensor| tensor.name.len()).sum::<usize>();
    let named = many(300, 2);
    assert!(bytes(&named) <= 4 << 20 && !named.doubts.is_empty(), "{}", bytes(&named));
    assert!(matches!(many(0, 64).damage, Some(Error::TooLarge { .. })));
}

#[test]
fn a_long_name_counts_each_time_that_it_is_reached() {
    let long = |text: String| {
        [&b"X"[..], &u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
    };
    let name = |at: usize| [long(format!("zz{}{at:04}", "a".repeat(1000))), text("f"), vec![0x93]].concat();
    let names: Vec<u8> = (0..256).flat_map(|at| [name(at), b"0".to_vec()].concat()).collect();
    let last =
        [long(format!("zz{}0255", "a".repeat(1000))), b"q\x000".to_vec(), text("f"), b"q\x010".to_vec()];
    let again = b"h\0h\x01\x930".repeat(240_000);
    let header = read(&pickle(&[names, last.concat(), again, b"N".to_vec()].concat()));
    assert!(matches!(header.damage, Some(Error::TooLarge { .. })), "{:?}", header.damage);
}
