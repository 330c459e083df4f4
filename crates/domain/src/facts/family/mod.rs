//! What a file of tensors is for and of which family, by the names and shapes of its tensors. Looks at no metadata and
//! at no file name: those are claims.

mod rules;

#[cfg(test)]
mod tests;

use super::{Adapter, adapter};
use crate::Kind;
use rules::{Rule, Section};
use std::collections::HashMap;

/// What the tensors tell. Ids are those of `families.txt`: lowercase, stable, and part of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recognised {
    pub(crate) kind: Kind,
    /// `sdxl`, `flux`; of an adapter or an add-on, the family that it goes with.
    pub(crate) family: Option<&'static str>,
    /// What it is more narrowly: `sdxl-inpaint`, `flux-dev`.
    pub(crate) variant: Option<&'static str>,
}

/// Prefixes of diffusion models: the one that most tensors have, else `model.`, else none.
const PREFIXES: &[&str] = &["model.diffusion_model.", "model.model.", "net."];
/// Where single-file checkpoints keep what else they have: VAE and text encoders.
const REST: &[&str] = &[
    "first_stage_model.",
    "vae.",
    "pretransform.",
    "cond_stage_model.",
    "conditioner.embedders.",
    "text_encoders.",
];
/// What training tools put around their tensors.
const WRAPPERS: &[&str] = &["params_ema.", "params.", "state_dict.", "model_state_dict.", "module."];
const VAE_PREFIXES: &[&str] = &["", "first_stage_model.", "vae."];

/// Names and shapes (slowest dimension first), for looking up.
pub(super) struct Tensors<'a> {
    list: Vec<(&'a str, &'a [u64])>,
    by_name: HashMap<&'a str, &'a [u64]>,
}

impl Recognised {
    /// The narrowest id.
    pub(crate) fn id(&self) -> Option<String> {
        self.variant.or(self.family).map(str::to_owned)
    }
}

impl<'a> Tensors<'a> {
    fn new(tensors: impl Iterator<Item = (&'a str, &'a [u64])>) -> Self {
        let unwrapped =
            |name: &'a str| WRAPPERS.iter().find_map(|start| name.strip_prefix(start)).unwrap_or(name);
        let list: Vec<_> = tensors.map(|(name, shape)| (unwrapped(name), shape)).collect();
        Self { by_name: list.iter().copied().collect(), list }
    }

    fn shape(&self, prefix: &str, name: &str) -> Option<&'a [u64]> {
        if prefix.is_empty() {
            return self.by_name.get(name).copied();
        }
        self.by_name.get(format!("{prefix}{name}").as_str()).copied()
    }

    /// Returns the tensors with a prefix, without it.
    fn behind(&self, prefix: &str) -> impl Iterator<Item = (&'a str, &'a [u64])> {
        self.list.iter().filter_map(move |(name, shape)| Some((name.strip_prefix(prefix)?, *shape)))
    }

    fn starts(&self, prefix: &str) -> bool {
        self.list.iter().any(|(name, _)| name.starts_with(prefix))
    }

    /// Returns the prefixes behind which a diffusion model may lie, the likeliest first.
    fn diffusion_prefixes(&self) -> impl Iterator<Item = &'static str> {
        let count = |prefix: &str| self.list.iter().filter(|(name, _)| name.starts_with(prefix)).count();
        // Of two with as many, the first: max_by_key takes the last.
        let counted = PREFIXES.iter().rev().map(|prefix| (*prefix, count(prefix)));
        let most = counted.max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0);
        most.map(|(prefix, _)| prefix).into_iter().chain(["model.", ""])
    }
}

/// Tells what tensors are; None where the rules do not say.
pub(crate) fn recognise(tensors: &[(&str, &[u64])]) -> Option<Recognised> {
    if tensors.is_empty() {
        return None;
    }
    let adapter = adapter::read(tensors);
    let tensors = Tensors::new(tensors.iter().copied());
    let find = |name: &str| try_section(rules::section(name)?, &tensors, &[""]);
    find("controlnet")
        .or_else(|| find("add-on"))
        .or_else(|| adapter.map(|adapter| recognise_adapter(&adapter)))
        .or_else(|| diffusion(&tensors))
        .or_else(|| rest().find_map(|section| try_section(section, &tensors, prefixes(section))))
}

/// Tells what tensors are for of which nothing but the names is known: no family, as shapes tell those apart.
pub(crate) fn kind_of<'a>(names: impl Iterator<Item = &'a str>) -> Option<Kind> {
    let tensors: Vec<(&str, &[u64])> = names.map(|name| (name, [].as_slice())).collect();
    recognise(&tensors).map(|recognised| recognised.kind)
}

/// Returns the family of an id: of a variant such as `flux-dev` it is `flux`.
pub fn base_family(id: &str) -> &str {
    let rules = || rules::sections().iter().flat_map(|section| &section.rules);
    let is_family = |id: &str| rules().any(|rule| rule.id == Some(id));
    let mut of = rules().filter(|rule| rule.variants.iter().any(|variant| variant.id == Some(id)));
    // Variants that only metadata tells apart are in no rule.
    let before_hyphen = || id.split_once('-').map(|(family, _)| family).filter(|family| is_family(family));
    of.find_map(|rule| rule.id).or_else(|| if is_family(id) { None } else { before_hyphen() }).unwrap_or(id)
}

/// Sections that need nothing but to be tried, in the order of the file.
fn rest() -> impl Iterator<Item = &'static Section> {
    const FIRST: &[&str] = &["controlnet", "add-on", "lora", "diffusion", "diffusers", "part-of-diffusion"];
    rules::sections().iter().filter(|section| !FIRST.contains(&section.name))
}

fn try_section(section: &'static Section, tensors: &Tensors<'_>, prefixes: &[&str]) -> Option<Recognised> {
    let (rule, variant) = prefixes.iter().find_map(|prefix| section.find(tensors, prefix))?;
    Some(recognised(section.kind, rule, variant))
}

fn recognised(kind: Kind, rule: &Rule, variant: Option<&Rule>) -> Recognised {
    let variant = variant.and_then(|variant| variant.id);
    match rule.id {
        Some(family) => Recognised { kind, family: Some(family), variant },
        None => Recognised { kind, family: variant, variant: None },
    }
}

/// Finds a diffusion model, alone or with all that it needs around it.
fn diffusion(tensors: &Tensors<'_>) -> Option<Recognised> {
    let section = rules::section("diffusion")?;
    let found = tensors.diffusion_prefixes().find_map(|prefix| section.find(tensors, prefix));
    let found = found
        .map(|(rule, variant)| recognised(section.kind, rule, variant))
        .or_else(|| try_section(rules::section("diffusers")?, tensors, &[""]))
        .or_else(|| try_section(rules::section("part-of-diffusion")?, tensors, &[""]))?;
    let is_whole = REST.iter().any(|prefix| tensors.starts(prefix));
    Some(if is_whole { Recognised { kind: Kind::Checkpoint, ..found } } else { found })
}

fn prefixes(section: &Section) -> &'static [&'static str] {
    if section.kind == Kind::Vae { VAE_PREFIXES } else { &[""] }
}

/// An adapter is of the family whose modules it changes, where their names and widths tell.
fn recognise_adapter(adapter: &Adapter) -> Recognised {
    let name = |name: &str| format!("_{}_", name.replace('.', "_"));
    let modules: Vec<(String, [u64; 2])> = adapter
        .modules
        .iter()
        .map(|module| (name(&module.name), [module.output.unwrap_or(0), module.input.unwrap_or(0)]))
        .collect();
    let tensors = Tensors::new(modules.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())));
    let found = rules::section("lora").and_then(|section| try_section(section, &tensors, &[""]));
    found.unwrap_or(Recognised { kind: Kind::Lora, family: None, variant: None })
}
