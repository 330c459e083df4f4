//! Main memory as the kernel tells it (proc_meminfo(5)), limited by our own control group, version 1 or 2.
//! Read by hand: `MODELD_SYSROOT` must be able to stand in for the machine, which no library lets it.

use super::files;
use crate::process;
use domain::{ByteSize, hardware::Ram};
use std::path::{Component, Path, PathBuf};

/// What limits memory where it is less than the machine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    /// The control group's directory.
    pub(super) by: String,
    pub(super) note: String,
}

/// Returns the memory, and what limits it.
pub(super) fn read(sysroot: &Path) -> (Ram, Option<Limit>) {
    // A tree that has a meminfo stands for the whole machine: its control groups are not the host's.
    let base = super::base(sysroot, "proc/meminfo");
    let text = |path: &str| files::text(&base.join(path)).unwrap_or_default();
    let machine = meminfo(&text("proc/meminfo"));
    let (groups, mounts) = (text("proc/self/cgroup"), text("proc/self/mountinfo"));
    let levels: Vec<Level> = [V2, V1]
        .iter()
        .filter_map(|version| Some((version, group(&groups, &mounts, version)?)))
        .flat_map(|(version, (mount, path))| {
            let inside = |dir: &Path| base.join(dir.strip_prefix("/").unwrap_or(dir));
            let dirs = ancestors(&mount, &path);
            dirs.into_iter().map(move |dir| level(&inside(&dir), dir, version)).collect::<Vec<_>>()
        })
        .collect();
    limited(machine, &levels)
}

/// Where a version of control groups keeps what.
struct Version {
    fs_type: &'static str,
    /// The controller, where each has a tree of its own.
    controller: &'static str,
    default_mount: &'static str,
    limits: &'static [&'static str],
    current: &'static str,
    /// In `memory.stat`: pages of files that are given back when asked for.
    reclaimable: &'static str,
}

const V2: Version = Version {
    fs_type: "cgroup2",
    controller: "",
    default_mount: "/sys/fs/cgroup",
    limits: &["memory.max", "memory.high"],
    current: "memory.current",
    reclaimable: "inactive_file",
};

const V1: Version = Version {
    fs_type: "cgroup",
    controller: "memory",
    default_mount: "/sys/fs/cgroup/memory",
    limits: &["memory.limit_in_bytes"],
    current: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};

/// One control group on the way to the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Level {
    dir: PathBuf,
    limit: Option<u64>,
    current: u64,
    reclaimable: u64,
}

fn meminfo(text: &str) -> Ram {
    let field = |name: &str| process::field(text, name);
    Ram {
        total: field("MemTotal:").unwrap_or(0),
        available: field("MemAvailable:").or_else(|| field("MemFree:")).unwrap_or(0),
    }
}

/// The mount point of the hierarchy that has the memory controller, and our group's path below it
/// (cgroups(7), proc_pid_mountinfo(5)).
fn group(groups: &str, mounts: &str, version: &Version) -> Option<(PathBuf, PathBuf)> {
    let path = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|name| name == version.controller).then_some(path)
    })?;
    let mount = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let (left, right): (Vec<&str>, Vec<&str>) = (left.split(' ').collect(), right.split(' ').collect());
        let has_controller =
            || right.get(2).is_some_and(|options| options.split(',').any(|o| o == version.controller));
        let is_it =
            right.first() == Some(&version.fs_type) && (version.controller.is_empty() || has_controller());
        is_it.then_some((*left.get(3)?, *left.get(4)?))
    });
    let (root, mount) = mount.unwrap_or(("/", version.default_mount));
    // A group outside of what is mounted here is told by `..` or by a path that does not begin with the root.
    let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    Some((mount.into(), if is_plain { below.to_owned() } else { PathBuf::new() }))
}

/// The group's own directory and all above it, up to the mount point.
fn ancestors(mount: &Path, below: &Path) -> Vec<PathBuf> {
    below.ancestors().map(|path| mount.join(path)).collect()
}

fn level(read_at: &Path, dir: PathBuf, version: &Version) -> Level {
    let text = |name: &str| files::text(&read_at.join(name)).unwrap_or_default();
    let number = |name: &str| text(name).trim().parse::<u64>().ok(); // `max` is none
    Level {
        dir,
        limit: version.limits.iter().filter_map(|name| number(name)).min(),
        current: number(version.current).unwrap_or(0),
        reclaimable: stat(&text("memory.stat"), version.reclaimable),
    }
}

fn stat(text: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

fn limited(machine: Ram, levels: &[Level]) -> (Ram, Option<Limit>) {
    let mut ram = machine;
    let mut told = None;
    // An unlimited group of version 1 has a limit of 2^63.
    for (level, limit) in levels.iter().filter_map(|level| Some((level, level.limit?))) {
        if limit >= machine.total {
            continue;
        }
        let held = level.current.saturating_sub(level.reclaimable);
        ram.available = ram.available.min(limit.saturating_sub(held));
        if limit < ram.total {
            ram.total = limit;
            let (own, all) = (ByteSize(limit), ByteSize(machine.total));
            let by = level.dir.display().to_string();
            let note = format!("{own} of the machine's {all} may be used: the limit of {by}");
            told = Some(Limit { by, note });
        }
    }
    (ram, told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const GIB: u64 = 1 << 30;

    #[test]
    fn memory_is_read_in_bytes() {
        for (text, total, available) in [
            (
                "MemTotal:       24684376 kB\nMemFree: 1 kB\nMemAvailable:   23751236 kB\n",
                24_684_376,
                23_751_236,
            ),
            ("MemTotal: 4 kB\nMemFree: 3 kB\n", 4, 3), // before Linux 3.14
            ("MemTotal: lots\n", 0, 0),
            ("", 0, 0),
        ] {
            assert_eq!(meminfo(text), Ram { total: total << 10, available: available << 10 }, "{text}");
        }
    }

    #[test]
    fn our_group_is_found_in_every_arrangement() {
        let hybrid = "9:name=systemd:/\n4:memory:/process_api/40cc\n1:cpu,cpuacct:/\n0::/\n";
        let v2_mount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let v1_mount = "33 25 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                        34 25 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        let service = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/modeld.service\n";
        let docker = "31 24 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        for (groups, mounts, version, mount, path) in [
            (service, v2_mount, &V2, "/sys/fs/cgroup", &service[4..service.len() - 1]),
            (service, "", &V2, "/sys/fs/cgroup", &service[4..service.len() - 1]),
            (hybrid, v1_mount, &V1, "/sys/fs/cgroup/memory", "process_api/40cc"),
            (hybrid, v1_mount, &V2, "/sys/fs/cgroup", ""),
            ("4:memory:/docker/abc/x\n", docker, &V1, "/sys/fs/cgroup/memory", "x"),
            ("4:memory:/other\n", docker, &V1, "/sys/fs/cgroup/memory", ""),
            ("0::/../../other\n", v2_mount, &V2, "/sys/fs/cgroup", ""),
        ] {
            let found = group(groups, mounts, version).unwrap();
            assert_eq!(found, (mount.into(), path.into()), "{groups}{mounts}");
        }
        assert_eq!(group(service, v2_mount, &V1), None);
    }

    #[test]
    fn every_level_up_to_the_mount_counts() {
        let dirs = ancestors(Path::new("/sys/fs/cgroup"), Path::new("a.slice/b.service"));
        assert_eq!(
            dirs,
            ["/sys/fs/cgroup/a.slice/b.service", "/sys/fs/cgroup/a.slice", "/sys/fs/cgroup/"]
                .map(PathBuf::from)
        );
    }

    #[test]
    fn the_tightest_group_limits_what_may_be_taken() {
        let machine = Ram { total: 64 * GIB, available: 40 * GIB };
        let level = |limit: Option<u64>, current: u64, reclaimable: u64| Level {
            dir: "/g".into(),
            limit: limit.map(|gib| gib * GIB),
            current: current * GIB,
            reclaimable: reclaimable * GIB,
        };
        for (levels, total, available) in [
            (vec![], 64, 40),
            (vec![level(None, 60, 0)], 64, 40),
            (vec![level(Some(16), 4, 0)], 16, 12),
            (vec![level(Some(16), 15, 10)], 16, 11), // page cache is given back
            (vec![level(Some(32), 0, 0), level(Some(48), 47, 0)], 32, 1),
            (vec![level(Some(16), 20, 0)], 16, 0),
            (vec![level(Some(100), 99, 0)], 64, 40),
            (vec![Level { limit: Some(9_223_372_036_854_771_712), ..Level::default() }], 64, 40),
        ] {
            let (ram, note) = limited(machine, &levels);
            assert_eq!((ram.total / GIB, ram.available / GIB), (total, available), "{levels:?}");
            assert_eq!(note.is_some(), total < 64);
        }
    }

    #[test]
    fn a_field_is_not_taken_for_a_longer_one() {
        assert_eq!(stat("inactive_file_x 9\ninactive_file 4096\n", "inactive_file"), 4096);
        assert_eq!(stat("total_inactive_file 1\n", "inactive_file"), 0);
    }

    #[test]
    fn a_tree_stands_in_for_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/meminfo", "MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n");
        assert_eq!(read(dir.path()), (Ram { total: 64 * GIB, available: 32 * GIB }, None));
        write("proc/self/cgroup", "0::/user.slice/modeld.service\n");
        write("sys/fs/cgroup/user.slice/memory.max", "8589934592\n");
        write("sys/fs/cgroup/user.slice/memory.high", "max\n");
        write("sys/fs/cgroup/user.slice/memory.current", "4294967296\n");
        write("sys/fs/cgroup/user.slice/memory.stat", "anon 1\ninactive_file 1073741824\n");
        write("sys/fs/cgroup/user.slice/modeld.service/memory.max", "max\n");
        let (ram, note) = read(dir.path());
        assert_eq!(ram, Ram { total: 8 * GIB, available: 5 * GIB });
        assert_eq!(
            note.map(|limit| limit.note).as_deref(),
            Some("8.0 GiB of the machine's 64.0 GiB may be used: the limit of /sys/fs/cgroup/user.slice")
        );
    }
}
