//! The client against a daemon that answers canned frames: what is asked, what is shown, how it exits.

#[cfg(test)]
mod fake;
#[cfg(test)]
mod launch;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod order;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod shown;
#[cfg(test)]
mod start;

use fake::{Fake, environment, frame, run};
use serde_json::json;
use std::{
    io::{self, BufRead as _, BufReader, Write},
    process::{Command, Stdio},
};

#[test]
fn json_is_the_reply_as_it_came() {
    let odd = r#"{ "models" :[ ],"\u0041new": 1.50,  "esc\u001b":"\u202e" }"#;
    for args in [
        &["list", "--json"][..],
        &["--json"],
        &["roots", "--json"],
        &["sync", "--json"],
        &["show", "x", "--json"],
    ] {
        let said = Fake::replying(odd).run(args);
        assert_eq!(
            (said.code, said.out.as_str(), said.err.as_str()),
            (0, &*format!("{odd}\n"), ""),
            "{args:?}"
        );
    }
}

#[test]
fn a_list_in_parts_is_one_document() {
    let parts = [
        r#"{"models":[]}"#,
        r#"{"models":[ {"n":1}, {"n":2} ]}"#,
        r#"{"models":[{"n":3}]}"#,
        r#"{"models":[]}"#,
    ];
    let steps = parts.iter().enumerate().map(|(n, part)| frame(part, n < 3)).collect();
    let said = Fake::new(steps).run(&["list", "--json"]);
    assert_eq!(said.out, "{\"models\":[{\"n\":1}, {\"n\":2},{\"n\":3}]}\n");
}

#[test]
fn a_stream_is_one_object_a_line() {
    let events = [r#"{"at":"2026-11-22T12:00:00Z","event":"Listening"}"#, r#"{"event":"Invented","x":1}"#];
    let fake = Fake::new(vec![frame(events[0], true), frame(events[1], false)]);
    let said = fake.run(&["events", "--json"]);
    assert_eq!(said.out, format!("{}\n{}\n", events[0], events[1]));
    assert_eq!(fake.call(), json!({"method": "org.modelctl.Manager.Events", "parameters": {}, "more": true}));
}

#[test]
fn what_is_typed_becomes_the_call() {
    let check = |args: &[&str], method: &str, parameters: serde_json::Value| {
        let fake = Fake::replying("{}");
        let mut json = vec!["--json"];
        json.extend(args);
        assert_eq!(fake.run(&json).code, 0, "{args:?}");
        let call = fake.call();
        assert_eq!(call["method"], format!("org.modelctl.Manager.{method}"), "{args:?}");
        assert_eq!(call["parameters"], parameters, "{args:?}");
    };
    check(&["show", "./a/../b.gguf"], "Show", json!({"model": "/home/you/here/b.gguf"}));
    check(&["roots", "suggest"], "SuggestRoots", json!({}));
    check(&["roots", "add", "."], "AddRoot", json!({"path": "/home/you/here"}));
    check(&["roots", "remove", "/mnt//big/"], "RemoveRoot", json!({"path": "/mnt/big"}));
    check(
        &["tag", "m", "+a", "b", "--remove", "c", "d"],
        "Tag",
        json!({"model": "m", "add": ["a", "b"], "remove": ["c", "d"]}),
    );
    check(&["tag", "m"], "Show", json!({"model": "m"}));
    check(&["note", "m", "two", "words"], "Note", json!({"model": "m", "note": "two words"}));
    check(&["note", "m", "--clear"], "Note", json!({"model": "m", "note": null}));
    check(&["note", "m"], "Show", json!({"model": "m"}));
    check(&["pin", "m", "--off"], "Pin", json!({"model": "m", "pinned": false}));
    check(&["alias", "m", "x", "--remove"], "Alias", json!({"model": "m", "add": [], "remove": ["x"]}));
    check(
        &["list", "size>4G", "--sort", "-size"],
        "List",
        json!({"environment": {}, "filters": ["size>4G"], "sort": "-size"}),
    );
}

#[test]
fn every_help_has_examples() {
    let nowhere = environment(&[]);
    let top = run(&["--help"], &nowhere);
    assert!(top.code == 0 && top.err.is_empty() && top.out.contains("EXAMPLES:"));
    let commands = top.out.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() >= 15, "{names:?}");
    // clap's own has nothing to give examples of.
    let ours = names.iter().filter(|name| **name != "help");
    let below = ["add", "remove", "suggest"].map(|verb| vec!["roots", verb]);
    for words in ours.map(|name| vec![*name]).chain(below) {
        for flag in ["--help", "-h"] {
            let mut args = words.clone();
            args.push(flag);
            let said = run(&args, &nowhere);
            assert!(said.code == 0 && said.out.contains("EXAMPLES:"), "{args:?}");
            assert!(said.out.contains("--json"), "{args:?}");
        }
    }
}

#[test]
fn help_is_a_command_too() {
    let nowhere = environment(&[]);
    for (asked, flag) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "plan"], &["plan", "--help"]),
        (&["help", "roots", "add"], &["roots", "add", "--help"]),
    ] {
        let said = run(asked, &nowhere);
        assert_eq!((said.code, said.out), (0, run(flag, &nowhere).out), "{asked:?}");
    }
    assert_eq!(run(&["help", "nonsense"], &nowhere).code, 2);
}

#[test]
fn usage_errors_exit_with_2() {
    for args in
        [&["nonsense"][..], &["show"], &["tag"], &["note", "m", "text", "--clear"], &["plan", "llama.cpp"]]
    {
        let said = run(args, &environment(&[]));
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{args:?}");
        assert!(said.err.contains("error:"), "{}", said.err);
    }
}

#[test]
fn scripts_for_shells_and_manuals_need_no_daemon() {
    for shell in ["bash", "zsh", "fish"] {
        let said = run(&["completions", shell], &environment(&[]));
        assert!(said.code == 0 && said.out.contains("modelctl") && said.out.contains("launch"), "{shell}");
    }
    assert!(run(&["man"], &environment(&[])).out.contains(".TH modelctl"));
    assert!(run(&["man", "launch"], &environment(&[])).out.contains("max\\-ctx"));
    assert_eq!(run(&["man", "nonsense"], &environment(&[])).code, 1);
}

/// What `| head` leaves behind.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let models = json!({"models": [fake::model("a"), fake::model("b")]}).to_string();
    for args in
        [&["modelctl", "list"][..], &["modelctl", "list", "--json"], &["modelctl", "completions", "bash"]]
    {
        let fake = Fake::replying(&models);
        let mut err = Vec::new();
        let code = ctl::run(args.iter().map(Into::into), &fake.environment(), &mut Closed, &mut err);
        assert_eq!((code, err.as_slice()), (0, &b""[..]), "{args:?}");
    }
}

#[test]
fn a_reader_that_leaves_ends_a_stream_in_which_nothing_happens() {
    let machine = r#"{"gpus":[],"ram":{"total":1,"available":1},"cpu":{"cores":1},"holders":{},"engines":[],"notes":[]}"#;
    for (args, first) in [
        (&["events"][..], r#"{"at":"2026-11-22T12:00:00Z","event":"Listening"}"#),
        (&["logs", "-f", "r1"], r#"{"lines":["build: fake"]}"#),
        (&["hardware", "--watch"], machine),
    ] {
        // The daemon says one thing, and nothing more.
        let fake = Fake::new(vec![frame(first, true), fake::Step::UntilHangUp]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelctl"));
        command.args(args).env_clear().env("XDG_RUNTIME_DIR", fake.directory.path());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
