//! NVIDIA's cards: which of them may be asked without waking any, and what stands for those that do not answer.

use super::{
    Keep, Machine,
    nvml::{self, Told, Which},
    pci::{self, Drm},
};
use domain::hardware::{Card, CardState, Gpu};
use nvml_wrapper::{Nvml, error::NvmlError};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A card that may sleep and that nobody holds is left alone for so long: the driver needs some 10 s without a question
/// until it lets it sleep.
const QUIET: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    pub(super) gpus: Vec<Gpu>,
    pub(super) cards: Vec<Card>,
    /// What a person should know of cards that could not be read.
    pub(super) notes: Vec<String>,
    /// A card sleeps and was left asleep.
    pub(super) is_asleep: bool,
    pub(super) state: State,
}

/// What one look leaves to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// The library, while it is kept.
    nvml: Option<Arc<Nvml>>,
    /// When it was asked last.
    asked: Option<Instant>,
    /// The cards that sysfs has listed then.
    listed: Vec<pci::Nvidia>,
}

/// Looks; `before` is the last look.
pub(super) fn look(cards: &[Drm], machine: &Machine<'_>, before: Option<&Look>) -> Look {
    let listed = pci::nvidia(machine.base, cards);
    let same = before.filter(|before| before.state.listed == listed);
    if let Some(same) = same.filter(|same| is_left_alone(&listed, machine, same)) {
        return same.clone();
    }
    let (asleep, awake): (Vec<&pci::Nvidia>, Vec<&pci::Nvidia>) =
        listed.iter().partition(|card| card.is_asleep);
    let mut look = Look { is_asleep: !asleep.is_empty(), ..Look::default() };
    look.cards.extend(asleep.iter().map(|card| sleeping(card)));
    look.notes.extend(look.cards.iter().map(|card| card.why.clone()));
    let is_one_awake = !awake.is_empty() || listed.is_empty();
    if is_one_awake {
        let addresses: Vec<String> = awake.iter().map(|card| card.address.clone()).collect();
        let which = if asleep.is_empty() { Which::All } else { Which::These(&addresses) };
        match ask(which, &addresses, machine, same) {
            Ok((nvml, told)) => {
                take(&mut look, told, &awake, before);
                look.state.nvml = nvml.filter(|_| is_kept(machine, same, &look, &listed));
            }
            Err(error) => give_up(&mut look, &error, &awake),
        }
        look.state.asked = Some(Instant::now());
    }
    number(&mut look);
    look.state.listed = listed;
    look
}

/// Whether to ask again would keep a card awake that nobody uses.
fn is_left_alone(listed: &[pci::Nvidia], machine: &Machine<'_>, before: &Look) -> bool {
    let is_recent = before.state.asked.is_some_and(|asked| asked.elapsed() < QUIET);
    let is_unused = before.gpus.iter().all(|gpu| gpu.processes.is_empty());
    machine.wish.is_gentle && is_recent && is_unused && listed.iter().any(|card| card.may_sleep)
}

fn is_kept(machine: &Machine<'_>, before: Option<&Look>, now: &Look, listed: &[pci::Nvidia]) -> bool {
    // What a kept library has open does not sleep; nor does a card that is in use. A library does not tell of a card that
    // is new: where sysfs does not either, it is opened each time.
    let is_used = now.gpus.iter().any(|gpu| !gpu.processes.is_empty());
    let may_keep = is_used || listed.iter().all(|card| !card.may_sleep);
    !listed.is_empty()
        && now.cards.is_empty()
        && may_keep
        && match machine.wish.keep {
            Keep::Yes => true,
            Keep::AsItIs => before.is_some_and(|before| before.state.nvml.is_some()),
            Keep::No => false,
        }
}

type Asked = (Option<Arc<Nvml>>, Vec<Told>);

/// Asks, through the library that is kept where it still works.
fn ask(
    which: Which<'_>,
    addresses: &[String],
    machine: &Machine<'_>,
    before: Option<&Look>,
) -> Result<Asked, NvmlError> {
    if let (Which::All, Some(kept)) = (which, before.and_then(|before| before.state.nvml.as_ref()))
        && let Ok(told) = nvml::read(kept, which, machine)
        && told.iter().all(|told| told.said.is_ok())
        && told.iter().flat_map(|told| &told.said).flatten().count() >= before.map_or(0, |b| b.gpus.len())
    {
        return Ok((Some(Arc::clone(kept)), told));
    }
    let opened = nvml::open(which).and_then(|nvml| Ok((nvml::read(&nvml, which, machine)?, nvml)));
    match opened {
        Ok((told, nvml)) => Ok((Some(Arc::new(nvml)), told)),
        // One card that is gone may keep the library from opening for all.
        Err(error) if is_lost(&error) && !addresses.is_empty() => {
            let which = Which::These(addresses);
            let nvml = nvml::open(which)?;
            Ok((None, nvml::read(&nvml, which, machine)?))
        }
        Err(error) => Err(error),
    }
}

/// Sorts what was said into cards that can be used and others.
fn take(look: &mut Look, told: Vec<Told>, awake: &[&pci::Nvidia], before: Option<&Look>) {
    let known: Vec<String> = told.iter().filter_map(|told| told.address.clone()).collect();
    let is_driven = |card: &&&pci::Nvidia| card.driver.as_deref().is_none_or(|driver| driver == "nvidia");
    // A card that has left the bus may not even tell its address: it is the one that is missing.
    let mut missing = awake.iter().filter(is_driven).filter(|card| !known.contains(&card.address));
    for Told { address, said } in told {
        let error = match said {
            Ok(gpus) => {
                look.gpus.extend(gpus);
                continue;
            }
            Err(error) => error,
        };
        let address = address.or_else(|| missing.next().map(|card| card.address.clone()));
        let driver = awake.iter().find(|card| Some(&card.address) == address.as_ref());
        let driver = driver.and_then(|card| card.driver.as_deref());
        if matches!(error, NvmlError::NotFound) && driver.is_some_and(|driver| driver != "nvidia") {
            continue; // it was given to another system
        }
        let card = unanswered(address, &error, before);
        look.notes.push(card.why.clone());
        look.cards.push(card);
    }
}

fn is_lost(error: &NvmlError) -> bool {
    matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired | NvmlError::IrqIssue | NvmlError::Unknown)
}

fn sleeping(card: &pci::Nvidia) -> Card {
    let why = format!("the NVIDIA card {} sleeps and was not woken: its memory is not known", card.address);
    unasked(card, CardState::Asleep, why)
}

/// One of which only sysfs tells.
fn unasked(card: &pci::Nvidia, state: CardState, why: String) -> Card {
    let model = card.model.as_ref();
    Card {
        name: model.map_or_else(|| "NVIDIA graphics".into(), |model| format!("NVIDIA graphics {model}")),
        backend: "CUDA".into(),
        pci: Some(card.address.clone()),
        driver: card.driver.clone(),
        state,
        why,
        ..Card::default()
    }
}

fn unanswered(address: Option<String>, error: &NvmlError, before: Option<&Look>) -> Card {
    let known = before.and_then(|before| {
        let gpu = before.gpus.iter().find(|gpu| gpu.pci.is_some() && gpu.pci == address);
        let name = gpu.map(|gpu| gpu.name.clone());
        let card = before.cards.iter().find(|card| card.pci.is_some() && card.pci == address);
        name.or_else(|| card.map(|card| card.name.clone()))
    });
    let name = known.unwrap_or_else(|| "NVIDIA graphics".into());
    let called = address.as_ref().map_or_else(|| name.clone(), |address| format!("{name} ({address})"));
    let why = if matches!(error, NvmlError::ResetRequired) {
        let which = address.as_ref().map(|address| format!(" -i {address}")).unwrap_or_default();
        format!(
            "{called} must be reset before it works again: sudo nvidia-smi --gpu-reset{which}, or restart the machine"
        )
    } else if is_lost(error) {
        format!(
            "{called} is lost: {error}. Restart the machine; sudo dmesg | grep Xid tells why it went, and a card that \
             goes again has bad power, heat or contact"
        )
    } else {
        format!("{called} could not be read: {error}")
    };
    let state = if is_lost(error) { CardState::Lost } else { CardState::Untold };
    Card { name, backend: "CUDA".into(), pci: address, state, why, ..Card::default() }
}

/// No card can be asked.
fn give_up(look: &mut Look, error: &NvmlError, awake: &[&pci::Nvidia]) {
    let why = trouble(error, !awake.is_empty());
    look.notes.extend(why.clone());
    let Some(why) = why else { return };
    look.cards.extend(awake.iter().map(|card| {
        let why = match card.driver.as_deref() {
            Some("nouveau") => {
                "it is in the hands of nouveau: CUDA needs NVIDIA's own driver, Vulkan does without"
            }
            Some("vfio-pci") => "it is set aside for virtual machines",
            _ => &why,
        };
        unasked(card, CardState::Untold, why.to_owned())
    }));
}

/// A machine without NVIDIA's driver is nothing to speak of; a card without one is.
fn trouble(error: &NvmlError, has_card: bool) -> Option<String> {
    let is_absent = matches!(error, NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded);
    if is_absent && !has_card {
        return None;
    }
    Some(if matches!(error, NvmlError::LibloadingError(_)) {
        "there is an NVIDIA card, but no libnvidia-ml.so.1: NVIDIA's driver is not installed".into()
    } else if matches!(error, NvmlError::DriverNotLoaded) {
        "there is an NVIDIA card, but NVIDIA's kernel driver is not loaded: see nvidia-smi".into()
    } else if matches!(error, NvmlError::LibRmVersionMismatch) {
        "NVIDIA's driver was updated under the running kernel module: restart the machine".into()
    } else {
        format!("NVIDIA's cards could not be read: {error}")
    })
}

/// `CUDA_DEVICE_ORDER=PCI_BUS_ID` goes into every launch: so CUDA counts, those that sleep or do not answer among them,
/// and a card that comes back is called as it was.
fn number(look: &mut Look) {
    look.gpus.sort_by(|one, other| one.pci.cmp(&other.pci)); // stable: parts stay in their order
    look.cards.sort_by(|one, other| one.pci.cmp(&other.pci));
    let is_counted = |card: &&Card| card.pci.is_some() && card.state != CardState::Untold;
    let others: Vec<Option<String>> =
        look.cards.iter().filter(is_counted).map(|card| card.pci.clone()).collect();
    for (number, gpu) in look.gpus.iter_mut().enumerate() {
        let before = others.iter().filter(|other| **other < gpu.pci).count();
        gpu.id = format!("CUDA{}", number + before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_card_that_is_there_makes_a_missing_driver_worth_a_word() {
        assert_eq!(trouble(&NvmlError::DriverNotLoaded, false), None);
        assert!(trouble(&NvmlError::DriverNotLoaded, true).unwrap().contains("not loaded"));
        assert!(trouble(&NvmlError::LibRmVersionMismatch, true).unwrap().contains("restart"));
    }

    #[test]
    fn cards_that_sleep_or_are_lost_are_counted_as_cuda_does() {
        let at = |bus: u8| Some(format!("0000:0{bus}:00.0"));
        let card = |bus: u8, state| Card { pci: at(bus), state, ..Card::default() };
        let mut look = Look {
            gpus: [9, 4].map(|bus| Gpu { pci: at(bus), ..Gpu::default() }).into(),
            cards: vec![card(6, CardState::Asleep), card(1, CardState::Lost), card(2, CardState::Untold)],
            ..Look::default()
        };
        number(&mut look);
        let ids: Vec<_> = look.gpus.iter().map(|gpu| &*gpu.id).collect();
        assert_eq!(ids, ["CUDA1", "CUDA3"]);
    }

    #[test]
    fn a_lost_card_is_called_as_it_was_with_what_to_do() {
        let pci = Some("0000:01:00.0".to_owned());
        let gpu = Gpu { name: "NVIDIA RTX 3090".into(), pci: pci.clone(), ..Gpu::default() };
        let before = Look { gpus: vec![gpu], ..Look::default() };
        let lost = unanswered(pci.clone(), &NvmlError::GpuLost, Some(&before));
        assert_eq!((lost.state, &*lost.name), (CardState::Lost, "NVIDIA RTX 3090"));
        assert!(lost.why.contains("Restart the machine"), "{}", lost.why);
        let reset = unanswered(pci, &NvmlError::ResetRequired, None);
        assert!(reset.why.contains("nvidia-smi --gpu-reset -i 0000:01:00.0"), "{}", reset.why);
        assert_eq!(unanswered(None, &NvmlError::NoPermission, None).state, CardState::Untold);
    }
}
