//! Licence, base models and source, as a file states them: claims, cleaned, not believed.

use super::{keys::Keys, short};

/// More than any model names; merges list a dozen.
const MAX_BASE_MODELS: u64 = 32;
/// Longer licences are texts, not names.
const MAX_LICENSE: usize = 200;
const MAX_URL: usize = 512;

pub(super) fn license(keys: &Keys<'_>) -> Option<String> {
    let stated = keys.text("general.license")?;
    let named = (stated == "other").then(|| keys.text("general.license.name")).flatten();
    license_name(named.unwrap_or(stated))
}

/// Returns a licence's name, or the first line of its text.
pub(super) fn license_name(text: &str) -> Option<String> {
    short(text.trim().lines().next()?, MAX_LICENSE)
}

pub(super) fn base_models(keys: &Keys<'_>) -> Vec<String> {
    let count = keys.get("general.base_model.count").and_then(formats::gguf::Value::as_u64).unwrap_or(0);
    let mut names: Vec<String> =
        (0..count.min(MAX_BASE_MODELS)).filter_map(|index| base_model(keys, index)).collect();
    names.dedup();
    names
}

fn base_model(keys: &Keys<'_>, index: u64) -> Option<String> {
    let text = |field: &str| keys.text(&format!("general.base_model.{index}.{field}"));
    let url = text("repo_url").and_then(web_url);
    if let Some(repo) = url.as_deref().and_then(repository) {
        return Some(repo);
    }
    let name = || {
        let name = text("name")?;
        let full = text("organization")
            .map_or_else(|| name.to_owned(), |organization| format!("{organization}/{name}"));
        short(&full, 256)
    };
    name().or(url)
}

/// Returns the first page that the file names: where it was made, else what it was made from.
pub(super) fn source_url(keys: &Keys<'_>) -> Option<String> {
    let pages = ["general.repo_url", "general.url", "general.source.repo_url", "general.source.url"];
    pages.into_iter().find_map(|key| web_url(keys.text(key)?)).or_else(|| {
        let repository = keys.text("general.source.huggingface.repository")?;
        let is_name =
            repository.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
        (is_name && repository.split('/').count() == 2)
            .then(|| format!("https://huggingface.co/{repository}"))
    })
}

/// Returns a page without credentials, query and fragment; None for anything that is not http(s).
fn web_url(text: &str) -> Option<String> {
    let (scheme, rest) = text.trim().split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let rest = rest.split(['?', '#']).next()?;
    let (authority, path) =
        rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let host = authority.rsplit('@').next().filter(|host| !host.is_empty())?;
    let is_clean = rest.len() <= MAX_URL && !rest.chars().any(|c| c.is_control() || c.is_whitespace());
    let is_web = matches!(scheme.as_str(), "http" | "https");
    (is_web && is_clean).then(|| {
        path.map_or_else(|| format!("{scheme}://{host}"), |path| format!("{scheme}://{host}/{path}"))
    })
}

/// Returns `org/name` of a page on Hugging Face.
fn repository(url: &str) -> Option<String> {
    let path =
        ["https://huggingface.co/", "https://hf.co/"].iter().find_map(|host| url.strip_prefix(host))?;
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    Some(format!("{}/{}", parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::Build;

    #[test]
    fn pages_are_cleaned_and_only_of_the_web() {
        for (text, expected) in [
            ("https://huggingface.co/a/b", Some("https://huggingface.co/a/b")),
            (" HTTPS://x.org ", Some("https://x.org")),
            ("https://user:secret@x.org/a?token=1#b", Some("https://x.org/a")),
            ("https://x.org/a@b", Some("https://x.org/a@b")),
            ("javascript:alert(1)", None),
            ("javascript://x.org/%0aalert(1)", None),
            ("file:///etc/passwd", None),
            ("https://", None),
            ("https://user@/a", None),
            ("https://x.org/a b", None),
            ("https://x.org/\u{1b}[31m", None),
        ] {
            assert_eq!(web_url(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn base_models_are_repositories_where_the_file_says_so() {
        let (facts, _) = Build::model("llama")
            .number("general.base_model.count", 4)
            .text("general.base_model.0.repo_url", "https://huggingface.co/acme-ai/TinyAcme-1.1B/tree/main")
            .text("general.base_model.0.name", "TinyAcme 1.1B")
            .text("general.base_model.1.organization", "Acme Ai")
            .text("general.base_model.1.name", "TinyAcme 2B")
            .text("general.base_model.3.repo_url", "https://example.com/m")
            .text("general.source.huggingface.repository", "acme-ai/TinyAcme")
            .facts();
        assert_eq!(
            facts.base_models,
            ["acme-ai/TinyAcme-1.1B", "Acme Ai/TinyAcme 2B", "https://example.com/m"]
        );
        assert_eq!(facts.source_url.as_deref(), Some("https://huggingface.co/acme-ai/TinyAcme"));
        let (facts, _) = Build::model("llama").number("general.base_model.count", u32::MAX).facts();
        assert_eq!(facts.base_models, [""; 0]);
    }

    #[test]
    fn a_licence_is_a_name_or_the_first_line_of_its_text() {
        let long = format!("\n Acme License\n{}", "x".repeat(60_000));
        let line = "L".repeat(60_000);
        for (text, expected) in [("apache-2.0", "apache-2.0"), (&long, "Acme License"), (&line, &line[..200])]
        {
            assert_eq!(
                Build::model("llama").text("general.license", text).facts().0.license.as_deref(),
                Some(expected)
            );
        }
        let other =
            Build::model("llama").text("general.license", "other").text("general.license.name", "gemma");
        assert_eq!(other.facts().0.license.as_deref(), Some("gemma"));
    }
}
