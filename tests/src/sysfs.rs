//! What the kernel tells of memory and cards, in the tree that stands in for the machine.

use crate::{House, files::write};
use std::{fs, path::PathBuf};

impl House {
    /// 64 GiB of main memory, of which so many MiB are available from now on.
    pub fn memory(&self, available_mib: u64) {
        let text = format!("MemTotal: 67108864 kB\nMemAvailable: {} kB\n", available_mib << 10);
        // In one piece: a look may fall between.
        write(self.at("sys/proc/meminfo.new"), text);
        fs::rename(self.at("sys/proc/meminfo.new"), self.at("sys/proc/meminfo")).unwrap();
    }

    /// An NVIDIA card on this bus, asleep or awake (`suspended` or `active` in a line).
    pub fn pci_card(&self, bus: u8, status: &str) {
        let dir = self.at(format!("sys/sys/bus/pci/devices/0000:0{bus}:00.0"));
        for (name, text) in
            [("vendor", "0x10de\n"), ("class", "0x030000\n"), ("power/runtime_status", status)]
        {
            write(dir.join(name), text);
        }
    }

    /// A Radeon RX 7800 XT with 1 GiB in use, by its amdgpu driver; returns its directory.
    pub fn radeon(&self) -> PathBuf {
        let dir = self.at("sys/sys/class/drm/card1/device");
        for (name, text) in [
            ("vendor", "0x1002\n"),
            ("mem_info_vram_total", "17163091968\n"),
            ("mem_info_vram_used", "1073741824\n"),
            ("mem_info_vram_vendor", "samsung\n"),
            ("uevent", "DRIVER=amdgpu\nPCI_ID=1002:747E\nPCI_SLOT_NAME=0000:03:00.0\n"),
        ] {
            write(dir.join(name), text);
        }
        dir
    }
}
