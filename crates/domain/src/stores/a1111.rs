//! AUTOMATIC1111's web UI: see `webui`, which has all that these apps share.

use super::{Environment, Known, Step, Store, Unit, Visit, webui};
use crate::App;
use std::path::{Path, PathBuf};

pub(super) struct A1111;

impl Store for A1111 {
    fn app(&self) -> App {
        App::A1111
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        webui::roots(environment, App::A1111)
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        webui::pointers(environment, App::A1111)
    }

    fn place(&self, environment: &Environment, root: &Path) -> PathBuf {
        webui::place(environment, App::A1111, root)
    }

    fn follows_links(&self) -> bool {
        true
    }

    fn visit(&self, dir: &Path) -> Visit {
        webui::visit(dir)
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        webui::step(App::A1111, unit, known)
    }
}
