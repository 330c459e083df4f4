//! Jan: a `model.yml` a model below the data folder, which also names files that were imported from elsewhere.
//! Settings of remote providers, with their keys, are left alone.

use super::{
    EntryKind, Environment, Found, FoundFile, Known, Step, Store, Unit, Visit,
    ask::{self, Ask},
    bundle::{self, Together},
    handle, partial,
    plain::{self, Links},
    yaml::Yaml,
};
use crate::{App, Format, Kind, Role};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where settings were kept over time, below XDG_DATA_HOME and XDG_CONFIG_HOME.
const DATA: &[&str] = &["Jan", "jan.ai.app"];
const CONFIG: &[&str] = &["Jan"];
const SETTINGS: &str = "settings.json";
/// Where models lie below the data folder; the last is from before 0.6.
const MODELS: &[&str] = &["llamacpp/models", "mlx/models", "models"];
const RECORD: &str = "model.yml";

pub(super) struct Jan;

impl Store for Jan {
    fn app(&self) -> App {
        App::Jan
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let configured = self.pointers(environment).into_iter().filter_map(|path| {
            let settings: Value = serde_json::from_slice(environment.pointers.get(&path)?).ok()?;
            let folder = PathBuf::from(settings.get("data_folder")?.as_str()?);
            Some(folder).filter(|folder| folder.is_absolute())
        });
        let named = environment.path("JAN_DATA_FOLDER").into_iter();
        let moved = environment.path("JAN_DATA_ROOT").map(|root| root.join("data"));
        let data = environment.xdg("XDG_DATA_HOME", ".local/share").map(|data| data.join("Jan/data"));
        let usual = [moved, data, environment.in_home("jan")].into_iter().flatten();
        super::distinct(named.chain(configured).chain(usual))
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        let below = |base: Option<PathBuf>, names: &'static [&str]| {
            let names = names.iter().map(|name| Path::new(name).join(SETTINGS));
            base.into_iter().flat_map(move |base| names.clone().map(move |name| base.join(name)))
        };
        let data = below(environment.xdg("XDG_DATA_HOME", ".local/share"), DATA);
        let config = below(environment.xdg("XDG_CONFIG_HOME", ".config"), CONFIG);
        data.chain(config).collect()
    }

    fn visit(&self, dir: &Path) -> Visit {
        let is_above = |models: &&str| Path::new(models).starts_with(dir);
        let is_below = |models: &&str| dir.starts_with(models);
        match dir.file_name() {
            Some(name) if partial::is_partial(name) => Visit::Skip,
            _ if MODELS.iter().any(is_below) => Visit::Unit,
            _ if MODELS.iter().any(is_above) => Visit::Pass,
            _ => Visit::Skip,
        }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        let mut ask = Ask::new(known);
        let has_record =
            ask.list(&unit.path()).any(|entry| entry.name == RECORD && entry.kind == EntryKind::File);
        let found =
            if has_record { recorded(&mut ask, unit).into_iter().collect() } else { plain(&mut ask, unit) };
        ask.step(found)
    }
}

/// The part of a directory's path that is the model's handle.
fn handle_of(unit: &Unit<'_>) -> String {
    let below = MODELS.iter().find_map(|models| unit.dir.strip_prefix(models).ok());
    handle::of_path(below.unwrap_or(unit.dir))
}

fn recorded(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Option<Found> {
    let record = unit.path().join(RECORD);
    let content = ask.read(&record)?;
    let Some(yaml) = Yaml::parse(content) else {
        ask.damaged(&record, "it is no record of a model");
        return None;
    };
    let place = |field: &str| yaml.get(field).map(|path| ask::lexical(unit.root, Path::new(path)));
    let model = place("model_path").unwrap_or_else(|| unit.path().join("model.gguf"));
    let mut found = Found::new(App::Jan, handle::fit(handle_of(unit)));
    found.name = yaml.get("name").and_then(handle::bounded);
    found.hints.kind = (yaml.get("embedding") == Some("true")).then_some(Kind::Embedding);
    let files = [
        (Some(model), Role::Weights, "model_sha256"),
        (place("mmproj_path"), Role::Companion, "mmproj_sha256"),
    ];
    for (path, role, sha256) in files {
        let Some(path) = path else { continue };
        if ask.stat(&path).is_none_or(|stat| stat.kind != EntryKind::File) {
            found.partial = Some("model.yml names a file that is not there".to_owned());
            found.hints.format = (role == Role::Weights).then_some(Format::Gguf).or(found.hints.format);
            found.depends.push(path.clone());
        }
        found.files.push(FoundFile { path, role, sha256: yaml.get(sha256).and_then(handle::sha256) });
    }
    found.files.push(FoundFile { path: record.clone(), role: Role::Metadata, sha256: None });
    found.depends.push(record);
    Some(found)
}

/// MLX models, and those from before there were records.
fn plain(ask: &mut Ask<'_>, unit: &Unit<'_>) -> Vec<Found> {
    let files = plain::files(ask, unit, Links::All);
    let bundles = bundle::bundles(ask, &unit.path(), Together::Folder, &files);
    let is_only = bundles.len() == 1;
    let found = bundles.into_iter().map(|bundle| {
        let label = handle::of_path(&bundle.label);
        let dir = handle_of(unit);
        let id = if is_only && !dir.is_empty() {
            dir
        } else {
            format!("{dir}/{label}").trim_matches('/').to_owned()
        };
        Found::of(App::Jan, handle::fit(id), &unit.path(), bundle)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::drive::{Tree, environment, files};

    const ROOT: &str = "/home/u/.local/share/Jan/data";

    #[test]
    fn the_data_folder_is_where_the_settings_say() {
        let settings =
            ("/home/u/.local/share/Jan/settings.json", r#"{"data_folder":"/big/jan","key":"secret"}"#);
        let roots = Jan.roots(&environment(&[("JAN_DATA_FOLDER", "/env")], &[settings]));
        assert_eq!(roots, ["/env", "/big/jan", ROOT, "/home/u/jan"].map(PathBuf::from));
        assert_eq!(Jan.visit(Path::new("threads")), Visit::Skip);
        assert_eq!(Jan.visit(Path::new("llamacpp")), Visit::Pass);
    }

    #[test]
    fn a_record_names_the_files_wherever_they_are() {
        let sha = "ab".repeat(32);
        let at = |id: &str, file: &str| format!("{ROOT}/llamacpp/models/{id}/{file}");
        let tree = Tree::default()
            .file(
                at("o/n", "model.yml"),
                format!("model_path: llamacpp/models/o/n/model.gguf\nname: o/n\nmodel_sha256: {sha}\n"),
            )
            .file(at("o/n", "model.gguf"), "")
            .file(at("import", "model.yml"), "model_path: /dl/x.gguf\nname: i\nembedding: true\n")
            .file("/dl/x.gguf", "")
            .file(at("gone", "model.yml"), "model_path: /dl/gone.gguf\n")
            .file(at("half", "model.gguf.tmp"), "")
            .file(format!("{ROOT}/mlx/models/m/model.safetensors"), "");
        let found = tree.found(&Jan, ROOT);
        let [gone, import, mlx, own] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            (own.id.as_str(), files(own)),
            ("o/n", vec!["w:model.gguf".to_owned(), "m:model.yml".into()])
        );
        assert_eq!(own.files[0].sha256, Some(sha));
        assert_eq!((import.id.as_str(), import.files[0].path.as_path()), ("import", Path::new("/dl/x.gguf")));
        assert_eq!((import.hints.kind, import.source.as_ref()), (Some(Kind::Embedding), None));
        assert_eq!(gone.partial.as_deref(), Some("model.yml names a file that is not there"));
        assert_eq!(mlx.id, "m");
    }

    #[test]
    fn a_damaged_record_is_named() {
        let tree = Tree::default().file(format!("{ROOT}/llamacpp/models/x/model.yml"), "\u{0}");
        let unit = Unit { root: Path::new(ROOT), dir: Path::new("llamacpp/models/x"), place: Path::new("") };
        assert_eq!(tree.damage(&Jan, &unit), [unit.path().join("model.yml")]);
    }
}
