//! What the user says of models, and how models are found again.

use serde_json::json;
use tests::{
    House,
    files::{Gguf, Quant, gguf, safetensors, write},
    house,
};

fn library() -> House {
    let mut house = house!();
    let with = |name: &str, model: Gguf| write(house.models(format!("{name}.gguf")), model.bytes());
    with("Alpha", Gguf::named("Alpha").context(8192));
    with("Beta", Gguf::named("Beta").architecture("qwen3").context(32768).quant(Quant::Q8_0).rows(640));
    with("Gamma", Gguf::named("Gamma").rows(256));
    write(house.models("st/model.safetensors"), safetensors(7));
    house.start();
    house.sync();
    house
}

#[test]
fn tags_notes_pins_and_aliases_are_kept_shown_and_filtered_by() {
    let mut house = library();
    house.does(&["tag", "Alpha", "+daily", "coding"]);
    house.does(&["note", "Alpha", "writes", "good", "SQL"]);
    house.does(&["pin", "Beta"]);
    house.does(&["alias", "Gamma", "g3"]);
    for _ in 0..2 {
        let alpha = house.show("Alpha");
        assert_eq!(
            (&alpha["tags"], &alpha["note"], &alpha["pinned"]),
            (&json!(["coding", "daily"]), &json!("writes good SQL"), &json!(false))
        );
        assert_eq!(house.names(&["tag=daily"]), ["Alpha"]);
        assert_eq!(house.names(&["tag!=daily"]).len(), 3);
        assert_eq!(house.names(&["pinned"]), ["Beta"]);
        assert_eq!(house.names(&["sql"]), ["Alpha"], "a word of the note");
        assert_eq!(house.show("g3")["name"], "Gamma");
        assert_eq!(house.show("g3")["aliases"], json!(["g3"]));
        house.restart();
    }
    assert_eq!(house.does(&["note", "Alpha"]), "writes good SQL\n");
    house.does(&["tag", "Alpha", "--remove", "daily"]);
    house.does(&["note", "Alpha", "--clear"]);
    house.does(&["pin", "Beta", "--off"]);
    house.does(&["alias", "Gamma", "g3", "--remove"]);
    let alpha = house.show("Alpha");
    assert_eq!((&alpha["tags"], &alpha["note"]), (&json!(["coding"]), &json!(null)));
    assert!(house.names(&["pinned"]).is_empty());
    assert_eq!(house.ctl(&["show", "g3"]).code, 1);
}

#[test]
fn one_alias_names_one_model() {
    let house = library();
    house.does(&["alias", "Alpha", "best"]);
    let said = house.ctl(&["alias", "Beta", "best"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("best"), "{said:?}");
    assert_eq!(house.show("best")["name"], "Alpha");
}

#[test]
fn words_that_mean_nothing_or_something_else_are_refused_with_the_reason() {
    let house = library();
    house.does(&["tag", "Alpha", "daily"]);
    assert_eq!(house.does(&["tag", "Alpha"]), "daily\n");
    for (args, why) in [
        (&["tag", "Alpha", "a,b"][..], "a comma"),
        (&["tag", "Alpha", "ok", ""], "empty tag"),
        (&["tag", "Alpha", "--remove", "daly"], "it has no tag `daly`"),
        (&["tag", "Alpha", "new", "--remove", "daly"], "it has no tag `daly`"),
        (&["alias", "Alpha", "nope", "--remove"], "it has no alias `nope`"),
        (&["alias", "Alpha", "Beta"], "`Beta` is the name of another model"),
    ] {
        let said = house.ctl(args);
        assert!(said.code == 1 && said.err.contains(why), "{args:?}: {said:?}");
    }
    assert_eq!(house.does(&["tag", "Alpha"]), "daily\n", "all or nothing");
    let mut command = house.ctl_command(&["show", "models/Alpha.gguf", "--json"]);
    let said = tests::house::finish(command.current_dir(house.home("")).spawn().unwrap(), 20);
    assert!(said.code == 0 && said.out.contains("\"Alpha\""), "{said:?}");
}

#[test]
fn filters_select_and_sorts_order() {
    let house = library();
    let beta = house.show("Beta");
    for (filters, expected) in [
        (&["format=gguf", "--sort", "name"][..], &["Alpha", "Beta", "Gamma"][..]),
        (&["format!=gguf"], &["st"]),
        (&["arch=qwen3"], &["Beta"]),
        (&["quant=Q8_0"], &["Beta"]),
        (&["quant=f16", "--sort", "name"], &["Alpha", "Gamma"]),
        (&["ctx>=32k"], &["Beta"]),
        (&["ctx<8k"], &["Gamma"]),
        (&["size>64K", "--sort", "name"], &["Beta", "Gamma"]),
        (&["app=loose", "gamma"], &["Gamma"]),
        (&["app=ollama"], &[]),
        (&["state!=ok"], &[]),
        (&["unused>1d"], &[]),
        (&["kind=llm", "--sort", "size"], &["Beta", "Gamma", "Alpha"]),
        (&["kind=llm", "--sort", "-size"], &["Alpha", "Gamma", "Beta"]),
        (&["kind=llm", "--sort", "ctx"], &["Beta", "Alpha", "Gamma"]),
    ] {
        assert_eq!(house.names(filters), expected, "{filters:?}");
    }
    assert_eq!(
        (&beta["architecture"], &beta["quant"], &beta["context_length"]),
        (&json!("qwen3"), &json!("Q8_0"), &json!(32768))
    );
    for bad in
        [&["nonsense=1"][..], &["size=4G"], &["format>gguf"], &["--sort", "nonsense"], &["unused>soon"]]
    {
        let said = house.ctl(&[&["list"], bad].concat());
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{bad:?}: {said:?}");
        assert!(said.err.contains("hint:"), "{said:?}");
    }
}

#[test]
fn a_model_goes_by_name_prefix_id_handle_and_path() {
    let house = library();
    let id = house.show("Alpha")["id"].as_str().unwrap().to_owned();
    let path = house.models("Alpha.gguf").display().to_string();
    for typed in ["Alpha", "alpha", "Alp", &id, &id[..6], "models/Alpha.gguf", "Alpha.gguf", &path] {
        assert_eq!(house.show(typed)["id"], id.as_str(), "{typed}");
    }
    let mut command = house.ctl_command(&["show", "./Alpha.gguf", "--json"]);
    let said = tests::house::finish(command.current_dir(house.models("")).spawn().unwrap(), 20);
    assert!(said.code == 0 && said.out.contains(&id), "{said:?}");
}

#[test]
fn an_ambiguous_name_is_refused_with_the_candidates_and_an_unknown_one_with_similar_ones() {
    let house = library();
    write(house.models("Alpine.gguf"), gguf("Alpine"));
    write(house.models("other/Alpha.gguf"), Gguf::named("Alpha").context(1024).bytes());
    house.sync();
    let prefix = house.ctl(&["show", "Al"]);
    assert_eq!((prefix.code, prefix.out.as_str()), (1, ""));
    assert!(prefix.err.contains("Alpine") && prefix.err.contains("Alpha"), "{prefix:?}");
    let same_name = house.ctl(&["show", "Alpha"]);
    assert_eq!(same_name.code, 1);
    for model in house.list(&["name=Alpha"]) {
        let id = model["id"].as_str().unwrap();
        let path = model["locations"][0]["files"][0]["path"].as_str().unwrap();
        let line = format!("  {id}  Alpha  loose, gguf, F16, ");
        let lines = || same_name.err.lines();
        assert!(lines().any(|l| l.starts_with(&line) && l.ends_with(path)), "{same_name:?}");
        assert_eq!(house.show(id)["id"], id);
    }
    let unknown = house.ctl(&["show", "Gama"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert!(unknown.err.contains("Gama") && unknown.err.contains("did you mean `Gamma`"), "{unknown:?}");
    let far = house.ctl(&["tag", "zzzzzz", "x"]);
    assert!(far.code == 1 && !far.err.contains("did you mean"), "{far:?}");
}

#[test]
fn a_path_that_is_no_model_is_refused_with_what_it_is() {
    let house = library();
    let (outside, link) = (house.at("some where/m.gguf"), house.home("link.gguf"));
    write(&outside, gguf("Delta"));
    write(house.models("readme.md"), "no model");
    std::os::unix::fs::symlink(house.models("Alpha.gguf"), &link).unwrap();
    house.sync();
    assert_eq!(house.show(link.to_str().unwrap())["name"], "Alpha");
    let directory = house.models("st").display().to_string();
    assert_eq!(house.show(&directory)["name"], "st");
    let inspected = house.json(&["inspect", &directory]);
    assert_eq!((&inspected["format"], &inspected["state"]), (&json!("safetensors"), &json!("ok")));
    assert!(inspected["reason"].as_str().unwrap().contains("listed as the model `st`"), "{inspected}");
    let inspected = house.json(&["inspect", house.models("").to_str().unwrap()]);
    assert_eq!(inspected["reason"], "it is a directory with 4 listed models in it");
    let add = format!("hint: modelctl roots add '{}'", house.at("some where").display());
    for (path, why, hint) in [
        (outside, "is in no place that is looked at", &*add),
        (house.models("gone.gguf"), "there is no file", ""),
        (house.models("readme.md"), "is not known as a model", "modelctl inspect"),
        (house.models(""), "has 4 models in it", "see which: modelctl list /"),
    ] {
        let said = house.ctl(&["show", path.to_str().unwrap()]);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        assert!(said.err.contains(why) && said.err.contains(hint), "{said:?}");
        assert!(!said.err.contains("did you mean"), "{said:?}");
    }
}
