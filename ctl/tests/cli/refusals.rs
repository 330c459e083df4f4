//! Refusals: the reason, the hint, the exit code.

use crate::fake::{Fake, Step, run};
use serde_json::json;

#[track_caller]
fn check(error: &str, parameters: &serde_json::Value, code: u8, told: &str) {
    let fake = Fake::refusing(error, parameters);
    let said = fake.run(&["show", "lama"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (code, "", told));
}

#[test]
fn each_refusal_says_why_and_what_to_do() {
    check(
        "org.modelctl.Manager.NoSuchModel",
        &json!({"name": "lama", "similar": ["llama3", "llama3:70b"]}),
        1,
        "error: no model named `lama`\nhint: did you mean `llama3` or `llama3:70b`?\n",
    );
    check(
        "org.modelctl.Manager.NoSuchModel",
        &json!({"name": "lama", "similar": []}),
        1,
        "error: no model named `lama`\nhint: modelctl list shows what there is\n",
    );
    check(
        "org.modelctl.Manager.AmbiguousModel",
        &json!({"name": "lama", "candidates": ["a", "b\u{1b}[2J"]}),
        1,
        "error: `lama` names more than one model\n  a\n  b\\x1b[2J\nhint: name one of them, or its id\n",
    );
    check(
        "org.modelctl.Manager.EngineMissing",
        &json!({"engine": "llama.cpp", "program": "llama-server", "looked": ["/usr/bin"]}),
        1,
        "error: llama.cpp is not installed where your shell would find it; looked in\n  /usr/bin\n\
         hint: install llama.cpp (its llama-server) or put it on PATH, or name one that is elsewhere: modelctl engines add PATH\n",
    );
    check(
        "org.varlink.service.MethodNotFound",
        &json!({"method": "org.modelctl.Manager.Show"}),
        1,
        "error: this modeld does not know the method org.modelctl.Manager.Show\n\
         hint: restart modeld: it is older than this modelctl\n",
    );
    check(
        "org.modelctl.Manager.Unsupported",
        &json!({"why": "it is a LoRA", "hint": null}),
        1,
        "error: it is a LoRA\n",
    );
    check(
        "org.modelctl.Manager.Unsafe",
        &json!({"why": "m runs code when it is loaded", "hint": "take another"}),
        4,
        "error: m runs code when it is loaded\nhint: take another\n",
    );
    check(
        "org.modelctl.Manager.NoSuchRun",
        &json!({"name": "r4", "runs": ["r4a", "r4b"]}),
        1,
        "error: no run named `r4`\nhint: there are: r4a r4b\n",
    );
}

#[test]
fn candidates_are_told_apart_by_what_they_are() {
    let one = json!({"id": "lke5pikmcyfl", "name": "tiny", "app": "ollama", "format": "gguf", "quant": "F16",
        "size": 1_073_741_824, "path": "/m/a\u{1b}.gguf"});
    let two = json!({"id": "zzz5pikmcyfl", "name": "tiny-2", "app": "loose", "format": null, "quant": null,
        "size": 1024, "path": null});
    check(
        "org.modelctl.Manager.AmbiguousModel",
        &json!({"name": "tiny", "candidates": ["tiny", "tiny-2"], "models": [one, two]}),
        1,
        "error: `tiny` names more than one model\n  \
         lke5pikmcyfl  tiny    ollama, gguf, F16, 1.0 GiB  /m/a\\x1b.gguf\n  \
         zzz5pikmcyfl  tiny-2  loose, 1.0 KiB\n\
         hint: type the id that stands in front\n",
    );
}

#[test]
fn a_filter_or_a_sort_key_that_is_none_is_wrong_usage() {
    check(
        "org.modelctl.Manager.BadFilter",
        &json!({"filter": "x=1", "why": "there is no field `x`; there are name format"}),
        2,
        "error: cannot understand the filter `x=1`: there is no field `x`; there are name format\n\
         hint: modelctl list --help shows how filters are written\n",
    );
    check(
        "org.modelctl.Manager.BadSort",
        &json!({"sort": "bogus", "why": "cannot sort by `bogus`; there are name size"}),
        2,
        "error: cannot sort by `bogus`; there are name size\nhint: -KEY sorts the other way: --sort -size\n",
    );
}

#[test]
fn a_daemon_that_breaks_off_is_unreachable() {
    let said = Fake::new(vec![]).run(&["show", "x"]);
    assert_eq!(said.code, 3);
    assert!(said.err.starts_with("error: the daemon closed the connection\nhint: "), "{}", said.err);
}

#[test]
fn an_answer_that_is_no_json_is_a_failure() {
    let said = Fake::new(vec![Step::Send("no json".into())]).run(&["show", "x"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("restart modeld"), "{}", said.err);
}

#[test]
fn a_dangerous_file_exits_with_4() {
    let reply = json!({"path": "/m/a.bin", "size": 10, "format": "pickle", "state": "ok", "reason": null,
        "warnings": ["imports os.system"], "safety": "dangerous", "facts": null, "data_start": null});
    for args in [&["inspect", "/m/a.bin"][..], &["inspect", "/m/a.bin", "--json"]] {
        let fake = Fake::replying(&reply.to_string());
        let said = run(args, &fake.environment());
        assert_eq!(said.code, 4);
        assert!(said.err.starts_with(
            "error: /m/a.bin runs code when it is loaded\nhint: get the same model as safetensors"
        ));
        assert!(said.out.contains("os.system"));
    }
}
