//! The account of a plan, line by line: what takes how much where, and how that is known.

use super::{
    DeviceUse, Extras, Measured, Planned,
    ground::{Answer, Ground},
    room::{Excess, MARGIN, Place},
};
use crate::{
    engines::HOST,
    hardware::CUDA_CONTEXT,
    memory::{Keep, MEASURED_BUILD, Part, Parts, sum},
};
use serde::{Deserialize, Serialize};

/// Bytes in one place, for one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// A device's id, or `host`.
    pub place: String,
    pub what: String,
    pub bytes: u64,
    /// Where the figure comes from, or what becomes of it, where that is not plain.
    #[serde(default)]
    pub note: Option<String>,
}

const COMPUTE: &str = "compute buffers";
const MORE: &str = "more, as it was measured";
const TOOK_MORE: &str = "a launch took so much more than was reckoned";
const PROJECTOR: &str = "projector";
const ADAPTERS: &str = "adapters";

/// The terms of one place as they are gathered.
struct Account {
    place: String,
    terms: Vec<Term>,
}

impl Account {
    fn add(&mut self, what: &str, bytes: u64, note: Option<&str>) {
        if bytes > 0 {
            let (place, what, note) = (self.place.clone(), what.to_owned(), note.map(str::to_owned));
            self.terms.push(Term { place, what, bytes, note });
        }
    }

    fn add_parts(&mut self, parts: &Parts) {
        for (part, bytes) in &parts.weights {
            let what = match part {
                Part::Embeddings => "weights: embeddings",
                Part::Attention => "weights: attention",
                Part::FeedForward => "weights: feed-forward",
                Part::Experts => "weights: experts",
                Part::Recurrent => "weights: recurrent layers",
                Part::Output => "weights: output",
                Part::Others => "weights: others",
            };
            self.add(what, *bytes, None);
        }
        for (keep, (layers, bytes)) in &parts.context {
            let s = if *layers == 1 { "" } else { "s" };
            let what = match keep {
                Keep::Full => format!("keys and values of {layers} layer{s}"),
                Keep::Windowed => format!("keys and values of {layers} layer{s} with a window"),
                Keep::State => format!("recurrent state of {layers} layer{s}"),
            };
            self.add(&what, *bytes, None);
        }
    }
}

/// `measured` is the run that a plan is told with.
pub(super) fn of(
    planned: &Planned,
    ground: &Ground<'_>,
    answer: &Answer<'_>,
    measured: Option<&Measured>,
) -> Vec<Term> {
    let (devices, host) = answer.site.estimate.parts(answer.found.settings());
    let taken = measured.filter(|run| run.same_settings);
    let charges = answer.found.counted.breakdown.devices.iter();
    let places = answer.site.room.places.iter().zip(charges).zip(&devices).zip(&planned.devices);
    let others = Extras { projector: 0, ..ground.known.extras };
    let extras = std::iter::once(ground.known.extras).chain(std::iter::repeat(others));
    let on_devices = places.zip(extras).flat_map(|((((place, charge), parts), device), extras)| {
        let more = if taken.is_some() { Excess::default() } else { place.more(charge) };
        on_device(place, (device, more), parts, extras, taken)
    });
    let mut terms: Vec<Term> = on_devices.collect();
    terms.extend(in_main_memory(planned, ground, &host, (taken, answer.site.room.host_excess)));
    terms
}

fn buffers() -> String {
    format!("as llama.cpp {MEASURED_BUILD} lays them out")
}

/// How a figure is known: from a run with the same settings, where there is one.
fn known(taken: Option<&Measured>, else_by: &str) -> String {
    taken.map_or_else(|| else_by.to_owned(), |run| format!("measured on {} with these settings", run.day()))
}

/// `more` is what of the figures was added as runs with like settings took it; `taken` is the run that took just what they say.
fn on_device(
    place: &Place<'_>,
    (device, more): (&DeviceUse, Excess),
    parts: &Parts,
    extras: Extras,
    taken: Option<&Measured>,
) -> Vec<Term> {
    let gpu = place.gpu;
    let mut account = Account { place: gpu.id.clone(), terms: Vec::new() };
    account.add_parts(parts);
    account.add(COMPUTE, device.compute.saturating_sub(more.compute), Some(&known(taken, &buffers())));
    account.add(
        "compute may turn out larger",
        device.slack,
        Some("how far the figure may be off: with this backend, this build, this architecture"),
    );
    let context = match gpu.overhead {
        CUDA_CONTEXT => "as measured on an H200 with driver 580.159.04",
        _ => "as measured on this card, or as the machine's description says",
    };
    let is_told = |run: &&Measured| run.place(&gpu.id).is_some_and(|place| place.taken.overhead.is_some());
    let context = known(taken.filter(is_told), context);
    let beside = sum([more.overhead, extras.projector, extras.adapters]);
    account.add("driver context", device.overhead.saturating_sub(beside), Some(&context));
    account.add(MORE, more.total(), Some(TOOK_MORE));
    account.add(PROJECTOR, extras.projector, Some("the size of its file; it is on the first device"));
    account.add(ADAPTERS, extras.adapters, Some("the size of their files, at the most"));
    let margin = if place.margin == MARGIN {
        "--fit-target of llama.cpp: libraries and prompts take of it"
    } else {
        "as asked"
    };
    account.add("kept free", place.margin, Some(margin));
    let others = gpu.total.saturating_sub(gpu.free);
    account.add("taken by others", others, Some("it was not free when the plan was made"));
    for (pid, bytes) in &gpu.processes {
        account.add(&format!("of that by process {pid}"), *bytes, None);
    }
    account.terms
}

fn in_main_memory(
    planned: &Planned,
    ground: &Ground<'_>,
    parts: &Parts,
    (taken, excess): (Option<&Measured>, u64),
) -> Vec<Term> {
    let host = &planned.host;
    let mut account = Account { place: HOST.to_owned(), terms: Vec::new() };
    account.add_parts(parts);
    let more = if taken.is_some() { 0 } else { excess };
    account.add(COMPUTE, host.compute.saturating_sub(more), Some(&known(taken, &buffers())));
    account.add(MORE, more, Some(TOOK_MORE));
    let Extras { projector, adapters, .. } =
        if planned.devices.is_empty() { ground.known.extras } else { Extras::default() };
    let beside = projector.saturating_add(adapters);
    let process = "150 MiB and the vocabulary, measured with llama-server 0.7.0";
    account.add("the engine itself", host.overhead.saturating_sub(beside), Some(process));
    account.add(PROJECTOR, projector, Some("the size of its file"));
    account.add(ADAPTERS, adapters, Some("the size of their files"));
    account.add("prompt cache", host.cache_ram, Some("--cache-ram: it grows up to this"));
    account.add("checkpoints", host.checkpoints, Some("--ctx-checkpoints: they grow up to this"));
    account.add("kept free", host.margin, Some("for everything else that runs"));
    if planned.devices.is_empty() {
        let repacked = "counted above: the processor's own copies, which stay in memory";
        account.add("of the weights, repacked", parts.repacked, Some(repacked));
    }
    let mapped = "not counted: the kernel takes its pages back where memory is short";
    account.add("page cache of the file", ground.shape.size(), Some(mapped));
    account.terms
}
