//! Protobuf's wire format, field by field. What a field means is its message's business; no group is read.

use crate::{Error, Input, quoted};

/// Where a message, a text or other bytes lie, from the start of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) at: u64,
    pub(crate) end: u64,
}

impl Span {
    pub(crate) fn len(self) -> u64 {
        self.end - self.at
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    Varint(u64),
    /// Four or eight bytes, which no field that is read here has.
    Fixed,
    Bytes(Span),
}

/// Fields of more nodes and tensors than any real graph has; beyond, reading only takes time.
const MAX_FIELDS: u64 = 8_000_000;
/// A varint has at most this many bytes.
const MAX_VARINT: usize = 10;

pub(crate) struct Reader<'a, I> {
    input: &'a mut I,
    fields: u64,
}

impl<'a, I: Input> Reader<'a, I> {
    pub(crate) fn new(input: &'a mut I) -> Self {
        Self { input, fields: 0 }
    }

    /// The whole input as a message.
    pub(crate) fn whole(&self) -> Span {
        Span { at: 0, end: self.input.len() }
    }

    /// Returns the next field of a message and takes it off; None at the message's end.
    pub(crate) fn next(&mut self, message: &mut Span) -> Result<Option<(u64, Value)>, Error> {
        if message.at >= message.end {
            return Ok(None);
        }
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(Error::TooLarge { what: "too many fields".to_owned(), limit: self.input.len() });
        }
        let at = message.at;
        let key = self.varint(message)?;
        if key >> 3 == 0 || key > u64::from(u32::MAX) {
            return Err(Error::Corrupt { what: "a field without a number".to_owned(), at });
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint(message)?),
            1 => self.bytes(message, 8).map(|_| Value::Fixed)?,
            2 => {
                let len = self.varint(message)?;
                Value::Bytes(self.bytes(message, len)?)
            }
            5 => self.bytes(message, 4).map(|_| Value::Fixed)?,
            kind => return Err(Error::Corrupt { what: format!("a field of the wire type {kind}"), at }),
        };
        Ok(Some((key >> 3, value)))
    }

    /// Reads one varint and takes it off.
    pub(crate) fn varint(&mut self, message: &mut Span) -> Result<u64, Error> {
        let window = self.input.view(message.at, MAX_VARINT)?;
        let room = usize::try_from(message.len()).unwrap_or(usize::MAX).min(MAX_VARINT);
        let (mut value, mut shift) = (0_u64, 0_u32);
        for byte in window.iter().take(room) {
            message.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
        if room == MAX_VARINT && window.len() >= MAX_VARINT {
            return Err(Error::Corrupt {
                what: "a number of more than ten bytes".to_owned(),
                at: message.at,
            });
        }
        Err(self.ends_early(*message))
    }

    fn bytes(&self, message: &mut Span, len: u64) -> Result<Span, Error> {
        let end = message.at.checked_add(len).filter(|end| *end <= message.end);
        let Some(end) = end else { return Err(self.ends_early(*message)) };
        let span = Span { at: message.at, end };
        message.at = end;
        Ok(span)
    }

    /// A message that reaches to the end of the input may go on; one inside another may not.
    fn ends_early(&self, message: Span) -> Error {
        if message.end >= self.input.len() {
            Error::Truncated { at: self.input.len() }
        } else {
            Error::Corrupt { what: "a field that is longer than what it is in".to_owned(), at: message.at }
        }
    }

    /// Returns at most `limit` bytes of a text; what is not UTF-8 is replaced.
    pub(crate) fn text(&mut self, span: Span, limit: usize) -> Result<String, Error> {
        let kept = usize::try_from(span.len()).unwrap_or(limit).min(limit);
        let window = self.input.view(span.at, kept)?;
        let Some(bytes) = window.get(..kept) else {
            return Err(Error::Truncated { at: span.at + window.len() as u64 });
        };
        let is_cut = span.len() > kept as u64;
        match std::str::from_utf8(bytes) {
            // The cut went through a character.
            Err(error) if is_cut && error.error_len().is_none() => {
                Ok(String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default()).into_owned())
            }
            _ => Ok(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    /// Reads a text that must be whole to mean anything.
    pub(crate) fn short(&mut self, span: Span, limit: usize) -> Result<String, Error> {
        let text = self.text(span, limit)?;
        if span.len() > limit as u64 {
            return Err(Error::Corrupt {
                what: format!("a name that is too long: {}", quoted(&text)),
                at: span.at,
            });
        }
        Ok(text)
    }
}

#[cfg(test)]
pub(crate) mod build {
    //! Bytes of messages, for tests.

    pub(crate) fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
        bytes
    }

    pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    pub(crate) fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
        let value = value.as_ref();
        [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slice;

    fn fields(bytes: &[u8]) -> Result<Vec<(u64, Value)>, Error> {
        let mut input = Slice(bytes);
        let mut reader = Reader::new(&mut input);
        let mut message = reader.whole();
        let mut fields = Vec::new();
        while let Some(field) = reader.next(&mut message)? {
            fields.push(field);
        }
        Ok(fields)
    }

    #[test]
    fn fields_are_walked_in_order() {
        let bytes = [build::number(1, 300), build::bytes(2, "ab"), vec![0x1d, 0, 0, 0, 0], vec![0x21; 9]];
        let read = fields(&bytes.concat()).unwrap();
        let text = Value::Bytes(Span { at: 5, end: 7 });
        assert_eq!(read, [(1, Value::Varint(300)), (2, text), (3, Value::Fixed), (4, Value::Fixed)]);
        assert_eq!(
            fields(&[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]).unwrap()[0].1,
            Value::Varint(u64::MAX)
        );
    }

    #[test]
    fn what_ends_early_is_truncated_and_what_cannot_be_is_corrupt() {
        for cut in [
            &[8_u8][..],
            &[8, 0x80],
            &[0x12, 2, 0],
            &[0x1d, 0],
            &[0x12, 255, 255, 255, 255, 255, 255, 255, 255, 127],
        ] {
            assert!(matches!(fields(cut), Err(Error::Truncated { .. })), "{cut:?}");
        }
        for wrong in
            [&[0x0b_u8][..], &[0x0e, 1], &[0, 1], &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]]
        {
            assert!(matches!(fields(wrong), Err(Error::Corrupt { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn a_message_does_not_reach_out_of_the_one_it_is_in() {
        let mut input = Slice(&[0x0a, 2, 0x0a, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        let mut reader = Reader::new(&mut input);
        let mut outer = reader.whole();
        let Some((1, Value::Bytes(mut inner))) = reader.next(&mut outer).unwrap() else { panic!() };
        assert!(matches!(reader.next(&mut inner), Err(Error::Corrupt { .. })));
    }
}
