//! What of a command must not be shown: keys that the user passes on.

use std::ffi::OsString;

/// Flags whose value is a key.
const KEYS: &[&str] = &["--api-key", "--hf-token", "-hft"];

const HIDDEN: &str = "***";

/// A shorter one would blot out ordinary words.
const SHORTEST: usize = 4;

/// Returns the command with every key in it replaced.
pub fn redacted(argv: &[OsString]) -> Vec<OsString> {
    let keys = secrets(argv);
    let is_key = |word: &OsString, before: Option<&OsString>| {
        before.and_then(|before| before.to_str()).is_some_and(|flag| KEYS.contains(&flag)) && !word.is_empty()
    };
    let before = std::iter::once(None).chain(argv.iter().map(Some));
    let hidden = argv.iter().zip(before).map(|(word, before)| match word.to_str() {
        _ if is_key(word, before) => HIDDEN.into(),
        Some(text) => redact(text, &keys).into(),
        None => word.clone(),
    });
    hidden.collect()
}

/// Returns the keys in a command.
pub fn secrets(argv: &[OsString]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, word) in argv.iter().enumerate() {
        let Some(word) = word.to_str() else { continue };
        let next = argv.get(at + 1).and_then(|next| next.to_str());
        let value = if KEYS.contains(&word) {
            next
        } else {
            word.split_once('=').filter(|(flag, _)| KEYS.contains(flag)).map(|(_, value)| value)
        };
        found.extend(value.iter().flat_map(|value| value.split(',')).map(str::to_owned));
    }
    found.retain(|key| key.len() >= SHORTEST);
    found
}

/// Returns the text without those keys.
pub fn redact(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, key| text.replace(key.as_str(), HIDDEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hidden_wherever_they_stand() {
        let argv: Vec<OsString> =
            ["x", "--api-key", "sk-1234,sk-5678", "--hf-token=hf_abcd", "-c", "4096"].map(Into::into).into();
        let shown = redacted(&argv);
        let expected: Vec<OsString> =
            ["x", "--api-key", "***", "--hf-token=***", "-c", "4096"].map(Into::into).into();
        assert_eq!(shown, expected);
        assert_eq!(redact("got sk-5678 and hf_abcd", &secrets(&argv)), "got *** and ***");
        let short: Vec<OsString> = ["x", "--api-key", "c", "-c"].map(Into::into).into();
        assert_eq!(redacted(&short)[2..], ["***", "-c"].map(OsString::from));
    }
}
