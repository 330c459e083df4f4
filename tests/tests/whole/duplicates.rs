//! What is stored more than once is told, whichever app holds it and whatever it is a part of.

use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
};
use tests::{
    House,
    files::{gguf, safetensors, write},
    house,
    stores::{Hub, hugging_face, ollama, sha256},
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[track_caller]
fn groups(house: &House, filters: &[&str]) -> Vec<Value> {
    match house.json(&[&["duplicates"], filters].concat())["groups"].take() {
        Value::Array(groups) => groups,
        other => panic!("no groups: {other}"),
    }
}

#[track_caller]
fn group_of(house: &House, name: &str) -> Value {
    let models = house.list(&[&format!("name={name}")]);
    assert_eq!(models.len(), 1, "{name}: {models:?}");
    models[0]["duplicate_group"].clone()
}

fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// App, link and whether the app removes it itself, of each copy.
fn copies(group: &Value) -> Vec<(String, Value, Value)> {
    let copies = group["copies"].as_array().unwrap().iter();
    let mut copies: Vec<_> = copies
        .map(|copy| (copy["app"].as_str().unwrap().to_owned(), copy["link"].clone(), copy["remove"].clone()))
        .collect();
    copies.sort_by_key(|copy| format!("{copy:?}"));
    copies
}

#[test]
fn copies_are_one_group_and_each_inode_counts_once() {
    let mut house = house!();
    let bytes = gguf("everywhere");
    hugging_face(&house.home(".cache/huggingface/hub"), Hub::Links, "acme/e", COMMIT, &[("e.gguf", &bytes)]);
    ollama(&house.home(".ollama/models"), "e", "latest", &bytes);
    let (loose, linked) = (house.models("e.gguf"), house.models("linked.gguf"));
    write(&loose, &bytes);
    fs::hard_link(&loose, &linked).unwrap();
    symlink("e.gguf", house.models("soft.gguf")).unwrap();
    write(house.models("alone.gguf"), gguf("alone"));
    house.start();

    let groups = groups(&house, &[]);
    let [group] = groups.as_slice() else { panic!("{groups:#?}") };
    let hash = sha256(&bytes);
    assert_eq!((&group["kind"], &group["sha256"]), (&json!("exact"), &json!(hash)));
    assert_eq!(group["certain"], false, "nothing has hashed the loose ones");
    let expected = [
        ("huggingface", json!("symlink"), json!("hf cache rm model/acme/e")),
        ("loose", json!("hardlink"), json!(null)),
        ("loose", json!("hardlink"), json!(null)),
        ("loose", json!("symlink"), json!(null)),
        ("ollama", json!(null), json!("ollama rm e:latest")),
    ];
    let expected = expected.map(|(app, link, remove)| (app.to_owned(), link, remove));
    assert_eq!(copies(group), expected);
    assert_eq!(group["reclaimable"], 2 * allocated(&loose));
    let inode = fs::metadata(&loose).unwrap().ino();
    let same = group["copies"].as_array().unwrap().iter().filter(|copy| copy["inode"] == inode).count();
    assert_eq!(same, 3);
    assert_eq!(group_of(&house, "e"), json!(hash));
    assert_eq!(group_of(&house, "alone"), json!(null));
    assert_eq!(house.names(&["dup"]), ["e"]);

    let home = house.json(&[]);
    assert_eq!((&home["duplicates"], &home["reclaimable"]), (&json!(1), &group["reclaimable"]));
    let table = house.does(&["duplicates"]);
    for part in ["TO WIN", "probable", "ollama rm e:latest", "hf cache rm model/acme/e", "would free"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    assert!(self::groups(&house, &["name=alone"]).is_empty());
    assert_eq!(self::groups(&house, &["app=ollama"]).len(), 1);
    assert_eq!(house.ctl(&["duplicates", "nonsense=1"]).code, 2);
}

#[test]
fn a_part_of_another_model_is_a_duplicate_of_it_as_it_comes_and_goes() {
    let house = house!().started();
    let (vae, alone) = (safetensors(1), house.models("vae-alone.safetensors"));
    let tree = house.models("pipe");
    write(tree.join("vae/diffusion_pytorch_model.safetensors"), &vae);
    write(
        tree.join("model_index.json"),
        r#"{"_class_name":"TinyPipeline","vae":["diffusers","AutoencoderKL"]}"#,
    );
    house.sync();
    assert_eq!(group_of(&house, "pipe"), json!(null));
    write(&alone, &vae);
    house.sync();
    let group = group_of(&house, "pipe");
    assert!(group.as_str().is_some_and(|group| group.starts_with("sampled:")), "{group}");
    assert_eq!(group_of(&house, "vae-alone"), group, "a component is no pipeline, but holds its bytes");
    // An app that knows the hash tells it of all.
    ollama(&house.home(".ollama/models"), "vae", "latest", &vae);
    tests::wait_until("the hash is known of all", 10, || {
        group_of(&house, "pipe") == json!(sha256(&vae))
            && group_of(&house, "vae-alone") == json!(sha256(&vae))
    });
    let found = groups(&house, &[]);
    assert_eq!((found.len(), found[0]["models"].as_array().unwrap().len()), (1, 2), "{found:#?}");
    fs::remove_file(house.home(".ollama/models/manifests/registry.ollama.ai/library/vae/latest")).unwrap();
    fs::remove_file(&alone).unwrap();
    house.sync();
    tests::wait_until("the tree is alone again", 10, || group_of(&house, "pipe") == json!(null));
    assert!(groups(&house, &[]).is_empty());
    let said = house.ctl(&["duplicates"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    assert!(said.err.contains("nothing is stored twice"), "{said:?}");
}

#[test]
fn a_command_is_given_only_where_it_removes_this_copy_alone_and_frees_it() {
    let mut house = house!();
    let (q4, q8, blob) = (gguf("q4"), gguf("q8"), gguf("blob"));
    let files: [(&str, &[u8]); 2] = [("x-Q4_K_M.gguf", &q4), ("x-Q8_0.gguf", &q8)];
    hugging_face(&house.home(".cache/huggingface/hub"), Hub::Links, "acme/x-GGUF", COMMIT, &files);
    write(house.models("x-Q8_0.gguf"), &q8);
    for tag in ["one", "two", "three"] {
        ollama(&house.home(".ollama/models"), "m", tag, &blob);
    }
    write(house.models("m.gguf"), &blob);
    house.start();
    let groups = groups(&house, &[]);
    let notes = |app: &str| -> Vec<&Value> {
        let copies = groups.iter().flat_map(|group| group["copies"].as_array().unwrap());
        let of_app: Vec<&Value> = copies.filter(|copy| copy["app"] == app).collect();
        assert!(of_app.iter().all(|copy| copy["remove"].is_null()), "{of_app:#?}");
        of_app.iter().map(|copy| &copy["remove_note"]).collect()
    };
    let hub = "`hf cache rm model/acme/x-GGUF` removes more: x-Q4_K_M.gguf";
    assert_eq!(notes("huggingface"), [&json!(hub)]);
    let [note] = notes("ollama")[..] else { panic!("{groups:#?}") };
    let note = note.as_str().unwrap();
    assert!(note.contains("does not free it: also held by m:") && note.matches("m:").count() == 3, "{note}");
    assert_eq!(notes("loose"), [&Value::Null, &Value::Null]);
    let table = house.does(&["duplicates"]);
    assert!(!table.contains("remove: ") && table.contains(hub), "{table}");
}

#[test]
fn what_a_hard_link_outside_keeps_alive_frees_nothing() {
    let mut house = house!();
    let bytes = gguf("kept");
    for (name, outside) in [("one.gguf", "outside-1"), ("two.gguf", "outside-2")] {
        write(house.models(name), &bytes);
        fs::hard_link(house.models(name), house.at(outside)).unwrap();
    }
    house.start();
    house.sync();
    let found = groups(&house, &[]);
    assert_eq!((found.len(), &found[0]["reclaimable"]), (1, &json!(0)), "{found:#?}");
    assert!(found[0]["copies"].as_array().unwrap().iter().all(|copy| copy["held_elsewhere"] == true));
    let said = house.ctl(&["duplicates"]);
    assert!(said.out.is_empty() && said.err.contains("--all"), "{said:?}");
    assert!(house.does(&["duplicates", "--all"]).contains("a hard link elsewhere keeps it"));
    // The end of a link elsewhere is no event in the folder that is watched.
    fs::remove_file(house.at("outside-1")).unwrap();
    assert_eq!(groups(&house, &[])[0]["reclaimable"], allocated(&house.models("one.gguf")));
    // And one that is made takes it away again.
    fs::hard_link(house.models("one.gguf"), house.at("outside-3")).unwrap();
    assert_eq!(groups(&house, &[])[0]["reclaimable"], 0);
}

#[test]
fn half_a_file_is_no_duplicate_and_no_name_breaks_the_table() {
    let mut house = house!();
    let bytes = gguf("half");
    write(house.models("whole.gguf"), &bytes);
    write(house.models("a/half.gguf"), &bytes[..3000]);
    write(house.models("b/half.gguf"), &bytes[..3000]);
    let hostile = gguf("hostile");
    write(house.models("x\u{1b}[31m\u{202e}\n.gguf"), &hostile);
    write(house.models("y\u{1b}]0;pwned\u{7}.gguf"), &hostile);
    house.start();
    let found = groups(&house, &[]);
    assert_eq!(found.len(), 1, "{found:#?}");
    let table = house.does(&["duplicates"]);
    assert!(!table.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{table}");
    assert_eq!(table.lines().count(), 6, "{table}");
}
