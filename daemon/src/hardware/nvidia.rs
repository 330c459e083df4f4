//! NVIDIA's cards through NVML, which is loaded for one look and let go: it wakes sleeping cards, and holds memory.

use super::pci;
use domain::hardware::{CUDA_CONTEXT, Gpu};
use nvml_wrapper::{Device, Nvml, enums::device::UsedGpuMemory, error::NvmlError};
use std::{collections::BTreeMap, path::Path};

#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) gpus: Vec<Gpu>,
    /// What a person should know of cards that could not be read.
    pub(super) notes: Vec<String>,
    /// All cards sleep and were left asleep.
    pub(super) is_asleep: bool,
}

pub(super) fn look(sysroot: &Path) -> Look {
    let cards = pci::nvidia(sysroot);
    if !cards.is_empty() && cards.iter().all(|card| card.is_asleep) {
        let note = |card: &pci::Nvidia| {
            format!("the NVIDIA card {} sleeps and was not woken: its memory is not known", card.address)
        };
        return Look { notes: cards.iter().map(note).collect(), is_asleep: true, gpus: Vec::new() };
    }
    match Nvml::init().and_then(|nvml| read(&nvml)) {
        Ok(look) => look,
        Err(error) => Look { notes: trouble(&error, !cards.is_empty()), ..Look::default() },
    }
}

/// A machine without NVIDIA's driver is nothing to speak of; a card without one is.
fn trouble(error: &NvmlError, has_card: bool) -> Vec<String> {
    let is_absent = matches!(error, NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded);
    if is_absent && !has_card {
        return Vec::new();
    }
    let what = if matches!(error, NvmlError::LibloadingError(_)) {
        "there is an NVIDIA card, but no libnvidia-ml.so.1: NVIDIA's driver is not installed".into()
    } else if matches!(error, NvmlError::DriverNotLoaded) {
        "there is an NVIDIA card, but NVIDIA's kernel driver is not loaded: see nvidia-smi".into()
    } else if matches!(error, NvmlError::LibRmVersionMismatch) {
        "NVIDIA's driver was updated under the running kernel module: restart the machine".into()
    } else {
        format!("NVIDIA's cards could not be read: {error}")
    };
    vec![what]
}

fn read(nvml: &Nvml) -> Result<Look, NvmlError> {
    let driver = nvml.sys_driver_version().ok();
    let mut look = Look::default();
    for index in 0..nvml.device_count()? {
        match nvml.device_by_index(index).and_then(|device| card(&device)) {
            Ok(gpu) => look.gpus.push(Gpu { driver: driver.clone(), ..gpu }),
            Err(error) => look.notes.push(format!("NVIDIA card {index} could not be read: {error}")),
        }
    }
    // CUDA_DEVICE_ORDER=PCI_BUS_ID goes into every launch: this is how CUDA counts then.
    look.gpus.sort_by(|one, other| one.pci.cmp(&other.pci));
    for (number, gpu) in look.gpus.iter_mut().enumerate() {
        gpu.id = format!("CUDA{number}");
    }
    Ok(look)
}

/// What an old driver does not tell is left out; without its memory a card is no use.
fn card(device: &Device<'_>) -> Result<Gpu, NvmlError> {
    let memory = device.memory_info()?;
    Ok(Gpu {
        name: device.name().unwrap_or_default(),
        backend: "CUDA".into(),
        total: memory.total,
        free: memory.free,
        overhead: CUDA_CONTEXT,
        uuid: device.uuid().ok(),
        pci: device.pci_info().ok().and_then(|pci| address(&pci.bus_id)),
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

    #[test]
    fn only_a_card_that_is_there_makes_a_missing_driver_worth_a_word() {
        assert_eq!(trouble(&NvmlError::DriverNotLoaded, false), [""; 0]);
        assert!(trouble(&NvmlError::DriverNotLoaded, true)[0].contains("not loaded"));
        assert!(trouble(&NvmlError::LibRmVersionMismatch, true)[0].contains("restart"));
    }
}
