//! Where the space went: bytes of inodes by whoever holds them, so that sums add up. Measures nothing itself.

use crate::{Link, Location, Model, OnDisk, facts::common_architecture};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// By what the bytes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    App,
    Root,
    Family,
    Kind,
    Format,
}

impl By {
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("app", Self::App),
        ("root", Self::Root),
        ("family", Self::Family),
        ("kind", Self::Kind),
        ("format", Self::Format),
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, by)| *by)
    }
}

/// Bytes of one app, root, family, kind or format.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// None where it is not known.
    pub name: Option<String>,
    pub models: u64,
    /// Bytes allocated. An inode is counted once, in the first that holds it: the bytes of all are the total.
    pub bytes: u64,
    /// Of these, what nothing else holds: its end would free them.
    pub exclusive: u64,
    /// What others hold as well, wherever it was counted.
    pub shared: u64,
}

/// What a model belongs to by its making.
pub fn family(model: &Model) -> Option<&str> {
    model.family.as_deref().or_else(|| model.architecture.as_deref().map(common_architecture))
}

/// A count of inodes, location by location.
#[derive(Debug, Default)]
pub struct Tally {
    inodes: BTreeMap<(String, u64), Inode>,
    /// The models of each name.
    models: BTreeMap<Option<String>, BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Inode {
    bytes: u64,
    links: u64,
    /// Of its bytes, those that lie where another one's lie, which was counted before.
    already: u64,
    /// It has bytes that are another one's as well.
    is_reflinked: bool,
    holders: BTreeSet<Option<String>>,
    /// Names of it that are known, where it has more than one.
    names: BTreeSet<PathBuf>,
}

impl Tally {
    /// Counts a location for a name, None where that is not known; `on_disk` has one for each of its files.
    pub fn add(&mut self, name: Option<&str>, model: &str, location: &Location, on_disk: &[Option<OnDisk>]) {
        let name = name.map(str::to_owned);
        self.models.entry(name.clone()).or_default().insert(model.to_owned());
        for (file, on_disk) in location.files.iter().zip(on_disk) {
            let Some(OnDisk { volume, inode, disk_size, links }) = on_disk else { continue };
            let inode = self.inodes.entry((volume.clone(), *inode)).or_default();
            inode.bytes = inode.bytes.max(*disk_size);
            inode.links = inode.links.max(*links);
            inode.holders.insert(name.clone());
            let is_name = *links > 1 && file.link != Some(Link::Symlink);
            inode.names.extend(is_name.then(|| file.path.to_path()));
        }
    }

    /// Notes that an inode shares blocks with others, and how many bytes of it are counted with those before it.
    pub fn share_blocks(&mut self, volume: &str, inode: u64, already: u64) {
        if let Some(inode) = self.inodes.get_mut(&(volume.to_owned(), inode)) {
            (inode.already, inode.is_reflinked) = (already, true);
        }
    }

    /// Returns the shares, the largest first, and the bytes of all.
    pub fn shares(self) -> (Vec<Share>, u64) {
        let share = |(name, models): (Option<String>, BTreeSet<String>)| {
            (name.clone(), Share { name, models: models.len() as u64, ..Share::default() })
        };
        let mut shares: BTreeMap<Option<String>, Share> = self.models.into_iter().map(share).collect();
        let mut total: u64 = 0;
        for inode in self.inodes.values() {
            let own = inode.bytes.saturating_sub(inode.already);
            total = total.saturating_add(own);
            let is_shared = inode.is_reflinked
                || inode.holders.len() > 1
                || inode.links > inode.names.len().max(1) as u64;
            for (no, holder) in inode.holders.iter().enumerate() {
                let Some(share) = shares.get_mut(holder) else { continue };
                let part = if is_shared { &mut share.shared } else { &mut share.exclusive };
                *part = part.saturating_add(inode.bytes);
                share.bytes = share.bytes.saturating_add(if no == 0 { own } else { 0 });
            }
        }
        let mut shares: Vec<Share> = shares.into_values().collect();
        shares.sort_by(|a, b| (b.bytes, &a.name).cmp(&(a.bytes, &b.name)));
        (shares, total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{App, model::testing};

    fn location(paths: &[&str]) -> Location {
        testing::location(App::Loose, "h", paths.iter().map(|path| testing::weights(path)).collect())
    }

    fn on_disk(inode: u64, disk_size: u64, links: u64) -> OnDisk {
        OnDisk { volume: "v".into(), inode, disk_size, links }
    }

    #[test]
    fn shares_add_up_to_what_is_on_the_disk() {
        let places =
            [location(&["/a", "/b"]), location(&["/b2", "/c"]), location(&["/d"]), location(&["/gone"])];
        let disk = [
            vec![Some(on_disk(1, 100, 1)), Some(on_disk(2, 10, 2))],
            vec![Some(on_disk(2, 10, 2)), Some(on_disk(3, 1, 1))],
            vec![Some(on_disk(4, 5, 2))],
            vec![None],
        ];
        let names = [Some("one"), Some("two"), Some("two"), None];
        let mut tally = Tally::default();
        for n in 0..4 {
            tally.add(names[n], ["m", "n", "n", "o"][n], &places[n], &disk[n]);
        }
        let share = |name: Option<&str>, models, bytes, exclusive, shared| Share {
            name: name.map(str::to_owned),
            models,
            bytes,
            exclusive,
            shared,
        };
        let (shares, total) = tally.shares();
        // The inode of 5 bytes has a name that nobody here knows.
        let expected =
            [share(Some("one"), 1, 110, 100, 10), share(Some("two"), 1, 6, 1, 15), share(None, 1, 0, 0, 0)];
        assert_eq!((shares.as_slice(), total), (&expected[..], 116));
        assert_eq!(shares.iter().map(|share| share.bytes).sum::<u64>(), total);
    }

    #[test]
    fn what_lies_at_the_same_place_as_another_file_is_counted_with_that() {
        let mut tally = Tally::default();
        for (name, model, inode) in [("one", "m", 1), ("two", "n", 2), ("two", "o", 3)] {
            tally.add(Some(name), model, &location(&["/x"]), &[Some(on_disk(inode, 100, 1))]);
        }
        tally.share_blocks("v", 1, 0);
        tally.share_blocks("v", 2, 90);
        tally.share_blocks("v", 4, 90);
        let (shares, total) = tally.shares();
        assert_eq!(total, 210);
        let bytes: Vec<_> = shares.iter().map(|share| (share.bytes, share.exclusive, share.shared)).collect();
        assert_eq!(bytes, [(110, 100, 100), (100, 0, 100)]);
    }
}
