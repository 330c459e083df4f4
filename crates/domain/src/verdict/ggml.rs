//! Verdicts on ggml's formats before GGUF: whisper.cpp reads its own, and no current llama.cpp any of the others.

use super::{Data, Verdict, name_warnings};
use crate::{Format, State, facts};
use formats::{
    Error, Input,
    ggml::{self, Header, Hyperparameters},
};
use std::io;

pub(super) fn judge(name: &str, input: &mut impl Input) -> Result<Verdict, io::Error> {
    let header = match ggml::parse(input) {
        Ok(header) => header,
        Err(error) => return unreadable(error, input),
    };
    let facts = facts::ggml::ggml(&header);
    let warnings = name_warnings(name, Format::Ggml, &facts);
    let last = header.tensors.last().map(|tensor| tensor.name.as_str());
    let data = Data { start: 0, end: header.data_end, length: input.len(), last };
    let verdict = Verdict { data_start: None, ..Verdict::readable(Format::Ggml, facts, &data, warnings) };
    let is_whole = verdict.state.is_usable();
    Ok(match outdated(&header) {
        Some(reason) if is_whole => Verdict { state: State::Unsupported, reason: Some(reason), ..verdict },
        _ => verdict,
    })
}

/// Also of a damaged file the magic says what it is.
fn unreadable(error: Error, input: &mut impl Input) -> Result<Verdict, io::Error> {
    let verdict = Verdict::unreadable(Format::Ggml, error)?;
    let container = ggml::container(input.view(0, 4)?);
    let facts = container.map(facts::ggml::of_container).filter(|facts| facts.kind.is_some());
    Ok(Verdict { facts, ..verdict })
}

fn outdated(header: &Header) -> Option<String> {
    let version = header.version.map(|version| format!(" v{version}")).unwrap_or_default();
    let container = header.container.name();
    match header.hyperparameters {
        Hyperparameters::Whisper { .. } => None,
        Hyperparameters::Llama { .. } => Some(format!(
            "{container}{version}, a format before GGUF that llama.cpp has not read since August 2023: get the model as \
             GGUF, or convert it with convert_llama_ggml_to_gguf.py of llama.cpp"
        )),
        Hyperparameters::Lora { .. } => Some(format!(
            "{container}{version}, an adapter from before GGUF that llama.cpp does not read: get it as GGUF"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, judge};
    use formats::Slice;
    use std::ffi::OsStr;

    #[track_caller]
    fn check(numbers: &[u32], state: State, kind: Option<Kind>) -> Verdict {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let verdict = judge(OsStr::new("m.bin"), &mut Slice(&bytes)).unwrap();
        let facts = verdict.facts.as_ref();
        assert_eq!(verdict.format, Some(Format::Ggml));
        assert_eq!((verdict.state, facts.and_then(|facts| facts.kind)), (state, kind), "{verdict:?}");
        verdict
    }

    const GGML: u32 = 0x6767_6d6c;
    const GGJT: u32 = 0x6767_6a74;
    const GGLA: u32 = 0x6767_6c61;

    #[test]
    fn each_is_said_to_be_what_engines_still_do_with_it() {
        let whisper = [GGML, 0, 1500, 8, 1, 1, 448, 8, 1, 4, 80, 1, 0, 0, 0];
        check(&whisper, State::Ok, Some(Kind::Asr));
        let llama = check(&[GGJT, 3, 0, 32, 256, 4, 2, 8, 2], State::Unsupported, Some(Kind::Llm));
        assert!(llama.reason.unwrap().starts_with("ggjt v3, a format before GGUF"));
        check(&[GGLA, 1, 8, 16], State::Unsupported, Some(Kind::Lora));
        check(&[GGJT, 9], State::Unsupported, Some(Kind::Llm));
        check(&[GGJT, 3, u32::MAX, 32, 256, 4, 2, 8, 2], State::Corrupt, Some(Kind::Llm));
        check(&[GGJT, 3, 1], State::Incomplete, Some(Kind::Llm));
        check(&[GGML, 1, 1024, 768, 12, 12, 1, 1, 1, 33, 1, 34, 1], State::Unsupported, None);
    }
}
