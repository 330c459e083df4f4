//! What is wrong on a machine, what that means, and the line that mends it. Judges what it is given, looks at nothing.

use crate::{RootStatus, State};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the daemon can say of its surroundings.
#[derive(Debug, Clone, Default)]
pub struct Health {
    pub roots: Vec<RootStatus>,
    /// None where the kernel does not tell.
    pub watches: Option<Watches>,
    /// Folders of the home in which an app may appear unseen.
    pub unwatched_places: usize,
    /// What the daemon itself has to say (`Overview.notices`).
    pub notices: Vec<String>,
    pub models: Vec<Sick>,
    /// Where the daemon keeps what it knows, and bytes that are free there.
    pub places: Vec<(PathBuf, u64)>,
    /// Engines that were found, by name, with what is odd about them.
    pub engines: Vec<(String, Option<String>)>,
    /// What is odd about the machine's devices.
    pub devices: Vec<String>,
}

/// A model that cannot be used as it is, or should not be.
#[derive(Debug, Clone)]
pub struct Sick {
    pub name: String,
    pub state: State,
    /// Its bytes are not those that its source recorded.
    pub is_mismatch: bool,
    /// What loading it runs, where it runs code.
    pub danger: Option<String>,
    pub reason: Option<String>,
}

impl Sick {
    fn told(&self) -> &str {
        self.reason.as_deref().unwrap_or(self.state.name())
    }
}

/// inotify watches of this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watches {
    /// By this daemon; other programs of the user have their own, out of the same limit.
    pub used: u64,
    /// `fs.inotify.max_user_watches`.
    pub limit: u64,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub severity: Severity,
    /// What it is about: a path, a model, `inotify`.
    pub about: String,
    pub what: String,
    /// What follows from it.
    pub means: String,
    /// The line to type, or the thing to do.
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work.
    Problem,
    /// It works, but not as well as it could.
    Warning,
}

/// Less free space than this and the next large scan may not be stored, bytes.
const LITTLE_SPACE: u64 = 64 << 20;
/// From this share of the limit on, other programs of the user run out of watches, percent.
const MANY_WATCHES: u64 = 90;
/// A limit that holds the folders of a large library with room for editors and desktops.
const ENOUGH_WATCHES: u64 = 1 << 20;
/// One is one program that watches files; the kernel's default is 128.
const ENOUGH_INSTANCES: u64 = 1024;
/// More models of one state are told as a number.
const MANY_MODELS: usize = 3;

/// Returns what is wrong, the worst first.
pub fn examine(health: &Health) -> Vec<Finding> {
    let found = health.roots.iter().filter_map(root);
    let found = found.chain(health.watches.and_then(watches)).chain(unwatched(health.unwatched_places));
    let found = found.chain(health.places.iter().filter_map(|(path, free)| space(path, *free)));
    let found = found.chain(
        health.notices.iter().map(|notice| warning("modeld", notice, "It goes on with what it has.", None)),
    );
    let found = found.chain(models(&health.models)).chain(engines(&health.engines));
    let found =
        found.chain(health.devices.iter().map(|note| {
            warning("hardware", note, "Plans leave that device out.", Some("modelctl hardware"))
        }));
    let mut found: Vec<Finding> = found.collect();
    found.sort_by_key(|finding| finding.severity);
    found
}

fn root(root: &RootStatus) -> Option<Finding> {
    let reason = root.reason.as_deref()?;
    let about = root.path.text();
    // It may be there all along.
    let is_barred = reason.contains("needs privilege") || reason.contains("Permission denied");
    Some(if !root.online && is_barred {
        let means = "What lies there is not seen.";
        warning(about, reason, means, Some("make it readable for you, or join the group that owns it"))
    } else if !root.online && root.volume.is_none() {
        let fix = format!(
            "mend it, or look there no longer: modelctl roots remove {about}; what stands in `roots` of config.toml is \
             taken out there"
        );
        warning(about, reason, "It was never seen: no model is looked for there.", Some(&fix))
    } else if !root.online {
        let fix = format!("mount the disk, or forget it: modelctl roots remove {about}");
        warning(about, reason, "Its models are kept, greyed, and cannot be started.", Some(&fix))
    } else if reason.contains("max_user_watches") {
        let means = "Changes there are found by looking every `poll_seconds`, not at once.";
        problem(about, reason, means, Some(&raise_watches()))
    } else if reason.contains("max_user_instances") {
        let means = "Changes are found by looking every `poll_seconds`, not at once.";
        problem(about, reason, means, Some(&raise("max_user_instances", ENOUGH_INSTANCES)))
    } else if reason.contains("is damaged") {
        let means = "What that file names is not listed; the rest of the folder is.";
        problem(
            about,
            reason,
            means,
            Some("let its app download it again, or remove what it shows as broken"),
        )
    } else if reason.contains("does not say where models are") {
        let means = "Folders that it named before stay listed; what it names now is not known.";
        problem(about, reason, means, Some("have its app write it again, or mend it"))
    } else if reason.contains("cannot be read") {
        let means = "What lies there is not listed.";
        let fix = if reason.contains("File name too long") {
            "shorten the names of the folders on the way there: a path has at most 4,096 bytes, a name 255"
        } else {
            "make it readable for you, or join the group that owns it"
        };
        problem(about, reason, means, Some(fix))
    } else {
        warning(about, reason, "Changes there are found later than elsewhere.", None)
    })
}

fn watches(Watches { used, limit }: Watches) -> Option<Finding> {
    let is_many = used.saturating_mul(100) >= limit.saturating_mul(MANY_WATCHES);
    is_many.then(|| {
        let what = format!("{used} of {limit} inotify watches are used by modeld alone");
        let means = "New folders, and editors and file managers, may find no watch left.";
        warning("inotify", &what, means, Some(&raise_watches()))
    })
}

fn unwatched(places: usize) -> Option<Finding> {
    (places > 0).then(|| {
        let what = format!("{places} folders of the home, and of settings, have no inotify watch");
        let means = "An app that is installed there is found within ten minutes, or by `modelctl sync`.";
        warning("inotify", &what, means, Some(&raise_watches()))
    })
}

fn raise_watches() -> String {
    raise("max_user_watches", ENOUGH_WATCHES)
}

fn raise(limit: &str, to: u64) -> String {
    format!(
        "echo fs.inotify.{limit}={to} | sudo tee -a /etc/sysctl.d/60-inotify.conf && sudo sysctl --system"
    )
}

fn space(path: &std::path::Path, free: u64) -> Option<Finding> {
    (free < LITTLE_SPACE).then(|| {
        let what = format!("only {} are free", crate::ByteSize(free));
        let means = "Tags, notes and what is found may not be stored.";
        problem(&path.display().to_string(), &what, means, Some("modelctl df shows what takes the space"))
    })
}

/// What models suffer from: how it is said of one and of many, what it means, the line that mends it.
type Ailment = (fn(&Sick) -> Option<&str>, Severity, &'static str, &'static str, &'static str);

const AILMENTS: &[Ailment] = &[
    (
        |model| model.danger.as_deref(),
        Severity::Problem,
        "dangerous: loading them runs code",
        "It could do all that you can. Nothing is started on it unless you say --allow-unsafe.",
        "get it as safetensors, or delete it: modelctl list safety=dangerous",
    ),
    (
        |model| (model.state == State::Corrupt).then(|| model.told()),
        Severity::Problem,
        "corrupt",
        "An engine would refuse it, or worse.",
        "modelctl list state=corrupt",
    ),
    (
        |model| model.is_mismatch.then(|| model.told()),
        Severity::Problem,
        "not what their sources recorded",
        "It was damaged or changed since: answers may be wrong, and it may not be what it says.",
        "get it anew, or keep it if you changed it yourself: modelctl list verification=mismatch",
    ),
    (
        |model| (model.state == State::Incomplete).then(|| model.told()),
        Severity::Warning,
        "incomplete",
        "A part is missing: the download did not end.",
        "modelctl list state=incomplete",
    ),
];

fn models(models: &[Sick]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (suffers, severity, what, means, fix) in AILMENTS {
        let sick: Vec<(&str, &str)> =
            models.iter().filter_map(|model| Some((&*model.name, suffers(model)?))).collect();
        if sick.len() > MANY_MODELS {
            let what = format!("{} are {what}", sick.len());
            found.push(finding(*severity, "models", &what, means, Some(fix)));
            continue;
        }
        found.extend(sick.into_iter().map(|(name, what)| finding(*severity, name, what, means, Some(fix))));
    }
    found
}

fn engines(engines: &[(String, Option<String>)]) -> Vec<Finding> {
    if engines.is_empty() {
        let fix = "modelctl engines shows where was looked; modelctl engines add PATH remembers one";
        return vec![warning(
            "engines",
            "no engine was found",
            "Models can be listed, not started.",
            Some(fix),
        )];
    }
    let odd = engines.iter().filter_map(|(name, note)| Some((name, note.as_ref()?)));
    odd.map(|(name, note)| {
        warning(name, note, "It may run slower than it could, or not at all.", Some("modelctl engines"))
    })
    .collect()
}

fn problem(about: &str, what: &str, means: &str, fix: Option<&str>) -> Finding {
    finding(Severity::Problem, about, what, means, fix)
}

fn warning(about: &str, what: &str, means: &str, fix: Option<&str>) -> Finding {
    finding(Severity::Warning, about, what, means, fix)
}

fn finding(severity: Severity, about: &str, what: &str, means: &str, fix: Option<&str>) -> Finding {
    let fix = fix.map(str::to_owned);
    Finding { severity, about: about.to_owned(), what: what.to_owned(), means: means.to_owned(), fix }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{App, WirePath};
    use std::path::Path;

    fn sound() -> Health {
        Health {
            watches: Some(Watches { used: 100, limit: 65_536 }),
            places: vec![("/home/u/.local/state/modeld".into(), 1 << 30)],
            engines: vec![("llama.cpp".into(), None)],
            ..Health::default()
        }
    }

    fn degraded(online: bool, reason: &str) -> RootStatus {
        RootStatus {
            path: WirePath::from(Path::new("/data/models")),
            app: App::Loose,
            derived_from: None,
            online,
            offline_since: None,
            watched: false,
            degraded: true,
            reason: Some(reason.into()),
            models: 0,
            bytes: 0,
            rescans: 0,
            last_scan: None,
            volume: None,
        }
    }

    #[track_caller]
    fn check(health: &Health, severity: Severity, about: &str, fix: &str) {
        let found = examine(health);
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((one.severity, one.about.as_str()), (severity, about));
        assert!(one.fix.as_deref().unwrap_or_default().contains(fix), "{one:?}");
    }

    #[test]
    fn a_sound_machine_has_nothing_to_say() {
        assert_eq!(examine(&sound()), []);
    }

    #[test]
    fn each_fault_is_said_with_the_line_that_mends_it() {
        use Severity::{Problem, Warning};
        let with = |root: RootStatus| Health { roots: vec![root], ..sound() };
        let limit =
            "no inotify watches are left; raise the limit: sysctl fs.inotify.max_user_watches=1048576";
        check(&with(degraded(true, limit)), Problem, "/data/models", "sysctl --system");
        let limit =
            "no inotify instances are left; raise the limit: sysctl fs.inotify.max_user_instances=1024";
        check(&with(degraded(true, limit)), Problem, "/data/models", "max_user_instances=1024");
        check(&with(degraded(true, "x cannot be read: Permission denied")), Problem, "/data/models", "group");
        let long = "x cannot be read: File name too long (os error 36)";
        check(&with(degraded(true, long)), Problem, "/data/models", "shorten the names");
        check(
            &with(degraded(true, "m/latest is damaged: it is no manifest")),
            Problem,
            "/data/models",
            "again",
        );
        check(&with(degraded(false, "needs privilege: another user's")), Warning, "/data/models", "group");
        let away = RootStatus { volume: Some("u".into()), ..degraded(false, "its disk is not mounted") };
        check(&with(away), Warning, "/data/models", "mount the disk");
        check(&with(degraded(false, "there is no such directory")), Warning, "/data/models", "config.toml");
        let few = Health { watches: Some(Watches { used: 60_000, limit: 65_536 }), ..sound() };
        check(&few, Warning, "inotify", "max_user_watches=1048576");
        check(&Health { unwatched_places: 3, ..sound() }, Warning, "inotify", "max_user_watches=1048576");
        let full = Health { places: vec![("/s".into(), 1 << 20)], ..sound() };
        check(&full, Problem, "/s", "modelctl df");
        check(&Health { engines: Vec::new(), ..sound() }, Warning, "engines", "engines add");
        let sick =
            |state, is_mismatch| Sick { name: "m".into(), state, is_mismatch, danger: None, reason: None };
        let broken = vec![sick(State::Corrupt, false)];
        check(&Health { models: broken, ..sound() }, Problem, "m", "list state=corrupt");
        let altered = vec![sick(State::OkWithWarning, true)];
        check(&Health { models: altered, ..sound() }, Problem, "m", "list verification=mismatch");
        let danger = Some("loading it runs code: os.system".to_owned());
        let evil = Sick { danger, ..sick(State::OkWithWarning, false) };
        check(&Health { models: vec![evil.clone()], ..sound() }, Problem, "m", "list safety=dangerous");
        check(&Health { models: vec![evil; 4], ..sound() }, Problem, "models", "list safety=dangerous");
        let many = vec![sick(State::Incomplete, false); 4];
        check(&Health { models: many, ..sound() }, Warning, "models", "list state=incomplete");
    }
}
