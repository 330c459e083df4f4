//! From what a person typed to one model: a name, a unique prefix, an alias, an id, an app's handle, or a path.

use serde::{Deserialize, Serialize};

/// The names of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    pub id: String,
    pub name: String,
    pub aliases: Vec<String>,
    /// The apps' own handles.
    pub handles: Vec<String>,
    /// As text.
    pub paths: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    One(String),
    /// Names that tell the candidates apart, at most 20, with their ids.
    Ambiguous(Vec<(String, String)>),
    /// At most 3 that look like it.
    Unknown(Vec<String>),
}

/// Finds the model meant; a stricter reading wins over a looser one. What is nothing as it stands may have been copied
/// from where control characters are shown as `\n` and `\x1b`.
pub fn resolve(typed: &str, all: &[Names]) -> Resolved {
    match (read(typed, all), unescaped(typed)) {
        (Resolved::Unknown(similar), Some(plain)) => match read(&plain, all) {
            Resolved::Unknown(_) => Resolved::Unknown(similar),
            found @ (Resolved::One(_) | Resolved::Ambiguous(_)) => found,
        },
        (found, _) => found,
    }
}

fn read(typed: &str, all: &[Names]) -> Resolved {
    let folded = typed.to_lowercase();
    let readings: [&dyn Fn(&Names) -> bool; 7] = [
        &|names| names.id == typed || names.aliases.iter().any(|alias| alias == typed),
        &|names| names.paths.iter().any(|path| path == typed),
        &|names| names.handles.iter().any(|handle| is_handle(handle, typed)),
        &|names| names.name == typed,
        &|names| {
            names.name.to_lowercase() == folded || names.handles.iter().any(|h| h.to_lowercase() == folded)
        },
        &|names| names.paths.iter().any(|path| path.rsplit('/').next() == Some(typed)),
        &|names| {
            let starts = |text: &String| !folded.is_empty() && text.to_lowercase().starts_with(&folded);
            let mut words = names.aliases.iter().chain(&names.handles).chain([&names.name]);
            words.any(starts) || (typed.len() >= 4 && names.id.starts_with(typed))
        },
    ];
    for reading in readings {
        let found: Vec<&Names> = all.iter().filter(|names| reading(names)).collect();
        match *found {
            [] => {}
            [one] => return Resolved::One(one.id.clone()),
            _ => {
                let apart = |names: &&Names| (told_apart(names, &found), names.id.clone());
                return Resolved::Ambiguous(found.iter().take(20).map(apart).collect());
            }
        }
    }
    Resolved::Unknown(similar(&folded, all))
}

/// None where nothing in it is escaped.
fn unescaped(shown: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = shown;
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let (c, after) = escaped(escape).unwrap_or(('\\', escape));
        plain.push(c);
        rest = after;
    }
    plain.push_str(rest);
    (plain != shown).then_some(plain)
}

/// What stands behind a backslash, and the text after it.
fn escaped(text: &str) -> Option<(char, &str)> {
    let (kind, rest) = text.split_at_checked(1)?;
    let (digits, rest) = match kind {
        "n" => return Some(('\n', rest)),
        "r" => return Some(('\r', rest)),
        "t" => return Some(('\t', rest)),
        "x" => rest.split_at_checked(2)?,
        "u" => rest.strip_prefix('{')?.split_once('}')?,
        _ => return None,
    };
    Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, rest))
}

/// Ollama's `llama3` means `llama3:latest`; a repository means its one file, at any revision.
fn is_handle(handle: &str, typed: &str) -> bool {
    let rest = handle.strip_prefix(typed);
    handle == typed
        || rest == Some(":latest")
        || (typed.contains('/') && rest.is_some_and(|r| r.starts_with('@')))
}

/// A name that means this one only: its name where that is unique, else its id with the name.
fn told_apart(names: &Names, among: &[&Names]) -> String {
    let is_unique = among.iter().filter(|other| other.name == names.name).count() == 1;
    if is_unique { names.name.clone() } else { format!("{} ({})", names.id, names.name) }
}

/// Whether a word of the text begins so: `del` is not in `models`.
fn has_word(text: &str, start: &str) -> bool {
    let is_start = |at: usize| !text.get(..at).unwrap_or_default().ends_with(char::is_alphanumeric);
    text.match_indices(start).any(|(at, _)| is_start(at))
}

/// Whether the text begins with what was typed but for a slip in every third letter; a few letters are found in some
/// order in every long name.
fn is_slip(folded: &str, text: &str) -> bool {
    let length = folded.chars().count();
    (length.saturating_sub(1)..=length + 1).any(|cut| {
        let start: String = text.chars().take(cut).collect();
        strsim::damerau_levenshtein(folded, &start) <= (length / 3).max(1)
    })
}

fn similar(folded: &str, all: &[Names]) -> Vec<String> {
    const ALIKE: f64 = 0.75; // where jaro-winkler stops offering unrelated names, tried on 1,000 hub names
    let score = |text: &String| {
        let text = text.to_lowercase();
        match folded.len() >= 3 && has_word(&text, folded) {
            true => 1.0,
            false if is_slip(folded, &text) => strsim::jaro_winkler(folded, &text),
            false => 0.0,
        }
    };
    let mut scored: Vec<(f64, &str)> = all
        .iter()
        .filter_map(|names| {
            let words = names.aliases.iter().chain(&names.handles).chain([&names.name]);
            words.map(|word| (score(word), word.as_str())).max_by(|a, b| a.0.total_cmp(&b.0))
        })
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(id: &str, name: &str, handles: &[&str], paths: &[&str]) -> Names {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Names {
            id: id.into(),
            name: name.into(),
            aliases: Vec::new(),
            handles: owned(handles),
            paths: owned(paths),
        }
    }

    #[track_caller]
    fn check(typed: &str, expected: &Resolved) {
        let mut all = vec![
            names(
                "m1aaaa",
                "Qwen3-8B-Q4_K_M",
                &["Qwen/Qwen3-8B-GGUF@abcd1234:Qwen3-8B-Q4_K_M.gguf"],
                &["/m/a.gguf"],
            ),
            names(
                "m2bbbb",
                "Qwen3-8B-Q8_0",
                &["Qwen/Qwen3-8B-GGUF@abcd1234:Qwen3-8B-Q8_0.gguf"],
                &["/m/b.gguf"],
            ),
            names("m3cccc", "llama3", &["llama3:latest"], &[]),
            names("m4dddd", "llama3", &["llama3:70b"], &[]),
        ];
        all[1].aliases.push("daily".into());
        assert_eq!(resolve(typed, &all), *expected, "{typed}");
    }

    #[test]
    fn a_name_that_was_copied_from_the_screen_means_what_it_shows() {
        let odd = names("m9", "a\nb\u{202e}\u{1b}", &[], &["/m/new\nline.gguf"]);
        let literal = names("m8", r"x\ny", &[], &[]);
        let all = [odd, literal, names("m7", "x\ny", &[], &[])];
        for (typed, id) in [
            (r"a\nb\u{202e}\x1b", "m9"),
            ("a\nb\u{202e}\u{1b}", "m9"),
            (r"/m/new\nline.gguf", "m9"),
            (r"x\ny", "m8"),
        ] {
            assert_eq!(resolve(typed, &all), Resolved::One(id.into()), "{typed}");
        }
        for typed in [r"\", r"a\q", r"a\x", r"a\u{zz}", r"a\x1é"] {
            assert!(matches!(resolve(typed, &all), Resolved::Unknown(_)), "{typed}");
        }
    }

    #[test]
    fn a_stricter_reading_wins_over_a_looser_one() {
        let one = |id: &str| Resolved::One(id.into());
        check("m1aaaa", &one("m1aaaa"));
        check("m1aa", &one("m1aaaa"));
        check("daily", &one("m2bbbb"));
        check("/m/a.gguf", &one("m1aaaa"));
        check("b.gguf", &one("m2bbbb"));
        check("qwen3-8b-q8_0", &one("m2bbbb"));
        check("Qwen3-8B-Q4", &one("m1aaaa"));
        check("llama3:latest", &one("m3cccc"));
        check("llama3:70b", &one("m4dddd"));
        let several = |all: [(&str, &str); 2]| {
            Resolved::Ambiguous(all.map(|(name, id)| (name.to_owned(), id.to_owned())).into())
        };
        let qwens = several([("Qwen3-8B-Q4_K_M", "m1aaaa"), ("Qwen3-8B-Q8_0", "m2bbbb")]);
        check("Qwen3", &qwens);
        check("llama3", &one("m3cccc"));
        check("LLAMA3", &several([("m3cccc (llama3)", "m3cccc"), ("m4dddd (llama3)", "m4dddd")]));
        check("Qwen/Qwen3-8B-GGUF", &qwens);
        check("lama3", &Resolved::Unknown(vec!["llama3".into()]));
        check("", &Resolved::Unknown(vec![]));
        check("qwne3-8b", &Resolved::Unknown(vec!["Qwen3-8B-Q8_0".into(), "Qwen3-8B-Q4_K_M".into()]));
        check("q8_0", &Resolved::Unknown(vec!["Qwen3-8B-Q8_0".into()]));
        check("wen", &Resolved::Unknown(vec![]));
    }
}
