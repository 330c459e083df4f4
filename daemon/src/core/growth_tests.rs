//! Downloads under names of their own: shown while they grow, kept when they stop, and time passes for none of them then.

use super::{tests::*, *};
use domain::{Progress, State};
use std::path::{Path, PathBuf};

const HUB: &str = "/home/u/models/models--o--n";

fn path() -> PathBuf {
    format!("{HUB}/blobs/{}.0a1b2c3d.incomplete", "ab".repeat(32)).into()
}

fn live(effects: &[Effect]) -> Option<Progress> {
    let live = |effect: &Effect| if let Effect::Live(live) = effect { Some(Arc::clone(live)) } else { None };
    effects.iter().find_map(live)?.files.get(&path()).map(|now| now.progress)
}

fn wake(effects: &[Effect]) -> u64 {
    let wake = |effect: &Effect| if let Effect::Wake(seconds) = effect { Some(*seconds) } else { None };
    effects.iter().find_map(wake).unwrap()
}

fn begun(core: &mut Core) {
    let effects = handle(core, Event::Changed(vec![(path(), Change::Begun)]));
    assert_eq!((units(&effects), wake(&effects)), (Vec::new(), 1));
}

#[test]
fn a_download_in_a_directory_that_no_store_looks_at_is_shown_when_it_grows() {
    let mut core = settled();
    begun(&mut core);
    handle(&mut core, grown(&path(), 1000, None));
    let effects = handle(&mut core, grown(&path(), 2000, None));
    assert_eq!(units(&effects), [(HUB.into(), false)], "its repository");
    assert_eq!(growing(&effects), [vec![(path(), true)]]);
    assert_eq!(live(&effects), Some(Progress { bytes: Some(2000), total: None, rate: Some(1000) }));
    handle(&mut core, looked(HUB, &[], &[]));
    let effects = handle(&mut core, grown(&path(), 3000, Some(9000)));
    assert_eq!(units(&effects), [(HUB.into(), false)], "its header has come");
    handle(&mut core, looked(HUB, &[], &[]));
    let look = Effect::Do(Job::Growing { path: path(), total: Some(9000) });
    assert!(handle(&mut core, Event::Tick).contains(&look), "the header is read no more");
    let effects = handle(&mut core, grown(&path(), 4000, Some(9000)));
    assert_eq!(units(&effects), []);
    let rate = live(&effects).expect("told at once, not with the next tick");
    assert_eq!(rate, Progress { bytes: Some(4000), total: Some(9000), rate: Some(1000) });
}

#[test]
fn one_that_stops_is_looked_at_again_and_wakes_nobody_until_somebody_asks() {
    let mut core = settled();
    begun(&mut core);
    handle(&mut core, grown(&path(), 1000, None));
    handle(&mut core, grown(&path(), 2000, None));
    handle(&mut core, looked(HUB, &[], &[]));
    let mut asked = Vec::new();
    for tick in 1..=60 {
        let effects = handle(&mut core, grown(&path(), 2000, None));
        asked.extend(units(&effects).iter().map(|_| tick));
        handle(&mut core, looked(HUB, &[], &[]));
    }
    assert_eq!(asked, [10], "a pause of seconds is no end");
    let effects = handle(&mut core, Event::Tick);
    assert!(
        wake(&effects) > 60
            && !effects.iter().any(|effect| matches!(effect, Effect::Do(Job::Growing { .. })))
    );
    assert!(core.growing.below(Path::new(HUB)).is_empty());
    let effects = handle(&mut core, Event::Asked);
    assert!(effects.contains(&Effect::Do(Job::Growing { path: path(), total: None })), "{effects:?}");
    let effects = handle(&mut core, grown(&path(), 9000, None));
    assert_eq!((growing(&effects), wake(&effects)), (vec![vec![(path(), true)]], 1), "it goes on");
}

#[test]
fn one_that_lies_there_unchanged_is_never_shown() {
    let mut core = settled();
    let lying = |core: &mut Core, ticks| {
        for _ in 0..=ticks {
            assert_eq!(units(&handle(core, grown(&path(), 1000, None))), []);
        }
        wake(&handle(core, Event::Tick))
    };
    let Event::Looked(unit, Looked::Different { change, children, links, unwatched, .. }) =
        looked(HUB, &[], &[])
    else {
        panic!()
    };
    let (restless, damaged, read) = (vec![path()], None, 0);
    let seen = Looked::Different { change, children, links, unwatched, damaged, read, restless };
    handle(&mut core, Event::Looked(unit, seen));
    core.now = at(3600);
    assert_eq!(lying(&mut core, 9), 1);
    assert!(lying(&mut core, 1) > 60, "it was there when we came");
    begun(&mut core);
    assert!(lying(&mut core, 60) > 60, "a server may take its time");
    handle(&mut core, Event::Asked);
    assert_eq!(units(&handle(&mut core, grown(&path(), 2000, None))), [(HUB.into(), false)]);
}

#[test]
fn one_that_was_closed_is_over_sooner_and_one_that_is_gone_at_once() {
    let mut core = settled();
    begun(&mut core);
    handle(&mut core, grown(&path(), 1000, None));
    handle(&mut core, grown(&path(), 2000, None));
    handle(&mut core, looked(HUB, &[], &[]));
    let effects = handle(&mut core, Event::Changed(vec![(path(), Change::Settled)]));
    assert!(effects.contains(&Effect::Do(Job::Growing { path: path(), total: None })), "{effects:?}");
    assert_eq!(units(&effects), [(HUB.into(), false)], "who waits for all that happened waits for it too");
    handle(&mut core, looked(HUB, &[], &[]));
    assert_eq!(units(&handle(&mut core, grown(&path(), 2000, None))), []);
    let effects = handle(&mut core, grown(&path(), 2000, None));
    assert_eq!((growing(&effects), live(&effects).unwrap().rate), (vec![Vec::new()], Some(0)));
    handle(&mut core, looked(HUB, &[], &[]));
    let effects = handle(&mut core, Event::Grown(path(), None));
    assert_eq!(units(&effects), [(HUB.into(), false)]);
}

#[test]
fn one_of_which_the_header_tells_more_is_not_over_for_a_pause() {
    let mut core = settled();
    let path = PathBuf::from("/home/u/models/a.gguf");
    handle(&mut core, Event::Changed(vec![(path.clone(), Change::Begun)]));
    handle(&mut core, grown(&path, 1000, Some(5000)));
    handle(&mut core, grown(&path, 2000, Some(5000)));
    handle(&mut core, looked("/home/u/models", &[], &[]));
    for _ in 0..9 {
        assert_eq!(units(&handle(&mut core, grown(&path, 2000, Some(5000)))), []);
    }
    assert_eq!(growing(&handle(&mut core, grown(&path, 2000, Some(5000)))), [vec![]]);
    handle(&mut core, looked("/home/u/models", &[], &[]));
    handle(&mut core, grown(&path, 5000, Some(5000)));
    handle(&mut core, looked("/home/u/models", &[], &[]));
    assert_eq!(growing(&handle(&mut core, grown(&path, 5000, Some(5000)))), Vec::<Vec<_>>::new());
    assert_eq!(growing(&handle(&mut core, grown(&path, 5000, Some(5000)))), [vec![]], "all of it is there");
}

#[test]
fn those_who_listen_are_told_how_far_it_is() {
    let mut core = settled();
    let path = PathBuf::from("/home/u/models/a.gguf");
    handle(&mut core, Event::Changed(vec![(path.clone(), Change::Begun)]));
    handle(&mut core, grown(&path, 1000, Some(5000)));
    handle(&mut core, grown(&path, 2000, Some(5000)));
    let (file, depend) =
        (path.to_str().unwrap(), crate::index::Depend { path: path.clone(), is_dir: false, stamp: None });
    let Event::Looked(unit, Looked::Different { mut change, children, links, unwatched, restless, .. }) =
        looked("/home/u/models", &[(file, 1, State::Downloading)], &[])
    else {
        panic!()
    };
    change.depends.put.push(depend);
    let seen = Looked::Different { change, children, links, unwatched, damaged: None, read: 0, restless };
    handle(&mut core, Event::Looked(unit, seen));
    let told = |effects: &[Effect]| {
        let model = |effect: &Effect| {
            if let Effect::Publish(event) = effect {
                event.model.as_ref().map(|model| (model.progress.unwrap(), model.size, model.disk_size))
            } else {
                None
            }
        };
        effects.iter().filter_map(model).collect::<Vec<_>>()
    };
    let expected = Progress { bytes: Some(3000), total: Some(5000), rate: Some(1000) };
    // It is stored with 100 bytes, and 4096 on the disk.
    let effects = handle(&mut core, grown(&path, 3000, Some(5000)));
    assert_eq!(told(&effects), [(expected, 3000, 3000)]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Live(_))), "who asks hears the same");
    assert_eq!(told(&handle(&mut core, Event::Tick)), [], "nothing has come since");
}
