//! What is particular to an architecture and stands in no key of its files.
//! Sources: llama.cpp src/models/*.cpp (`load_arch_hparams`, `load_arch_tensors`) and src/llama-model.cpp
//! (`create_memory`), checked against measurements.

/// Of one architecture, or of all that are not listed.
#[derive(Debug)]
pub(super) struct Family {
    names: &'static [&'static str],
    /// None where the model's own keys say which layers have a window, or none has.
    pub(super) swa_period: Option<Period>,
    pub(super) swa_window: Window,
    /// Only a model of so many layers has windows.
    pub(super) swa_layers: Option<u64>,
    /// So many layers keep keys and values, and the others use theirs, whatever `attention.shared_kv_layers` says.
    pub(super) cached_layers: Option<u64>,
    pub(super) hybrid: Hybrid,
    pub(super) indexer: Indexer,
    pub(super) tie: Tie,
    /// `token_embd_norm` belongs to the output, not to the first layer.
    pub(super) embeds_norm_last: bool,
    pub(super) met: Met,
    /// Rope factors are of layers without a window only.
    pub(super) ropes_full_only: bool,
    /// What layers that only predict further tokens have loaded.
    pub(super) predicting: &'static [&'static str],
    /// Tensors of layers that no device takes: it has no kernel for what is done with them.
    pub(super) on_host: &'static [&'static str],
}

/// Which of so many layers in a row has no window (`set_swa_pattern` in src/llama-hparams.cpp); of 0 layers, none of all.
#[derive(Debug, Clone, Copy)]
pub(super) enum Period {
    FullFirst(u64),
    FullLast(u64),
}

/// Tokens of a sliding window.
#[derive(Debug, Clone, Copy)]
pub(super) enum Window {
    /// As the file says.
    OfFile,
    /// Where the file says none.
    Default(u64),
    /// Where the file does not say 0.
    Fixed(u64),
}

/// How layers with attention and layers with recurrent state are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hybrid {
    /// Without attention: recurrent.
    Apart,
    /// All are both.
    Parallel,
    /// One with a feed-forward network is neither.
    FeedsApart,
}

/// Which layers choose tokens by an index, where there is one, and what is kept of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Indexer {
    /// Keys, where `attention.indexer.types` does not say otherwise.
    Keys,
    /// Keys; of a model that was trained with so much context, and has no `attention.indexer.types`, the first two layers
    /// and then every fourth.
    Shared { trained: u64 },
    /// Keys and values, after the leading dense layers.
    KeysAndValues,
}

/// How near to what was measured its compute buffers are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    ToTheByte,
    /// To a few MiB.
    Roughly,
    /// They are not understood: up to 1.5 times what is counted was taken.
    Badly,
}

/// What happens where embedding and output are one matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tie {
    /// It stays one, or there are no logits.
    Never,
    /// A device with the output layer has a copy.
    Copied,
    /// The copy is made first, and so there are two in main memory as well.
    Twice,
}

const OTHERS: Family = Family {
    names: &[],
    swa_period: None,
    swa_window: Window::OfFile,
    swa_layers: None,
    cached_layers: None,
    hybrid: Hybrid::Apart,
    indexer: Indexer::Keys,
    tie: Tie::Copied,
    embeds_norm_last: false,
    met: Met::ToTheByte,
    ropes_full_only: false,
    predicting: &[],
    on_host: &[],
};

/// `layer.ffn_exp_probs_b` is loaded without the flags of its layer in src/models/deepseek32.cpp and glm-dsa.cpp.
const UNFLAGGED: &[&str] = &["blk.*.exp_probs_b.bias"];

const LAST_OF_4: Option<Period> = Some(Period::FullLast(4));
const FIRST_OF_4: Option<Period> = Some(Period::FullFirst(4));

static FAMILIES: &[Family] = &[
    Family { names: &["t5"], met: Met::Roughly, ..OTHERS },
    Family {
        names: &["gemma2"],
        swa_period: Some(Period::FullLast(2)),
        swa_window: Window::Default(4096),
        ..OTHERS
    },
    Family { names: &["gpt-oss"], swa_period: Some(Period::FullLast(2)), ..OTHERS },
    Family { names: &["gemma3", "gemma-embedding"], swa_period: Some(Period::FullLast(6)), ..OTHERS },
    // gemma3n.cpp: `n_layer_kv_from_start = 20`; both create `output` before `tok_embd`.
    Family {
        names: &["gemma3n"],
        swa_period: Some(Period::FullLast(5)),
        cached_layers: Some(20),
        tie: Tie::Twice,
        ..OTHERS
    },
    Family { names: &["gemma4"], tie: Tie::Twice, ropes_full_only: true, ..OTHERS },
    Family {
        names: &["afmoe", "cohere2", "exaone-moe", "mellum", "muse-glimmer", "olmo2"],
        swa_period: LAST_OF_4,
        ..OTHERS
    },
    Family {
        names: &["exaone4"],
        swa_period: LAST_OF_4,
        swa_window: Window::Default(4096),
        swa_layers: Some(64),
        ..OTHERS
    },
    Family { names: &["cohere2moe", "laguna", "smallthinker"], swa_period: FIRST_OF_4, ..OTHERS },
    Family { names: &["plamo3"], swa_period: Some(Period::FullLast(8)), ..OTHERS },
    Family { names: &["llama4"], swa_period: LAST_OF_4, swa_window: Window::Fixed(8192), ..OTHERS },
    Family { names: &["deepseek4"], swa_period: Some(Period::FullLast(0)), ..OTHERS },
    // lfm2.cpp: every layer with attention has the window, where the file has one.
    Family { names: &["lfm2"], swa_period: Some(Period::FullLast(0)), embeds_norm_last: true, ..OTHERS },
    Family { names: &["lfm2moe"], embeds_norm_last: true, ..OTHERS },
    Family { names: &["falcon-h1"], hybrid: Hybrid::Parallel, ..OTHERS },
    Family { names: &["nemotron_h", "nemotron_h_moe"], hybrid: Hybrid::FeedsApart, ..OTHERS },
    // plamo2.cpp: `ssm_a` has one dimension, for which `select_weight_buft` finds no scan (ggml-cuda.cu).
    Family { names: &["plamo2"], on_host: &["blk.*.ssm_a"], met: Met::Badly, ..OTHERS },
    Family { names: &["bailingmoe3", "hy_v4", "kimi-k3", "mistral4"], met: Met::Badly, ..OTHERS },
    Family {
        names: &["dots3note", "dream", "llada", "llada-moe", "rnd1", "step35"],
        met: Met::Roughly,
        ..OTHERS
    },
    Family { names: &["deepseek32"], met: Met::Roughly, predicting: UNFLAGGED, ..OTHERS },
    Family {
        names: &["glm-dsa"],
        indexer: Indexer::Shared { trained: 1 << 20 },
        met: Met::Roughly,
        predicting: UNFLAGGED,
        ..OTHERS
    },
    Family { names: &["minimax-m3"], indexer: Indexer::KeysAndValues, ..OTHERS },
    // codeshell.cpp: the embedding is a copy of the output, and created before it.
    Family { names: &["codeshell"], tie: Tie::Twice, ..OTHERS },
    // None of these makes a copy: bitnet.cpp multiplies by `tok_embd`, the others make no logits.
    Family {
        names: &[
            "bert",
            "bitnet",
            "eurobert",
            "jina-bert-v2",
            "jina-bert-v3",
            "modern-bert",
            "neo-bert",
            "nomic-bert",
            "nomic-bert-moe",
        ],
        tie: Tie::Never,
        ..OTHERS
    },
];

impl Family {
    pub(super) fn of(architecture: &str) -> &'static Self {
        FAMILIES.iter().find(|family| family.names.contains(&architecture)).unwrap_or(&OTHERS)
    }
}
