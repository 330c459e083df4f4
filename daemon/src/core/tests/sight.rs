//! When places are looked for again.

use super::*;
use crate::discover::{Concerns, Discovered};

const HOME: &str = "/home/u";

/// A look that found these besides both roots.
fn discovered(mut also: Vec<Wanted>, unwatched: usize) -> Event {
    also.extend([ROOT, OTHER].map(wanted));
    let dirs = [HOME, "/home/u/projects"].map(PathBuf::from).into();
    let files = [PathBuf::from("/home/u/.lmstudio/settings.json")].into();
    let concerns = Concerns { dirs, files, unwatched };
    Event::Discovered(Some(Box::new(Discovered { wanted: also, concerns, ..Discovered::default() })))
}

/// A core that has looked for places, at second 0, and found both roots.
fn looked_for_places() -> Core {
    let mut core = core();
    handle(&mut core, discovered(Vec::new(), 0));
    for (root, inode) in [(ROOT, 2), (OTHER, 3)] {
        handle(&mut core, there(root, inode));
        handle(&mut core, looked(root, &[], &[]));
    }
    assert!(core.is_settled());
    core
}

fn changed(path: &str, change: Change) -> Event {
    Event::Changed(vec![(path.into(), change)])
}

fn is_looking(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Do(Job::Discover))
}

#[test]
fn a_new_folder_or_a_changed_setting_is_looked_into_at_once_and_its_root_is_wanted() {
    for (path, change) in [
        ("/home/u/projects/clone", Change::Settled),
        ("/home/u/ComfyUI", Change::Settled),
        ("/home/u/.lmstudio/settings.json", Change::Closed),
        ("/home/u/.lmstudio", Change::Settled),
    ] {
        let mut core = looked_for_places();
        assert!(is_looking(&core.handle(changed(path, change), at(100)).unwrap()), "{path}");
        assert!(!core.is_settled());
        let effects = core.handle(discovered(vec![wanted("/home/u/new")], 0), at(100)).unwrap();
        assert_eq!(effects.first(), Some(&Effect::Do(Job::Root { wanted: "/home/u/new".into() })), "{path}");
    }
}

#[test]
fn what_says_nothing_of_an_app_is_not_looked_into() {
    let mut core = looked_for_places();
    for (path, change) in [
        ("/home/u/.bash_history", Change::Settled),
        ("/home/u/app.log", Change::Closed),
        ("/home/u/projects/clone/src/main.rs", Change::Settled),
        ("/home/u/models/new.gguf", Change::Settled),
    ] {
        assert!(!is_looking(&core.handle(changed(path, change), at(100)).unwrap()), "{path}");
    }
}

#[test]
fn a_home_that_changes_all_the_time_is_looked_through_less_and_less_often() {
    let mut core = looked_for_places();
    let mut looks = Vec::new();
    for second in 100..400 {
        for n in 0..10 {
            let path = format!("/home/u/build-{second}-{n}");
            if is_looking(&core.handle(changed(&path, Change::Settled), at(second)).unwrap()) {
                looks.push(second);
                core.handle(discovered(Vec::new(), 0), at(second)).unwrap();
            }
        }
    }
    assert_eq!(looks, [100, 102, 106, 114, 130, 162, 194, 226, 258, 290, 322, 354, 386]);
    // The last change is not forgotten, and time alone brings the look.
    let effects = core.handle(Event::Tick, at(400)).unwrap();
    assert!(effects.contains(&Effect::Wake(18)), "{effects:?}");
    assert!(is_looking(&core.handle(Event::Tick, at(418)).unwrap()));
    core.handle(discovered(Vec::new(), 0), at(418)).unwrap();
    // After a rest the next one is looked into at once again.
    assert!(is_looking(&core.handle(changed("/home/u/late", Change::Settled), at(900)).unwrap()));
}

#[test]
fn sync_looks_for_places_at_once_and_waits_for_what_lies_there() {
    let mut core = looked_for_places();
    let now = at(100);
    core.handle(changed("/home/u/a", Change::Settled), now).unwrap();
    // A second app comes while it is looked, and a third one right after: both are to be in what sync answers for.
    core.handle(changed("/home/u/b", Change::Settled), now).unwrap();
    let (reply, mut answer) = oneshot::channel();
    core.handle(Event::Sync { cookie: "c".into(), reply }, now).unwrap();
    core.handle(Event::Cookie("c".into()), now).unwrap();
    assert!(is_looking(&core.handle(discovered(Vec::new(), 0), now).unwrap()), "once more");
    assert!(answer.try_recv().is_err());
    core.handle(discovered(vec![wanted("/mnt/new")], 0), now).unwrap();
    assert!(answer.try_recv().is_err(), "the root is to be looked at");
    core.handle(there("/mnt/new", 7), now).unwrap();
    assert!(answer.try_recv().is_err());
    let Event::Looked(_, found) = looked("/home/u/models", &[], &[]) else { panic!() };
    let new = UnitRow { root: "/mnt/new".into(), dir: "/mnt/new".into() };
    core.handle(Event::Looked(new, found), now).unwrap();
    assert!(answer.try_recv().is_ok());
}

#[test]
fn a_look_for_places_that_fails_holds_up_nobody() {
    let mut core = looked_for_places();
    handle(&mut core, changed("/home/u/a", Change::Settled));
    let (reply, mut answer) = oneshot::channel();
    handle(&mut core, Event::Sync { cookie: "c".into(), reply });
    handle(&mut core, Event::Cookie("c".into()));
    handle(&mut core, Event::Discovered(None));
    assert!(answer.try_recv().is_ok() && core.is_settled());
}

#[test]
fn folders_without_a_watch_are_looked_at_from_time_to_time_and_at_every_sync() {
    let mut core = looked_for_places();
    core.handle(discovered(Vec::new(), 5), at(0)).unwrap();
    assert_eq!(core.unwatched_places(), 5);
    assert!(!is_looking(&core.handle(Event::Tick, at(599)).unwrap()));
    assert!(is_looking(&core.handle(Event::Tick, at(600)).unwrap()));
    core.handle(discovered(Vec::new(), 5), at(600)).unwrap();
    assert!(is_looking(&core.handle(Event::Cookie("c".into()), at(601)).unwrap()));
}

#[test]
fn what_is_known_of_every_root_is_stored_when_a_look_for_places_is_the_last_to_end() {
    let mut core = core();
    handle(&mut core, discovered(Vec::new(), 0));
    handle(&mut core, there(ROOT, 2));
    handle(&mut core, there(OTHER, 3));
    handle(&mut core, looked(ROOT, &[], &[]));
    assert!(is_looking(&core.handle(changed("/home/u/ComfyUI", Change::Settled), at(100)).unwrap()));
    let mut last = looked(OTHER, &[], &[]);
    let Event::Looked(_, Looked::Different { unwatched, .. }) = &mut last else { panic!() };
    unwatched.push((OTHER.into(), "no watch is left".into()));
    handle(&mut core, last);
    let known = |core: &mut Core| {
        let stored = core.index.stored_roots().unwrap();
        stored.iter().map(|root| (root.last_scan.is_some(), root.reason.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(known(&mut core), [(false, false); 2], "not all has been looked at");
    handle(&mut core, discovered(Vec::new(), 0));
    assert_eq!(known(&mut core), [(true, true), (true, false)], "OTHER, then ROOT");
}
