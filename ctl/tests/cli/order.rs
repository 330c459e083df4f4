//! What `plan` and `launch` read and refuse before the daemon is asked.

use crate::fake::{Fake, environment, run};
use serde_json::json;
use std::{
    ffi::OsString,
    io::Write as _,
    os::unix::ffi::OsStringExt as _,
    process::{Command, Stdio},
};

#[test]
fn a_machine_is_read_from_stdin_and_no_further_than_it_can_be_one() {
    let said = run(&["plan", "llama.cpp", "m", "--hardware", "/dev/zero"], &environment(&[]));
    assert_eq!(said.code, 1);
    assert!(said.err.contains("/dev/zero has more than 1048576 bytes"), "{}", said.err);
    for (machine, code, why) in [
        ("nonsense", 1, "stdin is not what"),
        (r#"{"gpus":[],"ram":{"total":1,"available":1},"cpu":{"cores":1}}"#, 3, "XDG_RUNTIME_DIR"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelctl"));
        command.args(["plan", "llama.cpp", "m", "--hardware", "-"]).env_clear();
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(machine.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && err.contains(why), "{err}");
    }
}

#[test]
fn a_folder_that_cannot_be_sent_takes_no_other_with_it() {
    let fake = Fake::replying(r#"{"engines":[]}"#);
    let mut environment = fake.environment();
    let odd = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    environment.variables.insert("PATH".into(), odd(b"/usr/bin:/caf\xe9/bin:/home/you/bin"));
    environment.variables.insert("HF_HOME".into(), odd(b"/caf\xe9"));
    run(&["engines"], &environment);
    assert_eq!(fake.call()["parameters"]["environment"], json!({"PATH": "/usr/bin:/home/you/bin"}));
}

#[test]
fn a_number_that_is_none_is_refused_with_what_it_can_be() {
    for (flag, value, why) in [
        ("--ctx", "-1", "it is a whole number of tokens"),
        ("--ctx", "8kk", "it is a whole number of tokens"),
        ("--ctx", "99999999999999999k", "it is a whole number of tokens"),
        ("--margin", "-5", "it is a whole number, 0 or more"),
        ("--n-cpu-moe", "-1", "it is a whole number, 0 or more"),
        ("--tensor-split", "nan", "a part is a number, 0 or more"),
        ("--tensor-split", "1,inf", "a part is a number, 0 or more"),
        ("--tensor-split", "-1,2", "a part is a number, 0 or more"),
    ] {
        let said = run(&["plan", "llama.cpp", "m", flag, value], &environment(&[]));
        assert!(said.code == 2 && said.err.contains(why), "{flag} {value}: {}", said.err);
    }
}

#[test]
fn a_wrong_value_of_a_knob_is_a_usage_error_whatever_the_model() {
    for (args, why) in [
        (&["--ctx", "0"][..], "--ctx goes from 1"),
        (&["--batch", "0"], "--batch goes from 1"),
        (&["--users", "0"], "--users goes from 1"),
        (&["--parallel", "5000"], "--parallel goes from 1 to 4096"),
        (&["--gpu-layers", "-1"], "hint: all counts the output layer too"),
        (&["--flash-attn", "maybe"], "not `maybe`"),
        (&["--cache-type-k", "q9"], "hint: there are: f32"),
        (&["--tensor-split", "0,0"], "no device a part"),
        (&["--max-ctx", "--ctx", "4096"], "hint: give one of the two"),
        (&["--device", "none", "--gpu-layers", "5"], "--device none forbids"),
        (&["--ubatch", "4096", "--batch", "512"], "hint: make --batch at least as large"),
        (&["--margin", "99999999999"], "hint: --margin is in MiB"),
    ] {
        for command in ["plan", "launch"] {
            let said = run(&[&[command, "llama.cpp", "m"], args].concat(), &environment(&[]));
            assert!(said.code == 2 && said.err.contains(why), "{args:?}: {} {}", said.code, said.err);
        }
    }
}

#[test]
fn a_context_can_be_said_in_thousands() {
    for (typed, sent) in [("8k", 8192), ("32K", 32768), ("4096", 4096)] {
        let fake = Fake::replying("{}");
        fake.run(&["plan", "llama.cpp", "m", "--json", "--ctx", typed, "--gpu-layers", "all"]);
        let call = fake.call();
        let sent = (&json!(sent), &json!("all"));
        assert_eq!((&call["parameters"]["ctx"], &call["parameters"]["gpu_layers"]), sent, "{typed}");
    }
}
