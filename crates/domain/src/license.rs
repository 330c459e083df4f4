//! Licences: what a written name or a text is called by SPDX, and what class it is of. A name that is on no list here
//! stays as it was written, with no class: nothing is read into it.

use crate::LicenseClass::{
    self, Copyleft, NonCommercial, Permissive, ResearchOnly, Restricted, WeakCopyleft,
};

/// A licence that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct License {
    /// An id of the SPDX list, or a `LicenseRef-`; None for a family without its version (`gpl`).
    pub spdx: Option<&'static str>,
    pub class: LicenseClass,
}

/// By the hub's id (huggingface.co/docs/hub/repositories-licenses) or the `license_name` that the cards of the most
/// used models have; ids are of the SPDX list 3.27. An id without `only` or `or later` means `only`, as SPDX reads it.
const KNOWN: &[(&str, &str, LicenseClass)] = &[
    ("apache-2.0", "Apache-2.0", Permissive),
    ("mit", "MIT", Permissive),
    ("afl-3.0", "AFL-3.0", Permissive),
    ("artistic-2.0", "Artistic-2.0", WeakCopyleft),
    ("bsl-1.0", "BSL-1.0", Permissive),
    ("bsd", "", Permissive),
    ("bsd-2-clause", "BSD-2-Clause", Permissive),
    ("bsd-3-clause", "BSD-3-Clause", Permissive),
    ("bsd-3-clause-clear", "BSD-3-Clause-Clear", Permissive),
    ("0bsd", "0BSD", Permissive),
    ("c-uda", "C-UDA-1.0", Restricted),
    ("cc0-1.0", "CC0-1.0", Permissive),
    ("cc-by-2.0", "CC-BY-2.0", Permissive),
    ("cc-by-2.5", "CC-BY-2.5", Permissive),
    ("cc-by-3.0", "CC-BY-3.0", Permissive),
    ("cc-by-4.0", "CC-BY-4.0", Permissive),
    ("cc-by-sa-3.0", "CC-BY-SA-3.0", Copyleft),
    ("cc-by-sa-4.0", "CC-BY-SA-4.0", Copyleft),
    ("cc-by-nc-2.0", "CC-BY-NC-2.0", NonCommercial),
    ("cc-by-nc-3.0", "CC-BY-NC-3.0", NonCommercial),
    ("cc-by-nc-4.0", "CC-BY-NC-4.0", NonCommercial),
    ("cc-by-nd-4.0", "CC-BY-ND-4.0", Restricted),
    ("cc-by-nc-nd-3.0", "CC-BY-NC-ND-3.0", NonCommercial),
    ("cc-by-nc-nd-4.0", "CC-BY-NC-ND-4.0", NonCommercial),
    ("cc-by-nc-sa-2.0", "CC-BY-NC-SA-2.0", NonCommercial),
    ("cc-by-nc-sa-3.0", "CC-BY-NC-SA-3.0", NonCommercial),
    ("cc-by-nc-sa-4.0", "CC-BY-NC-SA-4.0", NonCommercial),
    ("cdla-sharing-1.0", "CDLA-Sharing-1.0", Copyleft),
    ("cdla-permissive-1.0", "CDLA-Permissive-1.0", Permissive),
    ("cdla-permissive-2.0", "CDLA-Permissive-2.0", Permissive),
    ("wtfpl", "WTFPL", Permissive),
    ("ecl-2.0", "ECL-2.0", Permissive),
    ("epl-1.0", "EPL-1.0", WeakCopyleft),
    ("epl-2.0", "EPL-2.0", WeakCopyleft),
    ("etalab-2.0", "etalab-2.0", Permissive),
    ("eupl-1.1", "EUPL-1.1", Copyleft),
    ("eupl-1.2", "EUPL-1.2", Copyleft),
    ("agpl-3.0", "AGPL-3.0-only", Copyleft),
    ("agpl-3.0-or-later", "AGPL-3.0-or-later", Copyleft),
    ("gfdl", "", Copyleft),
    ("gpl", "", Copyleft),
    ("gpl-2.0", "GPL-2.0-only", Copyleft),
    ("gpl-2.0-or-later", "GPL-2.0-or-later", Copyleft),
    ("gpl-3.0", "GPL-3.0-only", Copyleft),
    ("gpl-3.0-or-later", "GPL-3.0-or-later", Copyleft),
    ("lgpl", "", WeakCopyleft),
    ("lgpl-2.1", "LGPL-2.1-only", WeakCopyleft),
    ("lgpl-3.0", "LGPL-3.0-only", WeakCopyleft),
    ("lgpl-lr", "LGPLLR", WeakCopyleft),
    ("isc", "ISC", Permissive),
    ("lppl-1.3c", "LPPL-1.3c", WeakCopyleft),
    ("ms-pl", "MS-PL", WeakCopyleft),
    ("mpl-2.0", "MPL-2.0", WeakCopyleft),
    ("odc-by", "ODC-By-1.0", Permissive),
    ("odbl", "ODbL-1.0", Copyleft),
    ("osl-3.0", "OSL-3.0", Copyleft),
    ("postgresql", "PostgreSQL", Permissive),
    ("ofl-1.1", "OFL-1.1", WeakCopyleft),
    ("ncsa", "NCSA", Permissive),
    ("unlicense", "Unlicense", Permissive),
    ("zlib", "Zlib", Permissive),
    ("pddl", "PDDL-1.0", Permissive),
    ("openmdw-1.0", "LicenseRef-OpenMDW-1.0", Permissive),
    ("openrail", "LicenseRef-openrail", Restricted),
    ("openrail++", "LicenseRef-CreativeML-Open-RAIL-plus-plus-M", Restricted),
    ("creativeml-openrail-m", "LicenseRef-CreativeML-Open-RAIL-M", Restricted),
    ("bigscience-openrail-m", "LicenseRef-BigScience-OpenRAIL-M", Restricted),
    ("bigscience-bloom-rail-1.0", "LicenseRef-BigScience-BLOOM-RAIL-1.0", Restricted),
    ("bigcode-openrail-m", "LicenseRef-BigCode-OpenRAIL-M", Restricted),
    ("llama2", "LicenseRef-llama2", Restricted),
    ("llama3", "LicenseRef-llama3", Restricted),
    ("llama3.1", "LicenseRef-llama3.1", Restricted),
    ("llama3.2", "LicenseRef-llama3.2", Restricted),
    ("llama3.3", "LicenseRef-llama3.3", Restricted),
    ("llama4", "LicenseRef-llama4", Restricted),
    ("gemma", "LicenseRef-gemma", Restricted),
    ("grok2-community", "LicenseRef-grok2-community", Restricted),
    ("qwen", "LicenseRef-qwen", Restricted),
    ("tongyi-qianwen", "LicenseRef-tongyi-qianwen", Restricted),
    ("qwen-research", "LicenseRef-qwen-research", ResearchOnly),
    ("deepseek", "LicenseRef-deepseek", Restricted),
    ("nvidia-open-model", "LicenseRef-nvidia-open-model", Restricted),
    ("health-ai-developer-foundations", "LicenseRef-health-ai-developer-foundations", Restricted),
    ("stabilityai-ai-community", "LicenseRef-stabilityai-ai-community", Restricted),
    ("tencent-hunyuan-community", "LicenseRef-tencent-hunyuan-community", Restricted),
    ("falcon-llm", "LicenseRef-falcon-llm", Restricted),
    ("modified-mit", "LicenseRef-modified-mit", Restricted),
    ("fair-ai-public-1.0-sd", "LicenseRef-fair-ai-public-1.0-SD", Restricted),
    ("flux-1-dev-non-commercial", "LicenseRef-flux-1-dev-non-commercial", NonCommercial),
    ("mnpl", "LicenseRef-Mistral-Non-Production", NonCommercial),
    ("mrl", "LicenseRef-Mistral-Research", ResearchOnly),
    ("h-research", "LicenseRef-h-research", ResearchOnly),
    ("intel-research", "LicenseRef-intel-research", ResearchOnly),
    ("apple-amlr", "LicenseRef-apple-amlr", ResearchOnly),
    ("deepfloyd-if", "LicenseRef-deepfloyd-if", ResearchOnly),
    ("fair-noncommercial-research", "LicenseRef-fair-noncommercial-research", ResearchOnly),
];

/// Other ways to write them, in the words that `folded` leaves.
const ALIASES: &[(&str, &str)] = &[
    ("apache", "apache-2.0"),
    ("apache2", "apache-2.0"),
    ("apache2.0", "apache-2.0"),
    ("apache-2", "apache-2.0"),
    ("expat", "mit"),
    ("cc0", "cc0-1.0"),
    ("creative-commons-attribution-4.0", "cc-by-4.0"),
    ("gplv3", "gpl-3.0"),
    ("gpl3", "gpl-3.0"),
    ("gpl-3", "gpl-3.0"),
    ("gpl-3.0-only", "gpl-3.0"),
    ("gplv2", "gpl-2.0"),
    ("gpl-2.0-only", "gpl-2.0"),
    ("agplv3", "agpl-3.0"),
    ("agpl-3.0-only", "agpl-3.0"),
    ("lgpl-3.0-only", "lgpl-3.0"),
    ("lgpl-2.1-only", "lgpl-2.1"),
    ("c-uda-1.0", "c-uda"),
    ("odc-by-1.0", "odc-by"),
    ("odbl-1.0", "odbl"),
    ("pddl-1.0", "pddl"),
    ("lgpllr", "lgpl-lr"),
    ("llama-2-community", "llama2"),
    ("llama-3-community", "llama3"),
    ("llama-3.1-community", "llama3.1"),
    ("llama-3.2-community", "llama3.2"),
    ("llama-3.3-community", "llama3.3"),
    ("llama-4-community", "llama4"),
    ("gemma-terms-of-use", "gemma"),
    ("creativeml-open-rail++-m", "openrail++"),
    ("creativeml-openrail++-m", "openrail++"),
    ("openrail++-m", "openrail++"),
    ("open-rail++-m", "openrail++"),
    ("creativeml-open-rail-m", "creativeml-openrail-m"),
    ("openrail-m", "openrail"),
    ("flux.1-dev-non-commercial", "flux-1-dev-non-commercial"),
    ("faipl-1.0-sd", "fair-ai-public-1.0-sd"),
    ("mistral-ai-non-production", "mnpl"),
    ("mnpl-0.1", "mnpl"),
    ("mistral-ai-research", "mrl"),
    ("mistral-research", "mrl"),
    ("stability-ai-community", "stabilityai-ai-community"),
];

/// Words in the first lines of a licence's text, lower case, and the licence they head.
const HEADS: &[(&[&str], &str)] = &[
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

/// Words that say nothing of which licence it is.
const FILLERS: &[&str] = &["license", "licence", "agreement", "version", "the", "v", "international"];

/// Returns the licence that a name means. Of several in one line, what they have in common.
pub(crate) fn read(written: &str) -> Option<License> {
    if let Some(license) = named(written) {
        return Some(license);
    }
    let parts: Vec<Option<License>> = written.split(',').map(named).collect();
    let first = parts.first().copied().flatten().filter(|_| parts.len() > 1)?;
    let is_alike = |part: &Option<License>| part.is_some_and(|part| part.class == first.class);
    let spdx = first.spdx.filter(|_| parts.iter().all(|part| *part == Some(first)));
    parts.iter().all(is_alike).then_some(License { spdx, class: first.class })
}

fn named(written: &str) -> Option<License> {
    let name = folded(written);
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name.as_str(), |(_, name)| name);
    let (_, spdx, class) = KNOWN.iter().find(|(known, ..)| *known == name)?;
    Some(License { spdx: Some(*spdx).filter(|spdx| !spdx.is_empty()), class: *class })
}

/// `Apache License, Version 2.0` is `apache-2.0`.
fn folded(written: &str) -> String {
    let lower = written.to_lowercase();
    let words = lower.split(|letter: char| !letter.is_alphanumeric() && !matches!(letter, '.' | '+'));
    let words = words.map(|word| match word.strip_prefix('v') {
        Some(number) if number.starts_with(|letter: char| letter.is_ascii_digit()) => number,
        _ => word,
    });
    let words: Vec<&str> = words.filter(|word| !word.is_empty() && !FILLERS.contains(word)).collect();
    words.join("-")
}

/// Returns the hub's id of the licence that a text is, given its first lines.
pub(crate) fn of_text(head: &str) -> Option<&'static str> {
    let head = head.to_lowercase();
    let is_headed = |words: &&[&str]| words.iter().all(|words| head.contains(words));
    HEADS.iter().find(|(words, _)| is_headed(words)).map(|(_, name)| *name)
}

/// Says where two of these differ in which licence they name; each is a licence as written and who says so.
pub(crate) fn disagreement(written: &[(String, String)]) -> Option<String> {
    let known: Vec<(&(String, String), License)> =
        written.iter().filter_map(|one| Some((one, read(&one.0)?))).collect();
    let ((first, by), license) = known.first()?;
    // A family (`gpl`) and one of its versions are no contradiction.
    let differs = |other: &License| {
        other.class != license.class || matches!((other.spdx, license.spdx), (Some(a), Some(b)) if a != b)
    };
    let ((second, also), _) = known.iter().find(|(_, other)| differs(other))?;
    Some(format!("licences disagree: {first} ({by}) and {second} ({also})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_known_however_people_write_them() {
        for (written, spdx, class) in [
            ("MIT", Some("MIT"), Permissive),
            ("Apache 2.0", Some("Apache-2.0"), Permissive),
            ("Apache License, Version 2.0", Some("Apache-2.0"), Permissive),
            ("apache-2.0", Some("Apache-2.0"), Permissive),
            ("CreativeML Open RAIL++-M", Some("LicenseRef-CreativeML-Open-RAIL-plus-plus-M"), Restricted),
            ("openrail++", Some("LicenseRef-CreativeML-Open-RAIL-plus-plus-M"), Restricted),
            ("cc-by-nc-4.0", Some("CC-BY-NC-4.0"), NonCommercial),
            ("CC BY-NC 4.0", Some("CC-BY-NC-4.0"), NonCommercial),
            ("llama3.1", Some("LicenseRef-llama3.1"), Restricted),
            ("Llama 3.1 Community License Agreement", Some("LicenseRef-llama3.1"), Restricted),
            ("gemma", Some("LicenseRef-gemma"), Restricted),
            (
                "flux-1-dev-non-commercial-license",
                Some("LicenseRef-flux-1-dev-non-commercial"),
                NonCommercial,
            ),
            (
                "FLUX.1 [dev] Non-Commercial License",
                Some("LicenseRef-flux-1-dev-non-commercial"),
                NonCommercial,
            ),
            ("GPLv3", Some("GPL-3.0-only"), Copyleft),
            ("gpl", None, Copyleft),
            ("apple-amlr", Some("LicenseRef-apple-amlr"), ResearchOnly),
            ("mit, apache-2.0", None, Permissive),
        ] {
            assert_eq!(read(written), Some(License { spdx, class }), "{written}");
        }
        for unknown in ["other", "unknown", "acme-community", "", "mit, gpl-3.0", "mit, acme", "cc"] {
            assert_eq!(read(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn every_name_of_the_tables_is_read_as_itself() {
        for (name, spdx, _) in KNOWN {
            assert_eq!(&folded(name), name);
            let spdx = Some(*spdx).filter(|spdx| !spdx.is_empty());
            assert_eq!(read(name).map(|license| license.spdx), Some(spdx));
            let is_ref = |id: &str| id.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.'));
            assert!(spdx.is_none_or(is_ref), "{spdx:?}");
        }
        for (alias, name) in ALIASES {
            assert_eq!(&folded(alias), alias);
            assert!(KNOWN.iter().any(|(known, ..)| known == name), "{name}");
        }
        assert!(HEADS.iter().all(|(_, name)| read(name).is_some()));
    }

    #[test]
    fn licences_that_differ_are_told() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            disagreement(&pairs)
        };
        let expected = "licences disagree: mit (huggingface) and gemma (the file)";
        assert_eq!(of(&[("mit", "huggingface"), ("gemma", "the file")]).as_deref(), Some(expected));
        assert_eq!(of(&[("MIT", "a"), ("mit license", "b")]), None);
        assert_eq!(of(&[("gpl", "a"), ("gpl-3.0", "b")]), None);
        assert_eq!(
            of(&[("mit", "a"), ("acme-community", "b")]),
            None,
            "what is not known cannot be compared"
        );
        assert_eq!(of(&[]), None);
    }
}
