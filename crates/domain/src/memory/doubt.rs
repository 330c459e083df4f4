//! Models whose memory is not counted although something could be: a key that decides it makes no sense.

use super::Shape;
use crate::facts::{Facts, NOT_BELIEVED};

/// Ends of the names of keys without which nothing can be counted. The engine refuses such a file, or takes what is not
/// there.
const DECISIVE: [&str; 9] = [
    ".block_count",
    ".context_length",
    ".embedding_length",
    ".attention.head_count",
    ".attention.head_count_kv",
    ".expert_count",
    ".expert_used_count",
    "split.count",
    "split.no",
];

/// What is counted of a model, or in words why nothing can be. `warnings` are the model's, `facts` those of its header.
pub fn countable(warnings: &[String], facts: Option<&Facts>) -> Result<Shape, String> {
    let facts = facts.ok_or("its header was not read")?;
    if let Some(doubt) = doubt(warnings) {
        return Err(doubt.to_owned());
    }
    Shape::of(facts).map_err(|unplannable| unplannable.to_string())
}

/// The first warning about a key that decides how much memory a model takes, and that is not believed.
fn doubt(warnings: &[String]) -> Option<&str> {
    let is_decisive = |warning: &&str| {
        let key = warning.split(' ').next().unwrap_or("");
        warning.ends_with(NOT_BELIEVED) && DECISIVE.iter().any(|end| key.ends_with(end))
    };
    warnings.iter().map(String::as_str).find(is_decisive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(warning: &str, is_doubted: bool) {
        assert_eq!(doubt(&["too long".into(), warning.into()]), is_doubted.then_some(warning));
    }

    #[test]
    fn a_key_that_decides_is_named_and_no_other() {
        check("llama.block_count is 4294967295, which is not believed", true);
        check("llama.attention.head_count is 0, which is not believed", true);
        check("split.no is 7, which is not believed", true);
        check("general.file_type is 99, which is not believed", false);
        check("llama.block_count is 32", false);
    }
}
