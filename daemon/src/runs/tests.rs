use super::*;
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
        },
        roots: Vec::new(),
        path: None,
    };
    let runs = Runs::new(&config, broadcast::channel(100).0);
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
        secrets: Vec::new(),
        reserve: BTreeMap::new(),
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
