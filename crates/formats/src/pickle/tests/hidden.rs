//! Pickles where nobody looks for one, and files that cost more to look at than they have bytes.

use super::*;

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
