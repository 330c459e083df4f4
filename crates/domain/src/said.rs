//! Words that the user may give to models, or why not.

use crate::resolve::Names;

/// Returns the tags without blanks around them.
pub fn tags(typed: Vec<String>) -> Result<Vec<String>, String> {
    typed.into_iter().map(|tag| word(&tag, "tag")).collect()
}

/// Returns the aliases of a model without blanks around them. One that is another model's own name would hide that.
pub fn aliases(typed: Vec<String>, model: &str, all: &[Names]) -> Result<Vec<String>, String> {
    let others = || all.iter().filter(|names| names.id != model);
    typed
        .into_iter()
        .map(|alias| {
            let alias = word(&alias, "alias")?;
            match others().find(|names| is_called(names, &alias)) {
                None => Ok(alias),
                Some(Names { id, .. }) => Err(format!("`{alias}` is the name of another model ({id})")),
            }
        })
        .collect()
}

fn is_called(names: &Names, alias: &str) -> bool {
    names.name == alias || names.id == alias || names.handles.iter().any(|handle| handle == alias)
}

fn word(typed: &str, what: &str) -> Result<String, String> {
    let word = typed.trim();
    match word {
        "" => Err(format!("an empty {what} says nothing")),
        _ if word.contains(',') => Err(format!(
            "a comma cannot be in {what} `{word}`: in filters it stands between values; write several as words of their own"
        )),
        _ if word.contains(char::is_control) => Err(format!("`{word}` has characters that cannot be typed")),
        _ => Ok(word.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_could_not_be_asked_for_are_refused() {
        let one = |typed: &str| tags(vec!["daily".into(), typed.into()]);
        assert_eq!(one(" sql "), Ok(vec!["daily".into(), "sql".into()]));
        for (typed, told) in [("", "empty"), ("  ", "empty"), ("a,b", "comma"), ("a\nb", "cannot be typed")] {
            assert!(one(typed).unwrap_err().contains(told), "{typed}");
        }
    }

    #[test]
    fn an_alias_is_no_other_models_name() {
        let other = Names {
            id: "m2".into(),
            name: "Qwen3-8B".into(),
            handles: vec!["qwen3:8b".into()],
            aliases: vec!["daily".into()],
            ..Names::default()
        };
        let own = Names { id: "m1".into(), name: "Own".into(), ..Names::default() };
        let check = |alias: &str| aliases(vec![alias.into()], "m1", &[own.clone(), other.clone()]);
        assert_eq!(check("fast"), Ok(vec!["fast".into()]));
        assert_eq!(check("Own"), Ok(vec!["Own".into()]));
        for alias in ["Qwen3-8B", "qwen3:8b", "m2"] {
            assert_eq!(check(alias), Err(format!("`{alias}` is the name of another model (m2)")));
        }
    }
}
