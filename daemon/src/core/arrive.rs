//! Roots come, go, move and come back.

use super::{
    Core, Effect,
    queue::Why,
    roots::{Root, Wanted},
};
use crate::{
    index::{Away, UnitRow},
    work::{Probed, There},
};
use domain::{App, RootStatus, WirePath};
use std::{ffi::OsString, path::Path, sync::Arc};

impl Core {
    /// Looks for roots; those that were known before the start are remembered as they were. Returns whether any was
    /// not looked for before.
    pub(super) fn want(&mut self, wanted: Vec<Wanted>, effects: &mut Vec<Effect>) -> anyhow::Result<bool> {
        let mut is_news = false;
        let known = self.index.stored_roots()?;
        for Wanted { path, app, derived_from, place } in wanted {
            if self.roots.wanted.contains_key(&path) {
                continue;
            }
            is_news = true;
            let before = known.iter().find(|status| {
                status.path.to_path() == path || status.derived_from.as_deref() == path.to_str()
            });
            let status = before.cloned().map(|mut status| {
                status.last_scan = None;
                status
            });
            // Of a place that was never there, nobody has seen what lies in it.
            let was_there = before.filter(|status| status.volume.is_some());
            let app = app.or(was_there.map(|status| status.app));
            let mut root = Root::wanted(app, derived_from, place, status);
            if let Some(path) = root.path() {
                root.seats = self.index.seats(&path)?.map(Arc::new).unwrap_or_default();
            }
            self.roots.wanted.insert(path.clone(), root);
            self.probe(|wanted, _| wanted == path, effects);
        }
        Ok(is_news)
    }

    pub(super) fn unwant(&mut self, wanted: &Path, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let by_path = |root: &Root| root.path().as_deref() == Some(wanted);
        let key = self
            .roots
            .wanted
            .iter()
            .find(|(key, root)| *key == wanted || by_path(root))
            .map(|(key, _)| key.clone());
        let Some(root) = key.and_then(|key| self.roots.wanted.remove(&key)) else { return Ok(()) };
        let Some(path) = root.path() else { return Ok(()) };
        if self.roots.at(&path).is_some() {
            return Ok(()); // wanted under another name as well
        }
        self.forget_root(&path, effects)?;
        self.ask_about(&path, Why::News) // a root around it has it now
    }

    /// Forgets a root with all that it holds and has held.
    fn forget_root(&mut self, path: &Path, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        self.forget_below(&UnitRow { root: path.to_owned(), dir: path.to_owned() }, effects)?;
        self.unlink_below(path, effects);
        let models = self.index.forget_away(Away::Inside(path))?;
        self.index.remove_root(path)?;
        self.refresh_all(&models, effects)
    }

    /// Forgets what is kept of a place that is offline.
    pub(super) fn forget_offline(&mut self, path: &Path, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let models = self.index.forget_away(Away::At(path))?;
        self.refresh_all(&models, effects)?;
        if self.roots.at(path).is_some_and(|root| !root.is_online_at(path)) {
            self.forget_root(path, effects)?;
            if let Some(root) = self.roots.at_mut(path) {
                root.was_never_seen();
            }
        }
        Ok(())
    }

    /// A root inside another one is no part of that any more.
    fn take_from_others(&mut self, path: &Path, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let around: Vec<_> = self
            .roots
            .paths()
            .iter()
            .filter(|root| path.starts_with(root) && *root != path)
            .cloned()
            .collect();
        for root in around {
            self.forget_below(&UnitRow { root, dir: path.to_owned() }, effects)?;
        }
        Ok(())
    }

    pub(super) fn probed(&mut self, probed: Probed, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        self.roots.answered(&probed.wanted);
        let path = self.roots.wanted.get(&probed.wanted).and_then(Root::path);
        if self.is_left_over(&probed) && !path.map_or(Ok(false), |path| self.is_linked(&path))? {
            tracing::info!(path = %probed.wanted.display(), "nobody names the root any more");
            return self.unwant(&probed.wanted, effects);
        }
        match probed.there {
            Some(there) => self.root_is_there(&probed.wanted, &there, effects)?,
            None => self.root_is_gone(&probed.wanted, probed.reason, effects)?,
        }
        let answered = self.roots.wanted.get(&probed.wanted).filter(|root| root.unanswered == 0);
        answered.and_then(Root::path).into_iter().for_each(|path| self.queue.release(&path));
        Ok(())
    }

    fn root_is_there(
        &mut self,
        wanted: &Path,
        there: &There,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        // Two names for one directory: the first that was found keeps it.
        let is_taken =
            self.roots.wanted.iter().any(|(other, root)| other != wanted && root.is_online_at(&there.path));
        let Some(root) = self.roots.wanted.get_mut(wanted) else { return Ok(()) };
        if is_taken {
            return Ok(());
        }
        if is_unmounted(root, there) {
            let reason =
                "its disk is not mounted: the folder is empty, and on another filesystem than before";
            return self.root_is_gone(wanted, Some(reason.into()), effects);
        }
        let moved = root.path().filter(|before| *before != there.path);
        let was_online = root.is_online_at(&there.path);
        let is_same = was_online && root.identity == Some(there.identity);
        let app = *root.app.get_or_insert_with(|| app_by_entries(&there.entries));
        let derived_from =
            root.derived_from.clone().or_else(|| (wanted != there.path).then(|| wanted.to_owned()));
        let fresh = RootStatus {
            path: WirePath::from(there.path.as_path()),
            app,
            derived_from: derived_from.map(|link| link.to_string_lossy().into_owned()),
            online: true,
            offline_since: None,
            watched: there.has_events,
            degraded: false,
            reason: None,
            models: 0,
            bytes: 0,
            rescans: root.status.as_ref().map_or(0, |status| status.rescans),
            last_scan: None,
            volume: Some(there.volume.clone()),
        };
        root.has_events = there.has_events;
        root.identity = Some(there.identity);
        let before = root.watched_as.replace(there.identity);
        if !is_same {
            root.start_anew(fresh);
        }
        if let Some(before) = moved {
            self.forget_root(&before, effects)?;
        }
        if is_same {
            return self.reseat(&there.path, &there.seats, effects);
        }
        tracing::info!(path = %there.path.display(), %app, "watching root");
        self.queue.write_off(&there.path);
        // Another directory stands here than before; its watches died with the old one. Elsewhere a gap between two
        // watches would lose the end of a write that has been told of.
        if before.is_some_and(|before| before != there.identity) {
            effects.push(Effect::Unwatch(there.path.clone()));
        }
        self.look_at_roots_below(&there.path)?;
        self.put_roots()?;
        self.take_from_others(&there.path, effects)?;
        if self.seat(&there.path, &there.seats, effects)? {
            self.queue.void(&there.path);
        }
        let models = self.index.set_root_online(&there.path, true)?;
        self.refresh_all(&models, effects)?;
        self.look_at_root(&there.path, Why::Check)
    }

    pub(super) fn root_is_gone(
        &mut self,
        wanted: &Path,
        reason: Option<String>,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        let now = self.now;
        let Some(root) = self.roots.wanted.get_mut(wanted) else { return Ok(()) };
        root.identity = None;
        if !root.was_there() {
            return self.root_is_unusable(wanted, reason);
        }
        let Some(path) = root.path() else { return Ok(()) };
        if let Some(status) = &mut root.status {
            if status.online {
                tracing::info!(path = %path.display(), "root has gone offline");
            }
            status.online = false;
            status.offline_since.get_or_insert(now);
        }
        root.judge();
        if let (Some(status), Some(reason)) = (&mut root.status, reason) {
            status.reason = Some(reason);
        }
        self.queue.forget(|unit| unit.root == path);
        self.put_roots()?;
        let models = self.index.set_root_online(&path, false)?;
        self.refresh_all(&models, effects)
    }

    /// There was never a directory that could be read. It is told of where there is more to say, or the user asked for it.
    fn root_is_unusable(&mut self, wanted: &Path, reason: Option<String>) -> anyhow::Result<()> {
        let Some(root) = self.roots.wanted.get_mut(wanted) else { return Ok(()) };
        let reason = reason.or_else(|| root.names.by_user.then(|| "there is no such directory".to_owned()));
        let app = root.app.or_else(|| root.names.by_user.then_some(App::Loose));
        let Some((reason, app)) = reason.zip(app) else {
            if let Some(path) = root.path() {
                root.was_never_seen();
                self.index.remove_root(&path)?;
            }
            return Ok(());
        };
        if root.status.as_ref().and_then(|status| status.reason.as_ref()) != Some(&reason) {
            tracing::warn!(path = %wanted.display(), reason, "root cannot be used");
        }
        root.status = Some(RootStatus {
            path: WirePath::from(wanted),
            app,
            derived_from: None,
            online: false,
            offline_since: None,
            watched: false,
            degraded: true,
            reason: Some(reason),
            models: 0,
            bytes: 0,
            rescans: 0,
            last_scan: None,
            volume: None,
        });
        self.put_roots()
    }
}

/// Whether this is the empty folder that a disk leaves behind.
fn is_unmounted(root: &Root, there: &There) -> bool {
    let before = root.status.as_ref().filter(|status| status.path.to_path() == there.path);
    let before = before.and_then(|status| status.volume.as_ref());
    before.is_some_and(|volume| *volume != there.volume)
        && there.entries.iter().all(|name| name == "lost+found")
}

/// The store for a root that the user named: told by what lies in it.
fn app_by_entries(entries: &[OsString]) -> App {
    let has = |name: &str| entries.iter().any(|entry| entry == name);
    let is_hub = entries.iter().any(|entry| entry.to_string_lossy().starts_with("models--"));
    if is_hub {
        App::HuggingFace
    } else if has("manifests") && has("blobs") {
        App::Ollama
    } else if has("checkpoints") && has("loras") {
        App::ComfyUi
    } else if has("invokeai.yaml") {
        App::InvokeAi
    } else if has("webui.sh") && has("models") {
        if has("modules_forge") { App::Forge } else { App::A1111 }
    } else {
        App::Loose
    }
}
