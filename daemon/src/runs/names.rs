//! Which run is meant: by its word, the start of it, or the name of its model; of those that ended, the newest.

use super::{Entry, Runs};
use api::ApiError;
use std::cmp::Reverse;

/// Runs that are named where none or several could be meant.
const NAMED: usize = 8;

impl Runs {
    /// Returns the word of the run that is meant.
    pub(crate) fn resolve(&self, typed: &str) -> Result<String, ApiError> {
        self.meant(typed, &[has_word, starts, is_live_model, is_live_named])
    }

    /// Like `resolve`, and one that lives comes before those that have ended.
    pub(crate) fn resolve_live(&self, typed: &str) -> Result<String, ApiError> {
        self.meant(typed, &[has_word, starts_live, is_live_model, is_live_named, starts])
    }

    /// The first test that any run passes decides; where none does, the newest that ended is meant.
    fn meant(&self, typed: &str, tests: &[Test]) -> Result<String, ApiError> {
        let table = self.0.table.borrow();
        let mut entries: Vec<&Entry> = table.values().collect();
        entries.sort_by_key(|entry| (!entry.run.state.is_live(), Reverse(entry.run.since)));
        let passing = |test: &Test| -> Vec<&Entry> {
            entries.iter().copied().filter(|entry| test(entry, typed)).collect()
        };
        let found = tests.iter().map(passing).find(|found| !found.is_empty()).unwrap_or_default();
        match found.as_slice() {
            [only] => Ok(only.run.run.clone()),
            [] => match passing(&(is_named as Test)).first() {
                Some(newest) => Ok(newest.run.run.clone()),
                None => {
                    let words = entries.iter().take(NAMED).map(|entry| entry.run.run.clone());
                    Err(ApiError::NoSuchRun { name: typed.to_owned(), runs: words.collect() })
                }
            },
            several => Err(ambiguous(typed, several)),
        }
    }
}

type Test = fn(&Entry, &str) -> bool;

fn has_word(entry: &Entry, typed: &str) -> bool {
    entry.run.run == typed
}

fn starts(entry: &Entry, typed: &str) -> bool {
    !typed.is_empty() && entry.run.run.starts_with(typed)
}

fn starts_live(entry: &Entry, typed: &str) -> bool {
    entry.run.state.is_live() && starts(entry, typed)
}

fn is_live_model(entry: &Entry, typed: &str) -> bool {
    entry.run.state.is_live() && entry.run.model.name == typed
}

fn is_live_named(entry: &Entry, typed: &str) -> bool {
    entry.run.state.is_live() && is_named(entry, typed)
}

fn is_named(entry: &Entry, typed: &str) -> bool {
    let model = &entry.run.model;
    model.name == typed || (typed.len() > 2 && model.name.starts_with(typed)) || model.id == typed
}

fn ambiguous(typed: &str, several: &[&Entry]) -> ApiError {
    let told: Vec<String> = several.iter().take(NAMED).map(|entry| described(entry)).collect();
    let more = several.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
    ApiError::Refused {
        why: format!("`{typed}` names more than one run"),
        hint: Some(format!("name one by its word: {}{rest}", told.join(", "))),
    }
}

fn described(entry: &Entry) -> String {
    let run = &entry.run;
    let ctx = run.ctx.or(entry.planned_ctx).map(|ctx| format!(", {ctx} tokens")).unwrap_or_default();
    let ended = if run.state.is_live() { "" } else { ", ended" };
    format!("{} ({}{ctx}{ended})", run.run, run.model.name)
}
