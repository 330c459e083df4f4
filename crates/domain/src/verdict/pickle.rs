//! Verdicts on pickles: which loading would run, which only hold tensors, and those that nobody can vouch for. Where
//! anything is in doubt it is never the second.

use super::{MAX_NAME, Verdict, claimed_format, name_warnings, unknown};
use crate::{
    Format, Safety, State,
    facts::{self, Facts},
    safety::REACHES,
};
use formats::{
    Error, Input,
    pickle::{self, Global, Header, Standing},
};
use std::io;

/// Names of one kind that are told.
const MAX_TOLD: usize = 6;

/// Judges a file that begins like a pickle or like an archive of pickles.
pub(super) fn judge(name: &str, input: &mut impl Input) -> Result<Verdict, io::Error> {
    match pickle::parse(input) {
        Ok(header) => Ok(verdict(name, header, input.len())),
        Err(error) => Ok(doubted(Verdict::unreadable(Format::Pickle, error)?)),
    }
}

/// Judges an array in a file of NumPy's: of objects, or of numbers, which run nothing.
pub(super) fn judge_array(name: &str, input: &mut impl Input) -> Result<Verdict, io::Error> {
    match pickle::parse(input) {
        Ok(header) => Ok(verdict(name, header, input.len())),
        Err(Error::BadMagic { .. }) => {
            Ok(Verdict::new(None, State::NotAModel, "an array of numbers, as NumPy writes it"))
        }
        Err(error) => Ok(doubted(Verdict::unreadable(Format::Pickle, error)?)),
    }
}

/// Judges a zip archive: a checkpoint, or what only has such a name, or neither.
pub(super) fn judge_zip(name: &str, input: &mut impl Input) -> Result<Verdict, io::Error> {
    match pickle::parse(input) {
        Ok(header) if !header.is_pickle => {
            let doubt = header.doubts.first().map(String::as_str).unwrap_or_default();
            let reason = format!("a zip archive, not all of which could be looked at: {doubt}");
            Ok(doubted(Verdict::new(None, State::NotAModel, &reason)))
        }
        Ok(header) => Ok(verdict(name, header, input.len())),
        Err(Error::BadMagic { .. }) => {
            let verdict = Verdict::new(None, State::NotAModel, "a zip archive without a pickle in it");
            Ok(if is_claimed(name) { doubted(verdict) } else { verdict })
        }
        Err(Error::Io(error)) => Err(error),
        Err(_) if !is_claimed(name) && claimed_format(name).is_none() => {
            Ok(Verdict::new(None, State::NotAModel, "a zip archive"))
        }
        Err(error) => Ok(doubted(Verdict::unreadable(Format::Pickle, error)?)),
    }
}

/// Judges what begins like nothing that is known: pickles of the oldest protocols have no magic.
pub(super) fn judge_unknown(name: &str, input: &mut impl Input) -> Result<Verdict, io::Error> {
    let is_claimed = is_claimed(name);
    let is_taken = is_claimed || is_tar(name, input)?;
    match pickle::parse(input) {
        Err(Error::Io(error)) => Err(error),
        // A few letters of any text are steps of a pickle too.
        Ok(header) if header.dangers().next().is_some() || is_claimed || is_likely(&header) => {
            Ok(verdict(name, header, input.len()))
        }
        Ok(header) if is_in_doubt(name, &header) => Ok(doubted(unknown())),
        Ok(_) | Err(_) if is_taken => Ok(doubted(unknown())),
        Ok(_) | Err(_) => Ok(unknown()),
    }
}

/// Whether a file that loaders may take for a pickle does more as one than to stop at once, as raw data does.
pub(super) fn is_in_doubt(name: &str, header: &Header) -> bool {
    is_possible(name) && header.is_pickle && !header.is_tensors_only()
}

/// Whether it is a tar under such a name, whatever its members are called: the oldest loader of torch's looks for its own.
pub(super) fn is_tar(name: &str, input: &mut impl Input) -> Result<bool, io::Error> {
    Ok(is_possible(name) && input.view(257, 5)?.starts_with(b"ustar"))
}

pub(super) fn is_likely(header: &Header) -> bool {
    header.damage.is_none() && (!header.globals.is_empty() || header.layout != pickle::Layout::Bare)
}

/// Adds what a zip archive at the end of a file of another format holds: loaders find it by its end.
pub(super) fn with_archive(
    verdict: Verdict,
    name: &str,
    input: &mut impl Input,
) -> Result<Verdict, io::Error> {
    let has_end = match formats::ends_like_zip(input) {
        Err(Error::Io(error)) => return Err(error),
        Err(_) => false,
        Ok(has_end) => has_end || is_possible(name),
    };
    if !has_end {
        return Ok(verdict);
    }
    let header = match pickle::parse_zip(input) {
        Ok(header) => header,
        Err(Error::Io(error)) => return Err(error),
        Err(_) => return Ok(verdict),
    };
    let hidden = if header.is_pickle {
        "a zip archive with pickles in it stands behind what it begins as"
    } else {
        "a zip archive, not all of which could be looked at, stands behind what it begins as"
    };
    let is_pickle = header.is_pickle;
    let found = self::verdict(name, header, input.len());
    let all = [verdict.safety, found.safety, Some(Safety::Unverifiable)];
    let safety = Safety::worst(all.into_iter().flatten());
    if verdict.state.is_usable() {
        let warnings = [verdict.warnings, vec![hidden.to_owned()], found.warnings].concat();
        return Ok(Verdict { warnings, safety, state: State::OkWithWarning, ..verdict });
    }
    if !is_pickle {
        return Ok(Verdict { safety, ..verdict });
    }
    let warnings = [verdict.warnings, found.warnings].concat();
    Ok(Verdict { warnings, safety, ..found })
}

/// A file that is packed as a whole, where it may be a pickle; what it holds is not looked at.
pub(super) fn packed(name: &str, what: &str) -> Option<Verdict> {
    let reason = format!("{what}: what is in it is not read, and a loader that unpacks it runs it");
    let verdict = Verdict::new(None, State::NotAModel, &reason);
    (is_claimed(name) || what == "a 7z archive").then(|| doubted(verdict))
}

/// Says that nobody can vouch for it.
pub(super) fn doubted(verdict: Verdict) -> Verdict {
    Verdict { safety: Some(Safety::Unverifiable), ..verdict }
}

/// Whether loaders take a file of this name for a pickle.
pub(super) fn is_claimed(name: &str) -> bool {
    claimed_format(name) == Some(Format::Pickle)
}

/// Whether loaders may: `.bin` is any program's, torch's among them.
pub(super) fn is_possible(name: &str) -> bool {
    let end = name.rsplit_once('.').map(|(_, end)| end);
    is_claimed(name) || end.is_some_and(|end| end.eq_ignore_ascii_case("bin"))
}

pub(super) fn verdict(name: &str, mut header: Header, length: u64) -> Verdict {
    let safety = match header.dangers().next() {
        Some(_) => Safety::Dangerous,
        None if header.is_tensors_only() => Safety::TensorsOnly,
        None => Safety::Unverifiable,
    };
    let missing = header.data_end.and_then(|end| Some((end, end.checked_sub(length)?)));
    let told = warnings(&header);
    let damage = header.damage.take();
    let facts = facts::pickle(header);
    let warnings = [told, name_warnings(name, Format::Pickle, &facts)].concat();
    let (state, reason) = match (&damage, missing) {
        (Some(Error::TooLarge { .. }), _) => (State::OkWithWarning, None),
        (Some(Error::Truncated { at }), _) => {
            (State::Incomplete, Some(format!("it breaks off at byte {at}")))
        }
        (Some(error), _) => (State::Corrupt, Some(error.to_string())),
        (None, Some((end, missing))) if missing > 0 => {
            let reason = format!("{missing} of {end} bytes are missing: the storages end at byte {end}");
            (State::Incomplete, Some(reason))
        }
        (None, _) if warnings.is_empty() => (State::Ok, None),
        (None, _) => (State::OkWithWarning, None),
    };
    let facts = damage.is_none().then_some(facts);
    Verdict {
        format: Some(Format::Pickle),
        state,
        reason,
        warnings,
        safety: Some(safety),
        facts,
        data_start: None,
    }
}

/// What loading would do, worst first, and why nobody can vouch for it.
fn warnings(header: &Header) -> Vec<String> {
    let dangers: Vec<&Global> = header.dangers().collect();
    let unknown: Vec<&Global> =
        header.globals.iter().filter(|global| global.standing == Standing::Unknown).collect();
    let dangers = told(&dangers).map(|names| format!("loading it runs code{REACHES}{names}"));
    let unknown = told(&unknown).map(|names| format!("what loading it does is not known{REACHES}{names}"));
    let large = match &header.damage {
        Some(Error::TooLarge { what, .. }) => Some(format!("it was not followed to its end: {what}")),
        _ => None,
    };
    let doubts = header.doubts.iter().take(MAX_TOLD).cloned();
    dangers.into_iter().chain(unknown).chain(large).chain(doubts).collect()
}

/// Names with where the first of them stands.
fn told(globals: &[&Global]) -> Option<String> {
    let first = globals.first()?;
    let name = |global: &&Global| -> String {
        let name = format!("{}.{}", global.module, global.name);
        name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect()
    };
    let names: Vec<String> = globals.iter().take(MAX_TOLD).map(name).collect();
    let more = globals.len().saturating_sub(MAX_TOLD);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let place = match &first.member {
        Some(member) => format!("{}, byte {}", member.chars().take(MAX_NAME).collect::<String>(), first.at),
        None => format!("byte {}", first.at),
    };
    Some(format!("{}{more} ({place})", names.join(", ")))
}

impl Verdict {
    /// Whether it is a pickle that was read to its end and has no tensors: settings, a vocabulary, what a training
    /// left. One that runs code is told of all the same.
    pub fn is_pickled_data(&self) -> bool {
        let has_none = |facts: &Facts| facts.tensor_types.is_empty();
        let is_harmless = self.safety.is_some_and(|safety| safety != Safety::Dangerous);
        is_harmless && self.format == Some(Format::Pickle) && self.facts.as_ref().is_some_and(has_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge;
    use formats::Slice;
    use std::ffi::OsStr;

    #[track_caller]
    fn check(
        name: &str,
        bytes: &[u8],
        format: Option<Format>,
        state: State,
        safety: Option<Safety>,
    ) -> Verdict {
        let verdict = judge(OsStr::new(name), &mut Slice(bytes)).unwrap();
        assert_eq!((verdict.format, verdict.state, verdict.safety), (format, state, safety), "{verdict:?}");
        verdict
    }

    const CALL: &[u8] = b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.";

    #[test]
    fn what_loading_would_run_is_named_with_its_place_whatever_the_file_is_called() {
        let (pickle, dangerous) = (Some(Format::Pickle), Some(Safety::Dangerous));
        let verdict = check("m.pt", CALL, pickle, State::OkWithWarning, dangerous);
        assert_eq!(verdict.warnings, ["loading it runs code: it reaches os.system (byte 2)"]);
        let verdict = check("m.safetensors", CALL, pickle, State::OkWithWarning, dangerous);
        assert!(verdict.warnings.contains(&"the name says safetensors, the bytes are pickle".to_owned()));
        check("notes.txt", b"cos\nsystem\n(S'true'\ntR.", pickle, State::OkWithWarning, dangerous);
        check("m.pt", &[CALL, b"\xff"].concat(), pickle, State::OkWithWarning, dangerous);
        check("m.pt", &CALL[..20], pickle, State::Incomplete, dangerous);
    }

    #[test]
    fn what_is_in_doubt_is_not_said_to_hold_tensors_only() {
        let (pickle, doubt) = (Some(Format::Pickle), Some(Safety::Unverifiable));
        let verdict = check("m.pt", b"\x80\x02cmine\nNet\n)\x81.", pickle, State::OkWithWarning, doubt);
        assert_eq!(verdict.warnings, ["what loading it does is not known: it reaches mine.Net (byte 2)"]);
        check("m.pt", b"\x80\x02}", pickle, State::Incomplete, doubt);
        check("m.pt", b"", pickle, State::Incomplete, doubt);
        check("m.pt", b"hello", None, State::NotAModel, doubt);
        check("m.pkl", b"\x1f\x8b\x08\0\0\0", None, State::NotAModel, doubt);
        check("m.7z", b"7z\xbc\xaf\x27\x1c\0", None, State::NotAModel, doubt);
        check("m.bin", b"hello", None, State::NotAModel, None);
        check("cats.txt", b"cats\nare\nfine\n", None, State::NotAModel, None);
        check("m.tar.gz", b"\x1f\x8b\x08\0\0\0", None, State::NotAModel, None);
    }

    /// A zip archive of this one member, whose checksum is left out.
    fn zip(name: &str, content: &[u8]) -> Vec<u8> {
        let word = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
        let sizes = [word(content.len()), word(content.len()), word(name.len())].concat();
        let local = [&b"PK\x03\x04"[..], &[0; 14], &sizes, name.as_bytes(), content].concat();
        let entry = [&b"PK\x01\x02"[..], &[0; 16], &sizes, &[0; 14], name.as_bytes()].concat();
        let end = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &word(entry.len()), &word(local.len()), &[0; 2]];
        [local, entry, end.concat()].concat()
    }

    #[test]
    fn an_archive_is_found_by_its_end_whatever_stands_before_it() {
        let (pickle, dangerous) = (Some(Format::Pickle), Some(Safety::Dangerous));
        let zip = zip("m/data.pkl", CALL);
        let verdict = check("m.pt", &zip, pickle, State::OkWithWarning, dangerous);
        let warning = "loading it runs code: it reaches os.system (m/data.pkl, byte 42)";
        assert_eq!(verdict.warnings[0], warning);
        check("m.zip", &zip, pickle, State::OkWithWarning, dangerous);
        check("m.pt", &[&[0; 100], &*zip].concat(), pickle, State::OkWithWarning, dangerous);
        let gguf = [&b"GGUF\x03\0\0\0"[..], &[0; 24], &zip].concat();
        let verdict = check("m.gguf", &gguf, Some(Format::Gguf), State::OkWithWarning, dangerous);
        assert!(verdict.warnings[0].starts_with("a zip archive with pickles in it stands behind"));
        assert!(verdict.warnings.contains(&warning.replace("42", "74")), "{verdict:?}");
        check("m.pt", &zip[..60], pickle, State::Incomplete, Some(Safety::Unverifiable));
    }

    /// What `torch.save` wrote before 1.6, of one storage that holds these bytes.
    fn legacy(storage: &[u8]) -> Vec<u8> {
        let length = u8::try_from(storage.len()).unwrap();
        let object = [
            &b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nByteStorage\n"[..],
            &[b"X\x01\0\0\x007X\x03\0\0\0cpuK", &[length][..], b"NtQK\0K", &[length], b"\x85K\x01\x85\x89"].concat(),
            b"ccollections\nOrderedDict\n)RtRs.",
        ];
        let start = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";
        let keys = b"\x80\x02]X\x01\0\0\x007a.";
        [&start[..], &object.concat(), keys, &u64::from(length).to_le_bytes(), storage].concat()
    }

    #[test]
    fn an_archive_at_the_end_counts_though_what_is_before_it_is_fine() {
        let (pickle, dangerous) = (Some(Format::Pickle), Some(Safety::Dangerous));
        check("m.pt", &legacy(&[7; 200]), pickle, State::Ok, Some(Safety::TensorsOnly));
        check("m.pt", &legacy(&zip("m/data.pkl", CALL)), pickle, State::OkWithWarning, dangerous);
        // and the other way round
        let harmless = zip("m/data.pkl", b"\x80\x02}.");
        check("m.pt", &[CALL, b"\xff", &harmless].concat(), pickle, State::OkWithWarning, dangerous);
    }

    #[test]
    fn data_without_tensors_is_no_model() {
        let verdict =
            check("m.pt", b"\x80\x02}.", Some(Format::Pickle), State::Ok, Some(Safety::TensorsOnly));
        assert!(verdict.is_pickled_data());
        let verdict = judge(OsStr::new("m.pt"), &mut Slice(CALL)).unwrap();
        assert!(!verdict.is_pickled_data());
    }
}
