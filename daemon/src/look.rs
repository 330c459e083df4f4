//! Does the looking that stores ask for: lists, small files, links, attributes. Opens everything beneath its root,
//! never blocks on a fifo, never reads what is not a regular file.

use domain::{
    App,
    facts::Part,
    parts_of,
    stores::{Entry, EntryKind, Known, Look, Origin, Stat, models_of},
};
use formats::Windowed;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, statat},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read as _,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::FileExt as _,
        },
    },
    path::{Path, PathBuf},
};

/// Longest sidecar that is read, bytes: cards and manifests are a few kilobytes.
const MAX_SMALL: u64 = 1 << 20;

/// A root, held open: what is opened beneath it stays beneath it, whatever is renamed meanwhile.
#[derive(Debug)]
pub(crate) struct Beneath<'a> {
    root: &'a Path,
    descriptor: OwnedFd,
}

impl<'a> Beneath<'a> {
    pub(crate) fn open(root: &'a Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root, descriptor: rustix::fs::open(root, flags, Mode::empty())? })
    }

    /// Opens a directory without looking into it. As long as that is held, no other mount gets the number of its own.
    pub(crate) fn hold(&self, dir: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.open_beneath(dir, flags, ResolveFlags::NO_SYMLINKS)
    }

    /// The number of the mount that it stands in.
    pub(crate) fn mount(&self) -> Option<u32> {
        mount_of(self.descriptor.as_fd())
    }

    /// Performs a look and notes its answer.
    pub(crate) fn perform(&self, look: &Look, known: &mut Known) {
        match look {
            Look::List(path) => {
                let list = self.list(path).ok();
                known.lists.insert(path.clone(), list);
            }
            Look::Read(path) => {
                let content = self.open_regular(path).ok().and_then(|file| read_small(&file));
                known.contents.insert(path.clone(), content);
            }
            Look::Stat(path) => drop(known.stats.insert(path.clone(), stat(path))),
            Look::Link(path) => drop(known.links.insert(path.clone(), std::fs::read_link(path).ok())),
            Look::Origin(path) => drop(known.origins.insert(path.clone(), origin(path))),
            Look::Record(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let content = self.open_regular(path).ok().and_then(|file| read_small(&file));
                let record = content.and_then(|content| domain::stores::record(&name, &content));
                known.records.insert(path.clone(), record);
            }
            Look::Table(_) => {} // needs a place for its copy
            Look::Parts(path) => drop(known.parts.insert(path.clone(), self.parts(path))),
        }
    }

    fn parts(&self, path: &Path) -> Option<Vec<Part>> {
        let file = self.open_regular(path).ok()?;
        let length = file.metadata().ok()?.len();
        let mut input = Windowed::new(length, |at, buffer: &mut [u8]| file.read_at(buffer, at));
        parts_of(path.file_name()?, &mut input).ok()?
    }

    /// Lists a directory; no link on the way is followed.
    pub(crate) fn list(&self, dir: &Path) -> Result<Vec<Entry>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = self.open_beneath(dir, flags, ResolveFlags::NO_SYMLINKS)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&descriptor)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => kind_of(&descriptor, entry.file_name()),
                kind @ (FileType::RegularFile
                | FileType::Directory
                | FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice) => entry_kind(kind),
            };
            entries.push(Entry { name: OsString::from_vec(name.to_vec()), kind });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    /// Opens a regular file for reading without ever waiting for it.
    pub(crate) fn open_regular(&self, path: &Path) -> Result<File, Errno> {
        // A device may act on being opened, so look before.
        if FileType::from_raw_mode(rustix::fs::stat(path)?.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let descriptor = self.open_beneath(path, flags, ResolveFlags::NO_MAGICLINKS)?;
        if FileType::from_raw_mode(fstat(&descriptor)?.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        Ok(descriptor.into())
    }

    /// Opens a regular file, also where a link or the user's settings lead out of the root.
    pub(crate) fn open_anywhere(&self, path: &Path) -> Result<File, Errno> {
        match self.open_regular(path) {
            Err(Errno::XDEV) => resolved(path).ok_or(Errno::NOENT).and_then(|path| open_resolved(&path)),
            other => other,
        }
    }

    fn open_beneath(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let relative = path.strip_prefix(self.root).map_err(|_| Errno::XDEV)?;
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        open_untouched(self.descriptor.as_fd(), relative, flags, resolve | ResolveFlags::BENEATH)
    }
}

/// The number of the mount that an open file is in (proc_pid_fdinfo(5)).
pub(crate) fn mount_of(descriptor: BorrowedFd<'_>) -> Option<u32> {
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd())).ok()?;
    told.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Opens without changing the access time by what is read; of another user's file the kernel does not allow that.
fn open_untouched(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    how: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    match openat2(dir, path, flags | OFlags::NOATIME, Mode::empty(), how) {
        Err(Errno::PERM) => openat2(dir, path, flags, Mode::empty(), how),
        other => other,
    }
}

/// Opens a regular file by a path without links, wherever it is.
pub(crate) fn open_resolved(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if FileType::from_raw_mode(rustix::fs::stat(path)?.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    Ok(open_untouched(rustix::fs::CWD, path, flags, ResolveFlags::NO_SYMLINKS)?.into())
}

/// Reads a small regular file; None where there is none or it is too long.
pub(crate) fn small_file(path: &Path) -> Option<Vec<u8>> {
    let resolved = std::fs::canonicalize(path).ok()?;
    read_small(&open_resolved(&resolved).ok()?)
}

fn read_small(file: &File) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    file.take(MAX_SMALL + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= MAX_SMALL).then_some(content)
}

fn stat(path: &Path) -> Option<Stat> {
    let stat = rustix::fs::stat(path).ok()?;
    let kind = entry_kind(FileType::from_raw_mode(stat.st_mode));
    let modified = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add_unsigned(stat.st_mtime_nsec);
    Some(Stat { kind, size: u64::try_from(stat.st_size).ok()?, modified })
}

fn kind_of(dir: impl AsFd, name: &std::ffi::CStr) -> EntryKind {
    statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_or(EntryKind::Special, |stat| entry_kind(FileType::from_raw_mode(stat.st_mode)))
}

fn entry_kind(kind: FileType) -> EntryKind {
    match kind {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Dir,
        FileType::Symlink => EntryKind::Symlink,
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => EntryKind::Special,
    }
}

/// The attributes that `curl --xattr` and `wget --xattr` write.
fn origin(path: &Path) -> Option<Origin> {
    let attribute = |name: &str| {
        let mut value = vec![0; 4096];
        let length = rustix::fs::getxattr(path, name, &mut value).ok()?;
        without_secrets(OsStr::from_bytes(value.get(..length)?).to_str()?)
    };
    let origin =
        Origin { url: attribute("user.xdg.origin.url"), referrer: attribute("user.xdg.referrer.url") };
    (origin != Origin::default()).then_some(origin)
}

/// Signed links carry a credential in the query, others in the user part: neither is kept.
fn without_secrets(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let (rest, query) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    let (host, page) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit('@').next().unwrap_or_default();
    // The one part of a query that says what was downloaded: digits, so no credential.
    let version = query.split(['&', '#']).find_map(|part| part.strip_prefix("modelVersionId="));
    let version = version.filter(|version| version.len() < 20 && version.bytes().all(|b| b.is_ascii_digit()));
    let version = version.map(|version| format!("?modelVersionId={version}")).unwrap_or_default();
    Some(format!("{scheme}://{host}/{page}{version}"))
}

/// Returns where a path leads, all links resolved.
pub(crate) fn resolved(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok()
}

/// Returns where a path leads, or would lead if what it leads to were there.
pub(crate) fn led_to(path: &Path) -> Option<PathBuf> {
    /// As many links as the kernel follows (path_resolution(7)).
    const MOST: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        let (above, real) = path.ancestors().find_map(|above| Some((above, resolved(above)?)))?;
        let mut missing = path.strip_prefix(above).ok()?.components();
        let Some(first) = missing.next() else { return Some(real) };
        let at = real.join(first);
        let rest = missing.as_path();
        let under = |dir: PathBuf| if rest.as_os_str().is_empty() { dir } else { dir.join(rest) };
        match std::fs::read_link(&at) {
            Ok(target) => path = under(real.join(target)),
            Err(_) => return Some(under(at)),
        }
    }
    None
}

/// Returns where an app keeps its models, if this is that app's own folder.
pub(crate) fn models_in(dir: &Path) -> Option<(PathBuf, App)> {
    let real = resolved(dir)?;
    let entries = Beneath::open(&real).and_then(|beneath| beneath.list(&real)).ok()?;
    let (app, models) = models_of(&entries)?;
    Some((dir.join(models), app)).filter(|(models, _)| models.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn credentials_in_links_are_not_kept() {
        for (url, kept) in [
            ("https://user:secret@host/a/b.gguf?sig=SECRET#x", Some("https://host/a/b.gguf")),
            (
                "https://civitai.com/models/42?token=SECRET&modelVersionId=501",
                Some("https://civitai.com/models/42?modelVersionId=501"),
            ),
            ("https://civitai.com/models/42?modelVersionId=x", Some("https://civitai.com/models/42")),
            ("https://host", Some("https://host/")),
            ("file:///etc/passwd", None),
            ("garbage", None),
        ] {
            assert_eq!(without_secrets(url).as_deref(), kept);
        }
    }

    #[test]
    fn a_link_leads_where_it_led_while_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let gone = base.join("disk/models");
        symlink(&gone, base.join("far")).unwrap();
        symlink("far/sub", base.join("near")).unwrap();
        symlink("b", base.join("a")).unwrap();
        symlink("a", base.join("b")).unwrap();
        for _ in 0..2 {
            assert_eq!(led_to(&base.join("far")), Some(gone.clone()));
            assert_eq!(led_to(&base.join("near/x")), Some(gone.join("sub/x")));
            assert_eq!(led_to(&base.join("a/x")), None);
            std::fs::create_dir_all(gone.join("sub/x")).unwrap();
        }
    }

    #[test]
    fn nothing_outside_the_root_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        std::fs::write(root.join("inside"), "x").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("inside", root.join("in")).unwrap();
        symlink(dir.path(), root.join("outdir")).unwrap();
        let beneath = Beneath::open(&root).unwrap();
        assert!(beneath.open_regular(&root.join("inside")).is_ok());
        assert!(beneath.open_regular(&root.join("in")).is_ok());
        assert_eq!(beneath.open_regular(&root.join("out")).unwrap_err(), Errno::XDEV);
        assert!(beneath.list(&root.join("outdir")).is_err());
    }

    #[test]
    fn a_fifo_is_never_opened() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("m.gguf");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        assert_eq!(beneath.open_regular(&fifo).unwrap_err(), Errno::INVAL);
        assert_eq!(beneath.list(dir.path()).unwrap()[0].kind, EntryKind::Special);
    }
}
