//! The front matter of a model card (`README.md`): its licence, what the model was made from and what it is for.
//! Only top-level texts and lists of texts are kept; aliases are never expanded.

use crate::{
    Ancestor, Confidence, Kind, Relation,
    stores::{handle, yaml::Yaml},
};

/// Cards of models that make vectors list hundreds of benchmarks before their licence: some have front matter of more
/// than half of this.
const LONGEST: usize = 1 << 20;

/// A model merged from more than this many others says nothing.
const MOST_BASES: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Card {
    pub license: Option<String>,
    pub base_models: Vec<String>,
    /// How it was made from them, where the card says so.
    pub relation: Option<Relation>,
    /// By the task that the hub lists it under.
    pub kind: Option<Kind>,
}

impl Card {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes.get(..LONGEST).unwrap_or(bytes));
        let fields = front_matter(&text).and_then(|matter| Yaml::shallow(matter.as_bytes()));
        let fields = fields.unwrap_or_default();
        let texts = |name: &str| fields.all(name).collect::<Vec<_>>();
        let names = |name: &str| Some(texts(name).join(", ")).filter(|names| !names.is_empty());
        let is_known = |license: &String| !matches!(license.as_str(), "other" | "unknown");
        let license = names("license").filter(is_known).or_else(|| names("license_name"));
        let relation = texts("base_model_relation").first().and_then(|word| Relation::parse(word));
        let bases = texts("base_model").into_iter().filter_map(handle::bounded);
        let by_library = fields.get("library_name").filter(|name| *name == "sentence-transformers");
        let by_library = by_library.map(|_| Kind::Embedding);
        Self {
            license: license.and_then(|license| handle::bounded(&license)),
            relation,
            kind: texts("pipeline_tag").first().and_then(|task| kind(task)).or(by_library),
            base_models: bases.take(MOST_BASES).collect(),
        }
    }

    /// Whether it is for less than its network could do.
    pub(super) fn is_narrower(&self) -> bool {
        matches!(self.kind, Some(Kind::Embedding | Kind::Reranker))
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

/// Tasks that one kind of model is for. Checkpoints, pipelines, adapters and more are all listed under
/// `text-to-image`, rerankers and classifiers under `text-classification`.
fn kind(task: &str) -> Option<Kind> {
    Some(match task {
        "text-generation"
        | "text2text-generation"
        | "image-text-to-text"
        | "audio-text-to-text"
        | "video-text-to-text"
        | "any-to-any" => Kind::Llm,
        "feature-extraction" | "sentence-similarity" => Kind::Embedding,
        "text-ranking" => Kind::Reranker,
        "automatic-speech-recognition" => Kind::Asr,
        "text-to-speech" => Kind::Tts,
        _ => return None,
    })
}

fn front_matter(text: &str) -> Option<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).strip_prefix("---")?;
    let (_, matter) = text.split_once('\n').filter(|(rest, _)| rest.trim().is_empty())?;
    if matter.starts_with("---") { None } else { matter.get(..matter.find("\n---")?) }
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
        let results = "  - {type: map, value: 1}\n".repeat(25_000);
        check(&format!("---\nmodel-index:\n{results}license: mit\n---\n"), Some("mit"), &[]);
        check("---\nlicense: unknown\n---\n", None, &[]);
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
    fn what_it_is_for_is_the_task_where_that_leaves_no_choice() {
        let of = |task: &str| Card::parse(format!("---\npipeline_tag: {task}\n---\n").as_bytes()).kind;
        assert_eq!(of("text-generation"), Some(Kind::Llm));
        assert_eq!(of("sentence-similarity"), Some(Kind::Embedding));
        assert_eq!(of("text-to-image"), None);
        assert_eq!(of("[text-ranking]"), Some(Kind::Reranker));
        assert_eq!(of(""), None);
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
        check(&format!("---\nlicense: mit\nx: {}\n---\n", "[".repeat(1_000_000)), Some("mit"), &[]);
        check(&format!("---\nlicense: mit\nx: {}\n---\n", "[a,".repeat(300_000)), Some("mit"), &[]);
        check(&format!("---\nlicense: mit\nx:\n {}\n---\n", "- ".repeat(100_000)), Some("mit"), &[]);
        check(&format!("---\nlicense: mit\nx: {}\n---\n", "{a: ".repeat(60_000)), Some("mit"), &[]);
        check(&format!("---\nlicense: {}\n---\n", "x".repeat(300)), None, &[]);
    }
}
