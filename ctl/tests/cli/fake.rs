//! A daemon that says what it was told to say, and a caller's world around it.

use ctl::Environment;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};
use tempfile::TempDir;

pub(crate) enum Step {
    /// Sends one frame; its text is the JSON.
    Send(String),
    /// Waits for the next call on the same connection.
    Call,
    Pause(Duration),
    /// Waits until the client closes or half-closes.
    UntilHangUp,
}

pub(crate) struct Fake {
    pub(crate) directory: TempDir,
    calls: Receiver<Value>,
}

pub(crate) struct Said {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Fake {
    /// Answers one connection with these steps.
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        let directory = TempDir::new().unwrap();
        let (sender, calls) = channel();
        std::fs::create_dir(directory.path().join("modeld")).unwrap();
        let listener = UnixListener::bind(directory.path().join("modeld").join(api::INTERFACE)).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            sender.send(call(&stream)).unwrap();
            for step in steps {
                match step {
                    // A client that has gone away is what some tests are about.
                    Step::Send(text) => drop(stream.write_all(&[text.as_bytes(), b"\0"].concat())),
                    Step::Call => sender.send(call(&stream)).unwrap(),
                    Step::Pause(time) => thread::sleep(time),
                    Step::UntilHangUp => drop(stream.read_to_end(&mut Vec::new())),
                }
            }
        });
        Self { directory, calls }
    }

    /// Answers with these parameters.
    pub(crate) fn replying(parameters: &str) -> Self {
        Self::new(vec![frame(parameters, false)])
    }

    pub(crate) fn refusing(name: &str, parameters: &Value) -> Self {
        let frame = json!({ "error": name, "parameters": parameters });
        Self::new(vec![Step::Send(frame.to_string())])
    }

    pub(crate) fn environment(&self) -> Environment {
        environment(&[
            ("XDG_RUNTIME_DIR", self.directory.path().to_str().unwrap()),
            ("MODELCTL_AUTOSTART", "0"),
        ])
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        run(args, &self.environment())
    }

    /// The call that was received.
    pub(crate) fn call(&self) -> Value {
        self.calls.recv().unwrap()
    }
}

pub(crate) fn frame(parameters: &str, continues: bool) -> Step {
    let more = if continues { r#","continues":true"# } else { "" };
    Step::Send(format!(r#"{{"parameters":{parameters}{more}}}"#))
}

fn call(stream: &UnixStream) -> Value {
    let mut bytes = Vec::new();
    BufReader::new(stream).read_until(0, &mut bytes).unwrap();
    bytes.pop();
    serde_json::from_slice(&bytes).unwrap()
}

pub(crate) fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment {
        variables: variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect::<BTreeMap<_, _>>(),
        directory: PathBuf::from("/home/you/here"),
        program: None,
        stdout_is_terminal: false,
        stdout_is_pipe: false,
        stderr_is_terminal: false,
        width: None,
        now: "2026-11-22T12:00:00Z".parse().unwrap(),
    }
}

pub(crate) fn run(args: &[&str], environment: &Environment) -> Said {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once("modelctl").chain(args.iter().copied()).map(OsString::from);
    let code = ctl::run(args, environment, &mut out, &mut err);
    Said { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// A model as the daemon sends it.
pub(crate) fn model(name: &str) -> Value {
    let mut model: Value = serde_json::from_str(MODEL).unwrap();
    model["name"] = name.into();
    model
}

const MODEL: &str = r#"{
    "id": "m1", "name": "m", "format": "gguf", "kind": "llm", "architecture": "qwen3", "quant": "Q4_K_M",
    "bits_per_weight": 4.89, "parameters": 8190735360, "active_parameters": 8190735360, "context_length": 40960,
    "size": 5027783488, "disk_size": 5027783488, "state": "ok", "reason": null, "warnings": [], "safety": null,
    "sha256": null, "verification": "unverified", "license": "apache-2.0", "base_models": [],
    "capabilities": ["chat"], "duplicate_group": null, "tags": [], "note": null, "pinned": false,
    "last_used": null, "aliases": [], "first_seen": "2026-11-22T11:57:00Z",
    "locations": [{
        "app": "huggingface", "id": "Qwen/Qwen3-8B-GGUF", "name": null, "revision": "abcd", "refs": ["main"],
        "license": null, "owner": "me:me", "online": true, "is_partial": false, "partial_reason": null,
        "source": {"kind": "huggingface", "repo": "Qwen/Qwen3-8B-GGUF", "url": null, "confidence": "recorded",
                   "evidence": ["the cache folder's name"]},
        "files": [{"path": "/m/a.gguf", "role": "weights", "size": 5027783488, "sha256": null, "link": "symlink"}]
    }]
}"#;
