//! AMD's cards as amdgpu tells them in sysfs: neither ROCm nor any other library, and none is woken, as the counters that
//! are read here are the driver's own (amdgpu_vram_mgr.c, amdgpu_gtt_mgr.c).

use super::{
    Found, Machine,
    files::{self, bytes},
    pci::{AMD, Drm},
};
use domain::hardware::{Card, Gpu, Pool, Ram};
use std::path::Path;

/// Generations that are part of a processor. Most are known by a missing maker of their memory chips; this is for kernels
/// that name one for them too.
const IN_PROCESSORS: [&str; 13] = [
    "gfx801", "gfx902", "gfx909", "gfx90c", "gfx1033", "gfx1035", "gfx1036", "gfx1037", "gfx1103", "gfx1150",
    "gfx1151", "gfx1152", "gfx1153",
];

/// What cards of a generation are sold as, where nothing names the card itself (LLVM's AMDGPUUsage).
const SOLD_AS: &[(&str, &str)] = &[
    ("gfx803", "Radeon RX 400/500"),
    ("gfx900", "Radeon RX Vega"),
    ("gfx906", "Radeon VII or Instinct MI50"),
    ("gfx908", "Instinct MI100"),
    ("gfx90a", "Instinct MI200"),
    ("gfx90c", "Radeon Vega graphics"),
    ("gfx942", "Instinct MI300"),
    ("gfx950", "Instinct MI350"),
    ("gfx1010", "Radeon RX 5600/5700"),
    ("gfx1012", "Radeon RX 5300/5500"),
    ("gfx1030", "Radeon RX 6800/6900"),
    ("gfx1031", "Radeon RX 6700"),
    ("gfx1032", "Radeon RX 6600"),
    ("gfx1033", "Steam Deck graphics"),
    ("gfx1034", "Radeon RX 6400/6500"),
    ("gfx1035", "Radeon 660M/680M"),
    ("gfx1036", "Radeon graphics"),
    ("gfx1100", "Radeon RX 7900"),
    ("gfx1101", "Radeon RX 7700/7800"),
    ("gfx1102", "Radeon RX 7600/7700S"),
    ("gfx1103", "Radeon 740M/760M/780M"),
    ("gfx1150", "Radeon 880M/890M"),
    ("gfx1151", "Radeon 8040S/8050S/8060S"),
    ("gfx1152", "Radeon 840M/860M"),
    ("gfx1200", "Radeon RX 9060"),
    ("gfx1201", "Radeon RX 9070"),
];

/// Device ids of generations before gfx8, which no compute driver takes now (the table of amdgpu_drv.c).
const OLD: [(u32, u32); 8] = [
    (0x1304, 0x131d),
    (0x6600, 0x6631),
    (0x6640, 0x665f),
    (0x6660, 0x666f),
    (0x6780, 0x679f),
    (0x67a0, 0x67be),
    (0x6800, 0x683f),
    (0x9830, 0x985f),
];

/// Where the driver's library names cards by device and revision.
const NAMES: &str = "usr/share/libdrm/amdgpu.ids";

pub(super) fn look(cards: &[Drm], machine: &Machine<'_>) -> Found {
    let mut found = Found::default();
    for card in cards.iter().filter(|card| card.vendor == AMD) {
        match gpu(card, machine) {
            Some(gpu) => {
                if gpu.backend == "Vulkan" {
                    let pci = gpu.pci.as_deref().unwrap_or(&gpu.id);
                    found.notes.push(format!(
                        "{} ({pci}) is too old for ROCm: engines can use it through Vulkan",
                        gpu.name
                    ));
                }
                found.is_asleep |= card.is_asleep && !gpu.shares_ram;
                found.gpus.push(gpu);
            }
            None => {
                found.is_asleep |= card.is_asleep;
                found.cards.push(untold(card, machine));
            }
        }
    }
    found
}

fn gpu(card: &Drm, machine: &Machine<'_>) -> Option<Gpu> {
    let pci = card.pci.as_deref();
    let target = target(card, machine);
    let pool = |name: &str| {
        let total = bytes(&card.device.join(format!("mem_info_{name}_total")))?;
        let used = bytes(&card.device.join(format!("mem_info_{name}_used"))).unwrap_or(0);
        Some(Pool { name: name.into(), total, used: used.min(total) })
    };
    let (vram, gtt) = (pool("vram")?, pool("gtt"));
    // The kernel names the maker of a card's own memory chips; a processor's graphics has none.
    let is_in_processor = target.as_deref().is_some_and(|target| IN_PROCESSORS.contains(&target))
        || !card.device.join("mem_info_vram_vendor").exists();
    let gtt = gtt.filter(|_| is_in_processor);
    // As the kernel decides where compute allocates: from pages where those are more than what firmware has cut out.
    let shares_ram = is_in_processor && gtt.as_ref().is_none_or(|gtt| gtt.total >= vram.total);
    let (total, free) = joint(&vram, gtt.as_ref().filter(|_| shares_ram), machine.ram);
    let mut processes = machine.holders.of(pci, shares_ram);
    let computing = machine.wish.with_holders.then(|| machine.kfd.holders(pci));
    for (pid, bytes) in computing.into_iter().flatten() {
        let held = processes.entry(pid).or_default();
        *held = bytes.max(*held);
    }
    Some(Gpu {
        id: card.id.clone(),
        name: name(card, target.as_deref(), machine.sysroot),
        backend: if is_old(card, machine) { "Vulkan" } else { "ROCm" }.into(),
        total,
        free,
        shares_ram,
        pci: card.pci.clone(),
        driver: card.driver.clone(),
        processes,
        target,
        pools: gtt.map(|gtt| vec![vram, gtt]).unwrap_or_default(),
        ..Gpu::default()
    })
}

/// What may be taken of both kinds of memory together, in all and now. Pages of main memory are there only as far as
/// main memory has them, whatever the driver's own limit.
fn joint(vram: &Pool, gtt: Option<&Pool>, ram: Ram) -> (u64, u64) {
    let own = vram.total - vram.used.min(vram.total);
    let Some(gtt) = gtt else { return (vram.total, own) };
    let pages = (gtt.total - gtt.used.min(gtt.total)).min(ram.available);
    (vram.total.saturating_add(gtt.total.min(ram.total)), own.saturating_add(pages))
}

fn target(card: &Drm, machine: &Machine<'_>) -> Option<String> {
    machine.kfd.node(card.pci.as_deref())?.target.clone()
}

/// Whether no compute driver takes it: that one says so, or it is not there and the card is of before gfx8.
fn is_old(card: &Drm, machine: &Machine<'_>) -> bool {
    let of_before =
        device_id(card).is_some_and(|id| OLD.iter().any(|(from, to)| (*from..=*to).contains(&id)));
    machine.kfd.leaves_out(card.pci.as_deref()) || of_before
}

fn device_id(card: &Drm) -> Option<u32> {
    u32::from_str_radix(card.model.as_deref()?.split_once(':')?.1, 16).ok()
}

fn name(card: &Drm, target: Option<&str>, sysroot: &Path) -> String {
    let told = files::text(&card.device.join("product_name")).filter(|name| !name.is_empty());
    let sold = target.and_then(|target| SOLD_AS.iter().find(|(known, _)| *known == target));
    let model = card.model.as_deref();
    let by_target = || sold.map(|(target, name)| format!("AMD {name} ({target})"));
    let by_number = || model.map(|model| format!("AMD graphics {model}"));
    let name = told.or_else(|| listed(card, sysroot)).or_else(by_target).or_else(by_number);
    match name {
        Some(name) if ["AMD", "Radeon"].iter().any(|maker| name.contains(maker)) => name,
        Some(name) => format!("AMD {name}"),
        None => "AMD graphics".into(),
    }
}

/// `15BF, DD, AMD Radeon 780M Graphics`, with tabs.
fn listed(card: &Drm, sysroot: &Path) -> Option<String> {
    let device = device_id(card)?;
    let revision = files::hex(&card.device.join("revision"))?;
    let text = files::text(&sysroot.join(NAMES))?;
    let hex = |field: Option<&str>| u32::from_str_radix(field?.trim(), 16).ok();
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ',');
        let is_it = hex(fields.next()) == Some(device) && hex(fields.next()) == Some(revision);
        is_it.then(|| fields.next().map(|name| name.trim().to_owned()))?
    })
}

/// One whose driver tells no memory.
fn untold(card: &Drm, machine: &Machine<'_>) -> Card {
    let why = match card.driver.as_deref() {
        Some("radeon") => {
            "its kernel driver is radeon, which engines cannot use: if it is of 2012 or later, the kernel parameters \
             radeon.si_support=0 radeon.cik_support=0 amdgpu.si_support=1 amdgpu.cik_support=1 give it to amdgpu"
        }
        Some("amdgpu") => "its driver does not tell its memory: an engine alone can",
        Some(_) => "it is in the hands of another driver than amdgpu",
        None => "no driver of the kernel has taken it: is amdgpu loaded?",
    };
    let card = machine.untold(card, name(card, None, machine.sysroot));
    Card { backend: "Vulkan".into(), why: why.into(), ..card }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::{look_at, tests::tree};

    const GIB: u64 = 1 << 30;

    #[track_caller]
    fn check(files: &[(&str, &str)], ram: Ram) -> (Vec<Gpu>, Vec<Card>, Vec<String>) {
        let dir = tree(files);
        let found = look_at(dir.path(), ram, true);
        (found.gpus, found.cards, found.notes)
    }

    const RAM: Ram = Ram { total: 64 * GIB, available: 20 * GIB };

    #[test]
    fn a_card_has_its_own_memory_and_a_processor_shares() {
        // Figures of a Vega 56 and of a Phoenix laptop, as LACT's users sent them in.
        let (gpus, cards, notes) = check(
            &[
                ("class/drm/card0/device/vendor", "0x1002"),
                ("class/drm/card0/device/mem_info_vram_total", "8573157376"),
                ("class/drm/card0/device/mem_info_vram_used", "573157376"),
                ("class/drm/card0/device/mem_info_vram_vendor", "hynix"),
                ("class/drm/card0/device/mem_info_gtt_total", "8342863872"),
                (
                    "class/drm/card0/device/uevent",
                    "DRIVER=amdgpu\nPCI_ID=1002:687F\nPCI_SLOT_NAME=0000:0b:00.0",
                ),
                ("class/drm/card0-DP-1/device/vendor", "0x1002"),
                ("class/drm/card1/device/vendor", "0x1002"),
                ("class/drm/card1/device/mem_info_vram_total", "4294967296"),
                ("class/drm/card1/device/mem_info_vram_used", "1272893440"),
                ("class/drm/card1/device/mem_info_gtt_total", "31433977856"),
                ("class/drm/card1/device/mem_info_gtt_used", "211398656"),
                ("class/drm/card1/device/uevent", "PCI_ID=1002:15BF\nPCI_SLOT_NAME=0000:64:00.0"),
                ("class/drm/card2/device/vendor", "0x1002"),
                (
                    "class/drm/card2/device/uevent",
                    "DRIVER=radeon\nPCI_ID=1002:6818\nPCI_SLOT_NAME=0000:01:00.0",
                ),
            ],
            RAM,
        );
        let shown: Vec<_> = gpus
            .iter()
            .map(|gpu| {
                (&*gpu.id, gpu.pci.as_deref().unwrap(), gpu.total, gpu.free, gpu.shares_ram, &*gpu.name)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("card0", "0000:0b:00.0", 8_573_157_376, 8_000_000_000, false, "AMD graphics 1002:687F"),
                // 3,022,073,856 of what firmware has cut out, and the 20 GiB that main memory still has.
                ("card1", "0000:64:00.0", 35_728_945_152, 24_496_910_336, true, "AMD graphics 1002:15BF"),
            ]
        );
        let pools = [("vram", 4_294_967_296, 1_272_893_440), ("gtt", 31_433_977_856, 211_398_656)];
        let told: Vec<_> = gpus[1].pools.iter().map(|pool| (&*pool.name, pool.total, pool.used)).collect();
        assert_eq!((told, gpus[0].pools.len()), (pools.to_vec(), 0));
        assert_eq!((cards.len(), &*cards[0].name), (1, "AMD graphics 1002:6818"));
        assert!(cards[0].why.contains("amdgpu.si_support=1"), "{cards:?}");
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn what_firmware_has_cut_out_is_a_memory_of_its_own_where_it_is_the_larger_part() {
        let halo = |vram: &str, gtt: &str| {
            let (gpus, ..) = check(
                &[
                    ("class/drm/card1/device/vendor", "0x1002"),
                    ("class/drm/card1/device/mem_info_vram_total", vram),
                    ("class/drm/card1/device/mem_info_gtt_total", gtt),
                    ("class/drm/card1/device/uevent", "PCI_SLOT_NAME=0000:c5:00.0"),
                    ("class/kfd/kfd/topology/nodes/1/gpu_id", "9"),
                    (
                        "class/kfd/kfd/topology/nodes/1/properties",
                        "gfx_target_version 110501\nlocation_id 50432\n",
                    ),
                ],
                Ram { total: 31 * GIB, available: 20 * GIB },
            );
            let gpu = &gpus[0];
            (gpu.total / GIB, gpu.free / GIB, gpu.shares_ram, gpu.name.clone())
        };
        let name = "AMD Radeon 8040S/8050S/8060S (gfx1151)".to_owned();
        assert_eq!(halo("103079215104", "16642998272"), (96, 96, false, name.clone()));
        // The driver lets 110 GiB of pages be taken; the machine has 31.
        assert_eq!(halo("536870912", "118111600640"), (31, 20, true, name));
    }

    #[test]
    fn a_card_is_called_by_what_the_machine_knows_of_it() {
        let dir = tree(&[
            ("class/drm/card0/device/vendor", "0x1002"),
            ("class/drm/card0/device/revision", "0xdd"),
            ("class/drm/card0/device/mem_info_vram_total", "1"),
            ("class/drm/card0/device/uevent", "PCI_ID=1002:15BF"),
            ("class/drm/card1/device/vendor", "0x1002"),
            ("class/drm/card1/device/product_name", "Instinct MI210"),
            ("class/drm/card1/device/mem_info_vram_total", "1"),
        ]);
        let names = dir.path().join(NAMES);
        std::fs::create_dir_all(names.parent().unwrap()).unwrap();
        std::fs::write(names, "# List\n1.0.0\n15BF,\tC1,\tother\n15BF,\tDD,\tAMD Radeon 780M Graphics\n")
            .unwrap();
        let shown: Vec<_> = look_at(dir.path(), RAM, false).gpus.into_iter().map(|gpu| gpu.name).collect();
        assert_eq!(shown, ["AMD Radeon 780M Graphics", "AMD Instinct MI210"]);
    }

    #[test]
    fn a_card_that_the_compute_driver_leaves_out_is_for_vulkan() {
        let card = |model: &'static str| {
            vec![
                ("class/drm/card1/device/vendor", "0x1002"),
                ("class/drm/card1/device/mem_info_vram_total", "2147483648"),
                ("class/drm/card1/device/mem_info_vram_vendor", "unknown"),
                ("class/drm/card1/device/uevent", model),
            ]
        };
        let backend = |files: &[(&str, &str)]| {
            let (gpus, _, notes) = check(files, RAM);
            (gpus[0].backend.clone(), notes.len())
        };
        let (old, new) = ("PCI_ID=1002:6617\nPCI_SLOT_NAME=0000:01:00.0", "PCI_ID=1002:744C");
        assert_eq!(backend(&card(old)), ("Vulkan".into(), 1));
        assert_eq!(backend(&card(new)), ("ROCm".into(), 0));
        let with_driver = [card(new), vec![("class/kfd/kfd/topology/nodes/0/gpu_id", "0")]].concat();
        assert_eq!(backend(&with_driver), ("Vulkan".into(), 1));
    }
}
