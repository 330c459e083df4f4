//! Which devices an engine really sees, brought together with what the drivers tell of them.

use super::{Card, CardState, Gpu, Hardware};
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
    /// Cards of which the drivers do not tell enough.
    pub others: &'a [Card],
    /// Why CUDA did not start, in its own words, where the engine has said so.
    pub complaint: Option<&'a str>,
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
    /// The same for those of which the drivers do not tell enough.
    pub others: Vec<Card>,
}

/// Returns the machine as the engine sees it: the devices are the engine's, and each is told more of by its card.
pub fn see(listing: &Listing<'_>, probed: &Hardware) -> Seen {
    let (visible, hidden) = visible(&probed.gpus, listing.cuda_visible);
    let mut unmatched: Vec<&Gpu> = visible;
    let mut others: Vec<&Card> = listing.others.iter().collect();
    // Cards that sleep have no name here: equal ones beside them are told apart by CUDA's numbers.
    let is_counted = listing.cuda_visible.is_none() && others.iter().any(|card| sleeps(card));
    let mut gpus = Vec::new();
    for device in listing.devices {
        let at = unmatched
            .iter()
            .position(|card| is_same(device, card) && (!is_counted || is_numbered_alike(device, card)));
        let at = at.or_else(|| unmatched.iter().position(|card| is_shared(device, card)));
        let card = at.map(|at| unmatched.remove(at));
        let mut gpu = merge(device, card, listing, probed);
        let other = others.iter().position(|other| card.is_none() && is_other(device, other));
        if let Some(other) = other.map(|at| others.remove(at)) {
            gpu.pci.clone_from(&other.pci);
            gpu.driver.clone_from(&other.driver);
            gpu.processes.clone_from(&other.processes);
        }
        if gpu.pci.is_none() && is_counted && gpu.backend == "CUDA" {
            // The list is of when it was awake. It stays among the others, as what is free is not known.
            let is_free = |card: &&&Card| gpus.iter().all(|gpu: &Gpu| gpu.pci != card.pci);
            let asleep = others.iter().filter(|card| sleeps(card)).find(is_free);
            gpu.pci = asleep.and_then(|card| card.pci.clone());
        }
        gpus.push(gpu);
    }
    let mut notes = broken(&unmatched, listing);
    if notes.is_empty() {
        notes.extend(unmatched.iter().filter_map(|card| surprise(card, listing)));
    }
    let untold = others.iter().filter(|card| card.state == CardState::Untold);
    notes.extend(untold.map(|card| unseen(&called(&card.name, card.pci.as_ref()), &card.backend, listing)));
    notes.extend(hidden.iter().map(|card| format!("{} is left out by CUDA_VISIBLE_DEVICES", named(card))));
    let unseen = unmatched.into_iter().chain(hidden).cloned().collect();
    let hardware = Hardware { gpus, ram: probed.ram, cpu: probed.cpu.clone() };
    Seen { hardware, notes, unseen, others: others.into_iter().cloned().collect() }
}

/// The cards that CUDA is let to see, in the order in which it then counts them; and those that it is not.
fn visible<'a>(cards: &'a [Gpu], variable: Option<&str>) -> (Vec<&'a Gpu>, Vec<&'a Gpu>) {
    let Some(wanted) = variable else { return (cards.iter().collect(), Vec::new()) };
    let (nvidia, others): (Vec<&Gpu>, Vec<&Gpu>) = cards.iter().partition(|card| card.backend == "CUDA");
    let find = |word: &str| match word.parse::<usize>() {
        Ok(number) => nvidia.get(number).copied(),
        Err(_) => nvidia.iter().copied().find(|card| {
            ["GPU-", "MIG-"].iter().any(|kind| word.starts_with(kind))
                && card.uuid.as_ref().is_some_and(|uuid| uuid.starts_with(word))
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
        _ => is_made_alike(&device.name, &card.name) && !is_integrated_intel(card),
    };
    // CUDA and Vulkan leave out what the driver reserves: 24080 of 24564 MiB on an RTX 4090.
    is_named && is_near(device.total, card.total, 20)
}

fn sleeps(card: &Card) -> bool {
    card.state == CardState::Asleep && card.backend == "CUDA"
}

/// Whether both are called alike by CUDA, where the device is one of CUDA's.
fn is_numbered_alike(device: &Gpu, card: &Gpu) -> bool {
    device.backend != "CUDA" || device.id == card.id
}

/// A processor's graphics, of which each backend takes another part of the machine's memory for the whole.
fn is_shared(device: &Gpu, card: &Gpu) -> bool {
    let is_of_processor = card.shares_ram || !card.pools.is_empty();
    is_of_processor
        && is_made_alike(&device.name, &card.name)
        && !(is_integrated_intel(card) && is_discrete_intel(&device.name))
}

fn is_other(device: &Gpu, card: &Card) -> bool {
    is_made_alike(&device.name, &card.name)
        && card.total.is_none_or(|total| is_near(device.total, total, 10))
        && (is_discrete_intel(&device.name) || !device.name.contains(INTEL))
}

const INTEL: &str = "Intel";

fn is_made_alike(device: &str, card: &str) -> bool {
    if card.contains(INTEL) {
        return device.contains(INTEL);
    }
    let is_amd = |name: &str| ["AMD", "Radeon", "gfx"].iter().any(|word| name.contains(word));
    is_amd(card) && is_amd(device)
}

fn is_integrated_intel(card: &Gpu) -> bool {
    card.shares_ram && card.name.contains(INTEL)
}

/// `Intel(R) Arc(TM) A380 Graphics (DG2)`; a processor's `Intel(R) Arc(TM) Graphics` has no number.
fn is_discrete_intel(name: &str) -> bool {
    let is_number = |word: &str| {
        let digits = word.strip_prefix(['A', 'B']).map(|rest| rest.trim_end_matches('M'));
        digits.is_some_and(|digits| {
            (2..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
        })
    };
    let is_line = |word: &str| is_number(word) || matches!(word, "Flex" | "Max" | "DG1");
    name.split(|c: char| !c.is_alphanumeric()).any(is_line)
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
        seen.target.clone_from(&card.target);
        seen.pools.clone_from(&card.pools);
        if !listing.is_fresh {
            seen.free = card.free.min(device.total);
            seen.overhead = context(device, card, listing).unwrap_or(card.overhead);
        }
    }
    if shares_ram {
        let free = if listing.is_fresh { seen.free } else { seen.total };
        seen.free = free.min(card.map_or(probed.ram.available, |card| card.free));
    } else if let Some(card) = card.filter(|card| !card.pools.is_empty()) {
        seen.free = seen.free.min(card.free); // Vulkan counts pages of main memory as well
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

/// Why CUDA does not start on cards that are there.
fn broken(unmatched: &[&Gpu], listing: &Listing<'_>) -> Vec<String> {
    let Some(complaint) = listing.complaint.filter(|_| unmatched.iter().any(|card| card.backend == "CUDA"))
    else {
        return Vec::new();
    };
    let advice = if ["unknown error", "initialization error"].iter().any(|words| complaint.contains(words)) {
        "; if the machine has slept, sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm mends it, else a restart"
    } else if complaint.contains("driver version is insufficient") {
        "; update NVIDIA's driver, or take an engine that is built for an older CUDA"
    } else {
        ""
    };
    vec![format!("CUDA does not start: {complaint}{advice}")]
}

/// A processor's own graphics are missed only where the engine sees nothing else.
fn surprise(card: &Gpu, listing: &Listing<'_>) -> Option<String> {
    if card.shares_ram && !listing.devices.is_empty() {
        return None;
    }
    let part = card.uuid.as_deref().filter(|uuid| uuid.starts_with("MIG-"));
    match part.filter(|_| !listing.devices.is_empty()) {
        Some(uuid) => Some(format!(
            "CUDA shows a program one part of a divided card: CUDA_VISIBLE_DEVICES={uuid} takes {}",
            named(card)
        )),
        // Vulkan computes on graphics of processors that ROCm and SYCL do not know.
        None if card.shares_ram && card.backend != "CUDA" => Some(unseen(&named(card), "Vulkan", listing)),
        None => Some(unseen(&named(card), &card.backend, listing)),
    }
}

fn unseen(name: &str, backend: &str, listing: &Listing<'_>) -> String {
    let builds = match backend {
        "Vulkan" => "Vulkan".to_owned(),
        backend => format!("{backend} or Vulkan"),
    };
    let why = if listing.devices.is_empty() {
        format!("it is built for the processor alone, or a library is missing: install a {builds} build")
    } else {
        format!("a {builds} build would")
    };
    format!("{name} is there, and this engine does not see it: {why}")
}

fn named(card: &Gpu) -> String {
    let name = if card.name.is_empty() { &card.id } else { &card.name };
    called(name, card.pci.as_ref())
}

fn called(name: &str, pci: Option<&String>) -> String {
    pci.map_or_else(|| name.to_owned(), |pci| format!("{name} ({pci})"))
}

#[cfg(test)]
mod tests;
