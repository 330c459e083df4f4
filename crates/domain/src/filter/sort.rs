//! Orders of the list. Knows no text search: what matches best is found elsewhere.

use super::{NotUnderstood, field::Number, nearest};
use crate::Model;
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
    /// Reads a sort key: numbers and times from the largest down, words from a to z; `-key` the other way.
    pub fn parse(text: &str) -> Result<Self, NotUnderstood> {
        let (name, reversed) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let Some((_, key)) = SORTS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = SORTS.iter().map(|(known, _)| *known).collect();
            let near = nearest(name, &known);
            let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
            let why = format!("cannot sort by `{name}`; {near}there are {}", known.join(" "));
            return Err(NotUnderstood { filter: text.to_owned(), why });
        };
        Ok(Self { key: *key, reversed })
    }

    /// Compares two models with how well their words match, the best being 0.
    pub fn compare(self, (a, a_match): (&Model, u32), (b, b_match): (&Model, u32)) -> Ordering {
        let order = match self.key {
            SortKey::Name => Ordering::Equal,
            SortKey::Match => a_match.cmp(&b_match),
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
