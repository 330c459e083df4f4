//! GGUF metadata, typed: a wrong type or an absurd number is unknown and says so, it is never cast.

use formats::gguf::{Header, Value};
use std::{collections::BTreeMap, ops::RangeInclusive};

/// The most layers that are believed; the largest models have fewer than 200.
pub(super) const MAX_LAYERS: u64 = 4096;
/// The largest head count or head width that is believed.
const MAX_PER_LAYER: u64 = 65_536;

/// Architectures have a few dozen keys of their own.
const MAX_NUMBERS: usize = 256;

/// How a warning ends of a key that makes no sense.
pub(crate) const NOT_BELIEVED: &str = ", which is not believed";

pub(super) struct Keys<'a> {
    header: &'a Header,
    architecture: Option<&'a str>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(header: &'a Header) -> Self {
        let mut keys = Self { header, architecture: None, warnings: Vec::new() };
        keys.architecture = keys.read_architecture();
        keys
    }

    pub(super) fn architecture(&self) -> Option<&'a str> {
        self.architecture
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.header.get(key)
    }

    /// Returns what tells one list of tokens from another.
    pub(super) fn vocabulary(&self) -> Option<u64> {
        self.header.vocabulary
    }

    /// Returns a text that is not empty.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// Returns every text whose key starts like this.
    pub(super) fn texts(&self, start: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let of = |(key, value): &'a (String, Value)| Some((key.as_str(), value.as_str()?));
        self.header.metadata.iter().filter_map(of).filter(move |(key, _)| key.starts_with(start))
    }

    /// Returns a value below the architecture's own prefix: `context_length` is `llama.context_length`.
    pub(super) fn own(&self, key: &str) -> Option<&'a Value> {
        self.get(&self.own_name(key)?)
    }

    pub(super) fn own_number(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let name = self.own_name(key)?;
        self.number(&name, range)
    }

    /// Returns a whole number in a range; anything else under that key is a warning.
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(name)?;
        let number = value.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            self.warnings.push(format!("{name} is {}{NOT_BELIEVED}", describe(value)));
        }
        number
    }

    /// Returns every whole number and flag below the architecture's own prefix.
    pub(super) fn own_numbers(&self) -> BTreeMap<String, Vec<i64>> {
        let prefix = self.architecture.map(|architecture| format!("{architecture}."));
        let own = |key: &'a str| prefix.as_ref().and_then(|prefix| key.strip_prefix(prefix.as_str()));
        let numbers =
            self.header.metadata.iter().filter_map(|(key, value)| Some((own(key)?, numbers(value)?)));
        numbers.take(MAX_NUMBERS).map(|(key, numbers)| (key.to_owned(), numbers)).collect()
    }

    /// Returns one number for each layer from a number or an array, `Some(None)` where the key is missing, and
    /// `None` (and a warning) where it makes no sense.
    pub(super) fn per_layer(&mut self, key: &str, layers: usize) -> Option<Option<Vec<u64>>> {
        let Some(value) = self.own(key) else { return Some(None) };
        let numbers = match value {
            Value::Array { items, .. } if items.len() == layers => items.iter().map(Value::as_u64).collect(),
            Value::Array { .. } => None,
            Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) | Value::Bool(_) | Value::String(_) => {
                value.as_u64().map(|number| vec![number; layers])
            }
        };
        let believed = numbers.filter(|numbers: &Vec<u64>| numbers.iter().all(|n| *n <= MAX_PER_LAYER));
        if believed.is_none() {
            self.distrust(key, &format!("is {} for {layers} layers", describe(value)));
        }
        believed.map(Some)
    }

    /// Warns that one of the architecture's own keys makes no sense.
    pub(super) fn distrust(&mut self, key: &str, why: &str) {
        let name = self.own_name(key).unwrap_or_else(|| key.to_owned());
        self.warnings.push(format!("{name} {why}{NOT_BELIEVED}"));
    }

    fn own_name(&self, key: &str) -> Option<String> {
        self.architecture.map(|architecture| format!("{architecture}.{key}"))
    }

    fn read_architecture(&mut self) -> Option<&'a str> {
        let value = self.get("general.architecture")?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = value.as_str().filter(|name| {
            (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(is_plain)
        });
        if name.is_none() {
            self.warnings.push(format!("general.architecture is {}, which names none", describe(value)));
        }
        name
    }
}

fn numbers(value: &Value) -> Option<Vec<i64>> {
    match value {
        Value::Array { items, len } if items.len() as u64 == *len => items.iter().map(number).collect(),
        Value::Array { .. } => None,
        Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) | Value::Bool(_) | Value::String(_) => {
            Some(vec![number(value)?])
        }
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Unsigned(number) => i64::try_from(*number).ok(),
        Value::Signed(number) => Some(*number),
        Value::Bool(flag) => Some((*flag).into()),
        Value::Float(_) | Value::String(_) | Value::Array { .. } => None,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Unsigned(number) => number.to_string(),
        Value::Signed(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => match text.char_indices().nth(32) {
            Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
            None => format!("`{text}`"),
        },
        Value::Array { len, .. } => format!("an array of {len}"),
    }
}
