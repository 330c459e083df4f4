//! Zip archives with pickles in them: what `torch.save` has written since 1.6, TorchScript, NumPy's `.npz`. Every
//! member is looked at but the storages of tensors, which no loader takes for code.

use super::{Findings, Header, Layout, Tensor, follow_one, follow_rest, machine::Built, npy, state};
use crate::{
    Error, Input, Slice, quoted,
    zip::{Archive, Content},
};
use std::{collections::BTreeMap, ops::Range};

/// Longest pickle that is followed, bytes; the largest checkpoints have a few MiB of them.
const MAX_PICKLE: u64 = 16 << 20;
/// Members that are looked at besides storages.
const MAX_LOOKED: usize = 256;
/// What `torch.save` writes besides the pickle and the storages, below the archive's directory.
const PLAIN: &[&str] =
    &["version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id"];

pub(super) fn parse(input: &mut impl Input) -> Result<Header, Error> {
    let mut archive = Archive::read(input)?;
    let mut findings = Findings::default();
    let main = archive.entries.iter().position(|entry| entry.name.ends_with("/data.pkl"));
    let top = main.and_then(|at| archive.entries.get(at)?.name.strip_suffix("data.pkl")).map(str::to_owned);
    let mut reading = Reading { input, findings: &mut findings, left: MAX_PICKLE, looked: 0 };
    let mut built = None;
    let mut has_pickle = main.is_some();
    let others = (0..archive.entries.len()).filter(|at| Some(*at) != main);
    for at in main.into_iter().chain(others) {
        let followed = reading.member(&mut archive, at, top.as_deref())?;
        has_pickle |= !matches!(followed, Followed::Nothing);
        if let Followed::Built(found) = followed
            && Some(at) == main
        {
            built = Some(found);
        }
    }
    findings.member = None;
    if !has_pickle {
        return Err(Error::BadMagic { expected: "a torch checkpoint" });
    }
    let of = |built: Box<Built>| tensors(&built, &archive, top.as_deref(), &mut findings);
    let tensors = built.map(of).unwrap_or_default();
    archive.odd.iter().for_each(|odd| findings.doubt(format!("its archive has {odd}")));
    Ok(findings.header(if main.is_some() { Layout::TorchZip } else { Layout::Zip }, tensors))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Pickle,
    Array,
    Code,
    Storage,
    Plain,
    Other,
}

fn role(name: &str, top: Option<&str>) -> Role {
    let inner = top.and_then(|top| name.strip_prefix(top));
    let is_storage =
        |inner: &str| inner.strip_prefix("data/").is_some_and(|key| !key.contains('/') && !key.contains('.'));
    match (name.rsplit_once('.').map(|(_, end)| end), inner) {
        (Some("pkl"), _) => Role::Pickle,
        (Some("npy"), _) => Role::Array,
        (_, Some(inner)) if PLAIN.contains(&inner) => Role::Plain,
        (_, Some(inner)) if is_storage(inner) => Role::Storage,
        (_, Some(inner)) if inner.starts_with("code/") => Role::Code,
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
    fn member(&mut self, archive: &mut Archive, at: usize, top: Option<&str>) -> Result<Followed, Error> {
        let Some(entry) = archive.entries.get(at).cloned() else { return Ok(Followed::Nothing) };
        let role = role(&entry.name, top);
        // In an archive that is no checkpoint, what is called otherwise is somebody's data.
        let is_foreign = role == Role::Other && top.is_none();
        if matches!(role, Role::Storage | Role::Plain) || is_foreign {
            return Ok(Followed::Nothing);
        }
        self.findings.member = Some(entry.name);
        self.looked += 1;
        if self.looked > MAX_LOOKED {
            self.findings.doubt("there are too many members to look at".to_owned());
            return Ok(Followed::Nothing);
        }
        match role {
            Role::Code => {
                self.findings.doubt_whole("it is TorchScript, whose code runs when it is used".to_owned());
            }
            Role::Other => self.findings.doubt("nothing that torch.save writes".to_owned()),
            Role::Pickle | Role::Array | Role::Storage | Role::Plain => {}
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
}

fn follow(
    input: &mut impl Input,
    range: Range<u64>,
    role: Role,
    findings: &mut Findings,
) -> Result<Followed, Error> {
    let end = range.end;
    let followed = match role {
        Role::Array => npy::follow_array(input, range, findings)
            .map(|is_pickle| if is_pickle { Followed::Other } else { Followed::Nothing }),
        Role::Pickle => match follow_one(input, range, findings) {
            Ok((built, after)) => {
                follow_rest(input, after..end, findings)?;
                return Ok(Followed::Built(Box::new(built)));
            }
            Err(error) => Err(error),
        },
        Role::Code | Role::Other | Role::Storage | Role::Plain => {
            return follow_other(input, range, findings);
        }
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
    let mut apart =
        Findings { member: findings.member.clone(), steps: findings.steps, ..Findings::default() };
    let is_pickle = match follow_one(input, range, &mut apart) {
        Ok(_) => !apart.globals.is_empty(),
        Err(Error::Io(error)) => return Err(error.into()),
        Err(_) => apart.has_danger(),
    };
    findings.steps = apart.steps;
    if is_pickle {
        findings.globals.append(&mut apart.globals);
    }
    Ok(if is_pickle { Followed::Other } else { Followed::Nothing })
}

/// The tensors, whose storages must be in the archive and as large as they say.
fn tensors(built: &Built, archive: &Archive, top: Option<&str>, findings: &mut Findings) -> Vec<Tensor> {
    let sizes: BTreeMap<&str, u64> = archive
        .entries
        .iter()
        .filter_map(|entry| Some((entry.name.strip_prefix(top?)?.strip_prefix("data/")?, entry.size)))
        .collect();
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
