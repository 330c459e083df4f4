//! What a model was made from, as its records and its own header say it. Names are compared, never guessed at: a
//! name without its organisation is nobody's.

use crate::{Confidence, Relation};
use serde::{Deserialize, Serialize};

/// A model merged from more than this many others says nothing.
pub(crate) const MOST: usize = 32;

/// One model that another was made from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ancestor {
    pub relation: Relation,
    /// As it was written: `org/name`, a file's name, an app's handle.
    pub name: String,
    /// On the hub, where the name is one of a repository.
    pub repo: Option<String>,
    pub url: Option<String>,
    /// Of its one file, where a trainer or merger noted it.
    pub sha256: Option<String>,
    /// The model of this index that it is; `Show` and `Tree` tell.
    pub model_id: Option<String>,
    pub confidence: Confidence,
    pub evidence: Vec<String>,
}

impl Ancestor {
    /// One that is known by its name alone.
    pub(crate) fn named(relation: Relation, name: &str, confidence: Confidence, evidence: &str) -> Self {
        Self {
            relation,
            name: name.to_owned(),
            repo: None,
            url: None,
            sha256: None,
            model_id: None,
            confidence,
            evidence: vec![evidence.to_owned()],
        }
    }

    /// One whose name is that of a repository on the hub, if it looks like one.
    pub(crate) fn on_hub(relation: Relation, name: &str, confidence: Confidence, evidence: &str) -> Self {
        let repo = is_repository(name).then(|| name.to_owned());
        let url = repo.as_ref().map(|repo| format!("https://huggingface.co/{repo}"));
        Self { repo, url, ..Self::named(relation, name, confidence, evidence) }
    }

    /// What the same ancestor is known by, however it is written; None for a name that could be anybody's.
    pub(crate) fn key(&self) -> Option<String> {
        let name = self.repo.as_deref().unwrap_or(&self.name);
        (name.contains('/') || name.contains(':')).then(|| folded(name))
    }

    /// Whether two of them are one: by their keys, else by the very same name.
    fn is(&self, other: &Self) -> bool {
        let same_file = self.sha256.is_some() && self.sha256 == other.sha256;
        same_file
            || folded(&self.name) == folded(&other.name)
            || self.key().is_some_and(|key| other.key() == Some(key))
    }

    fn join(&mut self, other: Self) {
        // How it was made is taken from whoever says it; where two do, from the surer.
        let is_surer = other.confidence < self.confidence && other.relation != Relation::Base;
        if self.relation == Relation::Base || is_surer {
            self.relation = other.relation;
        }
        self.confidence = self.confidence.min(other.confidence);
        if self.repo.is_none() && other.repo.is_some() {
            (self.name, self.repo, self.url) = (other.name, other.repo, other.url);
        }
        self.sha256 = self.sha256.take().or(other.sha256);
        self.evidence.extend(other.evidence);
        let mut seen = std::collections::BTreeSet::new();
        self.evidence.retain(|line| seen.insert(line.clone()));
    }
}

/// Puts together what several records say: each ancestor once, with everything that speaks for it.
pub(crate) fn joined(all: impl IntoIterator<Item = Ancestor>) -> Vec<Ancestor> {
    let mut joined: Vec<Ancestor> = Vec::new();
    for one in all {
        match joined.iter().position(|known| known.is(&one)).and_then(|at| joined.get_mut(at)) {
            Some(known) => known.join(one),
            None => joined.push(one),
        }
    }
    joined.truncate(MOST);
    joined
}

/// Returns a name as it is compared: `Acme Ai/TinyAcme 1.1B` is `acme-ai/TinyAcme-1.1B`.
pub(crate) fn folded(name: &str) -> String {
    let kept = name.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, '/' | ':'));
    kept.flat_map(char::to_lowercase).collect()
}

/// Whether a name can be that of a repository on the hub.
pub(crate) fn is_repository(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let is_part =
        |part: &str| (1..=96).contains(&part.len()) && !part.starts_with('.') && part.chars().all(is_plain);
    name.split_once('/').is_some_and(|(organisation, name)| is_part(organisation) && is_part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ancestor_in_two_spellings_is_one_with_both_witnesses() {
        let card =
            Ancestor::on_hub(Relation::Finetune, "acme-ai/TinyAcme-1.1B", Confidence::Claimed, "README.md");
        let header = Ancestor::named(
            Relation::Base,
            "Acme Ai/TinyAcme 1.1B",
            Confidence::Claimed,
            "general.base_model.0",
        );
        let other = Ancestor::named(Relation::Base, "TinyAcme 1.1B", Confidence::Inferred, "the name");
        let joined = joined([header, card, other]);
        let [one, other] = joined.as_slice() else { panic!("{joined:?}") };
        assert_eq!((one.name.as_str(), one.relation), ("acme-ai/TinyAcme-1.1B", Relation::Finetune));
        assert_eq!(one.evidence, ["general.base_model.0", "README.md"]);
        assert_eq!((other.key(), other.confidence), (None, Confidence::Inferred), "a bare name is nobody's");
    }

    #[test]
    fn only_a_repository_gets_a_page() {
        for (name, is) in [
            ("acme-ai/TinyAcme-1.1B", true),
            ("Acme Ai/TinyAcme", false),
            ("a/b/c", false),
            ("../etc", false),
            ("./x", false),
            ("name", false),
            ("/x", false),
        ] {
            assert_eq!(is_repository(name), is, "{name}");
        }
    }
}
