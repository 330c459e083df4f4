//! Which filesystems lie where, at a directory and below it. The same file is at the same spot of its filesystem,
//! whatever is mounted in between. Looks at nothing.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What of a filesystem is shown at a mount point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    /// Its UUID, or its type and source: what it is called again after a reboot.
    pub volume: String,
    /// The directory of it that is shown.
    pub top: PathBuf,
}

/// A filesystem, and a path in it.
pub type Spot = (String, PathBuf);

/// What is seen by paths at a directory and below it, by mount point; the directory itself is one as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seats(BTreeMap<PathBuf, Seat>);

/// Disks appear in its place once somebody looks, and go when nobody does.
const AUTOMOUNT: &str = "autofs:";

impl Seat {
    /// Where a path lies, if this is mounted at a point above it.
    pub fn spot(&self, point: &Path, path: &Path) -> Option<Spot> {
        let below = path.strip_prefix(point).ok()?;
        Some((self.volume.clone(), self.top.join(below)))
    }
}

impl Seats {
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Seat)> {
        self.0.iter().map(|(point, seat)| (&**point, seat))
    }

    /// Whether nothing is known of them.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anything is mounted below the directory.
    pub fn has_inner(&self) -> bool {
        self.0.len() > 1
    }

    /// The mount that a path is in, with its point.
    pub fn seat(&self, path: &Path) -> Option<(&Path, &Seat)> {
        path.ancestors().find_map(|above| self.0.get_key_value(above)).map(|(point, seat)| (&**point, seat))
    }

    pub fn spot(&self, path: &Path) -> Option<Spot> {
        let (point, seat) = self.seat(path)?;
        seat.spot(point, path)
    }

    /// What is known now: a disk that only waits to be looked at is as good as mounted.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        for (point, seat) in self.0.iter_mut().filter(|(_, seat)| seat.volume.starts_with(AUTOMOUNT)) {
            if let Some(before) = before.0.get(point) {
                seat.clone_from(before);
            }
        }
        self
    }

    /// Points at which another filesystem is seen than before.
    pub fn changes<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Path> {
        let new = self.0.iter().filter(|(point, seat)| before.0.get(*point) != Some(seat));
        let gone = before.0.iter().filter(|(point, _)| !self.0.contains_key(*point));
        new.chain(gone).map(|(point, _)| &**point)
    }
}

impl FromIterator<(PathBuf, Seat)> for Seats {
    fn from_iter<T: IntoIterator<Item = (PathBuf, Seat)>>(seats: T) -> Self {
        Self(seats.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(mounts: &[(&str, &str, &str)]) -> Seats {
        let seat = |(point, volume, top): &(&str, &str, &str)| {
            ((*point).into(), Seat { volume: (*volume).into(), top: (*top).into() })
        };
        mounts.iter().map(seat).collect()
    }

    #[track_caller]
    fn check(seats: &Seats, path: &str, spot: Option<(&str, &str)>) {
        let spot = spot.map(|(volume, path)| (volume.to_owned(), path.into()));
        assert_eq!(seats.spot(Path::new(path)), spot);
    }

    #[test]
    fn a_file_is_where_its_filesystem_has_it() {
        let seats =
            seats(&[("/m", "home", "/u/m"), ("/m/usb", "stick", "/"), ("/m/self", "home", "/u/m/self")]);
        check(&seats, "/m/a", Some(("home", "/u/m/a")));
        check(&seats, "/m/usb/x/a", Some(("stick", "/x/a")));
        check(&seats, "/m/usbs/a", Some(("home", "/u/m/usbs/a")));
        check(&seats, "/m/self/a", Some(("home", "/u/m/self/a")));
        check(&seats, "/elsewhere", None);
    }

    #[test]
    fn what_an_automounter_has_let_go_of_is_where_it_was() {
        let before = seats(&[("/m", "home", "/m"), ("/m/nas", "nfs4:server:/x", "/")]);
        let idle = seats(&[("/m", "home", "/m"), ("/m/nas", "autofs:systemd-1", "/")]);
        assert_eq!(idle.clone().after(&before), before);
        assert_eq!(idle.clone().after(&Seats::default()), idle);
    }

    #[test]
    fn points_that_came_went_or_show_another_filesystem_are_changes() {
        let before = seats(&[("/m", "home", "/m"), ("/m/a", "one", "/"), ("/m/b", "two", "/")]);
        let now = seats(&[("/m", "home", "/m"), ("/m/b", "three", "/"), ("/m/c", "one", "/")]);
        let changes: Vec<&Path> = now.changes(&before).collect();
        assert_eq!(changes, ["/m/b", "/m/c", "/m/a"].map(Path::new));
        assert_eq!(before.changes(&before).count(), 0);
    }
}
