//! Words are found in names, notes and cards; conditions in every field.

use std::{fs, os::unix::fs::symlink};
use tests::{
    House,
    files::{Gguf, gguf, write},
    house,
    stores::{Hub, hugging_face},
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const CARD: &str =
    "---\nlicense: apache-2.0\ntags:\n- storytelling\n---\n# Un modèle\nMade for Erzählungen and SQL.\n";

fn library() -> House {
    let mut house = house!();
    let hub = house.home(".cache/huggingface/hub");
    let files: &[(&str, &[u8])] = &[("tales-F16.gguf", &gguf("tales")), ("README.md", CARD.as_bytes())];
    hugging_face(&hub, Hub::Links, "acme/tales-GGUF", COMMIT, files);
    write(house.models("Coder-Instruct.gguf"), Gguf::named("Coder").architecture("qwen3").bytes());
    write(house.models("Café-Base.gguf"), gguf("Cafe"));
    write(house.models("coders/plain.gguf"), gguf("plain"));
    house.start();
    house.sync();
    house
}

#[test]
fn words_are_found_in_names_notes_paths_and_cards() {
    let house = library();
    house.does(&["note", "Coder-Instruct", "writes", "good", "tests"]);
    for (filters, expected) in [
        (&["storytelling"][..], &["tales-F16"][..]),
        (&["story"], &["tales-F16"]),
        (&["erzahlungen"], &["tales-F16"]),
        (&["MODÈLE", "sql"], &["tales-F16"]),
        (&["sql", "coder"], &[]),
        (&["good test"], &["Coder-Instruct"]),
        (&["cafe"], &["Café-Base"]),
        (&["CAFÉ"], &["Café-Base"]),
        (&["oder-inst"], &["Coder-Instruct"]),
        (&["coder"], &["Coder-Instruct", "plain"]),
        (&["coder", "!instruct"], &["plain"]),
        (&["!coder", "!tales"], &["Café-Base"]),
        (&["coder", "arch=qwen3"], &["Coder-Instruct"]),
        (&["apache"], &["tales-F16"]),
        (&["\"", "*", "("], &[]),
        (&["AND"], &["tales-F16"]),
        (&["nowhere-to-be-found"], &[]),
    ] {
        assert_eq!(house.names(filters), expected, "{filters:?}");
    }
    // A name counts more than a path or a card.
    write(house.models("zz-sql.gguf"), gguf("zz"));
    house.sync();
    assert_eq!(house.names(&["sql", "--sort", "match"]), ["zz-sql", "tales-F16"]);
    assert_eq!(house.names(&["sql", "--sort", "-match"]), ["tales-F16", "zz-sql"]);
}

#[test]
fn the_search_follows_what_changes_and_goes() {
    let mut house = library();
    let repository = house.home(".cache/huggingface/hub/models--acme--tales-GGUF");
    let card = repository.join("snapshots").join(COMMIT).join("README.md");
    fs::remove_file(&card).unwrap();
    write(repository.join("blobs/second"), CARD.replace("storytelling", "cooking"));
    symlink("../../blobs/second", &card).unwrap();
    house.sync();
    assert!(house.names(&["storytelling"]).is_empty());
    assert_eq!(house.names(&["cooking"]), ["tales-F16"]);
    house.does(&["tag", "tales-F16", "evening"]);
    house.restart();
    assert_eq!(house.names(&["evening", "cooking"]), ["tales-F16"]);
    house.does(&["tag", "tales-F16", "--remove", "evening"]);
    assert!(house.names(&["evening"]).is_empty());
    fs::remove_dir_all(&repository).unwrap();
    house.sync();
    tests::wait_until("the model is gone", 10, || house.names(&["cooking"]).is_empty());
    assert!(house.names(&["tales"]).is_empty());
}

#[test]
fn conditions_reach_every_field_and_are_corrected() {
    let house = library();
    let models = house.models("").display().to_string();
    for (filters, expected) in [
        (&["name=c*"][..], &["Café-Base", "Coder-Instruct"][..]),
        (&[&*format!("root={models}"), "!arch=qwen3"], &["Café-Base", "plain"]),
        (&["path=*/coders/*"], &["plain"]),
        (&["source=huggingface"], &["tales-F16"]),
        (&["license="], &["Café-Base", "Coder-Instruct", "plain"]),
        (&["added<1d", "unverified", "!dup", "!offline", "!partial", "repo=acme/*"], &["tales-F16"]),
        (&["added>1d"], &[]),
        (&["used"], &[]),
    ] {
        assert_eq!(house.names(filters), expected, "{filters:?}");
    }
    let said = house.ctl(&["list", "archi=qwen3"]);
    assert!(said.code == 2 && said.err.contains("did you mean `arch`?"), "{said:?}");
    let said = house.ctl(&["list", "app=olama"]);
    assert!(said.code == 2 && said.err.contains("did you mean `ollama`?"), "{said:?}");
    let said = house.ctl(&["list", "--sort", "bogus"]);
    assert_eq!(said.code, 2);
    assert!(said.err.starts_with("error: cannot sort by `bogus`; there are name match size"), "{said:?}");
}
