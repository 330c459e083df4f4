//! Whose a file is, in words. Asks no directory service: what the files of the system do not name stays a number.

use super::Worker;
use std::{fs::Metadata, os::unix::fs::MetadataExt as _};

impl Worker {
    /// `user:group`, looked up once for each pair.
    pub(super) fn owner(&mut self, meta: &Metadata) -> String {
        let (user, group) = (meta.uid(), meta.gid());
        let owner = || format!("{}:{}", name_of("/etc/passwd", user), name_of("/etc/group", group));
        self.owners.entry((user, group)).or_insert_with(owner).clone()
    }
}

/// The name of an id in `/etc/passwd` or `/etc/group`; the number where there is none.
fn name_of(table: &str, id: u32) -> String {
    let text = std::fs::read_to_string(table).unwrap_or_default();
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|fields| fields.get(2).and_then(|field| field.parse().ok()) == Some(id));
    found.and_then(|fields| fields.first().map(|name| (*name).to_owned())).unwrap_or_else(|| id.to_string())
}
