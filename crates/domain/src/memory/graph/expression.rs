//! Sizes as the graphs' data write them: sums of products of named numbers, such as `4*T*ffn_up:1`.

/// Names that stand in the sizes of one architecture, each once.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// The number by which expressions know a name.
    fn number(&mut self, name: &str) -> usize {
        if let Some(at) = self.0.iter().position(|known| known == name) {
            return at;
        }
        self.0.push(name.to_owned());
        self.0.len() - 1
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// A sum; terms that are taken away come with the others.
#[derive(Debug, Clone, Default)]
pub(super) struct Expression {
    factor: u64,
    terms: Vec<Term>,
}

#[derive(Debug, Clone)]
struct Term {
    is_negative: bool,
    factor: u64,
    names: Vec<usize>,
}

impl Expression {
    /// None for what is no expression.
    pub(super) fn parse(text: &str, names: &mut Names) -> Option<Self> {
        let (factor, inner) = match text
            .split_once("*(")
            .and_then(|(factor, rest)| Some((factor.parse().ok()?, rest.strip_suffix(')')?)))
        {
            Some(split) => split,
            None => (1, text),
        };
        let mut terms = Vec::new();
        let mut rest = inner;
        let mut is_negative = false;
        loop {
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            let (term, after) = rest.split_at(end);
            terms.push(Term::parse(term, is_negative, names)?);
            let mut signs = after.chars();
            match signs.next() {
                None => return Some(Self { factor, terms }),
                Some(sign) => is_negative = sign == '-',
            }
            rest = signs.as_str();
        }
    }

    /// The value where each name has one; saturates, and is never below 0.
    pub(super) fn value(&self, values: &[u64]) -> u64 {
        let (mut more, mut less) = (0_u64, 0_u64);
        for term in &self.terms {
            let value = term.names.iter().fold(term.factor, |product, name| {
                product.saturating_mul(values.get(*name).copied().unwrap_or(0))
            });
            let side = if term.is_negative { &mut less } else { &mut more };
            *side = side.saturating_add(value);
        }
        self.factor.saturating_mul(more.saturating_sub(less))
    }
}

impl Term {
    fn parse(text: &str, is_negative: bool, names: &mut Names) -> Option<Self> {
        let mut term = Self { is_negative, factor: 1, names: Vec::new() };
        for part in text.split('*') {
            match part.parse::<u64>() {
                Ok(number) => term.factor = term.factor.checked_mul(number)?,
                Err(_) if part.is_empty() => return None,
                Err(_) => term.names.push(names.number(part)),
            }
        }
        Some(term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_products_have_their_value() {
        for (text, expected) in [
            ("12", Some(12)),
            ("4*T*E", Some(4 * 512 * 4096)),
            ("T*E+3*T", Some(512 * 4096 + 3 * 512)),
            ("4*(E-T)", Some(4 * (4096 - 512))),
            ("T-E", Some(0)),
            ("T*unheard:1", Some(0)),
            ("", None),
            ("4**T", None),
        ] {
            let mut names = Names::default();
            let expression = Expression::parse(text, &mut names);
            let known = |name: &str| match name {
                "T" => 512,
                "E" => 4096,
                _ => 0,
            };
            let values: Vec<u64> = names.iter().map(known).collect();
            assert_eq!(expression.map(|it| it.value(&values)), expected, "{text}");
        }
    }
}
