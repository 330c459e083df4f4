//! Flatbuffers: tables, vectors and texts behind offsets. An offset may lead anywhere in the input, never out of it.

use crate::{Error, Input};

pub(crate) struct Flat<'a, I> {
    input: &'a mut I,
    /// Where the buffer begins in the input: one may lie within another.
    base: u64,
}

/// Where a table is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table(u64);

/// Elements of a vector, from the buffer's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vector {
    pub(crate) at: u64,
    pub(crate) len: u64,
}

impl<'a, I: Input> Flat<'a, I> {
    pub(crate) fn new(input: &'a mut I, base: u64) -> Self {
        Self { input, base }
    }

    pub(crate) fn root(&mut self) -> Result<Table, Error> {
        self.follow(0).map(Table)
    }

    fn take<const N: usize>(&mut self, at: u64) -> Result<[u8; N], Error> {
        let at = self.base.saturating_add(at);
        let window = self.input.view(at, N)?;
        window.first_chunk().copied().ok_or(Error::Truncated { at: self.input.len() })
    }

    pub(crate) fn u32(&mut self, at: u64) -> Result<u32, Error> {
        self.take(at).map(u32::from_le_bytes)
    }

    /// Returns where an offset leads.
    fn follow(&mut self, at: u64) -> Result<u64, Error> {
        Ok(at + u64::from(self.u32(at)?))
    }

    /// Returns where a table's field is; None where it has its default.
    pub(crate) fn field(&mut self, table: Table, no: u64) -> Result<Option<u64>, Error> {
        let back = i64::from(i32::from_le_bytes(self.take(table.0)?));
        let Some(vtable) = i64::try_from(table.0).ok().and_then(|at| u64::try_from(at - back).ok()) else {
            return Err(Error::Corrupt { what: "a table without a layout".to_owned(), at: table.0 });
        };
        let slot = 4 + 2 * no;
        if slot + 2 > u64::from(u16::from_le_bytes(self.take(vtable)?)) {
            return Ok(None);
        }
        let offset = u64::from(u16::from_le_bytes(self.take(vtable + slot)?));
        Ok((offset > 0).then_some(table.0 + offset))
    }

    pub(crate) fn number<const N: usize>(&mut self, table: Table, no: u64) -> Result<Option<[u8; N]>, Error> {
        self.field(table, no)?.map(|at| self.take(at)).transpose()
    }

    pub(crate) fn vector(&mut self, table: Table, no: u64) -> Result<Option<Vector>, Error> {
        let Some(at) = self.field(table, no)? else { return Ok(None) };
        let at = self.follow(at)?;
        let len = u64::from(self.u32(at)?);
        Ok(Some(Vector { at: at + 4, len }))
    }

    /// Returns the table that a vector of tables has at a place.
    pub(crate) fn at(&mut self, vector: Vector, no: u64) -> Result<Table, Error> {
        self.follow(vector.at + 4 * no).map(Table)
    }

    /// Returns at most `limit` bytes of a text; what is not UTF-8 is replaced.
    pub(crate) fn text(&mut self, table: Table, no: u64, limit: usize) -> Result<Option<String>, Error> {
        let Some(vector) = self.vector(table, no)? else { return Ok(None) };
        let kept = usize::try_from(vector.len).unwrap_or(limit).min(limit);
        let window = self.input.view(self.base.saturating_add(vector.at), kept)?;
        let Some(bytes) = window.get(..kept) else { return Err(Error::Truncated { at: self.input.len() }) };
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }
}
