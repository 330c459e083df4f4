//! Models that appear on the disk appear in the list by themselves.

use std::{fs, io::Write as _, os::unix::fs::symlink};
use tests::{
    files::{Gguf, gguf, let_go, write},
    house, wait_until,
};

#[test]
fn a_model_that_is_written_appears_in_the_events_and_the_list_by_itself() {
    let house = house!().started();
    let events = house.stream(&["events", "--json"]);
    events.event("Listening", |event| (event["event"] == "Listening").then_some(()));
    write(house.models("fresh.gguf"), gguf("fresh"));
    let model = events.event("ModelAdded of fresh", |event| {
        (event["event"] == "ModelAdded" && event["model"]["name"] == "fresh").then(|| event["model"].clone())
    });
    assert_eq!(model["state"], "ok", "{model}");
    let listed = house.list(&[]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0], model);
    fs::remove_file(house.models("fresh.gguf")).unwrap();
    events.event("ModelRemoved", |event| (event["event"] == "ModelRemoved").then_some(()));
    assert!(house.list(&[]).is_empty());
}

#[test]
fn a_model_that_is_renamed_hard_linked_or_linked_into_place_appears() {
    let house = house!().started();
    write(house.at("outside/a.gguf"), gguf("renamed"));
    fs::rename(house.at("outside/a.gguf"), house.models("renamed.gguf")).unwrap();
    wait_until("a file renamed into the root is listed", 10, || house.names(&[]) == ["renamed"]);
    write(house.at("outside/b.gguf"), gguf("hard-linked"));
    fs::hard_link(house.at("outside/b.gguf"), house.models("hard-linked.gguf")).unwrap();
    wait_until("a hard link is listed", 10, || house.names(&["hard-linked"]) == ["hard-linked"]);
    let file = house.show("hard-linked")["locations"][0]["files"][0].clone();
    assert_eq!(file["link"], "hardlink", "{file}");
    let path = house.models("renamed.gguf");
    symlink("renamed.gguf", house.models("link.gguf")).unwrap();
    wait_until("a link inside the root is a second place of one content", 10, || {
        house.show(path.to_str().unwrap())["locations"].as_array().is_some_and(|places| places.len() == 2)
    });
    let renamed = house.show(path.to_str().unwrap());
    let links: Vec<_> =
        renamed["locations"].as_array().unwrap().iter().map(|place| &place["files"][0]["link"]).collect();
    assert!(links.contains(&&"symlink".into()), "{links:?}");
    assert_eq!(renamed["disk_size"], house.show("hard-linked")["disk_size"], "an inode is counted once");
}

#[test]
fn a_download_is_no_finished_model_before_it_is_whole() {
    let house = house!().started();
    let bytes = gguf("slow");
    let mut file = fs::File::create(house.models("slow.gguf")).unwrap();
    file.write_all(&bytes[..bytes.len() / 2]).unwrap();
    house.sync();
    let states = || {
        house.list(&[]).iter().map(|model| model["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(states().iter().all(|state| state == "downloading" || state == "incomplete"), "{:?}", states());
    file.write_all(&bytes[bytes.len() / 2..]).unwrap();
    drop(file);
    let_go(&house.models("slow.gguf"));
    house.sync();
    assert_eq!(states(), ["ok"]);
    write(house.models("later.gguf.part"), gguf("later"));
    house.sync();
    assert_eq!(house.names(&[]), ["slow"], "a name that says unfinished");
    fs::rename(house.models("later.gguf.part"), house.models("later.gguf")).unwrap();
    house.sync();
    assert_eq!(house.names(&["--sort", "name"]), ["later", "slow"]);
}

#[test]
fn what_a_sync_returns_after_is_in_the_list_100_times_of_100() {
    let house = house!().started();
    let mut wire = house.wire();
    let mut stale = Vec::new();
    for round in 0..100 {
        let name = format!("round-{round}");
        // Written anew, over the last, or moved there: each is told of in another way.
        match round % 3 {
            0 => write(house.models(format!("{name}.gguf")), gguf(&name)),
            1 => write(house.models("same.gguf"), gguf(&name)),
            _ => {
                write(house.at("stage.gguf"), gguf(&name));
                fs::rename(house.at("stage.gguf"), house.models("same.gguf")).unwrap();
            }
        }
        wire.call("Sync", serde_json::json!({}));
        let file = if round % 3 == 0 { &name } else { "same" };
        let shown = wire.call("Show", serde_json::json!({ "model": file }));
        if shown["parameters"]["facts"]["name"] != name.as_str() {
            stale.push((round, shown["parameters"]["facts"]["name"].clone(), shown["error"].clone()));
        }
    }
    assert!(stale.is_empty(), "stale after sync in rounds, with what was shown: {stale:?}");
}

#[test]
fn a_sync_waits_for_directories_that_were_made_and_filled_at_once() {
    let house = house!().started();
    let mut wire = house.wire();
    let mut stale = Vec::new();
    for round in 0..30 {
        let name = format!("deep-{round}");
        let (made, staged) = (house.models(format!("{round}")), house.at(format!("stage/{round}")));
        let dir = if round % 2 == 0 { &made } else { &staged };
        write(dir.join(format!("a/b/c/{name}.gguf")), gguf(&name));
        if round % 2 == 1 {
            fs::rename(staged, made).unwrap();
        }
        wire.call("Sync", serde_json::json!({}));
        let listed = wire.call("List", serde_json::json!({ "filters": [format!("name={name}")] }));
        if listed["parameters"]["models"].as_array().is_none_or(|models| models.len() != 1) {
            stale.push(round);
        }
    }
    assert!(stale.is_empty(), "stale after sync in rounds, with what was shown: {stale:?}");
}

#[test]
fn a_sync_waits_for_a_large_file_that_was_copied_in_with_its_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = house!().started();
    for round in 0..3 {
        let name = format!("copied-{round}");
        let bytes = Gguf::named(&name).rows(64 << 10).bytes();
        // As `cp -p` and `std::fs::copy` do: the mode is set first, which is told of before anything is written.
        let mut file = fs::File::create(house.models(format!("{name}.gguf"))).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o644)).unwrap();
        bytes.chunks(1 << 20).for_each(|chunk| file.write_all(chunk).unwrap());
        drop(file);
        let_go(&house.models(format!("{name}.gguf")));
        house.sync();
        let listed = house.list(&[&format!("name={name}")]);
        assert!(listed.len() == 1 && listed[0]["state"] == "ok", "round {round}: {listed:?}");
    }
}

#[test]
fn the_first_sync_and_the_first_scan_wait_for_all_that_lies_below() {
    for command in ["sync", "scan"] {
        let mut house = house!();
        for n in 0..60 {
            write(house.models(format!("{}/a/b/c/m{n}.gguf", n % 20)), gguf(&format!("m{n}")));
        }
        house.start();
        let told = house.json(&[command]);
        assert_eq!(told["models"], 60, "{command}: {told}");
    }
}
