//! Units that are checked together.

use super::*;

#[test]
fn a_unit_that_has_changed_is_looked_at_and_who_waits_for_its_check_waits_for_that() {
    let mut core = settled();
    let (reply, mut answer) = oneshot::channel();
    core.look_at_root(Path::new(ROOT), queue::Why::Check).unwrap();
    let effects = handle(&mut core, Event::Sync { cookie: "c1".into(), reply });
    assert_eq!(units(&effects), [(ROOT.into(), true)]);
    handle(&mut core, Event::Cookie("c1".into()));
    let effects = handle(&mut core, Event::Checked { same: Vec::new(), changed: vec![unit(ROOT)] });
    assert_eq!(units(&effects), [(ROOT.into(), false)]);
    assert!(answer.try_recv().is_err(), "it is still being looked at");
    handle(&mut core, looked(ROOT, &[], &[]));
    assert!(answer.try_recv().is_ok());
}

#[test]
fn a_check_that_cannot_be_stored_is_over() {
    let mut core = settled();
    handle(&mut core, Event::Lost);
    core.index.begin().unwrap(); // so that no other change can begin
    let checked = Event::Checked { same: vec![unit(OTHER)], changed: vec![unit(ROOT)] };
    assert!(core.handle(checked, at(0)).is_err());
    assert_eq!(core.queue.in_flight_below(Path::new("/")), []);
}
