//! What the computation of one token reads, and where it lies. Knows no speed.

use super::{Charge, Estimate, Settings, weights};

/// Bytes that one token reads in one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Read {
    pub weights: u64,
    /// Keys and values of half a slot's context, and recurrent state.
    pub context: u64,
}

impl Read {
    pub fn total(self) -> u64 {
        self.weights.saturating_add(self.context)
    }
}

/// The same for every place; `devices` in the order of the estimate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    pub devices: Vec<Read>,
    pub host: Read,
}

impl Estimate<'_> {
    /// Of the experts those count that work on a token; of the embedding one row, which is nothing.
    pub fn reads(&self, settings: &Settings) -> Reads {
        let half = Settings {
            ctx: settings.ctx_per_slot() / 2,
            parallel: 1,
            kv_unified: false,
            ubatch: 1,
            ..*settings
        };
        let split = settings.split(self.shape, !self.devices.is_empty());
        let kept = self.kept(&half);
        let worked = weights::Worked::of(self.shape);
        let read = |(device, (sizes, charge)): (usize, (&weights::Sizes, &Charge))| Read {
            weights: worked.on_device(sizes, &split, device, settings.n_cpu_moe),
            context: charge.context,
        };
        Reads {
            devices: self.sizes.iter().zip(&kept.devices).enumerate().map(read).collect(),
            host: Read {
                weights: worked.elsewhere(&self.host, &split, settings.n_cpu_moe),
                context: kept.host.context,
            },
        }
    }
}
