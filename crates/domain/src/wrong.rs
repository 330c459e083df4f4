//! What was typed and is not there, said with what may have been meant.

/// What is alike enough to be offered instead, by jaro-winkler; `archi` and `arch` have 0.96, `nonsense` and any 0.63.
const ALIKE: f64 = 0.8;

/// What is wrong, what was meant, and what there is.
pub fn no_such(wrong: &str, typed: &str, known: &[&str]) -> String {
    let near = nearest(typed, known).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    format!("{wrong}; {near}there are {}", known.join(" "))
}

fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|name| (strsim::jaro_winkler(&typed.to_lowercase(), name), *name));
    scored.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}
