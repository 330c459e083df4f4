//! Graphics cards as sysfs tells them, without waking any. Knows no driver library.

use domain::hardware::Gpu;
use std::{
    fs,
    path::{Path, PathBuf},
};

const NVIDIA: u32 = 0x10de;
const AMD: u32 = 0x1002;
const INTEL: u32 = 0x8086;

/// An NVIDIA device that could compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nvidia {
    pub(super) address: String,
    /// Its power is off until somebody uses it.
    pub(super) is_asleep: bool,
}

/// Display devices and 3D controllers of NVIDIA, with or without a driver.
pub(super) fn nvidia(sysroot: &Path) -> Vec<Nvidia> {
    let base = super::base(sysroot, "sys");
    let is_display = |dir: &PathBuf| hex(dir, "class").is_some_and(|class| class >> 16 == 0x03);
    let devices = entries(&base.join("sys/bus/pci/devices")).into_iter().filter(is_display);
    let address =
        |dir: &Path| told(dir, "PCI_SLOT_NAME=").or_else(|| Some(dir.file_name()?.to_str()?.to_owned()));
    let mut found: Vec<Nvidia> = devices
        .chain(cards(&base).map(|(_, device)| device))
        .filter(|dir| hex(dir, "vendor") == Some(NVIDIA))
        .filter_map(|dir| {
            let is_asleep = text(&dir, "power/runtime_status").as_deref() == Some("suspended");
            Some(Nvidia { address: address(&dir)?, is_asleep })
        })
        .collect();
    found.sort_by(|one, other| one.address.cmp(&other.address));
    found.dedup_by(|one, other| one.address == other.address);
    found
}

/// AMD's cards, as far as the kernel tells how much memory they have.
pub(super) fn amd(sysroot: &Path) -> Vec<Gpu> {
    let base = super::base(sysroot, "sys");
    let mut found: Vec<Gpu> = cards(&base).filter_map(|(id, device)| amd_card(id, &device)).collect();
    found.sort_by(|one, other| one.pci.cmp(&other.pci));
    found
}

/// Cards whose memory no file tells: Intel's, and AMD's without its own driver.
pub(super) fn untold(sysroot: &Path) -> Vec<String> {
    let base = super::base(sysroot, "sys");
    let mut found: Vec<String> = cards(&base)
        .filter_map(|(_, device)| {
            let maker = match hex(&device, "vendor")? {
                INTEL => "Intel",
                AMD if text(&device, "mem_info_vram_total").is_none() => "AMD",
                _ => return None,
            };
            let name = told(&device, "PCI_ID=").unwrap_or_default();
            let address = told(&device, "PCI_SLOT_NAME=")?;
            Some(format!(
                "{maker} graphics {name} ({address}): an engine alone can tell how much memory there is"
            ))
        })
        .collect();
    found.sort();
    found
}

/// `card1` and its device; `card1-DP-1` is a connector, `renderD128` the same card again.
fn cards(base: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    entries(&base.join("sys/class/drm")).into_iter().filter_map(|dir| {
        let id = dir.file_name()?.to_str()?.to_owned();
        let is_card = id.strip_prefix("card")?.bytes().all(|byte| byte.is_ascii_digit());
        is_card.then(|| (id, dir.join("device")))
    })
}

fn amd_card(id: String, device: &Path) -> Option<Gpu> {
    if hex(device, "vendor") != Some(AMD) {
        return None;
    }
    let number = |name: &str| text(device, name)?.parse::<u64>().ok();
    let (mut total, mut used) = (number("mem_info_vram_total")?, number("mem_info_vram_used").unwrap_or(0));
    // The kernel names the maker of a card's own memory chips; a processor's graphics has none.
    let shares_ram = !device.join("mem_info_vram_vendor").exists();
    if shares_ram {
        total = total.saturating_add(number("mem_info_gtt_total").unwrap_or(0));
        used = used.saturating_add(number("mem_info_gtt_used").unwrap_or(0));
    }
    let name =
        told(device, "PCI_ID=").map_or_else(|| "AMD graphics".into(), |id| format!("AMD graphics {id}"));
    Some(Gpu {
        id,
        name,
        backend: "ROCm".into(),
        total,
        free: total.saturating_sub(used),
        shares_ram,
        pci: told(device, "PCI_SLOT_NAME="),
        driver: told(device, "DRIVER="),
        ..Gpu::default()
    })
}

/// A line of the device's `uevent`.
fn told(device: &Path, key: &str) -> Option<String> {
    let uevent = text(device, "uevent")?;
    uevent.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned)
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn text(dir: &Path, name: &str) -> Option<String> {
    Some(fs::read_to_string(dir.join(name)).ok()?.trim().to_owned())
}

fn hex(dir: &Path, name: &str) -> Option<u32> {
    u32::from_str_radix(text(dir, name)?.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join("sys").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        dir
    }

    #[test]
    fn a_sleeping_card_is_told_from_one_at_work_and_from_its_sound() {
        let dir = tree(&[
            ("bus/pci/devices/0000:01:00.0/vendor", "0x10de"),
            ("bus/pci/devices/0000:01:00.0/class", "0x030200"),
            ("bus/pci/devices/0000:01:00.0/power/runtime_status", "suspended"),
            ("bus/pci/devices/0000:01:00.1/vendor", "0x10de"),
            ("bus/pci/devices/0000:01:00.1/class", "0x040300"),
            ("bus/pci/devices/0000:01:00.1/power/runtime_status", "active"),
            ("bus/pci/devices/0000:02:00.0/vendor", "0x10de"),
            ("bus/pci/devices/0000:02:00.0/class", "0x030000"),
            ("class/drm/card0/device/vendor", "0x10de"),
            ("class/drm/card0/device/uevent", "PCI_SLOT_NAME=0000:02:00.0"),
            ("bus/pci/devices/0000:00:02.0/vendor", "0x8086"),
            ("bus/pci/devices/0000:00:02.0/class", "0x030000"),
        ]);
        let shown: Vec<_> =
            nvidia(dir.path()).into_iter().map(|card| (card.address, card.is_asleep)).collect();
        assert_eq!(shown, [("0000:01:00.0".to_owned(), true), ("0000:02:00.0".to_owned(), false)]);
    }

    #[test]
    fn a_card_of_amd_has_its_own_memory_and_a_processor_shares() {
        // Figures of a Vega 56 and of a Phoenix laptop, as LACT's users sent them in.
        let dir = tree(&[
            ("class/drm/card0/device/vendor", "0x1002"),
            ("class/drm/card0/device/mem_info_vram_total", "8573157376"),
            ("class/drm/card0/device/mem_info_vram_used", "573157376"),
            ("class/drm/card0/device/mem_info_vram_vendor", "hynix"),
            ("class/drm/card0/device/mem_info_gtt_total", "8342863872"),
            ("class/drm/card0/device/uevent", "DRIVER=amdgpu\nPCI_ID=1002:687F\nPCI_SLOT_NAME=0000:0b:00.0"),
            ("class/drm/card0-DP-1/device/vendor", "0x1002"),
            ("class/drm/card1/device/vendor", "0x1002"),
            ("class/drm/card1/device/mem_info_vram_total", "4294967296"),
            ("class/drm/card1/device/mem_info_vram_used", "1"),
            ("class/drm/card1/device/mem_info_gtt_total", "31433977856"),
            ("class/drm/card1/device/uevent", "PCI_SLOT_NAME=0000:64:00.0"),
            ("class/drm/card2/device/vendor", "0x1002"),
            ("class/drm/card2/device/uevent", "PCI_ID=1002:6798\nPCI_SLOT_NAME=0000:01:00.0"),
            ("class/drm/card3/device/vendor", "0x8086"),
            ("class/drm/card3/device/uevent", "PCI_ID=8086:E20B\nPCI_SLOT_NAME=0000:03:00.0"),
        ]);
        assert_eq!(
            untold(dir.path()),
            [
                "AMD graphics 1002:6798 (0000:01:00.0): an engine alone can tell how much memory there is",
                "Intel graphics 8086:E20B (0000:03:00.0): an engine alone can tell how much memory there is",
            ]
        );
        let shown: Vec<_> = amd(dir.path())
            .into_iter()
            .map(|gpu| (gpu.id, gpu.pci.unwrap(), gpu.total, gpu.free, gpu.shares_ram, gpu.name))
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "card0".to_owned(),
                    "0000:0b:00.0".to_owned(),
                    8_573_157_376,
                    8_000_000_000,
                    false,
                    "AMD graphics 1002:687F".to_owned()
                ),
                (
                    "card1".to_owned(),
                    "0000:64:00.0".to_owned(),
                    35_728_945_152,
                    35_728_945_151,
                    true,
                    "AMD graphics".to_owned()
                ),
            ]
        );
    }
}
