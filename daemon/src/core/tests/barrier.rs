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
    handle(&mut core, Event::Discovered(None));
    assert!(answer.try_recv().is_ok());
}

#[test]
fn a_directory_that_is_replaced_while_it_is_looked_at_for_the_first_time_is_looked_at_again() {
    let mut core = settled();
    let dir = PathBuf::from(format!("{ROOT}/sub"));
    let seen = |listed: &str, children: Vec<PathBuf>| {
        let Event::Looked(unit, Looked::Different { mut change, links, unwatched, restless, .. }) =
            looked(listed, &[], &[])
        else {
            panic!()
        };
        change.depends.put.push(crate::index::Depend { path: listed.into(), is_dir: true, stamp: None });
        let damaged = None;
        Event::Looked(
            unit,
            Looked::Different { change, children, links, unwatched, damaged, read: 0, restless },
        )
    };
    handle(&mut core, Event::Changed(vec![(dir.clone(), Change::Settled)]));
    let effects = handle(&mut core, seen(ROOT, vec![dir.clone()]));
    assert_eq!(units(&effects), [(dir.clone(), false)]);
    // Removed and made again while a worker lists it.
    let effects = handle(&mut core, Event::Changed(vec![(dir.clone(), Change::Settled)]));
    assert!(effects.contains(&Effect::Unwatch(dir.clone())), "{effects:?}");
    handle(&mut core, seen(ROOT, vec![dir.clone()]));
    let effects = handle(&mut core, seen(&dir.to_string_lossy(), Vec::new()));
    assert_eq!(units(&effects), [(dir, false)], "what is there now may be another one");
}
