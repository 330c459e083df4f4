//! LM Studio: `PUBLISHER/REPO/FILE` as on Hugging Face, unless someone imported it under a name of their own.
//! Only the models folders are looked into, never the app's other insides.

use super::{
    EntryKind, Environment, Found, Known, Step, Store, Unit, Visit,
    ask::Ask,
    bundle::{self, Bundle, Together},
    handle, package, partial,
    plain::{self, Links},
    web, weights,
};
use crate::{App, Confidence, Source};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Publishers that `lms import` makes up.
const IMPORTED: &[&str] = &["imported", "imported-models"];

const POINTER: &str = ".lmstudio-home-pointer";
const LEGACY: &str = ".cache/lm-studio";
/// The app's own folder, which no other has.
const INTERNAL: &str = ".internal";
const BUNDLED: &str = ".internal/bundled-models";

pub(super) struct LmStudio;

impl Store for LmStudio {
    fn app(&self) -> App {
        App::LmStudio
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let roots = homes(environment).into_iter().flat_map(|home| {
            let settings = environment.pointers.get(&home.join("settings.json"));
            let settings = settings.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
            let downloads =
                settings.and_then(|value| Some(PathBuf::from(value.get("downloadsFolder")?.as_str()?)));
            let downloads = downloads.filter(|path| path.is_absolute());
            downloads.into_iter().chain([home.join("models"), home.join(BUNDLED)])
        });
        super::distinct(roots)
    }

    /// The settings lie where the pointer file says: known in full once that has been read.
    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        let settings = homes(environment).into_iter().map(|home| home.join("settings.json"));
        environment.in_home(POINTER).into_iter().chain(settings).collect()
    }

    fn follows_links(&self) -> bool {
        true
    }

    fn visit(&self, dir: &Path) -> Visit {
        let Some(name) = dir.file_name() else { return Visit::Unit };
        let is_hidden = name.to_string_lossy().starts_with('.');
        if is_hidden || partial::is_partial(name) || package::is_package(name) {
            Visit::Skip
        } else {
            Visit::Unit
        }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        let mut ask = Ask::new(known);
        let files = plain::files(&mut ask, unit, Links::All);
        let together =
            if repository(&unit.layout()).is_some() { Together::Repository } else { Together::Heap };
        let bundles = bundle::bundles(&mut ask, &unit.path(), together, &files);
        let (imports, is_only) = (imports(&mut ask, &unit.path()), bundles.len() == 1);
        let found = bundles.into_iter().map(|bundle| location(unit, bundle, &imports, is_only)).collect();
        ask.step(found)
    }
}

fn homes(environment: &Environment) -> Vec<PathBuf> {
    let pointer = environment.in_home(POINTER).and_then(|path| environment.pointers.get(&path));
    let pointer = pointer.and_then(|bytes| Some(PathBuf::from(std::str::from_utf8(bytes).ok()?.trim())));
    let usual = [".lmstudio", LEGACY].into_iter().filter_map(|home| environment.in_home(home));
    let moved = environment.with_marks(&[INTERNAL, "models"]).map(Path::to_path_buf);
    super::distinct(pointer.filter(|path| path.is_absolute()).into_iter().chain(usual).chain(moved))
}

/// Returns `publisher/repo` for a directory that is two deep or deeper.
fn repository(dir: &Path) -> Option<String> {
    let mut parts = dir.iter().map(|part| part.to_str());
    handle::bounded(&format!("{}/{}", parts.next()??, parts.next()??))
}

fn location(unit: &Unit<'_>, bundle: Bundle, imports: &BTreeSet<PathBuf>, is_only: bool) -> Found {
    let dir = unit.path();
    let is_import = bundle.weights().any(|path| imports.contains(path));
    let layout = unit.layout();
    let plain = layout.file_name().map(|name| name.to_string_lossy()).filter(|_| bundle.is_directory);
    Found {
        name: handle::bounded(plain.as_deref().unwrap_or(&bundle.stem)),
        source: if is_import { None } else { source(unit) },
        ..Found::of(App::LmStudio, id(unit, &bundle, is_only), &dir, bundle)
    }
}

/// An import by link is an absolute symlink to wherever the file was.
fn imports(ask: &mut Ask<'_>, dir: &Path) -> BTreeSet<PathBuf> {
    let links =
        ask.list(dir).filter(|entry| entry.kind == EntryKind::Symlink && weights::is_candidate(&entry.name));
    let links = links.filter(|entry| ask.link(&dir.join(&entry.name)).is_some_and(Path::is_absolute));
    links.map(|entry| PathBuf::from(&entry.name)).collect()
}

/// Bundled and old models are told apart from the user's own of the same name.
fn id(unit: &Unit<'_>, bundle: &Bundle, is_only: bool) -> String {
    let kind = match unit.root {
        root if root.ends_with(BUNDLED) => "bundled:",
        root if root.ends_with(Path::new(LEGACY).join("models")) => "legacy:",
        _ => "",
    };
    let is_file = !bundle.label.as_os_str().is_empty()
        && (kind.is_empty() || !is_only || repository(&unit.layout()).is_none());
    let path = if is_file { unit.layout().join(&bundle.label) } else { unit.layout() };
    handle::fit(format!("{kind}{}", handle::of_path(&path)))
}

fn source(unit: &Unit<'_>) -> Option<Source> {
    let layout = unit.layout();
    let publisher = layout.iter().next()?.to_str()?;
    let repository = repository(&layout).filter(|_| !IMPORTED.contains(&publisher))?;
    let evidence = format!("folders {repository}");
    Some(web::hugging_face(&repository, Confidence::Inferred, evidence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Format,
        stores::drive::{Tree, environment, files},
    };

    const ROOT: &str = "/home/u/.lmstudio/models";

    #[test]
    fn roots_follow_the_pointer_and_the_settings() {
        let pointer = ("/home/u/.lmstudio-home-pointer", "/data/lms\n");
        let settings = ("/data/lms/settings.json", r#"{"downloadsFolder":"/data/gguf"}"#);
        let environment = environment(&[], &[pointer, settings]);
        assert!(LmStudio.pointers(&environment).contains(&"/data/lms/settings.json".into()));
        let expected = [
            "/data/gguf",
            "/data/lms/models",
            "/data/lms/.internal/bundled-models",
            "/home/u/.lmstudio/models",
            "/home/u/.lmstudio/.internal/bundled-models",
            "/home/u/.cache/lm-studio/models",
            "/home/u/.cache/lm-studio/.internal/bundled-models",
        ];
        assert_eq!(LmStudio.roots(&environment), expected.map(PathBuf::from));
    }

    #[test]
    fn two_folders_make_a_repository() {
        let tree = Tree::default()
            .file(format!("{ROOT}/o/R-GGUF/r-Q4_K_M.gguf"), "")
            .file(format!("{ROOT}/o/R-GGUF/mmproj-other.gguf"), "")
            .file(format!("{ROOT}/o/R-GGUF/downloading_r-Q6_K.gguf.part"), "")
            .file(format!("{ROOT}/mlx/R-4bit/model.safetensors"), "")
            .file(format!("{ROOT}/mlx/R-4bit/config.json"), r#"{"quantization":{"bits":4}}"#)
            .file(format!("{ROOT}/lost.gguf"), "");
        let found = tree.found(&LmStudio, ROOT);
        let [lost, mlx, gguf] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((lost.id.as_str(), lost.source.as_ref()), ("lost.gguf", None));
        assert_eq!(
            (mlx.id.as_str(), mlx.name.as_deref(), mlx.hints.format),
            ("mlx/R-4bit", Some("R-4bit"), Some(Format::Mlx))
        );
        assert_eq!((gguf.id.as_str(), gguf.name.as_deref()), ("o/R-GGUF/r-Q4_K_M.gguf", Some("r-Q4_K_M")));
        assert_eq!(files(gguf), ["w:r-Q4_K_M.gguf", "+:mmproj-other.gguf"]);
        let source = gguf.source.as_ref().unwrap();
        assert_eq!((source.repo.as_deref(), source.confidence), (Some("o/R-GGUF"), Confidence::Inferred));
    }

    #[test]
    fn an_import_has_no_source() {
        let tree = Tree::default()
            .file("/home/u/Downloads/x.gguf", "")
            .link(&format!("{ROOT}/o/r/x.gguf"), "/home/u/Downloads/x.gguf")
            .link(&format!("{ROOT}/o/r/gone.gguf"), "/nowhere.gguf")
            .file(format!("{ROOT}/imported/r/y.gguf"), "");
        let found = tree.found(&LmStudio, ROOT);
        let seen: Vec<_> = found.iter().map(|found| (found.id.as_str(), found.source.is_some())).collect();
        assert_eq!(seen, [("imported/r/y.gguf", false), ("o/r/x.gguf", false)]);
    }

    #[test]
    fn a_publishers_folder_on_another_disk_is_still_the_publishers() {
        let tree = Tree::default().file("/data/pub/R-GGUF/r.gguf", "");
        let found = tree.found_at(&LmStudio, "/data/pub", "pub");
        assert_eq!(found[0].id, "pub/R-GGUF/r.gguf");
        assert_eq!(found[0].source.as_ref().and_then(|source| source.repo.as_deref()), Some("pub/R-GGUF"));
    }

    #[test]
    fn bundled_and_old_models_are_told_apart() {
        let bundled = "/home/u/.lmstudio/.internal/bundled-models";
        let tree = Tree::default().file(format!("{bundled}/nomic-ai/n-GGUF/n.gguf"), "");
        assert_eq!(tree.found(&LmStudio, bundled)[0].id, "bundled:nomic-ai/n-GGUF");
        let legacy = "/home/u/.cache/lm-studio/models";
        let tree =
            Tree::default().file(format!("{legacy}/o/r/a.gguf"), "").file(format!("{legacy}/o/r/b.gguf"), "");
        let ids: Vec<_> = tree.found(&LmStudio, legacy).into_iter().map(|found| found.id).collect();
        assert_eq!(ids, ["legacy:o/r/a.gguf", "legacy:o/r/b.gguf"]);
    }
}
