//! Where the directory of a zip archive is: its end record, also where the numbers are too large for that.

use super::u16;
use crate::{Error, Input, cursor::Cursor};

/// Bytes of the end record without its comment.
const END: usize = 22;
/// The longest comment, bytes.
const MAX_COMMENT: usize = 0xffff;
/// Bytes of the record that says where the large end record is.
const LOCATOR: u64 = 20;

/// Whether an end record is the last of a file.
pub fn has_end(input: &mut impl Input) -> Result<bool, Error> {
    let Some(at) = input.len().checked_sub(END as u64) else { return Ok(false) };
    Ok(input.view(at, END)?.starts_with(b"PK\x05\x06"))
}

/// What the end of an archive says of its directory.
pub(super) struct EndRecord {
    /// Where the directory must end, bytes from the start of the file.
    pub(super) at: u64,
    pub(super) count: u64,
    pub(super) size: u64,
    pub(super) offset: u64,
    pub(super) comment: u64,
}

impl EndRecord {
    pub(super) fn find(input: &mut impl Input) -> Result<Self, Error> {
        let length = input.len();
        let tail_at = length.saturating_sub((END + MAX_COMMENT) as u64);
        let tail = input.view(tail_at, END + MAX_COMMENT)?;
        let is_end = |at: &usize| {
            let record = tail.get(*at..).unwrap_or_default();
            let comment = record
                .get(END - 2..END)
                .and_then(|bytes| bytes.first_chunk())
                .map(|bytes| u16::from_le_bytes(*bytes));
            record.starts_with(b"PK\x05\x06")
                && comment.is_some_and(|comment| record.len() == END + usize::from(comment))
        };
        let last = tail.len().checked_sub(END).map(|last| (0..=last).rev());
        let Some(found) = last.into_iter().flatten().find(is_end) else {
            return Err(Error::Truncated { at: length });
        };
        let at = tail_at + found as u64;
        let mut cursor = Cursor::within(input, at..length);
        cursor.skip(10, 1)?;
        let (count, size, offset) = (u16(&mut cursor)?, cursor.u32()?, cursor.u32()?);
        let comment = u64::from(u16(&mut cursor)?);
        let small = Self { at, count: count.into(), size: size.into(), offset: offset.into(), comment };
        let is_large = count == u16::MAX || size == u32::MAX || offset == u32::MAX;
        Ok(if is_large { small.large(input)?.unwrap_or(small) } else { small.before_large(input) })
    }

    /// Numbers that do not fit stand in a record of their own, to which a locator before this one leads.
    fn large(&self, input: &mut impl Input) -> Result<Option<Self>, Error> {
        let Some(locator) = self.at.checked_sub(LOCATOR) else { return Ok(None) };
        let mut cursor = Cursor::within(input, locator..self.at);
        if cursor.take()? != *b"PK\x06\x07" {
            return Ok(None);
        }
        cursor.skip(4, 1)?;
        let at = cursor.u64()?;
        let mut cursor = Cursor::within(input, at..locator);
        if at >= locator || cursor.take()? != *b"PK\x06\x06" {
            return cursor.corrupt("no large end record where it should be");
        }
        cursor.skip(28, 1)?;
        let (count, size, offset) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        Ok(Some(Self { at, count, size, offset, comment: self.comment }))
    }

    /// Some write the large record though all numbers fit; the directory then ends before that.
    fn before_large(self, input: &mut impl Input) -> Self {
        let large = self.large(input).ok().flatten();
        let is_same =
            |large: &Self| (large.count, large.size, large.offset) == (self.count, self.size, self.offset);
        large.filter(is_same).unwrap_or(self)
    }
}
