//! Which filesystem a file is on, named so that the name outlives a reboot, and what that filesystem can promise.

use crate::seats::{Mounted, Seat, Seats};
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

/// A filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "promises that do not depend on each other")]
pub(crate) struct Volume {
    /// UUID (and btrfs subvolume) where there is one, else type and source.
    pub(crate) name: String,
    /// Whether an inode number names a file for good.
    pub(crate) has_inodes: bool,
    /// Whether a file that was looked at gets another time by every change after that.
    pub(crate) has_fine_times: bool,
    /// Whether the kernel tells of every change made on this machine and elsewhere.
    pub(crate) has_events: bool,
    /// Whether every byte that is read comes over a network.
    pub(crate) is_remote: bool,
}

/// Inode numbers are made up at mount time or by the server.
const NO_INODES: &[&str] = &["vfat", "exfat", "ntfs", "ntfs3", "cifs", "smb3", "9p", "fuse", "fuseblk"];

/// Since Linux 6.13 a change after a look has a time of its own there (`FS_MGTIME`); elsewhere a clock that ticks.
const FINE_TIMES: &[&str] = &["ext4", "xfs", "btrfs", "tmpfs"];
const FINE_SINCE: (u32, u32) = (6, 13);

/// Others can change files behind the kernel's back.
const NO_EVENTS: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "virtiofs", "overlay"];

/// Read only where somebody asked for it.
const REMOTE: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "virtiofs", "ceph", "afs"];

/// Where disks appear once somebody looks.
const AUTOMOUNTED: &[&str] = &["autofs"];

/// The mount table, read once and asked by device number. A changed mount table needs a new one.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    mounts: Vec<Mount>,
    uuids: HashMap<PathBuf, String>,
    known: HashMap<u64, Volume>,
    seats: HashMap<PathBuf, Seats>,
    is_fine_kernel: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// Its number in the table, and that of the mount in which its point lies.
    number: u32,
    parent: u32,
    device: String,
    /// What of the filesystem is shown; not `/` for a bind mount.
    top: PathBuf,
    point: PathBuf,
    kind: String,
    source: String,
    subvolume: Option<String>,
}

impl Volumes {
    pub(crate) fn read() -> Self {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            mounts: table.lines().filter_map(mount).collect(),
            uuids: uuids(),
            known: HashMap::new(),
            seats: HashMap::new(),
            is_fine_kernel: version(&release).is_some_and(|version| version >= FINE_SINCE),
        }
    }

    /// Mount points at which a look may take for ever, as the other side may be gone.
    pub(crate) fn far_points(&self) -> BTreeSet<&Path> {
        let far =
            self.mounts.iter().filter(|mount| is_in(REMOTE, &mount.kind) || is_in(AUTOMOUNTED, &mount.kind));
        far.map(|mount| &*mount.point).collect()
    }

    /// Mount points at a directory or below it, links resolved.
    pub(crate) fn points_below<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = &'a Path> {
        self.mounts.iter().map(|mount| &*mount.point).filter(move |point| point.starts_with(dir))
    }

    /// Whether a look at a path, links resolved, goes over a network.
    pub(crate) fn is_far(&self, path: &Path) -> bool {
        around(&self.mounts, path).is_some_and(|mount| is_in(REMOTE, &mount.kind))
    }

    /// Returns what names the place in which a directory stands, links resolved: its volume and, behind a bind
    /// mount, what of it is shown there.
    pub(crate) fn place(&mut self, device: u64, path: &Path) -> String {
        let name = self.of(device, path).name.clone();
        let is_bind = |mount: &&Mount| mount.subvolume.is_none() && mount.top != Path::new("/");
        match around(&self.mounts, path).filter(is_bind) {
            Some(mount) => format!("{name}{}", mount.top.display()),
            None => name,
        }
    }

    /// What is seen at a directory, links resolved, and below it.
    pub(crate) fn seats(&mut self, dir: &Path) -> &Seats {
        if !self.seats.contains_key(dir) {
            self.seats.insert(dir.to_owned(), self.seats_of(dir));
        }
        self.seats.entry(dir.to_owned()).or_default()
    }

    fn seats_of(&self, dir: &Path) -> Seats {
        let seated = |mount: &Mount, at: &Path| (at.to_owned(), self.seat(mount, at), mount.mounted());
        let around = around(&self.mounts, dir).map(|mount| seated(mount, dir));
        let points: BTreeSet<&Path> = self.points_below(dir).filter(|point| *point != dir).collect();
        // What is mounted over hides what was mounted there before.
        let inner = points.into_iter().filter_map(|point| {
            let mount = around_point(&self.mounts, point)?;
            Some(seated(mount, point))
        });
        around.into_iter().chain(inner).collect()
    }

    /// What a mount shows at a path in it. Without the device number: that is another one after each mount.
    fn seat(&self, mount: &Mount, at: &Path) -> Seat {
        let Mount { source, top, point, .. } = mount;
        let uuid = uuid_of(source, &self.uuids).cloned();
        let below = at.strip_prefix(point).unwrap_or(Path::new(""));
        let top = if below.as_os_str().is_empty() { top.clone() } else { top.join(below) };
        Seat { volume: uuid.unwrap_or_else(|| mount.of()), top }
    }

    /// Returns the volume of a file whose `st_dev` is known; `path` finds the mount point the first time.
    pub(crate) fn of(&mut self, device: u64, path: &Path) -> &Volume {
        let Self { mounts, uuids, known, is_fine_kernel, .. } = self;
        known.entry(device).or_insert_with(|| {
            let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
            // btrfs shows another number for each subvolume.
            let by_path = || around(mounts, &fs::canonicalize(path).ok()?);
            let mount = mounts.iter().find(|mount| mount.device == number).or_else(by_path);
            let mut volume = mount.map_or_else(|| nameless(device), |mount| named(mount, uuids));
            volume.has_fine_times &= *is_fine_kernel;
            volume
        })
    }
}

/// The mount that is seen at a path, found as the kernel finds it: from above, and from one to what is mounted in it.
fn around<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    let mut points: Vec<&Path> = path.ancestors().collect();
    points.reverse();
    let mut seen: Option<&Mount> = None;
    for point in points {
        let next = |seen| mounts.iter().find(|mount| mount.point == point && mount.is_in(seen, mounts));
        // One mount may hide another at the same point.
        while let Some(mount) = next(seen) {
            seen = Some(mount);
        }
    }
    seen
}

/// The mount that is seen at its own point; None where that is hidden.
fn around_point<'m>(mounts: &'m [Mount], point: &Path) -> Option<&'m Mount> {
    around(mounts, point).filter(|mount| mount.point == point)
}

impl Mount {
    fn of(&self) -> String {
        format!("{}:{}", self.kind, self.source)
    }

    fn mounted(&self) -> Mounted {
        Mounted { number: self.number, device: self.device.clone(), of: self.of() }
    }

    /// Whether its point lies in another mount, or in none of the table.
    fn is_in(&self, other: Option<&Self>, table: &[Self]) -> bool {
        match other {
            Some(other) => self.parent == other.number && self.number != other.number,
            None => self.parent == self.number || table.iter().all(|mount| mount.number != self.parent),
        }
    }
}

fn nameless(device: u64) -> Volume {
    let name = format!("device:{device}");
    Volume { name, has_inodes: true, has_fine_times: false, has_events: true, is_remote: false }
}

fn is_in(list: &[&str], kind: &str) -> bool {
    list.contains(&kind.split('.').next().unwrap_or_default()) // fuse.sshfs
}

fn named(mount: &Mount, uuids: &HashMap<PathBuf, String>) -> Volume {
    let is_in = |list: &[&str]| is_in(list, &mount.kind);
    let name = match (uuid_of(&mount.source, uuids), &mount.subvolume) {
        (Some(uuid), None) => uuid.clone(),
        (Some(uuid), Some(subvolume)) => format!("{uuid}{subvolume}"),
        (None, _) => format!("{}:{}:{}", mount.kind, mount.source, mount.device),
    };
    Volume {
        name,
        has_inodes: !is_in(NO_INODES),
        has_fine_times: is_in(FINE_TIMES),
        has_events: !is_in(NO_EVENTS),
        is_remote: is_in(REMOTE),
    }
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// `36 35 98:0 /root /point opts - type source superopts` (proc_pid_mountinfo(5)).
fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    let (number, parent) = (left.next()?.parse().ok()?, left.next()?.parse().ok()?);
    let device = left.next()?.to_owned();
    let (top, point) = (PathBuf::from(unescape(left.next()?)), PathBuf::from(unescape(left.next()?)));
    let mut right = right.split(' ');
    let kind = right.next()?.to_owned();
    let source = unescape(right.next()?);
    let subvolume =
        right.next()?.split(',').find_map(|option| option.strip_prefix("subvol=")).map(str::to_owned);
    Some(Mount { number, parent, device, top, point, kind, source, subvolume })
}

/// The kernel writes blank, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

fn uuid_of<'u>(source: &str, uuids: &'u HashMap<PathBuf, String>) -> Option<&'u String> {
    uuids.get(&fs::canonicalize(source).ok()?)
}

fn uuids() -> HashMap<PathBuf, String> {
    let links = fs::read_dir("/dev/disk/by-uuid").into_iter().flatten().flatten();
    links
        .filter_map(|link| Some((fs::canonicalize(link.path()).ok()?, link.file_name().into_string().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_lines_read_as_the_manual_says() {
        let line =
            "36 35 98:0 /mnt1 /mnt/two\\040words rw,noatime master:1 - btrfs /dev/sda1 rw,subvol=/@home";
        assert_eq!(
            mount(line),
            Some(Mount {
                number: 36,
                parent: 35,
                device: "98:0".into(),
                top: "/mnt1".into(),
                point: "/mnt/two words".into(),
                kind: "btrfs".into(),
                source: "/dev/sda1".into(),
                subvolume: Some("/@home".into()),
            })
        );
        assert_eq!(mount("garbage"), None);
    }

    #[test]
    fn what_is_mounted_over_hides_what_was_there_and_what_lies_below() {
        let lines = [
            "20 1 8:1 / / rw - ext4 /none/root rw",
            "21 20 8:2 / /m/usb rw - vfat /none/stick rw",
            "22 21 0:5 / /m/usb/deep rw - tmpfs t rw",
            "23 20 8:1 /srv/x /m/bound rw - ext4 /none/root rw",
            "24 21 0:6 / /m/usb rw - tmpfs over rw",
            "25 20 0:7 / /m/nas rw - autofs systemd-1 rw",
            "26 25 0:8 / /m/nas rw - nfs4 server:/models rw",
        ];
        let volumes =
            Volumes { mounts: lines.iter().filter_map(|line| mount(line)).collect(), ..Volumes::default() };
        let seats = volumes.seats_of(Path::new("/m"));
        let seen: Vec<(&str, &str, &str)> = seats
            .iter()
            .map(|(point, seat)| (point.to_str().unwrap(), &*seat.volume, seat.top.to_str().unwrap()))
            .collect();
        assert_eq!(
            seen,
            [
                ("/m", "ext4:/none/root", "/m"),
                ("/m/bound", "ext4:/none/root", "/srv/x"),
                ("/m/nas", "nfs4:server:/models", "/"),
                ("/m/usb", "tmpfs:over", "/"),
            ]
        );
        assert_eq!(seats.spot(Path::new("/m/bound/a")), Some(("ext4:/none/root".into(), "/srv/x/a".into())));
        assert_eq!(
            ["/m/a", "/m/nas", "/m/usb/deep/a"].map(|path| seats.number(Path::new(path))),
            [20, 26, 24].map(Some)
        );
        assert_eq!(seats.spot(Path::new("/m/usb/deep/a")), Some(("tmpfs:over".into(), "/deep/a".into())));
    }

    #[test]
    fn what_a_filesystem_promises_follows_its_type() {
        let of = |kind: &str| {
            let line = format!("1 0 0:5 / / rw - {kind} none rw");
            named(&mount(&line).unwrap(), &HashMap::new())
        };
        assert!(of("ext4").has_inodes && of("ext4").has_events);
        assert!(!of("fuse.sshfs").has_inodes && !of("fuse.sshfs").has_events);
        assert!(of("nfs4").has_inodes && !of("nfs4").has_events);
        assert!(!of("exfat").has_inodes && of("exfat").has_events);
        assert!(of("ext4").has_fine_times && !of("ramfs").has_fine_times && !of("overlay").has_fine_times);
        assert_eq!(version("6.13.0-rc1"), Some((6, 13)));
        assert_eq!(version("6.8.0-45-generic"), Some((6, 8)));
        assert_eq!(version("odd"), None);
    }
}
