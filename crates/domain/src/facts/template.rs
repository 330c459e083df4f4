//! Chat templates: looked at as text, never rendered.

use super::keys::Keys;

/// What a template that only formats messages has no use for.
const INTERNALS: &[&str] = &[
    "__class__",
    "__globals__",
    "__import__",
    "__builtins__",
    "__subclasses__",
    "__mro__",
    "__base__",
    "__init__",
    "__getattribute__",
];

/// Warns of every template that reaches for Python internals, which some engines would run.
pub(super) fn warnings(keys: &Keys<'_>) -> Vec<String> {
    let found = keys.texts("tokenizer.chat_template").filter_map(|(key, template)| {
        let internals = INTERNALS.iter().copied().find(|word| template.contains(word));
        let internals = internals.or_else(|| names_os(template).then_some("os."))?;
        Some(format!("{key} reaches for Python internals (`{internals}`): a template that runs code"))
    });
    found.collect()
}

pub(super) fn calls_tools(keys: &Keys<'_>) -> bool {
    keys.texts("tokenizer.chat_template")
        .any(|(key, template)| key.ends_with(".tool_use") || has_word(template, "tools"))
}

pub(super) fn thinks(template: &str) -> bool {
    template.contains("<think>") || template.contains("enable_thinking")
}

/// Whether the module `os` is used: `os.` as a word of its own, and something of it.
fn names_os(template: &str) -> bool {
    template.match_indices("os.").any(|(at, found)| {
        let before = template.get(..at).and_then(|text| text.chars().next_back());
        let after = template.get(at + found.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(|c| is_word(c) || c == '.')
            && after.is_some_and(|c| c.is_ascii_lowercase() || c == '_')
    })
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c| !is_word(c)).any(|part| part == word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::Build;

    fn model(template: &str) -> Build {
        Build::model("llama")
            .tensor("blk.0.attn_q.weight", &[4, 4], 0)
            .text("tokenizer.chat_template", template)
    }

    #[test]
    fn a_template_that_reaches_for_internals_is_flagged() {
        for template in [
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{{ cycler.__init__.__globals__.x }}",
            "{{ os.popen('id') }}",
            "{% set x = self.__import__('a') %}",
        ] {
            let (facts, warnings) = model(template).facts();
            assert_eq!(warnings.len(), 1, "{template}");
            assert_eq!(facts.chat_template.as_deref(), Some(template));
        }
    }

    #[test]
    fn ordinary_templates_are_not() {
        for template in
            ["{{ eos.x }}", "{{ messages.os.x }}", "{{ bos_token }}", "on this os. Then", "{{ pos.y }}"]
        {
            assert_eq!(model(template).facts().1, [""; 0], "{template}");
        }
    }

    #[test]
    fn templates_tell_capabilities() {
        for (template, expected) in [
            ("{{ messages }}", &["completion"][..]),
            ("{% if tools %}{{ tools }}{% endif %}", &["completion", "tools"]),
            ("{{ '<think>' }}{{ toolset }}", &["completion", "thinking"]),
            ("{% if enable_thinking and tools %}{% endif %}", &["completion", "tools", "thinking"]),
        ] {
            assert_eq!(model(template).facts().0.capabilities, expected, "{template}");
        }
    }
}
