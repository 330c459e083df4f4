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
pub struct Seats {
    by_name: BTreeMap<PathBuf, Seat>,
    /// By the kernel's own words, where the mount table was read.
    mounts: BTreeMap<PathBuf, Mounted>,
}

/// A mount as its table has it. Names are made from more than that, and may be found out later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// As long as it is in use no other has it.
    pub number: u32,
    pub device: String,
    /// Type and source.
    pub of: String,
}

/// Disks appear in its place once somebody looks, and go when nobody does.
const AUTOMOUNT: &str = "autofs:";
/// No UUID has it; type and source, which stand for one, do.
const NAMELESS: char = ':';

impl Seat {
    /// Where a path lies, if this is mounted at a point above it.
    pub fn spot(&self, point: &Path, path: &Path) -> Option<Spot> {
        let below = path.strip_prefix(point).ok()?;
        Some((self.volume.clone(), self.top.join(below)))
    }
}

impl Seats {
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Seat)> {
        self.by_name.iter().map(|(point, seat)| (&**point, seat))
    }

    /// Whether nothing is known of them.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether the same is seen, whatever it is called by a table that was read sooner or later: udev names disks when
    /// they are mounted already. A table that could not be read tells nothing else.
    pub fn are_in_place(&self, other: &Self) -> bool {
        let is_alike = |(one, other): (&Seat, &Seat)| {
            let is_named = |seat: &Seat| !seat.volume.contains(NAMELESS);
            one.top == other.top && (one.volume == other.volume || !is_named(one) || !is_named(other))
        };
        self.mounts.is_empty()
            || other.mounts.is_empty()
            || (self.mounts == other.mounts
                && self.by_name.values().zip(other.by_name.values()).all(is_alike))
    }

    /// The number of the mount that a path is in.
    pub fn number(&self, path: &Path) -> Option<u32> {
        let (point, _) = self.seat(path)?;
        self.mounts.get(point).map(|mounted| mounted.number)
    }

    /// Whether the same filesystems are seen, by their names.
    pub fn have_names_of(&self, other: &Self) -> bool {
        self.by_name == other.by_name
    }

    /// The mount that a path is in, with its point.
    pub fn seat(&self, path: &Path) -> Option<(&Path, &Seat)> {
        path.ancestors()
            .find_map(|above| self.by_name.get_key_value(above))
            .map(|(point, seat)| (&**point, seat))
    }

    pub fn spot(&self, path: &Path) -> Option<Spot> {
        let (point, seat) = self.seat(path)?;
        seat.spot(point, path)
    }

    /// What is known now: a disk that only waits to be looked at is as good as mounted.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        for (point, seat) in self.by_name.iter_mut().filter(|(_, seat)| seat.volume.starts_with(AUTOMOUNT)) {
            if let Some(before) = before.by_name.get(point) {
                seat.clone_from(before);
            }
        }
        self
    }

    /// Points at which another filesystem is seen than before.
    pub fn changes<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Path> {
        let new = self.by_name.iter().filter(|(point, seat)| before.by_name.get(*point) != Some(seat));
        let gone = before.by_name.iter().filter(|(point, _)| !self.by_name.contains_key(*point));
        new.chain(gone).map(|(point, _)| &**point)
    }
}

impl FromIterator<(PathBuf, Seat)> for Seats {
    fn from_iter<T: IntoIterator<Item = (PathBuf, Seat)>>(seats: T) -> Self {
        Self { by_name: seats.into_iter().collect(), mounts: BTreeMap::new() }
    }
}

impl FromIterator<(PathBuf, Seat, Mounted)> for Seats {
    fn from_iter<T: IntoIterator<Item = (PathBuf, Seat, Mounted)>>(seats: T) -> Self {
        let mut all = Self::default();
        for (point, seat, mounted) in seats {
            all.by_name.insert(point.clone(), seat);
            all.mounts.insert(point, mounted);
        }
        all
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
    fn a_mount_is_in_place_under_another_name_and_another_mount_is_not() {
        let seat = |number, device: &str, volume: &str| {
            let mounted = Mounted { number, device: device.into(), of: "ext4:/dev/sdb1".into() };
            Seats::from_iter([("/m".into(), Seat { volume: volume.into(), top: "/".into() }, mounted)])
        };
        let before = seat(63, "8:17", "ext4:/dev/sdb1");
        for (now, is_in_place) in [
            (seat(63, "8:17", "ext4:/dev/sdb1"), true),
            (seat(63, "8:17", "1234-ABCD"), true),
            (seat(64, "8:17", "ext4:/dev/sdb1"), false),
            (seat(63, "8:33", "ext4:/dev/sdb1"), false),
            (Seats::default(), true),
        ] {
            assert_eq!(now.are_in_place(&before), is_in_place, "{now:?}");
        }
        // The kernel gives a number again.
        assert!(!seat(63, "8:17", "1234-ABCD").are_in_place(&seat(63, "8:17", "5678-ABCD")));
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
