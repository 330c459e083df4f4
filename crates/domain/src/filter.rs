//! The language of `list`: `format=gguf app=ollama name=qwen3* size>4G !offline unused>90d text`.
//! Judges one model at a time; words of text are looked up elsewhere.

mod age;
mod field;
mod sort;
#[cfg(test)]
mod tests;
pub mod text;

use crate::{Model, wrong::no_such};
use age::Age;
use field::{FIELDS, FLAGS, Field, Flag, How, NUMBERS, Number, Pattern};
use jiff::Timestamp;

pub use sort::{Place, Sort};

/// Everything that a model has to pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    pub words: Vec<Word>,
    conditions: Vec<Condition>,
}

/// A text that is looked for in names, handles, paths, tags, notes and cards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// In lower case.
    pub text: String,
    pub negated: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    filter: Filter,
    negated: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Filter {
    /// A field is one of some words (`app=ollama,lmstudio`); an empty one means that nothing is known.
    Is(Field, Vec<Pattern>),
    Has(Flag),
    /// A number compares.
    Compares(Number, How, f64),
    /// A time is longer, or not so long, ago.
    Age(Age),
}

/// Why a filter is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotUnderstood {
    /// What was typed.
    pub filter: String,
    pub why: String,
}

/// Longest operator first, so that `>=` is not read as `>`.
const OPERATORS: &[&str] = &[">=", "<=", "!=", "=", ">", "<"];

impl Query {
    /// Reads what was typed, one filter a text.
    pub fn parse(texts: &[String]) -> Result<Self, NotUnderstood> {
        let mut query = Self::default();
        for text in texts {
            query.add(text).map_err(|why| NotUnderstood { filter: text.clone(), why })?;
        }
        Ok(query)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let (text, negated) = text.strip_prefix('!').map_or((text, false), |text| (text, true));
        if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| *name == text) {
            self.conditions.push(Condition { filter: Filter::Has(*flag), negated });
            return Ok(());
        }
        match split(text) {
            Some((key, operator, value)) => {
                let filter = filter(key, operator, value)?;
                let negated = negated != (operator == "!=");
                self.conditions.push(Condition { filter, negated });
            }
            None => self.words.push(Word { text: text.to_lowercase(), negated }),
        }
        Ok(())
    }

    /// Whether a model has to be looked at, or its words alone.
    pub fn has_conditions(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// Whether it asks how models fit.
    pub fn asks_fits(&self) -> bool {
        let asks = |filter: &Filter| matches!(filter, Filter::Is(Field::Fits, _) | Filter::Has(Flag::Fits));
        self.conditions.iter().any(|condition| asks(&condition.filter))
    }

    /// Says whether the model passes all but the words.
    pub fn passes(&self, model: &Model, now: Timestamp) -> bool {
        self.conditions.iter().all(|condition| condition.filter.passes(model, now) != condition.negated)
    }
}

impl Filter {
    fn passes(&self, model: &Model, now: Timestamp) -> bool {
        match self {
            Self::Is(field, patterns) => {
                let values = field.values(model);
                let fits = |pattern: &Pattern| match pattern.is_empty() {
                    true => values.is_empty(),
                    false => values.iter().any(|value| pattern.fits(&value.to_lowercase(), *field)),
                };
                patterns.iter().any(fits)
            }
            Self::Has(flag) => flag.holds(model),
            Self::Compares(field, how, to) => field.value(model).is_some_and(|value| how.holds(value, *to)),
            Self::Age(age) => age.holds(model, now),
        }
    }
}

fn split(text: &str) -> Option<(&str, &str, &str)> {
    let at = text.find(['=', '>', '<', '!'])?;
    let (key, rest) = text.split_at(at);
    let operator = OPERATORS.iter().find(|operator| rest.starts_with(**operator))?;
    (!key.is_empty()).then_some((key, *operator, rest.get(operator.len()..)?))
}

fn filter(key: &str, operator: &str, value: &str) -> Result<Filter, String> {
    if let Some(age) = Age::parse(key, operator, value) {
        return age.map(Filter::Age);
    }
    if let Some((_, field)) = NUMBERS.iter().find(|(name, _)| *name == key) {
        return number(*field, operator, value);
    }
    let Some((_, field)) = FIELDS.iter().find(|(name, _)| *name == key) else { return Err(no_field(key)) };
    if !matches!(operator, "=" | "!=") {
        return Err(format!("`{key}` is no number: `{operator}` does not apply, = and != do"));
    }
    let patterns: Vec<Pattern> = value.split(',').map(Pattern::new).collect();
    if let Some(known) = field.closed()
        && let Some(wrong) = patterns.iter().filter_map(Pattern::value).find(|value| !known.contains(value))
    {
        return Err(no_such(&format!("{key} is never `{wrong}`"), wrong, &known));
    }
    Ok(Filter::Is(*field, patterns))
}

fn no_field(key: &str) -> String {
    let numbers = NUMBERS.iter().map(|(name, _)| *name);
    let known: Vec<_> =
        FIELDS.iter().map(|(name, _)| *name).chain(numbers).chain(age::NAMES.iter().copied()).collect();
    no_such(&format!("there is no field `{key}`"), key, &known)
}

fn number(field: Number, operator: &str, value: &str) -> Result<Filter, String> {
    let Some(how) = How::parse(operator) else {
        return Err(format!("a number compares with < <= > >=, not with {operator}"));
    };
    let Some(to) = field.quantity(value) else {
        return Err(format!("`{value}` is no number; write 4G, 512M, 7B, 32768"));
    };
    Ok(Filter::Compares(field, how, to))
}
