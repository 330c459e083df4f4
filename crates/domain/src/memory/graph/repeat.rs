//! Layers that repeat: a few repetitions are laid out, and the others are left out where nothing shows that they count.

use super::{
    events::{Act, Events},
    split::{Schedule, Step},
    tensor::{Graph, Kind, NONE},
};
use std::ops::Range;

/// The longest pattern of layers that is looked for.
const LONGEST: usize = 8;

/// Repetitions that are laid out at the least. After two, some buffers of the models that were measured still grew.
const LEAST: usize = 3;

/// Where layers are left out, the last repetition that is laid out and the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repetition {
    pub(super) before: Range<usize>,
    pub(super) own: Range<usize>,
}

/// Leaves out layers that repeat: of each run an even number of repetitions, as some take places in turns.
pub(super) fn shortened<T: Copy + PartialEq>(layers: &[T]) -> (Vec<T>, Vec<Repetition>) {
    let (mut kept, mut repetitions) = (Vec::new(), Vec::new());
    let mut rest = layers;
    while !rest.is_empty() {
        let best = (1..=LONGEST.min(rest.len())).map(|period| {
            let repeats =
                rest.iter().zip(rest.get(period..).unwrap_or(&[])).take_while(|(one, other)| one == other);
            let length = period + repeats.count();
            let left_out = (length / period).saturating_sub(LEAST) / 2 * 2 * period;
            (left_out, length, period)
        });
        let none = (0, 1, 1);
        let (left_out, length, period) = best.fold(none, |best, own| if own.0 > best.0 { own } else { best });
        let run = rest.get(..length).unwrap_or(rest);
        kept.extend_from_slice(run.get(..run.len() - left_out).unwrap_or(run));
        if left_out > 0 {
            let own = kept.len() - period..kept.len();
            repetitions.push(Repetition { before: own.start - period..own.start, own });
        }
        rest = rest.get(length..).unwrap_or(&[]);
    }
    (kept, repetitions)
}

/// Whether each repetition adds copies that are there before it begins, so that their number counts: of operations, each
/// with what it is in the repetition before.
pub(super) fn reaches_back(graph: &Graph, schedule: &Schedule, nodes: &[(u32, u32)]) -> bool {
    let first = nodes.first().map(|(_, before)| Step::Compute(*before));
    let start = schedule.steps.iter().position(|step| Some(*step) == first).unwrap_or(0);
    let earlier = schedule.steps.get(..start).unwrap_or(&[]);
    // Copies have numbers in the order in which they are made.
    let last = earlier.iter().rev().find_map(|step| if let Step::Copy(id) = step { Some(*id) } else { None });
    let sources = |id: u32| graph.get(id).map_or(&[][..], |tensor| graph.sources(tensor));
    let mut both = nodes.iter().flat_map(|(own, before)| sources(*own).iter().zip(sources(*before)));
    both.any(|(own, before)| {
        let is_copy = own != before && graph.get(*own).is_some_and(|tensor| tensor.kind == Kind::Copy);
        is_copy && (last.is_some_and(|last| *own <= last) || schedule.lasting.contains(own))
    })
}

/// Where among the events a repetition lies.
pub(super) fn span((events, ids): (&Events, &[u32]), nodes: &[(u32, u32)]) -> Range<usize> {
    let own = || nodes.iter().map(|(own, _)| *own).filter(|id| *id != NONE);
    let range = own().min().unwrap_or(0)..=own().max().unwrap_or(0);
    let is_own = |at: &usize| {
        let id = ids.get(*at).filter(|id| range.contains(id));
        id.is_some() && events.list.get(*at).is_some_and(|event| event.act != Act::Give)
    };
    let start = (0..ids.len()).find(is_own).unwrap_or(0);
    start..(start..ids.len()).rev().find(is_own).map_or(start, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(layers: &str, expected: &str) {
        let (kept, repetitions) = shortened(layers.as_bytes());
        let mut told = String::from_utf8(kept).unwrap();
        for Repetition { before, own } in repetitions {
            told += &format!(" {before:?} {own:?}");
        }
        assert_eq!(told, expected);
    }

    #[test]
    fn of_layers_that_repeat_an_even_number_of_repetitions_is_left_out() {
        check("abbbbbbbc", "abbbc 2..3 3..4");
        check("abbbbbbc", "abbbbc 3..4 4..5");
        check("abcabcabcabcabcabx", "abcabcabcabx 5..8 8..11");
        check("abbbbc", "abbbbc");
    }
}
