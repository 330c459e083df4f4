//! What the compiler does not hold: layers, lengths, leftovers.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Rust files below a directory of the repository, with their path from it and their text.
#[track_caller]
fn sources(dir: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())).flatten()
        {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && !["target", ".git", ".cache", "corpus"].iter().any(|skipped| name == *skipped)
            {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((relative, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {dir}");
    found
}

fn everything() -> Vec<(String, String)> {
    ["crates", "daemon", "ctl", "tests"].into_iter().flat_map(sources).collect()
}

/// What comes before the unit tests at the end of a file; nothing of a file that is all tests.
fn without_tests<'a>(path: &str, text: &'a str) -> &'a str {
    if path.ends_with("/tests.rs") {
        return "";
    }
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// `path:line: text` of each line of a source that is wrong.
#[track_caller]
fn none(rule: &str, sources: &[(String, String)], is_wrong: impl Fn(&str, &str) -> bool) {
    let wrong: Vec<String> = sources
        .iter()
        .flat_map(|(path, text)| text.lines().zip(1..).map(move |(line, number)| (path, line, number)))
        .filter(|(path, line, _)| is_wrong(path, line))
        .map(|(path, line, number)| format!("{path}:{number}: {}", line.trim()))
        .collect();
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

/// What a package may depend on, to be changed here on purpose only: an arrow between layers is rare, a library pays rent.
const ALLOWED: &[(&str, &str)] = &[
    ("crates/formats", "miniz_oxide serde serde_json thiserror"),
    ("crates/domain", "formats base64 jiff saphyr-parser serde serde_json strsim thiserror"),
    ("crates/api", "domain jiff serde serde_json thiserror"),
    (
        "daemon",
        "api domain formats anyhow blake3 fiemap jiff listenfd nvml-wrapper rusqlite rustix sd-notify serde serde_json sha2 thiserror \
         thread-priority tokio toml tracing tracing-subscriber",
    ),
    (
        "ctl",
        "api domain anyhow clap clap_complete clap_mangen jiff rustix serde serde_json signal-hook terminal_size unicode-width",
    ),
];

#[test]
fn packages_depend_on_what_is_listed_here_and_nothing_else() {
    for (package, allowed) in ALLOWED {
        let text = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&text).unwrap();
        let mut names: Vec<&str> =
            manifest["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
        let mut allowed: Vec<&str> = allowed.split_whitespace().collect();
        names.sort_unstable();
        allowed.sort_unstable();
        assert_eq!(names, allowed, "{package}");
        assert!(!manifest.contains_key("build-dependencies"), "{package}");
    }
}

#[test]
fn no_file_is_longer_than_400_lines() {
    let long: Vec<_> = everything()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > 400)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn nothing_is_left_undone() {
    // Written in two pieces, so that this file does not find itself.
    let leftovers = [["to", "do!("].concat(), ["unimple", "mented!("].concat(), ["db", "g!("].concat()];
    none("leftovers", &everything(), |_, line| leftovers.iter().any(|leftover| line.contains(leftover)));
    none("ignored tests", &everything(), |_, line| line.trim_start().starts_with(&["#[ig", "nore"].concat()));
    assert!(!root().join("rust-toolchain.toml").exists() && !root().join("rust-toolchain").exists());
}

#[test]
fn sql_is_in_the_index_only() {
    const WORDS: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE"];
    let sources: Vec<_> = ["crates", "daemon/src", "ctl"].into_iter().flat_map(sources).collect();
    none("SQL outside daemon/src/index", &sources, |path, line| {
        !path.starts_with("daemon/src/index") && WORDS.iter().any(|word| line.contains(&format!("\"{word} ")))
    });
}

#[test]
fn state_has_one_owner_and_no_lock() {
    /// Files of the daemon that may have one, with the reason.
    const LOCKS: &[(&str, &str)] = &[];
    none("a Mutex in the daemon", &sources("daemon/src"), |path, line| {
        ["Mutex", "RwLock"].iter().any(|lock| line.contains(lock))
            && !LOCKS.iter().any(|(allowed, _)| *allowed == path)
    });
}

#[test]
fn the_core_waits_for_nothing() {
    let core: Vec<_> =
        sources("daemon/src").into_iter().filter(|(path, _)| path.starts_with("daemon/src/core")).collect();
    assert!(core.len() > 1);
    none(".await in the core", &core, |_, line| line.contains(".await") || line.contains("async fn"));
    let pure: Vec<_> =
        core.iter().map(|(path, text)| (path.clone(), without_tests(path, text).to_owned())).collect();
    none("the world in the core", &pure, |_, line| {
        ["std::fs", "std::env", "Timestamp::now", "Instant::now"].iter().any(|door| line.contains(door))
    });
}

#[test]
fn formats_and_domain_do_not_touch_the_world() {
    const DOORS: &[&str] = &[
        "std::fs",
        "std::env",
        "std::process",
        "std::net",
        "std::thread",
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
    ];
    let pure: Vec<_> = ["crates/formats/src", "crates/domain/src"]
        .into_iter()
        .flat_map(sources)
        .map(|(path, text)| (path.clone(), without_tests(&path, &text).to_owned()))
        .collect();
    none("the world in formats or domain", &pure, |_, line| DOORS.iter().any(|door| line.contains(door)));
    none("println in a library", &pure, |_, line| line.contains("println!("));
}

#[test]
fn the_client_knows_no_database_and_no_runtime() {
    none("ctl", &sources("ctl/src"), |_, line| {
        ["rusqlite", "tokio", "zbus"].iter().any(|name| line.contains(name))
    });
}

#[test]
fn the_product_does_not_know_where_it_was_built() {
    let product: Vec<_> =
        ["crates/formats/src", "crates/domain/src", "crates/api/src", "daemon/src", "ctl/src"]
            .into_iter()
            .flat_map(sources)
            .collect();
    let places = [
        ["/wo", "rk/"].concat(),
        ["../sha", "red/"].concat(),
        ["sha", "red/corpus"].concat(),
        ["sha", "red/design"].concat(),
    ];
    none("a place of the workshop", &product, |_, line| places.iter().any(|place| line.contains(place)));
}

#[test]
fn every_module_says_what_it_is() {
    let sources: Vec<_> = ["crates", "daemon/src", "ctl/src"].into_iter().flat_map(sources).collect();
    let silent: Vec<_> = sources
        .iter()
        .filter(|(path, text)| !path.ends_with("tests.rs") && !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}
