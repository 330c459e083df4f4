//! Base or tuned, from what the file calls itself and from its chat template.

use super::{Tuning, keys::Keys, short};

const TUNED: &[&str] = &[
    "instruct",
    "instruction",
    "chat",
    "thinking",
    "think",
    "reasoning",
    "assistant",
    "sft",
    "dpo",
    "rlhf",
    "tuned",
];
const BASE: &[&str] = &["base", "pretrained", "pretrain"];

pub(super) fn read(keys: &Keys<'_>) -> Option<Tuning> {
    let finetune = keys.text("general.finetune").and_then(|text| {
        let is_instruct = match text.to_lowercase().as_str() {
            "it" => true,
            "pt" => false,
            text => says(text)?.0,
        };
        Some(Tuning { is_instruct, because: format!("general.finetune is {}", short(text, 64)?) })
    });
    let named = || {
        ["general.name", "general.basename"].into_iter().find_map(|key| {
            let (is_instruct, word) = says(keys.text(key)?)?;
            Some(Tuning { is_instruct, because: format!("{key} says `{word}`") })
        })
    };
    let has_template = || {
        keys.text("tokenizer.chat_template")?;
        Some(Tuning { is_instruct: true, because: "a chat template is present".to_owned() })
    };
    finetune.or_else(named).or_else(has_template)
}

/// Returns what a name says of tuning, and the word; None where it says nothing, or both.
fn says(name: &str) -> Option<(bool, String)> {
    let name = name.to_lowercase();
    let words: Vec<&str> =
        name.split(|c: char| !c.is_alphanumeric() && c != '.').filter(|word| !word.is_empty()).collect();
    let find = |list: &[&str]| words.iter().copied().find(|word| list.contains(word));
    // Gemma's `-it` and `-pt`; such short words mean something only behind a size.
    let find_behind_size = |short: &str| {
        let pairs = words.iter().zip(words.iter().skip(1));
        pairs.filter(|(size, _)| is_size(size)).map(|(_, word)| *word).find(|word| *word == short)
    };
    let tuned = find(TUNED).or_else(|| find_behind_size("it"));
    let base = find(BASE).or_else(|| find_behind_size("pt"));
    match (tuned, base) {
        (Some(word), None) => Some((true, word.to_owned())),
        (None, Some(word)) => Some((false, word.to_owned())),
        (None, None) | (Some(_), Some(_)) => None,
    }
}

/// Whether a word is a size such as `4b`, `1.7b`, `e4b` or `a22b`.
fn is_size(word: &str) -> bool {
    let Some(number) = word.strip_suffix(['b', 'm']) else { return false };
    let number = number.trim_start_matches(|c: char| c.is_ascii_lowercase());
    number.parse::<f32>().is_ok_and(|size| size > 0.0)
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::Build;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], expected: Option<(bool, &str)>) {
        let model = Build::model("llama").tensor("blk.0.attn_q.weight", &[4, 4], 0);
        let model = pairs.iter().fold(model, |model, (key, text)| model.text(key, text));
        let tuning = model.facts().0.tuning;
        let found = tuning.as_ref().map(|tuning| (tuning.is_instruct, tuning.because.as_str()));
        assert_eq!(found, expected, "{pairs:?}");
    }

    #[test]
    fn a_model_is_tuned_where_it_says_so() {
        check(&[("general.finetune", "Instruct")], Some((true, "general.finetune is Instruct")));
        check(&[("general.finetune", "4k-instruct")], Some((true, "general.finetune is 4k-instruct")));
        check(&[("general.finetune", "it")], Some((true, "general.finetune is it")));
        check(&[("general.name", "Gemma 2 9b It")], Some((true, "general.name says `it`")));
        check(
            &[("general.name", "Qwen3-30B-A3B-Thinking-2507")],
            Some((true, "general.name says `thinking`")),
        );
        check(&[("general.basename", "llama-2-chat")], Some((true, "general.basename says `chat`")));
        check(&[("tokenizer.chat_template", "{{ x }}")], Some((true, "a chat template is present")));
    }

    #[test]
    fn a_model_is_base_where_it_says_so_even_with_a_template() {
        let template = ("tokenizer.chat_template", "{{ x }}");
        check(&[("general.finetune", "Base"), template], Some((false, "general.finetune is Base")));
        check(&[("general.name", "Qwen3 8B Base"), template], Some((false, "general.name says `base`")));
        check(&[("general.name", "gemma-3-4b-pt"), template], Some((false, "general.name says `pt`")));
    }

    #[test]
    fn nothing_is_guessed() {
        check(&[("general.name", "Llama 3.1 8B")], None);
        check(&[("general.name", "Make It Rain"), ("general.finetune", "3f2a")], None);
        check(&[("general.name", "Base of a Chat")], None);
        check(&[], None);
    }
}
