//! A clock that somebody sets.

use super::*;

#[test]
fn a_clock_that_is_set_looks_once_more_and_forgets_nothing() {
    let mut core = core();
    handle(&mut core, Event::Want(vec![wanted(ROOT)]));
    handle(&mut core, there(ROOT, 2));
    handle(&mut core, looked(ROOT, &[("/home/u/models/a.gguf", 1, State::Ok)], &[]));
    handle(&mut core, Event::Tick);
    let ten_years = 10 * 365 * 24 * 60 * 60;
    for now in [-24 * 60 * 60, ten_years] {
        let effects = core.handle(Event::Tick, at(now)).unwrap();
        assert_eq!(units(&effects), [(ROOT.into(), true)], "one look at {now} s");
        core.handle(Event::Looked(unit(ROOT), Looked::Same), at(now)).unwrap();
        assert_eq!(units(&core.handle(Event::Tick, at(now + 1)).unwrap()), [], "and no other");
    }
}
