//! What the extended attributes of a download say: the address of the file, and the page it was linked from.

use crate::{
    Confidence, Source,
    stores::{ask::Ask, web::Address},
};
use std::path::Path;

/// Returns where a file was downloaded from, and the branch or commit where the address has one.
pub(super) fn of(ask: &mut Ask<'_>, file: &Path) -> Option<(Source, Option<String>)> {
    let origin = ask.origin(file)?;
    let address = origin.url.as_deref().and_then(Address::parse);
    let referrer = origin.referrer.as_deref().and_then(Address::parse);
    let evidence = [("user.xdg.origin.url", &address), ("user.xdg.referrer.url", &referrer)];
    let mut evidence: Vec<_> = evidence.into_iter().filter(|(_, address)| address.is_some()).collect();
    // A page names the repository where a signed download address does not.
    let is_named = address.as_ref().is_some_and(|address| address.repo.is_some());
    let named =
        if is_named { address.as_ref() } else { referrer.as_ref().filter(|page| page.repo.is_some()) };
    if is_named {
        evidence.truncate(1);
    }
    let evidence = evidence.into_iter().map(|(name, _)| format!("xattr {name}")).collect();
    let file = address.as_ref().or(referrer.as_ref())?;
    let place = named.unwrap_or(file);
    let url = Some(file.url.clone());
    let source = Source {
        kind: Some(place.kind),
        repo: place.repo.clone(),
        url,
        confidence: Confidence::Recorded,
        evidence,
    };
    Some((source, place.revision.clone()))
}
