//! One name for an architecture, whichever format it comes in.

use std::{collections::BTreeMap, sync::LazyLock};

static BY_CLASS: LazyLock<BTreeMap<&str, &str>> = LazyLock::new(|| {
    let lines = include_str!("architectures.txt").lines().filter(|line| !line.starts_with('#'));
    let classes = lines
        .filter_map(|line| line.split_once(' '))
        .flat_map(|(name, classes)| classes.split(' ').map(move |class| (class, name)));
    classes.collect()
});

/// Returns what a GGUF calls an architecture; the name itself where that is not known.
pub fn common_architecture(name: &str) -> &str {
    BY_CLASS.get(name).copied().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_what_its_gguf_is() {
        for (name, expected) in [
            ("LlamaForCausalLM", "llama"),
            ("MistralForCausalLM", "llama"),
            ("Qwen2ForCausalLM", "qwen2"),
            ("Qwen3MoeForCausalLM", "qwen3moe"),
            ("BertModel", "bert"),
            ("T5EncoderModel", "t5encoder"),
            ("llama", "llama"),
            ("SomethingNewForCausalLM", "SomethingNewForCausalLM"),
        ] {
            assert_eq!(common_architecture(name), expected);
        }
        assert!(BY_CLASS.len() > 100, "{BY_CLASS:?}");
    }
}
