//! NVIDIA's driver library: loaded when it is needed, let go when it is not. Says what it says of each card, and judges
//! nothing.

use super::Machine;
use domain::hardware::{CUDA_CONTEXT, Gpu};
use nvml_wrapper::{Device, Nvml, bitmasks::InitFlags, enums::device::UsedGpuMemory, error::NvmlError};
use std::{collections::BTreeMap, ffi::OsStr, path::Path};

/// Where it is on machines whose linker does not know of it: in Windows' Linux, and on NixOS.
const PLACES: [&str; 2] = ["/usr/lib/wsl/lib/libnvidia-ml.so.1", "/run/opengl-driver/lib/libnvidia-ml.so.1"];

/// Which cards are asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'a> {
    /// All; to open the library for them wakes those that sleep.
    All,
    /// These alone, by their addresses; all others are left as they are.
    These(&'a [String]),
}

/// What was said of one card, or of its parts where it is divided.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) address: Option<String>,
    pub(super) said: Result<Vec<Gpu>, NvmlError>,
}

pub(super) fn open(which: Which<'_>) -> Result<Nvml, NvmlError> {
    let flags = match which {
        Which::All => InitFlags::empty(),
        Which::These(_) => InitFlags::NO_ATTACH | InitFlags::NO_GPUS,
    };
    match Nvml::builder().flags(flags).init() {
        Err(NvmlError::LibloadingError(error)) => {
            let place = PLACES.iter().find(|place| Path::new(place).exists());
            let place = place.ok_or(NvmlError::LibloadingError(error))?;
            Nvml::builder().flags(flags).lib_path(OsStr::new(place)).init()
        }
        opened => opened,
    }
}

pub(super) fn read(nvml: &Nvml, which: Which<'_>, machine: &Machine<'_>) -> Result<Vec<Told>, NvmlError> {
    let driver = nvml.sys_driver_version().ok();
    let tell = |known: Option<&String>, device: Result<Device<'_>, NvmlError>| {
        let device = match device {
            Ok(device) => device,
            Err(error) => return Told { address: known.cloned(), said: Err(error) },
        };
        let own = || device.pci_info().ok().and_then(|pci| address(&pci.bus_id));
        let address = known.cloned().or_else(own);
        let said = parts(&device, machine).map(|gpus| {
            let whole = |gpu| Gpu { driver: driver.clone(), pci: address.clone(), ..gpu };
            gpus.into_iter().map(whole).collect()
        });
        Told { address, said }
    };
    Ok(match which {
        Which::All => {
            (0..nvml.device_count()?).map(|index| tell(None, nvml.device_by_index(index))).collect()
        }
        Which::These(addresses) => addresses
            .iter()
            .map(|address| tell(Some(address), nvml.device_by_pci_bus_id(address.clone())))
            .collect(),
    })
}

/// The card, or the parts into which it is divided (MIG): programs are given one of those.
fn parts(device: &Device<'_>, machine: &Machine<'_>) -> Result<Vec<Gpu>, NvmlError> {
    let is_divided = device.mig_mode().is_ok_and(|mode| mode.current == 1);
    let count = if is_divided { device.mig_device_count().unwrap_or(0) } else { 0 };
    let part = |index| device.mig_device_by_index(index).and_then(|part| card(&part, machine)).ok();
    let parts: Vec<Gpu> = (0..count).filter_map(part).collect();
    if parts.is_empty() { Ok(vec![card(device, machine)?]) } else { Ok(parts) }
}

/// What an old driver does not tell is left out; without its memory a card is no use.
fn card(device: &Device<'_>, machine: &Machine<'_>) -> Result<Gpu, NvmlError> {
    let (total, free, shares_ram) = match device.memory_info() {
        Ok(memory) => (memory.total, memory.free, false),
        // Boards whose processor and card have one memory tell none of the card's: GB10, Orin, Thor.
        Err(NvmlError::NotSupported) => (machine.ram.total, machine.ram.available, true),
        Err(error) => return Err(error),
    };
    Ok(Gpu {
        name: device.name().unwrap_or_default(),
        backend: "CUDA".into(),
        total,
        free,
        overhead: CUDA_CONTEXT,
        shares_ram,
        uuid: device.uuid().ok(),
        processes: processes(device),
        ..Gpu::default()
    })
}

/// A process that draws and computes is told twice, with the same figure.
fn processes(device: &Device<'_>) -> BTreeMap<u32, u64> {
    let computing = device.running_compute_processes().unwrap_or_default();
    let drawing = device.running_graphics_processes().unwrap_or_default();
    let held = |used: UsedGpuMemory| match used {
        UsedGpuMemory::Used(bytes) => Some(bytes),
        UsedGpuMemory::Unavailable => None,
    };
    let told = drawing.into_iter().chain(computing);
    told.filter_map(|process| Some((process.pid, held(process.used_gpu_memory)?))).collect()
}

/// `00000000:01:00.0` as sysfs writes it, `0000:01:00.0`.
fn address(bus_id: &str) -> Option<String> {
    let (domain, rest) = bus_id.trim().split_once(':')?;
    let domain = u32::from_str_radix(domain, 16).ok()?;
    Some(format!("{domain:04x}:{}", rest.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_sysfs_does() {
        for (bus_id, expected) in [
            ("00000000:01:00.0", Some("0000:01:00.0")),
            ("00000000:C1:00.0", Some("0000:c1:00.0")),
            ("00010000:01:00.0", Some("10000:01:00.0")),
            ("0000:01:00.0", Some("0000:01:00.0")),
            ("", None),
            ("x:1", None),
        ] {
            assert_eq!(address(bus_id).as_deref(), expected, "{bus_id}");
        }
    }
}
