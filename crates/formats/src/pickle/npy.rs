//! NumPy's `.npy`: an array of Python objects is a pickle, any other is numbers. Takes an array for numbers only where
//! its description says so in the way that NumPy writes it, as NumPy reads it as Python.

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
    Ok(Header { is_pickle: true, ..findings.header(Layout::NumPy, Vec::new()) })
}

/// Follows the pickle of an array of objects; false where it is an array of numbers.
pub(super) fn follow_array(
    input: &mut impl Input,
    range: std::ops::Range<u64>,
    findings: &mut Findings,
) -> Result<bool, Error> {
    let (start, is_plain) = described(input, range.clone())?;
    if is_plain {
        return Ok(false);
    }
    match follow_one(input, start..range.end, findings) {
        Ok((_, end)) => follow_rest(input, end..range.end, findings)?,
        Err(Error::Io(error)) => return Err(error.into()),
        Err(error) if findings.is_pickle() => findings.damage(error.to_string()),
        Err(_) => findings.doubt("an array whose elements are described in an unusual way".to_owned()),
    }
    Ok(true)
}

/// Where an array's elements begin, and whether they are numbers beyond doubt.
pub(super) fn described(input: &mut impl Input, range: std::ops::Range<u64>) -> Result<(u64, bool), Error> {
    let mut cursor = Cursor::within(input, range);
    cursor.skip(MAGIC.len() as u64, 1)?;
    let [major, _minor] = cursor.take()?;
    let described =
        if major == 1 { u64::from(u16::from_le_bytes(cursor.take()?)) } else { u64::from(cursor.u32()?) };
    let description = cursor.bytes(described, MAX_DESCRIPTION)?;
    let is_plain = std::str::from_utf8(&description).ok().and_then(numbers).is_some();
    Ok((cursor.at(), is_plain && described <= MAX_DESCRIPTION as u64))
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }`: these three keys, each once, and nothing that
/// Python would read otherwise than it looks. None where it is written in any other way.
fn numbers(description: &str) -> Option<()> {
    let mut rest = description.trim_ascii().strip_prefix('{')?.strip_suffix('}')?.trim_ascii();
    let mut seen = [false; 3];
    while !rest.is_empty() {
        let (key, after) = rest.strip_prefix('\'')?.split_once('\'')?;
        let value = after.trim_ascii_start().strip_prefix(':')?.trim_ascii_start();
        let (at, after) = match key {
            "descr" => (0, kind(value)?),
            "fortran_order" => (1, value.strip_prefix("False").or_else(|| value.strip_prefix("True"))?),
            "shape" => (2, shape(value)?),
            _ => return None,
        };
        if std::mem::replace(seen.get_mut(at)?, true) {
            return None;
        }
        let after = after.trim_ascii_start();
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_ascii_start(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    (seen == [true; 3]).then_some(())
}

/// Steps over a type of numbers, of text, or of plain bytes: `'<f4'`, `'|S10'`, `'<M8[ns]'`.
fn kind(value: &str) -> Option<&str> {
    let (kind, rest) = value.strip_prefix('\'')?.split_once('\'')?;
    let kind = kind.strip_prefix(['<', '>', '|', '=']).unwrap_or(kind);
    let width = kind.strip_prefix(['b', 'i', 'u', 'f', 'c', 'S', 'U', 'V', 'm', 'M'])?;
    let (width, unit) = width.split_once('[').map_or((width, None), |(width, unit)| (width, Some(unit)));
    let is_unit = |unit: &str| {
        let name = unit.strip_suffix(']');
        kind.starts_with(['m', 'M'])
            && name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/'))
    };
    let is_width = !width.is_empty() && width.bytes().all(|byte| byte.is_ascii_digit());
    (is_width && unit.is_none_or(is_unit)).then_some(rest)
}

/// Steps over a tuple of whole numbers; those of Python 2 may end in `L`.
fn shape(value: &str) -> Option<&str> {
    let (shape, rest) = value.strip_prefix('(')?.split_once(')')?;
    shape.bytes().all(|byte| byte.is_ascii_digit() || b" ,L".contains(&byte)).then_some(rest)
}
