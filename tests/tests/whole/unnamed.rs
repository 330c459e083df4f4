//! Roots that nobody names any more: forgotten where they are there, kept as offline where their disk is out.

use crate::kernel::{in_namespace, inside, root};
use serde_json::Value;
use std::{fs, os::unix::fs::symlink, path::PathBuf};
use tests::{
    House,
    files::{gguf, safetensors, write},
    house, skip, wait_until,
};

fn configure(house: &House, roots: &[PathBuf]) {
    write(house.home(".config/modeld/config.toml"), format!("roots = {roots:?}\n"));
}

/// A disk that only the daemon sees, with a model in `models`.
struct Disk {
    place: PathBuf,
    /// The line that mounts it, unless `out` is there.
    mount: String,
    out: PathBuf,
}

impl Disk {
    /// Says why not where that is not allowed.
    fn of(house: &mut House) -> Result<Self, String> {
        let (place, model, out) = (house.at("disk"), house.at("kept.gguf"), house.at("out"));
        fs::create_dir(&place).unwrap();
        write(&model, gguf("kept"));
        let mount = format!(
            "{{ test -e {out} || {{ mount -t tmpfs -o size=16m disk {place} && mkdir {place}/models && \
             cp {model} {place}/models; }}; }}",
            out = out.display(),
            place = place.display(),
            model = model.display()
        );
        in_namespace(house, "-m", &mount)?;
        Ok(Self { place, mount, out })
    }
}

#[test]
fn a_root_that_is_taken_out_of_the_settings_goes_with_its_models() {
    let mut house = house!();
    write(house.at("one/one.gguf"), gguf("one"));
    write(house.at("two/two.gguf"), gguf("two"));
    configure(&house, &[house.at("one"), house.at("two")]);
    house.start();
    house.sync();
    house.does(&["tag", "two", "mine"]);
    configure(&house, &[house.at("one")]);
    house.restart();
    house.sync();
    assert_eq!(house.names(&[]), ["one"]);
    assert_eq!(root(&house, &house.at("two")), Value::Null);
    configure(&house, &[house.at("two")]);
    house.restart();
    house.sync();
    assert_eq!(house.names(&["tag=mine"]), ["two"], "what was said of it is not forgotten");
}

#[test]
fn a_root_that_nobody_names_is_kept_while_its_disk_is_out() {
    let mut house = house!();
    let Disk { place, mount, out } = match Disk::of(&mut house) {
        Ok(disk) => disk,
        Err(why) => skip!("{why}"),
    };
    let models = place.join("models");
    configure(&house, std::slice::from_ref(&models));
    house.start();
    house.sync();
    assert_eq!(house.names(&["state=ok"]), ["kept"]);
    write(&out, "");
    configure(&house, &[]);
    for _ in 0..2 {
        house.restart();
        house.sync();
        assert_eq!(house.names(&["state=offline"]), ["kept"]);
        assert!(root(&house, &models)["offline_since"].is_string());
    }
    fs::remove_file(&out).unwrap();
    inside(&house, "-m", &mount);
    wait_until("it is forgotten once it is there", 10, || house.list(&[]).is_empty());
    assert_eq!(root(&house, &models), Value::Null);
}

#[test]
fn what_an_app_held_goes_when_its_settings_lead_elsewhere_and_when_it_is_deleted() {
    let mut house = house!();
    let settings = house.home(".lmstudio/settings.json");
    let lead_to = |dir: PathBuf| format!("{{\"downloadsFolder\": \"{}\"}}", dir.display());
    write(house.at("old/publisher/repo/old.gguf"), gguf("old"));
    write(house.at("new/publisher/repo/new.gguf"), gguf("new"));
    write(&settings, lead_to(house.at("old")));
    for file in ["main.py", "folder_paths.py"] {
        write(house.home("ai/comfy").join(file), "");
    }
    write(house.home("ai/comfy/models/loras/drawn.safetensors"), safetensors(1));
    house.start();
    house.sync();
    assert_eq!(house.list(&[]).len(), 2);
    write(&settings, lead_to(house.at("new")));
    wait_until("the root is where the settings say", 10, || {
        house.list(&["app=lmstudio"]).len() == 1 && root(&house, &house.at("old")).is_null()
    });
    assert_eq!(root(&house, &house.at("new"))["models"], 1);
    fs::remove_dir_all(house.home("ai/comfy")).unwrap();
    wait_until("nothing of the app is left", 10, || {
        house.list(&["app=comfyui"]).is_empty() && root(&house, &house.home("ai/comfy/models")).is_null()
    });
    // Settings that are being written are no settings.
    write(&settings, "{");
    write(&settings, lead_to(house.at("new")));
    house.sync();
    assert_eq!(house.list(&["app=lmstudio"]).len(), 1);
}

#[test]
fn damaged_settings_take_no_models_away_and_are_told() {
    let mut house = house!();
    let settings = house.home(".lmstudio/settings.json");
    let text = format!("{{\"downloadsFolder\": \"{}\"}}", house.at("far").display());
    write(house.at("far/publisher/repo/kept.gguf"), gguf("kept"));
    write(&settings, &text);
    house.start();
    house.sync();
    write(&settings, &text[..20]);
    let told = |house: &House| {
        let reason = root(house, &house.at("far"))["reason"].to_string();
        reason.contains("settings.json does not say where models are")
    };
    wait_until("it is told", 10, || told(&house));
    let findings = house.json(&["doctor"])["findings"].take();
    assert!(findings.to_string().contains("have its app write it again"), "{findings}");
    for _ in 0..2 {
        house.sync();
        assert_eq!(house.names(&["state=ok"]), ["kept"]);
        house.restart();
        house.sync();
        assert!(told(&house) && root(&house, &house.at("far"))["degraded"] == true);
    }
    write(&settings, text);
    wait_until("it is well", 10, || root(&house, &house.at("far"))["reason"].is_null());
    assert_eq!(house.names(&["state=ok"]), ["kept"]);
}

#[test]
fn what_an_app_and_a_link_name_stays_when_the_app_names_it_no_longer() {
    let mut house = house!();
    let settings = house.home(".lmstudio/settings.json");
    let lead_to = |dir: PathBuf| format!("{{\"downloadsFolder\": \"{}\"}}", dir.display());
    let [old, mine] = ["old", "mine"].map(|name| house.at(name));
    write(old.join("publisher/repo/kept.gguf"), gguf("kept"));
    write(mine.join("mine.gguf"), gguf("mine"));
    write(&settings, lead_to(old.clone()));
    symlink(&old, house.models("far")).unwrap();
    symlink(&mine, house.models("mine")).unwrap();
    house.start();
    house.does(&["roots", "add", mine.to_str().unwrap()]);
    house.sync();
    let names = |house: &House| house.names(&["state=ok"]);
    assert_eq!(names(&house), ["kept", "mine"]);
    house.restart(); // which looks at no folder that is as it was
    house.sync();
    write(&settings, lead_to(house.at("new")));
    house.does(&["roots", "remove", mine.to_str().unwrap()]);
    for (dir, link) in [(&old, "far"), (&mine, "mine")] {
        wait_until("the link names it", 10, || {
            root(&house, dir)["derived_from"] == house.models(link).to_str().unwrap()
        });
    }
    assert_eq!(names(&house), ["kept", "mine"]);
    house.restart();
    house.sync();
    assert_eq!(names(&house), ["kept", "mine"]);
    fs::remove_file(house.models("far")).unwrap();
    fs::remove_file(house.models("mine")).unwrap();
    wait_until("the links are gone, and what they named", 10, || house.list(&[]).is_empty());
}

#[test]
fn what_lies_behind_a_link_is_watched_after_a_restart_and_goes_with_the_link() {
    let mut house = house!();
    let far = house.at("far");
    write(far.join("linked.gguf"), gguf("linked"));
    fs::create_dir(house.models("sub")).unwrap();
    symlink(&far, house.models("sub/link")).unwrap();
    house.start();
    wait_until("the link is followed", 10, || house.names(&[]) == ["linked"]);
    house.restart();
    house.sync();
    write(far.join("late.gguf"), gguf("late"));
    wait_until("it is watched", 10, || house.list(&[]).len() == 2);
    fs::remove_dir_all(house.models("sub")).unwrap();
    wait_until("the link is gone, and what it named", 10, || house.list(&[]).is_empty());
    assert_eq!(root(&house, &far), Value::Null);
    symlink(&far, house.models("again")).unwrap();
    wait_until("the link is followed", 10, || house.list(&[]).len() == 2);
    house.end(rustix::process::Signal::TERM);
    fs::remove_file(house.models("again")).unwrap();
    house.start();
    wait_until("the link went while nobody looked", 10, || house.list(&[]).is_empty());
}

#[test]
fn what_lies_behind_a_link_to_a_disk_that_is_out_is_offline() {
    let mut house = house!();
    let Disk { place, mount, out } = match Disk::of(&mut house) {
        Ok(disk) => disk,
        Err(why) => skip!("{why}"),
    };
    symlink(place.join("models"), house.models("far")).unwrap();
    house.start();
    wait_until("the link is followed", 10, || house.names(&["state=ok"]) == ["kept"]);
    inside(&house, "-m", &format!("umount {}", place.display()));
    wait_until("it is offline", 10, || house.names(&["state=offline"]) == ["kept"]);
    write(house.models("near.gguf"), gguf("near")); // the folder of the link is looked at
    house.sync();
    assert_eq!(house.names(&["state=offline"]), ["kept"]);
    write(&out, "");
    house.restart();
    write(house.models("later.gguf"), gguf("later"));
    house.sync();
    assert_eq!(house.names(&["state=offline"]), ["kept"]);
    fs::remove_file(house.models("far")).unwrap();
    house.sync();
    assert_eq!(house.names(&["state=offline"]), ["kept"], "a disk that is out may hold anything");
    fs::remove_file(&out).unwrap();
    inside(&house, "-m", &mount);
    wait_until("it is there, and nothing leads to it", 10, || house.list(&["name=kept"]).is_empty());
}
