//! Errors of the place where something is kept: no bug of ours, and the user can mend them.

use crate::index;
use anyhow::Error;
use api::ApiError;
use std::io::{self, ErrorKind};

const ADVICE: &[(ErrorKind, &str)] = &[
    (ErrorKind::StorageFull, "the disk is full: free some space on it, then try again"),
    (ErrorKind::QuotaExceeded, "your quota is used up: remove some files, then try again"),
    (ErrorKind::ReadOnlyFilesystem, "the file system is read-only: mount it for writing, then try again"),
    (
        ErrorKind::PermissionDenied,
        "modeld may not do that: see with ls -ld whose it is, and make it yours (chown, chmod u+rwX)",
    ),
    (ErrorKind::ResourceBusy, "another program holds it: end that, then try again"),
];

/// Tells a caller of an error, with what to do where he can do something.
pub(crate) fn told(error: &Error) -> ApiError {
    let message = format!("{error:#}");
    match advice(error) {
        Some(hint) => ApiError::Refused { why: message, hint: Some(hint.to_owned()) },
        None => ApiError::Internal { message },
    }
}

/// What the user can do about a full or closed disk, where that is the cause.
pub(crate) fn advice(error: &Error) -> Option<&'static str> {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().map(io::Error::kind).or_else(|| index::error_kind(cause))
    };
    let mut kinds = error.chain().filter_map(kind);
    kinds.find_map(|kind| ADVICE.iter().find(|(of, _)| *of == kind).map(|(_, advice)| *advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: impl Into<Error>, expected: Option<&str>) {
        let told = told(&error.into().context("writing /x/y"));
        match (&told, expected) {
            (ApiError::Refused { why, hint: Some(hint) }, Some(expected)) => {
                assert!(why.starts_with("writing /x/y: ") && hint.contains(expected), "{told:?}");
            }
            (ApiError::Internal { .. }, None) => {}
            _ => panic!("{told:?}"),
        }
    }

    #[test]
    fn a_full_or_closed_disk_is_no_bug() {
        check(io::Error::from_raw_os_error(28), Some("disk is full")); // ENOSPC
        check(io::Error::from_raw_os_error(13), Some("chown")); // EACCES
        check(io::Error::from_raw_os_error(30), Some("read-only")); // EROFS
        check(io::Error::from_raw_os_error(2), None); // ENOENT
        check(anyhow::anyhow!("anything else"), None);
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.pragma_update(None, "max_page_count", 2).unwrap();
        let full = db.execute_batch("create table a (b); create table c (d); create table e (f);");
        check(full.unwrap_err(), Some("disk is full"));
    }
}
