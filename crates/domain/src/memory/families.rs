//! What is particular to an architecture and stands in no key of its files.
//! Sources: llama.cpp src/llama-model.cpp (`load_arch_hparams`) and src/models/*, checked against measurements.

/// Of one architecture, or of all that are not listed.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a table of properties, not of states")]
pub(super) struct Family {
    names: &'static [&'static str],
    /// Every so many layers one has no sliding window; None where the model's own keys say it or there is none.
    pub(super) swa_period: Option<u64>,
    /// A window that is in the code, not in the file.
    pub(super) swa_window: Option<u64>,
    pub(super) activations: Activations,
    /// Layers have both attention and recurrent state.
    pub(super) is_parallel_hybrid: bool,
    /// The matrix that turns embeddings into logits is the embedding's own where the file has no other.
    pub(super) ties_output: bool,
    /// `token_embd_norm` belongs to the output, not to the first layer.
    pub(super) embeds_norm_last: bool,
    /// Two expert matrices on their way to the device may be alive at once.
    pub(super) copies_two_experts: bool,
    /// F16 copies of a quantized cache find no room among the activations.
    pub(super) unpacks_beside: bool,
    pub(super) known: Known,
}

/// What is alive at once in the largest phase of a layer that is not its attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activations {
    /// Gate, up and their product, two embeddings, the queries.
    Gated,
    /// Gate and up are one matrix.
    FusedGate,
    /// As `Gated`, and as many parts in a hundred more.
    GatedAnd(u64),
    /// Mamba: six times the inner width.
    Scan,
    /// RWKV 7: eighteen embeddings.
    TimeMix,
    /// T5: a bias for each head and pair of positions.
    RelativeBias,
}

/// How well the compute buffers of an architecture are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// A full offload is met to the last few bytes.
    Exactly,
    Measured,
    Never,
}

const OTHERS: Family = Family {
    names: &[],
    swa_period: None,
    swa_window: None,
    activations: Activations::GatedAnd(15),
    is_parallel_hybrid: false,
    ties_output: true,
    embeds_norm_last: false,
    copies_two_experts: true,
    unpacks_beside: true,
    known: Known::Never,
};

/// Those that were measured.
const MEASURED: Family = Family {
    activations: Activations::Gated,
    copies_two_experts: false,
    unpacks_beside: false,
    known: Known::Measured,
    ..OTHERS
};

/// Those whose full offload is met to the last few bytes.
const EXACT: Family = Family { known: Known::Exactly, ..MEASURED };

static FAMILIES: &[Family] = &[
    Family { names: &["llama", "qwen2", "qwen3", "olmoe", "command-r"], ..EXACT },
    Family { names: &["qwen3moe"], unpacks_beside: true, ..EXACT },
    Family { names: &["gemma2", "gpt-oss"], swa_period: Some(2), ..EXACT },
    Family { names: &["gemma3"], swa_period: Some(6), ..EXACT },
    Family { names: &["qwen2vl"], known: Known::Never, ..EXACT },
    Family { names: &["cohere2"], swa_period: Some(4), known: Known::Never, ..EXACT },
    Family { names: &["phi3"], activations: Activations::FusedGate, ..EXACT },
    Family {
        names: &["llama4"],
        swa_period: Some(4),
        swa_window: Some(8192),
        activations: Activations::GatedAnd(13),
        copies_two_experts: true,
        ..MEASURED
    },
    Family { names: &["glm4moe"], activations: Activations::GatedAnd(21), ..MEASURED },
    Family { names: &["deepseek2"], ..MEASURED },
    Family {
        names: &["qwen3next"],
        activations: Activations::GatedAnd(26),
        copies_two_experts: true,
        ..MEASURED
    },
    Family { names: &["jamba"], copies_two_experts: true, ..MEASURED },
    Family { names: &["lfm2"], embeds_norm_last: true, ..MEASURED },
    Family { names: &["falcon-h1"], is_parallel_hybrid: true, ..OTHERS },
    Family { names: &["mamba"], activations: Activations::Scan, ..MEASURED },
    Family { names: &["mamba2"], activations: Activations::Scan, ..OTHERS },
    Family { names: &["rwkv7"], activations: Activations::TimeMix, ..MEASURED },
    Family { names: &["bert", "nomic-bert"], ties_output: false, ..MEASURED },
    Family { names: &["t5"], activations: Activations::RelativeBias, ..OTHERS },
];

#[cfg(test)]
pub(super) fn architectures() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|family| family.names).copied()
}

impl Family {
    pub(super) fn of(architecture: &str) -> &'static Self {
        FAMILIES.iter().find(|family| family.names.contains(&architecture)).unwrap_or(&OTHERS)
    }
}
