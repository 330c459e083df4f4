//! Files of sections and `key = value` lines, as Qt, git and llama.cpp write them. Nothing is expanded.

/// A setting: its section (empty before the first), its key, its value without quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting<'t> {
    pub section: &'t str,
    pub key: &'t str,
    pub value: &'t str,
}

/// Returns the settings in the order they stand in; what is no setting is passed over.
pub(super) fn settings(text: &str) -> impl Iterator<Item = Setting<'_>> {
    let mut section = "";
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            return None;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim();
            return None;
        }
        let (key, value) = line.split_once('=')?;
        Some(Setting { section, key: key.trim(), value: unquoted(value.trim()) })
    })
}

fn unquoted(value: &str) -> &str {
    let inner = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    inner.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_keys_are_read() {
        let text =
            "a=1\n# store = \"/x\"\n[General]\nmodelPath=/m n\n[remote \"origin\"]\n\turl = 'u'\nbad\n";
        let seen: Vec<_> = settings(text).map(|s| (s.section, s.key, s.value)).collect();
        assert_eq!(
            seen,
            [("", "a", "1"), ("General", "modelPath", "/m n"), ("remote \"origin\"", "url", "u")]
        );
    }
}
