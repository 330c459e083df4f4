//! Looks for the places where stores may live: what lies in the home, what shells' and services' files set, what
//! pointer files say. Keeps nothing, watches nothing.

use crate::{
    core::Wanted,
    look::{Beneath, small_file},
    volume::Volumes,
};
use domain::stores::{Entry, EntryKind, Environment, STORES, VOLUME, assignments};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ffi::OsString,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// A pointer file may name another, whose content is needed as well.
const POINTER_ROUNDS: usize = 3;

/// How far below the home an app's folder is looked for.
const DEPTH: usize = 2;
/// What apps call the folder of their models.
const MODELS: &[&str] = &["models", "Models"];
/// A home with more folders than this is not looked through to its end.
const MOST_PLACES: usize = 4096;
/// Volumes, apps in sandboxes and settings files beyond these are not looked at.
const MOST: usize = 128;

/// Where shells, sessions and PAM set variables, below the home.
const OWN_FILES: &[&str] = &[
    ".profile",
    ".bash_profile",
    ".bashrc",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".config/fish/config.fish",
    ".pam_environment",
];
const OWN_FOLDERS: &[(&str, &str)] = &[(".config/environment.d", ".conf"), (OWN_UNITS, ".service")];
const OWN_UNITS: &str = ".config/systemd/user";
const SYSTEM_FILES: &[&str] = &["etc/environment"];
const SYSTEM_FOLDERS: &[(&str, &str)] = &[("etc/profile.d", ".sh"), ("etc/environment.d", ".conf")];
const UNITS: &[&str] = &["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
/// Services that keep models.
const SERVICES: &[&str] =
    &["ollama", "local-ai", "localai", "llama-server", "llama-swap", "ramalama", "comfyui"];

/// Where containers' volumes are, below the system and below the home.
const VOLUMES: &[&str] = &["var/lib/docker/volumes", "var/lib/containers/storage/volumes"];
const OWN_VOLUMES: &[&str] = &[".local/share/docker/volumes", ".local/share/containers/storage/volumes"];

/// Another set of variables, and perhaps another home.
struct Alternative {
    home: Option<PathBuf>,
    variables: BTreeMap<String, OsString>,
    /// Only what is there is taken: most sandboxes hold no models.
    is_sandbox: bool,
}

/// Returns where stores may live, the daemon's own environment first.
pub(crate) fn roots(own: &Environment) -> Vec<Wanted> {
    let mut environment = own.clone();
    environment.places = places(&environment);
    let default = Alternative {
        home: environment.home.clone(),
        variables: environment.variables.clone(),
        is_sandbox: false,
    };
    let others = settings(&environment).into_iter().chain(sandboxes(&environment));
    let mut seen = BTreeSet::new();
    let mut wanted = Vec::new();
    for alternative in std::iter::once(default).chain(others) {
        (environment.home, environment.variables) = (alternative.home, alternative.variables);
        read_pointers(&mut environment);
        for store in STORES {
            let roots = store.roots(&environment).into_iter();
            let roots = roots.filter(|path| !alternative.is_sandbox || path.is_dir());
            let fresh = roots.filter(|path| seen.insert(path.clone())).collect::<Vec<_>>();
            wanted.extend(fresh.into_iter().map(|path| Wanted {
                place: store.place(&environment, &path),
                path,
                app: Some(store.app()),
                derived_from: None,
            }));
        }
    }
    wanted
}

fn list(dir: &Path) -> Vec<Entry> {
    Beneath::open(dir).and_then(|beneath| beneath.list(dir)).unwrap_or_default()
}

/// Lists the home and its folders, two deep, without hidden ones, through no link and onto no network; and containers'
/// volumes.
fn places(environment: &Environment) -> BTreeMap<PathBuf, Vec<Entry>> {
    let mut places = BTreeMap::new();
    let volumes = Volumes::read();
    let far = volumes.far_points();
    let mut waiting: VecDeque<(PathBuf, usize)> =
        environment.home.clone().map(|home| (home, 0)).into_iter().collect();
    while let Some((dir, depth)) = waiting.pop_front()
        && places.len() < MOST_PLACES
    {
        if depth > 0 && far.contains(&*dir) {
            continue;
        }
        let entries = list(&dir);
        let is_shown =
            |entry: &&Entry| entry.kind == EntryKind::Dir && !entry.name.as_bytes().starts_with(b".");
        if depth < DEPTH {
            waiting.extend(entries.iter().filter(is_shown).map(|entry| (dir.join(&entry.name), depth + 1)));
        }
        places.insert(dir, entries);
    }
    // Of the deepest, an app's layout is seen by what is in its folder of models.
    let has_models =
        |entry: &Entry| entry.kind == EntryKind::Dir && MODELS.iter().any(|name| entry.name == *name);
    let below = places.iter().flat_map(|(dir, entries)| {
        entries.iter().filter(|entry| has_models(entry)).map(move |entry| dir.join(&entry.name))
    });
    for dir in below.filter(|dir| !places.contains_key(dir)).take(MOST).collect::<Vec<_>>() {
        places.insert(dir.clone(), list(&dir));
    }
    let system = VOLUMES.iter().map(|dir| environment.in_system(dir));
    let own = OWN_VOLUMES.iter().filter_map(|dir| environment.in_home(dir));
    for volumes in system.chain(own) {
        for volume in list(&volumes).into_iter().filter(|entry| entry.kind == EntryKind::Dir).take(MOST) {
            let data = volumes.join(&volume.name).join(VOLUME);
            for dir in [data.join("hub"), data.join("models"), data] {
                places.insert(dir.clone(), list(&dir));
            }
        }
    }
    places
}

/// Reads the small files that say where stores live.
fn read_pointers(environment: &mut Environment) {
    for _ in 0..POINTER_ROUNDS {
        let named: BTreeSet<PathBuf> = STORES.iter().flat_map(|store| store.pointers(environment)).collect();
        let fresh: Vec<PathBuf> =
            named.into_iter().filter(|path| !environment.pointers.contains_key(path)).collect();
        let read = fresh.into_iter().filter_map(|path| small_file(&path).map(|content| (path, content)));
        let read: Vec<_> = read.collect();
        if read.is_empty() {
            return;
        }
        environment.pointers.extend(read);
    }
}

/// One alternative for each file that sets a variable of ours.
fn settings(environment: &Environment) -> Vec<Alternative> {
    let below = |dir: PathBuf, end: &str| -> Vec<PathBuf> {
        let names = list(&dir).into_iter().filter(|entry| entry.name.as_bytes().ends_with(end.as_bytes()));
        names.take(MOST).map(|entry| dir.join(entry.name)).collect()
    };
    let mut own: Vec<PathBuf> = OWN_FILES.iter().filter_map(|file| environment.in_home(file)).collect();
    for (dir, end) in OWN_FOLDERS {
        own.extend(environment.in_home(dir).into_iter().flat_map(|dir| below(dir, end)));
    }
    // `systemctl --user edit` writes beside the unit.
    let edited = SERVICES
        .iter()
        .filter_map(|service| environment.in_home(&format!("{OWN_UNITS}/{service}.service.d")));
    own.extend(edited.flat_map(|dir| below(dir, ".conf")));
    let mut system: Vec<PathBuf> = SYSTEM_FILES.iter().map(|file| environment.in_system(file)).collect();
    for (dir, end) in SYSTEM_FOLDERS {
        system.extend(below(environment.in_system(dir), end));
    }
    for dir in UNITS.iter().map(|dir| environment.in_system(dir)) {
        for service in SERVICES {
            system.push(dir.join(format!("{service}.service")));
            system.extend(below(dir.join(format!("{service}.service.d")), ".conf"));
        }
    }
    let mut known = environment.variables.clone();
    known.extend(environment.home.clone().map(|home| ("HOME".to_owned(), home.into_os_string())));
    let set = |path: PathBuf| Some(assignments(&small_file(&path)?, &known)).filter(|set| !set.is_empty());
    let own = own.into_iter().filter_map(set);
    let system = system.into_iter().filter_map(set).map(|set| {
        let placed = |value: OsString| beneath(&environment.sysroot, Path::new(&value));
        set.into_iter().map(|(name, value)| (name, placed(value))).collect()
    });
    let overlaid = |set: BTreeMap<String, OsString>| Alternative {
        home: environment.home.clone(),
        variables: environment.variables.clone().into_iter().chain(set).collect(),
        is_sandbox: false,
    };
    own.chain(system).map(overlaid).collect()
}

/// What a file of the system names lies below the sysroot, as that file does.
fn beneath(sysroot: &Path, value: &Path) -> OsString {
    match value.strip_prefix("/") {
        Ok(relative) if !value.starts_with(sysroot) => sysroot.join(relative).into(),
        _ => value.into(),
    }
}

/// Flatpak's and snap's homes for each app of this user.
fn sandboxes(environment: &Environment) -> Vec<Alternative> {
    let below = |dir: &str| -> Vec<PathBuf> {
        let Some(dir) = environment.in_home(dir) else { return Vec::new() };
        let dirs = list(&dir).into_iter().filter(|entry| entry.kind == EntryKind::Dir).take(MOST);
        dirs.map(|entry| dir.join(entry.name)).collect()
    };
    let of = |home: PathBuf, places: [(&str, &str); 3]| {
        let variables = places.map(|(name, dir)| (name.to_owned(), home.join(dir).into_os_string()));
        Alternative { home: Some(home), variables: variables.into(), is_sandbox: true }
    };
    let flatpak = [("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache")];
    let snap =
        [("XDG_DATA_HOME", ".local/share"), ("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")];
    let flatpaks = below(".var/app").into_iter().map(|home| of(home, flatpak));
    let snaps = below("snap").into_iter().flat_map(|app| [app.join("common"), app.join("current")]);
    flatpaks.chain(snaps.map(|home| of(home, snap))).collect()
}
