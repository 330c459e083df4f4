//! One step of a pickle, of any protocol from 0 to 5. Knows lengths and operands, not what a step does.

use crate::{Error, Input, cursor::Cursor};

/// Bytes of a line that are kept: a module and a name are short.
const MAX_LINE: usize = 4096;
/// Longest text that is kept, bytes: keys and names are short, and nothing else is looked at.
const MAX_TEXT: usize = 1024;

/// A step with its operand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Says something about the stream, and does nothing.
    Nothing,
    Protocol(u8),
    Stop,
    Mark,
    Pop,
    PopMark,
    Dup,
    None,
    Int(i64),
    /// None where it is not kept, as it is long or written with escapes.
    Text(Option<String>),
    /// A number or bytes that say nothing about code or tensors.
    Opaque,
    EmptyTuple,
    Tuple,
    /// The last one, two or three.
    TupleOf(usize),
    EmptyList,
    List,
    EmptyDict,
    Dict,
    EmptySet,
    FrozenSet,
    Append,
    Appends,
    AddItems,
    SetItem,
    SetItems,
    Get(u64),
    Put(u64),
    Memoize,
    Global {
        module: String,
        name: String,
    },
    StackGlobal,
    Inst {
        module: String,
        name: String,
    },
    Obj,
    NewObj,
    NewObjEx,
    Reduce,
    Build,
    PersId,
    BinPersId,
    /// A name that stands in a registry of the process that loads it.
    Extension,
    /// Bytes that are handed over beside the pickle.
    Buffer,
    /// A line that is longer than is read here.
    TooLong,
}

/// Reads the next step.
pub(super) fn read(cursor: &mut Cursor<'_, impl Input>) -> Result<Op, Error> {
    cursor.need(1, 1)?;
    let [code] = cursor.take()?;
    if let Some(op) = plain(code) {
        return Ok(op);
    }
    if let Some(op) = text_protocol(code, cursor)? {
        return Ok(op);
    }
    Ok(match code {
        b'K' => Op::Int(i64::from(byte(cursor)?)),
        b'M' => Op::Int(i64::from(u16::from_le_bytes(cursor.take()?))),
        b'J' => Op::Int(i64::from(i32::from_le_bytes(cursor.take()?))),
        0x8a => long(u64::from(byte(cursor)?), cursor)?,
        0x8b => long(signed_length(cursor)?, cursor)?,
        b'G' => skipped(8, cursor)?,
        b'U' => text(u64::from(byte(cursor)?), cursor)?,
        0x8c => text(u64::from(byte(cursor)?), cursor)?,
        b'T' => text(signed_length(cursor)?, cursor)?,
        b'X' => text(u64::from(cursor.u32()?), cursor)?,
        0x8d => text(cursor.u64()?, cursor)?,
        b'C' => skipped(u64::from(byte(cursor)?), cursor)?,
        b'B' => skipped(u64::from(cursor.u32()?), cursor)?,
        0x8e | 0x96 => skipped(cursor.u64()?, cursor)?,
        b'h' => Op::Get(u64::from(byte(cursor)?)),
        b'j' => Op::Get(u64::from(cursor.u32()?)),
        b'q' => Op::Put(u64::from(byte(cursor)?)),
        b'r' => Op::Put(u64::from(cursor.u32()?)),
        0x80 => Op::Protocol(byte(cursor)?),
        0x95 => skipped(8, cursor).map(|_| Op::Nothing)?,
        0x82 => skipped(1, cursor).map(|_| Op::Extension)?,
        0x83 => skipped(2, cursor).map(|_| Op::Extension)?,
        0x84 => skipped(4, cursor).map(|_| Op::Extension)?,
        _ => return cursor.corrupt(format!("there is no pickle opcode {code:#04x}")),
    })
}

/// Steps without an operand.
fn plain(code: u8) -> Option<Op> {
    Some(match code {
        b'.' => Op::Stop,
        b'(' => Op::Mark,
        b'0' => Op::Pop,
        b'1' => Op::PopMark,
        b'2' => Op::Dup,
        b'N' => Op::None,
        0x88 | 0x89 => Op::Opaque,
        b')' => Op::EmptyTuple,
        b't' => Op::Tuple,
        0x85 => Op::TupleOf(1),
        0x86 => Op::TupleOf(2),
        0x87 => Op::TupleOf(3),
        b']' => Op::EmptyList,
        b'l' => Op::List,
        b'}' => Op::EmptyDict,
        b'd' => Op::Dict,
        0x8f => Op::EmptySet,
        0x91 => Op::FrozenSet,
        b'a' => Op::Append,
        b'e' => Op::Appends,
        0x90 => Op::AddItems,
        b's' => Op::SetItem,
        b'u' => Op::SetItems,
        0x94 => Op::Memoize,
        0x93 => Op::StackGlobal,
        b'o' => Op::Obj,
        0x81 => Op::NewObj,
        0x92 => Op::NewObjEx,
        b'R' => Op::Reduce,
        b'b' => Op::Build,
        b'Q' => Op::BinPersId,
        0x97 => Op::Buffer,
        0x98 => Op::Nothing,
        _ => return None,
    })
}

/// Steps whose operands are lines of text.
fn text_protocol(code: u8, cursor: &mut Cursor<'_, impl Input>) -> Result<Option<Op>, Error> {
    if !b"ciSVILFPgp".contains(&code) {
        return Ok(None);
    }
    let Some(line) = cursor.line(MAX_LINE)? else { return Ok(Some(Op::TooLong)) };
    Ok(Some(match code {
        b'c' | b'i' => {
            let Some(name) = cursor.line(MAX_LINE)? else { return Ok(Some(Op::TooLong)) };
            let (module, name) = (lossy(&line), lossy(&name));
            if code == b'c' { Op::Global { module, name } } else { Op::Inst { module, name } }
        }
        b'S' => Op::Text(unquoted(&line)),
        b'V' => Op::Text(plain_text(&line)),
        b'I' | b'L' => number(&line).map_or(Op::Opaque, Op::Int),
        b'g' | b'p' if line.len() >= MAX_LINE => Op::TooLong,
        b'g' | b'p' => {
            let Some(at) = place(&line) else {
                return cursor.corrupt("a place in the memo that is no number");
            };
            if code == b'g' { Op::Get(at) } else { Op::Put(at) }
        }
        b'P' => Op::PersId,
        _ => Op::Opaque,
    }))
}

fn byte(cursor: &mut Cursor<'_, impl Input>) -> Result<u8, Error> {
    cursor.take().map(|[byte]| byte)
}

fn signed_length(cursor: &mut Cursor<'_, impl Input>) -> Result<u64, Error> {
    let length = i32::from_le_bytes(cursor.take()?);
    u64::try_from(length).or_else(|_| cursor.corrupt(format!("a length of {length}")))
}

fn skipped(length: u64, cursor: &mut Cursor<'_, impl Input>) -> Result<Op, Error> {
    cursor.skip(length, 1)?;
    Ok(Op::Opaque)
}

/// A whole number of any length, little-endian in two's complement.
fn long(length: u64, cursor: &mut Cursor<'_, impl Input>) -> Result<Op, Error> {
    let bytes = cursor.bytes(length, size_of::<i64>() + 1)?;
    if bytes.len() > size_of::<i64>() {
        return Ok(Op::Opaque);
    }
    let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
    let mut number = [fill; size_of::<i64>()];
    number.iter_mut().zip(&bytes).for_each(|(into, from)| *into = *from);
    Ok(Op::Int(i64::from_le_bytes(number)))
}

fn text(length: u64, cursor: &mut Cursor<'_, impl Input>) -> Result<Op, Error> {
    let bytes = cursor.bytes(length, MAX_TEXT)?;
    let is_whole = bytes.len() as u64 == length;
    Ok(Op::Text(String::from_utf8(bytes).ok().filter(|_| is_whole)))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The text of a line as it is; one with escapes is what only its reader makes of it.
fn plain_text(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    (text.len() <= MAX_TEXT && !text.contains('\\')).then(|| text.to_owned())
}

/// The text of a Python literal in quotes.
fn unquoted(line: &[u8]) -> Option<String> {
    let line = line.trim_ascii();
    let (quote, rest) = line.split_first().filter(|(quote, _)| matches!(quote, b'\'' | b'"'))?;
    plain_text(rest.strip_suffix(&[*quote])?)
}

/// A decimal number as protocol 0 writes it, with Python 2's `L` behind a long one.
fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.trim().trim_end_matches('L').parse().ok()
}

/// A place in the memo as Python's `int` reads it: `0_1`, ` +7`. None where that fails too.
fn place(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?;
    let text = line.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number =
        digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let add = |sum: u64, digit: u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    let number = digits.bytes().filter(u8::is_ascii_digit).fold(0, add);
    (is_number && (number == 0 || !text.starts_with('-'))).then_some(number)
}
