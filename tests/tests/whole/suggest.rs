//! `roots suggest`: what a bounded look finds besides the roots.

use serde_json::Value;
use std::{fs, os::unix::fs::symlink};
use tests::{
    House,
    files::{Gguf, gguf, write},
    house,
    stores::ollama,
};

/// Larger than what nobody keeps.
fn large(name: &str) -> Vec<u8> {
    Gguf::named(name).rows(8192).bytes()
}

fn suggested(house: &House) -> Vec<(String, String, u64)> {
    let reply = house.json(&["roots", "suggest"]);
    assert_eq!(reply["complete"], true, "{reply}");
    let one = |one: &Value| {
        let path =
            one["path"].as_str().unwrap().strip_prefix(house.at("").to_str().unwrap()).unwrap().to_owned();
        assert!(!one["evidence"].as_array().unwrap().is_empty(), "{one}");
        (path, one["app"].as_str().unwrap().to_owned(), one["models"].as_u64().unwrap())
    };
    reply["suggestions"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn folders_with_models_that_are_no_roots_are_suggested_with_the_command_that_adds_them() {
    let mut house = house!();
    write(house.models("known.gguf"), large("known"));
    write(house.home("work/llms/qwen/q.gguf"), large("q"));
    write(house.home("work/llms/llama/l.gguf"), large("l"));
    ollama(&house.at("sys/mnt/disk/ollama"), "llama3", "8b", &large("eight"));
    write(house.at("sys/mnt/disk/old/my models/m.gguf"), large("m"));
    // What is no model, or is no one's to keep, or lies behind a link.
    write(house.home("work/pages/page.gguf"), vec![b'<'; 2 << 20]);
    write(house.home("work/old/small/small.gguf"), gguf("small"));
    write(house.home("work/site/node_modules/x/x.gguf"), large("x"));
    write(house.home("work/old/half/half.gguf.part"), large("half"));
    write(house.at("outside/far.gguf"), large("far"));
    symlink(house.at("outside"), house.home("work/link")).unwrap();
    symlink("..", house.home("work/loop")).unwrap();
    house.start();
    house.sync();
    let mut found = suggested(&house);
    found.sort();
    let expected = [
        ("home/work/llms", "loose", 2),
        ("sys/mnt/disk/old/my models", "loose", 1),
        ("sys/mnt/disk/ollama", "ollama", 0),
    ];
    assert_eq!(found, expected.map(|(path, app, models)| (path.to_owned(), app.to_owned(), models)));
    assert_eq!(house.names(&[]), ["known"], "nothing was added");
    let human = house.does(&["roots", "suggest"]);
    let path = house.at("sys/mnt/disk/old/my models");
    assert!(human.contains(&format!("modelctl roots add '{}'", path.display())), "{human}");
    assert!(human.contains("m.gguf is gguf, by its header"), "{human}");
    house.does(&["roots", "add", path.to_str().unwrap()]);
    assert_eq!(suggested(&house).len(), 2, "what is added is not suggested again");
}

#[test]
fn a_look_for_places_ends_in_a_tree_without_end_and_leaves_no_trace() {
    let mut house = house!();
    let mut deep = house.home("deep");
    for n in 0..40 {
        deep.push(format!("d{n}"));
    }
    fs::create_dir_all(&deep).unwrap();
    write(deep.join("m.gguf"), large("m"));
    house.start();
    house.sync();
    let before = fs::metadata(house.home("deep")).unwrap().modified().unwrap();
    assert_eq!(suggested(&house), []);
    assert_eq!(fs::metadata(house.home("deep")).unwrap().modified().unwrap(), before);
}
