//! The licence that a text is, by its first lines; the SPDX name where there is one.

use crate::stores::handle;

/// Texts in the first lines, lower case, and the licence they head.
const KNOWN: &[(&[&str], &str)] = &[
    (&["apache license", "version 2.0"], "apache-2.0"),
    (&["mit license"], "mit"),
    (&["permission is hereby granted, free of charge"], "mit"),
    (&["llama 2 community license"], "llama2"),
    (&["llama 3 community license"], "llama3"),
    (&["llama 3.1 community license"], "llama3.1"),
    (&["llama 3.2 community license"], "llama3.2"),
    (&["llama 3.3 community license"], "llama3.3"),
    (&["llama 4 community license"], "llama4"),
    (&["gemma terms of use"], "gemma"),
    (&["gnu affero general public license", "version 3"], "agpl-3.0"),
    (&["gnu lesser general public license", "version 3"], "lgpl-3.0"),
    (&["gnu general public license", "version 3"], "gpl-3.0"),
    (&["attribution-noncommercial 4.0"], "cc-by-nc-4.0"),
    (&["attribution-sharealike 4.0"], "cc-by-sa-4.0"),
    (&["attribution 4.0 international"], "cc-by-4.0"),
    (&["creativeml open rail++-m"], "openrail++"),
    (&["creativeml open rail-m"], "creativeml-openrail-m"),
    (&["bsd 3-clause"], "bsd-3-clause"),
    (&["bsd 2-clause"], "bsd-2-clause"),
];

/// What is shown of a licence that has no name.
const LONGEST_LINE: usize = 80;

pub(in crate::stores) fn name(text: &[u8]) -> Option<String> {
    let head = text.get(..2048).unwrap_or(text);
    let text = String::from_utf8_lossy(head);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(8).collect();
    let start = lines.join(" ").to_lowercase();
    let known = KNOWN.iter().find(|(words, _)| words.iter().all(|words| start.contains(words)));
    let first = || lines.first().map(|line| line.chars().take(LONGEST_LINE).collect::<String>());
    known.map(|(_, name)| (*name).to_owned()).or_else(|| handle::bounded(&first()?))
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
