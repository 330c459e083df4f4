//! What a plan tells besides its settings: what its model is not made for, its curve, and who holds what it lacks.

use super::refused;
use crate::engines::Engines;
use api::{ApiError, LaunchRequest};
use domain::{
    engines::Plan,
    facts::Facts,
    hardware::Hardware,
    memory::Shape,
    plan::{Curve, Extras, Knobs, Runs, Term, caution, curve},
};

/// What is planned for.
pub(super) struct Told<'a> {
    pub(super) request: &'a LaunchRequest,
    pub(super) knobs: &'a Knobs,
    pub(super) facts: Option<&'a Facts>,
    /// None where there is no plan.
    pub(super) shape: Option<&'a Shape>,
    pub(super) machine: &'a Hardware,
    pub(super) extras: Extras,
    pub(super) runs: &'a Runs,
}

impl Told<'_> {
    pub(super) fn add_to(&self, plan: &mut Plan, engines: &Engines) -> anyhow::Result<()> {
        plan.explain.extend(self.facts.and_then(caution));
        if self.request.curve {
            plan.curve = self.curve()?;
        }
        if self.request.terms && self.request.hardware.is_none() {
            self.add_holders(&mut plan.terms, engines)?;
        }
        Ok(())
    }

    fn curve(&self) -> Result<Option<Curve>, ApiError> {
        let Some(shape) = self.shape else { return Ok(None) };
        curve(shape, self.machine, self.knobs, self.extras, self.runs).map(Some).map_err(refused)
    }

    /// A plan looks at sizes alone: who holds them takes a look at every process.
    fn add_holders(&self, terms: &mut Vec<Term>, engines: &Engines) -> anyhow::Result<()> {
        let look = engines.machine()?;
        let is_told = |id: &str| terms.iter().any(|term| term.place == id);
        let mut held = Vec::new();
        for gpu in self.machine.gpus.iter().filter(|gpu| is_told(&gpu.id)) {
            let card = look.hardware.known(gpu.known_as());
            for (pid, bytes) in card.into_iter().flat_map(|card| &card.processes) {
                let name = look.holders.get(pid).map_or("process", String::as_str);
                let what = format!("of that by {name} (pid {pid})");
                held.push(Term { place: gpu.id.clone(), what, bytes: *bytes, note: None });
            }
        }
        terms.retain(|term| !term.what.starts_with("of that by "));
        terms.append(&mut held);
        Ok(())
    }
}
