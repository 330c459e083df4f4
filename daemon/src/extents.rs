//! Where a file lies on its disk, as its filesystem tells (FIEMAP). Asked for copies alone, when somebody wants to know
//! what is stored twice; a file of which not every byte has a place is not told of.

use crate::look;
use domain::duplicates::{Extent, Extents};
use fiemap::{Fiemap, FiemapExtentFlags};
use std::path::Path;

/// A file in more pieces is too much to ask for; a model has hundreds.
const MOST: usize = 1 << 16;

/// Letters of a UUID.
const UUID: usize = 36;

/// Returns where a file lies; None where that is not known, or changes while it is asked for.
pub(crate) fn of(path: &Path, volume: &str) -> Option<Extents> {
    let file = look::open_resolved(&look::resolved(path)?).ok()?;
    let mut all = Vec::new();
    for extent in Fiemap::new(&file).take(MOST + 1) {
        let extent = extent.ok()?;
        // No place yet, or one within the filesystem's own records.
        let placeless =
            FiemapExtentFlags::UNKNOWN | FiemapExtentFlags::DELALLOC | FiemapExtentFlags::DATA_INLINE;
        if extent.fe_flags.intersects(placeless) || all.len() == MOST {
            return None;
        }
        all.push(Extent {
            start: extent.fe_physical,
            length: extent.fe_length,
            is_shared: extent.fe_flags.contains(FiemapExtentFlags::SHARED),
        });
    }
    Some(Extents { disk: disk(volume).to_owned(), all })
}

/// Subvolumes of btrfs are volumes of one disk.
fn disk(volume: &str) -> &str {
    match volume.split_at_checked(UUID) {
        Some((uuid, subvolume)) if subvolume.starts_with('/') => uuid,
        Some(_) | None => volume,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subvolumes_are_on_one_disk() {
        let uuid = "8a3f1c2e-5d4b-4a6f-9c7e-0b1d2e3f4a5b";
        assert_eq!(disk(&format!("{uuid}/@home")), uuid);
        assert_eq!(disk(uuid), uuid);
        assert_eq!(disk("btrfs:/dev/loop0:0:45"), "btrfs:/dev/loop0:0:45");
    }

    #[test]
    fn a_file_of_no_known_place_is_not_told_of() {
        assert_eq!(of(Path::new("/proc/self/status"), "v"), None);
        assert_eq!(of(Path::new("/nowhere"), "v"), None);
    }
}
