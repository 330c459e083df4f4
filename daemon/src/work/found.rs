//! From what a store found to locations: what each file is on disk, what each weight file says, which content it is.

use super::{UnitJob, Worker, measure, unit::Ground};
use crate::{
    core::Event,
    index::{KnownFile, LocationRow, NewLocation, UnitBefore, UnitChange},
    look::{Beneath, resolved},
    read,
};
use domain::{
    App, File, Format, Kind, Link, Location, OnDisk, Progress, Role, State, Verdict,
    stores::{Found, FoundFile, incoming, partial},
};
use rustix::io::Errno;
use std::{
    collections::HashSet,
    fs::Metadata,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// New locations that are reported at once: a folder of thousands is not held up by its last file.
const BATCH: usize = 256;
/// No real stamp looks like this: the file is read at the next look, whatever its times say.
const UNREAD: &str = "unread";
/// Something is told at least as often, so that a slow disk does not pass for one that does not answer.
const BEAT: Duration = Duration::from_secs(5);

/// A unit that is being looked at, and what that has brought so far.
pub(super) struct Site<'a> {
    pub(super) job: &'a UnitJob,
    pub(super) beneath: &'a Beneath<'a>,
    pub(super) change: UnitChange,
    /// Headers read.
    pub(super) read: u64,
    /// Files that changed while they were read.
    pub(super) restless: Vec<PathBuf>,
    /// Files that could not be read this time.
    pub(super) unreadable: Vec<PathBuf>,
}

/// One file of a location, looked at.
struct Seen {
    file: File,
    on_disk: Option<OnDisk>,
    known: Option<KnownFile>,
    owner: Option<String>,
}

impl Worker {
    /// Places everything a store found.
    pub(super) fn place(
        &mut self,
        site: &mut Site<'_>,
        found: Vec<Found>,
        before: &UnitBefore,
        ground: &mut Ground,
    ) -> anyhow::Result<()> {
        let mut handles = HashSet::new();
        let mut told = Instant::now();
        for found in found {
            if site.change.locations.len() >= BATCH || told.elapsed() > BEAT {
                let part = std::mem::take(&mut site.change);
                self.inbox.send(Event::Partly(site.job.unit.clone(), part))?;
                told = Instant::now();
            }
            ground.files.extend(found.files.iter().map(|file| file.path.clone()));
            ground.files.extend(found.depends.iter().cloned());
            let key = (found.app, found.id.clone());
            let fingerprint = self.fingerprint(site.job, &found, ground);
            if fingerprint.is_some() && before.locations.get(&key) == Some(&fingerprint) {
                handles.insert(key);
                continue;
            }
            let unreadable = site.unreadable.len();
            let Some(mut new) = self.locate(site, found)? else { continue };
            // What could not be read is tried again at the next look, whatever its times say.
            new.fingerprint = fingerprint.filter(|_| site.unreadable.len() == unreadable);
            new.card = ground.card(&new.row.location);
            if handles.insert(key) {
                site.change.locations.push(new);
            }
        }
        let gone = before.locations.keys().filter(|key| !handles.contains(*key));
        site.change.removed = gone.cloned().collect();
        Ok(())
    }

    /// What a location is made of, in short: while it is the same, nothing of it needs another look. None where
    /// a file is so young that its times prove nothing.
    fn fingerprint(&mut self, job: &UnitJob, found: &Found, ground: &mut Ground) -> Option<u64> {
        let mut hash = DefaultHasher::new();
        found.hash(&mut hash);
        for file in &found.files {
            ground.stamp(self, &file.path)?.hash(&mut hash);
            job.growing.iter().find(|(path, _)| *path == file.path).hash(&mut hash);
        }
        Some(hash.finish())
    }

    /// None where nothing of it is a model, or all of it is too young to tell.
    fn locate(&mut self, site: &mut Site<'_>, found: Found) -> anyhow::Result<Option<NewLocation>> {
        let mut seen = Vec::new();
        for file in &found.files {
            let growing = site.job.growing.iter().find(|(path, _)| *path == file.path);
            if growing.is_some_and(|(_, is_shown)| !is_shown) {
                return Ok(None);
            }
            seen.extend(self.see(site, &found, file, growing.is_some())?);
        }
        let weights = || seen.iter().filter(|seen| seen.file.role == Role::Weights);
        let had_weights = found.files.iter().any(|file| file.role == Role::Weights);
        // What holds data of another file is a model's if the other one is.
        let is_told = |seen: &&Seen| seen.known.as_ref().is_none_or(|known| !known.verdict.is_of_data());
        let mut told = weights().filter(is_told).peekable();
        let is_one = match told.peek() {
            Some(_) => told.any(|seen| seen.known.as_ref().is_none_or(is_model)),
            None => weights().next().is_some(),
        };
        if had_weights && !is_one {
            return Ok(None);
        }
        let content = content_key(&found, weights().filter_map(|seen| seen.known.as_ref()));
        let is_partial = found.partial.is_some() || weights().any(|seen| !is_whole(seen));
        let progress = if is_partial { progress(&seen) } else { None };
        let is_growing = |file: &FoundFile| site.job.growing.iter().any(|(path, _)| *path == file.path);
        let is_given_up = found.is_download() && !found.files.iter().any(is_growing);
        let stopped = progress.filter(|_| is_given_up).map(|progress| incoming::stopped(&found, &progress));
        let named = || weights().find_map(|seen| seen.known.as_ref()?.verdict.facts.as_ref()?.name.clone());
        let name = found.name.clone().or_else(|| named().filter(|_| found.is_download()));
        let partial_reason = stopped.or_else(|| found.partial.clone()).or_else(|| {
            weights().filter_map(|seen| seen.known.as_ref()).find_map(|known| known.verdict.reason.clone())
        });
        let location = Location {
            app: found.app,
            id: found.id,
            name,
            source: found.source,
            claims: found.claims,
            revision: found.revision,
            refs: found.refs,
            license: found.license,
            owner: weights().find_map(|seen| seen.owner.clone()),
            online: true,
            is_partial,
            partial_reason: partial_reason.filter(|_| is_partial),
            files: seen.iter().map(|seen| seen.file.clone()).collect(),
            progress,
        };
        let row = LocationRow {
            weights: weights()
                .filter(|seen| seen.known.is_some())
                .map(|seen| seen.file.path.clone())
                .collect(),
            on_disk: seen.into_iter().map(|seen| seen.on_disk).collect(),
            base_models: found.base_models,
            kept: None,
            lineage: found.lineage,
            hints: found.hints,
            location,
        };
        Ok(Some(NewLocation { content, is_whole: !is_partial, fingerprint: None, row, card: None }))
    }

    /// None where the file vanished or is nothing to be opened.
    fn see(
        &mut self,
        site: &mut Site<'_>,
        found: &Found,
        file: &FoundFile,
        is_growing: bool,
    ) -> anyhow::Result<Option<Seen>> {
        let own = file.path.symlink_metadata();
        let is_link = own.as_ref().is_ok_and(Metadata::is_symlink);
        let Ok(meta) = (if is_link { file.path.metadata() } else { own }) else {
            // A store that knows of its absence wants it shown; else it vanished while we looked.
            return Ok((is_link || found.partial.is_some()).then(|| Seen::dangling(file)));
        };
        if !meta.is_file() {
            return Ok(None);
        }
        if meta.len() == 0 && file.role == Role::Weights && !is_growing {
            return Ok(None); // a browser's placeholder, or a download that has not begun
        }
        let volume = self.volumes.of(meta.dev(), &file.path);
        let disk_size = meta.blocks().saturating_mul(512);
        let inode = if volume.has_inodes { meta.ino() } else { number_of(&file.path, is_link) };
        let on_disk = OnDisk { volume: volume.name.clone(), inode, disk_size, links: meta.nlink() };
        let known = match file.role {
            Role::Weights if is_growing => Some(self.growing(site, file, &meta)),
            Role::Weights | Role::Companion | Role::Adapter => match self.known(site, found, file, &meta)? {
                Some(known) => Some(known),
                None => return Ok(None),
            },
            // Copies or other names of weights, which find each other by their bytes.
            Role::Blob | Role::Bundle | Role::LfsObject => self.known(site, found, file, &meta)?,
            Role::Config | Role::Card | Role::Sidecar | Role::Metadata => None,
        };
        if is_growing && let Some(known) = &known {
            site.change.files.push((file.path.clone(), known.clone()));
        }
        let link = match (is_link, meta.nlink()) {
            (true, _) => Some(Link::Symlink),
            (false, 2..) => Some(Link::Hardlink),
            (false, _) => None,
        };
        let wire = File {
            size: meta.len(),
            sha256: file.sha256.clone(),
            disk_size: is_growing.then_some(disk_size),
            link,
            ..File::at(&file.path, file.role)
        };
        Ok(Some(Seen { file: wire, on_disk: Some(on_disk), known, owner: Some(self.owner(&meta)) }))
    }

    /// What is known of a weight file, read again where its stamp is new. None where it vanished meanwhile.
    fn known(
        &mut self,
        site: &mut Site<'_>,
        found: &Found,
        file: &FoundFile,
        meta: &Metadata,
    ) -> anyhow::Result<Option<KnownFile>> {
        let is_data = found.is_data(file);
        let stamp = self.stamp(&file.path, meta);
        let volume = self.volumes.of(meta.dev(), &file.path).clone();
        let inode = if volume.has_inodes { meta.ino() } else { 0 };
        let known = self.reader()?.file(&file.path, &volume.name, inode, &stamp)?;
        // The file that makes it data may have come, or gone, since it was read.
        if let Some((is_here, known)) = known.filter(|(_, known)| known.verdict.is_of_data() == is_data) {
            if !is_here {
                site.change.files.push((file.path.clone(), known.clone()));
            }
            return Ok(Some(known));
        }
        // Before it is read: what changes later has another time, unless this one is too young to tell.
        let is_fine = volume.has_fine_times && read::has_parts(meta);
        let is_young = !is_fine && read::is_racy(meta, SystemTime::now());
        site.read += 1;
        let name = file.path.file_name().unwrap_or_default();
        // Apps make links out of a root themselves (`lms import`); in a plain folder they are not followed.
        let opened = if found.app == App::Loose {
            site.beneath.open_regular(&file.path)
        } else {
            site.beneath.open_anywhere(&file.path)
        };
        let (verdict, sampled) = match opened {
            Ok(opened) => match read::read(&opened, (!is_data).then_some(name)) {
                Ok(reading) => {
                    if !reading.is_still {
                        site.restless.push(file.path.clone());
                    }
                    (reading.verdict, reading.sampled)
                }
                Err(error) => return Ok(Some(self.unreadable(site, file, &error.to_string(), meta))),
            },
            Err(Errno::NOENT | Errno::XDEV | Errno::INVAL | Errno::LOOP) => return Ok(None),
            Err(error) => return Ok(Some(self.unreadable(site, file, &error.to_string(), meta))),
        };
        let is_whole = read::is_whole(verdict.state);
        let stamp = if is_young { UNREAD.into() } else { stamp };
        let known = KnownFile { volume: volume.name, inode, stamp, sampled, is_whole, verdict };
        site.change.files.push((file.path.clone(), known.clone()));
        Ok(Some(known))
    }

    /// A file that cannot be read now: said, and not remembered as if that were its content.
    fn unreadable(&mut self, site: &mut Site<'_>, file: &FoundFile, why: &str, meta: &Metadata) -> KnownFile {
        site.unreadable.push(file.path.clone());
        let reason = format!("it cannot be read: {why}; it belongs to {}", self.owner(meta));
        let verdict = Verdict::new(None, State::Unsupported, &reason);
        let known = self.unread(&file.path, meta, verdict);
        site.change.files.push((file.path.clone(), known.clone()));
        known
    }

    /// A file that is still being written: what its header says is known, its content is not.
    fn growing(&mut self, site: &mut Site<'_>, file: &FoundFile, meta: &Metadata) -> KnownFile {
        let name = file.path.file_name().unwrap_or_default();
        let opened = site.beneath.open_anywhere(&file.path).ok();
        let read = opened.and_then(|opened| read::verdict(&opened, opened.metadata().ok()?.len(), name).ok());
        site.read += 1;
        let verdict = Verdict::new(None, State::Downloading, "it is still being written");
        // Under a name that says nothing, bytes that are no model's are some other download.
        let is_other = |read: &Verdict| read.state == State::NotAModel && partial::is_partial(name);
        let verdict = match read {
            Some(read) if is_other(&read) => read,
            Some(Verdict { format, facts, safety, .. }) => Verdict { format, facts, safety, ..verdict },
            None => verdict,
        };
        self.unread(&file.path, meta, verdict)
    }

    fn unread(&mut self, path: &Path, meta: &Metadata, verdict: Verdict) -> KnownFile {
        KnownFile {
            volume: self.volumes.of(meta.dev(), path).name.clone(),
            inode: meta.ino(),
            stamp: UNREAD.into(),
            sampled: placeholder(path),
            is_whole: false,
            verdict,
        }
    }
}

impl Seen {
    fn dangling(file: &FoundFile) -> Self {
        let (sha256, link) = (file.sha256.clone(), Some(Link::Dangling));
        let wire = File { sha256, link, ..File::at(&file.path, file.role) };
        Self { file: wire, on_disk: None, known: None, owner: None }
    }
}

/// How much of the weights of a location that is not whole is there; None where one is not at all. Where all that is
/// there is whole, what is missing is of unknown size.
fn progress(seen: &[Seen]) -> Option<Progress> {
    let weights = seen.iter().filter(|seen| seen.file.role == Role::Weights);
    let parts = weights.map(|seen| {
        let path = seen.file.path.to_path();
        if is_whole(seen) {
            return Some(Progress::whole(seen.file.size));
        }
        path.metadata().ok().map(|meta| measure::progress(&path, &meta, None))
    });
    let all = parts.reduce(|a, b| Some(a?.and(b?)))??;
    Some(Progress { total: all.total.filter(|total| all.bytes.is_none_or(|bytes| bytes < *total)), ..all })
}

fn is_whole(seen: &Seen) -> bool {
    seen.known.as_ref().is_some_and(|known| known.is_whole)
}

/// What stands for an inode where the kernel makes up another one at each mount: made of the path, so that two files
/// never pass for one. Fits into a number of JSON.
fn number_of(path: &Path, is_link: bool) -> u64 {
    const BITS: u64 = (1 << 53) - 1;
    let real = if is_link { resolved(path) } else { None };
    let hash = blake3::hash(real.as_deref().unwrap_or(path).as_os_str().as_bytes());
    hash.as_bytes().iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte)) & BITS
}

/// Identity of a file whose bytes cannot be read yet: its place.
fn placeholder(path: &Path) -> Vec<u8> {
    blake3::hash(path.as_os_str().as_bytes()).as_bytes().to_vec()
}

/// A model's content: its weight files, in whatever order they lie; without any, its app and handle. A tree of
/// components is no other model's content, also where it has the weights of one component alone.
fn content_key<'a>(found: &Found, weights: impl Iterator<Item = &'a KnownFile>) -> Vec<u8> {
    let mut sampled: Vec<&[u8]> = weights.map(|known| known.sampled.as_slice()).collect();
    sampled.sort_unstable();
    let mut hash = blake3::Hasher::new();
    if found.hints.format == Some(Format::Diffusers) {
        hash.update(Format::Diffusers.name().as_bytes());
    }
    if sampled.is_empty() {
        hash.update(found.app.name().as_bytes());
        hash.update(&[0]);
        hash.update(found.id.as_bytes());
    }
    for id in sampled {
        hash.update(id);
    }
    hash.finalize().as_bytes().to_vec()
}

/// Whether the index wants it: not what only bears a model's name, nor a pickle of other things.
fn is_model(known: &KnownFile) -> bool {
    let is_imatrix = known.verdict.facts.as_ref().is_some_and(|facts| facts.kind == Some(Kind::Imatrix));
    known.verdict.state != State::NotAModel && !is_imatrix && !known.verdict.is_pickled_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_inodes_are_told_apart_by_where_they_lie_and_a_link_is_what_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let (file, link) = (base.join("file"), base.join("link"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let number = number_of(&file, false);
        assert_eq!(number_of(&link, true), number);
        assert_ne!(number_of(&base.join("other"), false), number);
        assert!(number < 1 << 53);
    }
}
