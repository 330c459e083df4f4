//! Files that run code when they are loaded: listed as what they are, and never handed to an engine unasked.

use serde_json::{Value, json};
use std::fs;
use tests::house;

/// A pickle that would call `os.getcwd`; nothing of it is ever loaded here.
const CALL: &[u8] = b"\x80\x02cos\ngetcwd\n)R.";

#[test]
fn a_dangerous_pickle_is_listed_as_such_and_not_launched() {
    let house = house!().started();
    let path = house.models("evil.ckpt");
    fs::write(&path, CALL).unwrap();
    house.sync();
    let model = house.show("evil");
    assert_eq!(
        (&model["format"], &model["safety"], &model["kind"]),
        (&json!("pickle"), &json!("dangerous"), &Value::Null)
    );
    assert_eq!(model["warnings"], json!(["loading it runs code: it reaches os.getcwd (byte 2)"]));
    assert!(house.does(&["list"]).lines().any(|line| line.contains("evil") && line.contains("dangerous")));
    let shown = house.does(&["show", "evil"]);
    assert!(
        shown.contains("LOADING IT RUNS CODE") && shown.contains("os.getcwd, which runs code"),
        "{shown}"
    );
    let reached = json!([{"name": "os.getcwd", "standing": "dangerous", "member": null}]);
    assert_eq!(model["facts"]["pickle"]["reaches"], reached);

    for args in [&["launch", "llama.cpp", "evil"][..], &["launch", "llama.cpp", "evil", "--print"]] {
        let said = house.ctl(args);
        assert_eq!(said.code, 4, "{said:?}");
        let why =
            format!("error: evil runs code when it is loaded: {} reaches os.getcwd (byte 2)", path.display());
        assert!(said.err.starts_with(&why), "{}", said.err);
        assert!(said.err.contains("hint: get the same model as safetensors"), "{}", said.err);
    }
    let home = house.does(&[]);
    assert!(home.contains("\nevil  dangerous: loading it runs code: os.getcwd (byte 2)\n"), "{home}");
    let doctor = house.does(&["doctor"]);
    assert!(doctor.contains("problem  evil: loading it runs code: os.getcwd (byte 2)\n"), "{doctor}");
    assert!(doctor.contains("hint: get it as safetensors, or delete it: modelctl list safety=dangerous"));
    assert_eq!(house.names(&["state=dangerous"]), ["evil"]);
    // It is the engine then that cannot load it.
    let said = house.ctl(&["launch", "llama.cpp", "evil", "--allow-unsafe"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!(house.json(&["ps"])["runs"], json!([]));
    let said = house.ctl(&["inspect", path.to_str().unwrap()]);
    assert_eq!(said.code, 4, "{said:?}");
}

#[test]
fn the_bytes_decide_what_is_listed_not_the_name() {
    let house = house!().started();
    fs::write(house.models("firmware.bin"), [0xae, 0xbc, 0x30, 0x27, 0xa4]).unwrap();
    fs::write(house.models("notes.pt"), "ciao").unwrap();
    fs::write(house.models("vocabulary.pt"), b"\x80\x02}X\x01\0\0\0aK\x01s.").unwrap();
    fs::write(house.models("settings.bin"), b"\x80\x02cmine\nSettings\n)\x81.").unwrap();
    fs::write(house.models("hidden.safetensors"), CALL).unwrap();
    house.sync();
    let listed: Vec<Value> = house
        .list(&[])
        .iter()
        .map(|model| json!([model["name"], model["format"], model["safety"]]))
        .collect();
    assert_eq!(listed, [json!(["hidden", "pickle", "dangerous"])]);
}
