//! Looks for the places where stores may live: what lies in the home, what shells' and services' files set, what
//! pointer files say. Keeps nothing, and does not say when to look again.

mod ground;

use crate::{core::Wanted, volume::Volumes, watch::Watch};
use domain::{
    App,
    stores::{Entry, EntryKind, Environment, STORES, Store, VOLUME, assignments, damage},
};
pub(crate) use ground::Concerns;
use ground::{Ground, why_unread};
use std::{
    collections::{BTreeMap, BTreeSet},
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

/// What a discovery has brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Where stores may live, the daemon's own environment first.
    pub wanted: Vec<Wanted>,
    pub concerns: Concerns,
    pub doubts: Doubts,
}

/// For each app with such, a settings file that cannot be understood, and why: the app may name more places than are seen.
pub(crate) type Doubts = BTreeMap<App, (PathBuf, String)>;

/// Returns where stores may live.
pub(crate) fn roots(own: &Environment) -> Vec<Wanted> {
    discover(own, None).wanted
}

/// Looks where stores may live; what that rests on is watched before it is looked at.
pub(crate) fn discover(own: &Environment, watch: Option<&Watch>) -> Discovered {
    let mut ground = Ground::new(watch);
    let (wanted, doubts) = wanted(own, &mut ground);
    Discovered { wanted, concerns: ground.concerns(), doubts }
}

fn wanted(own: &Environment, ground: &mut Ground<'_>) -> (Vec<Wanted>, Doubts) {
    let mut environment = own.clone();
    environment.places = places(&environment, ground);
    let default = Alternative {
        home: environment.home.clone(),
        variables: environment.variables.clone(),
        is_sandbox: false,
    };
    let others = settings(&environment, ground).into_iter().chain(sandboxes(&environment, ground));
    let mut seen = BTreeSet::new();
    let (mut wanted, mut doubts) = (Vec::new(), Doubts::new());
    for alternative in std::iter::once(default).chain(others) {
        (environment.home, environment.variables) = (alternative.home, alternative.variables);
        read_pointers(&mut environment, ground);
        for store in STORES {
            if let Some(doubt) = doubt(*store, &environment) {
                doubts.entry(store.app()).or_insert(doubt);
            }
            let mut roots = store.roots(&environment);
            if alternative.is_sandbox {
                roots = ground.those_there(roots);
            }
            let roots = roots.into_iter();
            let fresh = roots.filter(|path| seen.insert(path.clone())).collect::<Vec<_>>();
            wanted.extend(fresh.into_iter().map(|path| Wanted {
                place: store.place(&environment, &path),
                path,
                app: Some(store.app()),
                derived_from: None,
            }));
        }
    }
    (wanted, doubts)
}

/// The first settings file of a store that is there and says nothing.
fn doubt(store: &dyn Store, environment: &Environment) -> Option<(PathBuf, String)> {
    store.pointers(environment).into_iter().find_map(|path| {
        let why = match environment.pointers.get(&path) {
            Some(content) => damage(&path, content),
            None => why_unread(&path),
        };
        Some((path, why?))
    })
}

/// Lists the home and its folders, two deep, without hidden ones, through no link and onto no network; and containers'
/// volumes.
fn places(environment: &Environment, ground: &mut Ground<'_>) -> BTreeMap<PathBuf, Vec<Entry>> {
    let mut places = BTreeMap::new();
    let volumes = Volumes::read();
    let far = volumes.far_points();
    let mut level: Vec<PathBuf> = environment.home.clone().into_iter().collect();
    for _ in 0..=DEPTH {
        level.truncate(MOST_PLACES.saturating_sub(places.len()));
        let listed = ground.list_all(level);
        level = listed.iter().flat_map(|(dir, entries)| shown(dir, entries)).collect();
        level.retain(|dir| !far.contains(&**dir));
        places.extend(listed);
    }
    // Of the deepest, an app's layout is seen by what is in its folder of models.
    let has_models =
        |entry: &Entry| entry.kind == EntryKind::Dir && MODELS.iter().any(|name| entry.name == *name);
    let below = places.iter().flat_map(|(dir, entries)| {
        entries.iter().filter(|entry| has_models(entry)).map(move |entry| dir.join(&entry.name))
    });
    let below: Vec<PathBuf> = below.filter(|dir| !places.contains_key(dir)).take(MOST).collect();
    places.extend(ground.list_all(below));
    let system = VOLUMES.iter().map(|dir| environment.in_system(dir));
    let own = OWN_VOLUMES.iter().filter_map(|dir| environment.in_home(dir));
    for volumes in system.chain(own) {
        for volume in
            ground.list(&volumes).into_iter().filter(|entry| entry.kind == EntryKind::Dir).take(MOST)
        {
            let data = volumes.join(&volume.name).join(VOLUME);
            for dir in [data.join("hub"), data.join("models"), data] {
                places.insert(dir.clone(), ground.list(&dir));
            }
        }
    }
    places
}

/// Folders of a directory that are not hidden.
fn shown(dir: &Path, entries: &[Entry]) -> Vec<PathBuf> {
    let is_shown = |entry: &&Entry| entry.kind == EntryKind::Dir && !entry.name.as_bytes().starts_with(b".");
    entries.iter().filter(is_shown).map(|entry| dir.join(&entry.name)).collect()
}

/// Reads the small files that say where stores live.
fn read_pointers(environment: &mut Environment, ground: &mut Ground<'_>) {
    for _ in 0..POINTER_ROUNDS {
        let named: BTreeSet<PathBuf> = STORES.iter().flat_map(|store| store.pointers(environment)).collect();
        let fresh = named.into_iter().filter(|path| !environment.pointers.contains_key(path)).collect();
        let read = ground.read_all(fresh);
        if read.is_empty() {
            return;
        }
        environment.pointers.extend(read);
    }
}

/// One alternative for each file that sets a variable of ours.
fn settings(environment: &Environment, ground: &mut Ground<'_>) -> Vec<Alternative> {
    let mut below = |dir: PathBuf, end: &str| -> Vec<PathBuf> {
        let entries = ground.list(&dir).into_iter();
        let names = entries.filter(|entry| entry.name.as_bytes().ends_with(end.as_bytes()));
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
    let mut set_by = |files: Vec<PathBuf>| -> Vec<BTreeMap<String, OsString>> {
        let read = ground.read_all(files).into_iter().map(|(_, text)| assignments(&text, &known));
        read.filter(|set| !set.is_empty()).collect()
    };
    let own = set_by(own);
    let system = set_by(system).into_iter().map(|set| {
        let placed = |value: OsString| beneath(&environment.sysroot, Path::new(&value));
        set.into_iter().map(|(name, value)| (name, placed(value))).collect()
    });
    let overlaid = |set: BTreeMap<String, OsString>| Alternative {
        home: environment.home.clone(),
        variables: environment.variables.clone().into_iter().chain(set).collect(),
        is_sandbox: false,
    };
    own.into_iter().chain(system).map(overlaid).collect()
}

/// What a file of the system names lies below the sysroot, as that file does.
fn beneath(sysroot: &Path, value: &Path) -> OsString {
    match value.strip_prefix("/") {
        Ok(relative) if !value.starts_with(sysroot) => sysroot.join(relative).into(),
        _ => value.into(),
    }
}

/// Flatpak's and snap's homes for each app of this user.
fn sandboxes(environment: &Environment, ground: &mut Ground<'_>) -> Vec<Alternative> {
    let mut below = |dir: &str| -> Vec<PathBuf> {
        let Some(dir) = environment.in_home(dir) else { return Vec::new() };
        let dirs = ground.list(&dir).into_iter().filter(|entry| entry.kind == EntryKind::Dir).take(MOST);
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
