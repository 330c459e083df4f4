//! What AMD's compute driver tells of cards: their generation, and whether it takes them at all. Needs no ROCm.

use super::files;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A card that computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// By which processes name it.
    id: String,
    /// `gfx1100`.
    pub(super) target: Option<String>,
    pci: Option<String>,
}

/// The driver's own view of the machine.
#[derive(Debug)]
pub(super) struct Kfd {
    dir: PathBuf,
    /// None where the driver is not there, or too old to tell.
    nodes: Option<Vec<Node>>,
}

impl Kfd {
    pub(super) fn read(base: &Path) -> Self {
        let dir = base.join("sys/class/kfd/kfd");
        let nodes = dir.join("topology/nodes");
        let found = || files::entries(&nodes).iter().filter_map(|dir| node(dir)).collect();
        let nodes = nodes.is_dir().then(found);
        Self { dir, nodes }
    }

    pub(super) fn node(&self, pci: Option<&str>) -> Option<&Node> {
        self.nodes.as_ref()?.iter().find(|node| node.pci.is_some() && node.pci.as_deref() == pci)
    }

    /// Whether a card is none that computes: the driver is there, and does not take it.
    pub(super) fn leaves_out(&self, pci: Option<&str>) -> bool {
        self.nodes.is_some() && self.node(pci).is_none()
    }

    /// Bytes of a card's own memory by process: of all users, which the files of a process do not tell.
    pub(super) fn holders(&self, pci: Option<&str>) -> BTreeMap<u32, u64> {
        let Some(node) = self.node(pci) else { return BTreeMap::new() };
        let name = format!("vram_{}", node.id);
        let held = |dir: &PathBuf| Some((files::name(dir)?.parse().ok()?, files::bytes(&dir.join(&name))?));
        let processes = files::entries(&self.dir.join("proc"));
        processes.iter().filter_map(held).filter(|(_, bytes)| *bytes > 0).collect()
    }
}

/// A node without a `gpu_id` is a processor.
fn node(dir: &Path) -> Option<Node> {
    let id = files::text(&dir.join("gpu_id")).filter(|id| !id.is_empty() && id != "0")?;
    let properties = files::text(&dir.join("properties"))?;
    let number = |name: &str| files::told(&properties, &format!("{name} "))?.parse::<u64>().ok();
    let pci = number("location_id").map(|at| address(number("domain").unwrap_or(0), at));
    Some(Node { id, target: number("gfx_target_version").and_then(target), pci })
}

/// `location_id` is bus, device and function in 16 bits, as PCI writes them.
fn address(domain: u64, location: u64) -> String {
    let (bus, device, function) = (location >> 8 & 0xff, location >> 3 & 0x1f, location & 7);
    format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
}

/// 110001 is gfx1101, 90010 gfx90a: two digits each of minor and stepping, which the name has one hexadecimal digit for.
fn target(version: u64) -> Option<String> {
    let (major, minor, stepping) = (version / 10_000, version / 100 % 100, version % 100);
    (major > 0 && minor < 16 && stepping < 16).then(|| format!("gfx{major}{minor:x}{stepping:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn generations_are_called_as_compilers_do() {
        for (version, expected) in [
            (80_003, Some("gfx803")),
            (90_006, Some("gfx906")),
            (90_010, Some("gfx90a")),
            (90_402, Some("gfx942")),
            (100_302, Some("gfx1032")),
            (110_003, Some("gfx1103")),
            (120_001, Some("gfx1201")),
            (0, None),
            (u64::MAX, None),
        ] {
            assert_eq!(target(version).as_deref(), expected, "{version}");
        }
    }

    #[test]
    fn a_card_is_found_by_its_address_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join("sys/class/kfd/kfd").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(!Kfd::read(dir.path()).leaves_out(Some("0000:03:00.0")), "no driver says nothing");
        write("topology/nodes/0/gpu_id", "0\n");
        write("topology/nodes/0/properties", "cpu_cores_count 16\n");
        write("topology/nodes/1/gpu_id", "51150\n");
        write(
            "topology/nodes/1/properties",
            "simd_count 192\ngfx_target_version 110000\nlocation_id 50432\ndomain 0\n",
        );
        write("topology/nodes/2/gpu_id", "7\n");
        write("proc/4242/vram_51150", "1073741824\n");
        write("proc/4243/vram_51150", "0\n");
        write("proc/x/vram_51150", "1\n");
        let kfd = Kfd::read(dir.path());
        let card = Some("0000:c5:00.0");
        assert_eq!(kfd.node(card).unwrap().target.as_deref(), Some("gfx1100"));
        assert_eq!(kfd.holders(card), BTreeMap::from([(4242, 1 << 30)]));
        assert!(kfd.leaves_out(Some("0000:03:00.0")) && !kfd.leaves_out(card));
        assert_eq!(kfd.node(None), None);
    }
}
