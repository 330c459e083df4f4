//! What a file is, whatever it is called: the answer of `inspect`, and what the index keeps of each weight file.

use crate::{Format, Safety, State, facts, facts::Facts, names};
use formats::{Error, Input, Magic, gguf, safetensors, sniff};
use serde::{Deserialize, Serialize};
use std::{ffi::OsStr, io};

mod disguise;
mod ggml;
mod graph;
mod pickle;

use graph::Layout;
pub(crate) use graph::missing_parts;
pub use graph::parts_of;

/// What `sniff` wants to see.
const HEAD: usize = 64;
/// Names in reasons and warnings are cut here; a tensor's is the file's to choose.
const MAX_NAME: usize = 64;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub format: Option<Format>,
    pub state: State,
    /// Why the state is not `ok`, in words, with what and where.
    pub reason: Option<String>,
    pub warnings: Vec<String>,
    pub safety: Option<Safety>,
    pub facts: Option<Facts>,
    /// Where tensor data starts, bytes; None where no header could be read.
    pub data_start: Option<u64>,
}

/// Reads what an input is. Fails only when reading itself fails.
pub fn judge(file_name: &OsStr, input: &mut impl Input) -> Result<Verdict, io::Error> {
    let name = file_name.to_string_lossy();
    let length = input.len();
    let head = input.view(0, HEAD)?;
    let magic = sniff(head.get(..HEAD).unwrap_or(head), length);
    let verdict = match magic {
        Some(magic) => judge_start(magic, &name, input)?,
        None => judge_unknown(&name, input)?,
    };
    if magic == Some(Magic::Zip) {
        return Ok(verdict);
    }
    let verdict = if verdict.safety.is_none() { disguise::look(verdict, &name, input)? } else { verdict };
    pickle::with_archive(verdict, &name, input)
}

/// Reads what an input begins as.
fn judge_start(magic: Magic, name: &str, input: &mut impl Input) -> Result<Verdict, io::Error> {
    let length = input.len();
    match magic {
        Magic::Gguf => judge_gguf(name, input),
        Magic::Safetensors => judge_safetensors(name, input),
        Magic::Ggml => ggml::judge(name, input),
        Magic::Zip => pickle::judge_zip(name, input),
        Magic::Pickle => pickle::judge(name, input),
        Magic::NumPy => pickle::judge_array(name, input),
        Magic::Packed(what) => pickle::packed(name, what).map_or_else(|| judge_unknown(name, input), Ok),
        Magic::Onnx => graph::judge(name, Layout::claimed(name).unwrap_or(Layout::Onnx), input),
        Magic::CoreMl => graph::judge(name, Layout::claimed(name).unwrap_or(Layout::CoreMl), input),
        Magic::OpenVino => graph::judge(name, Layout::OpenVino, input),
        Magic::TfLite => graph::judge(name, Layout::TfLite, input),
        Magic::TensorRt => graph::judge(name, Layout::TensorRt, input),
        Magic::LfsPointer => {
            let reason = "a git-lfs pointer: the file that it stands for is not here";
            Ok(Verdict::new(Some(Format::LfsPointer), State::Incomplete, reason))
        }
        Magic::Page => Ok(Verdict::new(None, State::NotAModel, "a web page or a JSON text, no model")),
        Magic::Zeros if length < HEAD as u64 => Ok(Verdict::new(None, State::NotAModel, "a few zero bytes")),
        Magic::Zeros => {
            let reason = "only zero bytes so far: reserved for a download, not yet written";
            Ok(Verdict::new(claimed_format(name), State::Incomplete, reason))
        }
        Magic::Empty if pickle::is_claimed(name) => {
            Ok(pickle::doubted(Verdict::new(Some(Format::Pickle), State::Incomplete, "0 bytes")))
        }
        Magic::Empty if names::looks_like_model(name) => {
            Ok(Verdict::new(claimed_format(name), State::Incomplete, "0 bytes"))
        }
        Magic::Empty => Ok(Verdict::new(None, State::NotAModel, "0 bytes")),
    }
}

/// Returns how many bytes the whole file has, where its header is here and says so.
pub fn whole_size(input: &mut impl Input) -> Option<u64> {
    let length = input.len();
    let head = input.view(0, HEAD).ok()?;
    let magic = sniff(head.get(..HEAD).unwrap_or(head), length)?;
    match magic {
        Magic::Gguf => gguf::parse(input).ok().map(|header| header.data_end),
        Magic::Safetensors => safetensors::parse(input).ok().map(|header| header.data_end),
        Magic::Ggml
        | Magic::Zip
        | Magic::Pickle
        | Magic::NumPy
        | Magic::Packed(_)
        | Magic::Onnx
        | Magic::CoreMl
        | Magic::OpenVino
        | Magic::TfLite
        | Magic::TensorRt
        | Magic::LfsPointer
        | Magic::Page
        | Magic::Zeros
        | Magic::Empty => None,
    }
}

impl Verdict {
    /// A verdict with nothing more to say than this.
    pub fn new(format: Option<Format>, state: State, reason: &str) -> Self {
        Self {
            format,
            state,
            reason: Some(reason.to_owned()),
            warnings: Vec::new(),
            safety: None,
            facts: None,
            data_start: None,
        }
    }

    /// Returns what a header that cannot be read means.
    fn unreadable(format: Format, error: Error) -> Result<Self, io::Error> {
        let reason = error.to_string();
        let state = match error {
            Error::Truncated { .. } => State::Incomplete,
            Error::Unsupported { .. } => State::Unsupported,
            Error::BadMagic { .. } | Error::Corrupt { .. } | Error::TooLarge { .. } => State::Corrupt,
            Error::Io(error) => return Err(error),
        };
        Ok(Self::new(Some(format), state, &reason))
    }

    /// Returns what a header that was read means: complete unless the file ends before its data.
    ///
    /// `warnings` are about what the file says. What is odd in how it is written (`Header::warnings`: text that is
    /// not UTF-8, bytes behind the data) the reference readers take as it is, and so do we.
    fn readable(format: Format, facts: Facts, data: &Data, warnings: Vec<String>) -> Self {
        let reason = data.missing();
        let state = match (&reason, warnings.is_empty()) {
            (Some(_), _) => State::Incomplete,
            (None, true) => State::Ok,
            (None, false) => State::OkWithWarning,
        };
        let data_start = Some(data.start);
        Self { format: Some(format), state, reason, warnings, safety: None, facts: Some(facts), data_start }
    }
}

/// Where a file's tensors lie, bytes from its start, and how long the file is.
struct Data<'a> {
    start: u64,
    end: u64,
    length: u64,
    /// The tensor that ends last, where the header says which.
    last: Option<&'a str>,
}

impl Data<'_> {
    fn missing(&self) -> Option<String> {
        let missing = self.end.checked_sub(self.length).filter(|missing| *missing > 0)?;
        let last = self.last.map_or_else(
            || "the tensor data".to_owned(),
            |name| format!("the data of tensor {}", name.chars().take(MAX_NAME).collect::<String>()),
        );
        Some(format!("{missing} of {} bytes are missing: {last} ends at byte {}", self.end, self.end))
    }
}

fn judge_gguf(name: &str, input: &mut impl Input) -> Result<Verdict, io::Error> {
    let header = match gguf::parse(input) {
        Ok(header) => header,
        Err(error) => return Verdict::unreadable(Format::Gguf, error),
    };
    let (facts, odd) = facts::gguf(&header);
    let warnings = [odd, name_warnings(name, Format::Gguf, &facts)].concat();
    let last = header.tensors.iter().max_by_key(|tensor| tensor.offset.saturating_add(tensor.size));
    let data = Data {
        start: header.data_start,
        end: header.data_end,
        length: input.len(),
        last: last.map(|tensor| tensor.name.as_str()),
    };
    let verdict = Verdict::readable(Format::Gguf, facts, &data, warnings);
    Ok(match header.byte_order {
        gguf::ByteOrder::Little => verdict,
        gguf::ByteOrder::Big => Verdict {
            state: State::Unsupported,
            reason: Some("big-endian GGUF: no engine on a little-endian machine reads it".to_owned()),
            ..verdict
        },
    })
}

fn judge_safetensors(name: &str, input: &mut impl Input) -> Result<Verdict, io::Error> {
    let header = match safetensors::parse(input) {
        Ok(header) => header,
        Err(error) => return Verdict::unreadable(Format::Safetensors, error),
    };
    let (facts, odd) = facts::safetensors(&header);
    let warnings = [odd, name_warnings(name, Format::Safetensors, &facts)].concat();
    let data = Data { start: header.data_start, end: header.data_end, length: input.len(), last: None };
    Ok(Verdict::readable(Format::Safetensors, facts, &data, warnings))
}

/// safetensors, ONNX and CoreML have no magic: under their names, bytes that do not look like it are a damaged file.
fn judge_unknown(name: &str, input: &mut impl Input) -> Result<Verdict, io::Error> {
    if claimed_format(name) == Some(Format::Safetensors) {
        return judge_safetensors(name, input);
    }
    match Layout::claimed(name) {
        Some(layout) => graph::judge(name, layout, input),
        None => pickle::judge_unknown(name, input),
    }
}

fn unknown() -> Verdict {
    Verdict::new(None, State::NotAModel, "the first bytes are of no model format that is known here")
}

/// Returns the format that a name claims by its extension.
pub(crate) fn claimed_format(name: &str) -> Option<Format> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "gguf" => Format::Gguf,
        "safetensors" | "sft" => Format::Safetensors,
        "pt" | "pth" | "ckpt" | "pkl" | "pickle" | "th" => Format::Pickle,
        "onnx" => Format::Onnx,
        "tflite" => Format::TfLite,
        "mlmodel" => Format::CoreMl,
        "engine" | "plan" | "trt" => Format::TensorRt,
        _ => return None,
    })
}

/// Warns where a name claims what the bytes are not.
fn name_warnings(name: &str, format: Format, facts: &Facts) -> Vec<String> {
    let extension = claimed_format(name)
        .filter(|claimed| *claimed != format)
        .map(|claimed| format!("the name says {claimed}, the bytes are {format}"));
    let is_part = facts.split.is_some_and(|split| split.count > 1) || names::split_of(name).is_some();
    let quant = names::quant_in(name)
        .zip(facts.quant.as_deref())
        .filter(|(claimed, found)| !is_part && contradicts(claimed, found));
    let quant = quant.map(|(claimed, found)| format!("the name says {claimed}, the tensors are {found}"));
    extension.into_iter().chain(quant).collect()
}

/// Whether two names of mixes cannot be of one file. `Q4_K_L` and `UD-…` are recipes of their own, with no fixed mix.
fn contradicts(claimed: &str, found: &str) -> bool {
    if claimed.starts_with("UD-") {
        return false;
    }
    let claimed_mix = split_mix(claimed);
    let found_mix = split_mix(found);
    claimed_mix.0 != found_mix.0 || matches!((claimed_mix.1, found_mix.1), (Some(a), Some(b)) if a != b)
}

/// Splits `Q4_K_M` into its base and the size where that is one of llama-quantize's own.
fn split_mix(quant: &str) -> (&str, Option<&str>) {
    match quant.split_once("_K_") {
        Some((base, size)) => (base, (matches!(size, "S" | "M") || quant == "Q3_K_L").then_some(size)),
        None => (quant.strip_suffix("_K").unwrap_or(quant), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::Slice;

    #[track_caller]
    fn check(name: &str, bytes: &[u8], format: Option<Format>, state: State) -> Verdict {
        let verdict = judge(OsStr::new(name), &mut Slice(bytes)).unwrap();
        assert_eq!((verdict.format, verdict.state), (format, state), "{name}: {verdict:?}");
        assert_eq!(verdict.reason.is_some(), !state.is_usable(), "{verdict:?}");
        verdict
    }

    /// A GGUF of one F32 tensor with 8 elements, `general.name` being "m"; its data starts at byte 128.
    fn gguf() -> Vec<u8> {
        let string = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let mut bytes = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
        bytes.extend([string("general.name"), vec![8, 0, 0, 0], string("m")].concat());
        bytes.extend([string("norm.weight"), vec![1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0], vec![0; 12]].concat());
        bytes.resize(128 + 32, 0);
        bytes
    }

    fn safetensors(json: &str, data: usize) -> Vec<u8> {
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; data]].concat()
    }

    #[test]
    fn a_whole_file_is_ok_and_a_short_one_says_what_is_missing() {
        let gguf = gguf();
        let verdict = check("m.gguf", &gguf, Some(Format::Gguf), State::Ok);
        assert_eq!(verdict.data_start, Some(128));
        assert_eq!(verdict.facts.unwrap().name.as_deref(), Some("m"));
        let short = check("m.gguf", &gguf[..148], Some(Format::Gguf), State::Incomplete);
        let reason = "12 of 160 bytes are missing: the data of tensor norm.weight ends at byte 160";
        assert_eq!(short.reason.as_deref(), Some(reason));
        assert!(short.facts.is_some());
        let cut = check("m.gguf", &gguf[..40], Some(Format::Gguf), State::Incomplete);
        assert_eq!(cut.facts, None);
    }

    #[test]
    fn formats_are_told_by_bytes() {
        check("m.gguf", b"<!DOCTYPE html><title>404</title>", None, State::NotAModel);
        check(
            "m.gguf",
            b"version https://git-lfs.github.com/spec/v1\noid",
            Some(Format::LfsPointer),
            State::Incomplete,
        );
        check("m.gguf", &[0; 4096], Some(Format::Gguf), State::Incomplete);
        check("m.gguf", b"", Some(Format::Gguf), State::Incomplete);
        check("notes.txt", b"", None, State::NotAModel);
        check("notes.txt", b"hello", None, State::NotAModel);
        check("m.gguf", b"GGUF\x01\0\0\0\0\0\0\0\0\0\0\0", Some(Format::Gguf), State::Unsupported);
        check("m.bin", b"tjgg\x03\0\0\0", Some(Format::Ggml), State::Incomplete);
        let pickle = check("m.pt", b"\x80\x02}q\0.", Some(Format::Pickle), State::Ok);
        assert_eq!(pickle.safety, Some(Safety::TensorsOnly));
        check("m.gguf", b"MZ\x90\0\0\0\0\0\0\0", None, State::NotAModel);
        check("m.safetensors", &[0; 16], None, State::NotAModel);
        check("m.safetensors", &[255; 16], Some(Format::Safetensors), State::Corrupt);
    }

    #[test]
    fn safetensors_are_judged_as_strictly_as_their_reader_does() {
        let json = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        check("m.safetensors", &safetensors(json, 8), Some(Format::Safetensors), State::Ok);
        check("m.safetensors", &safetensors(json, 9), Some(Format::Safetensors), State::Corrupt);
        let short =
            check("m.safetensors", &safetensors(json, 7), Some(Format::Safetensors), State::Incomplete);
        let reason = "1 of 70 bytes are missing: the tensor data ends at byte 70";
        assert_eq!(short.reason.as_deref(), Some(reason));
    }

    #[test]
    fn a_name_that_lies_is_warned_of() {
        let odd = check("m.safetensors", &gguf(), Some(Format::Gguf), State::OkWithWarning);
        assert_eq!(odd.warnings, ["the name says safetensors, the bytes are gguf"]);
        for (claimed, found, is_lie) in [
            ("Q4_K_M", "Q4_K_M", false),
            ("Q8_0", "Q4_K_M", true),
            ("Q4_K_S", "Q4_K_M", true),
            ("Q4_K_L", "Q4_K_M", false),
            ("Q4_K_M", "Q4_K", false),
            ("Q4_K_M", "Q4_0", true),
            ("Q3_K_L", "Q3_K_M", true),
            ("UD-Q2_K_XL", "IQ2_XS", false),
            ("F16", "MXFP4", true),
            ("Q6_K_L", "Q6_K", false),
        ] {
            assert_eq!(contradicts(claimed, found), is_lie, "{claimed} {found}");
        }
    }

    #[test]
    fn a_failing_read_is_no_verdict() {
        let mut broken = formats::Windowed::new(100, |_, _: &mut [u8]| Err(io::Error::other("EIO")));
        assert!(judge(OsStr::new("m.gguf"), &mut broken).is_err());
    }
}
