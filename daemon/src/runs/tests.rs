use super::*;
use api::ApiError;
use domain::stores::Environment;
use tempfile::TempDir;

/// Runs of these states, each of the model `m` on a card of which it takes one byte more than the one before.
fn runs(states: &[RunState]) -> (TempDir, Runs) {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    let config = Config {
        state: at("state"),
        data: at("data"),
        socket: at("socket"),
        runtime: None,
        environment: Environment {
            home: None,
            sysroot: at("root"),
            variables: BTreeMap::new(),
            pointers: BTreeMap::new(),
            places: BTreeMap::new(),
        },
        roots: Vec::new(),
        poll_seconds: 60,
        verify_rate: None,
        path: None,
    };
    std::fs::create_dir(at("data")).unwrap();
    let (memory, ..) = Memory::start(&config.user()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let inside = runtime.enter();
    let engines = Arc::new(Engines::start(&config));
    let runs = Runs::new(&config, broadcast::channel(100).0, (memory, engines));
    drop(inside);
    let entries = states.iter().enumerate().map(|(n, state)| {
        let entry = entry(n, *state);
        (entry.run.run.clone(), entry)
    });
    runs.0.table.send_modify(|table| table.extend(entries));
    (dir, runs)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn entry(n: usize, state: RunState) -> Entry {
    let run = Run {
        run: format!("rabcde{n}"),
        engine: "llama.cpp".into(),
        model: ModelRef { id: "m2abcd".into(), name: "m".into() },
        state,
        ours: true,
        pid: None,
        unit: None,
        url: None,
        ctx: None,
        since: at(i64::try_from(n).unwrap()),
        memory: BTreeMap::new(),
        planned: BTreeMap::new(),
        on_cpu: None,
        last_lines: Vec::new(),
        why: None,
        hint: None,
        code: None,
        signal: None,
        notes: Vec::new(),
    };
    Entry {
        key: n.to_string(),
        port: 0,
        planned_ctx: Some(4096),
        expected: None,
        secrets: Vec::new(),
        booked: BTreeMap::from([("CUDA0".to_owned(), n as u64 + 1)]),
        supervisor: None,
        ready_at: None,
        is_stop_asked: false,
        is_detached: true,
        ended: (!state.is_live()).then_some(run.since),
        run,
    }
}

#[test]
fn a_run_that_got_ready_after_the_look_at_the_machine_is_still_reserved_for() {
    use RunState::{Exited, Ready, Starting, Stopping};
    let (_dir, runs) = runs(&[Starting, Ready, Stopping, Exited]);
    runs.change("rabcde1", |entry| entry.ready_at = Some(at(100)));
    let reserved = |since| runs.reserved(at(since)).get("CUDA0").copied();
    assert_eq!(reserved(99), Some(1 + 2));
    assert_eq!(reserved(100), Some(1));
}

#[test]
fn a_name_of_several_runs_is_told_with_each_of_them() {
    use RunState::{Exited, Ready, Starting};
    let (_dir, both) = runs(&[Ready, Exited, Starting]);
    let refusal = ApiError::Refused {
        why: "`m` names more than one run".into(),
        hint: Some("name one by its word: rabcde2 (m, 4096 tokens), rabcde0 (m, 4096 tokens)".into()),
    };
    assert_eq!(both.resolve("m"), Err(refusal.clone()));
    assert_eq!(both.resolve_live("m"), Err(refusal));
    assert_eq!(both.resolve_live("rabcde1").unwrap(), "rabcde1");
    let (_dir, one) = runs(&[Exited, Ready, Exited]);
    assert_eq!(one.resolve("m").unwrap(), "rabcde1");
    assert_eq!(one.resolve_live("rab").unwrap(), "rabcde1", "the only one that can be stopped");
    let hint = "name one by its word: rabcde1 (m, 4096 tokens), rabcde2 (m, 4096 tokens, ended), \
                rabcde0 (m, 4096 tokens, ended)";
    let refused = one.resolve("rab").unwrap_err();
    assert!(matches!(&refused, ApiError::Refused { hint: Some(told), .. } if told == hint), "{refused:?}");
    let (_dir, ended) = runs(&[Exited; 10]);
    assert_eq!(ended.resolve("m").unwrap(), "rabcde9", "the newest of those that ended");
    assert!(
        matches!(ended.resolve("rab"), Err(ApiError::Refused { hint: Some(told), .. }) if told.ends_with("and 2 more"))
    );
}

#[test]
fn a_name_of_no_run_is_told_with_what_lives_first_and_not_with_all() {
    use RunState::{Exited, Ready};
    let (_dir, runs) = runs(&[Ready, Exited, Exited, Exited, Exited, Exited, Exited, Exited, Exited, Exited]);
    let Err(ApiError::NoSuchRun { runs: told, .. }) = runs.resolve("x") else { panic!("found") };
    assert_eq!((told.len(), told[0].as_str(), told[1].as_str()), (8, "rabcde0", "rabcde9"));
}

#[test]
fn twenty_ended_runs_are_told_and_the_others_are_kept_for_a_moment_only() {
    let (_dir, runs) = runs(&[RunState::Exited; 25]);
    let end_all = |seconds_ago: i64| {
        let at = Timestamp::now() - jiff::SignedDuration::from_secs(seconds_ago);
        runs.0.table.send_modify(|table| table.values_mut().for_each(|entry| entry.ended = Some(at)));
    };
    end_all(10);
    let told = runs.all();
    assert_eq!((told.len(), told[0].run.as_str()), (20, "rabcde24"));
    assert!(runs.get("rabcde0").is_some(), "somebody may follow it");
    end_all(70);
    assert_eq!((runs.all().len(), runs.0.table.borrow().len()), (20, 20));
}
