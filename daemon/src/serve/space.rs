//! Where the space goes: what is stored twice, and bytes by whoever holds them. Frees nothing.

use super::{
    answer::{Failure, refusal},
    hub::Hub,
    list::{self, Fitting},
};
use crate::{core::Live, extents, index::Reader, look, volume::Volumes};
use api::{ApiError, Duplicates, Filesystem, Usage};
use domain::{
    File, Link, Model, OnDisk, RootStatus,
    duplicates::{self, Extents, Group, Holder},
    filter::Query,
    progress::{Grown, after},
    usage::{self, By, Tally},
};
use rustix::fs::{StatVfs, statfs, statvfs};
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

/// Filesystems on which files can share blocks (statfs(2) and the kernels' own headers): btrfs, xfs, bcachefs, zfs.
const REFLINKS: &[i64] = &[0x9123_683e, 0x5846_5342, 0xca45_1a4e, 0x2fc1_2fc1];

/// What is stored more than once, of all models, and the bytes of all that they hold.
pub(super) fn groups(reader: &Reader) -> anyhow::Result<(Vec<Group>, u64)> {
    let holders = holders(reader)?;
    let twice = duplicates::overlaps(&holders).into_iter().map(|(_, _, already)| already);
    let all = twice.fold(reader.allocated()?, u64::saturating_sub);
    Ok((duplicates::groups(&holders), all))
}

/// Who holds bytes that others hold too, and where those lie.
fn holders(reader: &Reader) -> anyhow::Result<Vec<Holder>> {
    let mut holders = reader.holders()?;
    let volumes = Volumes::read();
    for holder in holders.iter_mut().filter(|holder| holder.online) {
        let path = holder.file.path.to_path();
        // A server may be gone: what was seen last has to do.
        if volumes.is_far(&path) {
            continue;
        }
        // A hard link that is made or removed elsewhere is no event of the directory that is watched.
        if let Ok(meta) = path.metadata()
            && meta.ino() == holder.on_disk.inode
        {
            holder.on_disk.links = meta.nlink();
        }
        // Whose blob has another name: is that one known?
        if holder.on_disk.links > 1 && holder.file.link == Some(Link::Symlink) {
            holder.target = look::resolved(&path);
        }
    }
    lay_out(&mut holders);
    Ok(holders)
}

/// Looks where copies lie on filesystems on which they may lie at one place: each inode once.
fn lay_out(holders: &mut [Holder]) {
    let mut kinds: BTreeMap<String, bool> = BTreeMap::new();
    let mut known: BTreeMap<(String, u64), Option<Extents>> = BTreeMap::new();
    for holder in holders.iter_mut().filter(|holder| holder.online) {
        let path = holder.file.path.to_path();
        let OnDisk { volume, inode, .. } = &holder.on_disk;
        if *kinds.entry(volume.clone()).or_insert_with(|| can_share_blocks(&path)) {
            let extents = known.entry((volume.clone(), *inode)).or_insert_with(|| extents::of(&path, volume));
            holder.extents.clone_from(extents);
        }
    }
}

pub(super) async fn duplicates(
    hub: &Hub,
    filters: Vec<String>,
    callers: BTreeMap<String, String>,
) -> Result<Duplicates, Failure> {
    hub.first_scan().await;
    let query = Query::parse(&filters).map_err(list::bad)?;
    let live = hub.live().await.map_err(refusal)?;
    let fitting = if query.asks_fits() { hub.fits(callers, true).await? } else { None };
    let work = move |reader: &Reader| {
        let holders = holders(reader)?;
        let mut groups = duplicates::groups(&holders);
        if !filters.is_empty() {
            let passing = ids(reader, &query, &live, Fitting::new(fitting.as_ref(), true))?;
            groups.retain(|group| group.models.iter().any(|model| passing.contains(&model.id)));
        }
        let (duplicates, reclaimable) = duplicates::totals(&groups);
        Ok(Duplicates { notes: notes(&groups, &holders), groups, duplicates, reclaimable })
    };
    hub.read(work).await.map_err(refusal)
}

fn ids(reader: &Reader, query: &Query, live: &Live, fits: Fitting<'_>) -> anyhow::Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    let mut now = list::Now { live, fits };
    list::select(reader, query, None, &mut now, |text| {
        ids.insert(list::id_of(text)?);
        Ok(())
    })?;
    Ok(ids)
}

fn notes(groups: &[Group], holders: &[Holder]) -> Vec<String> {
    let mut notes = Vec::new();
    if groups.iter().any(|group| !group.certain) {
        notes.push(
            "some are alike in size, header and samples of the data, and not every copy has a hash: \
             `modelctl verify` makes sure"
                .to_owned(),
        );
    }
    if groups.iter().any(|group| group.copies.iter().any(|copy| copy.held_elsewhere)) {
        notes.push(
            "some have hard links outside the places that are looked at, which keep their bytes".to_owned(),
        );
    }
    let twice = groups.iter().filter(|group| group.inodes() > 1).flat_map(|group| &group.copies);
    let twice: BTreeSet<(&str, u64)> = twice.map(|copy| (copy.volume.as_str(), copy.inode)).collect();
    let is_unknown = |holder: &&Holder| {
        holder.extents.is_none() && twice.contains(&(holder.on_disk.volume.as_str(), holder.on_disk.inode))
    };
    let mut volumes: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for holder in holders.iter().filter(|holder| holder.online).filter(is_unknown) {
        volumes.entry(&holder.on_disk.volume).or_insert_with(|| holder.file.path.to_path());
    }
    if volumes.values().any(|path| can_share_blocks(path)) {
        notes.push(
            "of some copies it is not known whether they share their blocks (cp --reflink): they count in full"
                .to_owned(),
        );
    }
    notes
}

fn can_share_blocks(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| REFLINKS.contains(&stat.f_type))
}

pub(super) async fn usage(hub: &Hub, by: Option<String>) -> Result<Usage, Failure> {
    hub.first_scan().await;
    let known = || By::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let by = match by {
        None => By::App,
        Some(text) => By::parse(&text).ok_or_else(|| ApiError::Refused {
            why: format!("bytes are not counted by `{text}`"),
            hint: Some(format!("there are {}", known())),
        })?,
    };
    let live = hub.live().await.map_err(refusal)?;
    let work = move |reader: &Reader| {
        let (shares, total) = tally(reader, by, &live)?.shares();
        Ok(Usage { by, shares, total, filesystems: filesystems(reader)? })
    };
    hub.read(work).await.map_err(refusal)
}

fn tally(reader: &Reader, by: By, live: &Live) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    reader.locations(|place, model, root| {
        let model: Model = serde_json::from_str(model)?;
        let root = root.to_string_lossy();
        let name = match by {
            By::App => Some(place.location.app.name()),
            By::Root => Some(&*root),
            By::Family => usage::family(&model),
            By::Kind => model.kind.map(|kind| kind.name()),
            By::Format => model.format.map(|format| format.name()),
        };
        let now = |(file, on_disk): (&File, &Option<OnDisk>)| {
            let now = file.disk_size.and_then(|_| live.files.get(&file.path.to_path()));
            let disk_size = now.map(|now| now.disk_size);
            on_disk.clone().map(|known| OnDisk { disk_size: disk_size.unwrap_or(known.disk_size), ..known })
        };
        let on_disk: Vec<_> = place.location.files.iter().zip(&place.on_disk).map(now).collect();
        tally.add(name, &model.id, &place.location, &on_disk);
        Ok(())
    })?;
    for (volume, inode, already) in duplicates::overlaps(&holders(reader)?) {
        tally.share_blocks(&volume, inode, already);
    }
    Ok(tally)
}

/// Roots with what has come to files that are being written since they were looked at.
pub(super) async fn roots(hub: &Hub) -> Result<Vec<RootStatus>, Failure> {
    hub.first_scan().await;
    let live = hub.live().await.map_err(refusal)?;
    let work = move |reader: &Reader| {
        let mut grown = Grown::new();
        reader.growing(|mut model| grown.extend(model.set_live(&live.files)))?;
        Ok(with_growth(reader.roots()?, &grown))
    };
    hub.read(work).await.map_err(refusal)
}

/// Adds what has grown to the roots that it lies in.
pub(super) fn with_growth(mut roots: Vec<RootStatus>, grown: &Grown) -> Vec<RootStatus> {
    for (path, growth) in grown {
        let holds = |root: &&mut RootStatus| root.online && path.starts_with(root.path.to_path());
        if let Some(root) = roots.iter_mut().filter(holds).max_by_key(|root| root.path.text().len()) {
            root.bytes = after(root.bytes, [growth]);
        }
    }
    roots
}

/// Bytes of the filesystem at a path, and those that are free for this user.
pub(super) fn room(path: &Path) -> Option<(u64, u64)> {
    let StatVfs { f_frsize, f_blocks, f_bavail, .. } = statvfs(path).ok()?;
    Some((f_blocks.saturating_mul(f_frsize), f_bavail.saturating_mul(f_frsize)))
}

/// How long a server may take to say how much room it has.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks from a thread that nobody waits for where a server may not answer.
fn in_time<T: Send + 'static>(look: fn(&Path) -> Option<T>, path: PathBuf) -> Option<T> {
    let (answer, answered) = channel();
    let look = move || drop(answer.send(look(&path))); // who asked may have lost his patience
    thread::Builder::new().name("far".into()).spawn(look).ok()?;
    answered.recv_timeout(PATIENCE).ok()?
}

/// Those that the roots lie on, as far as they are there.
fn filesystems(reader: &Reader) -> anyhow::Result<Vec<Filesystem>> {
    let mut by_device: BTreeMap<u64, Filesystem> = BTreeMap::new();
    let volumes = Volumes::read();
    for root in reader.roots()?.into_iter().filter(|root| root.online) {
        let path = root.path.to_path();
        let measure = |path: &Path| Some((path.metadata().ok()?.dev(), room(path)?));
        let measured = if volumes.is_far(&path) { in_time(measure, path) } else { measure(&path) };
        let Some((device, (total, available))) = measured else { continue };
        let new = || Filesystem { total, available, roots: Vec::new() };
        by_device.entry(device).or_insert_with(new).roots.push(root.path.text().to_owned());
    }
    Ok(by_device.into_values().collect())
}
