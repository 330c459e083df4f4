//! Roots that the user has named, and those that nobody names.

use super::*;

fn absent(path: &str, reason: Option<&str>) -> Event {
    Event::Probed(Probed { wanted: path.into(), there: None, reason: reason.map(str::to_owned) })
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
