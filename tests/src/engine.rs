//! A house with a fake llama-server on the caller's PATH.

use crate::{
    House,
    files::{gguf, write},
    house::Stream,
    wait::poll,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, os::unix::ffi::OsStringExt as _, path::Path, process::Command};

/// What the fake engine noted when it was called.
#[derive(Debug)]
pub struct Called {
    pub argv: Vec<Vec<u8>>,
    pub env: Value,
    pub pids: Vec<u32>,
}

impl House {
    /// A daemon that knows the model `m`, and the fake engine.
    #[must_use]
    pub fn ready_to_launch(mut self) -> Self {
        write(self.models("m.gguf"), gguf("m"));
        self.start();
        self.sync();
        self.install_engine();
        self
    }

    /// Puts the fake engine into `tools`, and `tools` on the PATH of `modelctl` only: the daemon runs already.
    #[track_caller]
    pub fn install_engine(&mut self) {
        self.install_tool("llama-server");
        self.set("PATH", format!("{}:/usr/bin:/bin", self.at("tools").display()));
    }

    /// Puts another program that stands in for one of llama.cpp's into `tools`.
    #[track_caller]
    pub fn install_tool(&self, name: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
        let script = fs::read_to_string(script).unwrap();
        // The house's PATH may not have the python that this machine's has.
        let python =
            Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        let python = String::from_utf8(python.stdout).unwrap();
        let script = script.replacen("/usr/bin/env python3", python.trim(), 1);
        let path = self.at("tools").join(name);
        write(&path, script);
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Says how the fake engine behaves from now on.
    pub fn engine_mode(&self, mode: &str) {
        crate::files::write(self.home("mode"), mode);
    }

    /// Waits until the fake engine was called, and forgets the call.
    #[track_caller]
    pub fn engine_call(&self) -> Called {
        let path = self.home("engine.json");
        let text = poll(15, || fs::read_to_string(&path).ok()).expect("the engine was not called");
        fs::remove_file(&path).unwrap();
        let note: Value = serde_json::from_str(&text).unwrap();
        let hex = |text: &str| {
            (0..text.len() / 2)
                .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
                .collect::<Vec<u8>>()
        };
        Called {
            argv: note["argv"].as_array().unwrap().iter().map(|word| hex(word.as_str().unwrap())).collect(),
            env: note["env"].clone(),
            pids: note["pids"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pid| u32::try_from(pid.as_u64().unwrap()).unwrap())
                .collect(),
        }
    }

    /// Launches, and leaves it when it is ready; returns the run.
    #[track_caller]
    pub fn launch_detached(&self, args: &[&str]) -> Value {
        let said = self.ctl(&[&["launch", "llama.cpp", "--detach", "--json"], args].concat());
        assert_eq!(said.code, 0, "{said:?}\n{}", self.log());
        let last: Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
        assert_eq!(last["update"], "ready", "{said:?}");
        last["run"].clone()
    }

    /// What `ps` tells of a run.
    #[track_caller]
    pub fn run(&self, word: &Value) -> Value {
        let runs = self.json(&["ps"]);
        let found = runs["runs"].as_array().unwrap().iter().find(|run| run["run"] == *word).cloned();
        found.unwrap_or_else(|| panic!("{word} is not there: {runs}"))
    }

    /// How often the fake engine was started.
    pub fn engine_starts(&self) -> usize {
        fs::read_to_string(self.home("starts")).map_or(0, |text| text.lines().count())
    }

    /// Launches and waits until it is ready; returns the URL.
    #[track_caller]
    pub fn launch(&self, args: &[&str]) -> (Stream, String) {
        let stream = self.stream(&[&["launch", "llama.cpp"], args].concat());
        let url =
            stream.find("ready", 120, |line| line.strip_prefix("ready").map(|url| url.trim().to_owned()));
        (stream, url)
    }
}

impl Called {
    /// What stands behind a flag.
    pub fn value(&self, flag: &str) -> Option<&[u8]> {
        let at = self.argv.iter().position(|word| word == flag.as_bytes())?;
        self.argv.get(at + 1).map(Vec::as_slice)
    }

    /// Whether neither the engine nor its child is running any more.
    pub fn is_gone(&self) -> bool {
        self.pids.iter().all(|pid| !is_running(*pid))
    }

    pub fn kill(&self) {
        self.pids.iter().for_each(|pid| crate::house::send(*pid, Signal::KILL));
    }
}

/// A process that ended and was not yet fetched by its parent does not count.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// The bytes of a path as an argument has them.
pub fn bytes(path: impl AsRef<Path>) -> Vec<u8> {
    path.as_ref().to_path_buf().into_os_string().into_vec()
}
