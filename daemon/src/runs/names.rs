//! Which run is meant: by its word, the start of it, or the name of its model; of those that ended, the newest.

use super::{Entry, Runs};
use api::ApiError;

impl Runs {
    /// Returns the word of the run that is meant.
    pub(crate) fn resolve(&self, typed: &str) -> Result<String, ApiError> {
        let table = self.0.table.borrow();
        let words = |is_meant: &dyn Fn(&Entry) -> bool| -> Vec<String> {
            table.values().filter(|entry| is_meant(entry)).map(|entry| entry.run.run.clone()).collect()
        };
        let newest = |is_meant: &dyn Fn(&Entry) -> bool| {
            let meant = table.values().filter(|entry| is_meant(entry));
            meant.max_by_key(|entry| entry.run.since).map(|entry| entry.run.run.clone()).into_iter().collect()
        };
        let is_live = |entry: &Entry| entry.run.state.is_live();
        let is_named = |entry: &Entry| {
            let model = &entry.run.model;
            model.name == typed || (typed.len() > 2 && model.name.starts_with(typed)) || model.id == typed
        };
        let starts = |entry: &Entry| !typed.is_empty() && entry.run.run.starts_with(typed);
        let candidates = [
            words(&|entry| entry.run.run == typed),
            words(&starts),
            words(&|entry| entry.run.model.name == typed && is_live(entry)),
            words(&|entry| is_named(entry) && is_live(entry)),
            newest(&is_named),
        ];
        let first = candidates.into_iter().find(|words| !words.is_empty());
        match first.as_deref() {
            Some([word]) => Ok(word.clone()),
            Some(several) => Err(ApiError::NoSuchRun { name: typed.to_owned(), runs: several.to_vec() }),
            None => Err(ApiError::NoSuchRun { name: typed.to_owned(), runs: words(&is_live) }),
        }
    }
}
