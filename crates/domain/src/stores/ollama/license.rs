//! The licence that a text is, by its first lines; the SPDX name where there is one.

use crate::{license, stores::handle};

/// What is shown of a licence that has no name.
const LONGEST_LINE: usize = 80;

pub(in crate::stores) fn name(text: &[u8]) -> Option<String> {
    let head = text.get(..2048).unwrap_or(text);
    let text = String::from_utf8_lossy(head);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(8).collect();
    let first = || lines.first().map(|line| line.chars().take(LONGEST_LINE).collect::<String>());
    let known = license::of_text(&lines.join(" ")).map(str::to_owned);
    known.or_else(|| handle::bounded(&first()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_known_by_their_heads() {
        let check =
            |text: &str, expected: Option<&str>| assert_eq!(name(text.as_bytes()).as_deref(), expected);
        check("\n   Apache License\n  Version 2.0, January 2004\n", Some("apache-2.0"));
        check("MIT License\n\nCopyright", Some("mit"));
        check("Copyright (c) 2024\nPermission is hereby granted, free of charge, to", Some("mit"));
        check("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\nLlama 3.1 Version", Some("llama3.1"));
        check("Gemma Terms of Use\n", Some("gemma"));
        check("ACME Research\nAll rights", Some("ACME Research"));
        check(&"x".repeat(3000), Some(&"x".repeat(80)));
        check("", None);
    }
}
