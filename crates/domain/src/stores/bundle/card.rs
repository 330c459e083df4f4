//! The front matter of a model card (`README.md`): its licence and what the model was made from.
//! Only top-level texts and lists of texts are kept; aliases are never expanded.

use crate::{Ancestor, Confidence, Relation, stores::handle};
use saphyr_parser::{Event, Parser};
use std::collections::BTreeMap;

/// Cards with long benchmark tables have front matter of some tens of KiB.
const LONGEST: usize = 256 << 10;

/// A model merged from more than this many others says nothing.
const MOST_BASES: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Card {
    pub license: Option<String>,
    pub base_models: Vec<String>,
    /// How it was made from them, where the card says so.
    pub relation: Option<Relation>,
}

impl Card {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes.get(..LONGEST).unwrap_or(bytes));
        let mut fields = front_matter(&text).map(fields).unwrap_or_default();
        let license = fields.remove("license").map(|names| names.join(", "));
        let named = fields.remove("license_name").map(|names| names.join(", "));
        let license = license.filter(|license| license != "other").or(named);
        let bases = fields.remove("base_model").unwrap_or_default();
        let relation = fields.remove("base_model_relation").and_then(|words| Relation::parse(words.first()?));
        Self {
            license: license.and_then(|license| handle::bounded(&license)),
            relation,
            base_models: bases.iter().filter_map(|base| handle::bounded(base)).take(MOST_BASES).collect(),
        }
    }

    /// Returns what the card says of the bases; an adapter is one whatever its card leaves out.
    pub(super) fn lineage(&self, is_adapter: bool) -> impl Iterator<Item = Ancestor> {
        let (relation, evidence) = match self.relation {
            Some(relation) => (relation, "README.md: base_model, base_model_relation"),
            None if is_adapter => (Relation::Adapter, "README.md: base_model"),
            None if self.base_models.len() > 1 => (Relation::Merge, "README.md: several base_model"),
            None => (Relation::Base, "README.md: base_model"),
        };
        let one = move |name: &String| Ancestor::on_hub(relation, name, Confidence::Claimed, evidence);
        self.base_models.iter().map(one)
    }
}

fn front_matter(text: &str) -> Option<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).strip_prefix("---")?;
    let (_, matter) = text.split_once('\n').filter(|(rest, _)| rest.trim().is_empty())?;
    if matter.starts_with("---") { None } else { matter.get(..matter.find("\n---")?) }
}

/// Returns the top-level fields with their text, or texts. What comes before a mistake counts.
fn fields(matter: &str) -> BTreeMap<String, Vec<String>> {
    let events = Parser::new_from_str(matter).map_while(Result::ok).map(|(event, _)| event);
    let mut events = events.skip_while(|event| !is_start(event));
    let mut fields = BTreeMap::new();
    if !matches!(events.next(), Some(Event::MappingStart(..))) {
        return fields;
    }
    while let (Some(key), Some(value)) = (node(&mut events), node(&mut events)) {
        if let [key] = key.as_slice() {
            fields.entry(key.clone()).or_insert(value);
        }
    }
    fields
}

/// Takes one whole node: the texts of a scalar or of a flat list, none of anything else.
fn node<'a>(events: &mut impl Iterator<Item = Event<'a>>) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    let first = events.next()?;
    let is_list = matches!(first, Event::SequenceStart(..));
    let mut depth = usize::from(is_start(&first));
    texts.extend(text(&first));
    if matches!(first, Event::MappingEnd) {
        return None;
    }
    while depth > 0 {
        let event = events.next()?;
        if is_list && depth == 1 {
            texts.extend(text(&event));
        }
        depth += usize::from(is_start(&event));
        depth -= usize::from(matches!(event, Event::MappingEnd | Event::SequenceEnd));
    }
    Some(texts)
}

fn is_start(event: &Event<'_>) -> bool {
    matches!(event, Event::MappingStart(..) | Event::SequenceStart(..))
}

fn text(event: &Event<'_>) -> Option<String> {
    let Event::Scalar(text, ..) = event else { return None };
    (!matches!(text.as_ref(), "" | "~" | "null")).then(|| text.clone().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, license: Option<&str>, bases: &[&str]) {
        let card = Card::parse(text.as_bytes());
        assert_eq!(card.license.as_deref(), license);
        assert_eq!(card.base_models, bases);
    }

    #[test]
    fn licence_and_base_models_are_read() {
        check("---\nlicense: apache-2.0\nbase_model: a/b\n---\n# X", Some("apache-2.0"), &["a/b"]);
        check(
            "---\r\nlicense: mit\r\nbase_model:\r\n- a/b\r\n- 'c/d'\r\n---\r\n",
            Some("mit"),
            &["a/b", "c/d"],
        );
        check("---\nlicense: other\nlicense_name: acme-community\n---\n", Some("acme-community"), &[]);
        check(
            "---\nmodel-index:\n- name: x\n  license: no\nlicense: &l mit\nbase_model: null\n---\n",
            Some("mit"),
            &[],
        );
        check("---\nlicense: mit\nbad: [\n---\n", Some("mit"), &[]);
        check("# license: mit\n", None, &[]);
        check("---\n---\nlicense: mit\n", None, &[]);
        check("", None, &[]);
    }

    #[test]
    fn how_it_was_made_is_taken_from_the_card_or_left_open() {
        let of = |text: &str, is_adapter| {
            let lineage = Card::parse(text.as_bytes());
            lineage.lineage(is_adapter).map(|one| one.relation).collect::<Vec<_>>()
        };
        assert_eq!(
            of("---\nbase_model: a/b\nbase_model_relation: quantized\n---\n", false),
            [Relation::Quantized]
        );
        assert_eq!(of("---\nbase_model: a/b\nbase_model_relation: stolen\n---\n", false), [Relation::Base]);
        assert_eq!(of("---\nbase_model: a/b\n---\n", true), [Relation::Adapter]);
        assert_eq!(of("---\nbase_model: [a/b, c/d]\n---\n", false), [Relation::Merge; 2]);
    }

    #[test]
    fn hostile_cards_cost_little() {
        let mut bomb = "---\na0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned();
        for no in 1..40 {
            bomb += &format!("a{no}: &a{no} [{}]\n", vec![format!("*a{}", no - 1); 9].join(","));
        }
        check(&(bomb + "license: mit\n---\n"), Some("mit"), &[]);
        check(&format!("---\nlicense: mit\nx: {}\n---\n", "[".repeat(100_000)), Some("mit"), &[]);
        check(&format!("---\nlicense: mit\n{}\n---\n", "- ".repeat(100_000)), Some("mit"), &[]);
        check(&format!("---\nlicense: mit\nx:\n {}\n---\n", "- ".repeat(100_000)), Some("mit"), &[]);
        check(&format!("---\nlicense: mit\nx: {}\n---\n", "{a: ".repeat(60_000)), Some("mit"), &[]);
        check(&format!("---\nlicense: {}\n---\n", "x".repeat(300)), None, &[]);
    }
}
