//! The memory that there is, and what of it is missing for settings that were counted.

use super::{DeviceUse, HostUse, Knobs, bandwidth, ground::Known};
use crate::{
    engines::HOST,
    hardware::{Gpu, Hardware, Ram},
    memory::{Breakdown, Charge, sum},
};

/// `--fit-target` of llama.cpp: bytes of a device that stay free.
pub const MARGIN: u64 = 1024 << 20;

/// Main memory that stays free beside what is available, bytes, at most; and at most this part of all of it.
const HOST_MARGIN: u64 = 1 << 30;
const HOST_MARGIN_PART: u64 = 16;

/// A llama-server process beside its buffers: 150 MiB without a device, measured with version 0.7.0; its vocabulary
/// tables take up to 100 MiB more.
const PROCESS: u64 = 256 << 20;

/// More than is reckoned, bytes, as it was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Excess {
    pub(super) compute: u64,
    pub(super) overhead: u64,
}

impl Excess {
    pub(super) fn most(self, other: Self) -> Self {
        Self { compute: self.compute.max(other.compute), overhead: self.overhead.max(other.overhead) }
    }

    pub(super) fn total(self) -> u64 {
        self.compute.saturating_add(self.overhead)
    }
}

/// One device of a plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) gpu: &'a Gpu,
    /// Bytes besides buffers: the driver's context, adapters, and a projector on the first device.
    pub(super) overhead: u64,
    pub(super) margin: u64,
    /// Bytes a second; None where it is not known.
    pub(super) bandwidth: Option<u64>,
    excess: Excess,
}

impl Place<'_> {
    /// Bytes that buffers may take.
    pub(super) fn room(&self) -> u64 {
        let beside = sum([self.overhead, self.excess.overhead, self.margin]);
        self.gpu.free.saturating_sub(beside)
    }

    /// What is planned beyond what was reckoned: more than the slack was.
    pub(super) fn more(&self, charge: &Charge) -> Excess {
        Excess { compute: self.excess.compute.saturating_sub(charge.slack), ..self.excess }
    }

    /// Bytes that compute buffers may take.
    pub(super) fn buffers(&self, charge: &Charge) -> u64 {
        charge.compute.saturating_add(charge.slack.max(self.excess.compute))
    }

    fn used(&self, charge: &Charge) -> u64 {
        sum([charge.total(), self.overhead, self.more(charge).total()])
    }

    /// With what buffers may take more.
    pub(super) fn taken(&self, charge: &Charge) -> u64 {
        self.used(charge).saturating_add(charge.slack)
    }

    /// Bytes that are not there.
    pub(super) fn missing(&self, charge: &Charge) -> u64 {
        self.taken(charge).saturating_add(self.margin).saturating_sub(self.gpu.free)
    }

    pub(super) fn device_use(&self, charge: &Charge, layers: u64) -> DeviceUse {
        let Self { gpu, overhead, margin, .. } = self;
        let (used, more) = (self.used(charge), self.more(charge));
        DeviceUse {
            id: gpu.id.clone(),
            name: gpu.name.clone(),
            backend: gpu.backend.clone(),
            total: gpu.total,
            free: gpu.free,
            weights: charge.weights,
            context: charge.context,
            compute: charge.compute.saturating_add(more.compute),
            overhead: overhead.saturating_add(more.overhead),
            margin: *margin,
            used,
            left: DeviceUse::left(gpu.free, used, *margin),
            shares_ram: gpu.shares_ram,
            slack: charge.slack,
            layers,
        }
    }
}

/// The memory that a plan may use; devices in the order in which the engine is told of them.
#[derive(Debug)]
pub(super) struct Room<'a> {
    pub(super) places: Vec<Place<'a>>,
    pub(super) ram: Ram,
    pub(super) host_margin: u64,
    /// Bytes in main memory besides buffers.
    pub(super) host_overhead: u64,
    /// Bytes of compute buffers there beyond what is reckoned.
    pub(super) host_excess: u64,
}

impl<'a> Room<'a> {
    pub(super) fn of(devices: &[&'a Gpu], machine: &Hardware, knobs: &Knobs, known: Known<'_>) -> Self {
        let Known { extras, excess, .. } = known;
        // llama-server gives its projector to the first device of its list (common/arg.cpp).
        let projectors = std::iter::once(extras.projector).chain(std::iter::repeat(0));
        let place = |(gpu, projector): (&&'a Gpu, u64)| Place {
            gpu,
            overhead: sum([gpu.overhead, projector, extras.adapters]),
            margin: knobs.margin.unwrap_or(MARGIN),
            bandwidth: bandwidth::of(gpu),
            excess: excess.get(&gpu.id).copied().unwrap_or_default(),
        };
        let beside = if devices.is_empty() { sum([extras.projector, extras.adapters]) } else { 0 };
        let ram = machine.ram;
        Self {
            places: devices.iter().zip(projectors).map(place).collect(),
            ram,
            host_margin: HOST_MARGIN.min(ram.total / HOST_MARGIN_PART),
            host_overhead: PROCESS.saturating_add(beside),
            host_excess: excess.get(HOST).map_or(0, |excess| excess.compute),
        }
    }

    /// What is taken of main memory with its margin, bytes.
    pub(super) fn taken(&self, breakdown: &Breakdown) -> u64 {
        let shared = self.places.iter().zip(&breakdown.devices).filter(|(place, _)| place.gpu.shares_ram);
        let shared = sum(shared.map(|(place, charge)| place.taken(charge)));
        sum([breakdown.host.total(), self.host_excess, self.host_overhead, self.host_margin, shared])
    }

    /// What is missing, bytes: on all devices, in main memory.
    pub(super) fn missing(&self, breakdown: &Breakdown) -> (u64, u64) {
        let on_devices =
            self.places.iter().zip(&breakdown.devices).map(|(place, charge)| place.missing(charge));
        (sum(on_devices), self.taken(breakdown).saturating_sub(self.ram.available))
    }

    pub(super) fn host_use(&self, breakdown: &Breakdown) -> HostUse {
        HostUse {
            weights: breakdown.host.weights,
            context: breakdown.host.context,
            compute: breakdown.host.compute.saturating_add(self.host_excess),
            available: self.ram.available,
            overhead: self.host_overhead,
            margin: self.host_margin,
            ..HostUse::default()
        }
    }

    /// Whether some devices are known to be faster than others.
    pub(super) fn is_uneven(&self) -> bool {
        self.places.windows(2).any(|pair| match pair {
            [one, other] => bandwidth::differ(one.bandwidth, other.bandwidth),
            _ => false,
        })
    }
}
