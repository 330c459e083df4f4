//! Starting by itself, and stopping.

use rustix::process::Signal;
use std::{fs, thread};
use tests::{
    House,
    files::{gguf, write},
    house,
};

fn autostarting() -> House {
    let mut house = house!();
    house.unset("MODELCTL_AUTOSTART");
    house.install();
    house
}

fn pid(house: &House) -> u32 {
    fs::read_to_string(house.state("modeld.lock")).unwrap().trim().parse().unwrap()
}

#[test]
fn the_first_command_in_an_empty_home_starts_the_daemon_and_answers() {
    let house = autostarting();
    fs::remove_dir(house.models("")).unwrap();
    assert_eq!(fs::read_dir(house.home("")).unwrap().count(), 0, "an empty home");
    assert_eq!(house.json(&["list"]), serde_json::json!({ "models": [] }));
    let home = house.does(&[]);
    assert!(home.contains("folders where apps keep models is there"), "{home}");
    assert!(home.lines().all(|line| line.len() < 120), "{home}");
    let first = pid(&house);
    write(house.models("m.gguf"), gguf("m"));
    house.sync();
    assert_eq!(house.names(&[]), ["m"]);
    assert_eq!(pid(&house), first, "one daemon for all");
    tests::house::send(first, Signal::KILL);
    tests::wait_until("it is gone", 10, || std::os::unix::net::UnixStream::connect(house.socket()).is_err());
    assert_eq!(house.names(&[]), ["m"], "and another one is started");
}

#[test]
fn the_first_list_of_a_full_home_is_complete() {
    let house = autostarting();
    for n in 0..200 {
        write(house.models(format!("{}/m{n}.gguf", n % 20)), gguf(&format!("m{n}")));
    }
    assert_eq!(house.list(&[]).len(), 200);
}

#[test]
fn five_first_commands_at_once_start_one_daemon() {
    let house = autostarting();
    write(house.models("m.gguf"), gguf("m"));
    let codes: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..5).map(|_| scope.spawn(|| house.ctl(&["list", "--json"]))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(codes.iter().all(|said| said.code == 0 && said.out.contains("\"m\"")), "{codes:?}");
}

#[test]
fn a_daemon_that_cannot_start_is_said_with_its_last_words() {
    let house = autostarting();
    write(house.home(".config/modeld/config.toml"), "nonsense = true\n");
    let said = house.ctl(&["list"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("nonsense") && said.err.contains("modeld.log"), "{said:?}");
    write(house.home(".config/modeld/config.toml"), "verify = true\nrots = []\n");
    let said = house.ctl(&["doctor"]);
    assert_eq!(said.code, 3, "{said:?}");
    let file = house.home(".config/modeld/config.toml").display().to_string();
    let why = format!(
        "error: modeld did not start: {file}, line 2: there is no setting `rots`; did you mean `roots`?"
    );
    assert!(said.err.starts_with(&why), "{said:?}");
    assert!(
        said.err.contains(&format!("hint: mend that line, or do without the file: mv {file} ")),
        "{said:?}"
    );
}

#[test]
fn a_home_that_cannot_be_written_is_named_with_the_variable_that_leads_elsewhere() {
    let mut house = autostarting();
    house.set("XDG_STATE_HOME", house.home("state"));
    write(house.home("state"), "in the way");
    let said = house.ctl(&["list"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(
        said.err.contains("home/state/modeld cannot be written") && said.err.contains("set XDG_STATE_HOME")
    );
    house.set("XDG_STATE_HOME", house.home("elsewhere"));
    house.set("XDG_DATA_HOME", house.home("state"));
    let said = house.ctl(&["list"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(
        said.err.contains("home/state/modeld") && said.err.contains("hint: set XDG_DATA_HOME"),
        "{said:?}"
    );
}

#[test]
fn a_root_of_the_settings_may_begin_at_the_home() {
    let mut house = house!();
    write(house.home("far/away/m.gguf"), gguf("m"));
    write(house.home(".config/modeld/config.toml"), "roots = [\"~/far/away\"]\n");
    house.start();
    house.sync();
    assert_eq!(house.names(&[]), ["m"]);
}

#[test]
fn a_daemon_that_is_asked_to_end_ends_cleanly_also_with_clients_on_it() {
    let mut house = house!().started();
    write(house.models("m.gguf"), gguf("m"));
    let _idle: Vec<_> = (0..20).map(|_| house.wire()).collect();
    let events = house.stream(&["events"]);
    events.find("Listening", 10, |line| line.contains("Listening").then_some(()));
    let begun = std::time::Instant::now();
    assert!(house.end(Signal::TERM).success());
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    house.start();
    assert!(house.end(Signal::INT).success());
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let mut house = house!();
    house.wrap(&["sh", "-c", "exec \"$0\" 2>/dev/full"]);
    house.start();
    write(house.models("m.gguf"), gguf("m"));
    house.sync();
    assert_eq!(house.names(&[]), ["m"]);
    assert!(house.end(Signal::TERM).success());
}
