//! SD.Next, which keeps a Hugging Face cache among its models as well: see `webui`, which has all that these apps share.

use super::{Environment, Known, Step, Store, Unit, Visit, webui};
use crate::App;
use std::path::{Path, PathBuf};

pub(super) struct SdNext;

impl Store for SdNext {
    fn app(&self) -> App {
        App::SdNext
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        webui::roots(environment, App::SdNext)
    }

    fn pointers(&self, environment: &Environment) -> Vec<PathBuf> {
        webui::pointers(environment, App::SdNext)
    }

    fn place(&self, environment: &Environment, root: &Path) -> PathBuf {
        webui::place(environment, App::SdNext, root)
    }

    fn follows_links(&self) -> bool {
        true
    }

    fn visit(&self, dir: &Path) -> Visit {
        webui::visit(dir)
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        webui::step(App::SdNext, unit, known)
    }
}
