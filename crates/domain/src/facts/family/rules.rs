//! The rules of `families.txt`, read once, and whether one holds. Knows no model and no kind but by the file.

use super::Tensors;
use crate::Kind;
use std::sync::LazyLock;

/// A list of rules for one purpose.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) rules: Vec<Rule>,
}

/// An id (None: a kind without a family) and its conditions.
pub(super) struct Rule {
    pub(super) id: Option<&'static str>,
    all: Vec<Condition>,
    any: Vec<Condition>,
    pub(super) variants: Vec<Rule>,
}

#[derive(Debug)]
struct Condition {
    is_wanted: bool,
    test: Test,
    text: &'static str,
    dim: Option<(Dim, u64)>,
}

#[derive(Debug, Clone, Copy)]
enum Test {
    /// A tensor of that name.
    Key,
    /// The same, without looking behind prefixes.
    WholeKey,
    Start,
    Part,
}

#[derive(Debug, Clone, Copy)]
enum Dim {
    At(usize),
    Last,
    Rank,
}

static SECTIONS: LazyLock<Vec<Section>> = LazyLock::new(|| read(include_str!("families.txt")));

/// Returns the rules of a section; none of one that is not there.
pub(super) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

pub(super) fn sections() -> &'static [Section] {
    &SECTIONS
}

impl Section {
    /// Returns the first rule that holds, and its first variant that does.
    pub(super) fn find(&self, tensors: &Tensors<'_>, prefix: &str) -> Option<(&Rule, Option<&Rule>)> {
        let rule = self.rules.iter().find(|rule| rule.holds(tensors, prefix))?;
        Some((rule, rule.variants.iter().find(|variant| variant.holds(tensors, prefix))))
    }
}

impl Rule {
    fn holds(&self, tensors: &Tensors<'_>, prefix: &str) -> bool {
        let holds = |condition: &Condition| condition.holds(tensors, prefix);
        self.all.iter().all(holds) && (self.any.is_empty() || self.any.iter().any(holds))
    }
}

impl Condition {
    fn holds(&self, tensors: &Tensors<'_>, prefix: &str) -> bool {
        let fits = |shape: &[u64]| self.dim.is_none_or(|(dim, wanted)| dim.of(shape) == Some(wanted));
        let is_there = match self.test {
            Test::Key => tensors.shape(prefix, self.text).is_some_and(fits),
            Test::WholeKey => tensors.shape("", self.text).is_some_and(fits),
            Test::Start => {
                tensors.behind(prefix).any(|(name, shape)| name.starts_with(self.text) && fits(shape))
            }
            Test::Part => tensors.behind(prefix).any(|(name, shape)| name.contains(self.text) && fits(shape)),
        };
        is_there == self.is_wanted
    }
}

impl Dim {
    fn of(self, shape: &[u64]) -> Option<u64> {
        match self {
            Self::At(at) => shape.get(at).copied(),
            Self::Last => shape.last().copied(),
            Self::Rank => u64::try_from(shape.len()).ok(),
        }
    }
}

fn read(text: &'static str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if first == "=" {
            let (name, kind) = (words.next().unwrap_or_default(), words.next().and_then(Kind::parse));
            sections.push(Section { name, kind: kind.unwrap_or(Kind::Other), rules: Vec::new() });
            continue;
        }
        let rules = sections.last_mut().map(|section| &mut section.rules);
        let into = if line.starts_with(' ') {
            rules.and_then(|rules| rules.last_mut()).map(|rule| &mut rule.variants)
        } else {
            rules
        };
        if let Some(into) = into {
            into.push(rule(first, words));
        }
    }
    sections
}

fn rule(id: &'static str, words: impl Iterator<Item = &'static str>) -> Rule {
    let mut rule =
        Rule { id: (id != "-").then_some(id), all: Vec::new(), any: Vec::new(), variants: Vec::new() };
    for word in words {
        match word.strip_prefix('|') {
            Some(word) => rule.any.push(condition(word)),
            None => rule.all.push(condition(word)),
        }
    }
    rule
}

fn condition(word: &'static str) -> Condition {
    let (is_wanted, word) = word.strip_prefix('!').map_or((true, word), |word| (false, word));
    let (test, word) = [('^', Test::Start), ('~', Test::Part), ('@', Test::WholeKey)]
        .into_iter()
        .find_map(|(sign, test)| Some((test, word.strip_prefix(sign)?)))
        .unwrap_or((Test::Key, word));
    let dim = word.split_once('[').and_then(|(text, rest)| {
        let (dim, number) = rest.split_once("]=")?;
        let dim = match dim {
            "rank" => Dim::Rank,
            "-1" => Dim::Last,
            at => Dim::At(at.parse().ok()?),
        };
        Some((text, (dim, number.parse().ok()?)))
    });
    let (text, dim) = dim.map_or((word, None), |(text, dim)| (text, Some(dim)));
    Condition { is_wanted, test, text, dim }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_file_is_understood() {
        let text = include_str!("families.txt");
        let headings = text.lines().filter_map(|line| line.strip_prefix("= "));
        for heading in headings.clone() {
            let (name, kind) = heading.split_once(' ').unwrap();
            assert_eq!(section(name).unwrap().kind.name(), kind);
        }
        assert_eq!(headings.count(), SECTIONS.len());
        let all = SECTIONS.iter().flat_map(|section| &section.rules);
        for rule in all.flat_map(|rule| [rule].into_iter().chain(&rule.variants)) {
            assert!(!rule.all.is_empty() || !rule.any.is_empty(), "{:?}", rule.id);
            for condition in rule.all.iter().chain(&rule.any) {
                let is_plain = !condition.text.contains(['[', ']', '=', '!', '|', '@', '^', '~']);
                assert!(is_plain && !condition.text.is_empty(), "{condition:?}");
            }
            assert!(rule.id.is_none_or(|id| id == id.to_lowercase() && !id.contains('_')), "{:?}", rule.id);
        }
    }
}
