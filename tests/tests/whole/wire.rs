//! The protocol: what is no call harms only who sent it, and what Varlink promises is kept.

use serde_json::{Value, json};
use std::{fs, path::Path};
use tests::{
    House, Wire,
    files::{gguf, write},
    house,
};

fn with_a_model() -> House {
    let mut house = house!();
    write(house.models("m.gguf"), gguf("m"));
    house.start();
    house.sync();
    house
}

#[track_caller]
fn is_served(house: &House) {
    let reply = house.wire().call("List", json!({}));
    assert_eq!(reply["parameters"]["models"][0]["name"], "m", "{reply}");
}

#[test]
fn half_oversized_and_garbled_calls_harm_only_who_sent_them() {
    let mut house = with_a_model();
    let mut half = house.wire();
    half.send_raw(br#"{"method":"org.modelctl.Manager.List","#).unwrap();
    is_served(&house);
    assert_eq!(half.finish(), b"", "half a call has no answer");

    let mut oversized = house.wire();
    let mut sent = 0_u64;
    // It hangs up long before; a write fails then.
    while oversized.send_raw(&[b' '; 65536]).is_ok() && sent < 64 << 20 {
        sent += 65536;
    }
    assert!(sent < 64 << 20, "64 MiB of a single call were taken");
    is_served(&house);

    let deep = [b"{\"method\":\"x\",\"parameters\":".to_vec(), vec![b'['; 200_000], vec![0]].concat();
    for garbage in [
        &b"garbage\0"[..],
        b"\0",
        b"\0\0\0\0",
        b"[]\0",
        b"{}\0",
        b"{\"method\":5}\0",
        b"\xff\xfe\xfd\0",
        &deep,
    ] {
        let mut wire = house.wire();
        drop(wire.send_raw(garbage));
        let text = String::from_utf8(wire.finish()).unwrap();
        assert!(text.is_empty() || text.contains("\"error\""), "{text}");
        is_served(&house);
    }
    assert!(house.is_alive());
}

#[test]
fn two_hundred_idle_connections_and_as_many_slow_ones_keep_nobody_waiting() {
    let house = with_a_model();
    let _idle: Vec<Wire> = (0..200).map(|_| house.wire()).collect();
    let _slow: Vec<Wire> = (0..200)
        .map(|_| {
            let mut wire = house.wire();
            wire.send_raw(b"{\"method\":").unwrap();
            wire
        })
        .collect();
    let begun = std::time::Instant::now();
    is_served(&house);
    assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
}

#[test]
fn streams_that_were_hung_up_cost_nothing() {
    let mut house = with_a_model();
    // More than may be open at once.
    for n in 0..1100 {
        let mut wire = house.wire();
        wire.send(&json!({ "method": "org.modelctl.Manager.Events", "parameters": {}, "more": true }));
        let listening = wire.receive();
        assert!(listening.is_some(), "stream {n} was not answered");
    }
    is_served(&house);
    let open = fs::read_dir(format!("/proc/{}/fd", house.pid())).unwrap().count();
    assert!(open < 200, "{open} descriptors are open");
    assert!(house.end(rustix::process::Signal::TERM).success());
}

#[test]
fn what_is_not_known_is_answered_with_varlinks_own_errors() {
    let house = with_a_model();
    let mut wire = house.wire();
    let mut refusal = |method: &str, parameters: Value| {
        let reply = wire.call(method, parameters);
        (reply["error"].as_str().unwrap_or_default().to_owned(), reply["parameters"].clone())
    };
    let service = |name: &str| format!("org.varlink.service.{name}");
    for (method, parameters, error, told) in [
        ("Nonsense", json!({}), "MethodNotFound", json!({ "method": "org.modelctl.Manager.Nonsense" })),
        (
            "org.varlink.service.Nonsense",
            json!({}),
            "MethodNotFound",
            json!({ "method": "org.varlink.service.Nonsense" }),
        ),
        ("org.example.Nothing", json!({}), "InterfaceNotFound", json!({ "interface": "org.example" })),
        ("Show", json!({}), "InvalidParameter", json!({ "parameter": "model" })),
        ("Show", json!({ "model": 5 }), "InvalidParameter", json!({ "parameter": "model" })),
        ("List", json!({ "filters": "gguf" }), "InvalidParameter", json!({ "parameter": "filters" })),
        ("Inspect", json!({ "path": "relative" }), "InvalidParameter", json!({ "parameter": "path" })),
        ("Events", json!({}), "ExpectedMore", json!({})),
        ("Launch", json!({ "engine": "llama.cpp", "model": "m" }), "ExpectedMore", json!({})),
        (
            "org.varlink.service.GetInterfaceDescription",
            json!({ "interface": "no.such" }),
            "InterfaceNotFound",
            json!({ "interface": "no.such" }),
        ),
    ] {
        assert_eq!(refusal(method, parameters.clone()), (service(error), told), "{method} {parameters}");
    }
    let (error, told) = refusal("Show", json!({ "model": "zzzzz" }));
    assert_eq!(
        (error.as_str(), &told),
        ("org.modelctl.Manager.NoSuchModel", &json!({ "name": "zzzzz", "similar": [] }))
    );
    let (error, _) = refusal("List", json!({ "filters": ["nonsense=1"] }));
    assert_eq!(error, "org.modelctl.Manager.BadFilter");
}

#[test]
fn introspection_returns_the_file_of_the_interface() {
    let house = with_a_model();
    let mut wire = house.wire();
    let info = wire.call("org.varlink.service.GetInfo", json!({}));
    let interfaces = &info["parameters"]["interfaces"];
    assert_eq!(interfaces, &json!(["org.varlink.service", "org.modelctl.Manager"]), "{info}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/api/src/org.modelctl.Manager.varlink");
    let reply = wire
        .call("org.varlink.service.GetInterfaceDescription", json!({ "interface": "org.modelctl.Manager" }));
    assert_eq!(reply["parameters"]["description"], fs::read_to_string(file).unwrap());
}

#[test]
fn calls_in_one_piece_are_answered_in_order_and_oneway_ones_not_at_all() {
    let house = with_a_model();
    let mut wire = house.wire();
    let call = |method: &str, parameters: Value, oneway: bool| {
        let mut text = json!({ "method": format!("org.modelctl.Manager.{method}"), "parameters": parameters, "oneway": oneway }).to_string();
        text.push('\0');
        text
    };
    let calls = [
        call("Tag", json!({ "model": "m", "add": ["quiet"] }), true),
        call("Show", json!({ "model": "zzz" }), true),
        call("Show", json!({ "model": "m" }), false),
        call("Sync", json!({}), false),
    ];
    wire.send_raw(calls.concat().as_bytes()).unwrap();
    assert_eq!(wire.receive().unwrap()["parameters"]["tags"], json!(["quiet"]));
    assert_eq!(wire.receive().unwrap()["parameters"]["models"], 1);
}
