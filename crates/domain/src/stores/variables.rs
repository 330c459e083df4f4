//! Which variables say where models are, and what shells' and services' files set them to.
//! No other name is ever kept, and nothing is executed: a value with a command in it is no value.

use std::{collections::BTreeMap, ffi::OsString};

/// Variables that name places. No other is looked at, so no secret can come in.
pub const VARIABLES: &[&str] = &[
    "DIFFUSERS_CACHE",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "INVOKEAI_ROOT",
    "JAN_DATA_FOLDER",
    "JAN_DATA_ROOT",
    "LLAMA_ARG_MODELS_DIR",
    "LLAMA_ARG_MODELS_PRESET",
    "LLAMA_CACHE",
    "LOCALAI_MODELS_PATH",
    "MODELSCOPE_CACHE",
    "MODELS_PATH",
    "OLLAMA_MODELS",
    "PYTORCH_TRANSFORMERS_CACHE",
    "RAMALAMA_CONFIG",
    "RAMALAMA_STORE",
    "SENTENCE_TRANSFORMERS_HOME",
    "STORAGE_DIR",
    "TRANSFORMERS_CACHE",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_DOWNLOAD_DIR",
    "XDG_STATE_HOME",
];

/// More text than this is no settings file of a shell.
const LONGEST: usize = 256 << 10;
const UNIT: &str = "Environment=";

/// Returns what a file sets of `VARIABLES`: `export X=…`, `set -gx X …`, `X=…`, `Environment="X=…"`. `known` has
/// what may stand in a value (`$HOME`, and those set before); with any other name in it a value is left out.
pub fn assignments(text: &[u8], known: &BTreeMap<String, OsString>) -> BTreeMap<String, OsString> {
    let text = String::from_utf8_lossy(text.get(..LONGEST).unwrap_or(text)).replace("\\\n", " ");
    let mut scope = known.clone();
    let mut set = BTreeMap::new();
    for line in
        text.lines().map(|line| if is_unit(line) { line.replace("%h", "${HOME}") } else { line.into() })
    {
        for (name, value) in pairs(&line) {
            if let Some(value) = expand(value, &scope)
                && VARIABLES.contains(&name)
            {
                drop(scope.insert(name.to_owned(), value.clone().into()));
                drop(set.insert(name.to_owned(), value.into()));
            }
        }
    }
    set
}

/// systemd has a word of its own for the home directory.
fn is_unit(line: &str) -> bool {
    line.trim_start().starts_with(UNIT)
}

/// Names and values of one line, quotes still on.
fn pairs(line: &str) -> Vec<(&str, &str)> {
    let line = line.trim();
    if line.starts_with('#') {
        return Vec::new();
    }
    let line = line.strip_prefix(UNIT).unwrap_or(line);
    let words = words(line);
    if let ["set", flags, name, value] = words.as_slice()
        && flags.starts_with('-')
    {
        return vec![(name, value)];
    }
    // systemd quotes the whole assignment.
    let inner = |word| {
        ['"', '\''].into_iter().find_map(|quote| str::strip_suffix(str::strip_prefix(word, quote)?, quote))
    };
    words.into_iter().filter_map(|word| inner(word).unwrap_or(word).split_once('=')).collect()
}

/// Splits at spaces and semicolons outside quotes; a comment ends the line.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quote) = (0, None);
    for (at, letter) in line.char_indices() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '#') if at == start => return words,
            (None, ' ' | '\t' | ';' | '&') => {
                words.extend(line.get(start..at).filter(|word| !word.is_empty()));
                start = at + letter.len_utf8();
            }
            (None, _) => {}
        }
    }
    words.extend(line.get(start..).filter(|word| !word.is_empty()));
    words
}

/// Takes off quotes and puts in `~`, `$NAME`, `${NAME}` and `${NAME:-default}`.
pub(super) fn expand(value: &str, scope: &BTreeMap<String, OsString>) -> Option<String> {
    if let Some(plain) = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return Some(plain.to_owned());
    }
    let is_quoted = value.starts_with('"');
    let value = value.trim_matches('"');
    if value.contains(['`', '"', '\'', '\\']) || value.contains("$(") {
        return None;
    }
    let home = || scope.get("HOME")?.to_str();
    let mut text = String::new();
    let mut rest = value;
    if let Some(below) = rest.strip_prefix('~').filter(|below| below.is_empty() || below.starts_with('/'))
        && !is_quoted
    {
        text.push_str(home()?);
        rest = below;
    }
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let (name, default, left) = match after.strip_prefix('{') {
            Some(inner) => {
                let (inner, left) = inner.split_once('}')?;
                let (name, default) = inner
                    .split_once(":-")
                    .or(inner.split_once('-'))
                    .map_or((inner, None), |(n, d)| (n, Some(d)));
                (name, default, left)
            }
            None => {
                let end = after.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
                let (name, left) = after.split_at(end.unwrap_or(after.len()));
                (name, None, left)
            }
        };
        match scope.get(name).and_then(|value| value.to_str()) {
            Some(value) => text.push_str(value),
            None => text.push_str(&expand(default.filter(|default| !default.contains("${"))?, scope)?),
        }
        rest = left;
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let known = BTreeMap::from([("HOME".to_owned(), "/home/u".into())]);
        let set = assignments(text.as_bytes(), &known);
        let seen: Vec<_> = set.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(seen, expected, "{text}");
    }

    #[test]
    fn every_spelling_is_read_and_only_names_of_places_are_kept() {
        check("export HF_HOME=/data/hf # big\n", &[("HF_HOME", "/data/hf")]);
        check(
            "export OPENAI_API_KEY=sk-1 OLLAMA_MODELS=\"$HOME/o m\"; X=1",
            &[("OLLAMA_MODELS", "/home/u/o m")],
        );
        check("set -gx HF_HUB_CACHE ~/hub\n", &[("HF_HUB_CACHE", "/home/u/hub")]);
        check(
            "[Service]\nEnvironment=\"OLLAMA_MODELS=/srv/o\" \"TOKEN=x\"\n",
            &[("OLLAMA_MODELS", "/srv/o")],
        );
        check(
            "Environment=HF_HOME=%h/hf \"LLAMA_CACHE=%h/l c\"\n",
            &[("HF_HOME", "/home/u/hf"), ("LLAMA_CACHE", "/home/u/l c")],
        );
        check("HF_HOME=/100%h", &[("HF_HOME", "/100%h")]);
        check("LLAMA_CACHE='/a $b'\n#HF_HOME=/no\n", &[("LLAMA_CACHE", "/a $b")]);
        check("HF_HOME=${XDG_CACHE_HOME:-$HOME/.c}/hf", &[("HF_HOME", "/home/u/.c/hf")]);
        check(
            "XDG_CACHE_HOME=/c\nHF_HOME=${XDG_CACHE_HOME}/hf",
            &[("HF_HOME", "/c/hf"), ("XDG_CACHE_HOME", "/c")],
        );
    }

    #[test]
    fn commands_and_unknown_names_give_nothing() {
        check("HF_HOME=$(rm -rf /)\nLLAMA_CACHE=`id`\nOLLAMA_MODELS=$SECRET/x\nHF_HUB_CACHE=\"a\\$b\"", &[]);
        check("HF_HOME=${A:-${B:-${C}}}\nHF_HOME=${\nHF_HOME=\"\u{e9}$", &[]);
    }
}
