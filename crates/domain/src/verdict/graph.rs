//! Verdicts on formats that are graphs. One may keep its data in files beside it, which it names itself: whether those
//! are there is said by whoever can look, and none that lies outside the model's directory is ever looked at.

use super::{MAX_NAME, Verdict, claimed_format, name_warnings};
use crate::{
    Format, State,
    facts::{Facts, Part, graph},
};
use formats::{Error, External, Input, coreml, onnx, openvino, tensorrt, tflite};
use std::{ffi::OsStr, io};

/// Warnings of one kind that are kept.
const MAX_WARNED: usize = 8;

/// Formats that are judged here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Onnx,
    OpenVino,
    CoreMl,
    TfLite,
    TensorRt,
}

impl Layout {
    fn format(self) -> Format {
        match self {
            Self::Onnx => Format::Onnx,
            Self::OpenVino => Format::OpenVino,
            Self::CoreMl => Format::CoreMl,
            Self::TfLite => Format::TfLite,
            Self::TensorRt => Format::TensorRt,
        }
    }

    /// Returns which of those without a magic a name is of.
    pub(super) fn claimed(name: &str) -> Option<Self> {
        let claimed = claimed_format(name)?;
        [Self::Onnx, Self::CoreMl].into_iter().find(|layout| layout.format() == claimed)
    }

    /// Whether a name is of this format, where bytes alone cannot say so.
    fn is_said_by(self, name: &str) -> bool {
        match self {
            Self::OpenVino => name.starts_with("openvino_"),
            Self::TensorRt | Self::TfLite => true,
            Self::Onnx | Self::CoreMl => Self::claimed(name) == Some(self),
        }
    }
}

/// Judges a file whose first bytes, or else its name, are of such a format.
pub(super) fn judge(name: &str, layout: Layout, input: &mut impl Input) -> Result<Verdict, io::Error> {
    let read = match layout {
        Layout::Onnx => onnx::parse(input).map(|header| onnx_said(&header)),
        Layout::OpenVino => openvino::parse(input).map(|header| openvino_said(name, &header)),
        Layout::CoreMl => coreml::parse(input).map(|header| (graph::coreml(&header), Vec::new())),
        Layout::TensorRt => tensorrt::parse(input).map(|header| (graph::tensorrt(&header), Vec::new())),
        Layout::TfLite => return judge_tflite(name, input),
    };
    match read {
        Ok((facts, odd)) => Ok(said(name, layout.format(), facts, odd)),
        // Without a magic, a few bytes that look like a format's beginning prove nothing.
        Err(Error::Corrupt { .. } | Error::BadMagic { .. } | Error::Truncated { .. })
            if !layout.is_said_by(name) =>
        {
            Ok(super::unknown())
        }
        Err(error) => Verdict::unreadable(layout.format(), error),
    }
}

fn judge_tflite(name: &str, input: &mut impl Input) -> Result<Verdict, io::Error> {
    let header = match tflite::parse(input) {
        Ok(header) => header,
        Err(error) => return Verdict::unreadable(Format::TfLite, error),
    };
    let verdict = said(name, Format::TfLite, graph::tflite(&header), Vec::new());
    let missing = header.missing_bytes(input.len());
    if missing == 0 {
        return Ok(verdict);
    }
    let reason = format!("{missing} of {} bytes are missing: the weights end there", header.data_end);
    Ok(Verdict { state: State::Incomplete, reason: Some(reason), ..verdict })
}

fn said(name: &str, format: Format, facts: Facts, odd: Vec<String>) -> Verdict {
    let warnings = [odd, name_warnings(name, format, &facts)].concat();
    let state = if warnings.is_empty() { State::Ok } else { State::OkWithWarning };
    Verdict {
        format: Some(format),
        state,
        reason: None,
        warnings,
        safety: None,
        facts: Some(facts),
        data_start: None,
    }
}

fn onnx_said(header: &onnx::Header) -> (Facts, Vec<String>) {
    let outside = header.external.iter().filter(|external| !external.is_inside());
    let outside = outside.take(MAX_WARNED).map(|External { location, .. }| {
        let location: String = location.chars().take(MAX_NAME).collect();
        format!("it wants weights from outside its own directory, which is dangerous: {location:?}")
    });
    let odd = header.warnings.iter().take(MAX_WARNED).cloned();
    (graph::onnx(header), outside.chain(odd).collect())
}

/// The weights have the network's name with another ending, of whatever spelling it is.
fn openvino_said(name: &str, header: &openvino::Header) -> (Facts, Vec<String>) {
    let weights = name
        .len()
        .checked_sub(4)
        .filter(|at| name.get(*at..).is_some_and(|end| end.eq_ignore_ascii_case(".xml")));
    let weights = weights.and_then(|at| name.get(..at)).map(|stem| format!("{stem}.bin"));
    (graph::openvino(header, weights.as_deref()), Vec::new())
}

/// Returns the files beside a model that it says it keeps data in; None where it is no such model, or a damaged one.
///
/// Fails only when reading itself fails.
pub fn parts_of(file_name: &OsStr, input: &mut impl Input) -> Result<Option<Vec<Part>>, io::Error> {
    let verdict = super::judge(file_name, input)?;
    let is_graph = matches!(verdict.format, Some(Format::Onnx | Format::OpenVino));
    Ok(verdict.facts.filter(|_| is_graph).map(|facts| facts.parts))
}

/// Says what is missing of a model's parts; `size` is the length of the file of that name beside it, where it is there.
pub(crate) fn missing_parts(parts: &[Part], mut size: impl FnMut(&str) -> Option<u64>) -> Option<String> {
    let mut missing = parts.iter().filter_map(|part| match size(&part.name) {
        None if part.size > 0 => Some((part, format!("is not there, and holds {} bytes", part.size))),
        Some(size) if size < part.size => {
            Some((part, format!("has {size} bytes, and the last of the weights ends at {}", part.size)))
        }
        Some(_) | None => None,
    });
    let (first, why) = missing.next()?;
    let others = missing.count();
    let more = if others > 0 { format!("; {others} more") } else { String::new() };
    let name: String = first.name.chars().filter(|letter| !letter.is_control()).take(200).collect();
    Some(format!("missing-sibling: {name} {why}{more}"))
}

impl Verdict {
    /// What is said of a file that only holds another one's data: nothing, as its bytes mean nothing alone.
    pub fn of_data() -> Self {
        let (format, reason, safety, facts, data_start) = (None, None, None, None, None);
        Self { format, state: State::Ok, reason, warnings: Vec::new(), safety, facts, data_start }
    }

    /// Whether this is `of_data`.
    pub fn is_of_data(&self) -> bool {
        *self == Self::of_data()
    }

    /// Adds what is missing of the parts.
    #[must_use]
    pub fn with_parts(self, size: impl FnMut(&str) -> Option<u64>) -> Self {
        let missing = self.facts.as_ref().and_then(|facts| missing_parts(&facts.parts, size));
        match missing {
            Some(reason) if self.state.is_usable() => {
                Self { state: State::Incomplete, reason: Some(reason), ..self }
            }
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::Slice;

    /// An ONNX model with one tensor of two floats in the file of this name.
    fn onnx(location: &str) -> Vec<u8> {
        let field = |number: u8, bytes: &[u8]| {
            [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
        };
        let entry = field(13, &[field(1, b"location"), field(2, location.as_bytes())].concat());
        let tensor = [&[8, 2, 16, 1][..], &field(8, b"w"), &entry, &[14 << 3, 1]].concat();
        [&[8, 8][..], &field(7, &field(5, &tensor)), &field(8, &[16, 17])].concat()
    }

    #[track_caller]
    fn check(name: &str, bytes: &[u8], format: Option<Format>, state: State) -> Verdict {
        let verdict = super::super::judge(OsStr::new(name), &mut Slice(bytes)).unwrap();
        assert_eq!((verdict.format, verdict.state), (format, state), "{name}: {verdict:?}");
        verdict
    }

    #[test]
    fn data_beside_a_model_must_be_there_and_long_enough() {
        let verdict = check("m.onnx", &onnx("m.data"), Some(Format::Onnx), State::Ok);
        let with = |size: Option<u64>| verdict.clone().with_parts(|name| size.filter(|_| name == "m.data"));
        assert_eq!(with(Some(8)).state, State::Ok);
        assert_eq!(
            with(Some(7)).reason.as_deref(),
            Some("missing-sibling: m.data has 7 bytes, and the last of the weights ends at 8")
        );
        assert_eq!(with(None).state, State::Incomplete);
    }

    #[test]
    fn data_outside_the_directory_is_warned_of_and_not_looked_for() {
        for location in ["/etc/passwd", "../x", "a/../../x", "..\\x"] {
            let verdict = check("m.onnx", &onnx(location), Some(Format::Onnx), State::OkWithWarning);
            assert!(verdict.warnings[0].contains("outside its own directory"), "{verdict:?}");
            assert_eq!(verdict.with_parts(|_| panic!("looked for {location}")).state, State::OkWithWarning);
        }
    }

    #[test]
    fn what_begins_like_a_graph_by_chance_is_none() {
        check("data.bin", b"\x08\x08\x12\x07pytorch\xff\xff", None, State::NotAModel);
        check("data.onnx", b"\x08\x08\x12\x07pytorch\xff\xff", Some(Format::Onnx), State::Incomplete);
        check("m.onnx", b"hello world\n", Some(Format::Onnx), State::Corrupt);
        check("page.xml", b"<?xml version=\"1.0\"?><svg/>", None, State::NotAModel);
        check("m.h5", b"\x89HDF\r\n\x1a\n\0\0", None, State::NotAModel);
        check("m.nemo", b"./\0\0\0\0\0", None, State::NotAModel);
        check("m.tflite", b"not at all", None, State::NotAModel);
    }

    #[test]
    fn each_format_is_known_by_its_bytes() {
        check("m.mlmodel", &[8, 7], Some(Format::CoreMl), State::Ok);
        check("a.engine", &[&b"ftrt"[..], &[0; 60]].concat(), Some(Format::TensorRt), State::Ok);
        check("a.engine", b"ftrt", Some(Format::TensorRt), State::Incomplete);
        let network = br#"<net name="n" version="11"><layers></layers></net>"#;
        let verdict = check("m.xml", network, Some(Format::OpenVino), State::Ok);
        assert_eq!(verdict.facts.unwrap().parts, [Part { name: "m.bin".into(), size: 0 }]);
        check("openvino_model.xml", &network[..40], Some(Format::OpenVino), State::Incomplete);
        let named =
            check("m.onnx", &[&b"ftrt"[..], &[0; 60]].concat(), Some(Format::TensorRt), State::OkWithWarning);
        assert_eq!(named.warnings, ["the name says onnx, the bytes are tensorrt"]);
    }
}
