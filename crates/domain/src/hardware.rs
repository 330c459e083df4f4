//! What a machine has to run models on. Values only: how they are found out is the daemon's business.

mod see;

pub use see::{Listing, Seen, see};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use std::collections::BTreeMap;

/// What a CUDA process takes of a card before it stores anything, where it could not be measured on the card itself: what
/// it takes of an H200 with driver 580.159.04, of which the process holds 518 MiB. It grows with the number of
/// multiprocessors, and no card at home has many more.
pub const CUDA_CONTEXT: u64 = 527 << 20;

/// Free memory moves all the time; less than this is no news.
const NEWS: u64 = 256 << 20;

/// A machine, as `hardware --json` prints it and `--hardware FILE` gives it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hardware {
    #[serde(default)]
    pub gpus: Vec<Gpu>,
    pub ram: Ram,
    #[serde(default)]
    pub cpu: Cpu,
}

/// Something besides the processor that holds layers and computes on them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// What the engine calls it: `CUDA0`, `Vulkan0`.
    pub id: String,
    pub name: String,
    /// `CUDA`, `ROCm`, `Vulkan`, `SYCL`, …
    pub backend: String,
    /// Bytes.
    pub total: u64,
    /// Bytes that may be taken now.
    pub free: u64,
    /// Bytes that an engine's driver context will take of `free`: 0 where `free` was read with one in place, as
    /// `--list-devices` does; more where NVML or sysfs tell it, which see no context yet.
    #[serde(default)]
    pub overhead: u64,
    /// Its memory is the machine's own: what it takes is taken from `ram` as well.
    #[serde(default)]
    pub shares_ram: bool,
    /// `GPU-…`, as the driver names it over all its interfaces.
    #[serde(default)]
    pub uuid: Option<String>,
    /// PCI address, `0000:01:00.0`.
    #[serde(default)]
    pub pci: Option<String>,
    /// Version of the kernel's driver.
    #[serde(default)]
    pub driver: Option<String>,
    /// Who holds its memory: bytes by process id.
    #[serde(default, deserialize_with = "numbered")]
    pub processes: BTreeMap<u32, u64>,
    /// The generation that compilers build for: `gfx1100`.
    #[serde(default)]
    pub target: Option<String>,
    /// What `total` is made of, where that is more than one kind of memory: a processor's graphics of AMD.
    #[serde(default)]
    pub pools: Vec<Pool>,
}

/// A kind of memory that a device allocates from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// `vram`: its own, also where firmware has cut it out of the machine's; `gtt`: pages of main memory.
    pub name: String,
    /// Bytes.
    pub total: u64,
    pub used: u64,
}

/// A card of which not all is known that a plan needs, and why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// What the kernel calls it, `card1`.
    #[serde(default)]
    pub id: Option<String>,
    pub name: String,
    /// What computes on it, as in `Gpu`.
    pub backend: String,
    #[serde(default)]
    pub pci: Option<String>,
    #[serde(default)]
    pub driver: Option<String>,
    pub state: CardState,
    /// Bytes, where the kernel tells.
    #[serde(default)]
    pub total: Option<u64>,
    /// Bytes that it has at least: so much of it the processor sees.
    #[serde(default)]
    pub at_least: Option<u64>,
    /// Who holds its memory: bytes by process id.
    #[serde(default, deserialize_with = "numbered")]
    pub processes: BTreeMap<u32, u64>,
    /// Why its memory is not known, and what to do about it.
    pub why: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CardState {
    /// Its power is off until somebody uses it; it was left so.
    Asleep,
    /// It does not answer any more.
    Lost,
    /// No driver tells how much of its memory is free.
    #[default]
    Untold,
}

/// What else bears on what runs well here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Memory by NUMA node, where there are several.
    #[serde(default)]
    pub numa: Vec<Node>,
    /// How much of the last 10 s some process has waited for memory, percent.
    #[serde(default)]
    pub pressure: Option<f64>,
    /// It is a Linux inside Windows.
    #[serde(default)]
    pub wsl: bool,
    /// The control group whose limit `ram` is.
    #[serde(default)]
    pub limited_by: Option<String>,
}

/// A part of main memory with the processors that are near to it, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub node: u64,
    pub total: u64,
    pub free: u64,
}

/// Main memory, bytes; `total` and `available` are what this process may use, limits of its cgroup included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ram {
    pub total: u64,
    pub available: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Physical cores.
    #[serde(default)]
    pub cores: Option<u64>,
    #[serde(default)]
    pub threads: Option<u64>,
    #[serde(default)]
    pub name: Option<String>,
    /// What engines have faster code for: `avx2`, `avx512_vnni`, `amx_int8`, `neon`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// Reads keys that are numbers as the strings that JSON makes of them: within a flattened struct nothing else does.
fn numbered<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u32, u64>, D::Error> {
    let told = BTreeMap::<String, u64>::deserialize(from)?;
    let number = |(key, bytes): (String, u64)| Ok((key.parse().map_err(D::Error::custom)?, bytes));
    told.into_iter().map(number).collect()
}

impl Gpu {
    /// What everybody calls it: an engine's own names change with the variables that place it, the driver's do not.
    pub fn known_as(&self) -> &str {
        self.uuid.as_deref().or(self.pci.as_deref()).unwrap_or(&self.id)
    }
}

impl Hardware {
    /// The device that an engine calls so.
    pub fn gpu(&self, id: &str) -> Option<&Gpu> {
        self.gpus.iter().find(|gpu| gpu.id == id)
    }

    /// The device that everybody calls so.
    pub fn known(&self, device: &str) -> Option<&Gpu> {
        self.gpus.iter().find(|gpu| gpu.known_as() == device)
    }

    /// Whether who watches should be told: a device came or went, or memory moved by more than 256 MiB.
    pub fn differs_enough(&self, before: &Self) -> bool {
        differ((&self.gpus, self.ram), (&before.gpus, before.ram))
    }
}

/// The same of devices and main memory alone.
pub fn differ((gpus, ram): (&[Gpu], Ram), (gpus_before, ram_before): (&[Gpu], Ram)) -> bool {
    let has_moved = |now: u64, then: u64| now.abs_diff(then) > NEWS;
    devices(gpus).ne(devices(gpus_before))
        || has_moved(ram.available, ram_before.available)
        || ram.total != ram_before.total
        || gpus.iter().zip(gpus_before).any(|(now, then)| has_moved(now.free, then.free))
}

fn devices(gpus: &[Gpu]) -> impl Iterator<Item = (&str, Option<&str>, u64)> {
    gpus.iter().map(|gpu| (gpu.id.as_str(), gpu.pci.as_deref(), gpu.total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hardware(free: &[u64], available: u64) -> Hardware {
        let gpu = |(n, free): (usize, &u64)| Gpu {
            id: format!("CUDA{n}"),
            total: 24 << 30,
            free: *free,
            ..Gpu::default()
        };
        let ram = Ram { total: 64 << 30, available };
        Hardware { gpus: free.iter().enumerate().map(gpu).collect(), ram, cpu: Cpu::default() }
    }

    #[test]
    fn only_what_matters_to_a_launch_is_news() {
        let before = hardware(&[8 << 30], 32 << 30);
        for (now, is_news) in [
            (hardware(&[8 << 30], 32 << 30), false),
            (hardware(&[(8 << 30) - (256 << 20)], 32 << 30), false),
            (hardware(&[(8 << 30) - (257 << 20)], 32 << 30), true),
            (hardware(&[8 << 30], (32 << 30) + (300 << 20)), true),
            (hardware(&[], 32 << 30), true),
            (hardware(&[8 << 30, 8 << 30], 32 << 30), true),
        ] {
            assert_eq!(now.differs_enough(&before), is_news, "{now:?}");
        }
    }
}
