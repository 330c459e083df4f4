//! Finding the daemon, and starting it where none answers.

use crate::fake::{environment, run};
use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
    thread,
};
use tempfile::TempDir;

fn modeld(directory: &Path, script: &str) {
    let program = directory.join("modeld");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn without_autostart_an_absent_daemon_is_unreachable() {
    let home = TempDir::new().unwrap();
    let path = home.path().to_str().unwrap();
    let said = run(&["list"], &environment(&[("HOME", path), ("MODELCTL_AUTOSTART", "0")]));
    assert_eq!((said.code, said.out.as_str()), (3, ""));
    let socket =
        format!("error: cannot reach modeld at {path}/.local/state/modeld/run/org.modelctl.Manager: ");
    assert!(
        said.err.starts_with(&socket) && said.err.contains("\nhint: start it with: modeld"),
        "{}",
        said.err
    );
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is made where nothing is started");
}

#[test]
fn without_any_home_nothing_is_guessed() {
    let said = run(&["list"], &environment(&[("XDG_RUNTIME_DIR", "relative"), ("XDG_STATE_HOME", "")]));
    assert_eq!(said.code, 3);
    assert!(said.err.contains("XDG_RUNTIME_DIR, XDG_STATE_HOME and HOME are unset"), "{}", said.err);
}

#[test]
fn a_daemon_that_is_not_installed_is_told() {
    let home = TempDir::new().unwrap();
    let said = run(&["list"], &environment(&[("HOME", home.path().to_str().unwrap()), ("PATH", "/nowhere")]));
    assert_eq!(said.code, 3);
    assert!(said.err.contains("there is no program `modeld`"), "{}", said.err);
}

#[test]
fn the_last_words_of_a_daemon_that_dies_are_shown() {
    let home = TempDir::new().unwrap();
    modeld(home.path(), "echo 'index.db is newer than this modeld' >&2; exit 1");
    let path = home.path().to_str().unwrap();
    let said = run(&["list"], &environment(&[("HOME", path), ("PATH", path)]));
    assert_eq!(said.code, 3);
    let log = home.path().join(".local/state/modeld/modeld.log");
    let told = format!(
        "error: modeld did not start: exit status: 1\n  index.db is newer than this modeld\nhint: its log is {}\n",
        log.display()
    );
    assert_eq!(said.err, told);
    assert_eq!((mode(&log), mode(log.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_daemon_beside_the_client_is_started_and_waited_for() {
    let home = TempDir::new().unwrap();
    let path = home.path().to_str().unwrap();
    let listener = UnixListener::bind(home.path().join("waiting")).unwrap();
    modeld(
        home.path(),
        &format!(
            "/bin/sleep 0.1; /bin/mkdir {path}/modeld.d && /bin/mv {path}/waiting {path}/r/modeld/org.modelctl.Manager"
        ),
    );
    fs::create_dir_all(home.path().join("r/modeld")).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"{\"parameters\":{\"models\":7}}\0").unwrap();
        // Held until the client is done with it.
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });
    let mut caller = environment(&[("XDG_RUNTIME_DIR", &format!("{path}/r")), ("HOME", path)]);
    caller.program = Some(home.path().join("modelctl"));
    let said = run(&["sync"], &caller);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "7 models\n", ""));
    server.join().unwrap();
}
