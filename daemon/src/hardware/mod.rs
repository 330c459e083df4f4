//! One look at what this machine has to run models on: what the drivers tell, whatever lies in their files.
//! `MODELD_SYSROOT` stands in for `/proc` and `/sys` as far as it has them; NVML is always the machine's own.

mod amd;
mod cpu;
mod fdinfo;
mod files;
mod host;
mod intel;
mod kfd;
mod memory;
mod nvidia;
mod nvml;
mod pci;
pub(crate) mod slept;
#[cfg(test)]
mod tests;

use crate::process;
use domain::hardware::{Card, CardState, Gpu, Hardware, Host, Ram};
use fdinfo::Holders;
use jiff::Timestamp;
use kfd::Kfd;
use pci::Drm;
use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// One look.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) at: Timestamp,
    pub(crate) hardware: Hardware,
    /// Cards of which not all is known.
    pub(crate) cards: Vec<Card>,
    pub(crate) host: Host,
    /// What could not be read, and what limits.
    pub(crate) notes: Vec<String>,
    /// The names of processes that hold memory of a card, as far as they still run.
    pub(crate) holders: BTreeMap<u32, String>,
    /// A card sleeps, and to list devices would wake it.
    pub(crate) is_asleep: bool,
    /// The processor's time that it took.
    pub(crate) cost: Duration,
    pub(crate) wish: Wish,
    nvidia: nvidia::Look,
}

/// What a look is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// Who holds memory is looked for, which takes a look at every process.
    pub(crate) with_holders: bool,
    pub(crate) keep: Keep,
    /// No card is kept awake by being asked.
    pub(crate) is_gentle: bool,
}

/// Whether a driver's library is kept for the next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    No,
    AsItIs,
    Yes,
}

impl Wish {
    /// Somebody asks, once.
    pub(crate) const ASKED: Self = Self { with_holders: true, keep: Keep::AsItIs, is_gentle: false };

    /// A plan is made, for which only sizes count.
    pub(crate) const PLANNED: Self = Self { with_holders: false, ..Self::ASKED };
}

/// What the look at one maker's cards needs of the rest.
struct Machine<'a> {
    sysroot: &'a Path,
    /// The tree with `sys`.
    base: &'a Path,
    ram: Ram,
    holders: Holders,
    kfd: Kfd,
    wish: Wish,
}

impl Machine<'_> {
    /// What every driver tells of a card whose memory it does not tell.
    fn untold(&self, card: &Drm, name: String) -> Card {
        Card {
            id: Some(card.id.clone()),
            name,
            pci: card.pci.clone(),
            driver: card.driver.clone(),
            state: if card.is_asleep { CardState::Asleep } else { CardState::Untold },
            processes: self.holders.of(card.pci.as_deref(), false),
            ..Card::default()
        }
    }
}

/// Cards of one maker.
#[derive(Debug, Default)]
struct Found {
    gpus: Vec<Gpu>,
    cards: Vec<Card>,
    notes: Vec<String>,
    is_asleep: bool,
}

/// Looks; blocking, for tens of milliseconds where there is an NVIDIA driver. `before` is the last look.
pub(crate) fn snapshot(sysroot: &Path, before: Option<&Snapshot>, wish: Wish) -> Snapshot {
    let began = cpu_time();
    let (ram, limit) = memory::read(sysroot);
    let base = base(sysroot, "sys");
    let cards = pci::cards(&base);
    // Cards of a tree are held by processes of that tree.
    let processes = base.join("proc");
    let has_tables = cards.iter().any(|card| matches!(card.vendor, pci::AMD | pci::INTEL));
    let tables = if wish.with_holders && has_tables { Holders::read(&processes) } else { Holders::default() };
    let machine = Machine { sysroot, base: &base, ram, holders: tables, kfd: Kfd::read(&base), wish };
    let nvidia = nvidia::look(&cards, &machine, before.map(|before| &before.nvidia));
    tell_new(&nvidia, before);
    let mut found = amd::look(&cards, &machine);
    found.extend(intel::look(&cards, &machine));
    let mut notes: Vec<String> = limit.iter().map(|limit| limit.note.clone()).collect();
    notes.extend(nvidia.notes.iter().chain(&found.notes).cloned());
    let mut holders = names(Path::new("/proc"), nvidia.gpus.iter().map(|gpu| &gpu.processes));
    let held = found.gpus.iter().map(|gpu| &gpu.processes);
    holders.extend(names(&processes, held.chain(found.cards.iter().map(|card| &card.processes))));
    let host = host::read(sysroot, limit.map(|limit| limit.by));
    let is_asleep = nvidia.is_asleep || found.is_asleep;
    let cpu = before.map_or_else(|| cpu::read(sysroot), |before| before.hardware.cpu.clone());
    let gpus = nvidia.gpus.iter().cloned().chain(found.gpus).collect();
    let cards = nvidia.cards.iter().cloned().chain(found.cards).collect();
    let hardware = Hardware { gpus, ram, cpu };
    let cost = cpu_time().saturating_sub(began);
    let at = Timestamp::now();
    Snapshot { at, hardware, cards, host, notes, holders, is_asleep, cost, wish, nvidia }
}

impl Found {
    fn extend(&mut self, other: Self) {
        self.gpus.extend(other.gpus);
        self.cards.extend(other.cards);
        self.notes.extend(other.notes);
        self.is_asleep |= other.is_asleep;
    }
}

/// Logs each condition once, not each time that it is seen. To sleep is none.
fn tell_new(nvidia: &nvidia::Look, before: Option<&Snapshot>) {
    let told: &[String] = before.map_or(&[], |before| &before.notes);
    let sleeps = |note: &&String| {
        nvidia.cards.iter().any(|card| card.state == CardState::Asleep && card.why == **note)
    };
    for note in nvidia.notes.iter().filter(|note| !told.contains(note) && !sleeps(note)) {
        tracing::warn!(note, "a card could not be read");
    }
}

/// What the processes are called that hold something.
fn names<'a>(proc: &Path, held: impl Iterator<Item = &'a BTreeMap<u32, u64>>) -> BTreeMap<u32, String> {
    held.flat_map(BTreeMap::keys).filter_map(|pid| Some((*pid, process::name_in(proc, *pid)?))).collect()
}

/// What this thread has taken of the processor so far.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// Total and available memory.
pub(crate) fn ram(sysroot: &Path) -> Ram {
    memory::read(sysroot).0
}

/// The version of the kernel's NVIDIA driver, as it says itself; changes what an engine sees.
pub(crate) fn nvidia_driver(sysroot: &Path) -> Option<String> {
    let path = "proc/driver/nvidia/version";
    let text = files::text(&base(sysroot, path).join(path))?;
    Some(text.lines().next()?.trim().to_owned())
}

/// The tree that stands in for `/` where it has what is looked for, else `/`.
pub(crate) fn base(sysroot: &Path, path: &str) -> PathBuf {
    if sysroot.join(path).exists() { sysroot.to_owned() } else { PathBuf::from("/") }
}

/// What the drivers of AMD and Intel tell in a tree, for the tests of each.
#[cfg(test)]
fn look_at(base: &Path, ram: Ram, with_holders: bool) -> Found {
    let wish = Wish { with_holders, ..Wish::ASKED };
    let holders = Holders::read(&base.join("proc"));
    let machine = Machine { sysroot: base, base, ram, holders, kfd: Kfd::read(base), wish };
    let cards = pci::cards(base);
    let mut found = amd::look(&cards, &machine);
    found.extend(intel::look(&cards, &machine));
    found
}
