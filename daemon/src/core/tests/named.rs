//! Roots that the user has named, and those that nobody names.

use super::*;
use crate::seats::{Seat, Seats, Spot};

fn absent(path: &str, reason: Option<&str>) -> Event {
    Event::Probed(Probed { wanted: path.into(), there: None, spot: None, reason: reason.map(str::to_owned) })
}

fn found(paths: &[&str]) -> Event {
    let wanted = paths.iter().map(|path| wanted(path)).collect();
    Event::Discovered(Some(Box::new(Discovered { wanted, ..Discovered::default() })))
}

/// What is shown of roots: their paths, and why they cannot be used.
fn shown(core: &Core) -> Vec<(String, Option<String>)> {
    let roots = core.index.roots().unwrap().into_iter();
    roots.map(|root| (root.path.text().to_owned(), root.reason)).collect()
}

#[test]
fn a_place_that_was_only_looked_for_is_not_shown_and_one_that_the_user_named_is() {
    let mut core = core();
    handle(&mut core, found(&[ROOT, OTHER]));
    handle(&mut core, absent(ROOT, None));
    handle(&mut core, absent(OTHER, None));
    assert_eq!(shown(&core), []);
    // It was looked for already when the user's word came.
    let effects = handle(&mut core, Event::Want(vec![Wanted { app: None, ..wanted(ROOT) }]));
    assert!(effects.contains(&Effect::Do(Job::Root { wanted: ROOT.into() })), "{effects:?}");
    for _ in 0..2 {
        handle(&mut core, absent(ROOT, None));
        assert_eq!(shown(&core), [(ROOT.into(), Some("there is no such directory".into()))]);
    }
    handle(&mut core, absent(ROOT, Some("it is barred")));
    assert_eq!(shown(&core), [(ROOT.into(), Some("it is barred".into()))]);
    handle(&mut core, there(ROOT, 2));
    assert_eq!(shown(&core), [(ROOT.into(), None)]);
    handle(&mut core, absent(ROOT, None));
    assert!(shown(&core)[0].1.as_ref().unwrap().contains("kept as offline"));
}

#[test]
fn what_barred_a_place_is_not_told_of_when_there_is_nothing_to_bar() {
    let mut core = core();
    handle(&mut core, found(&[ROOT]));
    handle(&mut core, absent(ROOT, Some("it is barred")));
    assert_eq!(shown(&core).len(), 1);
    handle(&mut core, absent(ROOT, None));
    assert_eq!(shown(&core), []);
}

const DISK: &str = "/mnt/disk/models";

/// The place on the disk, with the disk or without.
fn on_disk(is_plugged: bool) -> Event {
    let Event::Probed(probed) = there(DISK, 9) else { panic!() };
    let seat = Seat { volume: "disk".into(), top: "/models".into() };
    let seats = Seats::from_iter([(PathBuf::from(DISK), seat)]);
    let there = probed.there.filter(|_| is_plugged).map(|there| There { seats, ..there });
    let volume = if is_plugged { "disk" } else { "home" };
    let spot: Spot = (volume.into(), "/models".into());
    Event::Probed(Probed { there, spot: Some(spot), ..probed })
}

/// A core that an app has named a root on a disk to, with a model.
fn with_disk() -> Core {
    let mut core = core();
    handle(&mut core, found(&[ROOT, DISK]));
    handle(&mut core, there(ROOT, 2));
    handle(&mut core, on_disk(true));
    handle(&mut core, on_disk_looked());
    core
}

fn on_disk_looked() -> Event {
    let path = format!("{DISK}/a.gguf");
    let Event::Looked(_, found) = looked(OTHER, &[(&path, 1, State::Ok)], &[]) else { panic!() };
    Event::Looked(UnitRow { root: DISK.into(), dir: DISK.into() }, found)
}

/// Lets time pass until it is looked for places once more, and that finds these.
fn found_later(core: &mut Core, paths: &[&str]) -> Vec<Effect> {
    let later = at(core.now.as_second() + 1);
    let effects = core.handle(Event::Tick, later).unwrap();
    assert!(effects.contains(&Effect::Do(Job::Discover)), "{effects:?}");
    handle(core, found(paths))
}

fn is_probing(effects: &[Effect], path: &str) -> bool {
    effects.contains(&Effect::Do(Job::Root { wanted: path.into() }))
}

fn kinds(effects: &[Effect]) -> Vec<(api::EventKind, State)> {
    published(effects).into_iter().map(|(kind, _, state)| (kind, state)).collect()
}

#[test]
fn what_no_app_names_any_more_goes_when_a_second_look_says_so_too() {
    let mut core = with_disk();
    let effects = handle(&mut core, found(&[ROOT]));
    assert!(!is_probing(&effects, DISK) && effects.contains(&Effect::Wake(1)), "{effects:?}");
    found_later(&mut core, &[ROOT, DISK]);
    handle(&mut core, found(&[ROOT]));
    assert!(is_probing(&found_later(&mut core, &[ROOT]), DISK));
    assert_eq!(kinds(&handle(&mut core, on_disk(true))), [(api::EventKind::ModelRemoved, State::Ok)]);
    assert_eq!(shown(&core).len(), 1);
}

#[test]
fn what_nobody_names_stays_while_its_disk_is_out_and_is_forgotten_where_its_folder_was_deleted() {
    let mut core = with_disk();
    handle(&mut core, found(&[ROOT]));
    found_later(&mut core, &[ROOT]);
    assert_eq!(kinds(&handle(&mut core, on_disk(false))), [(api::EventKind::ModelChanged, State::Offline)]);
    // The disk comes back, and with it the app; the core hears of the disk first.
    let effects = handle(&mut core, Event::Mounted);
    assert!(is_probing(&effects, DISK), "{effects:?}");
    assert_eq!(kinds(&handle(&mut core, on_disk(true))), [(api::EventKind::ModelChanged, State::Ok)]);
    handle(&mut core, found(&[ROOT, DISK]));
    assert_eq!(shown(&core), [(ROOT.into(), None), (DISK.into(), None)]);
    handle(&mut core, found(&[ROOT]));
    found_later(&mut core, &[ROOT]);
    let Event::Probed(deleted) = on_disk(true) else { panic!() };
    let deleted = Event::Probed(Probed { there: None, ..deleted });
    assert_eq!(kinds(&handle(&mut core, deleted)), [(api::EventKind::ModelRemoved, State::Ok)]);
}

#[test]
fn what_was_known_before_the_start_and_nobody_names_is_asked_about_as_well() {
    for (is_plugged, expected) in [
        (true, (api::EventKind::ModelRemoved, State::Ok)),
        (false, (api::EventKind::ModelChanged, State::Offline)),
    ] {
        let mut core = with_disk();
        core.roots = Roots::default(); // as after a start
        handle(&mut core, found(&[ROOT]));
        let effects = handle(&mut core, Event::Want(Vec::new()));
        assert!(is_probing(&effects, DISK), "{effects:?}");
        assert_eq!(kinds(&handle(&mut core, on_disk(is_plugged))), [expected]);
    }
}

#[test]
fn settings_that_cannot_be_understood_are_no_sign_that_nobody_names_a_root() {
    let file = PathBuf::from("/home/u/.lmstudio/settings.json");
    let damaged = || {
        let doubts = [(App::Loose, (file.clone(), "it ends early".to_owned()))].into();
        let wanted = vec![wanted(ROOT)];
        Event::Discovered(Some(Box::new(Discovered { wanted, doubts, ..Discovered::default() })))
    };
    let reason = format!("{} does not say where models are: it ends early", file.display());
    for is_restarted in [false, true] {
        let mut core = with_disk();
        if is_restarted {
            core.roots = Roots::default();
        }
        for _ in 0..3 {
            handle(&mut core, damaged());
        }
        handle(&mut core, Event::Want(Vec::new()));
        handle(&mut core, there(ROOT, 2));
        assert_eq!(kinds(&handle(&mut core, on_disk(true))), []);
        core.put_roots().unwrap();
        assert_eq!(shown(&core), [ROOT, DISK].map(|path| (path.into(), Some(reason.clone()))));
        // Mended, they name another place.
        handle(&mut core, found(&[ROOT]));
        core.handle(Event::Tick, at(5)).unwrap();
        assert!(is_probing(&handle(&mut core, found(&[ROOT])), DISK));
        assert_eq!(kinds(&handle(&mut core, on_disk(true))), [(api::EventKind::ModelRemoved, State::Ok)]);
        core.put_roots().unwrap();
        assert_eq!(shown(&core), [(ROOT.into(), None)]);
    }
}

/// A look at the first root that found a link to the disk there, or none.
fn with_link(is_there: bool) -> Event {
    let Event::Looked(unit, Looked::Different { change, children, unwatched, damaged, read, restless, .. }) =
        looked(ROOT, &[], &[])
    else {
        panic!()
    };
    let links = if is_there { vec![(format!("{ROOT}/far").into(), DISK.into())] } else { Vec::new() };
    Event::Looked(unit, Looked::Different { change, children, links, unwatched, damaged, read, restless })
}

fn link_of_disk(core: &Core) -> Option<String> {
    let roots = core.index.roots().unwrap().into_iter();
    roots.filter(|root| root.path.text() == DISK).find_map(|root| root.derived_from)
}

#[test]
fn what_an_app_or_the_user_names_no_longer_stays_while_a_link_leads_there() {
    for is_restarted in [false, true] {
        let mut core = with_disk();
        handle(&mut core, with_link(true));
        assert_eq!(link_of_disk(&core), None);
        if is_restarted {
            core.roots = Roots::default();
            handle(&mut core, found(&[ROOT]));
            handle(&mut core, Event::Want(Vec::new()));
            handle(&mut core, there(ROOT, 2));
        } else {
            handle(&mut core, found(&[ROOT]));
            found_later(&mut core, &[ROOT]);
        }
        assert_eq!(kinds(&handle(&mut core, on_disk(true))), []);
        assert_eq!(link_of_disk(&core), Some(format!("{ROOT}/far")));
        handle(&mut core, Event::Changed(vec![(ROOT.into(), Change::Settled)]));
        assert!(is_probing(&handle(&mut core, with_link(false)), DISK));
        assert_eq!(kinds(&handle(&mut core, on_disk(true))), [(api::EventKind::ModelRemoved, State::Ok)]);
    }
    let mut core = with_disk();
    handle(&mut core, Event::Want(vec![wanted(DISK)]));
    handle(&mut core, found(&[ROOT]));
    handle(&mut core, with_link(true));
    assert_eq!(kinds(&handle(&mut core, Event::Unwant(DISK.into()))), []);
    assert_eq!(link_of_disk(&core), Some(format!("{ROOT}/far")));
    assert_eq!(kinds(&handle(&mut core, Event::Unwant(DISK.into()))).len(), 1);
}

#[test]
fn what_a_link_led_to_before_the_start_is_looked_for_again() {
    let mut core = core();
    handle(&mut core, found(&[ROOT]));
    handle(&mut core, there(ROOT, 2));
    let link = PathBuf::from(format!("{ROOT}/far"));
    handle(&mut core, Event::LinkLeads { link: link.clone(), target: DISK.into() });
    handle(&mut core, on_disk(true));
    handle(&mut core, on_disk_looked());
    core.roots = Roots::default();
    handle(&mut core, found(&[ROOT]));
    assert!(is_probing(&handle(&mut core, Event::Want(Vec::new())), DISK));
    assert_eq!(kinds(&handle(&mut core, on_disk(true))), []);
    let status = core.index.roots().unwrap().pop().unwrap();
    assert_eq!((status.online, status.derived_from.as_deref()), (true, link.to_str()));
    // The folder with the link is gone, and so is the link.
    handle(&mut core, there(ROOT, 2));
    handle(&mut core, Event::Unwant(ROOT.into()));
    assert_eq!(kinds(&handle(&mut core, on_disk(true))), [(api::EventKind::ModelRemoved, State::Ok)]);
}
