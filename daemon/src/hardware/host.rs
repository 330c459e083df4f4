//! What bears on what runs well here besides memory's size: NUMA, pressure on memory, a Windows around it.

use super::{base, files};
use domain::hardware::{Host, Node};
use std::path::Path;

pub(super) fn read(sysroot: &Path, limited_by: Option<String>) -> Host {
    let text = |path: &str| files::text(&base(sysroot, path).join(path)).unwrap_or_default();
    let mut numa: Vec<Node> = nodes(&base(sysroot, "sys/devices/system/node"));
    if numa.len() < 2 {
        numa.clear();
    }
    Host {
        numa,
        pressure: pressure(&text("proc/pressure/memory")),
        wsl: is_wsl(&text("proc/sys/kernel/osrelease")),
        limited_by,
    }
}

/// Nodes that have memory; one of processors alone, or of a device's memory that is not there, is none.
fn nodes(base: &Path) -> Vec<Node> {
    let node = |dir: &Path| {
        let node = files::number(dir, "node")?;
        let text = files::text(&dir.join("meminfo"))?;
        // `Node 0 MemTotal:       24684376 kB`
        let field = |name: &str| {
            let prefix = format!("Node {node} {name}");
            crate::process::field(&text, &prefix)
        };
        let total = field("MemTotal:").filter(|total| *total > 0)?;
        Some(Node { node, total, free: field("MemFree:").unwrap_or(0) })
    };
    let mut found: Vec<Node> =
        files::entries(&base.join("sys/devices/system/node")).iter().filter_map(|dir| node(dir)).collect();
    found.sort_by_key(|node| node.node);
    found
}

/// `some avg10=0.06 avg60=0.07 avg300=0.20 total=7318067`: percent of the last 10 s in which some process waited.
fn pressure(text: &str) -> Option<f64> {
    let some = files::told(text, "some ")?;
    let percent: f64 = some.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent)
}

/// `5.15.153.1-microsoft-standard-WSL2`
fn is_wsl(release: &str) -> bool {
    release.to_ascii_lowercase().contains("microsoft")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nodes_are_told_where_there_are_several() {
        let dir = tempfile::tempdir().unwrap();
        let write = |node: u8, text: &str| {
            let dir = dir.path().join(format!("sys/devices/system/node/node{node}"));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("meminfo"), text).unwrap();
        };
        write(0, "Node 0 MemTotal:       33554432 kB\nNode 0 MemFree:        16777216 kB\n");
        assert_eq!(read(dir.path(), None).numa, []);
        write(1, "Node 1 MemTotal:       33554432 kB\nNode 1 MemFree:        1024 kB\n");
        write(2, "Node 2 MemTotal:       0 kB\nNode 2 MemFree:        0 kB\n");
        write(3, "");
        let node = |node: u64, free: u64| Node { node, total: 32 << 30, free };
        assert_eq!(read(dir.path(), None).numa, [node(0, 16 << 30), node(1, 1 << 20)]);
    }

    #[test]
    fn pressure_is_a_percentage_or_not_known() {
        for (text, expected) in [
            ("some avg10=12.34 avg60=0.07 avg300=0.20 total=7318067\nfull avg10=1.00\n", Some(12.34)),
            ("full avg10=1.00 avg60=0.00 avg300=0.00 total=0\n", None),
            ("some avg10=NaN avg60=0\n", None),
            ("some avg10=1e9\n", None),
            ("", None),
        ] {
            assert_eq!(pressure(text), expected, "{text}");
        }
    }

    #[test]
    fn a_linux_inside_windows_says_so() {
        for (release, expected) in [
            ("5.15.153.1-microsoft-standard-WSL2", true),
            ("4.4.0-19041-Microsoft", true),
            ("6.12.4-arch1-1", false),
        ] {
            assert_eq!(is_wsl(release), expected, "{release}");
        }
    }
}
