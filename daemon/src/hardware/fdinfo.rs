//! Who holds memory of which card, as drivers tell in `/proc/PID/fdinfo` of what a process has opened of them
//! (Documentation/gpu/drm-usage-stats.rst). Other users' processes are seen by none of it.

use super::files;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Bytes by what a driver calls its memory: `vram`, `gtt`, `vram0`, `local0`, `system0`.
type Regions = BTreeMap<String, u64>;

/// By PCI address and process id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Holders(BTreeMap<String, BTreeMap<u32, Regions>>);

/// What one file says of the client that it is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Client {
    pci: String,
    id: Option<u64>,
    regions: Regions,
}

impl Holders {
    /// Looks at every process below `proc`.
    pub(super) fn read(proc: &Path) -> Self {
        let mut pids: Vec<u32> =
            files::entries(proc).iter().filter_map(|dir| files::name(dir)?.parse().ok()).collect();
        pids.sort_unstable();
        let mut seen = BTreeSet::new();
        let mut all = Self::default();
        for pid in pids {
            for client in clients(&proc.join(pid.to_string())) {
                // One that is inherited or passed on is one client; its first process has it.
                if client.id.is_none_or(|id| seen.insert((client.pci.clone(), id))) {
                    all.add(pid, client);
                }
            }
        }
        all
    }

    fn add(&mut self, pid: u32, client: Client) {
        let held = self.0.entry(client.pci).or_default().entry(pid).or_default();
        for (region, bytes) in client.regions {
            let sum = held.entry(region).or_default();
            // Without a number the same client may be told many times.
            *sum = if client.id.is_some() { sum.saturating_add(bytes) } else { bytes.max(*sum) };
        }
    }

    /// Bytes by process of a card's own memory, and of main memory where that is its memory too.
    pub(super) fn of(&self, pci: Option<&str>, shares_ram: bool) -> BTreeMap<u32, u64> {
        let is_own = |region: &str| region.starts_with("vram") || region.starts_with("local");
        let is_main = |region: &str| ["gtt", "system", "stolen"].iter().any(|name| region.starts_with(name));
        let counts = |region: &String| is_own(region) || shares_ram && is_main(region);
        let sum = |regions: &Regions| {
            let counted = regions.iter().filter(|(region, _)| counts(region)).map(|(_, bytes)| *bytes);
            counted.fold(0, u64::saturating_add)
        };
        let held = pci.and_then(|pci| self.0.get(pci)).into_iter().flatten();
        held.map(|(pid, regions)| (*pid, sum(regions))).filter(|(_, bytes)| *bytes > 0).collect()
    }
}

/// The clients that a process has open; it may end meanwhile.
fn clients(process: &Path) -> Vec<Client> {
    let is_graphics = |file: &Path| {
        let opened = files::name(file).and_then(|name| fs::read_link(process.join("fd").join(name)).ok());
        opened.is_none_or(|opened| opened.starts_with("/dev/dri"))
    };
    let tables = files::entries(&process.join("fdinfo"));
    let tables = tables.iter().filter(|file| is_graphics(file));
    tables.filter_map(|file| client(&files::text(file)?)).collect()
}

/// What is in memory now is `resident`; `memory` is the same in older kernels, `total` what may be elsewhere.
const KINDS: [&str; 3] = ["resident", "memory", "total"];

fn client(text: &str) -> Option<Client> {
    let mut found = Client { pci: files::told(text, "drm-pdev:")?, ..Client::default() };
    found.id = files::told(text, "drm-client-id:").and_then(|id| id.parse().ok());
    for kind in KINDS {
        let prefix = format!("drm-{kind}-");
        for line in text.lines() {
            let Some((region, size)) = line.strip_prefix(&prefix).and_then(|rest| rest.split_once(':'))
            else {
                continue;
            };
            if let Some(bytes) = bytes(size) {
                found.regions.entry(region.to_owned()).or_insert(bytes);
            }
        }
    }
    Some(found)
}

/// `1024 KiB`; a number alone is bytes.
fn bytes(size: &str) -> Option<u64> {
    let mut words = size.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    let unit = match words.next() {
        None => 1,
        Some("KiB") => 1 << 10,
        Some("MiB") => 1 << 20,
        Some(_) => return None,
    };
    number.checked_mul(unit).filter(|bytes| *bytes < 1 << 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "pos:\t0\nflags:\t02100002\ndrm-driver:\tamdgpu\ndrm-client-id:\t27\n\
                       drm-pdev:\t0000:03:00.0\ndrm-memory-vram:\t32496 KiB\ndrm-memory-gtt:\t28256 KiB\n\
                       drm-memory-cpu:\t0 KiB\namd-evicted-vram:\t0 KiB\ndrm-engine-gfx:\t13 ns\n";
    const NEW: &str = "drm-driver:\tamdgpu\ndrm-client-id:\t28\ndrm-pdev:\t0000:03:00.0\n\
                       drm-total-vram:\t4 MiB\ndrm-shared-vram:\t0\ndrm-active-vram:\t0\n\
                       drm-resident-vram:\t3 MiB\ndrm-total-gtt:\t2048\n";
    const XE: &str = "drm-driver:\txe\ndrm-client-id:\t7\ndrm-pdev:\t0000:09:00.0\ndrm-total-system:\t0\n\
                      drm-total-gtt:\t192 KiB\ndrm-total-vram0:\t23992 KiB\ndrm-resident-vram0:\t23992 KiB\n";
    const I915: &str = "drm-driver: i915\ndrm-pdev: 0000:0b:00.0\ndrm-client-id: 16\n\
                        drm-total-local0: 100 MiB\ndrm-total-system0: 1 MiB\n";

    fn tree(files: &[(u32, u32, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (pid, file, text) in files {
            let dir = dir.path().join(pid.to_string()).join("fdinfo");
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(file.to_string()), text).unwrap();
        }
        dir
    }

    #[track_caller]
    fn check(files: &[(u32, u32, &str)], (pci, shares_ram): (&str, bool), expected: &[(u32, u64)]) {
        let dir = tree(files);
        let held = Holders::read(dir.path()).of(Some(pci), shares_ram);
        assert_eq!(held.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn old_and_new_keys_of_every_driver_are_read() {
        let files = [(9, 4, OLD), (10, 4, NEW), (11, 5, XE), (12, 5, I915)];
        check(&files, ("0000:03:00.0", false), &[(9, 33_275_904), (10, 3 << 20)]);
        check(&files, ("0000:03:00.0", true), &[(9, 62_210_048), (10, (3 << 20) + 2048)]);
        check(&files, ("0000:09:00.0", false), &[(11, 24_567_808)]);
        check(&files, ("0000:0b:00.0", false), &[(12, 100 << 20)]);
        check(&files, ("0000:0b:00.0", true), &[(12, 101 << 20)]);
        check(&files, ("0000:01:00.0", true), &[]);
    }

    #[test]
    fn a_client_counts_once_wherever_it_is_open() {
        let card = ("0000:03:00.0", false);
        check(&[(10, 4, NEW), (10, 5, NEW), (1000, 3, NEW)], card, &[(10, 3 << 20)]);
        let without = NEW.replace("drm-client-id:\t28\n", "");
        check(&[(10, 4, &without), (10, 5, &without)], card, &[(10, 3 << 20)]);
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        let card = ("0000:03:00.0", false);
        let huge = NEW.replace("3 MiB", "18446744073709551615 KiB").replace("4 MiB", "5 MiB");
        check(&[(10, 4, &huge)], card, &[(10, 5 << 20)]);
        check(&[(10, 4, ""), (11, 4, "drm-pdev:\n"), (12, 4, "pos: 0\n")], card, &[]);
        check(&[(10, 4, &NEW.replace("MiB", "pages"))], card, &[]);
        let dir = tree(&[(10, 4, NEW)]);
        fs::create_dir(dir.path().join("10/fd")).unwrap();
        let at = dir.path().join("10/fd/4");
        std::os::unix::fs::symlink("/dev/null", &at).unwrap();
        assert_eq!(Holders::read(dir.path()), Holders::default());
        fs::remove_file(&at).unwrap();
        std::os::unix::fs::symlink("/dev/dri/renderD128", &at).unwrap();
        assert_eq!(Holders::read(dir.path()).of(Some(card.0), false), BTreeMap::from([(10, 3 << 20)]));
    }
}
