//! Bytes against what their sources recorded, by people's hand and in the background.

use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    fs::{self, File, FileTimes},
    path::Path,
    time::{Duration, SystemTime},
};
use tests::{
    House,
    files::{Gguf, gguf, safetensors, write},
    house,
    stores::{Hub, hugging_face, ollama, sha256},
    wait_until,
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub cache with one file; returns the blob that has its bytes.
fn hub(house: &House, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let snapshot =
        hugging_face(&house.home(".cache/huggingface/hub"), Hub::Links, "org/m", COMMIT, &[(name, bytes)]);
    fs::canonicalize(snapshot.join(name)).unwrap()
}

fn results(house: &House, args: &[&str]) -> Vec<Value> {
    let said = house.ctl(&[&["verify", "--json"], args].concat());
    let document: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    document["results"].as_array().unwrap().clone()
}

fn only(house: &House, args: &[&str]) -> (Value, Value, Value) {
    let results = results(house, args);
    let [one] = results.as_slice() else { panic!("{results:?}") };
    (one["verification"].clone(), one["expected"].clone(), one["actual"].clone())
}

/// Another byte far behind the header, which no sample sees; times as they were.
fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn large(name: &str) -> Vec<u8> {
    Gguf::named(name).rows(4096).bytes()
}

#[test]
fn what_the_hub_recorded_is_verified_and_what_differs_is_loud() {
    let mut house = house!();
    let bytes = large("hub");
    let blob = hub(&house, "m.gguf", &bytes);
    house.start();
    house.sync();
    let digest = sha256(&bytes);
    assert_eq!(house.show("m")["verification"], "unverified");
    assert_eq!(only(&house, &["m"]), (json!("verified"), json!(digest), json!(digest)));
    let shown = house.show("m");
    assert_eq!((&shown["verification"], &shown["sha256"]), (&json!("verified"), &json!(digest)));
    assert_eq!(shown["state"], "ok");

    // A finished blob is not watched: the change is found when it is read.
    damage(&blob, bytes.len() / 8 * 3);
    let said = house.ctl(&["verify", "m"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("MISMATCH") && said.out.contains(&digest), "{said:?}");
    assert!(said.err.contains("not what the source recorded") && said.err.contains("hint:"), "{said:?}");
    let shown = house.show("m");
    assert_eq!((&shown["verification"], &shown["state"]), (&json!("mismatch"), &json!("ok_with_warning")));
    assert!(shown["reason"].as_str().unwrap().contains(&digest), "{shown}");
    assert!(house.does(&[]).contains("PROBLEMS"), "the home screen lists it");
    let listed = house.does(&["list"]);
    assert!(listed.lines().any(|line| line.contains("mismatch")), "{listed}");
    let findings = house.json(&["doctor"])["findings"].take();
    let is_told = |finding: &Value| {
        finding["about"] == "m"
            && finding["severity"] == "problem"
            && finding["what"].as_str().unwrap().contains(&digest)
    };
    assert!(findings.as_array().unwrap().iter().any(is_told), "{findings}");
    assert_eq!(only(&house, &["m"]).0, "mismatch", "known, and not computed again");
}

#[test]
fn a_copy_named_by_its_path_is_judged_by_itself_and_a_sum_ends_the_list() {
    let mut house = house!();
    let bytes = large("two");
    let blob = hub(&house, "two.gguf", &bytes);
    let copy = house.models("copy.gguf");
    write(&copy, &bytes);
    damage(&blob, bytes.len() / 8 * 3);
    house.start();
    house.sync();
    let of_all = house.ctl(&["verify", "two"]);
    assert_eq!(of_all.code, 1, "{of_all:?}");
    let sum = "\n2 files: 1 not what the source recorded, 1 read, with no SHA-256 recorded by a source\n";
    assert!(of_all.out.ends_with(sum), "{}", of_all.out);
    let of_one = house.ctl(&["verify", copy.to_str().unwrap()]);
    assert_eq!(of_one.code, 0, "{of_one:?}");
    assert!(of_one.err.contains("another copy of it is not what the source recorded"), "{of_one:?}");
    assert_eq!(house.ctl(&["verify", blob.to_str().unwrap()]).code, 1);
    let said = house.ctl(&["verify", "two", "--json"]);
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(document["sum"], json!({"verified": 0, "mismatch": 1, "unrecorded": 1, "unread": 0}));
}

#[test]
fn every_source_of_a_model_is_compared_and_a_file_of_none_keeps_its_hash() {
    let mut house = house!();
    let bytes = large("both");
    ollama(&house.home(".ollama/models"), "m", "latest", &bytes);
    write(house.models("loose.gguf"), &bytes);
    let other = gguf("alone");
    write(house.models("alone.gguf"), &other);
    house.start();
    house.sync();
    let all = results(&house, &[]);
    let told: Vec<_> = all.iter().map(|one| (&one["app"], &one["verification"], &one["actual"])).collect();
    let (digest, alone) = (json!(sha256(&bytes)), json!(sha256(&other)));
    assert_eq!(told.len(), 3, "{all:?}");
    assert!(told.contains(&(&json!("ollama"), &json!("verified"), &digest)), "{all:?}");
    assert!(told.contains(&(&json!("loose"), &json!("unverified"), &digest)), "{all:?}");
    assert!(told.contains(&(&json!("loose"), &json!("unverified"), &alone)), "{all:?}");
    assert_eq!(house.show("loose")["verification"], "verified", "the other copy is what Ollama recorded");
    assert_eq!(house.show("alone")["sha256"], alone);
    assert_eq!(house.ctl(&["verify", "alone"]).code, 0);
    // A hash is hours of reading: it outlives the index.
    house.end(Signal::TERM);
    fs::remove_file(house.state("index.db")).unwrap();
    house.start();
    house.sync();
    assert_eq!(house.show("alone")["sha256"], alone);
}

#[test]
fn a_hash_stays_through_renames_and_hard_links_and_goes_with_the_bytes() {
    let house = house!().started();
    let bytes = large("m");
    write(house.models("a.gguf"), &bytes);
    house.sync();
    only(&house, &["a"]);
    let digest = json!(sha256(&bytes));
    fs::create_dir_all(house.models("sub")).unwrap();
    fs::rename(house.models("a.gguf"), house.models("sub/b.gguf")).unwrap();
    house.sync();
    assert_eq!(house.show("b")["sha256"], digest);
    fs::hard_link(house.models("sub/b.gguf"), house.models("c.gguf")).unwrap();
    house.sync();
    let shown = house.show("b");
    let files: Vec<&Value> = shown["locations"].as_array().unwrap().iter().map(|l| &l["files"][0]).collect();
    assert_eq!(files.len(), 2, "{shown}");
    assert!(files.iter().all(|file| file["hashes"]["sha256"] == digest), "{shown}");

    // Replaced by another inode of the same size and time: nothing is known of it.
    fs::remove_file(house.models("c.gguf")).unwrap();
    let time = fs::metadata(house.models("sub/b.gguf")).unwrap().modified().unwrap();
    let mut other = bytes.clone();
    other[bytes.len() / 2] ^= 1;
    write(house.models(".swap"), &other);
    File::options().write(true).open(house.models(".swap")).unwrap().set_modified(time).unwrap();
    fs::rename(house.models(".swap"), house.models("sub/b.gguf")).unwrap();
    house.sync();
    let shown = house.show("b");
    assert_eq!((&shown["sha256"], &shown["verification"]), (&json!(null), &json!("unverified")));
    assert_eq!(only(&house, &["b"]).2, json!(sha256(&other)));
}

#[test]
fn copies_that_differ_where_no_sample_looks_are_no_duplicates() {
    let house = house!().started();
    let bytes = large("twin");
    write(house.models("one.gguf"), &bytes);
    write(house.models("two.gguf"), &bytes);
    damage(&house.models("two.gguf"), bytes.len() / 8 * 3);
    house.sync();
    assert!(!house.show("one")["duplicate_group"].is_null(), "as far as samples tell");
    results(&house, &["one"]);
    let shown = house.show("one");
    assert!(shown["duplicate_group"].is_null(), "{shown}");
    assert!(shown["warnings"][0].as_str().unwrap().contains("are not the same"), "{shown}");
    let places = shown["locations"].as_array().unwrap();
    assert_eq!(places.len(), 2, "{shown}");
    for file in places.iter().map(|place| &place["files"][0]) {
        let bytes = fs::read(file["path"].as_str().unwrap()).unwrap();
        assert_eq!(file["sha256"], sha256(&bytes), "{file}");
        assert!(file.get("recorded").is_none(), "{file}");
    }
    let said = house.does(&["show", "one"]);
    assert_eq!(said.matches("are not the same").count(), 1, "{said}");
}

#[test]
fn models_with_the_same_tensors_and_other_headers_know_of_each_other() {
    let house = house!().started();
    let tensors = [9; 128];
    let file = |note: &str| {
        let json = format!(
            r#"{{"__metadata__":{{"note":"{note}"}},"model.norm.weight":{{"dtype":"F16","shape":[8,8],"data_offsets":[0,128]}}}}"#
        );
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &tensors].concat()
    };
    write(house.models("first.safetensors"), file("first"));
    write(house.models("second.safetensors"), file("edited later"));
    write(house.models("other.safetensors"), safetensors(3));
    house.sync();
    results(&house, &[]);
    let (first, second) = (house.show("first"), house.show("second"));
    assert_eq!(first["same_weights"], json!([second["id"]]));
    assert_eq!(second["same_weights"], json!([first["id"]]));
    assert_eq!(house.show("other")["same_weights"], json!([]));
    assert!(house.does(&["show", "first"]).contains("same weights"));
    // It ends before the place that AutoV1 reads.
    assert!(!house.does(&["show", "first"]).contains("AutoV1"));
    let hashes = &first["locations"][0]["files"][0]["hashes"];
    let (whole, data) = (sha256(&file("first")), sha256(&tensors));
    assert_eq!(
        *hashes,
        json!({"sha256": whole, "tensors": data, "autov1": null, "autov2": whole[..10], "autov3": data[..12]})
    );
}

#[test]
fn a_kill_in_the_middle_leaves_no_hash_and_the_next_run_finds_it() {
    let mut house = house!();
    let path = house.models("big.gguf");
    write(&path, gguf("big"));
    // A hole behind the tensors reads as zeros, and takes a while to hash.
    File::options().write(true).open(&path).unwrap().set_len(6 << 30).unwrap();
    house.start();
    house.sync();
    let running = house.ctl_command(&["verify", "big"]).spawn().unwrap();
    wait_until("it is being read", 20, || {
        let fds = fs::read_dir(format!("/proc/{}/fd", house.pid())).unwrap().flatten();
        fds.map(|fd| fs::read_link(fd.path())).any(|link| link.is_ok_and(|link| link == path))
    });
    house.end(Signal::KILL);
    assert_eq!(tests::house::finish(running, 20).code, 3);
    File::options().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    house.start();
    house.sync();
    assert_eq!(house.show("big")["sha256"], json!(null));
    assert_eq!(only(&house, &["big"]).2, json!(sha256(&fs::read(&path).unwrap())));
}

#[test]
fn who_hangs_up_ends_the_hashing() {
    let mut house = house!();
    let path = house.models("big.gguf");
    write(&path, gguf("big"));
    File::options().write(true).open(&path).unwrap().set_len(64 << 30).unwrap();
    house.start();
    house.sync();
    let mut running = house.ctl_command(&["verify", "big"]).spawn().unwrap();
    let is_open = || {
        let fds = fs::read_dir(format!("/proc/{}/fd", house.pid())).unwrap().flatten();
        fds.map(|fd| fs::read_link(fd.path())).any(|link| link.is_ok_and(|link| link == path))
    };
    wait_until("it is being read", 20, is_open);
    running.kill().unwrap();
    running.wait().unwrap();
    wait_until("it is let go", 20, || !is_open());
}

#[test]
fn reading_leaves_access_times_alone() {
    let house = house!().started();
    let path = house.models("m.gguf");
    write(&path, large("m"));
    let old = SystemTime::now() - Duration::from_secs(9 * 86_400);
    File::options().write(true).open(&path).unwrap().set_times(FileTimes::new().set_accessed(old)).unwrap();
    let before = fs::metadata(&path).unwrap().accessed().unwrap();
    house.sync();
    results(&house, &["m", "--again"]);
    assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), before);
}

#[test]
fn an_idle_machine_finds_damage_by_itself_and_says_so() {
    let mut house = house!();
    house.is_busy(false);
    let bytes = large("quiet");
    let blob = hub(&house, "quiet.gguf", &bytes);
    damage(&blob, bytes.len() / 2);
    let plain = gguf("plain");
    write(house.models("plain.gguf"), &plain);
    house.start();
    house.sync();
    let events = house.stream(&["events", "--json"]);
    let job = events.event("a job", |event| (event["event"] == "JobChanged").then(|| event["job"].clone()));
    assert_eq!(job["job"], "verify");
    wait_until("both are hashed", 30, || {
        house.list(&[]).iter().all(|model| !model["locations"][0]["files"][0]["hashes"].is_null())
    });
    assert_eq!(house.show("quiet")["verification"], "mismatch");
    let problems = house.json(&[])["problems"].to_string();
    assert!(problems.contains("quiet") && problems.contains("recorded"), "{problems}");
    assert_eq!(house.show("plain")["sha256"], json!(sha256(&plain)));
}

#[test]
fn hashing_by_itself_waits_for_a_processor_and_a_disk_that_nobody_wants() {
    const SCHED_IDLE: &str = "5";
    let house = house!().started();
    let tasks = format!("/proc/{}/task", house.pid());
    let read = |path: std::path::PathBuf| fs::read_to_string(path).unwrap_or_default();
    let stat = || {
        let mut tasks = fs::read_dir(&tasks).unwrap().flatten().map(|task| task.path());
        tasks.find(|task| read(task.join("comm")).trim() == "verify").map(|task| read(task.join("stat")))
    };
    wait_until("the thread has stepped back", 20, || {
        // Fields 19 and 41 of proc_pid_stat(5); the third is the first behind the name.
        let stat = stat().unwrap_or_default();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        fields.get(19 - 3) == Some(&"19") && fields.get(41 - 3) == Some(&SCHED_IDLE)
    });
}

#[test]
fn a_user_who_wants_no_background_hashing_has_none() {
    let mut house = house!();
    house.is_busy(false);
    write(house.home(".config/modeld/config.toml"), "verify = false\n");
    write(house.models("m.gguf"), gguf("m"));
    house.start();
    house.sync();
    let threads = fs::read_dir(format!("/proc/{}/task", house.pid())).unwrap().flatten();
    let names: Vec<String> =
        threads.map(|thread| fs::read_to_string(thread.path().join("comm")).unwrap_or_default()).collect();
    assert!(names.iter().all(|name| name.trim() != "verify"), "{names:?}");
    assert!(only(&house, &["m"]).2.is_string(), "who asks is answered");
}
