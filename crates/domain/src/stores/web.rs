//! Addresses that models come from: what a URL says of repository, revision and file, and the URLs of pages.

use crate::{Confidence, Source, SourceKind};

/// Longer URLs are signed ones; nothing of ours is.
const LONGEST: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub kind: SourceKind,
    pub repo: Option<String>,
    /// A branch or a commit.
    pub revision: Option<String>,
    /// Without user, query and fragment, which may hold credentials.
    pub url: String,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let scheme = ["https", "http"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
        let (rest, query) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = authority.rsplit('@').next()?;
        let host = authority.split(':').next()?.to_ascii_lowercase();
        let mut url = format!("{scheme}://{authority}/{path}");
        if host.is_empty() || url.len() > LONGEST || url.contains(char::is_control) {
            return None;
        }
        let parts: Vec<&str> = path.split('/').collect();
        let (kind, repo, mut revision) = place(&host, &parts);
        if let Some(version) =
            civitai_version(query).filter(|_| kind == SourceKind::Civitai && repo.is_some())
        {
            url += &format!("?{CIVITAI_VERSION}{version}");
            revision = Some(version);
        }
        Some(Self { kind, repo, revision: revision.map(str::to_owned), url })
    }
}

/// The one part of a query that says what a page is about.
const CIVITAI_VERSION: &str = "modelVersionId=";

/// Returns the version that a query of CivitAI's names.
fn civitai_version(query: &str) -> Option<&str> {
    let query = query.split('#').next()?;
    let version = query.split('&').find_map(|part| part.strip_prefix(CIVITAI_VERSION))?;
    is_number(version).then_some(version)
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit())
}

fn place<'a>(host: &str, parts: &[&'a str]) -> (SourceKind, Option<String>, Option<&'a str>) {
    let is_of = |site: &str| host == site || host.strip_suffix(site).is_some_and(|sub| sub.ends_with('.'));
    if is_of("huggingface.co") || is_of("hf.co") {
        let (repo, revision) = hub_place(parts);
        return (SourceKind::HuggingFace, repo, revision);
    }
    match parts {
        ["models", id, ..] if is_of("civitai.com") => (SourceKind::Civitai, Some((*id).to_owned()), None),
        ["api", "download", "models", version] if is_of("civitai.com") => {
            (SourceKind::Civitai, None, Some(*version).filter(|version| is_number(version)))
        }
        _ if is_of("civitai.com") => (SourceKind::Civitai, None, None),
        ["models", org, name, ..] if is_of("modelscope.cn") => {
            (SourceKind::ModelScope, Some(format!("{org}/{name}")), None)
        }
        _ => (SourceKind::Url, None, None),
    }
}

fn hub_place<'a>(parts: &[&'a str]) -> (Option<String>, Option<&'a str>) {
    match parts {
        [org, name, "resolve" | "blob" | "raw" | "tree", revision, ..] => {
            (Some(format!("{org}/{name}")), Some(revision))
        }
        [name, "resolve" | "blob" | "raw" | "tree", revision, ..] => {
            (Some((*name).to_owned()), Some(revision))
        }
        [org, name] => (Some(format!("{org}/{name}")), None),
        _ => (None, None),
    }
}

/// Returns a source on the Hugging Face hub with the address of its page.
pub(super) fn hugging_face(repo: &str, confidence: Confidence, evidence: String) -> Source {
    let url = format!("https://huggingface.co/{}", encode(repo));
    let (kind, repo) = (Some(SourceKind::HuggingFace), Some(repo.to_owned()));
    Source { kind, repo, url: Some(url), confidence, evidence: vec![evidence] }
}

/// Escapes a path for a URL (RFC 3986); slashes stay.
pub(super) fn encode(path: &str) -> String {
    let mut url = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                url.push(byte.into());
            }
            _ => url += &format!("%{byte:02X}"),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, kind: SourceKind, repo: Option<&str>, revision: Option<&str>, clean: &str) {
        let address = Address::parse(url).unwrap();
        assert_eq!((address.kind, address.repo.as_deref()), (kind, repo));
        assert_eq!((address.revision.as_deref(), address.url.as_str()), (revision, clean));
    }

    #[test]
    fn addresses_are_read_and_cleaned() {
        let file = "https://huggingface.co/a/b/resolve/main/c/d.gguf";
        check(file, SourceKind::HuggingFace, Some("a/b"), Some("main"), file);
        check(
            "https://huggingface.co/a/b",
            SourceKind::HuggingFace,
            Some("a/b"),
            None,
            "https://huggingface.co/a/b",
        );
        let lfs = "https://cdn-lfs.hf.co/x/y/z";
        check(&format!("{lfs}?Signature=s#f"), SourceKind::HuggingFace, None, None, lfs);
        let page = "https://civitai.com/models/4201/name";
        check(page, SourceKind::Civitai, Some("4201"), None, page);
        let version = "https://civitai.com/models/4201?modelVersionId=501";
        check(version, SourceKind::Civitai, Some("4201"), Some("501"), version);
        check(
            &format!("{page}?token=s&modelVersionId=501#x"),
            SourceKind::Civitai,
            Some("4201"),
            Some("501"),
            &format!("{page}?modelVersionId=501"),
        );
        check(&format!("{page}?modelVersionId=../x"), SourceKind::Civitai, Some("4201"), None, page);
        let download = "https://civitai.com/api/download/models/501";
        check(&format!("{download}?token=s"), SourceKind::Civitai, None, Some("501"), download);
        check("HTTP://user:pw@evilhf.co:80/x", SourceKind::Url, None, None, "http://evilhf.co:80/x");
        for bad in ["file:///etc/passwd", "x", "https://", "https://a\nb/", "javascript:alert(1)"] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_are_escaped() {
        assert_eq!(encode("a b/#é.gguf"), "a%20b/%23%C3%A9.gguf");
    }
}
