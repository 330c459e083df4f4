//! What is stored more than once: which files hold the same bytes or the same tensors, and what one copy of each
//! would free. Deletes nothing and looks at no disk.

mod extents;
mod inodes;
mod removal;
#[cfg(test)]
mod tests;

use crate::{App, File, Link, OnDisk, Role, WirePath};
pub use extents::{Extent, Extents};
use extents::{Part, Places};
use inodes::Inodes;
pub use removal::{Reach, reach};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// In what copies are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sameness {
    /// In every byte.
    Exact,
    /// In their tensors; what is said of them differs.
    SameWeights,
}

/// What is known of a path whose sampled id others share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub path: PathBuf,
    pub volume: String,
    pub inode: u64,
    /// SHA-256 as the app wrote it down, and as it was computed from the bytes.
    pub recorded: Option<String>,
    pub computed: Option<String>,
}

/// A path at which a location holds the bytes of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    pub model: ModelName,
    pub app: App,
    pub handle: String,
    pub repo: Option<String>,
    pub owner: Option<String>,
    pub online: bool,
    pub file: File,
    pub on_disk: OnDisk,
    /// What else of a model its app removes with it.
    pub beside: Vec<WirePath>,
    pub sampled: Vec<u8>,
    pub computed: Option<String>,
    /// Hash of the tensors alone.
    pub tensors: Option<String>,
    /// Where a symlink leads, as far as that was looked up.
    pub target: Option<PathBuf>,
    /// Where the bytes lie on the disk, where that is known.
    pub extents: Option<Extents>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelName {
    pub id: String,
    pub name: String,
}

/// Files that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub kind: Sameness,
    /// As models have it in `duplicate_group`; of `same-weights` the hash of the tensors.
    pub group: String,
    pub sha256: Option<String>,
    /// Every copy has a hash that says so; else size, header and samples of the data do.
    pub certain: bool,
    /// Bytes that one copy would free; what hard links elsewhere keep alive is not counted.
    pub reclaimable: u64,
    pub models: Vec<ModelName>,
    pub copies: Vec<CopyAt>,
}

/// One path of a group. Paths with the same inode take their bytes once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyAt {
    #[serde(flatten)]
    pub path: WirePath,
    pub app: App,
    pub inode: u64,
    pub volume: String,
    /// Bytes, and bytes allocated.
    pub size: u64,
    pub disk_size: u64,
    pub role: Role,
    pub link: Option<Link>,
    pub owner: Option<String>,
    pub online: bool,
    pub model: String,
    /// A hard link that is not among the known ones keeps the bytes alive.
    pub held_elsewhere: bool,
    /// How its app removes it, and nothing else; None where it is a plain file.
    pub remove: Option<String>,
    /// What else its app would remove with it, or what would keep its bytes.
    #[serde(default)]
    pub remove_note: Option<String>,
    /// All its bytes lie where those of copies before it lie (`cp --reflink`): it takes no room of its own.
    #[serde(default)]
    pub reflink: bool,
}

/// How many contents take their bytes more than once, and how many bytes one copy of each would free.
pub fn totals(groups: &[Group]) -> (u64, u64) {
    let exact = || groups.iter().filter(|group| group.kind == Sameness::Exact);
    let twice = exact().filter(|group| group.inodes() > 1).count();
    (twice as u64, exact().map(|group| group.reclaimable).fold(0, u64::saturating_add))
}

impl Group {
    /// How many times the bytes are on the disk.
    pub fn inodes(&self) -> usize {
        let own = self.copies.iter().filter(|copy| !copy.reflink);
        own.map(|copy| (&copy.volume, copy.inode)).collect::<BTreeSet<_>>().len()
    }
}

/// Names what each path of one sampled id holds: the hash where one is known and none contradicts, else the sampled
/// id. Equal names mean equal bytes, as far as is known.
pub fn names(sampled: &[u8], class: &[Known]) -> Vec<String> {
    // What is known of an inode counts for every path to it; what was computed counts more than what was recorded.
    let mut by_inode: BTreeMap<(&str, u64), (bool, String)> = BTreeMap::new();
    for known in class {
        let hashes = [(false, &known.computed), (true, &known.recorded)];
        let hashes =
            hashes.into_iter().filter_map(|(claimed, hash)| Some((claimed, hash.as_ref()?.to_lowercase())));
        for hash in hashes {
            let best = by_inode.entry((&known.volume, known.inode)).or_insert_with(|| hash.clone());
            *best = hash.min(best.clone());
        }
    }
    let distinct: BTreeSet<&String> = by_inode.values().map(|(_, hash)| hash).collect();
    let only = distinct.iter().next().filter(|_| distinct.len() == 1);
    let unknown = || only.map_or_else(|| format!("sampled:{}", hex(sampled)), |only| (*only).clone());
    let name = |known: &Known| {
        let hash = by_inode.get(&(&*known.volume, known.inode));
        hash.map_or_else(unknown, |(_, hash)| hash.clone())
    };
    class.iter().map(name).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Finds what is alike among the holders, most bytes to win first.
pub fn groups(holders: &[Holder]) -> Vec<Group> {
    let named = named(holders);
    let mut groups: Vec<Group> = Vec::new();
    let mut by_tensors: BTreeMap<&str, BTreeMap<&str, &[&Holder]>> = BTreeMap::new();
    for (name, held) in &named {
        if let Some(tensors) = held.iter().find_map(|holder| holder.tensors.as_deref()) {
            by_tensors.entry(tensors).or_default().insert(name, held);
        }
        let copies = copies(held);
        if copies.len() > 1 {
            groups.push(exact(name, held, copies));
        }
    }
    groups.extend(by_tensors.iter().filter(|(_, contents)| contents.len() > 1).map(|(tensors, contents)| {
        let held: Vec<&Holder> = contents.values().flat_map(|held| held.iter().copied()).collect();
        // One of each content is what the exact groups leave.
        let kept = contents.values().map(|held| Inodes::of(held).kept());
        let (pinned, bytes): (Vec<bool>, Vec<u64>) = kept.unzip();
        let largest = if pinned.contains(&true) { 0 } else { bytes.iter().copied().max().unwrap_or(0) };
        Group {
            kind: Sameness::SameWeights,
            group: (*tensors).to_owned(),
            sha256: None,
            certain: true,
            reclaimable: bytes.iter().copied().fold(0, u64::saturating_add).saturating_sub(largest),
            models: models(&held),
            copies: copies(&held),
        }
    }));
    groups.sort_by(|a, b| {
        (b.reclaimable, a.kind, &a.models, &a.group).cmp(&(a.reclaimable, b.kind, &b.models, &b.group))
    });
    groups
}

/// Holders by the name of what they hold.
fn named(holders: &[Holder]) -> BTreeMap<String, Vec<&Holder>> {
    let mut classes: BTreeMap<&[u8], Vec<&Holder>> = BTreeMap::new();
    for holder in holders {
        classes.entry(&holder.sampled).or_default().push(holder);
    }
    let mut named: BTreeMap<String, Vec<&Holder>> = BTreeMap::new();
    for (sampled, class) in classes {
        let known: Vec<Known> = class.iter().map(|holder| holder.known()).collect();
        for (name, holder) in names(sampled, &known).into_iter().zip(class) {
            named.entry(name).or_default().push(holder);
        }
    }
    named
}

fn exact(name: &str, held: &[&Holder], copies: Vec<CopyAt>) -> Group {
    let inode = |holder: &&Holder| (holder.on_disk.volume.clone(), holder.on_disk.inode);
    let all: BTreeSet<_> = held.iter().map(inode).collect();
    let hashed = held.iter().filter(|holder| holder.file.sha256.is_some() || holder.computed.is_some());
    let hashed: BTreeSet<_> = hashed.map(inode).collect();
    Group {
        kind: Sameness::Exact,
        group: name.to_owned(),
        sha256: (!name.starts_with("sampled:")).then(|| name.to_owned()),
        certain: all.len() == 1 || all == hashed,
        reclaimable: Inodes::of(held).reclaimable(),
        models: models(held),
        copies,
    }
}

fn models(held: &[&Holder]) -> Vec<ModelName> {
    let distinct: BTreeSet<&ModelName> = held.iter().map(|holder| &holder.model).collect();
    distinct.into_iter().cloned().collect()
}

/// One for each path, in the order of the holders.
fn copies(held: &[&Holder]) -> Vec<CopyAt> {
    let inodes = Inodes::of(held);
    let already = already(held);
    let is_reflink = |on_disk: &OnDisk| {
        let part = already.get(&(&*on_disk.volume, on_disk.inode));
        part.is_some_and(|part| part.all > 0 && part.new == 0)
    };
    let mut seen = BTreeSet::new();
    let distinct = held.iter().filter(|holder| seen.insert(holder.file.path.to_path()));
    let copy = |holder: &&Holder| {
        let held_elsewhere = inodes.is_held_elsewhere(&holder.on_disk);
        let (remove, remove_note) = removal::way(holder, held, held_elsewhere);
        let reflink = is_reflink(&holder.on_disk);
        CopyAt { reflink, held_elsewhere, remove, remove_note, ..holder.copy() }
    };
    distinct.map(copy).collect()
}

/// What of each inode lies not where those before it lie. Those are left out of which that is not known.
fn already<'a>(held: &[&'a Holder]) -> BTreeMap<(&'a str, u64), Part> {
    let (mut parts, mut counted) = (BTreeMap::new(), Places::default());
    for holder in held.iter().filter(|holder| holder.online) {
        let Some(extents) = &holder.extents else { continue };
        let inode = (&*holder.on_disk.volume, holder.on_disk.inode);
        parts.entry(inode).or_insert_with(|| {
            let part = counted.part(extents, &counted);
            counted.add(extents);
            part
        });
    }
    parts
}

/// Inodes that share bytes with another one: the volume, the number, and bytes that lie where those of inodes before
/// it lie.
pub fn overlaps(holders: &[Holder]) -> Vec<(String, u64, u64)> {
    let mut found = Vec::new();
    for held in named(holders).values() {
        let parts = already(held);
        if parts.values().all(|part| part.new == part.all) {
            continue;
        }
        for ((volume, inode), part) in parts {
            let bytes =
                held.iter().find(|holder| (&*holder.on_disk.volume, holder.on_disk.inode) == (volume, inode));
            let bytes = bytes.map_or(0, |holder| holder.on_disk.disk_size);
            found.push((volume.to_owned(), inode, bytes.saturating_sub(part.new_of(bytes))));
        }
    }
    found
}

impl Holder {
    fn known(&self) -> Known {
        Known {
            path: self.file.path.to_path(),
            volume: self.on_disk.volume.clone(),
            inode: self.on_disk.inode,
            recorded: self.file.sha256.clone(),
            computed: self.computed.clone(),
        }
    }

    fn copy(&self) -> CopyAt {
        CopyAt {
            path: self.file.path.clone(),
            app: self.app,
            inode: self.on_disk.inode,
            volume: self.on_disk.volume.clone(),
            size: self.file.size,
            disk_size: self.on_disk.disk_size,
            role: self.file.role,
            link: self.file.link,
            owner: self.owner.clone(),
            online: self.online,
            model: self.model.id.clone(),
            held_elsewhere: false,
            reflink: false,
            remove: None,
            remove_note: None,
        }
    }
}
