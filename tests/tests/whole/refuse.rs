//! What is refused, how it is said, and the exit code.

use rustix::process::Signal;
use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    process::Command,
    time::{Duration, Instant},
};
use tests::{
    files::{gguf, write},
    house, skip,
};

#[test]
fn a_daemon_that_is_not_there_is_exit_3_with_a_hint() {
    let house = house!();
    for args in [&["list"][..], &[], &["list", "--json"], &["events"], &["launch", "llama.cpp", "x"]] {
        let said = house.ctl(args);
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{args:?}: {said:?}");
        assert!(said.err.contains("cannot reach modeld") && said.err.contains("hint:"), "{said:?}");
    }
}

#[test]
fn a_wrong_word_is_exit_2() {
    let mut house = house!();
    for args in [&["nonsense"][..], &["list", "--nonsense"], &["show"], &["tag"], &["roots", "nonsense"]] {
        let said = house.ctl(args);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{args:?}: {said:?}");
    }
    house.install();
    let daemon = Command::new(house.at("bin/modeld")).arg("--nonsense").output().unwrap();
    assert_eq!((daemon.status.code(), daemon.stdout.len()), (Some(2), 0));
    let version = Command::new(house.at("bin/modeld")).arg("--version").output().unwrap();
    assert!(version.status.success() && version.stdout.starts_with(b"modeld "));
}

#[test]
fn a_second_daemon_ends_within_a_second_and_names_the_first() {
    let mut house = house!().started();
    let begun = Instant::now();
    let said = house.start_refused();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains(&format!("pid {}", house.pid())), "{said:?}");
    // A debug build on a busy machine: the promise is 1 s.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(house.is_alive());
    house.sync();
}

#[test]
fn a_file_where_the_socket_should_be_is_left_alone() {
    let house = house!();
    write(house.socket(), "mine");
    let said = house.start_refused();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("is in the way") && said.err.contains(house.socket().to_str().unwrap()),
        "{said:?}"
    );
    assert_eq!(fs::read(house.socket()).unwrap(), b"mine");
    let ctl = house.ctl(&["list"]);
    assert_eq!(ctl.code, 3, "{ctl:?}");
}

#[test]
fn a_dead_socket_is_taken_over_and_a_living_one_is_not() {
    let mut house = house!();
    fs::create_dir_all(house.socket().parent().unwrap()).unwrap();
    let living = UnixListener::bind(house.socket()).unwrap();
    let said = house.start_refused();
    assert!(said.code == 1 && said.err.contains("another program answers"), "{said:?}");
    drop(living);
    house.start();
    house.sync();
    house.end(Signal::KILL);
    assert!(house.socket().exists(), "it was left behind");
    house.start();
    house.sync();
}

#[test]
fn without_a_home_it_says_what_to_set() {
    let mut house = house!();
    house.unset("HOME");
    let said = house.start_refused();
    assert!(said.code == 1 && said.err.contains("set HOME"), "{said:?}");
    house.unset("XDG_RUNTIME_DIR");
    let said = house.ctl(&["list"]);
    assert!(said.code == 3 && said.err.contains("HOME"), "{said:?}");
}

#[test]
fn without_a_runtime_directory_the_socket_is_in_the_state_directory() {
    let mut house = house!();
    house.unset("XDG_RUNTIME_DIR");
    write(house.models("m.gguf"), gguf("m"));
    house.start();
    assert!(house.state("run/org.modelctl.Manager").exists());
    assert_eq!(house.names(&[]), ["m"]);
    assert_eq!(fs::metadata(house.state("run")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn settings_that_cannot_be_understood_are_refused_with_the_place() {
    let house = house!();
    write(house.home(".config/modeld/config.toml"), "roots = [\"/x\"]\nnonsense = true\n");
    let said = house.start_refused();
    assert!(said.code == 1 && said.err.contains("config.toml") && said.err.contains("nonsense"), "{said:?}");
}

#[test]
fn another_user_is_turned_away_without_an_answer() {
    if !rustix::process::geteuid().is_root() {
        skip!("only root can be two users");
    }
    if Command::new("setpriv").arg("--version").output().is_err() {
        skip!("setpriv is not installed");
    }
    let mut house = house!();
    house.install();
    write(house.models("m.gguf"), gguf("m"));
    house.start();
    // The doors that would keep it out are opened: the peer's user alone must do.
    let open =
        |path: std::path::PathBuf| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    open(house.at(""));
    open(house.at("run"));
    open(house.at("run/modeld"));
    open(house.socket());
    house.wrap(&["/usr/bin/setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"]);
    let said = house.ctl_wrapped(&["list", "--json"]);
    assert_eq!((said.code, said.out.as_str()), (3, ""), "{said:?}");
    assert!(
        said.err.contains("closed the connection")
            || said.err.contains("reset")
            || said.err.contains("Broken pipe"),
        "{said:?}"
    );
    assert!(house.log().contains("another user was turned away"));
    assert_eq!(house.names(&[]), ["m"], "the owner is served");
}
