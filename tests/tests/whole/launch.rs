//! Launching: what the engine is told, byte for byte, and what it is not told.

use std::{ffi::OsStr, fs, net::TcpListener, os::unix::ffi::OsStrExt as _, path::Path, process::Command};
use tests::{
    House,
    engine::bytes,
    files::{gguf, safetensors, write},
    house, large,
};

pub fn ready_to_launch() -> House {
    house!().ready_to_launch()
}

/// No file of this name is anywhere below.
#[track_caller]
fn nothing_is_pwned(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        assert_ne!(entry.file_name(), "pwned", "{}", dir.display());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            nothing_is_pwned(&entry.path());
        }
    }
}

#[test]
fn launch_gets_ready_shows_url_and_context_and_ctrl_c_stops_all_of_it() {
    let house = ready_to_launch();
    let events = house.stream(&["events", "--json"]);
    events.event("Listening", |event| (event["event"] == "Listening").then_some(()));
    let (mut stream, url) = house.launch(&["m", "--max-ctx"]);
    let called = house.engine_call();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    stream.find("the context", 5, |line| line.contains("12288 tokens").then_some(()));
    assert_eq!(called.value("--model"), Some(bytes(house.models("m.gguf")).as_slice()));
    assert_eq!(
        called.value("--port").map(|port| String::from_utf8_lossy(port).into_owned()),
        url.rsplit(':').next().map(str::to_owned)
    );
    let home = house.json(&[]);
    let run = &home["runs"][0];
    assert_eq!(
        (&run["engine"], &run["state"], &run["ctx"], &run["pid"]),
        (&"llama.cpp".into(), &"ready".into(), &12288.into(), &called.pids[0].into())
    );
    events.event("the run", |event| {
        (event["event"] == "RunChanged" && event["run"]["state"] == "ready").then_some(())
    });
    assert!(house.show("m")["last_used"].is_string());
    stream.signal(rustix::process::Signal::INT);
    let (code, lines) = stream.end(5);
    assert_eq!(code, 0, "{lines:?}");
    assert!(lines.iter().any(|line| line == "stopped"), "{lines:?}");
    assert!(called.is_gone(), "the engine or its child still runs");
    assert_eq!(house.json(&[])["runs"], serde_json::json!([]));
}

#[test]
fn print_prints_a_command_that_can_be_pasted_and_starts_nothing() {
    let house = ready_to_launch();
    let odd = OsStr::from_bytes(b"it's $(touch pwned) `touch pwned`\n\"x\" ; touch pwned #\xff.gguf");
    write(house.models(odd), gguf("hostile"));
    house.sync();
    house.does(&["alias", house.list(&["pwned"])[0]["id"].as_str().unwrap(), "hostile"]);
    for model in ["m", "hostile"] {
        let command = house.does(&["launch", "llama.cpp", model, "--print", "--", "--temp", "0.5 $HOME"]);
        assert_eq!(command.lines().count(), 1, "{command:?}");
        assert!(!house.home("engine.json").exists(), "it was started");
        assert_eq!(house.json(&[])["runs"], serde_json::json!([]));
        house.engine_mode("once");
        let pasted = Command::new("bash")
            .args(["-c", &command])
            .current_dir(house.at("sys"))
            .env("HOME", house.home(""))
            .output()
            .unwrap();
        assert!(pasted.status.success(), "{pasted:?}");
        let called = house.engine_call();
        let path = if model == "m" { house.models("m.gguf") } else { house.models(odd) };
        assert_eq!(called.value("--model"), Some(bytes(path).as_slice()), "{command}");
        assert_eq!(called.value("--temp"), Some(&b"0.5 $HOME"[..]));
    }
    nothing_is_pwned(house.at("").as_path());
}

#[test]
fn a_path_with_every_bad_byte_reaches_the_engine_byte_for_byte() {
    let house = ready_to_launch();
    let odd = OsStr::from_bytes(
        b"a b\t'q' \"d\" $(touch pwned) `touch pwned`\n%h \\ *?[x] {a,b} ~ -rf \x1b[31m\xff\xfe.gguf",
    );
    write(house.models(Path::new("--help").join(odd)), gguf("hostile"));
    house.sync();
    house.does(&["alias", house.list(&["pwned"])[0]["id"].as_str().unwrap(), "hostile"]);
    let (mut stream, _) = house.launch(&["hostile"]);
    let called = house.engine_call();
    assert_eq!(called.value("--model"), Some(bytes(house.models("--help").join(odd)).as_slice()));
    stream.signal(rustix::process::Signal::INT);
    assert_eq!(stream.end(5).0, 0);
    nothing_is_pwned(house.at("").as_path());
}

#[test]
fn nothing_of_the_daemons_environment_but_what_an_engine_needs_reaches_it() {
    let mut house = house!();
    write(house.models("m.gguf"), gguf("m"));
    for (name, value) in [
        ("LLAMA_ARG_CTX_SIZE", "17"),
        ("LLAMA_ARG_MODEL", "/other.gguf"),
        ("HF_TOKEN", "hf_secret"),
        ("LD_PRELOAD", ""),
        ("NOTIFY_SOCKET", ""),
    ] {
        house.set(name, value);
    }
    house.start();
    house.install_engine();
    house.set("CUDA_VISIBLE_DEVICES", "1");
    let (mut stream, _) = house.launch(&["m"]);
    let called = house.engine_call();
    let names: Vec<&String> = called.env.as_object().unwrap().keys().collect();
    assert!(
        !names.iter().any(|name| name.starts_with("LLAMA_ARG")
            || name.contains("TOKEN")
            || name.starts_with("LD_PRE")
            || name.starts_with("MODEL")),
        "{names:?}"
    );
    assert_eq!(called.env["CUDA_VISIBLE_DEVICES"], "1", "what places devices is the caller's");
    assert_eq!(called.env["HOME"], house.home("").to_str().unwrap().trim_end_matches('/'));
    stream.signal(rustix::process::Signal::INT);
    assert_eq!(stream.end(5).0, 0);
}

#[test]
fn a_launch_takes_what_is_free_now_not_what_a_plan_has_seen() {
    let house = ready_to_launch();
    large::llama(&house.models("dense.gguf"), "dense", 0);
    house.sync();
    let list = |free: u32| {
        write(house.home("devices"), format!("  CUDA0: A Card (24080 MiB, {free} MiB free)\n"));
    };
    let order = ["llama.cpp", "dense", "--gpu-layers", "all", "--detach"];
    list(20000);
    house.does(&[&["plan"], &order[..4]].concat());
    list(1500);
    let said = house.ctl(&[&["launch"], &order[..]].concat());
    assert!(said.code == 1 && said.err.contains("does not fit"), "{said:?}");
}

#[test]
fn a_port_that_was_asked_for_is_taken_or_refused_and_never_another() {
    let house = ready_to_launch();
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let launch = ["launch", "llama.cpp", "m", "--detach", "--port", &port];
    let said = house.ctl(&launch);
    assert!(said.code == 1 && said.err.contains(&format!("port {port} is taken by")), "{said:?}");
    drop(other);
    let said = house.does(&launch);
    assert!(said.contains(&format!("http://127.0.0.1:{port}\n")), "{said}");
    let said = house.ctl(&[&launch[..], &["--ctx", "512"]].concat());
    assert!(said.code == 1 && said.err.contains("is taken by the run r"), "{said:?}");
    house.does(&["stop", "--all"]);
}

#[test]
fn an_engine_that_is_missing_is_said_with_every_place_that_was_looked_at() {
    let mut house = ready_to_launch();
    house.set("PATH", format!("{}:{}", house.at("nowhere").display(), house.at("sys").display()));
    let said = house.ctl(&["launch", "llama.cpp", "m"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    for place in [house.at("nowhere"), house.at("sys"), house.at("bin"), "/usr/bin".into()] {
        assert!(said.err.contains(place.to_str().unwrap()), "{}: {said:?}", place.display());
    }
    assert!(said.err.contains("llama-server") || said.err.contains("llama.cpp"), "{said:?}");
    let other = house.ctl(&["launch", "nonsense", "m"]);
    assert!(other.code == 1 && other.err.contains("llama.cpp"), "{other:?}");
}

#[test]
fn what_the_engine_does_not_take_is_refused_with_what_does() {
    let house = ready_to_launch();
    write(house.models("st/model.safetensors"), safetensors(1));
    write(house.models("half.gguf"), &gguf("half")[..3000]);
    house.sync();
    let said = house.ctl(&["launch", "llama.cpp", "st"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(said.err.contains("safetensors") && said.err.contains("vLLM"), "{said:?}");
    let half = house.ctl(&["launch", "llama.cpp", "half"]);
    assert!(half.code == 1 && half.err.contains("incomplete") && half.err.contains("missing"), "{half:?}");
    assert!(!house.home("engine.json").exists());
}
