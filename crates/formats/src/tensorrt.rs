//! TensorRT plans: a magic, and the version that made it where the header says so. The rest is for that version alone.

use crate::{Error, Input};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The TensorRT that made it and alone reads it, `10.3.0.26`.
    pub version: Option<String>,
}

/// As a little-endian word of the file's start, by NVIDIA's trtexec; the second is of older versions.
pub(crate) const MAGICS: [&[u8; 4]; 2] = [b"ftrt", b"ptrt"];
/// Bytes that trtexec reads to say the version.
const HEAD: usize = 28;
/// Where the version stands in the only layout of the header that trtexec knows, bytes from the start.
const VERSION: usize = 24;
/// Plans carry their version since 8.6; a far larger one is something else.
const MAJORS: std::ops::RangeInclusive<u8> = 8..=99;

/// Reads a plan's header.
pub fn parse(input: &mut impl Input) -> Result<Header, Error> {
    let len = input.len();
    let head = input.view(0, HEAD)?;
    let Some(magic) = head.first_chunk::<4>() else { return Err(Error::Truncated { at: len }) };
    if !MAGICS.contains(&magic) {
        return Err(Error::BadMagic { expected: "TensorRT" });
    }
    let Some(head) = head.first_chunk::<HEAD>() else { return Err(Error::Truncated { at: len }) };
    let is_known = head.get(4..8) == Some(&[0; 4]);
    let version = head.last_chunk::<{ HEAD - VERSION }>().filter(|version| {
        magic == MAGICS[0] && is_known && version.first().is_some_and(|major| MAJORS.contains(major))
    });
    let version = version.map(|[major, minor, patch, build]| format!("{major}.{minor}.{patch}.{build}"));
    Ok(Header { version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slice;

    #[test]
    fn the_version_is_told_where_its_place_is_known() {
        let plan = |magic: &[u8], layout: u8| {
            [magic, &[layout, 0, 0, 0], &[7; 16], &[10, 3, 0, 26], b"plan"].concat()
        };
        let version = |bytes: &[u8]| parse(&mut Slice(bytes)).unwrap().version;
        assert_eq!(version(&plan(b"ftrt", 0)).as_deref(), Some("10.3.0.26"));
        assert_eq!(version(&plan(b"ftrt", 1)), None);
        assert_eq!(version(&plan(b"ptrt", 0)), None);
        for end in 0..HEAD {
            assert!(matches!(parse(&mut Slice(&plan(b"ftrt", 0)[..end])), Err(Error::Truncated { .. })));
        }
        assert!(matches!(parse(&mut Slice(b"plan")), Err(Error::BadMagic { .. })));
    }
}
