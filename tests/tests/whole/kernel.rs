//! What the kernel does not tell: a full queue, no watches left, filesystems that come, go or are silent.

use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tests::{
    House,
    files::{gguf, write},
    house, skip, wait_until,
};

/// Lets the daemon run in a namespace of its own, after these lines of shell. Says why not where that is not allowed.
pub(crate) fn in_namespace(house: &mut House, flags: &str, lines: &str) -> Result<(), String> {
    let probe = Command::new("unshare").args([flags, "sh", "-c", lines]).output();
    let probe = probe.map_err(|error| format!("unshare: {error}"))?;
    if !probe.status.success() {
        return Err(format!("unshare {flags} is not allowed: {}", String::from_utf8_lossy(&probe.stderr)));
    }
    house.wrap(&["unshare", flags, "sh", "-c", &format!("{lines} && exec \"$0\"")]);
    Ok(())
}

/// Runs a line of shell where the daemon lives.
#[track_caller]
pub(crate) fn inside(house: &House, kind: &str, line: &str) {
    let target = house.pid().to_string();
    let entered = Command::new("nsenter").args(["-t", &target, kind, "sh", "-c", line]).output().unwrap();
    assert!(entered.status.success(), "{line}: {}", String::from_utf8_lossy(&entered.stderr));
}

pub(crate) fn root(house: &House, path: &Path) -> Value {
    let roots = house.json(&["roots"])["roots"].take();
    let is_it = |root: &&Value| root["path"] == *path.to_string_lossy();
    roots.as_array().unwrap().iter().find(is_it).cloned().unwrap_or(Value::Null)
}

fn poll_often(house: &House) {
    write(house.home(".config/modeld/config.toml"), "poll_seconds = 1\n");
}

#[test]
fn without_watches_left_changes_are_found_all_the_same_and_it_recovers_by_itself() {
    let mut house = house!();
    poll_often(&house);
    for n in 0..50 {
        write(house.models(format!("d{n:02}/m.gguf")), gguf(&format!("m{n}")));
    }
    let limit = "/proc/sys/user/max_inotify_watches";
    if let Err(why) = in_namespace(&mut house, "-Ur", &format!("echo 20 > {limit}")) {
        skip!("{why}");
    }
    house.start();
    house.sync();
    assert_eq!(house.list(&[]).len(), 50);
    let status = root(&house, &house.models(""));
    let status = if status.is_null() { root(&house, &house.home("models")) } else { status };
    assert_eq!((&status["degraded"], &status["watched"]), (&true.into(), &false.into()), "{status}");
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("d") && reason.contains("fs.inotify.max_user_watches"), "{reason}");
    write(house.models("d49/late.gguf"), gguf("late"));
    wait_until("a change in an unwatched folder is found", 20, || house.list(&[]).len() == 51);
    let told = house.log().lines().filter(|line| line.contains("max_user_watches")).count();
    assert!(told <= 1, "{told} lines about watches:\n{}", house.log());
    let findings = house.json(&["doctor"])["findings"].take();
    let fixes = |finding: &Value| {
        finding["fix"].as_str().is_some_and(|fix| fix.contains("fs.inotify.max_user_watches="))
    };
    assert!(findings.as_array().unwrap().iter().any(fixes), "{findings}");
    inside(&house, "-U", &format!("echo 10000 > {limit}"));
    wait_until("all is watched again", 20, || root(&house, &house.home("models"))["watched"] == true);
    assert!(house.is_alive());
}

#[test]
fn without_an_inotify_instance_left_the_daemon_starts_and_changes_are_found_all_the_same() {
    let mut house = house!();
    poll_often(&house);
    write(house.models("first.gguf"), gguf("first"));
    let limit = "/proc/sys/user/max_inotify_instances";
    if let Err(why) = in_namespace(&mut house, "-Ur", &format!("echo 0 > {limit}")) {
        skip!("{why}");
    }
    house.start();
    house.sync();
    assert_eq!(house.names(&[]), ["first"]);
    let status = root(&house, &house.home("models"));
    assert!(status["reason"].as_str().unwrap().contains("max_user_instances"), "{status}");
    write(house.models("second.gguf"), gguf("second"));
    house.sync();
    assert_eq!(house.names(&[]), ["first", "second"]);
    write(house.models("third.gguf"), gguf("third"));
    wait_until("it is found without being asked for", 20, || house.list(&[]).len() == 3);
    inside(&house, "-U", &format!("echo 100 > {limit}"));
    wait_until("all is watched again", 20, || root(&house, &house.home("models"))["watched"] == true);
}

#[test]
fn an_overflow_of_the_kernels_queue_loses_nothing_and_is_counted() {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_queued_events";
    let before = fs::read_to_string(LIMIT).unwrap_or_default();
    let mut house = house!();
    fs::create_dir_all(house.models("many")).unwrap();
    // The limit is read when a queue is made; other daemons that start meanwhile only look again more often.
    if let Err(error) = fs::write(LIMIT, "64") {
        skip!("{LIMIT} cannot be set: {error}");
    }
    house.start();
    fs::write(LIMIT, before).unwrap();
    house.sync();
    tests::house::send(house.pid(), rustix::process::Signal::STOP);
    for n in 0..500 {
        write(house.models(format!("many/m{n}.gguf")), gguf(&format!("m{n}")));
    }
    for n in 0..5000 {
        let passing = house.models(format!("many/passing-{n}.tmp"));
        write(&passing, "x");
        fs::remove_file(passing).unwrap();
    }
    tests::house::send(house.pid(), rustix::process::Signal::CONT);
    wait_until("all 500 are listed", 10, || house.list(&[]).len() == 500);
    let rescans = root(&house, &house.home("models"))["rescans"].as_u64().unwrap();
    assert!(rescans >= 1, "{rescans} rescans told");
}

#[test]
fn a_disk_that_is_unplugged_is_offline_and_back_with_the_same_ids() {
    let mut house = house!();
    fs::create_dir_all(house.home("Downloads")).unwrap();
    let disk = house.home("Downloads");
    let mount = format!("mount -t tmpfs -o size=16m t {}", disk.display());
    if let Err(why) = in_namespace(&mut house, "-m", &mount) {
        skip!("{why}");
    }
    house.start();
    house.sync();
    let kept = house.at("kept.gguf");
    write(&kept, gguf("kept"));
    let copy = format!("cp {} {}/kept.gguf", kept.display(), disk.display());
    inside(&house, "-m", &copy);
    wait_until("the model is listed", 10, || house.names(&["state=ok"]) == ["kept"]);
    house.does(&["tag", "kept", "mine"]);
    let id = house.show("kept")["id"].clone();
    inside(&house, "-m", &format!("umount {}", disk.display()));
    house.sync();
    assert_eq!(house.names(&["state=offline"]), ["kept"], "a sync waits for what was mounted, too");
    let status = root(&house, &disk);
    assert!(status["online"] == false && status["offline_since"].is_string(), "{status}");
    assert!(status["reason"].as_str().unwrap().contains("not mounted"), "{status}");
    inside(&house, "-m", &format!("{mount} && {copy}"));
    house.sync();
    assert_eq!(house.names(&["state=ok"]), ["kept"]);
    assert_eq!(house.show("kept")["id"], id);
    assert_eq!(house.names(&["tag=mine"]), ["kept"]);
}

#[test]
fn a_silent_filesystem_is_said_and_looked_at_again_and_again() {
    let mut house = house!();
    poll_often(&house);
    for dir in ["lower", "upper", "work"] {
        fs::create_dir_all(house.at(dir)).unwrap();
    }
    write(house.at("lower/one.gguf"), gguf("one"));
    let at = |dir: &str| house.at(dir).display().to_string();
    let mount = format!(
        "mount -t tmpfs t {top} && mkdir {top}/u {top}/w && mount -t overlay o -o lowerdir={lower},upperdir={top}/u,workdir={top}/w {models}",
        top = at("upper"),
        lower = at("lower"),
        models = at("home/models"),
    );
    if let Err(why) = in_namespace(&mut house, "-m", &mount) {
        skip!("{why}");
    }
    house.start();
    house.sync();
    assert_eq!(house.names(&[]), ["one"]);
    let status = root(&house, &house.home("models"));
    assert_eq!((&status["degraded"], &status["watched"]), (&true.into(), &false.into()), "{status}");
    assert!(status["reason"].as_str().unwrap().contains("does not tell of changes"), "{status}");
    // A change of the lower layer raises no event in the merged one.
    write(house.at("lower/two.gguf"), gguf("two"));
    wait_until("it is found all the same", 20, || house.list(&[]).len() == 2);
    house.sync();
}

#[test]
fn a_file_that_is_read_and_rewritten_within_one_tick_of_the_clock_is_read_again() {
    let mut house = house!();
    // Its times tick, as everywhere before Linux 6.13.
    let [models, clock] = ["models", "clock"].map(|dir| house.home(dir));
    fs::create_dir(&clock).unwrap();
    let mount = format!("mount -t ramfs r {} && mount -t ramfs r {}", models.display(), clock.display());
    if let Err(why) = in_namespace(&mut house, "-m", &mount) {
        skip!("{why}");
    }
    house.start();
    house.sync();
    let there = format!("/proc/{}/root", house.pid());
    let [path, clock] =
        [models.join("m.gguf"), clock.join("now")].map(|path| format!("{there}{}", path.display()));
    let tick = || {
        fs::write(&clock, "").unwrap();
        fs::metadata(&clock).unwrap().modified().unwrap()
    };
    let mut wire = house.wire();
    let mut is_shown = |name: &str| {
        wire.call("Sync", serde_json::json!({}));
        wire.call("Show", serde_json::json!({ "model": "m" }))["parameters"]["facts"]["name"] == name
    };
    for round in 0..160_u64 {
        let before = tick();
        while tick() == before {}
        fs::write(&path, gguf(&format!("first-{round:03}"))).unwrap();
        // About as long as it takes to be told of and read.
        let until = Instant::now() + Duration::from_micros(2500 + round % 14 * 100);
        while Instant::now() < until {}
        let name = format!("other-{round:03}");
        fs::write(&path, gguf(&name)).unwrap();
        wait_until(&format!("{name} is shown"), 5, || is_shown(&name));
    }
}

#[test]
fn a_bind_mount_that_is_taken_away_leaves_its_models_offline() {
    let mut house = house!();
    write(house.at("elsewhere/kept.gguf"), gguf("kept"));
    let mount =
        format!("mount --bind {} {}", house.at("elsewhere").display(), house.home("models").display());
    if let Err(why) = in_namespace(&mut house, "-m", &mount) {
        skip!("{why}");
    }
    house.start();
    house.sync();
    let id = house.show("kept")["id"].clone();
    inside(&house, "-m", &format!("umount {}", house.home("models").display()));
    wait_until("it is offline", 10, || house.names(&["state=offline"]) == ["kept"]);
    write(house.at("elsewhere/late.gguf"), gguf("late"));
    house.sync();
    assert_eq!(house.names(&[]), ["kept"], "what is hidden is not told of");
    inside(&house, "-m", &mount);
    wait_until("it is back, with what came meanwhile", 10, || house.names(&["state=ok"]) == ["kept", "late"]);
    assert_eq!(house.show("kept")["id"], id);
}

#[test]
fn a_full_disk_is_said_nothing_stops_and_all_goes_on_when_there_is_room() {
    let mut house = house!();
    let local = house.home(".local");
    fs::create_dir_all(&local).unwrap();
    if let Err(why) =
        in_namespace(&mut house, "-m", &format!("mount -t tmpfs -o size=8m t {}", local.display()))
    {
        skip!("{why}");
    }
    write(house.models("first.gguf"), gguf("first"));
    house.start();
    house.sync();
    house.does(&["tag", "first", "before"]);
    let filler = local.join("filler").display().to_string();
    inside(&house, "-m", &format!("dd if=/dev/zero of={filler} bs=4k 2>/dev/null; test -s {filler}"));
    for n in 0..300 {
        write(house.models(format!("m{n}.gguf")), gguf(&format!("m{n}")));
    }
    let said = house.ctl(&["tag", "first", "while-full"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("full") || said.err.contains("space"), "{said:?}");
    let said = house.ctl(&["sync"]);
    assert!(said.code == 1 && (said.err.contains("full") || said.err.contains("space")), "{said:?}");
    assert!(house.is_alive());
    assert_eq!(house.names(&["tag=before"]), ["first"], "what is known can be read");
    let home = house.does(&[]);
    assert!(home.contains("behind the disk") && home.contains("free some space"), "{home}");
    inside(&house, "-m", &format!("rm {filler}"));
    wait_until("all models are there", 30, || house.list(&[]).len() == 301);
    house.does(&["tag", "first", "after"]);
    assert_eq!(house.show("first")["tags"], serde_json::json!(["after", "before"]));
    wait_until("it says no longer that it is behind", 20, || !house.does(&[]).contains("behind the disk"));
}
