//! The account of a plan after what was measured: its lines say what is counted now, and that it was measured.

use crate::{
    memory::sum,
    plan::{
        Term,
        terms::{ADAPTERS, COMPUTE, CONTEXT, LARGER, PROJECTOR},
    },
};

const BESIDE: [&str; 2] = [PROJECTOR, ADAPTERS];
const MORE: &str = "more, as it was measured";

fn find<'a>(terms: &'a mut [Term], place: &str, what: &str) -> Option<&'a mut Term> {
    terms.iter_mut().find(|term| term.place == place && term.what == what)
}

/// So much more is counted on a device; it was planned for as if the driver's context took it.
pub(super) fn add_more(terms: &mut Vec<Term>, place: &str, bytes: u64) {
    if let Some(term) = find(terms, place, CONTEXT) {
        term.bytes = term.bytes.saturating_sub(bytes);
    }
    terms.retain(|term| term.bytes > 0);
    let note = Some("a run with like settings took so much more than was planned".to_owned());
    let (place, what) = (place.to_owned(), MORE.to_owned());
    let at = terms.iter().rposition(|term| term.place == place).map_or(terms.len(), |last| last + 1);
    terms.insert(at, Term { place, what, bytes, note });
}

/// What a run with the same settings took stands in place of what was planned. `overhead` is all that the device holds
/// besides buffers; None where it is not known.
pub(super) fn set(terms: &mut Vec<Term>, place: &str, (compute, overhead): (u64, Option<u64>), date: &str) {
    let note = || Some(format!("measured on {date} with these settings"));
    terms.retain(|term| term.place != place || (term.what != LARGER && term.what != MORE));
    if let Some(term) = find(terms, place, COMPUTE) {
        (term.bytes, term.note) = (compute, note());
    }
    let beside = terms.iter().filter(|term| term.place == place && BESIDE.contains(&&*term.what));
    let beside = sum(beside.map(|term| term.bytes));
    if let Some((term, bytes)) = find(terms, place, CONTEXT).zip(overhead) {
        (term.bytes, term.note) = (bytes.saturating_sub(beside), note());
    }
}
