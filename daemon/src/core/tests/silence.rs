//! Roots that do not answer hold up nobody.

use super::*;

fn root_status(core: &Core, path: &str) -> domain::RootStatus {
    core.index.roots().unwrap().into_iter().find(|root| root.path.text() == path).unwrap()
}

fn asked(path: &str) -> Event {
    Event::Changed(vec![(format!("{path}/a.gguf").into(), Change::Settled)])
}

#[test]
fn a_root_whose_look_does_not_come_back_is_offline_and_nobody_waits_for_it() {
    let mut core = settled();
    handle(&mut core, looked(ROOT, &[("/home/u/models/a.gguf", 1, State::Ok)], &[]));
    let effects = handle(&mut core, asked(ROOT));
    assert!(effects.contains(&Effect::Wake(15)), "{effects:?}");
    let (reply, mut answer) = oneshot::channel();
    handle(&mut core, Event::Sync { cookie: "c1".into(), reply });
    handle(&mut core, Event::Cookie("c1".into()));
    core.handle(Event::Tick, at(14)).unwrap();
    assert!(answer.try_recv().is_err());
    let effects = core.handle(Event::Tick, at(16)).unwrap();
    assert!(answer.try_recv().is_ok());
    assert_eq!(published(&effects).first().map(|(_, _, state)| *state), Some(State::Offline));
    let status = root_status(&core, ROOT);
    assert!(!status.online && status.reason.unwrap().contains("does not answer"));
    assert_eq!(units(&handle(&mut core, asked(ROOT))), [], "nobody else is sent there");
    assert_eq!(units(&handle(&mut core, asked(OTHER))), [(OTHER.into(), false)]);

    let late = handle(&mut core, looked(ROOT, &[], &["/home/u/models/a.gguf"]));
    assert_eq!(published(&late), [], "what comes so late is not taken");
    assert!(late.contains(&Effect::Do(Job::Root { wanted: ROOT.into() })), "{late:?}");
    let effects = handle(&mut core, there(ROOT, 2));
    assert_eq!(units(&effects), [(ROOT.into(), true)]);
    assert!(root_status(&core, ROOT).online);
}

#[test]
fn a_root_that_was_given_up_is_asked_about_when_a_check_comes_back() {
    let mut core = settled();
    core.look_at_root(Path::new(ROOT), queue::Why::Check).unwrap();
    let (reply, _answer) = oneshot::channel();
    assert_eq!(units(&handle(&mut core, Event::Sync { cookie: "c1".into(), reply })), [(ROOT.into(), true)]);
    core.handle(Event::Tick, at(0)).unwrap();
    core.handle(Event::Tick, at(16)).unwrap();
    assert!(!root_status(&core, ROOT).online);
    let late = handle(&mut core, Event::Checked { same: Vec::new(), changed: vec![unit(ROOT)] });
    assert!(late.contains(&Effect::Do(Job::Root { wanted: ROOT.into() })), "{late:?}");
}

#[test]
fn a_root_of_which_parts_come_is_not_silent() {
    let mut core = settled();
    handle(&mut core, asked(ROOT));
    core.handle(Event::Partly(unit(ROOT), UnitChange::default()), at(10)).unwrap();
    core.handle(Event::Tick, at(20)).unwrap();
    assert!(root_status(&core, ROOT).online);
    core.handle(Event::Tick, at(26)).unwrap();
    assert!(!root_status(&core, ROOT).online);
}

#[test]
fn a_root_of_which_nobody_can_say_whether_it_is_there_is_not_waited_for() {
    let mut core = core();
    handle(&mut core, Event::Want(vec![wanted(ROOT), wanted(OTHER)]));
    handle(&mut core, there(OTHER, 3));
    handle(&mut core, looked(OTHER, &[], &[]));
    assert!(!core.is_settled());
    core.handle(Event::Tick, at(16)).unwrap();
    assert!(core.is_settled());
    assert!(root_status(&core, ROOT).reason.unwrap().contains("does not answer"));
    assert_eq!(units(&handle(&mut core, there(ROOT, 2))), [(ROOT.into(), true)], "late, but welcome");
}

#[test]
fn a_disk_that_is_mounted_in_place_of_a_dead_one_is_looked_at_though_somebody_is_stuck_in_that() {
    let mut core = settled();
    handle(&mut core, asked(ROOT));
    core.handle(Event::Tick, at(16)).unwrap();
    let effects = handle(&mut core, Event::Mounted);
    assert!(effects.contains(&Effect::Do(Job::Root { wanted: ROOT.into() })), "{effects:?}");
    handle(&mut core, there(OTHER, 3));
    handle(&mut core, Event::Discovered(None));
    assert!(core.is_settled(), "it may not answer this time either");
    assert_eq!(units(&handle(&mut core, there(ROOT, 77))), [(ROOT.into(), true)]);
    let effects = handle(&mut core, looked(ROOT, &[("/home/u/models/b.gguf", 2, State::Ok)], &[]));
    assert_eq!(published(&effects).len(), 1, "{effects:?}");
}

#[test]
fn a_look_for_places_that_does_not_come_back_is_not_waited_for() {
    let mut core = settled();
    let (reply, mut answer) = oneshot::channel();
    let effects = handle(&mut core, Event::Scan(reply));
    assert!(effects.contains(&Effect::Do(Job::Discover)), "{effects:?}");
    for (root, inode) in [(ROOT, 2), (OTHER, 3)] {
        handle(&mut core, there(root, inode));
        handle(&mut core, looked(root, &[], &[]));
    }
    core.handle(Event::Tick, at(14)).unwrap();
    assert!(answer.try_recv().is_err());
    core.handle(Event::Tick, at(16)).unwrap();
    assert!(answer.try_recv().is_ok() && core.is_settled());
}
