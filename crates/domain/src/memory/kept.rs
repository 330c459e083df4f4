//! What each layer keeps between batches (src/llama-model.cpp `create_memory`, llama-kv-cache-dsa.cpp, -msa.cpp).

use super::{
    families::{Family, Hybrid, Indexer},
    keys::{head_lengths, number, of_layer, windows},
};
use crate::facts::{Attention, Facts};

/// What a layer keeps between batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Elements of one token's keys and values; 0 where nothing is kept.
    pub(super) keys: u64,
    pub(super) values: u64,
    pub(super) is_windowed: bool,
    /// Whether there is a cache, if of no elements: a transposed one has rows of values as wide as the widest layer's.
    pub(super) is_cached: bool,
    /// How many tokens one row of a second, compressed cache stands for, 0 where there is none; None in models that
    /// compress nothing.
    pub(super) compression: Option<u64>,
    /// Elements of one token's keys and values in an index, of one row's where the cache is compressed.
    pub(super) index: (u64, u64),
    /// Elements of the recurrent state of one sequence.
    pub(super) recurrent: u64,
}

impl Kept {
    /// Whether it keeps anything; else it may read what another layer keeps.
    pub(super) fn is_own(&self) -> bool {
        self.is_cached || self.recurrent > 0
    }
}

/// Of a model.
pub(super) struct Layers<'a> {
    pub(super) facts: &'a Facts,
    pub(super) family: &'static Family,
    pub(super) window: Option<u64>,
    /// All, and those that do not only predict further tokens.
    pub(super) count: u64,
    pub(super) used: u64,
    /// Elements of the recurrent state of a layer that has one.
    pub(super) state: u64,
}

/// Tokens that one compressed row stands for, of each layer: there are keys only, and caches are each sequence's own.
const RATIOS: &str = "attention.compress_ratios";

/// `DSV4_CSA_RATIO` in src/llama-kv-cache-dsv4.cpp: such layers have an index; their state covers two rows, of two keys.
const INDEXED: u64 = 4;

/// `DSV4_HCA_RATIO`.
const PLAIN: u64 = 128;

impl Layers<'_> {
    /// Returns what each layer keeps, and the elements of the longest row of values, which may be one of a layer that keeps
    /// none.
    pub(super) fn kept(&self) -> (Vec<Kept>, u64) {
        let shared = number(self.facts, "attention.shared_kv_layers").unwrap_or(0);
        let cached = self.family.cached_layers.unwrap_or(self.count.saturating_sub(shared)).min(self.used);
        let compresses = self.facts.hyperparameters.contains_key(RATIOS);
        let (mut all, mut widest) = (Vec::new(), 0);
        for (layer, is_windowed) in (0..).zip(windows(self.facts, self.family, self.window, self.count)) {
            let (keys, values) = self.row(layer, is_windowed);
            let values = if compresses { 0 } else { values };
            widest = widest.max(values);
            let feeds = self.family.hybrid == Hybrid::FeedsApart
                && of_layer(self.facts, "feed_forward_length", layer).is_some_and(|length| length > 0);
            let is_recurrent = self.state > 0 && (keys == 0 || self.family.hybrid == Hybrid::Parallel);
            let mut kept = Kept { is_windowed, ..Kept::default() };
            if layer < cached && !feeds && (keys > 0 || !is_recurrent) {
                (kept.keys, kept.values, kept.is_cached) = (keys, values, true);
                kept.index = self.index(layer, is_windowed);
                self.compress(&mut kept, layer);
            }
            if layer < self.used && !feeds && is_recurrent {
                kept.recurrent = self.state;
            }
            all.push(kept);
        }
        (all, widest)
    }

    /// Elements of one token's keys and values.
    fn row(&self, layer: u64, is_windowed: bool) -> (u64, u64) {
        let heads = |attention: &Attention| {
            usize::try_from(layer).ok().and_then(|at| attention.kv_heads.get(at)).copied()
        };
        let attention =
            self.facts.attention.as_ref().and_then(|attention| Some((heads(attention)?, attention)));
        let Some((heads, attention)) = attention else { return (0, 0) };
        let (key, value) = head_lengths(self.facts, attention, is_windowed);
        (heads.saturating_mul(key), heads.saturating_mul(value))
    }

    /// Elements of one token in an index with one head, as of DeepSeek's sparse attention.
    fn index(&self, layer: u64, is_windowed: bool) -> (u64, u64) {
        let of_file = |key: &str| number(self.facts, key).unwrap_or(0);
        let key = of_file("attention.indexer.key_length");
        let ratio = of_layer(self.facts, RATIOS, layer);
        if ratio == Some(INDEXED) {
            return (key, 0);
        }
        if key == 0 || of_file("attention.indexer.top_k") == 0 || is_windowed || ratio.is_some() {
            return (0, 0);
        }
        let is_full = of_layer(self.facts, "attention.indexer.types", layer).map(|kind| kind > 0);
        let trained = self.facts.context_length.unwrap_or(0);
        let (has_index, value) = match self.family.indexer {
            Indexer::Shared { trained: least } if trained >= least => {
                (is_full.unwrap_or(layer < 2 || layer % 4 == 2), 0)
            }
            Indexer::Keys | Indexer::Shared { .. } => (is_full.unwrap_or(true), 0),
            Indexer::KeysAndValues => (
                layer >= of_file("leading_dense_block_count"),
                self.facts.attention.as_ref().map_or(0, |attention| attention.value_length),
            ),
        };
        // Pooled indices keep key, gate and pooled value (src/llama-memory-hybrid-idx.cpp).
        let rows = if of_file("attention.indexer.kpool") > 0 { 3 } else { 1 };
        if has_index { (key.saturating_mul(rows), value) } else { (0, 0) }
    }

    /// Adds a compressed cache, and the state of its compressor: key-value and score, of each token that is not in it yet.
    fn compress(&self, kept: &mut Kept, layer: u64) {
        let Some(ratio) = of_layer(self.facts, RATIOS, layer) else { return };
        let width = match ratio {
            INDEXED => kept.keys.saturating_add(kept.index.0).saturating_mul(4),
            PLAIN => kept.keys,
            _ => 0,
        };
        kept.compression = Some(if width > 0 { ratio } else { 0 });
        kept.recurrent = super::product([2, ratio, width]);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        facts::{Attention, Facts, TensorGroup},
        memory::{Estimate, FlashAttention, Settings, Shape},
    };
    use std::collections::BTreeMap;

    /// Four layers of one KV head of 16 + 16 elements; at 16384 tokens of F16 one keeps 1 MiB, in a window of 512
    /// computed 512 at once 64 KiB.
    fn model(architecture: &str, keys: &[(&str, &[i64])]) -> Facts {
        let keys: BTreeMap<_, _> =
            keys.iter().map(|(key, list)| ((*key).to_owned(), list.to_vec())).collect();
        let window = keys.get("attention.sliding_window").and_then(|list| list.first()).copied();
        let tensor = |name: &str| TensorGroup {
            name: name.into(),
            kind: "F16".into(),
            dims: vec![64, 8],
            size: 1024,
            layers: Vec::new(),
        };
        Facts {
            architecture: Some(architecture.to_owned()),
            block_count: Some(4),
            context_length: Some(16_384),
            embedding_length: Some(64),
            attention: Some(Attention {
                heads: vec![4; 4],
                kv_heads: vec![1; 4],
                key_length: 16,
                value_length: 16,
                sliding_window: window
                    .and_then(|window| u64::try_from(window).ok())
                    .filter(|window| *window > 0),
                kv_elements_per_token: 128,
            }),
            tensors: vec![tensor("token_embd.weight"), tensor("output.weight")],
            hyperparameters: keys,
            ..Facts::default()
        }
    }

    #[track_caller]
    fn check_facts(facts: &Facts, flash_attn: FlashAttention, kib: u64) {
        let shape = Shape::of(facts).unwrap();
        let settings = Settings { ctx: 16_384, flash_attn, ..Settings::default() };
        assert_eq!(Estimate::new(&shape, &[]).kept(&settings).host.context, kib << 10);
    }

    #[track_caller]
    fn check(architecture: &str, keys: &[(&str, &[i64])], kib: u64) {
        check_facts(&model(architecture, keys), FlashAttention::On, kib);
    }

    const WINDOW: (&str, &[i64]) = ("attention.sliding_window", &[512]);
    const PATTERN: &str = "attention.sliding_window_pattern";
    const SHARED: &str = "attention.shared_kv_layers";
    const KEY: (&str, &[i64]) = ("attention.indexer.key_length", &[16]);
    const TOP: (&str, &[i64]) = ("attention.indexer.top_k", &[8]);

    #[test]
    fn windows_are_the_files_or_the_architectures() {
        check("llama", &[WINDOW], 4096);
        check("olmo2", &[WINDOW], 3 * 64 + 1024);
        check("laguna", &[WINDOW, (PATTERN, &[2])], 2 * 64 + 2 * 1024);
        check("gemma2", &[], 2 * 288 + 2 * 1024);
        check("exaone4", &[WINDOW], 4096);
        check("mimo2", &[WINDOW, (PATTERN, &[1, 0, 1, 1])], 3 * 64 + 1024);
    }

    #[test]
    fn absurd_windows_are_what_llama_cpp_makes_of_them() {
        check("olmo2", &[("attention.sliding_window", &[0])], 4096);
        check("olmo2", &[("attention.sliding_window", &[-1])], 4096);
        check("olmo2", &[WINDOW, (PATTERN, &[0])], 4 * 64);
        check("olmo2", &[WINDOW, (PATTERN, &[-7])], 3 * 64 + 1024);
        check("olmo2", &[WINDOW, (PATTERN, &[i64::MAX])], 3 * 64 + 1024);
        check("olmo2", &[WINDOW, (PATTERN, &[1, 1])], 2 * 64 + 2 * 1024);
        check("olmo2", &[WINDOW, (PATTERN, &[1; 9])], 4 * 64);
        check("olmo2", &[WINDOW, (PATTERN, &[])], 3 * 64 + 1024);
    }

    #[test]
    fn layers_that_use_anothers_cache_have_none() {
        check("gemma4", &[(SHARED, &[1])], 3 * 1024);
        check("gemma4", &[(SHARED, &[5])], 0);
        check("gemma4", &[(SHARED, &[-1])], 4096);
        check("gemma4", &[("nextn_predict_layers", &[9])], 0);
    }

    #[test]
    fn an_index_is_one_more_cache_of_keys() {
        check("deepseek32", &[KEY], 4096);
        check("deepseek32", &[KEY, TOP], 4096 + 4 * 512);
        check("deepseek32", &[KEY, TOP, ("attention.indexer.types", &[0, 1])], 4096 + 3 * 512);
        check("glm5-next", &[KEY, TOP, ("attention.indexer.kpool", &[4])], 4096 + 4 * 1536);
        check("minimax-m3", &[KEY, TOP, ("leading_dense_block_count", &[3])], 4096 + 1024);
        check("minimax-m3", &[KEY, TOP, ("leading_dense_block_count", &[5])], 4096);
    }

    #[test]
    fn compressed_caches_are_beside_windows() {
        let check = |ratios: &[i64], kib| {
            check("deepseek4", &[WINDOW, KEY, ("attention.compress_ratios", ratios)], kib);
        };
        check(&[0, 0, 0, 0], 4 * 32);
        // Of 4096 rows of 16 elements, and as many in the index; state 2 x 8 x 2 x (16 + 16) F32.
        check(&[0, 4, 0, 0], 4 * 32 + 128 + 128 + 4);
        // Of 128 rows, padded to 256; state 2 x 128 x 16 F32.
        check(&[0, 0, 128, 0], 4 * 32 + 8 + 16);
        check(&[0, 7, -1, i64::MAX], 2 * 32 + 2 * 32);
    }

    #[test]
    fn transposed_values_are_as_wide_as_the_widest_layers() {
        let mut facts = model("deci", &[]);
        let set = |facts: &mut Facts, counts: &[u64]| {
            facts.attention.as_mut().unwrap().kv_heads = counts.to_vec();
        };
        set(&mut facts, &[2, 1, 1, 0]);
        check_facts(&facts, FlashAttention::On, 4 * 1024);
        check_facts(&facts, FlashAttention::Off, 2 * 1024 + 4 * 1024);
        set(&mut facts, &[2]);
        check_facts(&facts, FlashAttention::Off, 1024 + 4 * 1024);
        set(&mut facts, &[0, 0, 0, 0]);
        check_facts(&facts, FlashAttention::Off, 0);
    }
}
