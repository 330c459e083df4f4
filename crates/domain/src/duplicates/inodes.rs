//! The inodes behind the paths of one content, and what one copy less would free. Names no path to be removed.

use super::{
    Holder,
    extents::{Extents, Places},
};
use crate::{Link, OnDisk};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// The inodes behind paths.
pub(super) struct Inodes<'a>(BTreeMap<(&'a str, u64), Inode<'a>>);

#[derive(Default)]
struct Inode<'a> {
    extents: Option<&'a Extents>,
    bytes: u64,
    links: u64,
    online: bool,
    /// Names of it that are known.
    names: BTreeSet<PathBuf>,
}

impl Inode<'_> {
    /// A symlink whose end was not looked up shows that there is one name at least.
    fn is_held_elsewhere(&self) -> bool {
        self.links > self.names.len().max(1) as u64
    }
}

impl<'a> Inodes<'a> {
    pub(super) fn of(held: &[&'a Holder]) -> Self {
        let mut inodes: BTreeMap<(&str, u64), Inode<'a>> = BTreeMap::new();
        for holder in held {
            let OnDisk { volume, inode, disk_size, links } = &holder.on_disk;
            let known = inodes.entry((volume, *inode)).or_default();
            known.bytes = *disk_size;
            // A name that was made later is seen at that name first.
            known.links = known.links.max(*links);
            known.online |= holder.online;
            known.extents = known.extents.or(holder.extents.as_ref());
            let is_symlink = holder.file.link == Some(Link::Symlink);
            let own = (!is_symlink).then(|| holder.file.path.to_path());
            known.names.extend(own.or_else(|| holder.target.clone()));
        }
        Self(inodes)
    }

    pub(super) fn is_held_elsewhere(&self, on_disk: &OnDisk) -> bool {
        self.0.get(&(&*on_disk.volume, on_disk.inode)).is_some_and(Inode::is_held_elsewhere)
    }

    /// Bytes that can be freed while one copy stays: one that cannot be freed anyway, else the largest.
    pub(super) fn reclaimable(&self) -> u64 {
        let online: Vec<&Inode<'a>> = self.0.values().filter(|inode| inode.online).collect();
        let (mut stay, mut go): (Vec<&Inode<'a>>, Vec<&Inode<'a>>) =
            online.iter().copied().partition(|inode| inode.is_held_elsewhere());
        if stay.is_empty() {
            let largest = go.iter().enumerate().max_by_key(|(_, inode)| inode.bytes).map(|(at, _)| at);
            stay.extend(largest.map(|at| go.remove(at)));
        }
        let mut counted = Places::of(stay.iter().filter_map(|inode| inode.extents));
        let mut bytes: u64 = 0;
        for inode in go {
            let free = inode.extents.map_or(inode.bytes, |own| {
                let others = online.iter().filter_map(|other| other.extents);
                let others = Places::of(others.filter(|other| !std::ptr::eq(*other, own)));
                let free = counted.part(own, &others).free_of(inode.bytes);
                counted.add(own);
                free
            });
            bytes = bytes.saturating_add(free);
        }
        bytes
    }

    /// Whether a copy stays that cannot be freed, and the bytes of the one that would stay otherwise.
    pub(super) fn kept(&self) -> (bool, u64) {
        let mut online = self.0.values().filter(|inode| inode.online);
        if online.clone().any(Inode::is_held_elsewhere) {
            return (true, 0);
        }
        (false, online.by_ref().map(|inode| inode.bytes).max().unwrap_or(0))
    }
}
