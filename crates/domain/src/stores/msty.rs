//! Msty: an Ollama store of its own below its settings. Its keys for remote models are left alone.

use super::{Environment, Known, Step, Store, Unit, Visit, ollama};
use crate::App;
use std::path::{Path, PathBuf};

pub(super) struct Msty;

impl Store for Msty {
    fn app(&self) -> App {
        App::Msty
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let config = [environment.xdg("XDG_CONFIG_HOME", ".config"), environment.in_home(".config")];
        super::distinct(config.into_iter().flatten().map(|config| config.join("Msty/models")))
    }

    fn visit(&self, dir: &Path) -> Visit {
        ollama::visit(dir)
    }

    fn incoming(&self, dir: &Path) -> &'static [&'static str] {
        if dir.as_os_str().is_empty() { &[ollama::BLOBS] } else { &[] }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        ollama::step(App::Msty, unit, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::drive::{Tree, environment};

    #[test]
    fn an_ollama_store_of_msty_is_mstys() {
        assert_eq!(Msty.roots(&environment(&[], &[])), [PathBuf::from("/home/u/.config/Msty/models")]);
        let digest = "ab".repeat(32);
        let manifest = format!(
            r#"{{"layers":[{{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:{digest}"}}]}}"#
        );
        let tree = Tree::default()
            .file("/m/manifests/registry.ollama.ai/library/x/latest", manifest)
            .file(format!("/m/blobs/sha256-{digest}"), "");
        let found = tree.found(&Msty, "/m");
        assert_eq!((found[0].app, found[0].id.as_str()), (App::Msty, "x:latest"));
        assert_eq!(found[0].source.as_ref().unwrap().repo.as_deref(), Some("library/x"));
    }
}
