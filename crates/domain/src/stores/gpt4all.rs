//! GPT4All: files side by side in one folder, and those of its Python binding. `.rmodel` stubs hold keys of remote
//! models and are left alone.

use super::{
    Environment, Found, Known, Step, Store, Unit, Visit,
    ask::Ask,
    bundle::{self, Together},
    handle, ini,
    plain::{self, Links},
};
use crate::App;
use std::path::{Path, PathBuf};

const PYTHON: &str = ".cache/gpt4all";
const APP: &str = "nomic.ai/GPT4All";

pub(super) struct Gpt4All;

impl Store for Gpt4All {
    fn app(&self) -> App {
        App::Gpt4All
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let configured = self.pointers(environment).into_iter().filter_map(|path| {
            let text = String::from_utf8_lossy(environment.pointers.get(&path)?).into_owned();
            let folder = ini::settings(&text).find(|setting| setting.key == "modelPath")?.value.to_owned();
            Some(PathBuf::from(folder.trim_end_matches('/'))).filter(|path| path.is_absolute())
        });
        let data = environment.xdg("XDG_DATA_HOME", ".local/share").map(|data| data.join(APP));
        super::distinct(configured.chain(data).chain(environment.in_home(PYTHON)))
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        let config = environment.xdg("XDG_CONFIG_HOME", ".config");
        config.map(|config| config.join(format!("{APP}.ini"))).into_iter().collect()
    }

    fn visit(&self, dir: &Path) -> Visit {
        if dir.as_os_str().is_empty() { Visit::Unit } else { Visit::Skip }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        let mut ask = Ask::new(known);
        let files = plain::files(&mut ask, unit, Links::All);
        let bundles = bundle::bundles(&mut ask, &unit.path(), Together::Heap, &files);
        let kind = if unit.root.ends_with(PYTHON) { "python:" } else { "" };
        let found = bundles.into_iter().map(|bundle| {
            let id = handle::fit(format!("{kind}{}", handle::of_path(&bundle.label)));
            Found::of(App::Gpt4All, id, unit.root, bundle)
        });
        let found = found.collect();
        ask.step(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::drive::{Tree, environment};

    #[test]
    fn the_folder_is_where_the_settings_say() {
        let ini =
            ("/home/u/.config/nomic.ai/GPT4All.ini", "[General]\nchatTheme=Dark\nmodelPath=/big/gpt/\n");
        let roots = Gpt4All.roots(&environment(&[], &[ini]));
        let usual = "/home/u/.local/share/nomic.ai/GPT4All";
        assert_eq!(roots, ["/big/gpt", usual, "/home/u/.cache/gpt4all"].map(PathBuf::from));
    }

    #[test]
    fn files_are_models_and_half_ones_and_stubs_are_not() {
        let root = "/home/u/.cache/gpt4all";
        let tree = Tree::default()
            .file(format!("{root}/x.Q4_0.gguf"), "")
            .file(format!("{root}/incomplete-y.gguf"), "")
            .file(format!("{root}/gpt-4.rmodel"), "");
        let found = tree.found(&Gpt4All, root);
        assert_eq!(found.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["python:x.Q4_0.gguf"]);
    }
}
