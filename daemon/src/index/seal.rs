//! A seal beside the index says that it was closed in order and is the file that was closed: such a one is used at once
//! and checked while it is. Says nothing of what stands in it.

use super::open::remove_file;
use domain::names::with_suffix;
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

fn seal(index: &Path) -> PathBuf {
    with_suffix(index, ".sealed")
}

/// Seals an index that nobody writes to any more and whose log is empty.
pub(super) fn put(index: &Path) -> io::Result<()> {
    fs::write(seal(index), stamp(index)?)
}

/// Breaks the seal; says whether it was whole.
pub(super) fn take(index: &Path) -> io::Result<bool> {
    let path = seal(index);
    let sealed = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        sealed => sealed,
    };
    remove_file(&path)?;
    Ok(sealed.is_ok_and(|sealed| stamp(index).is_ok_and(|stamp| stamp == sealed)))
}

/// What changes with every write to the index or its log.
fn stamp(index: &Path) -> io::Result<String> {
    let of = |path: &Path| -> io::Result<String> {
        let meta = path.metadata()?;
        let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
        Ok(format!("{} {} {} {times:?}", meta.dev(), meta.ino(), meta.len()))
    };
    let log = with_suffix(index, "-wal");
    // Who closes it last removes it; where it is empty it says nothing.
    let is_empty =
        log.metadata().map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |meta| meta.len() == 0);
    let log = if is_empty { String::new() } else { of(&log)? };
    Ok(format!("{} {log}", of(index)?))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Index, Opened, is_damaged},
        *,
    };

    #[test]
    fn a_seal_holds_once_and_only_for_the_file_that_was_closed() {
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("index.db");
        fs::write(&index, b"pages").unwrap();
        assert!(!take(&index).unwrap(), "never sealed");
        put(&index).unwrap();
        assert!(take(&index).unwrap());
        assert!(!take(&index).unwrap(), "broken by the first look");
        put(&index).unwrap();
        fs::write(&index, b"pagez").unwrap();
        assert!(!take(&index).unwrap(), "written to since");
        put(&index).unwrap();
        let log = with_suffix(&index, "-wal");
        fs::write(&log, b"").unwrap();
        assert!(take(&index).unwrap(), "an empty log is like none");
        put(&index).unwrap();
        fs::write(log, b"frames").unwrap();
        assert!(!take(&index).unwrap(), "another log");
    }

    #[test]
    fn a_sealed_index_is_used_at_once_and_damage_in_it_is_found_while_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.db");
        let open = || Index::open(&path).unwrap();
        assert!(open().0.is_checked(), "new");
        assert!(open().0.is_checked(), "not closed in order");
        open().0.close().unwrap();
        let (index, opened) = open();
        assert_eq!((index.is_checked(), opened), (false, Opened::AsItWas));
        assert!(!is_damaged(&path));
        index.close().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 8192; // a page
        bytes[last..].fill(0xff);
        fs::write(&path, bytes).unwrap();
        put(&path).unwrap(); // as if the disk had done it: times say nothing
        let (index, opened) = open();
        assert_eq!((index.is_checked(), opened), (false, Opened::AsItWas));
        assert!(is_damaged(&path));
    }
}
