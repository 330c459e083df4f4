//! How a model fits a machine, in short: what the default goal finds, without its words. A list has one of each model.

use super::{Extras, Knobs, Refusal, Runs, ground::Answer, learned::ask_after};
use crate::{hardware::Hardware, memory::Shape, model::closed};
use serde::{Deserialize, Serialize};

closed!(
    /// Where a model would be computed.
    How {
        /// All of it on devices.
        Gpu = "gpu",
        /// Some layers, or the experts of some, in main memory.
        Partial = "partial",
        /// By the processor alone.
        Cpu = "cpu",
        /// It does not fit.
        No = "no",
    }
);

/// How a model fits now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    pub fits: bool,
    pub how: How,
    /// Tokens.
    pub ctx: u64,
    /// Layers on devices, and all; the output layer counts as one.
    pub gpu_layers: u64,
    pub layers: u64,
    /// Layers whose experts stay in main memory.
    #[serde(default)]
    pub n_cpu_moe: u64,
    /// Bytes that are missing on devices and in main memory; None where it fits.
    pub short: Option<u64>,
}

/// Finds how a model fits, as `plan_with` would with no wishes.
pub fn fit(shape: &Shape, machine: &Hardware, extras: Extras, runs: &Runs) -> Result<Fit, Refusal> {
    let question = (shape, machine, &Knobs::default(), extras);
    ask_after(question, &runs.believed(machine), |_, answer| of(shape, answer))
}

fn of(shape: &Shape, answer: &Answer<'_>) -> Fit {
    let (settings, missing) = (&answer.found.counted.settings, answer.found.counted.missing);
    let short = Some(missing.0.saturating_add(missing.1)).filter(|short| *short > 0);
    let layers = shape.layers + 1;
    let has_devices = !answer.site.room.places.is_empty();
    let gpu_layers = if has_devices { settings.gpu_layers.min(layers) } else { 0 };
    let n_cpu_moe = settings.n_cpu_moe;
    let how = match gpu_layers {
        _ if short.is_some() => How::No,
        0 => How::Cpu,
        _ if gpu_layers < layers || n_cpu_moe > 0 => How::Partial,
        _ => How::Gpu,
    };
    Fit { fits: short.is_none(), how, ctx: settings.ctx, gpu_layers, layers, n_cpu_moe, short }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{
        plan,
        tests::{facts, gpu, machine},
    };

    const GIB: u64 = 1 << 30;

    /// In the words of the list, and the same as the plan says at length.
    #[track_caller]
    fn check(experts: u64, machine: &Hardware) -> (&'static str, u64, u64, Option<u64>) {
        let shape = Shape::of(&facts(experts)).unwrap();
        let found = fit(&shape, machine, Extras::default(), &Runs::default()).unwrap();
        let planned = plan(&shape, machine, &Knobs::default(), Extras::default()).unwrap();
        assert_eq!(
            (found.fits, found.ctx, found.layers, found.n_cpu_moe),
            (planned.fits, planned.settings.ctx, planned.layers, planned.settings.n_cpu_moe)
        );
        let short = found.short.map(|short| short / GIB);
        (found.how.name(), found.ctx, found.gpu_layers, short)
    }

    #[test]
    fn a_model_of_eight_billion_parameters_fits_as_the_plan_says() {
        // 8.0e9 weights of 8.5 bits are 7.9 GiB; a token of context takes 128 KiB, 131,072 of them 16 GiB.
        assert_eq!(check(0, &machine(vec![gpu("CUDA0", 80)], 64)), ("gpu", 131_072, 33, None));
        let (how, ctx, layers, _) = check(0, &machine(vec![gpu("CUDA0", 6)], 64));
        assert!(how == "partial" && (16..20).contains(&(ctx / 1024)), "{how} {ctx}");
        assert!((1..33).contains(&layers), "{layers}");
        assert_eq!(check(0, &machine(Vec::new(), 64)), ("cpu", 131_072, 0, None));
        // Less than the weights, a gigabyte to spare and the engine itself.
        let (how, _, _, short) = check(0, &machine(Vec::new(), 4));
        assert_eq!(how, "no");
        assert!(short.is_some_and(|gib| (4..8).contains(&gib)), "{short:?}");
    }

    #[test]
    fn experts_in_main_memory_are_a_part() {
        let shape = Shape::of(&facts(8)).unwrap();
        let found =
            fit(&shape, &machine(vec![gpu("CUDA0", 24)], 96), Extras::default(), &Runs::default()).unwrap();
        assert!(found.how == How::Partial && found.gpu_layers == 33 && found.n_cpu_moe > 0, "{found:?}");
    }
}
