//! Downloads that have a name of their own while they last: where apps keep them, and the location that one is. What
//! is in them is not looked at here.

use super::{Found, FoundFile, Unit, handle, hf_hub, partial::Download, web};
use crate::{App, ByteSize, Confidence, Progress, Role, engines::shell_line, names};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What a hub repository's downloads grow in.
const BLOBS: &[&str] = &["blobs"];

const STOPPED: &str = "its download does not go on";

const UNDER_WAY: &str = "its download has not ended";

/// Before the handle of a download that nobody knows by the name it will have.
const HANDLE: &str = "incomplete:";

/// Says where below a unit downloads grow that its store does not look at, for most stores: in a hub repository.
pub(super) fn usual(dir: &Path) -> &'static [&'static str] {
    if hf_hub::is_repository(dir) { BLOBS } else { &[] }
}

/// Says whether a handle is that of such a download.
pub fn is_handle(handle: &str) -> bool {
    handle.starts_with(HANDLE)
}

/// Returns the location that a download is; `below` is its path below the unit.
pub fn found(app: App, unit: &Unit<'_>, below: &Path, download: &Download) -> Found {
    let repository = hf_hub::repository_of(unit.dir);
    let app = if app == App::Loose && repository.is_some() { App::HuggingFace } else { app };
    let is_beside = below.parent().is_none_or(|parent| parent.as_os_str().is_empty());
    let id = match &download.name {
        // What it becomes has the same handle, and is the same model.
        Some(name) if app == App::Loose && is_beside => {
            let root = Path::new(unit.root.file_name().unwrap_or_default());
            handle::of_path(&root.join(unit.dir).join(name))
        }
        _ => format!("{HANDLE}{}", handle::of_path(&unit.dir.join(below))),
    };
    let mut found = Found::new(app, handle::fit(id));
    let plain = || repository.as_ref()?.rsplit('/').next().map(str::to_owned);
    let name = download.name.as_ref().map(|name| names::display_name(name)).or_else(plain);
    found.name = name.and_then(|name| handle::bounded(&name));
    let evidence =
        || format!("hub cache folder {}", unit.dir.file_name().unwrap_or_default().to_string_lossy());
    found.source =
        repository.map(|repository| web::hugging_face(&repository, Confidence::Recorded, evidence()));
    let path = unit.path().join(below);
    found.files = vec![FoundFile { path, role: Role::Weights, sha256: download.sha256.clone() }];
    found.partial = Some(UNDER_WAY.to_owned());
    found
}

impl Found {
    /// Whether it is a download that has a name of its own while it lasts.
    pub fn is_download(&self) -> bool {
        self.partial.as_deref() == Some(UNDER_WAY)
    }
}

/// Says what there is of a download that does not go on, and the lines that go on with it and give it up.
pub fn stopped(found: &Found, progress: &Progress) -> String {
    let line = |words: &[&Path]| {
        let words: Vec<_> = words.iter().map(|word| word.as_os_str().to_owned()).collect();
        shell_line(&BTreeMap::new(), &words)
    };
    let here = match (progress.bytes, progress.total, progress.percent()) {
        (Some(bytes), Some(total), Some(percent)) => {
            format!("{percent} %, {} of {}, are here", ByteSize(bytes), ByteSize(total))
        }
        (Some(bytes), _, _) => format!("{} are here, of how many is not known", ByteSize(bytes)),
        (None, ..) => "how much is here is not known".to_owned(),
    };
    let repository = found.source.as_ref().and_then(|source| source.repo.as_deref());
    let resume = match (found.app, repository) {
        (App::HuggingFace | App::LlamaCpp | App::Tgi, Some(repository)) => {
            line(&["hf", "download", repository].map(Path::new))
        }
        (App::Ollama | App::Msty, _) => "pull the same model again".to_owned(),
        _ => "start the same download again".to_owned(),
    };
    let path = found.files.first().map(|file| file.path.clone()).unwrap_or_default();
    let remove = line(&[Path::new("rm"), &path]);
    format!("{STOPPED}: {here}. To go on: {resume}. To give it up: {remove}")
}

/// Whether a reason is that of a download that does not go on: no header knows better.
pub(crate) fn is_stopped(reason: &str) -> bool {
    reason.starts_with(STOPPED)
}

/// Returns the directories in which a unit's downloads grow, absolute.
pub fn dirs(unit: &Unit<'_>, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| unit.path().join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::partial::{RecordAt, download};

    const DIGEST: &str = "2b31cedb3dfb8012117c732a1be2c9e88e188fcda9232f857a5d84ff2377422f";

    fn at(app: App, root: &str, dir: &str, below: &str) -> Found {
        let unit = Unit::new(Path::new(root), Path::new(dir));
        found(app, &unit, Path::new(below), &download(Path::new(below)).unwrap())
    }

    #[test]
    fn a_blob_of_the_hub_is_its_repositorys_and_says_how_to_go_on() {
        let below = format!("blobs/{DIGEST}.0a1b2c3d.incomplete");
        let blob = at(App::Loose, "/h/hub", "models--o--n", &below);
        assert_eq!((blob.app, blob.name.as_deref()), (App::HuggingFace, Some("n")));
        assert_eq!(blob.source.as_ref().unwrap().repo.as_deref(), Some("o/n"));
        assert!(is_handle(&blob.id), "{}", blob.id);
        assert_eq!(blob.files[0].sha256.as_deref(), Some(DIGEST));
        let progress = Progress { bytes: Some(1 << 20), total: Some(4 << 20), rate: None };
        let path = format!("/h/hub/models--o--n/{below}");
        assert_eq!(
            stopped(&blob, &progress),
            format!(
                "its download does not go on: 25 %, 1.0 MiB of 4.0 MiB, are here. To go on: hf download o/n. To give \
                 it up: rm {path}"
            )
        );
    }

    #[test]
    fn what_lies_beside_its_final_name_has_the_handle_of_that() {
        let part = at(App::Loose, "/home/u/Downloads", "llm", "x y-00001-of-00002.gguf.part");
        assert_eq!(part.id, "Downloads/llm/x y-00001-of-00002.gguf");
        assert_eq!(part.name.as_deref(), Some("x y"));
        let said = stopped(&part, &Progress { bytes: Some(10), ..Progress::default() });
        assert!(said.contains("10 B are here, of how many is not known"), "{said}");
        assert!(said.ends_with("rm '/home/u/Downloads/llm/x y-00001-of-00002.gguf.part'"), "{said}");
        let pull = at(App::Ollama, "/m", "", &format!("blobs/sha256-{DIGEST}-partial"));
        assert_eq!(
            (pull.id.as_str(), pull.name),
            (&*format!("incomplete:blobs/sha256-{DIGEST}-partial"), None)
        );
        assert!(matches!(download(Path::new("blobs/x.sync.part")).unwrap().record, RecordAt::End));
    }
}
