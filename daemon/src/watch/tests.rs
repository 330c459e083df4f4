//! Real directories, and what the kernel tells of them.

use super::*;
use crate::core::Event;
use std::{fs, sync::mpsc::Receiver};

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

    /// Waits until a change of this path is told of.
    #[track_caller]
    fn hears_of(&self, path: &Path) {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left);
            let event = event.unwrap_or_else(|_| panic!("nothing was heard of {}", path.display()));
            if matches!(event, Event::Changed(changes) if changes.iter().any(|(changed, _)| changed == path))
            {
                return;
            }
        }
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
