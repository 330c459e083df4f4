//! Orders of the list. Knows no text search: what matches best is found elsewhere.

use super::field::Number;
use crate::{Model, wrong::no_such};
use jiff::Timestamp;
use std::cmp::Ordering;

/// An order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    key: SortKey,
    reversed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SortKey {
    Name,
    Match,
    Number(Number),
    Quant,
    App,
    State,
    Used,
    Added,
}

const SORTS: &[(&str, SortKey)] = &[
    ("name", SortKey::Name),
    ("match", SortKey::Match),
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
    /// Reads a sort key, or says why it is none: numbers and times from the largest down, words from a to z; `-key` the other way.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, reversed) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let Some((_, key)) = SORTS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = SORTS.iter().map(|(known, _)| *known).collect();
            return Err(no_such(&format!("cannot sort by `{name}`"), name, &known));
        };
        Ok(Self { key: *key, reversed })
    }

    /// Where a model stands in this order; `matched` is how well its words match, the best being 0.
    pub fn place(self, model: &Model, matched: u32) -> Place {
        let word = |text: Option<&str>| By::Word(text.map(str::to_owned));
        let by = match self.key {
            SortKey::Name => By::Word(None),
            SortKey::Match => By::Match(matched),
            SortKey::Number(number) => By::Number(number.value(model)),
            SortKey::Quant => word(model.quant.as_deref()),
            SortKey::App => word(model.locations.first().map(|location| location.app.name())),
            SortKey::State => word(Some(model.state.name())),
            SortKey::Used => By::Time(model.last_used),
            SortKey::Added => By::Time(model.first_seen),
        };
        Place { by, name: model.name.to_lowercase(), id: model.id.clone() }
    }

    /// Compares places in this order.
    pub fn compare(self, a: &Place, b: &Place) -> Ordering {
        let order = match (&a.by, &b.by) {
            (By::Match(a), By::Match(b)) => a.cmp(b),
            (By::Word(a), By::Word(b)) => a.cmp(b),
            (By::Number(a), By::Number(b)) => b.partial_cmp(a).unwrap_or(Ordering::Equal),
            (By::Time(a), By::Time(b)) => b.cmp(a),
            _ => Ordering::Equal, // places of another order
        };
        let order = order.then_with(|| a.name.cmp(&b.name)).then_with(|| a.id.cmp(&b.id));
        if self.reversed { order.reverse() } else { order }
    }
}

/// Where a model stands in an order: all that it takes to compare it, so that thousands need not be held whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    by: By,
    name: String,
    id: String,
}

#[derive(Debug, Clone, PartialEq)]
enum By {
    Match(u32),
    Word(Option<String>),
    Number(Option<f64>),
    Time(Option<Timestamp>),
}
