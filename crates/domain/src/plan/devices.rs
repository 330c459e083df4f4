//! Which devices a plan may use, in which order, and which machines are none.

use super::{ABSURD, Knobs, Refusal, bandwidth};
use crate::{
    ByteSize,
    hardware::{Gpu, Hardware},
    memory::MOST_DEVICES,
};
use std::collections::BTreeSet;

/// Refuses sizes that would make every sum meaningless.
pub(super) fn check(machine: &Hardware) -> Result<(), Refusal> {
    let ram = [("main memory", machine.ram.total), ("main memory", machine.ram.available)];
    let gpus =
        machine.gpus.iter().flat_map(|gpu| [gpu.total, gpu.free, gpu.overhead].map(|size| (&*gpu.id, size)));
    match gpus.chain(ram).find(|(_, size)| *size > ABSURD) {
        Some((place, size)) => {
            refuse(format!("{} of {place} is more than any machine has", ByteSize(size)), SIZES)
        }
        None => Ok(()),
    }
}

/// Refuses a machine that was described by hand and cannot be.
pub fn check_described(machine: &Hardware) -> Result<(), Refusal> {
    check(machine)?;
    if machine.ram.total == 0 {
        return refuse("the machine has no main memory: `ram` says a total of 0".to_owned(), SIZES);
    }
    if machine.gpus.len() > MOST_DEVICES {
        return refuse(too_many(machine.gpus.len()), "describe those that are to be used");
    }
    let sizes = machine.gpus.iter().map(|gpu| (gpu.id.as_str(), gpu.free, gpu.total));
    let ram = ("main memory", machine.ram.available, machine.ram.total);
    if let Some((place, free, total)) = sizes.chain([ram]).find(|(_, free, total)| free > total) {
        let (free, total) = (ByteSize(free), ByteSize(total));
        return refuse(format!("{free} of {place} cannot be free: it has {total}"), SIZES);
    }
    let mut ids = BTreeSet::new();
    for gpu in &machine.gpus {
        if gpu.id.is_empty() || gpu.id == NONE || gpu.id.contains(|c: char| c == ',' || c.is_whitespace()) {
            return refuse(format!("`{}` cannot be the id of a device", gpu.id), "such as CUDA0");
        }
        if gpu.total == 0 {
            return refuse(format!("{} has no memory: `total` is 0", gpu.id), SIZES);
        }
        if !ids.insert(&gpu.id) {
            return refuse(format!("two devices are called {}", gpu.id), "give each an id of its own");
        }
    }
    Ok(())
}

const SIZES: &str = "sizes of a machine are bytes: see modelctl hardware --json";

fn refuse(why: String, hint: &str) -> Result<(), Refusal> {
    Err(Refusal { why, hint: Some(hint.to_owned()) })
}

fn too_many(devices: usize) -> String {
    format!("{devices} devices are more than llama.cpp takes: {MOST_DEVICES} at most")
}

/// `--device none`.
pub(super) const NONE: &str = "none";

/// The devices that were named, in that order; None where the choice is ours.
pub(super) fn named<'a>(machine: &'a Hardware, knobs: &Knobs) -> Result<Option<Vec<&'a Gpu>>, Refusal> {
    let named = knobs.device.as_deref().unwrap_or(&[]);
    let devices = match named {
        [] if knobs.tensor_split.is_some() => Some(machine.gpus.iter().collect()),
        [] => None,
        [none] if none == NONE => Some(Vec::new()),
        ids => {
            let is_again = |(at, id): &(usize, &String)| ids.iter().take(*at).any(|other| other == *id);
            if let Some((_, id)) = ids.iter().enumerate().find(is_again) {
                let hint = Some("give each device once".to_owned());
                return Err(Refusal { why: format!("--device names {id} twice"), hint });
            }
            Some(ids.iter().map(|id| find(machine, id)).collect::<Result<Vec<_>, _>>()?)
        }
    };
    if let Some(devices) = &devices {
        check_split(devices, knobs)?;
    }
    Ok(devices)
}

fn find<'a>(machine: &'a Hardware, id: &str) -> Result<&'a Gpu, Refusal> {
    let known: Vec<&str> = machine.gpus.iter().map(|gpu| gpu.id.as_str()).collect();
    let hint = if known.is_empty() {
        "the engine sees no device here: modelctl hardware".to_owned()
    } else {
        format!("there are: {} none", known.join(" "))
    };
    let found = machine.gpu(id);
    let why = || match id.is_empty() {
        true => "--device has an empty name".to_owned(),
        false => format!("no device is called {id}"),
    };
    found.ok_or_else(|| Refusal { why: why(), hint: Some(hint) })
}

fn check_split(devices: &[&Gpu], knobs: &Knobs) -> Result<(), Refusal> {
    if devices.len() > MOST_DEVICES {
        return refuse(too_many(devices.len()), "name those to use with --device");
    }
    let parts = knobs.tensor_split.as_ref().map_or(0, Vec::len);
    if parts > devices.len() {
        let there = match devices.len() {
            0 => "there is no device".to_owned(),
            1 => "there is one device".to_owned(),
            several => format!("there are {several} devices"),
        };
        return refuse(
            format!("--tensor-split has {parts} parts, and {there}"),
            "give one part for each device, in the order of --device",
        );
    }
    Ok(())
}

/// The sets of devices worth a search, each with those of the one before: the fastest alone, then with slower ones. Cards of
/// one speed come together. `left` are all others, and why.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    pub(super) sets: Vec<Vec<&'a Gpu>>,
    pub(super) left: Vec<(&'a Gpu, Left)>,
}

/// Why a device is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    SharesRam,
    OtherBackend,
    NoRoom,
    Beyond,
    Slower,
    SlowerUnneeded,
    Unneeded,
}

impl Left {
    /// As it is said of one device, or of several.
    pub(super) fn said(self, is_one: bool) -> String {
        let (is, has, belongs, memory) = match is_one {
            true => ("it is", "it has", "it belongs", "its memory is"),
            false => ("they are", "they have", "they belong", "their memory is"),
        };
        match self {
            Self::SharesRam => format!("{memory} the machine's own"),
            Self::OtherBackend => format!("{belongs} to another backend"),
            Self::NoRoom => format!("{has} no room"),
            Self::Beyond => "llama.cpp takes no more devices".to_owned(),
            Self::Slower => format!("{is} slower"),
            Self::SlowerUnneeded => format!("{is} slower, and not needed"),
            Self::Unneeded => format!("{is} not needed"),
        }
    }
}

pub(super) fn choose<'a>(machine: &'a Hardware, margin: u64) -> Choice<'a> {
    let mut choice = Choice::default();
    let mut usable: Vec<&Gpu> = machine.gpus.iter().filter(|gpu| gpu.total > 0).collect();
    let has_room = |gpu: &Gpu| gpu.free > gpu.overhead.saturating_add(margin).saturating_add(LITTLE);
    // The same card through Vulkan is slower than through its maker's own backend, and may seem a little larger.
    let rank =
        |gpu: &&Gpu| (!gpu.shares_ram, has_room(gpu), gpu.free >> 30, gpu.backend != "Vulkan", gpu.free);
    let Some(best) = usable.iter().rev().copied().max_by_key(rank) else { return choice };
    let mut leave = |usable: &mut Vec<&'a Gpu>, why: Left, is_left: &dyn Fn(&Gpu) -> bool| {
        choice.left.extend(usable.iter().filter(|gpu| is_left(gpu)).map(|gpu| (*gpu, why)));
        usable.retain(|gpu| !is_left(gpu));
    };
    let is_other = |gpu: &Gpu| gpu.id != best.id;
    leave(&mut usable, Left::SharesRam, &|gpu| gpu.shares_ram && is_other(gpu));
    // An engine may see one card twice, once through each of its backends.
    leave(&mut usable, Left::OtherBackend, &|gpu| gpu.backend != best.backend);
    leave(&mut usable, Left::NoRoom, &|gpu| !has_room(gpu) && is_other(gpu));
    if let Some(first) = best.shares_ram.then_some(best) {
        usable.retain(|gpu| gpu.id == first.id);
    }
    usable.sort_by_key(|gpu| std::cmp::Reverse(gpu.free));
    leave_beyond(&mut usable, &mut choice.left);
    choice.sets = sets(machine, usable);
    choice
}

/// A device with less room than this holds its own buffers and little else, bytes.
const LITTLE: u64 = 256 << 20;

fn leave_beyond<'a>(usable: &mut Vec<&'a Gpu>, left: &mut Vec<(&'a Gpu, Left)>) {
    let beyond = usable.split_off(usable.len().min(MOST_DEVICES));
    left.extend(beyond.into_iter().map(|gpu| (gpu, Left::Beyond)));
}

/// By speed, as far as all speeds are known.
fn sets<'a>(machine: &'a Hardware, usable: Vec<&'a Gpu>) -> Vec<Vec<&'a Gpu>> {
    let place = |gpu: &Gpu| machine.gpus.iter().position(|other| other.id == gpu.id);
    let mut known: Vec<(u64, &Gpu)> = Vec::new();
    for gpu in &usable {
        match bandwidth::of(gpu) {
            Some(speed) => known.push((speed, gpu)),
            None => {
                let mut all = usable;
                all.sort_by_key(|gpu| place(gpu));
                return vec![all];
            }
        }
    }
    known.sort_by_key(|(speed, gpu)| (std::cmp::Reverse(*speed), place(gpu)));
    let mut sets: Vec<Vec<&Gpu>> = Vec::new();
    let mut class: Option<u64> = None;
    for (speed, gpu) in known {
        let is_same = !bandwidth::differ(class, Some(speed)) && class.is_some();
        match sets.last_mut().filter(|_| is_same) {
            Some(set) => set.push(gpu),
            None => {
                let mut set = sets.last().cloned().unwrap_or_default();
                set.push(gpu);
                sets.push(set);
                class = Some(speed);
            }
        }
    }
    sets
}
