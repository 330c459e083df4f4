//! Disks that come and go in a root, or over a part of it.

use super::*;
use crate::seats::{Mounted, Seat, Seats};

fn seats(mounts: &[(&str, &str)]) -> Seats {
    let seat = |(point, volume): &(&str, &str)| {
        ((*point).into(), Seat { volume: (*volume).into(), top: "/".into() })
    };
    mounts.iter().map(seat).collect()
}

const NEAR: (&str, &str) = (ROOT, "home");
const USB: (&str, &str) = ("/home/u/models/usb", "stick");

fn seen(mounts: &[(&str, &str)]) -> Event {
    let Event::Probed(Probed { wanted, there: Some(there), spot, reason }) = there(ROOT, 2) else { panic!() };
    Event::Probed(Probed { wanted, there: Some(There { seats: seats(mounts), ..there }), spot, reason })
}

/// A core that has seen a disk in a root, with a model.
fn plugged() -> Core {
    let mut core = core();
    handle(&mut core, Event::Want(vec![wanted(ROOT)]));
    handle(&mut core, seen(&[NEAR, USB]));
    handle(&mut core, looked(ROOT, &[("/home/u/models/near.gguf", 1, State::Ok)], &[]));
    handle(&mut core, looked(USB.0, &[("/home/u/models/usb/kept.gguf", 2, State::Ok)], &[]));
    core
}

fn states(effects: &[Effect]) -> Vec<(api::EventKind, State)> {
    published(effects).into_iter().map(|(kind, _, state)| (kind, state)).collect()
}

fn offline(core: &Core) -> Vec<String> {
    let roots = core.index.roots().unwrap().into_iter().filter(|root| !root.online);
    roots.map(|root| root.path.text().to_owned()).collect()
}

#[test]
fn a_disk_that_goes_takes_its_models_offline_and_all_that_lies_there_is_looked_at() {
    let mut core = plugged();
    let effects = handle(&mut core, seen(&[NEAR]));
    assert_eq!(states(&effects), [(api::EventKind::ModelChanged, State::Offline)]);
    assert!(effects.contains(&Effect::Unwatch(USB.0.into())), "{effects:?}");
    assert_eq!(units(&effects), [(ROOT.into(), true), (USB.0.into(), true)]);
    assert_eq!(offline(&core), [USB.0]);
    // The folder is empty, then gone.
    assert_eq!(states(&handle(&mut core, looked(USB.0, &[], &[]))), []);
    assert_eq!(states(&handle(&mut core, Event::Looked(unit(USB.0), Looked::Gone))), []);
    let effects = handle(&mut core, seen(&[NEAR, USB]));
    assert_eq!(states(&effects), [(api::EventKind::ModelChanged, State::Ok)]);
    assert_eq!(offline(&core), Vec::<String>::new());
}

#[test]
fn what_a_look_brings_that_began_before_a_disk_went_is_not_taken() {
    let mut core = plugged();
    let news = Event::Changed(vec![("/home/u/models/usb/kept.gguf".into(), Change::Settled)]);
    assert_eq!(units(&handle(&mut core, news)), [(USB.0.into(), false)]);
    handle(&mut core, seen(&[NEAR]));
    let effects = handle(&mut core, looked(USB.0, &[("/home/u/models/usb/late.gguf", 3, State::Ok)], &[]));
    assert_eq!((states(&effects), units(&effects)), (Vec::new(), vec![(USB.0.into(), false)]));
}

#[test]
fn a_look_that_met_another_disk_than_was_thought_is_made_again() {
    let mut core = plugged();
    let news = Event::Changed(vec![("/home/u/models/usb".into(), Change::Settled)]);
    handle(&mut core, news);
    let (reply, mut answer) = oneshot::channel();
    handle(&mut core, Event::Sync { cookie: "c".into(), reply });
    handle(&mut core, Event::Cookie("c".into()));
    let effects = handle(&mut core, Event::Looked(unit(USB.0), Looked::Elsewhere));
    assert_eq!((is_asking(&effects), units(&effects)), (true, Vec::new()));
    let effects = handle(&mut core, seen(&[NEAR]));
    assert_eq!(states(&effects), [(api::EventKind::ModelChanged, State::Offline)]);
    assert!(units(&effects).contains(&(USB.0.into(), false)), "{effects:?}");
    handle(&mut core, Event::Looked(unit(ROOT), Looked::Same));
    assert!(answer.try_recv().is_err(), "it is still to be looked at");
    handle(&mut core, looked(USB.0, &[], &[]));
    handle(&mut core, Event::Looked(unit(ROOT), Looked::Same));
    assert!(answer.try_recv().is_ok() && core.is_settled());
}

fn is_asking(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Do(Job::Root { wanted: ROOT.into() }))
}

#[test]
fn a_root_in_which_looks_never_meet_what_was_thought_is_asked_about_twice_and_then_once_a_tick() {
    let mut core = plugged();
    handle(&mut core, Event::Changed(vec![("/home/u/models/usb".into(), Change::Settled)]));
    let meet = |core: &mut Core| {
        let effects = handle(core, Event::Looked(unit(USB.0), Looked::Elsewhere));
        assert!(is_asking(&effects) && units(&effects).is_empty(), "{effects:?}");
        handle(core, seen(&[NEAR, USB]))
    };
    for _ in 0..2 {
        assert_eq!(units(&meet(&mut core)), [(USB.0.into(), false)]);
    }
    for second in 1..4 {
        let effects = meet(&mut core);
        assert!(units(&effects).is_empty() && effects.contains(&Effect::Wake(1)), "{effects:?}");
        assert!(!core.is_settled());
        assert_eq!(units(&core.handle(Event::Tick, at(second)).unwrap()), [(USB.0.into(), false)]);
        handle(&mut core, Event::Looked(unit(USB.0), Looked::Elsewhere));
        handle(&mut core, seen(&[NEAR, USB]));
        handle(&mut core, Event::Looked(unit(USB.0), Looked::Elsewhere));
        handle(&mut core, seen(&[NEAR, USB]));
    }
}

#[test]
fn a_disk_that_gets_its_name_after_it_was_mounted_has_its_models_under_that() {
    let mut core = plugged();
    let makeshift = ("/home/u/models/usb", "ext4:/dev/sdb1");
    handle(&mut core, seen(&[NEAR, makeshift]));
    handle(&mut core, looked(USB.0, &[("/home/u/models/usb/kept.gguf", 2, State::Ok)], &[]));
    assert_eq!(offline(&core), Vec::<String>::new());
    handle(&mut core, seen(&[NEAR, USB]));
    handle(&mut core, looked(USB.0, &[("/home/u/models/usb/kept.gguf", 2, State::Ok)], &[]));
    assert_eq!(offline(&core), Vec::<String>::new());
    let named = |name: &str| {
        let mounted = Mounted { number: 63, device: "8:17".into(), of: makeshift.1.into() };
        Seats::from_iter([(USB.0.into(), Seat { volume: name.into(), top: "/".into() }, mounted)])
    };
    let mut named_later = Vec::new();
    for name in [makeshift.1, "1234-ABCD", "1234-ABCD"] {
        let Event::Probed(Probed { wanted, there: Some(there), spot, reason }) = there(ROOT, 2) else {
            panic!()
        };
        let there = Some(There { seats: named(name), ..there });
        let effects = handle(&mut core, Event::Probed(Probed { wanted, there, spot, reason }));
        named_later.push(effects.contains(&Effect::Do(Job::Anew)));
    }
    assert_eq!(named_later[1..], [true, false], "all workers are to call it so");
}

#[test]
fn a_mount_over_a_folder_hides_what_it_held_and_a_copy_in_its_place_is_that() {
    let mut core = plugged();
    let over = ("/home/u/models/usb", "other");
    assert_eq!(
        states(&handle(&mut core, seen(&[NEAR, over]))),
        [(api::EventKind::ModelChanged, State::Offline)]
    );
    let effects = handle(&mut core, looked(USB.0, &[("/home/u/models/usb/kept.gguf", 2, State::Ok)], &[]));
    assert_eq!(states(&effects), [(api::EventKind::ModelChanged, State::Ok)]);
    assert_eq!(offline(&core), Vec::<String>::new());
}

#[test]
fn what_is_offline_is_forgotten_on_request_and_with_its_root() {
    let mut core = plugged();
    handle(&mut core, seen(&[NEAR]));
    let effects = handle(&mut core, Event::Forget(USB.0.into()));
    assert_eq!(states(&effects), [(api::EventKind::ModelRemoved, State::Offline)]);
    let mut core = plugged();
    handle(&mut core, seen(&[NEAR]));
    assert_eq!(states(&handle(&mut core, Event::Unwant(ROOT.into()))).len(), 2);
    assert_eq!(core.index.roots().unwrap(), []);
}

#[test]
fn a_mount_table_that_cannot_be_read_changes_nothing() {
    let mut core = plugged();
    assert_eq!(states(&handle(&mut core, seen(&[]))), []);
}
