//! Forge, which was made from AUTOMATIC1111's web UI: see `webui`, which has all that these apps share.

use super::{Environment, Known, Step, Store, Unit, Visit, webui};
use crate::App;
use std::path::{Path, PathBuf};

pub(super) struct Forge;

impl Store for Forge {
    fn app(&self) -> App {
        App::Forge
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        webui::roots(environment, App::Forge)
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        webui::pointers(environment, App::Forge)
    }

    fn place(&self, environment: &Environment, root: &Path) -> PathBuf {
        webui::place(environment, App::Forge, root)
    }

    fn follows_links(&self) -> bool {
        true
    }

    fn visit(&self, dir: &Path) -> Visit {
        webui::visit(dir)
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        webui::step(App::Forge, unit, known)
    }
}
