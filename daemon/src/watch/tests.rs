//! Real directories, and what the kernel tells of them.

use super::*;
use crate::core::Event;
use std::{
    fs::{self, File, Permissions},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    sync::mpsc::Receiver,
};

struct Seen {
    watch: Watch,
    events: Receiver<Event>,
    dir: tempfile::TempDir,
}

impl Seen {
    fn new() -> Self {
        let (inbox, events) = Handle::new();
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch::start(inbox, dir.path().join("cookies")).unwrap();
        Self { watch, events, dir }
    }

    fn made(&self, dir: &str) -> PathBuf {
        let path = self.dir.path().join(dir);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[track_caller]
    fn watch(&self, dir: &Path) {
        assert_eq!(self.watch.add(vec![dir.to_owned()]), []);
    }

    /// Waits until a change of this path is told of; returns what was told before and with it.
    #[track_caller]
    fn hears_of(&self, path: &Path) -> Vec<(PathBuf, Change)> {
        let until = Instant::now() + Duration::from_secs(10);
        let mut told = Vec::new();
        while !told.iter().any(|(changed, _)| changed == path) {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left);
            let event = event.unwrap_or_else(|_| panic!("nothing was heard of {}", path.display()));
            if let Event::Changed(changes) = event {
                told.extend(changes);
            }
        }
        told
    }

    /// Does something; returns what is told of it, in order of the paths.
    #[track_caller]
    fn told(&self, act: impl FnOnce()) -> Vec<(PathBuf, Change)> {
        act();
        // The kernel tells in order.
        let last = self.dir.path().join("last");
        fs::create_dir(&last).unwrap();
        let mut told = self.hears_of(&last);
        fs::remove_dir(&last).unwrap();
        self.hears_of(&last);
        told.retain(|(path, _)| *path != last);
        told.sort();
        told.dedup();
        told
    }
}

#[test]
fn a_directory_that_takes_the_place_of_one_that_was_moved_away_is_watched() {
    let seen = Seen::new();
    let (old, away) = (seen.made("old"), seen.dir.path().join("away"));
    // The directory around it is not watched: nothing else tells that it went.
    seen.watch(&old);
    fs::rename(&old, &away).unwrap();
    seen.made("old");
    seen.watch(&old);
    fs::write(old.join("new"), "").unwrap();
    seen.hears_of(&old.join("new"));
}

#[test]
fn a_directory_that_went_and_came_back_is_watched() {
    let seen = Seen::new();
    let (old, away) = (seen.made("old"), seen.dir.path().join("away"));
    seen.watch(seen.dir.path());
    seen.watch(&old);
    fs::rename(&old, &away).unwrap();
    fs::rename(&away, &old).unwrap();
    seen.hears_of(&away);
    seen.watch(&old);
    fs::write(old.join("new"), "").unwrap();
    seen.hears_of(&old.join("new"));
}

#[test]
fn a_directory_that_is_made_again_is_watched_also_where_its_inode_is_used_again() {
    let seen = Seen::new();
    let dir = seen.made("sub");
    for round in 0..20 {
        seen.watch(&dir);
        fs::remove_dir_all(&dir).unwrap();
        seen.made("sub");
        seen.watch(&dir);
        fs::write(dir.join(round.to_string()), "").unwrap();
        seen.hears_of(&dir.join(round.to_string()));
    }
}

#[test]
fn each_name_of_one_directory_is_told_of_its_changes() {
    let seen = Seen::new();
    let (dir, link) = (seen.made("dir"), seen.dir.path().join("link"));
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    seen.watch(&dir);
    seen.watch(&link);
    fs::write(dir.join("a"), "").unwrap();
    seen.hears_of(&dir.join("a"));
    fs::write(dir.join("b"), "").unwrap();
    seen.hears_of(&link.join("b"));
    seen.watch.remove_below(dir.clone());
    fs::write(dir.join("c"), "").unwrap();
    seen.hears_of(&link.join("c"));
    seen.watch(&dir);
    fs::write(dir.join("d"), "").unwrap();
    seen.hears_of(&dir.join("d"));
}

#[test]
fn each_kind_of_change_is_told_as_what_it_is() {
    let seen = Seen::new();
    let at = |name: &str| seen.dir.path().join(name);
    fs::write(at("old"), "old").unwrap();
    seen.watch(seen.dir.path());
    let check = |name: &str, change: Change, act: &dyn Fn()| {
        assert_eq!(seen.told(act), [(at(name), change)], "{name} {change:?}");
    };
    let growing = std::cell::RefCell::new(None);
    check("growing", Change::Begun, &|| *growing.borrow_mut() = Some(File::create(at("growing")).unwrap()));
    let is_silent = seen.told(|| {
        growing.borrow_mut().as_mut().unwrap().write_all(b"more").unwrap();
        File::open(at("old")).unwrap().read_exact(&mut [0; 3]).unwrap();
    });
    assert_eq!(is_silent, [], "reads and writes");
    check("growing", Change::Closed, &|| drop(growing.take()));
    check("twin", Change::Settled, &|| fs::hard_link(at("old"), at("twin")).unwrap());
    check("old", Change::Closed, &|| fs::write(at("old"), "newer").unwrap());
    check("old", Change::Touched, &|| fs::set_permissions(at("old"), Permissions::from_mode(0o600)).unwrap());
    check("link", Change::Settled, &|| std::os::unix::fs::symlink("old", at("link")).unwrap());
    check("dir", Change::Settled, &|| fs::create_dir(at("dir")).unwrap());
    seen.watch(&at("dir"));
    check("dir/inside", Change::Settled, &|| fs::create_dir(at("dir/inside")).unwrap());
    check("twin", Change::Settled, &|| fs::remove_file(at("twin")).unwrap());
    let renamed = seen.told(|| fs::rename(at("old"), at("young")).unwrap());
    assert_eq!(renamed, [(at("old"), Change::Settled), (at("young"), Change::Settled)]);
}

#[test]
fn a_file_that_is_closed_after_another_took_its_name_is_not_told_of() {
    let seen = Seen::new();
    let at = |name: &str| seen.dir.path().join(name);
    let before = File::create(at("m")).unwrap();
    seen.watch(seen.dir.path());
    let mut growing = None;
    seen.told(|| {
        fs::remove_file(at("m")).unwrap();
        growing = Some(File::create(at("m")).unwrap());
    });
    assert_eq!(seen.told(|| drop(before)), []);
}

#[test]
fn a_tree_that_was_moved_away_and_forgotten_is_told_of_no_more_and_the_one_in_its_place_is() {
    let seen = Seen::new();
    let (tree, away) = (seen.made("tree"), seen.dir.path().join("away"));
    let deep = seen.made("tree/a/b");
    seen.watch(seen.dir.path());
    [&tree, &tree.join("a"), &deep].into_iter().for_each(|dir| seen.watch(dir));
    let told = seen.told(|| fs::rename(&tree, &away).unwrap());
    assert_eq!(told, [(away.clone(), Change::Settled), (tree.clone(), Change::Settled)]);
    assert_eq!(seen.told(|| fs::create_dir(away.join("top")).unwrap()), [], "its watch has ended by itself");
    seen.watch.remove_below(tree);
    seen.told(|| drop(seen.made("tree/a/b")));
    seen.watch(&deep);
    let told = seen.told(|| {
        fs::create_dir(away.join("a/b/moved")).unwrap();
        fs::create_dir(deep.join("new")).unwrap();
    });
    assert_eq!(told, [(deep.join("new"), Change::Settled)]);
}

#[test]
fn a_directory_that_cannot_be_watched_is_named_with_the_reason_and_the_others_are_watched() {
    let seen = Seen::new();
    let (dir, file, none) = (seen.made("dir"), seen.dir.path().join("file"), seen.dir.path().join("none"));
    fs::write(&file, "").unwrap();
    let failed = seen.watch.add(vec![none.clone(), file.clone(), dir.clone()]);
    let failed: Vec<_> = failed.iter().map(|(dir, why)| (dir, &**why)).collect();
    let reasons = ["No such file or directory (os error 2)", "Not a directory (os error 20)"];
    assert_eq!(failed, [(&none, reasons[0]), (&file, reasons[1])]);
    fs::write(dir.join("a"), "").unwrap();
    seen.hears_of(&dir.join("a"));
}

#[test]
fn a_full_queue_of_the_kernel_is_told_of_and_watches_outlive_it() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    // Nobody takes what is told, so that the thread waits and the queue fills.
    let (raw, told) = sync_channel(0);
    let watch = Watch::telling(raw).unwrap();
    assert_eq!(watch.add(vec![dir.path().to_owned()]), []);
    let files = ["a", "b"].map(|name| dir.path().join(name));
    files.iter().for_each(|file| fs::write(file, "").unwrap());
    for _ in 0..limit {
        // In turns: the kernel makes one of two that are the same.
        files.iter().for_each(|file| fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap());
    }
    let told = |wanted: Raw| while told.recv_timeout(Duration::from_secs(10)).unwrap() != wanted {};
    told(Raw::Lost);
    let late = dir.path().join("late");
    fs::create_dir(&late).unwrap();
    told(Raw::Changed(late, Change::Settled));
}
