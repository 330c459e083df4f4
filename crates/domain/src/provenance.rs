//! Where a content came from: what every location and the file itself say of it, put side by side. What agrees is
//! joined, what does not is told; a guess stays one whatever it agrees with.

use crate::{
    Ancestor, Confidence, Kind, LicenseClass, Location, Placed, Relation, Role, Source, SourceKind,
    facts::Facts, license, lineage,
};
use std::collections::BTreeSet;

/// A file with more to say of its origin than this says nothing.
const MOST: usize = 16;
/// Sites on which one name is one publication; an app's own registry gives names to whatever is put there.
const SITES: &[SourceKind] =
    &[SourceKind::HuggingFace, SourceKind::Civitai, SourceKind::ModelScope, SourceKind::Git];

/// What all locations of a content and its header say together of where it came from and what may be done with it.
pub(crate) struct Provenance {
    pub license: Option<String>,
    pub license_spdx: Option<String>,
    pub license_class: Option<LicenseClass>,
    pub base_models: Vec<String>,
    pub lineage: Vec<Ancestor>,
    pub origin: Option<Source>,
    pub warnings: Vec<String>,
}

impl Provenance {
    /// Puts it together; each of `placed` gets its claims.
    pub(crate) fn of(placed: &mut [Placed], facts: &Facts) -> Self {
        let lineage = lineage_of(placed);
        let (origin, disagreement) = settle(placed, &lineage);
        let licenses = license::disagreement(&licenses(placed));
        let stated = placed.iter().find_map(|place| place.location.license.clone());
        let license = stated.or_else(|| facts.license.clone());
        let known = license.as_deref().and_then(license::read);
        let mut base_models: Vec<String> = Vec::new();
        let ancestors = lineage.iter().map(|one| &one.name);
        for base in placed.iter().flat_map(|place| &place.base_models) {
            if !base_models.contains(base) {
                base_models.push(base.clone());
            }
        }
        if base_models.is_empty() {
            base_models = if facts.base_models.is_empty() {
                ancestors.cloned().collect()
            } else {
                facts.base_models.clone()
            };
        }
        Self {
            license,
            license_spdx: known.and_then(|license| license.spdx).map(str::to_owned),
            license_class: known.map(|license| license.class),
            base_models,
            lineage,
            origin,
            warnings: disagreement.into_iter().chain(licenses).collect(),
        }
    }
}

/// What records and headers say it was made from, each ancestor once.
fn lineage_of(placed: &[Placed]) -> Vec<Ancestor> {
    let of = |place: &Placed| {
        let facts = header(place);
        let is_adapter =
            place.hints.kind == Some(Kind::Lora) || facts.is_some_and(|facts| facts.kind == Some(Kind::Lora));
        let relation = if is_adapter { Relation::Adapter } else { Relation::Base };
        let evidence = format!("records of {}", place.location.app);
        let plain = place.base_models.iter().filter(|_| place.lineage.is_empty());
        let plain = plain.map(|name| Ancestor::on_hub(relation, name, Confidence::Claimed, &evidence));
        let header = facts.into_iter().flat_map(|facts| facts.ancestors.iter().cloned());
        place.lineage.iter().cloned().chain(plain).chain(header).collect::<Vec<_>>()
    };
    lineage::joined(placed.iter().flat_map(of))
}

/// Every licence as written, and by whom.
fn licenses(placed: &[Placed]) -> Vec<(String, String)> {
    let of = |place: &Placed| {
        let app = place.location.app.name().to_owned();
        let own = place.location.license.clone().map(|license| (license, app));
        let header = header(place).and_then(|facts| facts.license.clone());
        [own, header.map(|license| (license, "the file itself".to_owned()))].into_iter().flatten()
    };
    placed.iter().flat_map(of).collect()
}

/// What the first weight file says; the parts of a split repeat it or say nothing.
fn header(place: &Placed) -> Option<&Facts> {
    place.verdicts.iter().find_map(|verdict| verdict.facts.as_ref())
}

/// Gathers what is said of each location, and returns the surest of all and what they disagree on.
fn settle(placed: &mut [Placed], ancestors: &[Ancestor]) -> (Option<Source>, Option<String>) {
    placed.iter_mut().for_each(gather);
    let mut all = Vec::new();
    for claim in placed.iter().flat_map(|place| &place.location.claims) {
        add(&mut all, claim.clone());
    }
    all.sort_by_key(rank);
    let warning = disagreement(&all, ancestors);
    inherit(placed);
    (all.into_iter().next(), warning)
}

/// Puts together what the app, what lies beside and what the file itself says.
fn gather(place: &mut Placed) {
    let header: Vec<Source> = header(place).map(|facts| facts.claims.clone()).unwrap_or_default();
    let location = &mut place.location;
    let beside = std::mem::take(&mut location.claims);
    let mut claims = Vec::new();
    for claim in location.source.iter().cloned().chain(beside).chain(header) {
        add(&mut claims, claim);
    }
    if let Some(source) = &mut location.source
        && let Some(joined) = claims.iter().find(|claim| is_same(claim, source))
    {
        source.confidence = joined.confidence;
        source.evidence.clone_from(&joined.evidence);
    }
    claims.sort_by_key(rank);
    location.claims = claims;
}

fn add(claims: &mut Vec<Source>, claim: Source) {
    let Some(at) = claims.iter().position(|known| is_same(known, &claim)) else {
        if claims.len() < MOST {
            claims.push(claim);
        }
        return;
    };
    let Some(known) = claims.get_mut(at) else { return };
    known.confidence = known.confidence.min(claim.confidence);
    known.url = known.url.take().or(claim.url);
    let mut seen: BTreeSet<String> = known.evidence.iter().cloned().collect();
    known.evidence.extend(claim.evidence.into_iter().filter(|line| seen.insert(line.clone())));
}

fn is_same(a: &Source, b: &Source) -> bool {
    match (&a.repo, &b.repo) {
        // A clone of a repository on the hub and the repository are one place.
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other) && (a.kind == b.kind || a.url == b.url),
        (None, None) => a.kind == b.kind && a.url == b.url,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Named places first, then by how sure it is.
fn rank(source: &Source) -> (bool, Confidence) {
    (source.repo.is_none() && source.url.is_none(), source.confidence)
}

/// Says which two places the same content is said to be from. What it was made from is no rival: quantisers leave the
/// address of the original in the header.
fn disagreement(all: &[Source], ancestors: &[Ancestor]) -> Option<String> {
    let is_origin = |source: &&Source| {
        let Some(repo) = &source.repo else { return false };
        let is_ancestor = ancestors.iter().any(|one| one.key() == Some(lineage::folded(repo)));
        !is_ancestor && !all.iter().any(|other| is_made_of(other, source))
    };
    SITES.iter().find_map(|site| {
        let mut rivals = all.iter().filter(|source| source.kind == Some(*site)).filter(is_origin);
        let (first, second) = (rivals.next()?, rivals.next()?);
        Some(format!("sources disagree on where it came from: {} and {}", told(first), told(second)))
    })
}

/// Whether one repository is named after another that only the file itself names: `o/X-GGUF` after `p/X`.
fn is_made_of(made: &Source, of: &Source) -> bool {
    let short = |source: &Source| {
        source.repo.as_ref().map(|repo| lineage::folded(repo.rsplit('/').next().unwrap_or(repo)))
    };
    let is_longer = |(made, of): (String, String)| made.len() > of.len() && made.starts_with(&of);
    of.confidence == Confidence::Claimed
        && made.kind == of.kind
        && short(made).zip(short(of)).is_some_and(is_longer)
}

fn told(source: &Source) -> String {
    let repo = source.repo.as_deref().unwrap_or_default();
    format!("{repo} ({}: {})", source.confidence, source.evidence.join("; "))
}

/// Lets a location that does not know its place say where the same content is known to be from.
fn inherit(placed: &mut [Placed]) {
    let is_known = |source: &&Source| source.confidence == Confidence::Recorded && !rank(source).0;
    let hashes: Vec<Option<Vec<String>>> = placed.iter().map(|place| hashes(&place.location)).collect();
    let sources: Vec<Option<Source>> =
        placed.iter().map(|place| place.location.claims.iter().find(is_known).cloned()).collect();
    let names: Vec<String> =
        placed.iter().map(|place| format!("{} in {}", place.location.id, place.location.app)).collect();
    for (at, place) in placed.iter_mut().enumerate() {
        if sources.get(at).is_some_and(Option::is_some) {
            continue;
        }
        let mut known = sources.iter().zip(&names).zip(&hashes);
        let Some(((Some(source), name), hash)) = known.find(|((source, _), _)| source.is_some()) else {
            return;
        };
        let is_proven = hash.is_some() && hashes.get(at) == Some(hash);
        let by = if is_proven { "the same SHA-256" } else { "the same size, header and samples" };
        let evidence = vec![format!("{by} as {name}")];
        let claim = Source { confidence: Confidence::Inferred, evidence, ..source.clone() };
        add(&mut place.location.claims, claim);
        place.location.claims.sort_by_key(rank);
    }
}

/// SHA-256 of every weight file, where all of them are known.
fn hashes(location: &Location) -> Option<Vec<String>> {
    let weights = location.files.iter().filter(|file| file.role == Role::Weights);
    let mut hashes: Vec<String> = weights.map(|file| file.sha256.clone()).collect::<Option<_>>()?;
    hashes.sort_unstable();
    (!hashes.is_empty()).then_some(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        App, Hints, Verdict,
        model::testing::{location, weights},
    };

    fn source(repo: &str, confidence: Confidence, evidence: &str) -> Source {
        Source {
            kind: Some(SourceKind::HuggingFace),
            repo: Some(repo.into()),
            url: Some(format!("https://huggingface.co/{repo}")),
            confidence,
            evidence: vec![evidence.into()],
        }
    }

    fn place(app: App, id: &str, source: Option<Source>, header: &[Source]) -> Placed {
        let mut verdict = Verdict::new(None, crate::State::Ok, "");
        verdict.facts = Some(Facts { claims: header.to_vec(), ..Facts::default() });
        let location = Location { source, ..location(app, id, vec![weights(id)]) };
        let (base_models, lineage) = (Vec::new(), Vec::new());
        Placed {
            location,
            on_disk: vec![None],
            base_models,
            lineage,
            hints: Hints::default(),
            verdicts: vec![verdict],
        }
    }

    fn lines(sources: &[Source]) -> Vec<String> {
        sources.iter().map(told).collect()
    }

    #[test]
    fn what_agrees_is_one_claim_with_every_witness() {
        let folders = source("o/X-GGUF", Confidence::Inferred, "folders o/X-GGUF");
        let header = source("O/x-gguf", Confidence::Claimed, "general.repo_url");
        let mut placed = [place(App::LmStudio, "a", Some(folders), &[header])];
        let (origin, warning) = settle(&mut placed, &[]);
        let expected = "o/X-GGUF (claimed: folders o/X-GGUF; general.repo_url)";
        assert_eq!(lines(&placed[0].location.claims), [expected]);
        assert_eq!(placed[0].location.source, origin);
        assert_eq!(warning, None);
    }

    #[test]
    fn two_that_disagree_are_both_named() {
        let folders = source("o/X-GGUF", Confidence::Inferred, "folders o/X-GGUF");
        let header = source("p/Y", Confidence::Claimed, "general.repo_url");
        let mut placed = [place(App::LmStudio, "a", Some(folders.clone()), &[header])];
        let (origin, warning) = settle(&mut placed, &[]);
        let expected = "sources disagree on where it came from: p/Y (claimed: general.repo_url) and o/X-GGUF \
                        (inferred: folders o/X-GGUF)";
        assert_eq!(warning.as_deref(), Some(expected));
        assert_eq!(origin.unwrap().repo.as_deref(), Some("p/Y"));
        assert_eq!(
            placed[0].location.source.as_ref(),
            Some(&folders),
            "the app's own word stays what it was"
        );
    }

    #[test]
    fn the_address_of_the_original_in_the_header_is_no_rival() {
        let hub = source("quants/Tiny-1B-GGUF", Confidence::Recorded, "hub cache folder");
        let header = source("acme/Tiny-1B", Confidence::Claimed, "general.repo_url");
        let settled = |header: &Source, ancestors: &[Ancestor]| {
            let place = place(App::HuggingFace, "a", Some(hub.clone()), std::slice::from_ref(header));
            settle(&mut [place], ancestors).1
        };
        assert_eq!(settled(&header, &[]), None, "the quantiser's name begins with it");
        let other = source("acme/Small", Confidence::Claimed, "general.repo_url");
        assert!(settled(&other, &[]).is_some());
        let base = Ancestor::on_hub(Relation::Quantized, "acme/Small", Confidence::Claimed, "README.md");
        assert_eq!(settled(&other, &[base]), None, "it is what this was made from");
    }

    #[test]
    fn a_loose_copy_says_whose_content_it_shares_and_how_far_that_was_looked_at() {
        let hub = source("o/X", Confidence::Recorded, "hub cache folder models--o--X");
        let mut placed = [
            place(App::Loose, "models/x.gguf", None, &[]),
            place(App::HuggingFace, "o/X@1", Some(hub.clone()), &[]),
        ];
        let (origin, _) = settle(&mut placed, &[]);
        assert_eq!(origin, Some(hub));
        let copy = &placed[0].location;
        assert_eq!(copy.source, None);
        let expected = "o/X (inferred: the same size, header and samples as o/X@1 in huggingface)";
        assert_eq!(lines(&copy.claims), [expected]);
        for place in &mut placed {
            place.location.claims.clear();
            place.location.files[0].sha256 = Some("ab".repeat(32));
        }
        settle(&mut placed, &[]);
        let expected = "o/X (inferred: the same SHA-256 as o/X@1 in huggingface)";
        assert_eq!(lines(&placed[0].location.claims), [expected]);
    }

    #[test]
    fn names_in_an_apps_own_registry_are_no_rivals() {
        let of = |repo: &str| Source {
            kind: Some(SourceKind::Ollama),
            ..source(repo, Confidence::Recorded, "manifest")
        };
        let mut placed = [
            place(App::Ollama, "a", Some(of("library/a")), &[]),
            place(App::Ollama, "b", Some(of("me/b")), &[]),
        ];
        assert_eq!(settle(&mut placed, &[]).1, None);
    }
}
