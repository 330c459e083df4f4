//! What this machine has to run models on, looked at when somebody asks and never by itself.
//! `MODELD_SYSROOT` stands in for `/proc` and `/sys` as far as it has them; NVML is always the machine's own.

mod cpu;
mod memory;
mod nvidia;
mod pci;

use crate::process;
use domain::hardware::Hardware;
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// One look.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) at: Timestamp,
    pub(crate) hardware: Hardware,
    /// What could not be read, and what limits.
    pub(crate) notes: Vec<String>,
    /// There are cards, and all of them sleep.
    pub(crate) is_asleep: bool,
}

/// Looks; blocking, for tens of milliseconds where there is an NVIDIA driver. `before` is the last look.
pub(crate) fn snapshot(sysroot: &Path, before: Option<&Snapshot>) -> Snapshot {
    let (ram, limit) = memory::read(sysroot);
    let nvidia = nvidia::look(sysroot);
    // Each condition once, not each time that it is seen. To sleep is none.
    let told: &[String] = before.map_or(&[], |before| &before.notes);
    for note in nvidia.notes.iter().filter(|note| !nvidia.is_asleep && !told.contains(note)) {
        tracing::warn!(note, "a card could not be read");
    }
    let mut gpus = nvidia.gpus;
    gpus.extend(pci::amd(sysroot));
    let hardware = Hardware { gpus, ram, cpu: cpu::read(sysroot) };
    let notes = limit.into_iter().chain(nvidia.notes).chain(pci::untold(sysroot)).collect();
    Snapshot { at: Timestamp::now(), hardware, notes, is_asleep: nvidia.is_asleep }
}

/// Total and available memory.
pub(crate) fn ram(sysroot: &Path) -> domain::hardware::Ram {
    memory::read(sysroot).0
}

/// The names of the processes that hold memory of a card, as far as they still run.
pub(crate) fn holders(hardware: &Hardware) -> BTreeMap<u32, String> {
    let pids = hardware.gpus.iter().flat_map(|gpu| gpu.processes.keys());
    pids.filter_map(|pid| Some((*pid, process::name(*pid)?))).collect()
}

/// The version of the kernel's NVIDIA driver, as it says itself; changes what an engine sees.
pub(crate) fn nvidia_driver(sysroot: &Path) -> Option<String> {
    let path = "proc/driver/nvidia/version";
    let text = fs::read_to_string(base(sysroot, path).join(path)).ok()?;
    Some(text.lines().next()?.trim().to_owned())
}

/// The tree that stands in for `/` where it has what is looked for, else `/`.
pub(crate) fn base(sysroot: &Path, path: &str) -> PathBuf {
    if sysroot.join(path).exists() { sysroot.to_owned() } else { PathBuf::from("/") }
}
