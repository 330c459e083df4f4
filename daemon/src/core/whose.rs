//! Whose a path is: the root it lies in, and the unit there that it concerns. Looks at no disk.

use super::roots::Roots;
use crate::index::UnitRow;
use domain::stores::{STORES, Visit};
use std::path::{Path, PathBuf};

impl Roots {
    /// The unit whose listing has this path; None where no root has it, or its store does not look there.
    pub(super) fn unit_of(&self, path: &Path) -> Option<UnitRow> {
        let (unit, is_listed) = self.walk(path)?;
        is_listed.then_some(unit)
    }

    /// The deepest unit around a path, also where its store does not look, and the path below it.
    pub(super) fn unit_around(&self, path: &Path) -> Option<(UnitRow, PathBuf)> {
        let (unit, _) = self.walk(path)?;
        let below = path.strip_prefix(&unit.dir).ok()?.to_owned();
        Some((unit, below))
    }

    /// The deepest directory that its store looks at, and whether that is where the path lies.
    fn walk(&self, path: &Path) -> Option<(UnitRow, bool)> {
        let inside =
            self.wanted.values().filter(|root| root.status.as_ref().is_some_and(|status| status.online));
        let (root, app, place) = inside
            .filter_map(|root| Some((root.path()?, root.app?, &root.place)))
            .filter(|(root, ..)| path.starts_with(root) && path != root)
            .max_by_key(|(root, ..)| root.as_os_str().len())?;
        let store = STORES.iter().find(|store| store.app() == app)?;
        let mut dir = root.clone();
        let mut layout = place.clone();
        for part in path.parent()?.strip_prefix(&root).ok()?.components() {
            if store.visit(&layout) == Visit::Whole {
                return Some((UnitRow { root, dir }, true));
            }
            layout.push(part);
            if store.visit(&layout) == Visit::Skip {
                return Some((UnitRow { root, dir }, false));
            }
            dir.push(part);
        }
        (store.visit(&layout) != Visit::Skip).then_some((UnitRow { root, dir }, true))
    }
}
