//! A model is its content: what the user said follows it wherever it goes.

use serde_json::{Value, json};
use std::{fs, path::Path};
use tests::{
    House,
    files::{Gguf, gguf, write},
    house,
    stores::{Hub, hugging_face, sha256},
};

/// What must not change on the way.
#[track_caller]
fn said(house: &House) -> Value {
    let models = house.list(&["tag=mine"]);
    let [model] = models.as_slice() else { panic!("{models:?}\n{:?}", house.list(&[])) };
    json!([model["id"], model["tags"], model["note"], model["pinned"], model["aliases"], model["first_seen"]])
}

#[track_caller]
fn place(house: &House) -> String {
    let model = &house.list(&["tag=mine"])[0];
    let places = model["locations"].as_array().unwrap();
    assert_eq!(places.len(), 1, "{model}");
    places[0]["files"][0]["path"].as_str().unwrap().to_owned()
}

#[test]
fn what_the_user_said_follows_a_model_through_renames_moves_and_restarts() {
    let mut house = house!();
    fs::create_dir_all(house.at("other")).unwrap();
    house.start();
    house.does(&["roots", "add", house.at("other").to_str().unwrap()]);
    write(house.models("traveller.gguf"), gguf("traveller"));
    house.sync();
    house.does(&["tag", "traveller", "mine", "daily"]);
    house.does(&["note", "traveller", "good at SQL"]);
    house.does(&["pin", "traveller"]);
    house.does(&["alias", "traveller", "trav"]);
    let before = said(&house);
    assert_eq!(before[1], json!(["daily", "mine"]));

    let mut from = house.models("traveller.gguf");
    for to in [house.models("renamed.gguf"), house.models("sub/dir/m.gguf"), house.at("other/m.gguf")] {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(&from, &to).unwrap();
        house.sync();
        assert_eq!((said(&house), place(&house)), (before.clone(), to.display().to_string()));
        from = to;
    }
    fs::rename(house.models("sub/dir"), house.models("sub/empty")).unwrap();
    house.restart();
    assert_eq!(said(&house), before, "after a restart");

    house.end(rustix::process::Signal::TERM);
    fs::rename(&from, house.models("while-away.gguf")).unwrap();
    house.start();
    house.sync();
    assert_eq!(
        (said(&house), place(&house)),
        (before.clone(), house.models("while-away.gguf").display().to_string())
    );

    // Copied, and the first one deleted: it is the content that counts.
    fs::copy(house.models("while-away.gguf"), house.at("other/copy.gguf")).unwrap();
    house.sync();
    fs::remove_file(house.models("while-away.gguf")).unwrap();
    house.sync();
    assert_eq!((said(&house), place(&house)), (before, house.at("other/copy.gguf").display().to_string()));
}

#[test]
fn a_directory_that_is_renamed_takes_its_models_with_it() {
    let house = house!().started();
    write(house.models("old/sub/one.gguf"), gguf("one"));
    house.sync();
    house.does(&["tag", "one", "mine"]);
    let before = said(&house);
    fs::rename(house.models("old"), house.models("new")).unwrap();
    write(house.models("new/sub/after.gguf"), gguf("after"));
    house.sync();
    assert_eq!(
        (said(&house), place(&house)),
        (before, house.models("new/sub/one.gguf").display().to_string())
    );
    assert_eq!(house.names(&["after"]), ["after"]);
    write(house.models("new/sub/late.gguf"), gguf("late"));
    house.sync();
    assert_eq!(house.names(&["name=late"]), ["late"], "the watch came along");
}

#[test]
fn another_header_makes_another_model() {
    let house = house!().started();
    write(house.models("m.gguf"), Gguf::named("first").bytes());
    house.sync();
    house.does(&["tag", "m", "mine"]);
    let before = house.show("m")["id"].clone();
    let other = Gguf::named("other").bytes();
    assert_eq!(
        other.len(),
        fs::metadata(house.models("m.gguf")).unwrap().len() as usize,
        "same size on purpose"
    );
    write(house.models("m.gguf"), &other);
    house.sync();
    let models = house.list(&[]);
    assert_eq!((models.len(), &models[0]["name"]), (1, &json!("m")));
    assert_eq!(house.show("m")["facts"]["name"], "other");
    assert_ne!(models[0]["id"], before);
    assert_eq!(models[0]["tags"], json!([]));
    // The first one again: it is known.
    write(house.models("again.gguf"), Gguf::named("first").bytes());
    house.sync();
    assert_eq!((&house.show("again")["id"], &house.show("again")["tags"]), (&before, &json!(["mine"])));
}

#[test]
fn a_file_replaced_by_one_of_the_same_size_and_time_is_read_again() {
    let house = house!().started();
    write(house.models("m.gguf"), gguf("first"));
    house.sync();
    let time = fs::metadata(house.models("m.gguf")).unwrap().modified().unwrap();
    write(house.models(".swap"), gguf("other"));
    fs::File::options().write(true).open(house.models(".swap")).unwrap().set_modified(time).unwrap();
    fs::rename(house.models(".swap"), house.models("m.gguf")).unwrap();
    house.sync();
    assert_eq!(house.show("m")["facts"]["name"], "other");
}

#[test]
fn a_restart_reads_nothing_again() {
    let mut house = house!();
    for n in 0..40 {
        write(house.models(format!("d{}/m{n}.gguf", n % 4)), gguf(&format!("m{n}")));
    }
    house.start();
    let first = house.json(&["scan"]);
    assert_eq!(first["models"], 40, "{first}");
    house.restart();
    house.sync();
    let again = house.json(&["scan"]);
    assert_eq!((&again["models"], &again["read"]), (&json!(40), &json!(0)), "{again}");
    write(house.models("d1/m1.gguf"), gguf("changed"));
    house.sync();
    // Read when it came; and once more where its time was too young to tell of what came after.
    assert!(house.json(&["scan"])["read"].as_u64().unwrap() <= 1);
    assert_eq!(house.json(&["scan"])["read"], 0);
}

/// Cuts a file to half of its length.
fn cut(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

#[test]
fn a_copy_that_is_cut_short_is_no_place_of_the_good_model() {
    let mut house = house!();
    let (good, later) = (house.models("good.gguf"), house.models("later.gguf"));
    write(&good, Gguf::named("good").rows(640).bytes());
    house.start();
    house.does(&["tag", "good", "mine"]);
    fs::copy(&good, &later).unwrap();
    house.sync();
    assert_eq!(house.list(&[]).len(), 1);
    cut(&later);
    house.sync();
    #[track_caller]
    fn check(house: &House, good: &Path, why: &str) {
        assert_eq!(house.names(&["state=incomplete"]), ["later"], "{why}");
        assert_eq!(place(house), good.display().to_string(), "{why}");
        assert_eq!(house.list(&["tag=mine"])[0]["state"], "ok", "{why}");
    }
    check(&house, &good, "at once");
    assert!(house.does(&["doctor"]).contains("later"), "{}", house.does(&["doctor"]));
    house.restart();
    check(&house, &good, "after a restart");
    house.end(rustix::process::Signal::TERM);
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        drop(fs::remove_file(house.state(file)));
    }
    house.start();
    check(&house, &good, "without the index");
    fs::copy(&good, &later).unwrap();
    house.sync();
    assert_eq!((house.list(&[]).len(), house.list(&["state=incomplete"]).len()), (1, 0), "it is whole again");
}

#[test]
fn all_ways_to_bytes_that_are_cut_short_stay_the_model_that_they_were() {
    let mut house = house!();
    let bytes = Gguf::named("twice").rows(640).bytes();
    let hub = house.home(".cache/huggingface/hub");
    let commits = ["0123456789abcdef0123456789abcdef01234567", "76543210fedcba9876543210fedcba9876543210"];
    for commit in commits {
        hugging_face(&hub, Hub::Links, "acme/twice", commit, &[("twice.gguf", &bytes)]);
    }
    let blob = hub.join("models--acme--twice/blobs").join(sha256(&bytes));
    for dir in ["sub", "other"] {
        fs::create_dir_all(house.models(dir)).unwrap();
        fs::hard_link(&blob, house.models(dir).join("hard.gguf")).unwrap();
    }
    house.start();
    house.does(&["tag", "twice", "mine"]);
    let before = said(&house);
    cut(&blob);
    house.sync();
    assert_eq!(said(&house), before, "no event tells of the hard links");
    house.does(&["scan"]);
    let models = house.list(&[]);
    assert_eq!((models.len(), &models[0]["state"]), (1, &json!("incomplete")), "{models:#?}");
    assert_eq!(said(&house), before);
}
