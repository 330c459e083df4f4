//! One example of everything on the wire, every field filled. The matches stop compiling when a variant is added.

use crate::launches::{engine, environment, hardware, launch, machine, plan, run};
use crate::values::{
    checked, companion, duplicates, facts, finding, job, model, now, overview, root, suggestion, tree, usage,
    verdict, wire_path,
};
use api::{
    Added, AddedEngine, ApiError, Candidate, CheckedSum, Engines, Event, EventKind, Examined, Inspected,
    Launch, LaunchUpdate, Listed, Logged, Request, Roots, RunState, Runs, Scanned, Shown, Stopped, Suggested,
    Synced, Verifying,
};

use serde_json::{Value, json, to_value};

pub(crate) fn exchanges() -> Vec<(Request, Vec<Value>)> {
    let model = || String::from("m");
    let path = wire_path();
    let words = || vec![String::from("w")];
    let requests = vec![
        Request::Overview {},
        Request::List { filters: words(), sort: Some("size".into()), environment: environment() },
        Request::Duplicates { filters: words(), environment: environment() },
        Request::Usage { by: Some("app".into()) },
        Request::Show { model: model() },
        Request::Tree { model: model() },
        Request::Inspect { path: path.clone() },
        Request::Roots {},
        Request::SuggestRoots {},
        Request::AddRoot { path: path.clone() },
        Request::RemoveRoot { path: path.clone() },
        Request::Hardware { environment: environment() },
        Request::Engines { environment: environment() },
        Request::AddEngine { path: path.clone(), environment: environment() },
        Request::RemoveEngine { path },
        Request::Sync {},
        Request::Scan {},
        Request::Verify { models: words(), again: true },
        Request::Tag { model: model(), add: words(), remove: words() },
        Request::Note { model: model(), note: Some("n".into()) },
        Request::Pin { model: model(), pinned: true },
        Request::Alias { model: model(), add: words(), remove: words() },
        Request::Plan { launch: launch(), confirm: true, forget: true },
        Request::Launch { launch: launch() },
        Request::Doctor { environment: environment() },
        Request::Ps {},
        Request::Stop { run: "r".into() },
        Request::Logs { run: "r".into(), follow: true },
        Request::Events {},
    ];
    requests.into_iter().map(|request| (request.clone(), replies(&request))).collect()
}

fn replies(request: &Request) -> Vec<Value> {
    let reply = match request {
        Request::Overview {} => to_value(overview()),
        Request::List { .. } => to_value(Listed { models: vec![model()] }),
        Request::Duplicates { .. } => to_value(duplicates()),
        Request::Usage { .. } => to_value(usage()),
        Request::Show { .. } => {
            let same_weights = vec!["m2".into()];
            to_value(Shown {
                model: model(),
                facts: Some(facts()),
                same_weights,
                companions: vec![companion()],
            })
        }
        Request::Tree { .. } => to_value(tree()),
        Request::Inspect { .. } => to_value(Inspected { path: wire_path(), size: 1, verdict: verdict() }),
        Request::Roots {} => to_value(Roots { roots: vec![root()] }),
        Request::SuggestRoots {} => {
            to_value(Suggested { suggestions: vec![suggestion()], looked: 1, complete: true })
        }
        Request::AddRoot { .. } => to_value(Added { root: root() }),
        Request::RemoveRoot { .. } | Request::RemoveEngine { .. } => Ok(json!({})),
        Request::Hardware { .. } => to_value(hardware()),
        Request::Doctor { .. } => to_value(Examined { findings: vec![finding()] }),
        Request::Engines { .. } => to_value(Engines { engines: vec![engine()] }),
        Request::AddEngine { .. } => to_value(AddedEngine { engine: engine() }),
        Request::Sync {} => to_value(Synced { models: 1 }),
        Request::Scan {} => to_value(Scanned { models: 1, read: 1 }),
        Request::Verify { .. } => {
            return [
                Verifying { progress: Some(job()), results: None, sum: None },
                Verifying {
                    progress: None,
                    results: Some(vec![checked()]),
                    sum: Some(CheckedSum::of(&[checked()])),
                },
            ]
            .iter()
            .map(|reply| to_value(reply).unwrap())
            .collect();
        }
        Request::Tag { .. } | Request::Note { .. } | Request::Pin { .. } | Request::Alias { .. } => {
            to_value(model())
        }
        Request::Plan { .. } => to_value(Launch { plan: plan() }),
        Request::Launch { .. } => return updates().iter().map(|update| to_value(update).unwrap()).collect(),
        Request::Ps {} => to_value(Runs { runs: vec![run(RunState::Ready)] }),
        Request::Stop { .. } => to_value(Stopped { run: run(RunState::Exited) }),
        Request::Logs { .. } => to_value(Logged { lines: vec!["l".into()] }),
        Request::Events {} => return events().iter().map(|event| to_value(event).unwrap()).collect(),
    };
    vec![reply.unwrap()]
}

pub(crate) fn errors() -> Vec<ApiError> {
    let text = || String::from("t");
    let words = || vec![String::from("w")];
    let all = vec![
        ApiError::NoSuchModel { name: text(), similar: words() },
        ApiError::AmbiguousModel {
            name: text(),
            candidates: words(),
            models: vec![Candidate::from(&model())],
        },
        ApiError::NoSuchEngine { name: text(), known: words() },
        ApiError::EngineMissing { engine: text(), program: text(), looked: words() },
        ApiError::Unsupported { why: text(), hint: Some(text()) },
        ApiError::BadFilter { filter: text(), why: text() },
        ApiError::BadSort { sort: text(), why: text() },
        ApiError::Unsafe { why: text(), hint: Some(text()) },
        ApiError::Refused { why: text(), hint: Some(text()) },
        ApiError::RunFailed { engine: text(), why: text(), last_lines: words(), hint: Some(text()) },
        ApiError::NoSuchRun { name: text(), runs: words() },
        ApiError::Internal { message: text() },
    ];
    for error in &all {
        match error {
            ApiError::NoSuchModel { .. }
            | ApiError::AmbiguousModel { .. }
            | ApiError::NoSuchEngine { .. }
            | ApiError::EngineMissing { .. }
            | ApiError::Unsupported { .. }
            | ApiError::BadFilter { .. }
            | ApiError::BadSort { .. }
            | ApiError::Unsafe { .. }
            | ApiError::Refused { .. }
            | ApiError::RunFailed { .. }
            | ApiError::NoSuchRun { .. }
            | ApiError::Internal { .. }
            | ApiError::MethodNotFound { .. }
            | ApiError::InterfaceNotFound { .. }
            | ApiError::InvalidParameter { .. }
            | ApiError::ExpectedMore {} => {}
        }
    }
    all
}

fn updates() -> Vec<LaunchUpdate> {
    let all = vec![
        LaunchUpdate::Planned { plan: Box::new(plan()) },
        LaunchUpdate::Started { run: run(RunState::Starting) },
        LaunchUpdate::Ready { run: run(RunState::Ready) },
        LaunchUpdate::Log { line: "l".into() },
        LaunchUpdate::Exited { run: run(RunState::Exited), code: Some(0), signal: Some(15), stopped: true },
    ];
    for update in &all {
        match update {
            LaunchUpdate::Planned { .. }
            | LaunchUpdate::Started { .. }
            | LaunchUpdate::Ready { .. }
            | LaunchUpdate::Log { .. }
            | LaunchUpdate::Exited { .. } => {}
        }
    }
    all
}

fn events() -> Vec<Event> {
    use EventKind::{
        HardwareChanged, JobChanged, Listening, ModelAdded, ModelChanged, ModelRemoved, RunChanged,
    };
    let all = [Listening, ModelAdded, ModelChanged, ModelRemoved, RunChanged, JobChanged, HardwareChanged];
    let event = |event: EventKind| {
        let nothing = Event { at: now(), event, model: None, run: None, job: None, hardware: None };
        match event {
            Listening => nothing,
            ModelAdded | ModelChanged | ModelRemoved => Event { model: Some(Box::new(model())), ..nothing },
            RunChanged => Event { run: Some(Box::new(run(RunState::Stopping))), ..nothing },
            JobChanged => Event { job: Some(job()), ..nothing },
            HardwareChanged => Event { hardware: Some(Box::new(machine())), ..nothing },
        }
    };
    all.map(event).into()
}
