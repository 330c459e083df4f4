//! A position in an input. Every length is checked against the bytes left before it is used.

use crate::digest::Digest;
use crate::input::MAX_VIEW;
use crate::{Error, Input};

pub(crate) struct Cursor<'a, I> {
    input: &'a mut I,
    at: u64,
    /// A header that would reach past this byte is refused.
    limit: u64,
    big_endian: bool,
    /// Bytes of lines so far.
    lines: u64,
}

/// Bytes of all lines that are read: a header in lines of text has a few MiB.
const MAX_LINES: u64 = 8 << 20;

impl<'a, I: Input> Cursor<'a, I> {
    pub(crate) fn new(input: &'a mut I, limit: u64) -> Self {
        Self { input, at: 0, limit, big_endian: false, lines: 0 }
    }

    /// From one byte of the input up to another, which bounds what may be read.
    pub(crate) fn within(input: &'a mut I, range: std::ops::Range<u64>) -> Self {
        // What runs out with the input is cut off there; what runs out before is too long.
        let limit = if range.end >= input.len() { u64::MAX } else { range.end };
        Self { input, at: range.start, limit, big_endian: false, lines: 0 }
    }

    pub(crate) fn read_big_endian(&mut self) {
        self.big_endian = true;
    }

    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Length of the whole input, bytes.
    pub(crate) fn len(&self) -> u64 {
        self.input.len()
    }

    /// Returns to a place that was read from before.
    pub(crate) fn go_back_to(&mut self, at: u64) {
        self.at = self.at.min(at);
    }

    pub(crate) fn corrupt<T>(&self, what: impl Into<String>) -> Result<T, Error> {
        Err(Error::Corrupt { what: what.into(), at: self.at })
    }

    /// Returns where `count` things of at least `size` bytes each would end, if the input has that many bytes.
    pub(crate) fn need(&self, count: u64, size: u64) -> Result<u64, Error> {
        let bytes = count.checked_mul(size).filter(|bytes| i64::try_from(*bytes).is_ok());
        let Some(end) = bytes.and_then(|bytes| self.at.checked_add(bytes)) else {
            return self.corrupt(format!("a count or length of {count}"));
        };
        if end > self.limit {
            let what = format!("a count or length of {count} at byte {}", self.at);
            return Err(Error::TooLarge { what, limit: self.limit });
        }
        if end > self.input.len() {
            return Err(Error::Truncated { at: self.input.len() });
        }
        Ok(end)
    }

    pub(crate) fn skip(&mut self, count: u64, size: u64) -> Result<(), Error> {
        self.at = self.need(count, size)?;
        Ok(())
    }

    /// Returns `N` bytes in little-endian order, whatever the file's.
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let window = self.input.view(self.at, N)?;
        let Some(bytes) = window.first_chunk::<N>() else {
            return Err(Error::Truncated { at: self.at + window.len() as u64 });
        };
        let mut bytes = *bytes;
        if self.big_endian {
            bytes.reverse();
        }
        self.at += N as u64;
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_le_bytes)
    }

    /// Steps over `len` bytes and returns the first of them, at most `kept` (and at most 1 MiB).
    pub(crate) fn bytes(&mut self, len: u64, kept: usize) -> Result<Vec<u8>, Error> {
        let end = self.need(len, 1)?;
        let kept = usize::try_from(len).unwrap_or(kept).min(kept);
        let window = self.input.view(self.at, kept)?;
        let Some(bytes) = window.get(..kept) else {
            return Err(Error::Truncated { at: self.at + window.len() as u64 });
        };
        let bytes = bytes.to_vec();
        self.at = end;
        Ok(bytes)
    }

    /// Steps over a line and its end, and returns the first of it, at most `kept` bytes. None where all lines together
    /// are longer than is read.
    pub(crate) fn line(&mut self, kept: usize) -> Result<Option<Vec<u8>>, Error> {
        const USUAL: usize = 64;
        const LONG: usize = 64 << 10;
        let mut line = Vec::new();
        let mut want = USUAL;
        while self.lines < MAX_LINES {
            let window = self.input.view(self.at, want)?;
            let window = window.get(..LONG).unwrap_or(window);
            let end = window.iter().position(|byte| *byte == b'\n');
            let part = window.get(..end.unwrap_or(window.len())).unwrap_or_default();
            line.extend(part.iter().take(kept - line.len()));
            let (seen, is_last) = (part.len() as u64, window.len() < want);
            self.lines += seen;
            self.skip(seen, 1)?;
            if end.is_some() {
                self.skip(1, 1)?;
                return Ok(Some(line));
            }
            if is_last {
                return Err(Error::Truncated { at: self.at });
            }
            want = LONG;
        }
        Ok(None)
    }

    /// Reads a string with its length in front. At most 1 MiB of it is kept.
    pub(crate) fn text(&mut self) -> Result<Text, Error> {
        let len = self.u64()?;
        let end = self.need(len, 1)?;
        let kept = usize::try_from(len).unwrap_or(MAX_VIEW).min(MAX_VIEW);
        let window = self.input.view(self.at, kept)?;
        let Some(bytes) = window.get(..kept) else {
            return Err(Error::Truncated { at: self.at + window.len() as u64 });
        };
        let text = Text::new(bytes, len);
        self.at = end;
        Ok(text)
    }

    /// Walks over strings without looking at them, unless they are to be told apart from others.
    pub(crate) fn skip_texts(&mut self, count: u64, mut digest: Option<&mut Digest>) -> Result<(), Error> {
        let mut left = count;
        while left > 0 {
            let room = usize::try_from(self.limit.saturating_sub(self.at)).unwrap_or(usize::MAX);
            let window = self.input.view(self.at, size_of::<u64>())?;
            let window = window.get(..room).unwrap_or(window);
            let (walked, rest) = if self.big_endian {
                walk(window, left, u64::from_be_bytes)
            } else {
                walk(window, left, u64::from_le_bytes)
            };
            let used = window.len() - rest.len();
            if let Some(digest) = &mut digest {
                digest.add(window.get(..used).unwrap_or_default());
            }
            self.at += used as u64;
            left -= walked;
            // What is left in this window is less than one string.
            if left > 0 {
                self.skip_text(digest.as_deref_mut())?;
                left -= 1;
            }
        }
        Ok(())
    }

    fn skip_text(&mut self, digest: Option<&mut Digest>) -> Result<(), Error> {
        let start = self.at;
        let len = self.u64()?;
        let end = self.need(len, 1)?;
        if let Some(digest) = digest {
            // Of a text longer than any token, the start will do.
            let seen = usize::try_from(end - start).unwrap_or(MAX_VIEW).min(MAX_VIEW);
            let window = self.input.view(start, seen)?;
            digest.add(window.get(..seen).unwrap_or(window));
        }
        self.at = end;
        Ok(())
    }
}

/// Returns how many of `most` strings lie wholly in the window, and what comes after them.
fn walk(window: &[u8], most: u64, number: impl Fn([u8; 8]) -> u64) -> (u64, &[u8]) {
    let mut rest = window;
    let mut left = most;
    while left > 0 {
        let Some((len, tail)) = rest.split_first_chunk() else { break };
        let Some(tail) = usize::try_from(number(*len)).ok().and_then(|len| tail.get(len..)) else { break };
        rest = tail;
        left -= 1;
    }
    (most - left, rest)
}

pub(crate) struct Text {
    pub(crate) text: String,
    /// Bytes in the file.
    pub(crate) len: u64,
    /// Some bytes were not UTF-8 and have been replaced.
    pub(crate) replaced: bool,
}

impl Text {
    fn new(bytes: &[u8], len: u64) -> Self {
        let whole = match std::str::from_utf8(bytes) {
            Ok(text) => Some(text),
            // The cut went through a character.
            Err(error) if len > bytes.len() as u64 && error.error_len().is_none() => {
                bytes.get(..error.valid_up_to()).and_then(|bytes| std::str::from_utf8(bytes).ok())
            }
            Err(_) => None,
        };
        match whole {
            Some(text) => Self { text: text.to_owned(), len, replaced: false },
            None => Self { text: String::from_utf8_lossy(bytes).into_owned(), len, replaced: true },
        }
    }

    /// Only the start is kept.
    pub(crate) fn is_cut(&self) -> bool {
        self.len > MAX_VIEW as u64
    }
}
