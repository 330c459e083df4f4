//! whisper.cpp: `ggml-NAME.bin` in the `models` folder of a checkout, or wherever its script was run; with a CoreML
//! encoder beside it on a Mac. The name says where it came from, which is a guess.

use super::{
    Environment, Found, FoundFile, Known, Step, Store, Unit, Visit,
    ask::Ask,
    handle, package,
    plain::{self, Links},
    web,
};
use crate::{App, Confidence, Format, Kind, Role};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const START: &str = "ggml-";
const END: &str = ".bin";
const ENCODER: &str = "-encoder.mlmodelc";
const VAD: &str = "ggml-silero";

/// Names of its models begin so; `ggml-model-q4_0.bin` is an old LLM.
const MODELS: &[&str] = &["tiny", "base", "small", "medium", "large", "distil", "silero"];

/// Where the script of a checkout comes from, and where it fetches models with speaker turns and voice activity.
const SOURCES: &[(&str, &str)] =
    &[("-tdrz", "akashmjn/tinydiarize-whisper.cpp"), (VAD, "ggml-org/whisper-vad")];
const SOURCE: &str = "ggerganov/whisper.cpp";

pub(super) struct WhisperCpp;

impl Store for WhisperCpp {
    fn app(&self) -> App {
        App::WhisperCpp
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let checkouts = environment.with_marks(&["models"]).filter(|dir| dir.ends_with("whisper.cpp"));
        let checkouts = checkouts.map(|dir| dir.join("models"));
        let holds = environment.places.iter().filter(|(dir, entries)| {
            let is_home = environment.home.as_ref() == Some(dir);
            !is_home && entries.iter().any(|entry| entry.name.to_str().is_some_and(is_model))
        });
        let is_plain = |dir: &PathBuf| {
            ["models", "Downloads"]
                .iter()
                .filter_map(|name| environment.in_home(name))
                .all(|plain| !dir.starts_with(plain))
        };
        super::distinct(checkouts.chain(holds.map(|(dir, _)| dir.clone()).filter(is_plain)))
    }

    fn visit(&self, dir: &Path) -> Visit {
        if dir.as_os_str().is_empty() { Visit::Unit } else { Visit::Skip }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        let mut ask = Ask::new(known);
        let files = plain::files(&mut ask, unit, Links::All);
        let names = files.iter().filter_map(|file| file.to_str());
        let models = names.filter(|name| name.starts_with(START) && !name.contains('/'));
        let mut found: Vec<Found> = models.filter_map(|name| model(unit, name)).collect();
        let mut encoders: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
        for file in &files {
            let encoder =
                package::around(file).filter(|dir| dir.to_str().is_some_and(|dir| dir.ends_with(ENCODER)));
            if let Some(encoder) = encoder {
                encoders.entry(encoder).or_default().push(file);
            }
        }
        found.extend(encoders.iter().filter_map(|(dir, files)| encoder(&mut ask, unit, dir, files)));
        ask.step(found)
    }
}

fn is_model(name: &str) -> bool {
    let middle = name.strip_prefix(START).and_then(|rest| rest.strip_suffix(END));
    middle.is_some_and(|middle| MODELS.iter().any(|model| middle.starts_with(model)))
}

fn model(unit: &Unit<'_>, name: &str) -> Option<Found> {
    let stem = name.strip_suffix(END)?;
    let mut found = Found::new(App::WhisperCpp, handle::fit(stem.to_owned()));
    found.name = handle::bounded(stem);
    found.files.push(FoundFile { path: unit.root.join(name), role: Role::Weights, sha256: None });
    if is_model(name) {
        let repo = SOURCES.iter().find(|(part, _)| name.contains(part)).map_or(SOURCE, |(_, repo)| repo);
        let mut source = web::hugging_face(repo, Confidence::Inferred, "file name".to_owned());
        source.url = source.url.map(|url| format!("{url}/resolve/main/{}", web::encode(name)));
        found.source = Some(source);
        // The same magic heads whisper's files and the first LLMs.
        found.hints.format = Some(Format::Ggml);
        found.hints.kind = Some(if name.starts_with(VAD) { Kind::Other } else { Kind::Asr });
    }
    Some(found)
}

/// The compiled encoder goes by its own name.
fn encoder(ask: &mut Ask<'_>, unit: &Unit<'_>, dir: &Path, files: &[&Path]) -> Option<Found> {
    let mut bundle = package::bundle(ask, unit.root, dir, files)?;
    bundle.hints.kind = Some(Kind::Asr);
    let id = handle::fit(bundle.stem.clone());
    Some(Found::of(App::WhisperCpp, id, unit.root, bundle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{
        Entry, EntryKind,
        drive::{Tree, environment, files},
    };

    const ROOT: &str = "/home/u/whisper.cpp/models";

    #[test]
    fn its_folder_is_a_checkouts_or_any_with_its_files() {
        let mut environment = environment(&[], &[]);
        let mut put = |dir: &str, name: &str| {
            environment.places.insert(dir.into(), vec![Entry { name: name.into(), kind: EntryKind::File }]);
        };
        put("/home/u/src/whisper.cpp", "models");
        put("/home/u/asr", "ggml-base.en.bin");
        put("/home/u/llm", "ggml-model-q4_0.bin");
        put("/home/u/Downloads", "ggml-base.en.bin");
        assert_eq!(
            WhisperCpp.roots(&environment),
            ["/home/u/src/whisper.cpp/models", "/home/u/asr"].map(PathBuf::from)
        );
    }

    #[test]
    fn names_tell_where_models_came_from() {
        let tree = Tree::default()
            .file(format!("{ROOT}/ggml-tiny.en.bin"), "")
            .file(format!("{ROOT}/ggml-small.en-tdrz.bin"), "")
            .file(format!("{ROOT}/for-tests-ggml-base.bin"), "")
            .file(format!("{ROOT}/ggml-tiny.en-encoder.mlmodelc/weights/weight.bin"), "")
            .file(format!("{ROOT}/ggml-base-encoder.mlmodelc/model.mil"), "");
        let found = tree.found(&WhisperCpp, ROOT);
        let [turns, tiny, encoder] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((tiny.id.as_str(), tiny.hints.kind), ("ggml-tiny.en", Some(Kind::Asr)));
        let source = tiny.source.as_ref().unwrap();
        assert_eq!((source.repo.as_deref(), source.confidence), (Some(SOURCE), Confidence::Inferred));
        assert_eq!(
            source.url.as_deref(),
            Some("https://huggingface.co/ggerganov/whisper.cpp/resolve/main/ggml-tiny.en.bin")
        );
        assert_eq!(turns.source.as_ref().unwrap().repo.as_deref(), Some("akashmjn/tinydiarize-whisper.cpp"));
        assert_eq!(
            (encoder.id.as_str(), encoder.hints.format),
            ("ggml-tiny.en-encoder", Some(Format::CoreMl))
        );
        assert_eq!(files(encoder), ["w:weight.bin"]);
    }
}
