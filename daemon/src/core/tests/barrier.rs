//! What has to be known before it is said that all is known.

use super::*;

#[test]
fn sync_waits_for_a_root_that_has_just_appeared() {
    let mut core = settled();
    handle(&mut core, Event::Want(vec![wanted("/home/u/.app/models")]));
    handle(&mut core, gone("/home/u/.app/models"));
    let (reply, mut answer) = oneshot::channel();
    let effects = handle(&mut core, Event::Changed(vec![("/home/u/.app".into(), Change::Settled)]));
    assert!(effects.contains(&Effect::Do(Job::Root { wanted: "/home/u/.app/models".into() })));
    handle(&mut core, Event::Sync { cookie: "c1".into(), reply });
    handle(&mut core, Event::Cookie("c1".into()));
    assert!(answer.try_recv().is_err(), "nobody has looked whether the root is there now");
    handle(&mut core, there("/home/u/.app/models", 9));
    assert!(answer.try_recv().is_err(), "what it holds is still being looked at");
    let unit = UnitRow { root: "/home/u/.app/models".into(), dir: "/home/u/.app/models".into() };
    handle(&mut core, Event::Looked(unit, Looked::Same));
    assert!(answer.try_recv().is_ok());
}

#[test]
fn two_questions_about_a_root_are_both_waited_for() {
    let mut core = settled();
    for _ in 0..2 {
        handle(&mut core, Event::Changed(vec![(ROOT.into(), Change::Settled)]));
    }
    let (reply, mut answer) = oneshot::channel();
    handle(&mut core, Event::Sync { cookie: "c1".into(), reply });
    handle(&mut core, Event::Cookie("c1".into()));
    handle(&mut core, there(ROOT, 2));
    assert!(answer.try_recv().is_err(), "the first answer may be older than the second question");
    handle(&mut core, there(ROOT, 2));
    assert!(answer.try_recv().is_ok());
}

#[test]
fn a_scan_also_finds_a_root_of_whose_return_nothing_told() {
    let mut core = settled();
    handle(&mut core, gone(ROOT));
    let (reply, mut answer) = oneshot::channel();
    let effects = handle(&mut core, Event::Scan(reply));
    assert!(effects.contains(&Effect::Do(Job::Root { wanted: ROOT.into() })), "{effects:?}");
    handle(&mut core, looked(OTHER, &[], &[]));
    handle(&mut core, there(OTHER, 3));
    handle(&mut core, there(ROOT, 2));
    assert!(answer.try_recv().is_err());
    handle(&mut core, looked(ROOT, &[], &[]));
    assert!(answer.try_recv().is_ok());
}
