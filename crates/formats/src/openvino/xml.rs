//! The tags of an XML document, one after the other. Text between them, comments and declarations are walked over;
//! entities that a document declares itself are left as they stand.

use crate::{Error, Input};

pub(super) struct Tag {
    pub(super) at: u64,
    pub(super) name: String,
    pub(super) is_end: bool,
    /// `<a/>`: it begins and ends here.
    pub(super) is_empty: bool,
    attributes: Vec<(String, String)>,
}

impl Tag {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(super) struct Tags<'a, I> {
    input: &'a mut I,
    at: u64,
    limit: u64,
}

/// Bytes of one tag; those of a network's longest names are a few kilobytes.
const MAX_TAG: usize = 64 << 10;
const MAX_ATTRIBUTES: usize = 64;

impl<'a, I: Input> Tags<'a, I> {
    /// Reads at most `limit` bytes.
    pub(super) fn new(input: &'a mut I, limit: u64) -> Self {
        Self { input, at: 0, limit }
    }

    pub(super) fn len(&self) -> u64 {
        self.input.len()
    }

    /// Returns the next tag; None where no further one begins.
    pub(super) fn next(&mut self) -> Result<Option<Tag>, Error> {
        loop {
            if !self.seek(b"<")? {
                return Ok(None);
            }
            let at = self.at;
            let window = self.input.view(at, 9)?;
            let end: &[u8] = match window {
                [b'<', b'!', b'-', b'-', ..] => b"-->",
                [b'<', b'!', b'[', b'C', b'D', b'A', b'T', b'A', b'[', ..] => b"]]>",
                [b'<', b'?', ..] => b"?>",
                [b'<', b'!', ..] => b">",
                _ => {
                    let bytes = self.take_tag()?;
                    return parse(&bytes, at).map(Some);
                }
            };
            if !self.seek(end)? {
                return Err(Error::Truncated { at: self.input.len() });
            }
            self.at += end.len() as u64;
        }
    }

    /// Moves to where `wanted` begins; false where it does not occur.
    fn seek(&mut self, wanted: &[u8]) -> Result<bool, Error> {
        loop {
            if self.at > self.limit {
                return Err(Error::TooLarge { what: "the description".to_owned(), limit: self.limit });
            }
            let window = self.input.view(self.at, 4 << 10)?;
            if let Some(place) = window.windows(wanted.len()).position(|bytes| bytes == wanted) {
                self.at += place as u64;
                return Ok(true);
            }
            let passed = (window.len() + 1).saturating_sub(wanted.len());
            if passed == 0 {
                return Ok(false);
            }
            self.at += passed as u64;
        }
    }

    /// Returns what lies between `<` and `>`, a `>` within quotes not counted.
    fn take_tag(&mut self) -> Result<Vec<u8>, Error> {
        let window = self.input.view(self.at, 4 << 10)?;
        let window = match end_of(window) {
            Some(_) => window,
            None => self.input.view(self.at, MAX_TAG)?,
        };
        let Some(end) = end_of(window) else {
            if window.len() < MAX_TAG {
                return Err(Error::Truncated { at: self.input.len() });
            }
            return Err(Error::Corrupt { what: "a tag without an end".to_owned(), at: self.at });
        };
        let bytes = window.get(1..end).unwrap_or_default().to_vec();
        self.at += end as u64 + 1;
        Ok(bytes)
    }
}

fn end_of(window: &[u8]) -> Option<usize> {
    let mut quote = None;
    window.iter().take(MAX_TAG).position(|byte| match (quote, byte) {
        (None, b'>') => true,
        (None, b'"' | b'\'') => {
            quote = Some(*byte);
            false
        }
        (Some(open), byte) if open == *byte => {
            quote = None;
            false
        }
        _ => false,
    })
}

fn parse(bytes: &[u8], at: u64) -> Result<Tag, Error> {
    let text = String::from_utf8_lossy(bytes);
    let (text, is_end) = text.strip_prefix('/').map_or((&*text, false), |text| (text, true));
    let (text, is_empty) = text.strip_suffix('/').map_or((text, false), |text| (text, true));
    let name_end = text.find(|c: char| c.is_ascii_whitespace()).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(name_end);
    let wrong = || Error::Corrupt { what: "a tag that is none".to_owned(), at };
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return Err(wrong());
    }
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() || attributes.len() >= MAX_ATTRIBUTES {
            break;
        }
        let (key, value) = rest.split_once('=').ok_or_else(wrong)?;
        let value = value.trim_ascii_start();
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\'')).ok_or_else(wrong)?;
        let (value, after) = value.get(1..).and_then(|value| value.split_once(quote)).ok_or_else(wrong)?;
        attributes.push((key.trim_ascii_end().to_owned(), unescape(value)));
        rest = after;
    }
    Ok(Tag { at, name: name.to_owned(), is_end, is_empty, attributes })
}

fn unescape(value: &str) -> String {
    if !value.contains('&') {
        return value.to_owned();
    }
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    entities.iter().fold(value.to_owned(), |text, (entity, letter)| text.replace(entity, letter))
}
