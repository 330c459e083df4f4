//! Zip archives with pickles in them: what `torch.save` has written since 1.6, TorchScript, NumPy's `.npz`. Every
//! member is looked at, whatever it is called, but the storages of tensors, which no loader takes for code.

use super::{Findings, Header, Layout, Tensor, follow_one, follow_rest, machine::Built, npy, state};
use crate::{
    Error, Input, Slice, quoted,
    zip::{Archive, Content},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// Longest pickle that is followed, bytes; the largest checkpoints have a few MiB of them.
const MAX_PICKLE: u64 = 16 << 20;
/// Members that are looked at besides storages.
const MAX_LOOKED: usize = 1024;
/// What torch's reader looks for, without regard to case.
const MAIN: &str = "data.pkl";
/// What `torch.save` writes besides the pickle and the storages, below the archive's directory.
const PLAIN: &[&str] =
    &["version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id"];

pub(super) fn parse(input: &mut impl Input) -> Result<Header, Error> {
    let mut archive = Archive::read(input)?;
    let mut findings = Findings::default();
    let tops = archive.entries.iter().map(|entry| top(&entry.name));
    let (main, top) =
        tops.enumerate().find_map(|(at, top)| Some((Some(at), Some(top?.to_owned())))).unwrap_or_default();
    let top = top.as_deref();
    let mut reading = Reading { input, findings: &mut findings, left: MAX_PICKLE, looked: 0 };
    let mut built = None;
    if let Some(main) = main
        && let Followed::Built(found) = reading.member(&mut archive, main, top)?
    {
        built = Some(found);
    }
    let has_pickle = reading.others(&mut archive, main, top, built.as_deref())? || main.is_some();
    findings.member = None;
    if !has_pickle && findings.doubts.is_empty() {
        return Err(Error::BadMagic { expected: "a torch checkpoint" });
    }
    if has_pickle {
        archive.compare(input)?;
        archive.odd.iter().for_each(|odd| findings.doubt(format!("its archive has {odd}")));
    }
    let of = |built: Box<Built>| tensors(&built, &archive, top, &mut findings);
    let tensors = built.map(of).unwrap_or_default();
    let layout = if main.is_some() { Layout::TorchZip } else { Layout::Zip };
    Ok(Header { is_pickle: has_pickle, ..findings.header(layout, tensors) })
}

/// The directory of an archive whose main pickle has this name.
fn top(name: &str) -> Option<&str> {
    let (top, end) = name.split_at_checked(name.len().checked_sub(MAIN.len())?)?;
    (top.ends_with('/') && end.eq_ignore_ascii_case(MAIN)).then_some(top)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Pickle,
    Code,
    /// What belongs into a checkpoint and is no pickle by its name.
    Plain,
    Other,
}

fn role(name: &str, top: Option<&str>) -> Role {
    let inner = top.and_then(|top| name.strip_prefix(top));
    match inner {
        _ if name.rsplit_once('.').is_some_and(|(_, end)| end.eq_ignore_ascii_case("pkl")) => Role::Pickle,
        Some(inner) if PLAIN.contains(&inner) || inner.starts_with("data/") => Role::Plain,
        Some(inner) if inner.starts_with("code/") => Role::Code,
        _ if name.ends_with('/') => Role::Plain,
        _ => Role::Other,
    }
}

enum Followed {
    Built(Box<Built>),
    /// A pickle that is no model, or broken.
    Other,
    /// It is no pickle.
    Nothing,
}

struct Reading<'a, I> {
    input: &'a mut I,
    findings: &'a mut Findings,
    /// Bytes of members that may still be read.
    left: u64,
    looked: usize,
}

impl<I: Input> Reading<'_, I> {
    /// Looks at all members but the main one and the storages of its tensors. Returns whether one is a pickle.
    fn others(
        &mut self,
        archive: &mut Archive,
        main: Option<usize>,
        top: Option<&str>,
        built: Option<&Built>,
    ) -> Result<bool, Error> {
        let storages: BTreeSet<&str> =
            built.iter().flat_map(|built| &built.heap.storages).map(|storage| storage.key.as_str()).collect();
        let mut has_pickle = false;
        for at in (0..archive.entries.len()).filter(|at| Some(*at) != main) {
            let key = archive.entries.get(at).and_then(|entry| key(&entry.name, top));
            if key.is_some_and(|key| storages.contains(key) && !key.contains(['.', '/'])) {
                continue;
            }
            if self.looked >= MAX_LOOKED {
                self.findings.doubt_whole(format!("of its members only {MAX_LOOKED} were looked at"));
                break;
            }
            has_pickle |= !matches!(self.member(archive, at, top)?, Followed::Nothing);
        }
        Ok(has_pickle)
    }

    fn member(&mut self, archive: &mut Archive, at: usize, top: Option<&str>) -> Result<Followed, Error> {
        let Some(entry) = archive.entries.get(at).cloned() else { return Ok(Followed::Nothing) };
        let role = role(&entry.name, top);
        self.findings.member = Some(entry.name);
        self.looked += 1;
        match role {
            Role::Code => {
                self.findings.doubt_whole("it is TorchScript, whose code runs when it is used".to_owned());
            }
            Role::Other if top.is_some() => self.findings.doubt("nothing that torch.save writes".to_owned()),
            Role::Pickle | Role::Plain | Role::Other => {}
        }
        if role != Role::Pickle && self.is_something_else(archive, at, entry.size)? {
            return Ok(Followed::Nothing);
        }
        let content = archive.content(self.input, at, self.left)?;
        self.left = self.left.saturating_sub(entry.size);
        match content {
            Content::Stored(range) => follow(self.input, range, role, self.findings),
            Content::Unpacked(bytes) => {
                follow(&mut Slice(&bytes), 0..bytes.len() as u64, role, self.findings)
            }
            Content::Unknown(why) => {
                self.findings.doubt(format!("it cannot be looked into: {why}"));
                Ok(if role == Role::Pickle { Followed::Other } else { Followed::Nothing })
            }
        }
    }

    /// Whether the start of a member shows that no loader gets anywhere with it: photos, texts, numbers.
    fn is_something_else(&mut self, archive: &Archive, at: usize, size: u64) -> Result<bool, Error> {
        match archive.start(self.input, at)? {
            Content::Stored(range) => is_something_else(self.input, range, true, self.findings),
            Content::Unpacked(bytes) => {
                let length = bytes.len() as u64;
                is_something_else(&mut Slice(&bytes), 0..length, length == size, self.findings)
            }
            Content::Unknown(_) => Ok(false),
        }
    }
}

fn is_something_else(
    input: &mut impl Input,
    range: Range<u64>,
    is_whole: bool,
    findings: &mut Findings,
) -> Result<bool, Error> {
    if is_array(input, &range)? {
        return match npy::described(input, range) {
            Ok((_, is_plain)) => Ok(is_plain),
            Err(Error::Io(error)) => Err(error.into()),
            Err(_) => Ok(false),
        };
    }
    let mut apart = findings.apart();
    let followed = follow_one(input, range, &mut apart);
    findings.steps = apart.steps;
    match followed {
        Ok(_) => Ok(false),
        Err(Error::Io(error)) => Err(error.into()),
        // What ends with what is known of it may go on behind that.
        Err(Error::Truncated { .. }) if !is_whole => Ok(false),
        Err(_) => Ok(!apart.is_pickle()),
    }
}

fn is_array(input: &mut impl Input, range: &Range<u64>) -> Result<bool, Error> {
    let is_long = range.end - range.start >= npy::MAGIC.len() as u64;
    Ok(is_long && input.view(range.start, npy::MAGIC.len())?.starts_with(npy::MAGIC))
}

fn follow(
    input: &mut impl Input,
    range: Range<u64>,
    role: Role,
    findings: &mut Findings,
) -> Result<Followed, Error> {
    let end = range.end;
    let followed = if is_array(input, &range)? {
        npy::follow_array(input, range, findings)
            .map(|is_pickle| if is_pickle { Followed::Other } else { Followed::Nothing })
    } else if role == Role::Pickle {
        follow_one(input, range, findings).map(|(built, after)| (Box::new(built), after)).and_then(
            |(built, after)| follow_rest(input, after..end, findings).map(|()| Followed::Built(built)),
        )
    } else {
        return follow_other(input, range, findings);
    };
    match followed {
        Err(Error::Io(error)) => Err(error.into()),
        Err(Error::TooLarge { what, .. }) => {
            findings.doubt(format!("it was not followed to its end: {what}"));
            Ok(Followed::Other)
        }
        Err(error) => {
            findings.damage(error.to_string());
            Ok(Followed::Other)
        }
        Ok(followed) => Ok(followed),
    }
}

/// A member that may be anything, also a pickle under another name.
fn follow_other(
    input: &mut impl Input,
    range: Range<u64>,
    findings: &mut Findings,
) -> Result<Followed, Error> {
    let end = range.end;
    let mut apart = findings.apart();
    let is_pickle = match follow_one(input, range, &mut apart) {
        Ok((_, after)) => {
            let says_something = !apart.globals.is_empty() || !apart.doubts.is_empty();
            follow_rest(input, after..end, &mut apart)?;
            says_something || apart.calls || apart.is_cut || apart.has_danger()
        }
        Err(Error::Io(error)) => return Err(error.into()),
        Err(error) if apart.is_pickle() => {
            apart.doubt(format!("it was not followed to its end: {error}"));
            true
        }
        Err(_) => false,
    };
    findings.steps = apart.steps;
    if is_pickle {
        findings.absorb(apart);
    }
    Ok(if is_pickle { Followed::Other } else { Followed::Nothing })
}

/// The key of the storage that a member of this name is.
fn key<'name>(name: &'name str, top: Option<&str>) -> Option<&'name str> {
    name.strip_prefix(top?)?.strip_prefix("data/")
}

/// The tensors, whose storages must be in the archive and as large as they say.
fn tensors(built: &Built, archive: &Archive, top: Option<&str>, findings: &mut Findings) -> Vec<Tensor> {
    let sizes: BTreeMap<&str, u64> =
        archive.entries.iter().filter_map(|entry| Some((key(&entry.name, top)?, entry.size))).collect();
    for storage in &built.heap.storages {
        let wanted = storage.elements.checked_mul(storage.width);
        match sizes.get(storage.key.as_str()) {
            None => findings.damage(storage.missing()),
            Some(size) if wanted.is_none_or(|wanted| wanted > *size) => {
                findings.damage(format!("the storage {} has only {size} bytes", quoted(&storage.key)));
            }
            Some(_) => {}
        }
    }
    state::tensors(built, findings)
}
