//! What a machine has to run models on. Values only: how they are found out is the daemon's business.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    #[serde(default)]
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
