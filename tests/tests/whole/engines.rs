//! Finding engines: where is looked, what is asked of them, how often.

use rustix::process::Signal;
use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio, time::Instant};
use tests::{
    House,
    files::{gguf, write},
    house, wait_until,
};

/// How often the fake engine was asked this.
fn asked(house: &House, word: &str) -> usize {
    let text = fs::read_to_string(house.home("asked")).unwrap_or_default();
    text.lines().filter(|line| line.split(' ').next() == Some(word)).count()
}

fn with_engine() -> House {
    let mut house = house!().started();
    house.install_engine();
    house
}

#[test]
fn engines_says_what_was_found_where_and_what_it_sees() {
    let house = with_engine();
    write(house.home("devices"), "  CUDA0: NVIDIA Fake (24080 MiB, 23592 MiB free)\n");
    let engine = &house.json(&["engines"])["engines"][0];
    assert_eq!(engine["engine"], "llama.cpp");
    assert_eq!(engine["program"], house.at("tools/llama-server").to_str().unwrap());
    assert_eq!((&engine["version"], &engine["found"]), (&"0.0.1 (fake)".into(), &true.into()));
    assert_eq!((&engine["added"], &engine["note"]), (&false.into(), &serde_json::Value::Null));
    assert!(engine["flags"].as_u64().unwrap() > 8, "{engine}");
    assert_eq!(engine["devices"][0]["id"], "CUDA0");
    assert_eq!(engine["devices"][0]["free"], 23592_u64 << 20);
    let shown = house.does(&["engines"]);
    assert!(shown.contains("CUDA0") && shown.contains("0.0.1 (fake)"), "{shown}");
}

#[test]
fn a_missing_engine_is_said_with_where_was_looked_and_what_to_do() {
    let house = house!().started();
    let engine = &house.json(&["engines"])["engines"][0];
    assert_eq!((&engine["found"], &engine["program"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!(engine["looked"][0], house.at("bin").to_str().unwrap());
    let shown = house.does(&["engines"]);
    assert!(shown.contains("not found") && shown.contains("modelctl engines add PATH"), "{shown}");
    assert!(house.does(&["hardware"]).contains("none was found"));
}

#[test]
fn an_engine_that_was_added_is_used_until_it_is_removed_and_survives_a_restart() {
    let mut house = with_engine();
    write(house.models("m.gguf"), gguf("m"));
    house.sync();
    let (path, tools) = (house.at("tools/llama-server"), house.at("tools"));
    house.set("PATH", "/usr/bin:/bin");
    let added = house.json(&["engines", "add", tools.to_str().unwrap()]);
    assert_eq!(added["engine"]["program"], path.to_str().unwrap());
    house.restart();
    assert_eq!(house.json(&["engines"])["engines"][0]["added"], true);
    assert_eq!(house.json(&["plan", "llama.cpp", "m"])["argv"][0], path.to_str().unwrap());
    fs::rename(&path, house.at("elsewhere")).unwrap();
    let gone = house.ctl(&["plan", "llama.cpp", "m"]);
    assert!(gone.code == 1 && gone.err.contains(path.to_str().unwrap()), "{gone:?}");
    house.does(&["engines", "remove", path.to_str().unwrap()]);
    assert_eq!(house.json(&["engines"])["engines"][0]["found"], false);
    let again = house.ctl(&["engines", "remove", path.to_str().unwrap()]);
    assert!(again.code == 1 && again.err.contains("not added"), "{again:?}");
}

#[test]
fn one_file_is_one_engine_and_is_removed_as_it_was_added() {
    let mut house = with_engine();
    house.set("PATH", "/usr/bin:/bin");
    let (tools, link) = (house.at("tools"), house.at("current"));
    std::os::unix::fs::symlink(&tools, &link).unwrap();
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let programs = || -> Vec<String> {
        let engines = house.json(&["engines"])["engines"].take();
        let found = engines.as_array().unwrap().iter().filter(|engine| engine["found"] == true);
        found.map(|engine| engine["program"].as_str().unwrap().to_owned()).collect()
    };
    for path in ["tools", "tools/llama-server", "tools/../tools/llama-server", "tools/../tools"] {
        house.does(&["engines", "add", &text(house.at(path))]);
        assert_eq!(programs(), [text(tools.join("llama-server"))], "{path}");
    }
    // A link may lead elsewhere tomorrow: it stays as it was named.
    house.does(&["engines", "add", &text(link.clone())]);
    assert_eq!(programs(), [text(link.join("llama-server")), text(tools.join("llama-server"))]);
    house.does(&["engines", "remove", &text(house.at("tools/../tools"))]);
    fs::remove_file(tools.join("llama-server")).unwrap();
    house.does(&["engines", "remove", &text(link.clone())]);
    let gone = house.ctl(&["engines", "remove", &text(link)]);
    assert!(gone.code == 1 && gone.err.contains("not added"), "{gone:?}");
}

#[test]
fn what_is_no_engine_is_not_remembered() {
    let house = house!().started();
    let script = |name: &str, text: &str| {
        let path = house.at("bin").join(name);
        write(&path, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    write(house.at("bin/text"), "no program");
    for (path, why) in [
        (house.at("nowhere"), "is not a program"),
        (house.at("bin/text"), "is not a program"),
        (house.at("bin"), "there is no llama-server or llama in "),
        (script("fails", "#!/bin/sh\necho it has no GPU >&2\nexit 3\n"), "it has no GPU"),
        (script("other", "#!/bin/sh\necho '--model FILE, --prompt TEXT'\n"), "is not a server of llama.cpp"),
    ] {
        let said = house.ctl(&["engines", "add", path.to_str().unwrap()]);
        assert!(said.code == 1 && said.err.contains(why), "{}: {said:?}", path.display());
    }
    assert_eq!(house.json(&["engines"])["engines"].as_array().unwrap().len(), 1);
}

#[test]
fn the_multi_call_program_is_the_engine_too() {
    let mut house = with_engine();
    fs::rename(house.at("tools/llama-server"), house.at("tools/llama")).unwrap();
    write(house.models("m.gguf"), gguf("m"));
    house.sync();
    let plan = house.json(&["plan", "llama.cpp", "m"]);
    assert_eq!(
        (&plan["argv"][0], &plan["argv"][1]),
        (&house.at("tools/llama").to_str().into(), &"serve".into())
    );
    house.set("PATH", "/usr/bin:/bin");
    let path = house.at("tools/llama");
    assert_eq!(house.json(&["engines", "add", path.to_str().unwrap()])["engine"]["found"], true);
    assert_eq!(house.json(&["plan", "llama.cpp", "m"])["argv"][1], "serve");
}

#[test]
fn a_program_is_asked_once_for_as_long_as_it_is_the_same() {
    let mut house = house!();
    house.set("LLAMA_ARG_CTX_SIZE", "17");
    house.set("HF_TOKEN", "hf_secret");
    house.start();
    house.install_engine();
    write(house.models("m.gguf"), gguf("m"));
    house.sync();
    let asking: Vec<_> =
        (0..20).map(|_| house.ctl_command(&["engines"]).stdout(Stdio::null()).spawn().unwrap()).collect();
    for mut child in asking {
        assert!(child.wait().unwrap().success());
    }
    let all =
        |house: &House| [asked(house, "--help"), asked(house, "--version"), asked(house, "--list-devices")];
    assert_eq!(all(&house), [1, 1, 1]);
    let text = fs::read_to_string(house.home("asked")).unwrap();
    assert!(!text.contains("LLAMA_ARG") && !text.contains("TOKEN"), "{text}");
    house.restart();
    house.json(&["plan", "llama.cpp", "m"]);
    assert_eq!(all(&house), [1, 1, 1], "what is known survives a restart");
    house.set("CUDA_VISIBLE_DEVICES", "1");
    house.json(&["plan", "llama.cpp", "m"]);
    assert_eq!(all(&house), [2, 2, 2], "another environment sees other devices");
    house.unset("CUDA_VISIBLE_DEVICES");
    let path = house.at("tools/llama-server");
    let changed = fs::read_to_string(&path).unwrap().replace("--mmproj FILE", "--mmproj FILE\\n--new-flag");
    write(&path, changed);
    house.json(&["plan", "llama.cpp", "m"]);
    assert_eq!(all(&house), [3, 3, 3], "a new build is asked anew");
    write(
        house.at("sys/proc/driver/nvidia/version"),
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.82.07\n",
    );
    house.json(&["plan", "llama.cpp", "m"]);
    assert_eq!(all(&house), [4, 4, 4], "a new driver shows other devices");
}

#[test]
fn another_program_of_the_same_name_is_not_started() {
    let house = with_engine();
    write(house.models("m.gguf"), gguf("m"));
    house.sync();
    write(house.at("tools/llama-server"), "#!/bin/sh\necho 'llama-server: feeds llamas; --hay KG'\n");
    let said = house.ctl(&["plan", "llama.cpp", "m"]);
    assert!(said.code == 1 && said.err.contains("is not a server of llama.cpp"), "{said:?}");
    assert!(house.does(&["engines"]).contains("is not a server of llama.cpp"));
}

#[test]
fn a_program_that_fails_once_is_not_given_up() {
    let house = with_engine();
    write(house.models("m.gguf"), gguf("m"));
    house.sync();
    let path = house.at("tools/llama-server");
    let whole = fs::read_to_string(&path).unwrap();
    write(&path, "#!/bin/sh\necho libcuda.so.1: cannot open shared object file >&2\nexit 127\n");
    let said = house.ctl(&["plan", "llama.cpp", "m"]);
    assert!(said.code == 1 && said.err.contains("libcuda.so.1"), "{said:?}");
    let engine = &house.json(&["engines"])["engines"][0];
    assert!(engine["note"].as_str().unwrap().contains("libcuda.so.1"), "{engine}");
    write(&path, whole);
    house.json(&["plan", "llama.cpp", "m"]);
}

#[test]
fn a_program_that_hangs_holds_up_neither_other_requests_nor_the_daemons_end() {
    let mut house = with_engine();
    let script = format!("#!/bin/sh\ntouch {}\nexec sleep 15\n", house.home("hangs").display());
    write(house.at("tools/llama-server"), script);
    let mut asking = house.ctl_command(&["engines"]).spawn().unwrap();
    wait_until("it is asked", 10, || house.home("hangs").exists());
    let begun = Instant::now();
    house.sync();
    house.end(Signal::TERM);
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
    assert!(!asking.wait().unwrap().success());
}
