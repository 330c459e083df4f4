//! Files that begin as one format under a name that pickle loaders take: those do not look at what another format's
//! magic is, they run its bytes as steps. Leaves alone what such a loader would refuse at once.

use super::{Verdict, pickle};
use crate::{Safety, State};
use formats::{Error, Input, pickle::Header};
use std::io;

/// Adds what a loader of pickles would do with a file that is of another format, or of none.
pub(super) fn look(verdict: Verdict, name: &str, input: &mut impl Input) -> Result<Verdict, io::Error> {
    if !pickle::is_possible(name) {
        return Ok(verdict);
    }
    let is_taken = pickle::is_claimed(name) || pickle::is_tar(name, input)?;
    match formats::pickle::parse_bare(input) {
        Err(Error::Io(error)) => Err(error),
        Ok(header) if header.dangers().next().is_some() || pickle::is_in_doubt(name, &header) => {
            Ok(both(verdict, name, header, input.len()))
        }
        // A format that was understood whole is what it says.
        Ok(_) | Err(_) if is_taken && !verdict.state.is_usable() => Ok(pickle::doubted(verdict)),
        Ok(_) | Err(_) => Ok(verdict),
    }
}

fn both(verdict: Verdict, name: &str, header: Header, length: u64) -> Verdict {
    let is_pickle = pickle::is_likely(&header) || header.dangers().next().is_some();
    let found = pickle::verdict(name, header, length);
    let safety = Safety::worst([found.safety, Some(Safety::Unverifiable)].into_iter().flatten());
    if verdict.state.is_usable() {
        let hidden = "its bytes are a pickle too, which a loader of those runs".to_owned();
        let warnings = [verdict.warnings, vec![hidden], found.warnings].concat();
        return Verdict { warnings, safety, state: State::OkWithWarning, ..verdict };
    }
    if is_pickle { Verdict { safety, ..found } } else { Verdict { safety, ..verdict } }
}

#[cfg(test)]
mod tests {
    use crate::{Format, Safety, State, judge};
    use formats::Slice;
    use std::ffi::OsStr;

    const CALL: &[u8] = b"cos\nsystem\n(S'true'\ntR.";

    #[track_caller]
    fn check(name: &str, bytes: &[u8], format: Option<Format>, state: State, safety: Option<Safety>) {
        let verdict = judge(OsStr::new(name), &mut Slice(bytes)).unwrap();
        assert_eq!((verdict.format, verdict.state, verdict.safety), (format, state, safety), "{verdict:?}");
    }

    /// A whole safetensors file that is a pickle too. Its length begins with `B`, which steps over 40 bytes to a `V`,
    /// which takes a line; what follows that are steps up to the data, and those.
    fn polyglot() -> Vec<u8> {
        const LENGTH: u64 = 0x2842;
        let end = "\"}, \"w\":{\"dtype\":\"U8\",\"shape\":[22],\"data_offsets\":[0,\n22]}}";
        let mut json = format!("{{\"__metadata__\":{{\"a\":\"{}V", "x".repeat(37 - 22));
        json.extend(std::iter::repeat_n('x', usize::try_from(LENGTH).unwrap() - json.len() - end.len()));
        [&LENGTH.to_le_bytes()[..], json.as_bytes(), end.as_bytes(), b"cos\nsystem\n(S'abc'\ntR."].concat()
    }

    #[test]
    fn a_pickle_that_begins_as_another_format_is_run_by_who_loads_pickles() {
        let (pickle, dangerous) = (Some(Format::Pickle), Some(Safety::Dangerous));
        let gguf = [b"GGUFAAAAA0", CALL].concat();
        check("m.pt", &gguf, pickle, State::OkWithWarning, dangerous);
        check("m.bin", &gguf, pickle, State::OkWithWarning, dangerous);
        check("m.gguf", &gguf, Some(Format::Gguf), State::Unsupported, None);
        let safetensors = Some(Format::Safetensors);
        check("m.safetensors", &polyglot(), safetensors, State::Ok, None);
        check("m.bin", &polyglot(), safetensors, State::OkWithWarning, dangerous);
        let unknown = [b"GGUFAAAAA0cmine\nrun\n)R\xff".as_slice(), &[0; 64]].concat();
        check("m.bin", &unknown, Some(Format::Gguf), State::Unsupported, Some(Safety::Unverifiable));
    }

    #[test]
    fn what_is_another_format_is_doubted_only_under_a_checkpoints_name() {
        let doubt = Some(Safety::Unverifiable);
        check("m.pt", b"GGUF\x03\0\0\0", Some(Format::Gguf), State::Incomplete, doubt);
        check("m.bin", b"GGUF\x03\0\0\0", Some(Format::Gguf), State::Incomplete, None);
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid";
        check("pytorch_model.bin", pointer, Some(Format::LfsPointer), State::Incomplete, None);
        let safetensors = b"\x02\0\0\0\0\0\0\0{}";
        check("m.ckpt", safetensors, Some(Format::Safetensors), State::OkWithWarning, None);
        let whisper = [0x6767_6d6c_u32, 0, 1500, 8, 1, 1, 448, 8, 1, 4, 80, 1, 0, 0, 0];
        let whisper: Vec<u8> = whisper.iter().flat_map(|number| number.to_le_bytes()).collect();
        check("ggml-base.bin", &whisper, Some(Format::Ggml), State::Ok, None);
    }

    #[test]
    fn raw_data_is_no_pickle_and_what_goes_on_as_one_is_doubted() {
        let none = |bytes: &[u8]| check("data.bin", bytes, None, State::NotAModel, None);
        none(b"hello");
        none(b"Please\nwait");
        none(b"cats\nare\nfine\n");
        none(b"N.\xff\xff");
        none(b"(dp0\n.");
        none(&[&b"\x02"[..], &[0x3d; 400]].concat());
        let tar = [&b"readme"[..], &[0; 251], b"ustar", &[0; 762]].concat();
        check("data.tar", &tar, None, State::NotAModel, None);
        check("data.bin", &tar, None, State::NotAModel, Some(Safety::Unverifiable));
        for seed in 0..2000_u32 {
            let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
            let random = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state.to_le_bytes()
            });
            let bytes: Vec<u8> = random.take(256).flatten().collect();
            let verdict = judge(OsStr::new("data.bin"), &mut Slice(&bytes)).unwrap();
            assert_eq!(verdict.safety, None, "{seed}: {verdict:?}");
        }
        let doubted = |bytes: &[u8]| {
            check("data.bin", bytes, None, State::NotAModel, Some(Safety::Unverifiable));
        };
        doubted(&[&b"N0".repeat(600_000), CALL].concat());
        doubted(&[&b"N0".repeat(20)[..], b"\xff"].concat());
        doubted(b"S'\\x6fs'\nS'system'\n\x93)R\xff");
        doubted(b"cmine\nrun\n)R\xff");
        let places = [b"Np0_1\n0", CALL].concat();
        check("data.bin", &places, Some(Format::Pickle), State::OkWithWarning, Some(Safety::Dangerous));
    }

    #[test]
    fn an_array_of_numbers_is_no_damaged_pickle() {
        let array = |kind: &str| {
            let description =
                format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (2,), }}").into_bytes();
            let length = u16::try_from(description.len()).unwrap().to_le_bytes();
            [b"\x93NUMPY\x01\0", &length[..], &description, &[0; 8]].concat()
        };
        check("a.npy", &array("<f4"), None, State::NotAModel, None);
        check("a.npy", &array("|O"), Some(Format::Pickle), State::OkWithWarning, Some(Safety::Unverifiable));
    }
}
