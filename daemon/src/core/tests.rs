//! Events in, effects compared: no thread, no disk, no sleeping.

mod barrier;
mod clock;
mod dispatch;
mod durable;
mod inside;
mod named;
mod sight;
mod silence;
mod unfinished;

use super::*;
use crate::{
    index::{KnownFile, LocationRow, NewLocation, UnitChange},
    work::There,
};
use domain::{App, File, Format, Hints, Location, OnDisk, Progress, Role, State, Verdict, facts::Facts};
use std::{
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

const ROOT: &str = "/home/u/models";
const OTHER: &str = "/home/u/Downloads";

fn core() -> Core {
    let mint = || {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("m{}", NEXT.fetch_add(1, Ordering::Relaxed))
    };
    Core::new(Index::in_memory().unwrap(), User::in_memory().unwrap(), Timestamp::UNIX_EPOCH, mint, 60)
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[track_caller]
pub(super) fn handle(core: &mut Core, event: Event) -> Vec<Effect> {
    let now = core.now;
    core.handle(event, now).unwrap()
}

fn wanted(path: &str) -> Wanted {
    Wanted { path: path.into(), app: Some(App::Loose), derived_from: None, place: PathBuf::new() }
}

fn there(path: &str, inode: u64) -> Event {
    let there = There {
        path: path.into(),
        identity: (1, inode),
        volume: "disk".into(),
        seats: crate::seats::Seats::default(),
        has_events: true,
        entries: Vec::new(),
    };
    Event::Probed(Probed { wanted: path.into(), there: Some(there), spot: None, reason: None })
}

fn gone(path: &str) -> Event {
    Event::Probed(Probed { wanted: path.into(), there: None, spot: None, reason: None })
}

fn unit(dir: &str) -> UnitRow {
    let root = if dir.starts_with(ROOT) { ROOT } else { OTHER };
    UnitRow { root: root.into(), dir: dir.into() }
}

fn found(path: &str, content: u8, state: State) -> (NewLocation, (PathBuf, KnownFile)) {
    let is_whole = !matches!(state, State::Incomplete | State::Downloading);
    let disk_size = (state == State::Downloading).then_some(4096);
    let file = File { size: 100, disk_size, ..File::at(Path::new(path), Role::Weights) };
    let location = Location {
        app: App::Loose,
        id: path.to_owned(),
        name: Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned()),
        source: None,
        claims: Vec::new(),
        revision: None,
        refs: Vec::new(),
        license: None,
        owner: None,
        online: true,
        is_partial: !is_whole,
        partial_reason: None,
        progress: None,
        files: vec![file.clone()],
    };
    let on_disk = OnDisk { volume: "v".into(), inode: content.into(), disk_size: 4096, links: 1 };
    let row = LocationRow {
        location,
        on_disk: vec![Some(on_disk)],
        base_models: Vec::new(),
        lineage: Vec::new(),
        hints: Hints::default(),
        weights: vec![file.path],
        kept: None,
    };
    let verdict = Verdict {
        format: Some(Format::Gguf),
        state,
        reason: None,
        warnings: Vec::new(),
        safety: None,
        facts: Some(Facts::default()),
        data_start: None,
    };
    let known = KnownFile {
        volume: "v".into(),
        inode: content.into(),
        stamp: content.to_string(),
        sampled: vec![content],
        is_whole,
        verdict,
    };
    (
        NewLocation { content: vec![content], is_whole, fingerprint: None, row, card: None },
        (path.into(), known),
    )
}

/// A look at a directory that found these files, and says that others are gone.
pub(super) fn looked(dir: &str, files: &[(&str, u8, State)], removed: &[&str]) -> Event {
    let (locations, files) = files.iter().map(|(path, content, state)| found(path, *content, *state)).unzip();
    let removed = removed.iter().map(|path| (App::Loose, (*path).to_owned())).collect();
    let change = UnitChange { files, locations, removed, ..UnitChange::default() };
    let looked = Looked::Different {
        change,
        children: Vec::new(),
        links: Vec::new(),
        unwatched: Vec::new(),
        damaged: None,
        read: 1,
        restless: Vec::new(),
    };
    Event::Looked(unit(dir), looked)
}

/// A core that watches both roots and has looked at both.
pub(super) fn settled() -> Core {
    let mut core = core();
    handle(&mut core, Event::Want(vec![wanted(ROOT), wanted(OTHER)]));
    for (root, inode) in [(ROOT, 2), (OTHER, 3)] {
        handle(&mut core, there(root, inode));
        handle(&mut core, looked(root, &[], &[]));
    }
    assert!(core.is_settled());
    core
}

fn published(effects: &[Effect]) -> Vec<(api::EventKind, String, State)> {
    let event = |effect: &Effect| match effect {
        Effect::Publish(event) => {
            event.model.as_ref().map(|model| (event.event, model.id.clone(), model.state))
        }
        Effect::Do(_)
        | Effect::Unwatch(_)
        | Effect::Remember(_)
        | Effect::Live(_)
        | Effect::Wake(_)
        | Effect::Stop => None,
    };
    effects.iter().filter_map(event).collect()
}

pub(super) fn units(effects: &[Effect]) -> Vec<(PathBuf, bool)> {
    let dirs = |effect: &Effect| {
        let Effect::Do(job) = effect else { return Vec::new() };
        if let Job::Check(jobs) = job {
            return jobs.iter().map(|job| (job.unit.dir.clone(), true)).collect();
        }
        if let Job::Unit(job) = job { vec![(job.unit.dir.clone(), false)] } else { Vec::new() }
    };
    effects.iter().flat_map(dirs).collect()
}

/// What each look at a unit is told of files that are being written.
pub(super) fn growing(effects: &[Effect]) -> Vec<Vec<(PathBuf, bool)>> {
    let unit = |effect: &Effect| {
        if let Effect::Do(Job::Unit(job)) = effect { Some(job.growing.clone()) } else { None }
    };
    effects.iter().filter_map(unit).collect()
}

/// A file with so many bytes, of `total` that its header tells, written at a time that these bytes stand for.
pub(super) fn grown(path: &Path, size: u64, total: Option<u64>) -> Event {
    let progress = Progress { bytes: Some(size), total, rate: None };
    let at = started() + Duration::from_millis(size);
    Event::Grown(path.to_owned(), Some(Sight { size, disk_size: size, modified: (0, 0), progress, at }))
}

fn started() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[test]
fn a_root_that_is_there_is_looked_at() {
    let mut core = core();
    let effects = handle(&mut core, Event::Want(vec![wanted(ROOT)]));
    assert_eq!(effects, [Effect::Do(Job::Root { wanted: ROOT.into() }), Effect::Wake(15)]);
    assert!(!core.is_settled());
    assert_eq!(units(&handle(&mut core, there(ROOT, 2))), [(ROOT.into(), true)]);
}

#[test]
fn a_closed_file_is_asked_about_and_published_once() {
    let mut core = settled();
    let path = format!("{ROOT}/a.gguf");
    let effects = handle(&mut core, Event::Changed(vec![(path.clone().into(), Change::Settled)]));
    assert_eq!(units(&effects), [(ROOT.into(), false)]);
    let effects = handle(&mut core, looked(ROOT, &[(&path, 1, State::Ok)], &[]));
    let added = published(&effects);
    assert_eq!(added.len(), 1);
    assert_eq!((added[0].0, added[0].2), (api::EventKind::ModelAdded, State::Ok));
    assert_eq!(published(&handle(&mut core, looked(ROOT, &[(&path, 1, State::Ok)], &[]))), []);
}

#[test]
fn a_file_that_is_being_written_waits_and_is_shown_when_it_grows() {
    let mut core = settled();
    let path = PathBuf::from(format!("{ROOT}/big.gguf"));
    let effects = handle(&mut core, Event::Changed(vec![(path.clone(), Change::Begun)]));
    assert_eq!(units(&effects), []);
    assert!(effects.contains(&Effect::Wake(1)), "{effects:?}");
    assert!(
        handle(&mut core, Event::Tick)
            .contains(&Effect::Do(Job::Growing { path: path.clone(), total: None }))
    );
    assert_eq!(units(&handle(&mut core, grown(&path, 10, None))), []);
    let effects = handle(&mut core, grown(&path, 20, None));
    assert_eq!(growing(&effects), [vec![(path.clone(), true)]]);
    handle(&mut core, looked(ROOT, &[], &[]));
    assert_eq!(units(&handle(&mut core, grown(&path, 30, None))), []);
    handle(&mut core, grown(&path, 30, None));
    let effects = handle(&mut core, grown(&path, 30, None));
    assert_eq!(growing(&effects), [vec![]]);
}

#[test]
fn a_file_that_moves_to_another_root_stays_the_same_model() {
    let mut core = settled();
    let (from, to) = (format!("{ROOT}/a.gguf"), format!("{OTHER}/b.gguf"));
    let id = published(&handle(&mut core, looked(ROOT, &[(&from, 1, State::Ok)], &[])))[0].1.clone();
    let effects = handle(&mut core, looked(ROOT, &[], &[&from]));
    assert_eq!(published(&effects), [(api::EventKind::ModelRemoved, id.clone(), State::Ok)]);
    let effects = handle(&mut core, looked(OTHER, &[(&to, 1, State::Ok)], &[]));
    assert_eq!(published(&effects), [(api::EventKind::ModelAdded, id, State::Ok)]);
}

#[test]
fn a_download_keeps_its_id_when_it_becomes_whole_and_a_replaced_file_does_not() {
    let mut core = settled();
    let path = format!("{ROOT}/a.gguf");
    let id = published(&handle(&mut core, looked(ROOT, &[(&path, 1, State::Incomplete)], &[])))[0].1.clone();
    let effects = handle(&mut core, looked(ROOT, &[(&path, 2, State::Ok)], &[]));
    assert_eq!(published(&effects), [(api::EventKind::ModelChanged, id.clone(), State::Ok)]);
    let effects = handle(&mut core, looked(ROOT, &[(&path, 3, State::Ok)], &[]));
    let events = published(&effects);
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events.contains(&(api::EventKind::ModelRemoved, id.clone(), State::Ok)));
    assert!(events.iter().any(|(kind, other, _)| *kind == api::EventKind::ModelAdded && *other != id));
}

#[test]
fn a_root_that_goes_leaves_its_models_offline_and_brings_them_back() {
    let mut core = settled();
    let path = format!("{ROOT}/a.gguf");
    let id = published(&handle(&mut core, looked(ROOT, &[(&path, 1, State::Ok)], &[])))[0].1.clone();
    let effects = handle(&mut core, gone(ROOT));
    assert_eq!(published(&effects), [(api::EventKind::ModelChanged, id.clone(), State::Offline)]);
    let status = core.index.roots().unwrap().into_iter().find(|root| root.path.text() == ROOT).unwrap();
    assert!(!status.online && status.offline_since.is_some() && status.reason.is_some());
    let effects = handle(&mut core, there(ROOT, 9));
    assert_eq!(published(&effects), [(api::EventKind::ModelChanged, id, State::Ok)]);
    assert_eq!(units(&effects), [(ROOT.into(), true)]);
}

#[test]
fn sync_answers_when_all_that_came_before_the_cookie_is_done() {
    let mut core = settled();
    let (reply, mut answer) = oneshot::channel();
    let path = PathBuf::from(format!("{ROOT}/a.gguf"));
    handle(&mut core, Event::Changed(vec![(path, Change::Settled)]));
    handle(&mut core, Event::Sync { cookie: "c1".into(), reply });
    handle(&mut core, Event::Cookie("other".into()));
    handle(&mut core, looked(OTHER, &[], &[]));
    assert!(answer.try_recv().is_err());
    handle(&mut core, Event::Cookie("c1".into()));
    assert!(answer.try_recv().is_err(), "the unit is still being looked at");
    handle(&mut core, looked(ROOT, &[], &[]));
    assert_eq!(answer.try_recv().unwrap(), Settled { read: 2 });
}

#[test]
fn sync_waits_for_what_could_not_be_stored_before() {
    let mut core = settled();
    core.start_over();
    let (reply, mut answer) = oneshot::channel();
    let effects = handle(&mut core, Event::Sync { cookie: "c1".into(), reply });
    assert_eq!(units(&effects).len(), 2, "both roots are looked at again");
    handle(&mut core, Event::Cookie("c1".into()));
    handle(&mut core, looked(ROOT, &[], &[]));
    assert!(answer.try_recv().is_err());
    handle(&mut core, looked(OTHER, &[], &[]));
    assert!(answer.try_recv().is_err(), "whether they are still there is asked, too");
    handle(&mut core, there(ROOT, 2));
    handle(&mut core, there(OTHER, 3));
    assert!(answer.try_recv().is_ok());
}

#[test]
fn what_a_look_still_brings_after_a_part_of_it_was_not_stored_is_not_taken_for_the_whole() {
    let mut core = settled();
    let path = format!("{ROOT}/a.gguf");
    let effects = handle(&mut core, Event::Changed(vec![(path.clone().into(), Change::Settled)]));
    assert_eq!(units(&effects), [(ROOT.into(), false)]);
    core.start_over();
    let effects = handle(&mut core, looked(ROOT, &[(&path, 1, State::Ok)], &[]));
    assert_eq!((published(&effects), units(&effects)), (Vec::new(), Vec::new()));
    let effects = handle(&mut core, Event::Tick);
    assert_eq!(units(&effects).len(), 2, "both roots are looked at again");
}

#[test]
fn lost_events_mean_that_everything_is_checked_again() {
    let mut core = settled();
    let effects = handle(&mut core, Event::Lost);
    assert_eq!(units(&effects).len(), 2);
    assert!(core.index.roots().unwrap().iter().all(|root| root.rescans == 1));
}

#[test]
fn a_directory_that_cannot_be_read_is_said_and_its_models_stay() {
    let mut core = settled();
    let path = format!("{ROOT}/a.gguf");
    handle(&mut core, looked(ROOT, &[(&path, 1, State::Ok)], &[]));
    let effects =
        handle(&mut core, Event::Looked(unit(ROOT), Looked::Unreadable("Permission denied".into())));
    assert_eq!(published(&effects), []);
    let reason = core.index.roots().unwrap().into_iter().find_map(|root| root.reason).unwrap();
    assert!(reason.contains("Permission denied") && reason.contains(ROOT), "{reason}");
}

#[test]
fn a_link_out_becomes_a_root_once_it_is_steady_and_goes_when_it_is_re_pointed() {
    let mut core = settled();
    let (link, target) = (PathBuf::from(format!("{ROOT}/big")), PathBuf::from("/mnt/big"));
    let links_found = |links: Vec<(PathBuf, PathBuf)>| {
        let Event::Looked(unit, Looked::Different { change, .. }) = looked(ROOT, &[], &[]) else { panic!() };
        let (children, unwatched, damaged, restless) = (Vec::new(), Vec::new(), None, Vec::new());
        let read = 0;
        Event::Looked(unit, Looked::Different { change, children, links, unwatched, damaged, read, restless })
    };
    let probe = Effect::Do(Job::Link { link: link.clone(), target: target.clone() });
    handle(&mut core, links_found(vec![(link.clone(), target.clone())]));
    assert!(!core.handle(Event::Tick, at(1)).unwrap().contains(&probe));
    assert!(core.handle(Event::Tick, at(3)).unwrap().contains(&probe));
    let effects = handle(&mut core, Event::LinkLeads { link: link.clone(), target: target.clone() });
    assert_eq!(effects.first(), Some(&Effect::Do(Job::Root { wanted: target })));
    handle(&mut core, there("/mnt/big", 7));
    let status =
        |core: &Core| core.index.roots().unwrap().into_iter().find(|root| root.path.text() == "/mnt/big");
    assert_eq!(status(&core).unwrap().derived_from.as_deref(), link.to_str());
    handle(&mut core, links_found(Vec::new()));
    handle(&mut core, there("/mnt/big", 7));
    assert_eq!(status(&core), None);
}

#[test]
fn a_directory_that_was_moved_is_watched_anew_before_it_is_looked_at() {
    let mut core = settled();
    let dir = PathBuf::from(format!("{ROOT}/sub"));
    let Event::Looked(_, Looked::Different { mut change, children, links, unwatched, restless, .. }) =
        looked(ROOT, &[], &[])
    else {
        panic!()
    };
    change.depends.put.push(crate::index::Depend { path: dir.clone(), is_dir: true, stamp: None });
    let seen = Looked::Different { change, children, links, unwatched, damaged: None, read: 0, restless };
    handle(&mut core, Event::Looked(UnitRow { root: ROOT.into(), dir: dir.clone() }, seen));
    let effects = handle(&mut core, Event::Changed(vec![(dir.clone(), Change::Settled)]));
    assert_eq!(effects.first(), Some(&Effect::Unwatch(dir.clone())));
    assert!(units(&effects).contains(&(dir, false)), "{effects:?}");
}
