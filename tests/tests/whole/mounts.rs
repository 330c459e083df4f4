//! Filesystems that are mounted in a root, or over a part of it: what is not seen any more is offline, not gone.

use crate::kernel::{in_namespace, inside};
use serde_json::{Value, json};
use std::{fs, path::Path};
use tests::{
    House,
    files::{gguf, write},
    house, skip,
    stores::sha256,
    wait_until,
};

/// A line that mounts an empty disk.
fn disk(source: &str, at: &Path) -> String {
    format!("mount -t tmpfs -o size=16m {source} {}", at.display())
}

/// A line that copies a file to where the daemon lives.
fn put(from: &Path, to: &Path) -> String {
    format!("mkdir -p {} && cp {} {}", to.parent().unwrap().display(), from.display(), to.display())
}

/// The root that stands for what is not seen now at a place.
fn away(house: &House, path: &Path) -> Vec<Value> {
    let roots = house.json(&["roots"])["roots"].take();
    let is_it = |root: &&Value| root["path"] == *path.to_string_lossy() && root["online"] == false;
    roots.as_array().unwrap().iter().filter(is_it).cloned().collect()
}

#[test]
fn a_disk_inside_a_root_that_is_unplugged_is_offline_and_back_with_all_that_was_said_of_it() {
    let mut house = house!();
    let usb = house.models("usb");
    fs::create_dir(&usb).unwrap();
    write(house.models("near.gguf"), gguf("near"));
    let kept = house.at("kept.gguf");
    write(&kept, gguf("kept"));
    // Sources of their own, so that another disk in the same place is another disk.
    let fill = format!("{} && {}", disk("one", &usb), put(&kept, &usb.join("deep/kept.gguf")));
    if let Err(why) = in_namespace(&mut house, "-m", &fill) {
        skip!("{why}");
    }
    house.start();
    house.sync();
    assert_eq!(house.names(&["state=ok"]), ["kept", "near"]);
    house.does(&["tag", "kept", "mine"]);
    let before = house.show("kept");
    inside(&house, "-m", &format!("umount {}", usb.display()));
    house.sync();
    assert_eq!(house.names(&["state=offline"]), ["kept"]);
    assert_eq!(house.names(&["state=ok"]), ["near"]);
    let offline = house.show("kept");
    assert_eq!((&offline["id"], &offline["tags"]), (&before["id"], &json!(["mine"])));
    assert_eq!(offline["architecture"], before["architecture"]);
    let gone = away(&house, &usb);
    assert!(gone.len() == 1 && gone[0]["offline_since"].is_string() && gone[0]["models"] == 1, "{gone:?}");
    assert!(gone[0]["reason"].as_str().unwrap().contains("not mounted"), "{gone:?}");

    // Nothing that is done while it is out makes it forgotten.
    house.does(&["scan"]);
    house.does(&["tag", "kept", "missed"]);
    write(usb.join("unseen.gguf"), gguf("unseen"));
    house.sync();
    assert_eq!(house.names(&["state=offline"]), ["kept"]);

    inside(&house, "-m", &fill);
    house.sync();
    assert_eq!(house.names(&["state=ok"]), ["kept", "near"]);
    assert_eq!(house.names(&["state=offline"]), ["unseen"], "it lies under the disk");
    assert_eq!(house.show("kept")["id"], before["id"]);
    assert_eq!(house.names(&["tag=mine", "tag=missed"]), ["kept"]);
    assert_eq!(away(&house, &usb).len(), 0);
    let late = house.at("late.gguf");
    write(&late, gguf("late"));
    inside(&house, "-m", &put(&late, &usb.join("late.gguf")));
    wait_until("it is watched again", 10, || house.names(&["name=late"]) == ["late"]);
}

#[test]
fn a_daemon_that_starts_while_a_disk_inside_a_root_is_out_shows_its_models_as_offline() {
    let mut house = house!();
    let usb = house.models("usb");
    fs::create_dir(&usb).unwrap();
    let (kept, out) = (house.at("kept.gguf"), house.at("out"));
    write(&kept, gguf("kept"));
    let fill = format!("{} && {}", disk("one", &usb), put(&kept, &usb.join("kept.gguf")));
    if let Err(why) =
        in_namespace(&mut house, "-m", &format!("{{ test -e {} || {{ {fill}; }}; }}", out.display()))
    {
        skip!("{why}");
    }
    house.start();
    house.sync();
    house.does(&["tag", "kept", "mine"]);
    let id = house.show("kept")["id"].clone();
    // It is pulled while nobody looks.
    write(&out, "");
    for round in 0..2 {
        house.restart();
        house.sync();
        assert_eq!(house.names(&["state=offline"]), ["kept"], "start {round}");
        assert_eq!(away(&house, &usb).len(), 1);
    }
    inside(&house, "-m", &fill);
    house.sync();
    assert_eq!(house.names(&["state=ok", "tag=mine"]), ["kept"]);
    assert_eq!(house.show("kept")["id"], id);
    assert_eq!(away(&house, &usb).len(), 0);
}

#[test]
fn what_a_disk_is_mounted_over_is_offline_until_it_is_seen_again() {
    let mut house = house!();
    write(house.models("sub/under.gguf"), gguf("under"));
    write(house.models("sub/same.gguf"), gguf("first"));
    let [over, same] = ["over", "same"].map(|name| house.at(format!("{name}.gguf")));
    write(&over, gguf("over"));
    write(&same, gguf("second"));
    if let Err(why) = in_namespace(&mut house, "-m", "true") {
        skip!("{why}");
    }
    house.start();
    house.sync();
    let facts = |state: &str| {
        let models = house.list(&[state]);
        models
            .iter()
            .map(|model| house.show(model["id"].as_str().unwrap())["facts"]["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(facts("state=ok"), ["first", "under"]);
    let first = house.list(&["name=same"])[0]["id"].clone();
    // The whole of a root, and a folder of it.
    for dir in [house.models("sub"), house.models("").components().collect()] {
        inside(&house, "-m", &disk("one", &dir));
        house.sync();
        assert_eq!(house.names(&["state=offline"]), ["same", "under"], "{}", dir.display());
        for file in [&over, &same] {
            let to = house.models("sub").join(file.file_name().unwrap());
            inside(&house, "-m", &put(file, &to));
        }
        house.sync();
        assert_eq!(facts("state=ok"), ["over", "second"]);
        // A file at the same path says nothing of one that is covered.
        house.does(&["note", first.as_str().unwrap(), "covered"]);
        assert_eq!(facts("state=offline"), ["first", "under"]);
        inside(&house, "-m", &format!("umount {}", dir.display()));
        house.sync();
        assert_eq!(facts("state=ok"), ["first", "under"]);
        assert_eq!(facts("state=offline"), ["over", "second"]);
        let dir = dir.to_str().unwrap();
        house.does(&["roots", "remove", dir]);
        assert_eq!(house.names(&[]), ["same", "under"], "what was on the disk is forgotten");
    }
    assert_eq!(house.list(&["name=same"])[0]["id"], first);
}

#[test]
fn disks_that_take_turns_at_one_place_are_told_apart() {
    let mut house = house!();
    let usb = house.models("usb");
    fs::create_dir(&usb).unwrap();
    let disks = ["one", "two"].map(|name| {
        let (file, model) = (house.at(format!("{name}/m.gguf")), format!("of-{name}"));
        write(&file, gguf(&model));
        (format!("{} && {}", disk(name, &usb), put(&file, &usb.join("m.gguf"))), model)
    });
    if let Err(why) = in_namespace(&mut house, "-m", "true") {
        skip!("{why}");
    }
    house.start();
    house.sync();
    for round in 0..2 {
        for (mount, model) in &disks {
            inside(&house, "-m", mount);
            house.sync();
            let seen = house.list(&["state=ok"]);
            assert_eq!(seen.len(), 1, "round {round}: {seen:?}");
            let shown = house.show(seen[0]["id"].as_str().unwrap());
            assert_eq!(shown["facts"]["name"], model.as_str(), "round {round}");
            inside(&house, "-m", &format!("umount {}", usb.display()));
        }
    }
    house.sync();
    assert_eq!(house.list(&["state=offline"]).len(), 2);
    assert_eq!(away(&house, &usb).len(), 2);
}

#[test]
fn a_model_that_is_put_away_keeps_its_hashes_whatever_lies_in_its_place() {
    let mut house = house!();
    let usb = house.models("usb");
    fs::create_dir(&usb).unwrap();
    if let Err(why) = in_namespace(&mut house, "-m", "true") {
        skip!("{why}");
    }
    house.start();
    let ids = ["one", "two"].map(|name| {
        let (file, bytes) = (house.at(format!("{name}/m.gguf")), gguf(name));
        write(&file, &bytes);
        inside(&house, "-m", &format!("{} && {}", disk(name, &usb), put(&file, &usb.join("m.gguf"))));
        house.sync();
        let id = house.list(&["state=ok"])[0]["id"].as_str().unwrap().to_owned();
        house.does(&["verify", &id]);
        if name == "one" {
            inside(&house, "-m", &format!("umount {}", usb.display()));
            house.sync();
        }
        (id, sha256(&bytes))
    });
    for what in ["note", "scan"] {
        let args = if what == "note" { vec!["note", &ids[0].0, "put away"] } else { vec!["scan"] };
        house.does(&args);
        house.does(&["tag", &ids[0].0, what]);
        for (id, sha256) in &ids {
            let shown = house.show(id);
            assert_eq!(
                shown["locations"][0]["files"][0]["hashes"]["sha256"], **sha256,
                "after {what}: {shown}"
            );
        }
    }
    assert_eq!(house.show(&ids[0].0)["state"], "offline");
}

#[test]
fn a_disk_that_udev_names_after_it_was_mounted_is_the_same_disk() {
    let mut house = house!();
    let [usb, other] = ["usb", "other"].map(|name| house.models(name));
    let kept = house.at("kept.gguf");
    write(&kept, gguf("kept"));
    for dir in [&usb, &other] {
        fs::create_dir(dir).unwrap();
    }
    let names = "mkdir -p /dev/disk && mount -t tmpfs none /dev/disk && mkdir /dev/disk/by-uuid";
    if let Err(why) = in_namespace(&mut house, "-m", names) {
        skip!("{why}");
    }
    house.start();
    let mount = format!("{} && {}", disk("/dev/zero", &usb), put(&kept, &usb.join("kept.gguf")));
    inside(&house, "-m", &mount);
    house.sync();
    let id = house.show("kept")["id"].clone();
    // The workers hear of the name when something is mounted.
    inside(&house, "-m", "ln -s /dev/zero /dev/disk/by-uuid/1234-ABCD");
    inside(&house, "-m", &disk("two", &other));
    house.sync();
    assert_eq!(house.names(&["state=ok"]), ["kept"]);
    assert_eq!((away(&house, &usb).len(), &house.show("kept")["id"]), (0, &id));
    inside(&house, "-m", &format!("umount {}", usb.display()));
    house.sync();
    assert_eq!(house.names(&["state=offline"]), ["kept"]);
}

#[test]
fn a_bind_mount_inside_a_root_comes_and_goes_with_its_models() {
    let mut house = house!();
    write(house.at("elsewhere/kept.gguf"), gguf("kept"));
    write(house.models("near.gguf"), gguf("near"));
    let bound = house.models("bound");
    fs::create_dir(&bound).unwrap();
    let mount = format!("mount --bind {} {}", house.at("elsewhere").display(), bound.display());
    if let Err(why) = in_namespace(&mut house, "-m", &mount) {
        skip!("{why}");
    }
    house.start();
    house.sync();
    let id = house.show("kept")["id"].clone();
    inside(&house, "-m", &format!("umount {}", bound.display()));
    wait_until("it is offline", 10, || house.names(&["state=offline"]) == ["kept"]);
    write(house.at("elsewhere/late.gguf"), gguf("late"));
    house.sync();
    assert_eq!(house.names(&[]), ["kept", "near"], "what is hidden is not told of");
    inside(&house, "-m", &mount);
    wait_until("it is back, with what came meanwhile", 10, || {
        house.names(&["state=ok"]) == ["kept", "late", "near"]
    });
    assert_eq!(house.show("kept")["id"], id);
    // What is mounted onto itself is what it was.
    let dir = house.models("").display().to_string();
    inside(&house, "-m", &format!("mount --bind {dir} {dir}"));
    house.sync();
    assert_eq!(house.names(&["state=ok", "name=near"]), ["near"]);
    assert_eq!(away(&house, &house.models("").components().collect::<std::path::PathBuf>()).len(), 0);
}
