//! The directory of a zip archive, and the members that are asked for. Unpacks nothing to anywhere, and trusts no
//! archive that describes a member in two ways: loaders differ in which of them they believe.

mod end;
#[cfg(test)]
mod tests;

use crate::{Error, Input, cursor::Cursor, quoted};
use end::EndRecord;
pub use end::has_end;
use std::{collections::BTreeSet, ops::Range};

/// Members of an archive; a checkpoint has one for each storage.
const MAX_ENTRIES: u64 = 1 << 17;
/// The directory, bytes.
const MAX_DIRECTORY: u64 = 16 << 20;
/// Bytes of a member's own header before its name.
const LOCAL: u64 = 30;
const MAX_ODD: usize = 8;
/// Headers of members' own that are compared; real checkpoints have under 20,000 storages.
const MAX_COMPARED: usize = 1 << 15;
/// Bytes of a packed member that are read for its start, and of that start.
const PACKED_START: u64 = 16 << 10;
const START: usize = 8 << 10;

/// Bits of a member's flags.
const ENCRYPTED: u16 = 1;
const SIZES_BEHIND: u16 = 1 << 3;
const PATCHED: u16 = 1 << 5;
const STRONG: u16 = 1 << 6;
const MASKED: u16 = 1 << 13;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) entries: Vec<Entry>,
    /// What no tool that writes such archives would do.
    pub(crate) odd: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    flags: u16,
    method: u16,
    crc: u32,
    /// Bytes in the file, and unpacked.
    packed: u64,
    pub(crate) size: u64,
    /// Where its own header is, bytes from the start of the file.
    at: u64,
}

/// A member's bytes.
pub(crate) enum Content {
    /// They lie in the file as they are.
    Stored(Range<u64>),
    Unpacked(Vec<u8>),
    /// None can be had, and why.
    Unknown(String),
}

impl Archive {
    /// Reads the directory. `Truncated` where there is no end record: the rest may still arrive.
    pub(crate) fn read(input: &mut impl Input) -> Result<Self, Error> {
        let mut archive = Self { entries: Vec::new(), odd: Vec::new() };
        let end = EndRecord::find(input)?;
        if end.comment > 0 {
            archive.odd(format!("a comment of {} bytes behind the archive", end.comment));
        }
        // Where the directory would have to begin to end at its end record; loaders differ in which they go by.
        let Some(start) = end.at.checked_sub(end.size) else {
            return Err(Error::Corrupt {
                what: "the directory does not fit before its end".into(),
                at: end.at,
            });
        };
        let Some(before) = start.checked_sub(end.offset) else {
            return Err(Error::Corrupt { what: "the directory lies behind its end".into(), at: end.at });
        };
        if before > 0 {
            archive.odd(format!("{before} bytes that are not the archive's"));
        }
        if end.count > MAX_ENTRIES || end.size > MAX_DIRECTORY {
            return Err(Error::TooLarge {
                what: format!("a directory of {} members", end.count),
                limit: MAX_DIRECTORY,
            });
        }
        let mut cursor = Cursor::within(input, start..end.at);
        for _ in 0..end.count {
            let entry = Entry::read(&mut cursor, before).map_err(|error| within(error, end.at))?;
            archive.entries.push(entry);
        }
        if cursor.at() != end.at {
            archive.odd("the directory is longer than its members".to_owned());
        }
        archive.check(start);
        Ok(archive)
    }

    fn odd(&mut self, what: String) {
        if self.odd.len() < MAX_ODD && !self.odd.contains(&what) {
            self.odd.push(what);
        }
    }

    /// Notes what the directory alone contradicts itself in. Some readers tell names apart without regard to case.
    fn check(&mut self, directory: u64) {
        let mut names: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable_by(|one, other| letters(one).cmp(letters(other)));
        let twice: BTreeSet<String> = names
            .windows(2)
            .filter_map(|pair| if let [one, other] = pair { Some((one, other)) } else { None })
            .filter(|(one, other)| one.eq_ignore_ascii_case(other))
            .map(|(one, _)| (*one).to_owned())
            .take(MAX_ODD)
            .collect();
        for name in twice {
            self.odd(format!("two members called {}", quoted(&name)));
        }
        let wild: Vec<String> =
            self.entries.iter().filter(|entry| entry.is_wild()).map(|entry| quoted(&entry.name)).collect();
        for name in wild {
            self.odd(format!("a member called {name}"));
        }
        let mut spans: Vec<(u64, u64)> = self.entries.iter().map(|entry| (entry.at, entry.end())).collect();
        spans.sort_unstable();
        let overlap = spans.windows(2).any(|pair| matches!(pair, [(_, end), (next, _)] if end > next));
        if overlap || spans.last().is_some_and(|(_, end)| *end > directory) {
            self.odd("members that share bytes".to_owned());
        }
    }

    /// Notes where the two headers of any member differ.
    pub(crate) fn compare(&mut self, input: &mut impl Input) -> Result<(), Error> {
        let mut found = Vec::new();
        for entry in self.entries.iter().take(MAX_COMPARED) {
            match entry.packed_range(input) {
                Ok((_, odd)) => found.extend(odd),
                Err(Error::Io(error)) => return Err(error.into()),
                Err(error) => found.push(format!("no header of {}: {error}", quoted(&entry.name))),
            }
            if found.len() >= MAX_ODD {
                break;
            }
        }
        if self.entries.len() > MAX_COMPARED {
            found.push(format!("more members than the {MAX_COMPARED} that were compared"));
        }
        found.into_iter().for_each(|odd| self.odd(odd));
        Ok(())
    }

    /// Returns the first bytes of a member, all of them where it is not packed.
    pub(crate) fn start(&self, input: &mut impl Input, at: usize) -> Result<Content, Error> {
        let Some(entry) = self.entries.get(at) else { return Ok(Content::Unknown("it is not there".into())) };
        let packed = match entry.packed_range(input) {
            Ok((range, _)) => range,
            Err(Error::Io(error)) => return Err(error.into()),
            Err(error) => return Ok(Content::Unknown(error.to_string())),
        };
        match entry.method {
            STORED => Ok(Content::Stored(packed)),
            DEFLATED => {
                let bytes = all(input, packed.start..packed.end.min(packed.start + PACKED_START))?;
                let start = miniz_oxide::inflate::decompress_to_vec_with_limit(&bytes, START);
                Ok(Content::Unpacked(start.unwrap_or_else(|cut| cut.output)))
            }
            _ => Ok(Content::Unknown("it is packed otherwise".into())),
        }
    }

    /// Returns a member's bytes, at most `most` of them, and notes where its two headers differ.
    pub(crate) fn content(&mut self, input: &mut impl Input, at: usize, most: u64) -> Result<Content, Error> {
        let Some(entry) = self.entries.get(at).cloned() else {
            return Ok(Content::Unknown("it is not there".into()));
        };
        let packed = match entry.packed_range(input) {
            Ok((range, odd)) => {
                odd.into_iter().for_each(|odd| self.odd(odd));
                range
            }
            Err(Error::Io(error)) => return Err(error.into()),
            Err(error) => return Ok(Content::Unknown(error.to_string())),
        };
        if entry.size > most || entry.packed > most {
            return Ok(Content::Unknown(format!("it has {} bytes", entry.size.max(entry.packed))));
        }
        match entry.method {
            STORED => {
                if checksum(input, packed.clone())? != entry.crc {
                    self.odd(format!("a wrong checksum of {}", quoted(&entry.name)));
                }
                Ok(Content::Stored(packed))
            }
            DEFLATED => {
                let bytes = all(input, packed)?;
                let limit = usize::try_from(entry.size).unwrap_or(usize::MAX);
                let Ok(unpacked) = miniz_oxide::inflate::decompress_to_vec_with_limit(&bytes, limit) else {
                    return Ok(Content::Unknown("it cannot be unpacked".into()));
                };
                if unpacked.len() != limit || crc(&unpacked, 0) != entry.crc {
                    self.odd(format!("a wrong checksum of {}", quoted(&entry.name)));
                }
                Ok(Content::Unpacked(unpacked))
            }
            method => {
                Ok(Content::Unknown(format!("it is packed by method {method}, which is not read here")))
            }
        }
    }
}

impl Entry {
    /// `before` is how many bytes stand in front of the archive.
    fn read(cursor: &mut Cursor<'_, impl Input>, before: u64) -> Result<Self, Error> {
        if cursor.take()? != *b"PK\x01\x02" {
            return cursor.corrupt("no member where the directory has one");
        }
        cursor.skip(4, 1)?;
        let (flags, method) = (u16(cursor)?, u16(cursor)?);
        cursor.skip(4, 1)?;
        let (crc, packed, size) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let (name, extra, comment) = (u16(cursor)?, u16(cursor)?, u16(cursor)?);
        cursor.skip(8, 1)?;
        let at = cursor.u32()?;
        let name = cursor.bytes(u64::from(name), usize::from(name))?;
        let extra = cursor.bytes(u64::from(extra), usize::from(extra))?;
        cursor.skip(u64::from(comment), 1)?;
        let mut large = large_numbers(&extra);
        let mut full = |small: u32| {
            if small == u32::MAX { large.next().unwrap_or(u64::from(small)) } else { u64::from(small) }
        };
        let (size, packed, at) = (full(size), full(packed), full(at));
        let name = String::from_utf8_lossy(&name).into_owned();
        let at = at.saturating_add(before);
        Ok(Self { name, flags, method, crc, packed, size, at })
    }

    /// A name that is no plain path below the archive.
    fn is_wild(&self) -> bool {
        let name = &self.name;
        name.is_empty()
            || name.starts_with('/')
            || name.contains(['\\', ':', char::REPLACEMENT_CHARACTER])
            || name.chars().any(char::is_control)
            || name.split('/').any(|part| part == "..")
    }

    fn end(&self) -> u64 {
        self.at.saturating_add(LOCAL + self.name.len() as u64).saturating_add(self.packed)
    }

    /// Where its bytes lie, by its own header, and what in that is odd.
    fn packed_range(&self, input: &mut impl Input) -> Result<(Range<u64>, Vec<String>), Error> {
        let length = input.len();
        let mut cursor = Cursor::within(input, self.at..length);
        if cursor.take()? != *b"PK\x03\x04" {
            return cursor.corrupt("no header where the directory has one");
        }
        cursor.skip(2, 1)?;
        let (flags, method) = (u16(&mut cursor)?, u16(&mut cursor)?);
        cursor.skip(4, 1)?;
        let (crc, packed, size) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let (name, extra) = (u16(&mut cursor)?, u16(&mut cursor)?);
        let name = String::from_utf8_lossy(&cursor.bytes(u64::from(name), usize::from(name))?).into_owned();
        cursor.skip(u64::from(extra), 1)?;
        let start = cursor.at();
        cursor.skip(self.packed, 1)?;
        let is = |small: u32, full: u64| small == u32::MAX || u64::from(small) == full;
        let comes_behind = flags & SIZES_BEHIND != 0 && (crc, packed, size) == (0, 0, 0);
        let is_same = comes_behind || (crc == self.crc && is(packed, self.packed) && is(size, self.size));
        let mut odd = Vec::new();
        if name != self.name {
            odd.push(format!("{} calls itself {}", quoted(&self.name), quoted(&name)));
        }
        if !is_same || flags != self.flags || method != self.method {
            odd.push(format!("{} is described in two ways", quoted(&self.name)));
        }
        if (flags | self.flags) & (ENCRYPTED | PATCHED | STRONG | MASKED) != 0 {
            odd.push(format!("{} says that it is encrypted", quoted(&self.name)));
        }
        if self.method == STORED && self.packed != self.size {
            odd.push(format!("{} has two sizes", quoted(&self.name)));
        }
        Ok((start..start + self.packed, odd))
    }
}

fn letters(name: &str) -> impl Iterator<Item = u8> + '_ {
    name.bytes().map(|byte| byte.to_ascii_lowercase())
}

fn u16(cursor: &mut Cursor<'_, impl Input>) -> Result<u16, Error> {
    cursor.take().map(u16::from_le_bytes)
}

/// An archive with an end record is whole: what runs out before that is wrong, not missing.
fn within(error: Error, at: u64) -> Error {
    if matches!(error, Error::Truncated { .. } | Error::TooLarge { .. }) {
        return Error::Corrupt { what: "the directory is shorter than its members".into(), at };
    }
    error
}

/// The numbers of the extra field for large members, in its order.
fn large_numbers(extra: &[u8]) -> impl Iterator<Item = u64> {
    const LARGE: u16 = 1;
    let mut rest = extra;
    let mut found: &[u8] = &[];
    while let Some(([a, b, c, d], tail)) = rest.split_first_chunk() {
        let (id, length) = (u16::from_le_bytes([*a, *b]), usize::from(u16::from_le_bytes([*c, *d])));
        if id == LARGE {
            found = tail.get(..length).unwrap_or_default();
        }
        rest = tail.get(length..).unwrap_or_default();
    }
    found.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect::<Vec<_>>().into_iter()
}

fn checksum(input: &mut impl Input, range: Range<u64>) -> Result<u32, Error> {
    let mut sum = 0;
    each_window(input, range, |bytes| sum = crc(bytes, sum))?;
    Ok(sum)
}

fn all(input: &mut impl Input, range: Range<u64>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    each_window(input, range, |window| bytes.extend_from_slice(window))?;
    Ok(bytes)
}

fn each_window(input: &mut impl Input, range: Range<u64>, mut see: impl FnMut(&[u8])) -> Result<(), Error> {
    const WINDOW: u64 = 64 << 10;
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from((range.end - at).min(WINDOW)).unwrap_or_default();
        let window = input.view(at, wanted)?;
        let Some(bytes) = window.get(..wanted) else {
            return Err(Error::Truncated { at: at + window.len() as u64 });
        };
        see(bytes);
        at += wanted as u64;
    }
    Ok(())
}

/// CRC-32 as zip has it (polynomial 0xedb88320), going on from `before`.
fn crc(bytes: &[u8], before: u32) -> u32 {
    const TABLE: [u32; 16] = table();
    !bytes.iter().fold(!before, |sum, byte| {
        let sum = sum ^ u32::from(*byte);
        let step = |sum: u32| TABLE.get((sum & 15) as usize).copied().unwrap_or_default() ^ (sum >> 4);
        step(step(sum))
    })
}

const fn table() -> [u32; 16] {
    let mut table = [0; 16];
    let mut rest: &mut [u32] = &mut table;
    let mut number = 0_u32;
    while let Some((entry, tail)) = rest.split_first_mut() {
        let (mut sum, mut bit) = (number, 0);
        while bit < 4 {
            sum = if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 };
            bit += 1;
        }
        *entry = sum;
        number += 1;
        rest = tail;
    }
    table
}
