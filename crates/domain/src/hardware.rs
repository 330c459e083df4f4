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
}

/// Reads keys that are numbers as the strings that JSON makes of them: within a flattened struct nothing else does.
fn numbered<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u32, u64>, D::Error> {
    let told = BTreeMap::<String, u64>::deserialize(from)?;
    let number = |(key, bytes): (String, u64)| Ok((key.parse().map_err(D::Error::custom)?, bytes));
    told.into_iter().map(number).collect()
}

impl Hardware {
    /// Whether who watches should be told: a device came or went, or memory moved by more than 256 MiB.
    pub fn differs_enough(&self, before: &Self) -> bool {
        let devices = |hardware: &Self| -> Vec<(String, Option<String>, u64)> {
            hardware.gpus.iter().map(|gpu| (gpu.id.clone(), gpu.pci.clone(), gpu.total)).collect()
        };
        let has_moved = |now: u64, then: u64| now.abs_diff(then) > NEWS;
        devices(self) != devices(before)
            || has_moved(self.ram.available, before.ram.available)
            || self.ram.total != before.ram.total
            || self.gpus.iter().zip(&before.gpus).any(|(now, then)| has_moved(now.free, then.free))
    }
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
