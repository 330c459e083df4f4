//! Roots: added, removed, gone and back, linked to, unreadable.

use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
};
use tests::{
    House,
    files::{gguf, write},
    house, skip, wait_until,
};

#[track_caller]
fn root(house: &House, path: &std::path::Path) -> Option<Value> {
    let roots = house.json(&["roots"]);
    roots["roots"].as_array().unwrap().iter().find(|root| root["path"] == path.to_str().unwrap()).cloned()
}

#[test]
fn a_root_that_is_added_is_looked_at_and_outlives_a_restart_until_it_is_removed() {
    let mut house = house!();
    write(house.at("big disk/far.gguf"), gguf("far"));
    house.start();
    assert!(house.list(&[]).is_empty());
    let added = house.json(&["roots", "add", house.at("big disk").to_str().unwrap()]);
    assert_eq!((&added["root"]["app"], &added["root"]["online"]), (&"loose".into(), &true.into()), "{added}");
    assert_eq!(house.names(&[]), ["far"]);
    house.restart();
    house.sync();
    assert_eq!(house.names(&[]), ["far"]);
    assert_eq!(root(&house, &house.at("big disk")).unwrap()["models"], 1);
    house.does(&["roots", "remove", house.at("big disk").to_str().unwrap()]);
    assert!(house.list(&[]).is_empty());
    assert!(root(&house, &house.at("big disk")).is_none());
    assert!(house.at("big disk/far.gguf").exists());
    house.restart();
    assert!(house.list(&[]).is_empty());
}

#[test]
fn an_apps_folder_that_is_added_is_read_as_that_apps() {
    let mut house = house!();
    for name in ["main.py", "folder_paths.py", "output/x.safetensors"] {
        write(house.at("disk/comfy").join(name), "");
    }
    write(house.at("disk/comfy/models/unet/flux.gguf"), gguf("flux"));
    house.start();
    let base = house.at("disk/comfy");
    let added = house.json(&["roots", "add", base.to_str().unwrap()]);
    let models = base.join("models");
    assert_eq!(
        (&added["root"]["app"], &added["root"]["path"]),
        (&"comfyui".into(), &models.to_str().unwrap().into())
    );
    house.restart();
    house.sync();
    assert_eq!(house.list(&[])[0]["locations"][0]["id"], "unet/flux.gguf");
    house.does(&["roots", "remove", base.to_str().unwrap()]);
    assert!(root(&house, &models).is_none());
}

#[test]
fn a_root_that_cannot_be_is_refused_with_the_reason() {
    let house = house!().started();
    write(house.at("file"), "x");
    for (path, why) in [
        (house.at("nowhere"), "is not a directory"),
        (house.at("file"), "is not a directory"),
        ("/".into(), "far more"),
        ("/proc".into(), "far more"),
        ("/sys/class".into(), "far more"),
        ("/dev".into(), "far more"),
        ("/run".into(), "far more"),
        (house.at("home"), "far more"),
    ] {
        let said = house.ctl(&["roots", "add", path.to_str().unwrap()]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains(why), "{said:?}");
    }
}

#[test]
fn a_root_that_vanishes_is_offline_and_all_is_as_before_when_it_is_back() {
    let mut house = house!();
    write(house.at("disk/models/kept.gguf"), gguf("kept"));
    house.start();
    house.does(&["roots", "add", house.at("disk/models").to_str().unwrap()]);
    house.does(&["tag", "kept", "mine"]);
    let before = house.show("kept");
    fs::rename(house.at("disk/models"), house.at("disk/away")).unwrap();
    wait_until("it is offline", 10, || house.show("kept")["state"] == "offline");
    let offline = house.show("kept");
    assert_eq!(
        (&offline["id"], &offline["tags"], &offline["locations"][0]["online"]),
        (&before["id"], &before["tags"], &false.into())
    );
    let shown = house.does(&["show", "kept"]);
    assert!(shown.contains("offline        since 20"), "{shown}");
    let gone = root(&house, &house.at("disk/models")).unwrap();
    assert!(
        gone["online"] == false && gone["offline_since"].is_string() && gone["reason"].is_string(),
        "{gone}"
    );
    house.restart();
    assert_eq!(house.show("kept")["state"], "offline", "also after a restart");
    fs::rename(house.at("disk/away"), house.at("disk/models")).unwrap();
    wait_until("it is back", 10, || house.show("kept")["state"] == "ok");
    let back = house.show("kept");
    assert_eq!((&back["id"], &back["tags"]), (&before["id"], &before["tags"]));
    assert_eq!(root(&house, &house.at("disk/models")).unwrap()["online"], true);
    write(house.at("disk/models/new.gguf"), gguf("new"));
    house.sync();
    assert_eq!(house.names(&["name=new"]), ["new"], "it is watched again");
}

#[test]
fn a_link_to_a_directory_of_models_elsewhere_is_a_root_of_its_own_within_10_seconds() {
    let house = house!().started();
    write(house.at("elsewhere/sub/linked.gguf"), gguf("linked"));
    symlink(house.at("elsewhere"), house.models("disk2")).unwrap();
    wait_until("the directory behind the link is a root", 10, || house.names(&[]) == ["linked"]);
    let derived = root(&house, &house.at("elsewhere")).expect("a root where the link leads");
    assert_eq!(derived["derived_from"], house.models("disk2").to_str().unwrap(), "{derived}");
    write(house.at("elsewhere/later.gguf"), gguf("later"));
    house.sync();
    assert_eq!(house.list(&[]).len(), 2, "it is watched");
    // The link leads elsewhere now.
    write(house.at("third/third.gguf"), gguf("third"));
    fs::remove_file(house.models("disk2")).unwrap();
    symlink(house.at("third"), house.models("disk2")).unwrap();
    wait_until("the root follows the link", 10, || house.names(&[]) == ["third"]);
    assert!(root(&house, &house.at("elsewhere")).is_none());
    fs::remove_file(house.models("disk2")).unwrap();
    wait_until("without the link there is no root", 10, || house.list(&[]).is_empty());
}

#[test]
fn a_folder_that_cannot_be_read_is_told_and_its_siblings_are_listed() {
    const USER: u32 = 1000;
    let mut house = house!();
    if rustix::process::geteuid().is_root() {
        if Command::new("setpriv").arg("--version").output().is_err() {
            skip!("setpriv is not installed, and root reads everything");
        }
        let user = USER.to_string();
        house.wrap(&["/usr/bin/setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]);
        house.install();
        fs::set_permissions(house.at(""), fs::Permissions::from_mode(0o755)).unwrap();
    }
    write(house.models("a/open.gguf"), gguf("open"));
    write(house.models("closed/inside.gguf"), gguf("inside"));
    write(house.models("b/unreadable.gguf"), gguf("unreadable"));
    write(house.models("b/beside.gguf"), gguf("beside"));
    let models = house.models("");
    let mode =
        |path: &str, mode| fs::set_permissions(models.join(path), fs::Permissions::from_mode(mode)).unwrap();
    let own = |path: &str| Command::new("chown").args(["-R", "1000:1000"]).arg(house.at(path)).status();
    for path in ["home", "run"] {
        assert!(!rustix::process::geteuid().is_root() || own(path).unwrap().success());
    }
    mode("closed", 0);
    mode("b/unreadable.gguf", 0);
    house.start();
    // The client is another user here, so the wrapper runs it as well.
    let list = || {
        let said = house.ctl_wrapped(&["list", "--json"]);
        assert_eq!(said.code, 0, "{said:?}");
        serde_json::from_str::<Value>(&said.out).unwrap()["models"].take()
    };
    let state = |name: &str| {
        list()
            .as_array()
            .unwrap()
            .iter()
            .find(|model| model["name"] == name)
            .map(|model| model["state"].clone())
    };
    wait_until("the siblings are listed", 10, || state("open").is_some() && state("beside").is_some());
    assert_eq!(
        (state("open"), state("beside"), state("inside")),
        (Some("ok".into()), Some("ok".into()), None)
    );
    let models = list();
    let unreadable = models
        .as_array()
        .unwrap()
        .iter()
        .find(|model| model["name"] == "unreadable")
        .expect("listed all the same");
    assert!(
        unreadable["reason"].as_str().is_some_and(|reason| reason.contains("cannot be read")),
        "{unreadable}"
    );
    let plan = house.ctl_wrapped(&["plan", "llama.cpp", "unreadable"]);
    assert!(plan.code == 1 && plan.err.contains("it cannot be read: Permission denied"), "{plan:?}");
    assert!(!plan.err.contains("vLLM"), "{plan:?}");
    let said = house.ctl_wrapped(&["roots", "--json"]);
    assert!(said.out.contains("closed cannot be read"), "{said:?}");
    mode("closed", 0o755);
    mode("b/unreadable.gguf", 0o644);
    wait_until("what is readable now is read", 10, || {
        state("inside").is_some() && state("unreadable") == Some("ok".into())
    });
}

#[test]
fn a_root_of_the_user_that_cannot_be_used_is_shown_with_the_reason_until_it_can() {
    let mut house = house!();
    write(house.at("file"), "x");
    symlink(house.at("loop-b"), house.at("loop-a")).unwrap();
    symlink(house.at("loop-a"), house.at("loop-b")).unwrap();
    write(house.at("good/m.gguf"), gguf("m"));
    let base = house.at("");
    let text = |path: &str| base.join(path).display().to_string();
    let named = [text("nowhere/deep"), text("file"), text("loop-a"), "relative/models".into(), text("good")];
    write(house.home(".config/modeld/config.toml"), format!("roots = {named:?}\n"));
    house.start();
    house.does(&["roots", "add", &text("good")]);
    house.sync();
    for round in 0..2 {
        for (path, why) in [
            (&named[0], "no such directory"),
            (&named[1], "not a directory"),
            (&named[2], "in a circle"),
            (&named[3], "not an absolute path"),
        ] {
            let shown = root(&house, path.as_ref()).unwrap_or_else(|| panic!("{path}, start {round}"));
            assert_eq!((&shown["online"], &shown["degraded"]), (&false.into(), &true.into()), "{shown}");
            assert!(shown["offline_since"].is_null(), "{shown}");
            assert!(shown["reason"].as_str().unwrap().contains(why), "{shown}");
            let findings = house.json(&["doctor"])["findings"].take();
            let is_it = |finding: &&Value| finding["about"] == path.as_str();
            let finding = findings.as_array().unwrap().iter().find(is_it).cloned().unwrap_or_default();
            assert!(finding["what"].as_str().is_some_and(|what| what.contains(why)), "{path}: {findings}");
            assert!(finding["fix"].as_str().unwrap().contains("config.toml"), "{finding}");
        }
        assert_eq!(house.names(&[]), ["m"]);
        house.restart();
        house.sync();
    }
    // A hub's cache is one also where it was waited for.
    write(house.at("nowhere/deep/models--o--r/snapshots/c0/late.gguf"), gguf("late"));
    wait_until("it is looked at once it is there", 10, || house.list(&["app=huggingface"]).len() == 1);
    let shown = root(&house, named[0].as_ref()).unwrap();
    assert_eq!((&shown["online"], &shown["reason"]), (&true.into(), &Value::Null), "{shown}");
    let said = house.ctl(&["roots", "remove", &named[1]]);
    assert!(said.code == 1 && said.err.contains("not added by you"), "{said:?}");
    // One that was added, and went before anybody saw it.
    let added = text("added");
    fs::create_dir(&added).unwrap();
    house.does(&["roots", "add", &added]);
    house.end(rustix::process::Signal::TERM);
    fs::remove_dir(&added).unwrap();
    fs::remove_file(house.state("index.db")).unwrap();
    house.start();
    house.sync();
    assert!(root(&house, added.as_ref()).unwrap()["reason"].as_str().unwrap().contains("no such directory"));
    house.does(&["roots", "remove", &added]);
    assert_eq!(root(&house, added.as_ref()), None);
}
