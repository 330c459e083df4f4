//! Whether roots are there, and whether links lead to models.

use crate::{
    look::{led_to, resolved},
    seats::{Seats, Spot},
    volume::Volumes,
    watch::Watch,
};
use domain::{names::looks_like_model, stores};
use rustix::io::Errno;
use std::{
    collections::VecDeque,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What was found where a root is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// As it was configured, links not resolved.
    pub wanted: PathBuf,
    pub there: Option<There>,
    /// Where it is or would be, as far as that can be told.
    pub spot: Option<Spot>,
    /// Why it is not there, where that is more than its absence.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There {
    /// With every link resolved.
    pub path: PathBuf,
    /// Which directory it is: another one in its place is a change.
    pub identity: (u64, u64),
    /// The filesystem it is on.
    pub volume: String,
    /// Which filesystems are seen there and below.
    pub seats: Seats,
    /// That tells of changes.
    pub has_events: bool,
    /// Names of its entries that tell stores apart, for a root whose app is not known.
    pub entries: Vec<std::ffi::OsString>,
}

/// Entries beyond these do not change what a directory looks like.
const ENOUGH: usize = 1000;

pub(crate) fn probe_root(wanted: &Path, volumes: &mut Volumes, watch: &Watch) -> Probed {
    let spot = led_to(wanted).and_then(|path| volumes.seats(&path).spot(&path));
    let probed = |there, reason| Probed { wanted: wanted.to_owned(), there, spot, reason };
    if !wanted.is_absolute() {
        return probed(None, Some("it is not an absolute path: write it in full, from /".into()));
    }
    let path = match watched_way(wanted, watch) {
        Ok(path) => path,
        Err(error) => return probed(None, unreachable(&error)),
    };
    let there = fs::metadata(&path).and_then(|meta| {
        if !meta.is_dir() {
            return Err(io::Error::other("it is not a directory"));
        }
        let entries: Vec<_> =
            fs::read_dir(&path)?.take(ENOUGH).flatten().map(|entry| entry.file_name()).collect();
        if entries.is_empty() {
            watch.add(vec![path.clone()]); // it may be where a disk will be mounted, or be filled in place
        }
        let has_events = volumes.of(meta.dev(), &path).has_events;
        let volume = volumes.place(meta.dev(), &path);
        let (identity, seats) = ((meta.dev(), meta.ino()), volumes.seats(&path).clone());
        Ok(There { path: path.clone(), identity, volume, seats, has_events, entries })
    });
    match there {
        Ok(there) => probed(Some(there), None),
        Err(error) => probed(None, Some(format!("{} cannot be read: {error}", path.display()))),
    }
}

/// Why a path leads nowhere, where that is more than that nothing is there.
fn unreachable(error: &io::Error) -> Option<String> {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR) => None,
        // What lies beyond a directory of another user is not seen, nor whether anything does.
        Some(Errno::ACCESS) => Some("needs privilege: a directory on the way to it is another user's".into()),
        Some(Errno::LOOP) => Some("links on the way to it lead in a circle".into()),
        _ => Some(format!("it cannot be reached: {error}")),
    }
}

/// Returns where a path leads, with watches on the way: what appears, vanishes or is mounted there later is told from
/// above, also past links.
fn watched_way(wanted: &Path, watch: &Watch) -> io::Result<PathBuf> {
    let nearest = || wanted.ancestors().skip(1).find(|dir| dir.is_dir());
    let mut above = nearest();
    for _ in wanted.ancestors() {
        watch.add(above.map(Path::to_owned).into_iter().collect());
        let deeper = nearest();
        if deeper == above {
            break;
        }
        above = deeper; // it was made before the watch was set
    }
    let path = fs::canonicalize(wanted)?;
    watch.add(path.parent().map(Path::to_owned).into_iter().collect());
    Ok(path)
}

/// Places that are never a directory of models, whatever links to them.
const NEVER: &[&str] =
    &["/", "/dev", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/tmp", "/usr", "/var"];

/// Says whether a link still leads there, and a look of bounded length finds a model.
pub(crate) fn probe_link(link: &Path, target: &Path) -> bool {
    let is_never = NEVER.iter().any(|never| target == Path::new(never))
        || ["/dev", "/proc", "/sys"].iter().any(|never| target.starts_with(never));
    !is_never && resolved(link).as_deref() == Some(target) && has_models(target)
}

fn has_models(dir: &Path) -> bool {
    let mut dirs = VecDeque::from([dir.to_owned()]);
    let mut seen = 0;
    while let Some(dir) = dirs.pop_front() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            seen += 1;
            if seen > ENOUGH {
                return false;
            }
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name();
            // A hub's snapshots are links.
            if (kind.is_file() || kind.is_symlink())
                && looks_like_model(&name.to_string_lossy())
                && !stores::partial::is_partial(&name)
            {
                return true;
            }
            if kind.is_dir() {
                dirs.push_back(entry.path());
            }
        }
    }
    false
}
