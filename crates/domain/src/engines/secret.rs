//! What of a command must not be shown: keys that the user passes on.

use std::ffi::OsString;

/// Its value is what the server wants of whoever asks it.
const API_KEY: &str = "--api-key";

/// The same, in a file.
const API_KEY_FILE: &str = "--api-key-file";

/// Flags whose value is a key.
const KEYS: &[&str] = &[API_KEY, "--hf-token", "-hft"];

const HIDDEN: &str = "***";

/// A shorter one would blot out ordinary words.
const SHORTEST: usize = 4;

/// The flag that a word of a command names, without a value behind `=`. llama.cpp reads `_` in long flags as `-`.
pub(super) fn flag(word: &str) -> String {
    let flag = word.split_once('=').map_or(word, |(flag, _)| flag);
    if flag.starts_with("--") { flag.replace('_', "-") } else { flag.to_owned() }
}

/// Returns the flags among words that are passed on, without what stands behind them.
pub fn flags_of(words: &[String]) -> Vec<String> {
    let is_flag = |word: &str| word.len() > 1 && word.starts_with('-') && word.parse::<f64>().is_err();
    let before = std::iter::once(None).chain(words.iter().map(Some));
    let flags = words.iter().zip(before).filter(|(_, before)| !before.is_some_and(|word| is_key_flag(word)));
    flags.filter(|(word, _)| is_flag(word)).map(|(word, _)| flag(word)).collect()
}

/// Returns the command with every key in it replaced.
pub fn redacted(argv: &[OsString]) -> Vec<OsString> {
    let keys = secrets(argv);
    let is_key = |word: &OsString, before: Option<&OsString>| {
        before.and_then(|before| before.to_str()).is_some_and(is_key_flag) && !word.is_empty()
    };
    let before = std::iter::once(None).chain(argv.iter().map(Some));
    let hidden = argv.iter().zip(before).map(|(word, before)| match word.to_str() {
        _ if is_key(word, before) => HIDDEN.into(),
        Some(text) => redact(text, &keys).into(),
        None => word.clone(),
    });
    hidden.collect()
}

/// Whether the next word is a key.
fn is_key_flag(word: &str) -> bool {
    !word.contains('=') && KEYS.contains(&flag(word).as_str())
}

/// Returns the keys in a command.
pub fn secrets(argv: &[OsString]) -> Vec<String> {
    let mut found: Vec<String> = KEYS.iter().flat_map(|key| values(argv, key)).collect();
    found.retain(|key| key.len() >= SHORTEST);
    found
}

/// Returns the key that the server wants of whoever asks it; the last flag counts, and any of its keys will do.
pub fn api_key(argv: &[OsString]) -> Option<String> {
    values(argv, API_KEY).into_iter().rfind(|key| !key.is_empty())
}

/// Whether a server that is started with this command answers only who knows its key.
pub fn asks_for_key(argv: &[String]) -> bool {
    argv.iter().any(|word| [API_KEY, API_KEY_FILE].contains(&flag(word).as_str()))
}

/// The keys behind one flag: as the next word or behind `=`, several divided by commas.
fn values(argv: &[OsString], key: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, word) in argv.iter().enumerate() {
        let Some(word) = word.to_str().filter(|word| flag(word) == key) else { continue };
        let next = argv.get(at + 1).and_then(|next| next.to_str());
        let value = word.split_once('=').map_or(next, |(_, value)| Some(value));
        found.extend(value.iter().flat_map(|value| value.split(',')).map(str::to_owned));
    }
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

    #[test]
    fn flags_are_told_without_what_stands_behind_them() {
        let words =
            ["--jinja", "--temp", "-0.5", "--api-key", "-secret", "--hf_token=hf_abcd", "-t", "4", "-"];
        let flags = flags_of(&words.map(str::to_owned));
        assert_eq!(flags, ["--jinja", "--temp", "--api-key", "--hf-token", "-t"]);
    }

    #[test]
    fn keys_are_found_in_every_spelling_that_llama_cpp_takes() {
        let argv: Vec<OsString> =
            ["x", "--hf_token", "hf_abcd", "--api_key", "sk_1234", "--hf_token=hf_efgh"]
                .map(Into::into)
                .into();
        let shown = redacted(&argv);
        let expected: Vec<OsString> =
            ["x", "--hf_token", "***", "--api_key", "***", "--hf_token=***"].map(Into::into).into();
        assert_eq!(shown, expected);
        assert_eq!(api_key(&argv).as_deref(), Some("sk_1234"));
        assert_eq!(api_key(&argv[..3]), None);
        for (word, expected) in
            [("--api_key", true), ("--api-key-file=/k", true), ("--api-key-x", false), ("-hft", false)]
        {
            assert_eq!(asks_for_key(&["e".into(), word.into()]), expected, "{word}");
        }
        assert_eq!(api_key(&["--api-key", ""].map(Into::into)), None);
    }
}
