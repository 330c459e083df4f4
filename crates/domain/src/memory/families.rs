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
    /// Layers have both attention and recurrent state.
    pub(super) is_parallel_hybrid: bool,
    /// The matrix that turns embeddings into logits is the embedding's own where the file has no other.
    pub(super) ties_output: bool,
    /// `token_embd_norm` belongs to the output, not to the first layer.
    pub(super) embeds_norm_last: bool,
    /// Its compute buffers were met to a few MiB only.
    pub(super) is_met_roughly: bool,
}

const OTHERS: Family = Family {
    names: &[],
    swa_period: None,
    swa_window: None,
    is_parallel_hybrid: false,
    ties_output: true,
    embeds_norm_last: false,
    is_met_roughly: false,
};

static FAMILIES: &[Family] = &[
    Family { names: &["gemma2", "gpt-oss"], swa_period: Some(2), ..OTHERS },
    Family { names: &["gemma3"], swa_period: Some(6), ..OTHERS },
    Family { names: &["cohere2"], swa_period: Some(4), ..OTHERS },
    Family { names: &["llama4"], swa_period: Some(4), swa_window: Some(8192), ..OTHERS },
    Family { names: &["lfm2"], embeds_norm_last: true, ..OTHERS },
    Family { names: &["falcon-h1"], is_parallel_hybrid: true, ..OTHERS },
    Family { names: &["bert", "nomic-bert"], ties_output: false, ..OTHERS },
    Family { names: &["t5"], is_met_roughly: true, ..OTHERS },
];

impl Family {
    pub(super) fn of(architecture: &str) -> &'static Self {
        FAMILIES.iter().find(|family| family.names.contains(&architecture)).unwrap_or(&OTHERS)
    }
}
