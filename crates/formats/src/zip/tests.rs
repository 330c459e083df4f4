use super::*;
use crate::Slice;

/// One member of an archive, each header as it is to be written.
#[derive(Clone)]
struct Member {
    name: &'static str,
    packed: Vec<u8>,
    size: u32,
    crc: u32,
    method: u16,
    flags: u16,
    /// What follows the data where the numbers do.
    behind: Vec<u8>,
}

const TEXT: &[u8] = b"some bytes";

fn member(name: &'static str) -> Member {
    let size = u32::try_from(TEXT.len()).unwrap();
    Member { name, packed: TEXT.to_vec(), size, crc: 0x9f59_7f55, method: 0, flags: 0, behind: Vec::new() }
}

/// Writes members; numbers that are not their own come in as `large`, in the record for those.
fn archive(members: &[Member], is_large: bool) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let at = bytes.len() as u64;
        let head = [&[0; 2][..], &member.flags.to_le_bytes(), &member.method.to_le_bytes(), &[0; 4]].concat();
        let packed = member.packed.len() as u64;
        let size = |number: u64| u32::try_from(number).unwrap().to_le_bytes();
        let numbers = [member.crc.to_le_bytes(), size(packed), size(u64::from(member.size))].concat();
        let own = if member.flags & SIZES_BEHIND == 0 { numbers.clone() } else { vec![0; 12] };
        let length = u16::try_from(member.name.len()).unwrap().to_le_bytes();
        let name = member.name.as_bytes();
        bytes.extend(
            [&b"PK\x03\x04"[..], &head, &own, &length, &[0; 2], name, &member.packed, &member.behind]
                .concat(),
        );
        let large = [u64::from(member.size), packed, at].map(u64::to_le_bytes).concat();
        let extra = if is_large { [&[1, 0, 24, 0][..], &large].concat() } else { Vec::new() };
        let (numbers, at) = match is_large {
            true => ([&member.crc.to_le_bytes()[..], &[255; 8]].concat(), [255; 4]),
            false => (numbers, size(at)),
        };
        let extra_length = u16::try_from(extra.len()).unwrap().to_le_bytes();
        let entry =
            [&b"PK\x01\x02\0\0"[..], &head, &numbers, &length, &extra_length, &[0; 10], &at, name, &extra];
        directory.extend(entry.concat());
    }
    let (at, size) = (bytes.len() as u64, directory.len() as u64);
    bytes.extend(directory);
    let count = members.len() as u64;
    let end = if is_large {
        let record = bytes.len() as u64;
        let numbers = [count, count, size, at].map(u64::to_le_bytes).concat();
        bytes.extend([&b"PK\x06\x06"[..], &44_u64.to_le_bytes(), &[0; 12], &numbers].concat());
        bytes.extend([&b"PK\x06\x07\0\0\0\0"[..], &record.to_le_bytes(), &[1, 0, 0, 0]].concat());
        [&b"PK\x05\x06\0\0\0\0"[..], &[255; 12], &[0; 2]].concat()
    } else {
        let small = |number: u64| number.to_le_bytes();
        [
            &b"PK\x05\x06\0\0\0\0"[..],
            &small(count)[..2],
            &small(count)[..2],
            &small(size)[..4],
            &small(at)[..4],
            &[0; 2],
        ]
        .concat()
    };
    [bytes, end].concat()
}

#[track_caller]
fn check(bytes: &[u8], expected: &[u8], odd: &[&str]) {
    let mut input = Slice(bytes);
    let mut archive = Archive::read(&mut input).unwrap();
    let content = match archive.content(&mut input, 0, 1000).unwrap() {
        Content::Stored(range) => all(&mut input, range).unwrap(),
        Content::Unpacked(content) => content,
        Content::Unknown(why) => panic!("{why}"),
    };
    assert_eq!(
        (content.as_slice(), archive.odd),
        (expected, odd.iter().map(|odd| (*odd).to_owned()).collect())
    );
}

#[test]
fn members_are_read_in_each_way_that_tools_write_them() {
    let behind = Member {
        flags: SIZES_BEHIND,
        behind: [&b"PK\x07\x08"[..], &[0; 12]].concat(),
        ..member("m/data.pkl")
    };
    for is_large in [false, true] {
        check(&archive(&[member("a"), member("b/c")], is_large), TEXT, &[]);
        check(&archive(&[behind.clone(), member("b/c")], is_large), TEXT, &[]);
    }
    // One block that is stored within a deflated stream.
    let packed = [&[1, 10, 0, 0xf5, 0xff][..], TEXT].concat();
    let deflated = Member { method: DEFLATED, packed, ..member("a") };
    check(&archive(std::slice::from_ref(&deflated), false), TEXT, &[]);
    let lying = Member { size: 9, ..deflated };
    let lying = archive(&[lying], false);
    let mut input = Slice(&lying);
    let content = Archive::read(&mut input).unwrap().content(&mut input, 0, 1000).unwrap();
    assert!(matches!(content, Content::Unknown(_)), "more comes out than was said");
}

#[test]
fn what_tools_would_not_write_is_odd() {
    let crc = Member { crc: 1, ..member("a") };
    check(&archive(&[crc], false), TEXT, &["a wrong checksum of \"a\""]);
    let locked = Member { flags: ENCRYPTED, ..member("a") };
    check(&archive(&[locked], false), TEXT, &["\"a\" says that it is encrypted"]);
    check(&archive(&[member("a"), member("a")], false), TEXT, &["two members called \"a\""]);
    check(&archive(&[member("/etc/x")], false), TEXT, &["a member called \"/etc/x\""]);
    check(
        &[&[0; 9], &*archive(&[member("a")], false)].concat(),
        TEXT,
        &["9 bytes that are not the archive's"],
    );
    let mut renamed = archive(&[member("a")], false);
    renamed[30] = b'b';
    check(&renamed, TEXT, &["\"a\" calls itself \"b\""]);
    let mut commented = archive(&[member("a")], false);
    let at = commented.len() - 2;
    commented[at] = 3;
    commented.extend(b"abc");
    check(&commented, TEXT, &["a comment of 3 bytes behind the archive"]);
}

#[test]
fn a_directory_that_lies_is_refused_and_a_missing_one_may_still_come() {
    for is_large in [false, true] {
        let bytes = archive(&[member("a"), member("b")], is_large);
        for end in 0..bytes.len() {
            assert!(
                matches!(Archive::read(&mut Slice(&bytes[..end])), Err(Error::Truncated { .. })),
                "{end}"
            );
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x80;
            drop(Archive::read(&mut Slice(&changed)));
        }
    }
    let mut counted = archive(&[member("a")], false);
    let at = counted.len() - 12;
    counted[at] = 200;
    assert!(matches!(Archive::read(&mut Slice(&counted)), Err(Error::Corrupt { .. })));
}
