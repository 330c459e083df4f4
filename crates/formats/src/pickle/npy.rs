//! NumPy's `.npy`: an array of Python objects is a pickle, any other is numbers.

use super::{Findings, Header, Layout, follow_one, follow_rest};
use crate::{Error, Input, cursor::Cursor};

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// A description is a line of about 100 bytes.
const MAX_DESCRIPTION: usize = 64 << 10;

pub(super) fn parse(input: &mut impl Input) -> Result<Header, Error> {
    let length = input.len();
    let mut findings = Findings::default();
    if !follow_array(input, 0..length, &mut findings)? {
        return Err(Error::BadMagic { expected: "a pickle" });
    }
    Ok(findings.header(Layout::NumPy, Vec::new()))
}

/// Follows the pickle of an array of objects; false where it is an array of numbers.
pub(super) fn follow_array(
    input: &mut impl Input,
    range: std::ops::Range<u64>,
    findings: &mut Findings,
) -> Result<bool, Error> {
    let mut cursor = Cursor::within(input, range.clone());
    cursor.skip(MAGIC.len() as u64, 1)?;
    let [major, _minor] = cursor.take()?;
    let described =
        if major == 1 { u64::from(u16::from_le_bytes(cursor.take()?)) } else { u64::from(cursor.u32()?) };
    let description = cursor.bytes(described, MAX_DESCRIPTION)?;
    let start = cursor.at();
    let text = String::from_utf8_lossy(&description);
    // A type of fields may have an object among them.
    let kind = text.split_once("'descr'").map_or(&*text, |(_, rest)| rest);
    let kind = kind.split_once("'fortran_order'").map_or(kind, |(kind, _)| kind);
    if !kind.contains('O') {
        return Ok(false);
    }
    match follow_one(input, start..range.end, findings) {
        Ok((_, end)) => follow_rest(input, end..range.end, findings)?,
        Err(Error::Io(error)) => return Err(error.into()),
        Err(error) => findings.damage(error.to_string()),
    }
    Ok(true)
}
