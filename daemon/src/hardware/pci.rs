//! Graphics cards as sysfs lists them, without waking any. Knows no driver library, and no card by name.

use super::files;
use std::path::{Path, PathBuf};

pub(super) const NVIDIA: u32 = 0x10de;
pub(super) const AMD: u32 = 0x1002;
pub(super) const INTEL: u32 = 0x8086;

/// A card that the kernel has a graphics driver for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drm {
    /// `card1`
    pub(super) id: String,
    pub(super) device: PathBuf,
    pub(super) vendor: u32,
    /// `0000:03:00.0`
    pub(super) pci: Option<String>,
    pub(super) driver: Option<String>,
    /// `1002:744C`
    pub(super) model: Option<String>,
    /// Its power is off until somebody uses it.
    pub(super) is_asleep: bool,
}

/// Returns the cards in the order of their addresses; `card1-DP-1` is a connector, `renderD128` the same card again.
pub(super) fn cards(base: &Path) -> Vec<Drm> {
    let dirs = files::entries(&base.join("sys/class/drm"));
    let mut found: Vec<Drm> = dirs.iter().filter_map(|dir| card(dir)).collect();
    found.sort_by_key(|card| (card.pci.clone(), files::number(Path::new(&card.id), "card")));
    found
}

fn card(dir: &Path) -> Option<Drm> {
    files::number(dir, "card")?;
    let device = dir.join("device");
    let uevent = files::text(&device.join("uevent")).unwrap_or_default();
    Some(Drm {
        id: files::name(dir)?.to_owned(),
        vendor: files::hex(&device.join("vendor"))?,
        pci: files::told(&uevent, "PCI_SLOT_NAME=").or_else(|| linked(&device)),
        driver: files::told(&uevent, "DRIVER="),
        model: files::told(&uevent, "PCI_ID="),
        is_asleep: is_asleep(&device),
        device,
    })
}

/// Where the kernel keeps a device is named by its address.
fn linked(device: &Path) -> Option<String> {
    let real = device.canonicalize().ok()?;
    let name = files::name(&real)?;
    (name.split(':').count() == 3).then(|| name.to_owned())
}

fn is_asleep(device: &Path) -> bool {
    files::text(&device.join("power/runtime_status")).as_deref() == Some("suspended")
}

/// An NVIDIA device that could compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nvidia {
    pub(super) address: String,
    /// Of the kernel, where it has one: `nvidia`, `nouveau`, `vfio-pci`.
    pub(super) driver: Option<String>,
    pub(super) model: Option<String>,
    /// Its power is off until somebody uses it.
    pub(super) is_asleep: bool,
    /// It may sleep when nobody uses it.
    pub(super) may_sleep: bool,
}

/// Display devices and 3D controllers of NVIDIA, with or without a driver, in the order of their addresses.
/// `cards` are those that the kernel has a graphics driver for, of any maker.
pub(super) fn nvidia(base: &Path, cards: &[Drm]) -> Vec<Nvidia> {
    let is_display = |dir: &PathBuf| files::hex(&dir.join("class")).is_some_and(|class| class >> 16 == 0x03);
    let devices = files::entries(&base.join("sys/bus/pci/devices"));
    let is_nvidia = |dir: &PathBuf| files::hex(&dir.join("vendor")) == Some(NVIDIA);
    let drawing = cards.iter().filter(|card| card.vendor == NVIDIA).map(|card| card.device.clone());
    let mut found: Vec<Nvidia> = devices
        .into_iter()
        .filter(|dir| is_nvidia(dir) && is_display(dir))
        .chain(drawing)
        .filter_map(|dir| {
            let uevent = files::text(&dir.join("uevent")).unwrap_or_default();
            let told = files::told(&uevent, "PCI_SLOT_NAME=");
            let address = told.or_else(|| Some(files::name(&dir)?.to_owned()))?.to_ascii_lowercase();
            Some(Nvidia {
                address,
                driver: files::told(&uevent, "DRIVER="),
                model: files::told(&uevent, "PCI_ID="),
                is_asleep: is_asleep(&dir),
                may_sleep: files::text(&dir.join("power/control")).as_deref() == Some("auto"),
            })
        })
        .collect();
    found.sort_by(|one, other| one.address.cmp(&other.address));
    found.dedup_by(|one, other| one.address == other.address);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::tests::tree;

    #[test]
    fn a_sleeping_card_is_told_from_one_at_work_and_from_its_sound() {
        let dir = tree(&[
            ("bus/pci/devices/0000:01:00.0/vendor", "0x10de"),
            ("bus/pci/devices/0000:01:00.0/class", "0x030200"),
            ("bus/pci/devices/0000:01:00.0/power/runtime_status", "suspended"),
            ("bus/pci/devices/0000:01:00.0/power/control", "auto"),
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
        let shown: Vec<_> = nvidia(dir.path(), &cards(dir.path()))
            .into_iter()
            .map(|card| (card.address, card.is_asleep, card.may_sleep))
            .collect();
        assert_eq!(
            shown,
            [("0000:01:00.0".to_owned(), true, true), ("0000:02:00.0".to_owned(), false, false)]
        );
    }

    #[test]
    fn a_connector_is_no_card() {
        let dir = tree(&[
            ("class/drm/card10/device/vendor", "0x1002"),
            ("class/drm/card2/device/vendor", "0x8086"),
            ("class/drm/card2-DP-1/device/vendor", "0x8086"),
            ("class/drm/renderD128/device/vendor", "0x8086"),
            ("class/drm/card3/device/vendor", "nonsense"),
        ]);
        let ids: Vec<_> = cards(dir.path()).into_iter().map(|card| card.id).collect();
        assert_eq!(ids, ["card2", "card10"]);
    }
}
