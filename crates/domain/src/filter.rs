//! The language of `list`: `format=gguf app=ollama arch=qwen3 size>4G state!=ok unused>90d text`, and `--sort`.

use crate::Model;
use jiff::{SignedDuration, Timestamp};
use std::cmp::Ordering;

/// One condition; a model is listed when it passes all.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// A field is, or is not, one of some words (`app=ollama,lmstudio`).
    Is { field: Field, words: Vec<String>, negated: bool },
    /// A number compares.
    Compares { field: Number, how: How, to: f64 },
    /// Last used (or, if never, first seen) longer ago than this.
    Unused(SignedDuration),
    /// Somewhere in name, handles, paths, tags, note.
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Name,
    Format,
    Kind,
    App,
    Architecture,
    Quant,
    State,
    License,
    Tag,
    Repo,
    Pinned,
    Capability,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    Size,
    DiskSize,
    Parameters,
    Context,
    BitsPerWeight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    More,
    AtLeast,
    Less,
    AtMost,
}

/// Why a filter or a sort key is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotUnderstood {
    pub why: String,
}

const FIELDS: &[(&str, Field)] = &[
    ("name", Field::Name),
    ("format", Field::Format),
    ("kind", Field::Kind),
    ("app", Field::App),
    ("arch", Field::Architecture),
    ("architecture", Field::Architecture),
    ("quant", Field::Quant),
    ("state", Field::State),
    ("license", Field::License),
    ("tag", Field::Tag),
    ("repo", Field::Repo),
    ("pinned", Field::Pinned),
    ("can", Field::Capability),
];

const NUMBERS: &[(&str, Number)] = &[
    ("size", Number::Size),
    ("disk", Number::DiskSize),
    ("params", Number::Parameters),
    ("ctx", Number::Context),
    ("bpw", Number::BitsPerWeight),
];

/// Longest operator first, so that `>=` is not read as `>`.
const OPERATORS: &[&str] = &[">=", "<=", "!=", "=", ">", "<"];

impl Filter {
    pub fn parse(text: &str) -> Result<Self, NotUnderstood> {
        if text == "fits" {
            return not_understood("this version cannot tell yet what fits");
        }
        if text == "pinned" {
            return Ok(Self::Is { field: Field::Pinned, words: vec!["true".into()], negated: false });
        }
        let Some((key, operator, value)) = split(text) else {
            return Ok(Self::Text(text.to_lowercase()));
        };
        if key == "unused" {
            return unused(operator, value);
        }
        if let Some((_, field)) = NUMBERS.iter().find(|(name, _)| *name == key) {
            return number(*field, operator, value);
        }
        let Some((_, field)) = FIELDS.iter().find(|(name, _)| *name == key) else {
            let known = FIELDS.iter().map(|(name, _)| *name).chain(NUMBERS.iter().map(|(name, _)| *name));
            let known: Vec<_> = known.chain(["unused"]).collect();
            return not_understood(&format!("there is no field `{key}`; there are {}", known.join(" ")));
        };
        let negated = match operator {
            "=" => false,
            "!=" => true,
            other => {
                return not_understood(&format!(
                    "`{key}` is no number: `{other}` does not apply, = and != do"
                ));
            }
        };
        Ok(Self::Is { field: *field, words: value.split(',').map(str::to_lowercase).collect(), negated })
    }

    /// Says whether the model passes; `now` is needed for `unused`.
    pub fn passes(&self, model: &Model, now: Timestamp) -> bool {
        match self {
            Self::Is { field, words, negated } => {
                field.values(model).iter().any(|value| words.contains(&value.to_lowercase())) != *negated
            }
            Self::Compares { field, how, to } => {
                field.value(model).is_some_and(|value| how.holds(value, *to))
            }
            Self::Unused(longer) => {
                model.last_used.or(model.first_seen).is_some_and(|last| now.duration_since(last) > *longer)
            }
            Self::Text(text) => words_of(model).any(|word| word.to_lowercase().contains(text)),
        }
    }
}

/// An order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    key: SortKey,
    reversed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SortKey {
    Name,
    Number(Number),
    Quant,
    App,
    State,
    Used,
    Added,
}

const SORTS: &[(&str, SortKey)] = &[
    ("name", SortKey::Name),
    ("size", SortKey::Number(Number::Size)),
    ("disk", SortKey::Number(Number::DiskSize)),
    ("params", SortKey::Number(Number::Parameters)),
    ("ctx", SortKey::Number(Number::Context)),
    ("bpw", SortKey::Number(Number::BitsPerWeight)),
    ("quant", SortKey::Quant),
    ("app", SortKey::App),
    ("state", SortKey::State),
    ("used", SortKey::Used),
    ("added", SortKey::Added),
];

impl Sort {
    /// Reads a sort key: numbers and times from the largest down, words from a to z; `-key` the other way.
    pub fn parse(text: &str) -> Result<Self, NotUnderstood> {
        let (name, reversed) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let Some((_, key)) = SORTS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = SORTS.iter().map(|(known, _)| *known).collect();
            return not_understood(&format!("cannot sort by `{name}`; there are {}", known.join(" ")));
        };
        Ok(Self { key: *key, reversed })
    }

    pub fn compare(self, a: &Model, b: &Model) -> Ordering {
        let order = match self.key {
            SortKey::Name => Ordering::Equal,
            SortKey::Number(number) => {
                number.value(b).partial_cmp(&number.value(a)).unwrap_or(Ordering::Equal)
            }
            SortKey::Quant => a.quant.cmp(&b.quant),
            SortKey::App => first_app(a).cmp(&first_app(b)),
            SortKey::State => a.state.name().cmp(b.state.name()),
            SortKey::Used => b.last_used.cmp(&a.last_used),
            SortKey::Added => b.first_seen.cmp(&a.first_seen),
        };
        let by_name = || a.name.to_lowercase().cmp(&b.name.to_lowercase()).then_with(|| a.id.cmp(&b.id));
        let order = order.then_with(by_name);
        if self.reversed { order.reverse() } else { order }
    }
}

fn first_app(model: &Model) -> Option<&'static str> {
    model.locations.first().map(|location| location.app.name())
}

fn not_understood<T>(why: &str) -> Result<T, NotUnderstood> {
    Err(NotUnderstood { why: why.into() })
}

fn split(text: &str) -> Option<(&str, &str, &str)> {
    let at = text.find(['=', '>', '<', '!'])?;
    let (key, rest) = text.split_at(at);
    let operator = OPERATORS.iter().find(|operator| rest.starts_with(**operator))?;
    (!key.is_empty()).then_some((key, *operator, rest.get(operator.len()..)?))
}

fn number(field: Number, operator: &str, value: &str) -> Result<Filter, NotUnderstood> {
    let how = match operator {
        ">" => How::More,
        ">=" => How::AtLeast,
        "<" => How::Less,
        "<=" => How::AtMost,
        other => return not_understood(&format!("a number compares with < <= > >=, not with {other}")),
    };
    let Some(to) = quantity(field, value) else {
        return not_understood(&format!("`{value}` is no number; write 4G, 512M, 7B, 32768"));
    };
    Ok(Filter::Compares { field, how, to })
}

/// Sizes count in 1024s, parameters in 1000s (`7B`), contexts in 1024s (`32k`).
fn quantity(field: Number, text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let step: f64 = if field == Number::Parameters { 1000.0 } else { 1024.0 };
    let power = match unit.to_ascii_uppercase().trim_end_matches("IB") {
        "" => 0,
        "K" | "KB" => 1,
        "M" | "MB" => 2,
        "G" | "GB" | "B" => 3,
        "T" | "TB" => 4,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * step.powi(power))
}

fn unused(operator: &str, value: &str) -> Result<Filter, NotUnderstood> {
    let days = |text: &str| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let days = match unit {
            "d" => 1,
            "w" => 7,
            "m" => 30,
            "y" => 365,
            _ => return None,
        };
        number.parse::<i64>().ok()?.checked_mul(days)
    };
    match (operator, days(value).and_then(|days| days.checked_mul(24))) {
        (">", Some(hours)) => Ok(Filter::Unused(SignedDuration::from_secs(hours.saturating_mul(3600)))),
        _ => not_understood("write unused>90d, 12w, 6m or 1y"),
    }
}

impl Field {
    fn values(self, model: &Model) -> Vec<&str> {
        let locations = || model.locations.iter();
        match self {
            Self::Name => vec![&model.name],
            Self::Format => model.format.map(|format| format.name()).into_iter().collect(),
            Self::Kind => model.kind.map(|kind| kind.name()).into_iter().collect(),
            Self::App => locations().map(|location| location.app.name()).collect(),
            Self::Architecture => model.architecture.as_deref().into_iter().collect(),
            Self::Quant => model.quant.as_deref().into_iter().collect(),
            Self::State => vec![model.state.name()],
            Self::License => model.license.as_deref().into_iter().collect(),
            Self::Tag => model.tags.iter().map(String::as_str).collect(),
            Self::Repo => {
                locations().filter_map(|location| location.source.as_ref()?.repo.as_deref()).collect()
            }
            Self::Pinned => vec![if model.pinned { "true" } else { "false" }],
            Self::Capability => model.capabilities.iter().map(String::as_str).collect(),
        }
    }
}

impl Number {
    #[expect(clippy::cast_precision_loss, reason = "compared with a number that a person typed")]
    fn value(self, model: &Model) -> Option<f64> {
        match self {
            Self::Size => Some(model.size as f64),
            Self::DiskSize => Some(model.disk_size as f64),
            Self::Parameters => model.parameters.map(|n| n as f64),
            Self::Context => model.context_length.map(|n| n as f64),
            Self::BitsPerWeight => model.bits_per_weight,
        }
    }
}

impl How {
    fn holds(self, value: f64, to: f64) -> bool {
        match self {
            Self::More => value > to,
            Self::AtLeast => value >= to,
            Self::Less => value < to,
            Self::AtMost => value <= to,
        }
    }
}

fn words_of(model: &Model) -> impl Iterator<Item = &str> {
    let own = [Some(&model.name), model.note.as_ref(), model.architecture.as_ref(), model.quant.as_ref()];
    let lists = model.tags.iter().chain(&model.aliases).chain(&model.base_models);
    let places = model.locations.iter().flat_map(|location| {
        [&*location.id].into_iter().chain(location.files.iter().map(|file| file.path.text()))
    });
    own.into_iter().flatten().chain(lists).map(String::as_str).chain(places)
}
