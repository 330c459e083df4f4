//! Which devices an engine really sees, brought together with what the drivers tell of them.

use super::{Gpu, Hardware};
use std::ops::RangeInclusive;

/// Devices that have no memory of their own and compute on the processor.
const SOFTWARE: [&str; 3] = ["llvmpipe", "lavapipe", "SwiftShader"];

/// NVIDIA's devices that share the machine's memory; all others of NVIDIA have their own, whatever its size.
const NVIDIA_SHARING: [&str; 6] = ["Tegra", "Xavier", "Orin", "Thor", "GB10", "N1X"];

/// An engine's own list of devices.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    pub devices: &'a [Gpu],
    /// Its `free` is of this moment, read with a driver context in place.
    pub is_fresh: bool,
    /// The drivers' cards just before the engine made its list.
    pub cards: &'a [Gpu],
    /// `CUDA_VISIBLE_DEVICES` of whoever starts the engine.
    pub cuda_visible: Option<&'a str>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    pub hardware: Hardware,
    /// What a person would not expect.
    pub notes: Vec<String>,
    /// Cards of the machine that the engine does not see.
    pub unseen: Vec<Gpu>,
}

/// Returns the machine as the engine sees it: the devices are the engine's, and each is told more of by its card.
pub fn see(listing: &Listing<'_>, probed: &Hardware) -> Seen {
    let (visible, hidden) = visible(&probed.gpus, listing.cuda_visible);
    let mut unmatched: Vec<&Gpu> = visible;
    let mut gpus = Vec::new();
    for device in listing.devices {
        let at = unmatched.iter().position(|card| is_same(device, card));
        let card = at.map(|at| unmatched.remove(at));
        gpus.push(merge(device, card, listing, probed));
    }
    let mut notes: Vec<String> = unmatched.iter().filter_map(|card| surprise(card, listing)).collect();
    notes.extend(hidden.iter().map(|card| format!("{} is left out by CUDA_VISIBLE_DEVICES", named(card))));
    let unseen = unmatched.into_iter().chain(hidden).cloned().collect();
    Seen { hardware: Hardware { gpus, ram: probed.ram, cpu: probed.cpu.clone() }, notes, unseen }
}

/// The cards that CUDA is let to see, in the order in which it then counts them; and those that it is not.
fn visible<'a>(cards: &'a [Gpu], variable: Option<&str>) -> (Vec<&'a Gpu>, Vec<&'a Gpu>) {
    let Some(wanted) = variable else { return (cards.iter().collect(), Vec::new()) };
    let (nvidia, others): (Vec<&Gpu>, Vec<&Gpu>) = cards.iter().partition(|card| card.backend == "CUDA");
    let find = |word: &str| match word.parse::<usize>() {
        Ok(number) => nvidia.get(number).copied(),
        Err(_) => nvidia.iter().copied().find(|card| {
            word.starts_with("GPU-") && card.uuid.as_ref().is_some_and(|uuid| uuid.starts_with(word))
        }),
    };
    // CUDA stops at the first word that names no card.
    let mut seen: Vec<&Gpu> =
        wanted.split(',').map(|word| find(word.trim())).map_while(|card| card).collect();
    let hidden = nvidia.iter().copied().filter(|card| !seen.iter().any(|other| std::ptr::eq(*other, *card)));
    let hidden = hidden.collect();
    seen.extend(others);
    (seen, hidden)
}

/// Names are the driver's on both sides for NVIDIA; of other cards sysfs has only numbers, so size must do.
fn is_same(device: &Gpu, card: &Gpu) -> bool {
    let is_named = match card.backend.as_str() {
        "CUDA" => device.name.contains(&card.name) || card.name.contains(&device.name),
        _ => ["AMD", "Radeon", "gfx"].iter().any(|word| device.name.contains(word)),
    };
    // CUDA and Vulkan leave out what the driver reserves: 24080 of 24564 MiB on an RTX 4090.
    is_named && is_near(device.total, card.total, 20)
}

/// Whether two sizes differ by no more than one part in `parts`.
fn is_near(one: u64, other: u64, parts: u64) -> bool {
    one.abs_diff(other) <= one.max(other) / parts
}

/// What a driver context may take; a difference beyond is somebody else's doing. An H200's, which has more processors
/// than any card at home, takes 527 MiB.
const CONTEXT: RangeInclusive<u64> = (32 << 20)..=(1 << 30);

/// What the context of this engine takes on this card: what was free before it made its list, and what it then saw.
fn context(device: &Gpu, card: &Gpu, listing: &Listing<'_>) -> Option<u64> {
    let then = listing.cards.iter().find(|then| then.uuid.is_some() && then.uuid == card.uuid)?;
    then.free.checked_sub(device.free).filter(|bytes| CONTEXT.contains(bytes))
}

fn merge(device: &Gpu, card: Option<&Gpu>, listing: &Listing<'_>, probed: &Hardware) -> Gpu {
    let shares_ram = card.map_or_else(|| is_of_the_machine(device, probed), |card| card.shares_ram);
    let mut seen = Gpu { shares_ram, ..device.clone() };
    if let Some(card) = card {
        seen.uuid.clone_from(&card.uuid);
        seen.pci.clone_from(&card.pci);
        seen.driver.clone_from(&card.driver);
        seen.processes.clone_from(&card.processes);
        if !listing.is_fresh {
            seen.free = card.free.min(device.total);
            seen.overhead = context(device, card, listing).unwrap_or(card.overhead);
        }
    }
    if shares_ram {
        let free = if listing.is_fresh { seen.free } else { seen.total };
        seen.free = free.min(probed.ram.available);
    }
    seen
}

/// Whether a device that only the engine tells of computes in main memory: by its name, else by its size.
fn is_of_the_machine(device: &Gpu, probed: &Hardware) -> bool {
    let is_named = |names: &[&str]| names.iter().any(|name| device.name.contains(name));
    if device.backend == "CUDA" || device.name.contains("NVIDIA") {
        return is_named(&NVIDIA_SHARING);
    }
    is_named(&SOFTWARE) || is_near(device.total, probed.ram.total, 50)
}

/// A processor's own graphics are seldom missed.
fn surprise(card: &Gpu, listing: &Listing<'_>) -> Option<String> {
    if card.shares_ram {
        return None;
    }
    let builds = if card.backend == "CUDA" { "CUDA or Vulkan" } else { "ROCm or Vulkan" };
    let why = if listing.devices.is_empty() {
        format!("it is built for the processor alone, or a library is missing: install a {builds} build")
    } else {
        format!("a {builds} build would")
    };
    Some(format!("{} is there, and this engine does not see it: {why}", named(card)))
}

fn named(card: &Gpu) -> String {
    let name = if card.name.is_empty() { &card.id } else { &card.name };
    card.pci.as_ref().map_or_else(|| name.clone(), |pci| format!("{name} ({pci})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::{CUDA_CONTEXT, Cpu, Ram};

    const GIB: u64 = 1 << 30;

    fn card(number: u8, name: &str) -> Gpu {
        Gpu {
            id: format!("CUDA{number}"),
            name: name.into(),
            backend: "CUDA".into(),
            total: 24 * GIB,
            free: 20 * GIB + u64::from(number),
            overhead: CUDA_CONTEXT,
            uuid: Some(format!("GPU-{number}aaa")),
            pci: Some(format!("0000:0{number}:00.0")),
            ..Gpu::default()
        }
    }

    fn device(id: &str, name: &str, total: u64) -> Gpu {
        let backend = id.trim_end_matches(|c: char| c.is_ascii_digit()).into();
        Gpu { id: id.into(), name: name.into(), backend, total, free: 19 * GIB, ..Gpu::default() }
    }

    fn machine(gpus: Vec<Gpu>) -> Hardware {
        Hardware { gpus, ram: Ram { total: 64 * GIB, available: 32 * GIB }, cpu: Cpu::default() }
    }

    fn check(devices: &[Gpu], is_fresh: bool, visible: Option<&str>, probed: &Hardware) -> Seen {
        see(&Listing { devices, is_fresh, cards: &[], cuda_visible: visible }, probed)
    }

    #[test]
    fn a_fresh_listing_keeps_its_own_figures_and_an_old_one_gets_the_drivers() {
        let probed = machine(vec![card(1, "NVIDIA GeForce RTX 4090")]);
        let listed = [device("CUDA0", "NVIDIA GeForce RTX 4090", 24080 << 20)];
        let fresh = check(&listed, true, None, &probed).hardware.gpus;
        assert_eq!((fresh[0].free, fresh[0].overhead), (19 * GIB, 0));
        assert_eq!(fresh[0].pci.as_deref(), Some("0000:01:00.0"));
        let old = check(&listed, false, None, &probed).hardware.gpus;
        assert_eq!((old[0].free, old[0].overhead, old[0].total), (20 * GIB + 1, CUDA_CONTEXT, 24080 << 20));
    }

    #[test]
    fn what_a_context_takes_is_measured_where_it_can_be() {
        let probed = machine(vec![card(1, "NVIDIA H200")]);
        let listed = [Gpu { free: 149_557_346_304, ..device("CUDA0", "NVIDIA H200", 24 * GIB) }];
        let measured = |before: u64| {
            let cards = [Gpu { free: before, ..card(1, "NVIDIA H200") }];
            let listing = Listing { devices: &listed, is_fresh: false, cards: &cards, cuda_visible: None };
            see(&listing, &probed).hardware.gpus[0].overhead
        };
        assert_eq!(measured(150_109_880_320), 552_534_016); // 2026-11-27, driver 580.159.04
        assert_eq!(measured(149_557_346_305), CUDA_CONTEXT); // a program has ended in between
        assert_eq!(measured(149_557_346_303), CUDA_CONTEXT);
        assert_eq!(measured(160_000_000_000), CUDA_CONTEXT); // one has begun
    }

    #[test]
    fn two_equal_cards_are_told_apart_by_their_order() {
        let probed = machine(vec![card(1, "RTX 3090"), card(2, "RTX 3090")]);
        let listed = [device("CUDA0", "RTX 3090", 24 * GIB), device("CUDA1", "RTX 3090", 24 * GIB)];
        let pci = |visible: Option<&str>, count: usize| -> Vec<Option<String>> {
            let seen = check(&listed[..count], false, visible, &probed);
            seen.hardware.gpus.into_iter().map(|gpu| gpu.pci).collect()
        };
        let (one, two) = (Some("0000:01:00.0".to_owned()), Some("0000:02:00.0".to_owned()));
        assert_eq!(pci(None, 2), [one.clone(), two.clone()]);
        assert_eq!(pci(Some("1,0"), 2), [two.clone(), one]);
        assert_eq!([pci(Some("1"), 1), pci(Some("GPU-2a"), 1)].concat(), [two.clone(), two]);
        assert_eq!(check(&listed[..1], false, Some("1"), &probed).notes.len(), 1);
        assert_eq!(check(&[], false, Some("-1"), &probed).notes.len(), 2);
    }

    #[test]
    fn a_build_for_the_processor_alone_is_told_of_on_a_machine_with_a_gpu() {
        let probed = machine(vec![card(1, "NVIDIA GeForce RTX 4090")]);
        let seen = check(&[], true, None, &probed);
        assert!(seen.hardware.gpus.is_empty());
        assert_eq!(seen.unseen, probed.gpus);
        assert_eq!(
            seen.notes,
            [
                "NVIDIA GeForce RTX 4090 (0000:01:00.0) is there, and this engine does not see it: it is built for the \
              processor alone, or a library is missing: install a CUDA or Vulkan build"
            ]
        );
    }

    #[test]
    fn what_computes_in_main_memory_is_known() {
        let probed = machine(Vec::new());
        for (name, total, shares) in [
            ("llvmpipe (LLVM 22.1.8, 256 bits)", 24 * GIB, true),
            ("Intel(R) Iris(R) Xe Graphics", 63 * GIB + GIB / 2, true),
            ("NVIDIA GeForce RTX 4090", 24 * GIB, false),
            ("NVIDIA RTX PRO 6000", 64 * GIB, false), // the machine has as much by chance
            ("NVIDIA Thor", 60 * GIB, true),
        ] {
            let seen = check(&[device("Vulkan0", name, total)], true, None, &probed);
            assert_eq!(seen.hardware.gpus[0].shares_ram, shares, "{name}");
        }
        let tight = Hardware { ram: Ram { total: 64 * GIB, available: GIB }, ..probed };
        let seen = check(&[device("Vulkan0", "llvmpipe", 64 * GIB)], true, None, &tight);
        assert_eq!(seen.hardware.gpus[0].free, GIB);
        let old = check(&[device("Vulkan0", "llvmpipe", 64 * GIB)], false, None, &machine(Vec::new()));
        assert_eq!(old.hardware.gpus[0].free, 32 * GIB); // 19 were free when the list was made
    }
}
