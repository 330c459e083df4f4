//! What `torch.save` wrote before 1.6: a magic, a version, facts of the machine, the object, the keys of its storages,
//! and these one after the other. Of the tar archives before that only the pickles are followed.

use super::{Findings, Header, Layout, follow_one, follow_rest, state};
use crate::{Error, Input, cursor::Cursor, quoted};
use std::collections::BTreeSet;

/// `pickle.dumps(0x1950a86a20f9469cfc6c, 2)`, from `torch/serialization.py`.
pub(super) const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Bytes in front of each storage: how many elements it has.
const COUNT: u64 = 8;
const BLOCK: u64 = 512;
/// Members of a tar that are looked at.
const MAX_MEMBERS: usize = 64;

pub(super) fn parse(input: &mut impl Input) -> Result<Header, Error> {
    let mut findings = Findings::default();
    let length = input.len();
    let mut at = 0;
    let mut pickles = Vec::new();
    while pickles.len() < 5 {
        match follow_one(input, at..length, &mut findings) {
            Ok((built, end)) => {
                at = end;
                pickles.push(built);
            }
            Err(Error::Io(error)) => return Err(error.into()),
            Err(error) => return Ok(findings.header(Layout::TorchLegacy, Vec::new()).damaged(error)),
        }
    }
    let [_, _, _, object, keys] = pickles.as_slice() else { return Err(Error::Truncated { at }) };
    let keys: BTreeSet<&str> = keys
        .heap
        .items(keys.root)
        .unwrap_or_default()
        .iter()
        .filter_map(|key| keys.heap.text(*key))
        .collect();
    let mut data_end = at;
    let mut kept = 0;
    for storage in &object.heap.storages {
        if !keys.contains(storage.key.as_str()) {
            findings.damage(storage.missing());
            continue;
        }
        kept += 1;
        let bytes = storage.elements.checked_mul(storage.width).and_then(|bytes| bytes.checked_add(COUNT));
        let Some(end) = bytes.and_then(|bytes| data_end.checked_add(bytes)) else {
            let what = format!("the storage {} is larger than any file", quoted(&storage.key));
            return Err(Error::Corrupt { what, at });
        };
        data_end = end;
    }
    if kept < keys.len() {
        findings.doubt("it has storages that no tensor is of".to_owned());
    } else if data_end < length {
        follow_rest(input, data_end..length, &mut findings)?;
        findings.doubt(format!("{} bytes behind its storages", length - data_end));
    }
    let tensors = state::tensors(object, &mut findings);
    let header = findings.header(Layout::TorchLegacy, tensors);
    Ok(Header { data_end: (kept == keys.len()).then_some(data_end), is_pickle: true, ..header })
}

/// A tar, which torch before 0.1.10 wrote, with a member named as those were.
pub(super) fn is_tar(head: &[u8]) -> bool {
    const MEMBERS: &[&[u8]] = &[b"sys_info", b"pickle", b"storages", b"tensors", b"./pickle"];
    let name = head.get(..100).and_then(|name| name.split(|byte| *byte == 0).next()).unwrap_or_default();
    head.get(257..262) == Some(b"ustar") && MEMBERS.contains(&name)
}

/// Nobody vouches for such a file: loading it is what CVE-2025-32434 is about.
pub(super) fn parse_tar(input: &mut impl Input) -> Result<Header, Error> {
    let mut findings = Findings::default();
    findings.doubt("a tar of torch before 0.1.10, whose loader is not safe".to_owned());
    let length = input.len();
    let mut at = 0;
    for _ in 0..MAX_MEMBERS {
        let Some((name, size)) = tar_member(input, at)? else { break };
        let start = at + BLOCK;
        let Some(end) = start.checked_add(size).filter(|end| *end <= length) else { break };
        findings.member = Some(name);
        match follow_one(input, start..end, &mut findings) {
            Ok((_, after)) => follow_rest(input, after..end, &mut findings)?,
            Err(Error::Io(error)) => return Err(error.into()),
            Err(_) => {} // not every member is a pickle, and what was reached is noted
        }
        at = end.next_multiple_of(BLOCK);
    }
    findings.member = None;
    Ok(Header { is_pickle: true, ..findings.header(Layout::TorchTar, Vec::new()) })
}

/// Name and size of the member at a place; None at the end.
fn tar_member(input: &mut impl Input, at: u64) -> Result<Option<(String, u64)>, Error> {
    let mut cursor = Cursor::within(input, at..at.saturating_add(BLOCK));
    let Ok(name) = cursor.bytes(100, 100) else { return Ok(None) };
    cursor.skip(24, 1)?;
    let digits = cursor.bytes(12, 12)?;
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
    };
    let size = u64::from_str_radix(text(&digits).trim(), 8).ok();
    Ok(size.map(|size| (text(&name), size)).filter(|(name, _)| !name.is_empty()))
}
