//! Width, layers and vocabulary of a language model from the names and shapes of its tensors.

/// Ends of the names of token embeddings: a row for each token, as wide as the model.
const EMBEDDINGS: &[&str] = &[
    "embed_tokens.weight",
    "wte.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "embed_in.weight",
    "token_embedding.weight",
    "shared.weight",
];
/// Ends of the names of norms that are as wide as the model, for embeddings that are packed.
const NORMS: &[&str] = &["model.norm.weight", "layers.0.input_layernorm.weight", "ln_f.weight"];
/// What comes before the number of a layer.
const LAYERS: &[&str] =
    &["model.layers.", "language_model.layers.", "transformer.h.", "gpt_neox.layers.", "text_model.layers."];
const MAX_WIDTH: u64 = 1 << 20;
const MAX_ROWS: u64 = 1 << 30;
const MAX_LAYERS: u64 = 4096;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Widths {
    pub(super) embedding_length: Option<u64>,
    pub(super) vocabulary: Option<u64>,
    pub(super) block_count: Option<u64>,
}

/// Reads widths; those of matrices in which `is_packed` are not believed.
pub(super) fn read<'a>(tensors: impl Iterator<Item = (&'a str, &'a [u64], bool)>) -> Widths {
    let mut widths = Widths::default();
    let mut norm = None;
    for (name, shape, is_packed) in tensors {
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        if let [rows, columns] = shape
            && widths.vocabulary.is_none()
            && ends(EMBEDDINGS)
        {
            widths.vocabulary = Some(*rows).filter(|rows| (1..=MAX_ROWS).contains(rows));
            widths.embedding_length = Some(*columns).filter(|width| !is_packed && is_width(*width));
        }
        if let [width] = shape
            && ends(NORMS)
        {
            norm = norm.or(Some(*width).filter(|width| is_width(*width)));
        }
        widths.block_count = widths.block_count.max(layer(name).map(|layer| layer + 1));
    }
    widths.embedding_length = widths.embedding_length.or(norm);
    widths
}

fn is_width(width: u64) -> bool {
    (1..=MAX_WIDTH).contains(&width)
}

fn layer(name: &str) -> Option<u64> {
    LAYERS.iter().find_map(|layers| {
        let (_, rest) = name.split_once(layers)?;
        rest.split('.').next()?.parse().ok().filter(|layer| *layer < MAX_LAYERS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tensors: &[(&str, &[u64], bool)], expected: [Option<u64>; 3]) {
        let found = read(tensors.iter().copied());
        assert_eq!([found.embedding_length, found.vocabulary, found.block_count], expected);
    }

    #[test]
    fn the_embedding_tells_width_and_vocabulary() {
        check(
            &[
                ("model.embed_tokens.weight", &[151_936, 1024], false),
                ("model.layers.0.self_attn.q_proj.weight", &[2048, 1024], false),
                ("model.layers.27.mlp.up_proj.weight", &[3072, 1024], false),
            ],
            [Some(1024), Some(151_936), Some(28)],
        );
        check(&[("transformer.wte.weight", &[50_257, 768], false)], [Some(768), Some(50_257), None]);
        check(
            &[
                ("model.language_model.layers.3.x", &[], false),
                ("model.language_model.norm.weight", &[8], false),
            ],
            [Some(8), None, Some(4)],
        );
    }

    #[test]
    fn of_packed_embeddings_a_norm_tells_the_width() {
        check(
            &[("model.embed_tokens.weight", &[32_000, 512], true), ("model.norm.weight", &[4096], false)],
            [Some(4096), Some(32_000), None],
        );
    }

    #[test]
    fn absurd_numbers_are_unknown() {
        check(
            &[("model.embed_tokens.weight", &[0, u64::MAX], false), ("model.layers.99999.x", &[], false)],
            [None, None, None],
        );
    }
}
