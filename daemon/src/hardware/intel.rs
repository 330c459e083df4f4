//! Intel's graphics as i915 and xe tell them in sysfs. Neither says there how much memory is free.

use super::{
    Found, Machine,
    files::{self, bytes},
    pci::{Drm, INTEL},
};
use domain::hardware::{Card, Gpu};
use std::path::Path;

/// Where a processor's own graphics is, on every machine.
const INTEGRATED: &str = "0000:00:02.0";

/// What cards are sold as, by their device id (Linux, include/drm/intel/pciids.h).
const SOLD_AS: &[(&str, &str)] = &[
    ("56A0", "Arc A770"),
    ("56A1", "Arc A750"),
    ("56A2", "Arc A580"),
    ("56A5", "Arc A380"),
    ("56A6", "Arc A310"),
    ("56B1", "Arc Pro A40/A50"),
    ("56B3", "Arc Pro A60"),
    ("56C0", "Flex 170"),
    ("56C1", "Flex 140"),
    ("0BD5", "Max 1550"),
    ("0BDA", "Max 1100"),
    ("E20B", "Arc B580"),
    ("E20C", "Arc B570"),
    ("E211", "Arc Pro B60"),
    ("E212", "Arc Pro B50"),
];

pub(super) fn look(cards: &[Drm], machine: &Machine<'_>) -> Found {
    let mut found = Found::default();
    for card in cards.iter().filter(|card| card.vendor == INTEL) {
        if card.pci.as_deref() == Some(INTEGRATED) {
            found.gpus.push(integrated(card, machine));
        } else {
            found.is_asleep |= card.is_asleep;
            found.cards.push(discrete(card, machine));
        }
    }
    found
}

/// It computes in the machine's memory, and takes of it what there is.
fn integrated(card: &Drm, machine: &Machine<'_>) -> Gpu {
    Gpu {
        id: card.id.clone(),
        name: name(card),
        backend: "SYCL".into(),
        total: machine.ram.total,
        free: machine.ram.available,
        shares_ram: true,
        pci: card.pci.clone(),
        driver: card.driver.clone(),
        processes: machine.holders.of(card.pci.as_deref(), true),
        ..Gpu::default()
    }
}

fn discrete(card: &Drm, machine: &Machine<'_>) -> Card {
    let total = local_memory(&card.device);
    let at_least = if total.is_none() { window(&card.device) } else { None };
    let why = match (card.is_asleep, total, at_least) {
        (true, ..) => "it sleeps and was not woken: what is free of its memory is not known",
        (_, Some(_), _) => "what is free of its memory an engine alone can tell",
        (_, None, Some(_)) => {
            "its driver does not tell its memory, an engine alone can: at least what the processor sees of it"
        }
        (_, None, None) => "its driver does not tell its memory: an engine alone can",
    };
    let card = machine.untold(card, name(card));
    Card { backend: "SYCL".into(), total, at_least, why: why.into(), ..card }
}

fn name(card: &Drm) -> String {
    let model = card.model.as_deref();
    let id = model.and_then(|model| model.split_once(':')).map(|(_, id)| id.to_ascii_uppercase());
    let sold = id.and_then(|id| SOLD_AS.iter().find(|(known, _)| *known == id));
    match (sold, model) {
        (Some((_, name)), _) => format!("Intel {name}"),
        (None, Some(model)) => format!("Intel graphics {model}"),
        (None, None) => "Intel graphics".into(),
    }
}

/// What xe tells of each tile (`physical_vram_size_bytes`), and Intel's own i915 of the card.
fn local_memory(device: &Path) -> Option<u64> {
    let of_tiles = |device: &Path| {
        let tiles = files::entries(device).into_iter().filter(|dir| files::number(dir, "tile").is_some());
        let places = tiles.flat_map(|tile| {
            let inside = files::entries(&tile).into_iter().filter(|dir| files::number(dir, "vram").is_some());
            std::iter::once(tile).chain(inside).collect::<Vec<_>>()
        });
        let sizes = places.filter_map(|dir| bytes(&dir.join("physical_vram_size_bytes")));
        sizes.filter(|size| *size > 0).reduce(u64::saturating_add)
    };
    let own = || {
        let cards = files::entries(&device.join("drm"));
        let cards = cards.iter().map(|card| card.join("lmem_total_bytes"));
        cards.chain([device.join("../lmem_total_bytes")]).find_map(|path| bytes(&path))
    };
    of_tiles(device).or_else(own).filter(|size| *size > 0)
}

/// The window through which the processor sees a card's memory is its third (PCI BAR 2): all of it, or 256 MiB where the
/// firmware lets no larger one be. `0x… 0x… 0x…` are begin, end and flags.
fn window(device: &Path) -> Option<u64> {
    let text = files::text(&device.join("resource"))?;
    let mut fields = text.lines().nth(2)?.split_whitespace();
    let mut hex = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
    let (begin, end) = (hex()?, hex()?);
    let size = end.checked_sub(begin)?.checked_add(1)?;
    (begin > 0 && size < 1 << 50).then_some(size)
}

#[cfg(test)]
mod tests {
    use crate::hardware::{look_at, tests::tree};
    use domain::hardware::{CardState, Ram};

    const RAM: Ram = Ram { total: 32 << 30, available: 20 << 30 };

    const B580: [(&str, &str); 2] = [
        ("class/drm/card1/device/vendor", "0x8086"),
        ("class/drm/card1/device/uevent", "DRIVER=xe\nPCI_ID=8086:E20B\nPCI_SLOT_NAME=0000:09:00.0"),
    ];

    #[track_caller]
    fn check(more: &[(&str, &str)], total: Option<u64>, at_least: Option<u64>) {
        let dir = tree(&[&B580, more].concat());
        let found = look_at(dir.path(), RAM, true);
        let [card] = found.cards.as_slice() else { panic!("{found:?}") };
        assert_eq!((&*card.name, card.total, card.at_least), ("Intel Arc B580", total, at_least));
        assert_eq!((found.gpus.len(), card.state), (0, CardState::Untold));
    }

    #[test]
    fn a_cards_memory_is_what_its_driver_tells_or_a_bound_or_not_known() {
        check(&[], None, None);
        let tile = ("class/drm/card1/device/tile0/physical_vram_size_bytes", "12884901888");
        check(&[tile], Some(12 << 30), None);
        let vram = ("class/drm/card1/device/tile1/vram0/physical_vram_size_bytes", "12884901888");
        check(&[tile, vram], Some(24 << 30), None);
        check(&[("class/drm/card1/lmem_total_bytes", "6442450944")], Some(6 << 30), None);
        let resource = |line: &'static str| {
            let first = "0x0000006000000000 0x0000006000ffffff 0x0000000000140204\n\
                         0x0000000000000000 0x0000000000000000 0x0000000000000000\n";
            [first, line].concat()
        };
        let whole = resource("0x0000004000000000 0x00000043ffffffff 0x000000000014220c\n");
        check(&[("class/drm/card1/device/resource", &whole)], None, Some(16 << 30));
        for line in ["0x0 0x0 0x0", "0x1 0x0 0x0", "0x1 0xffffffffffffffff 0x0", "x", ""] {
            check(&[("class/drm/card1/device/resource", &resource(line))], None, None);
        }
    }

    #[test]
    fn a_processors_graphics_has_the_machines_memory() {
        let dir = tree(&[
            ("class/drm/card0/device/vendor", "0x8086"),
            ("class/drm/card0/device/uevent", "DRIVER=i915\nPCI_ID=8086:9A49\nPCI_SLOT_NAME=0000:00:02.0"),
            ("class/drm/card0/device/power/runtime_status", "suspended"),
        ]);
        let found = look_at(dir.path(), RAM, true);
        let [gpu] = found.gpus.as_slice() else { panic!("{found:?}") };
        assert_eq!((&*gpu.name, gpu.total, gpu.free), ("Intel graphics 8086:9A49", RAM.total, RAM.available));
        assert!(gpu.shares_ram && !found.is_asleep);
    }
}
