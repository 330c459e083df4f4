//! Volumes of containers that serve from a hub cache (TGI, vLLM): the cache lies at the volume's top, or in `hub`
//! where the volume is the whole `HF_HOME`. Tokens beside it are left alone.

use super::{Environment, Known, Step, Store, Unit, Visit, hf_hub};
use crate::App;
use std::path::{Path, PathBuf};

const HUB: &str = "hub";

pub(super) struct Tgi;

impl Store for Tgi {
    fn app(&self) -> App {
        App::Tgi
    }

    fn roots(&self, environment: &Environment) -> Vec<PathBuf> {
        let is_cache = |dir: &Path| {
            let entries = environment.places.get(dir).map(Vec::as_slice).unwrap_or_default();
            entries.iter().any(|entry| hf_hub::is_repository(Path::new(&entry.name)))
        };
        let volumes = environment.volumes().filter(|volume| is_cache(volume) || is_cache(&volume.join(HUB)));
        volumes.map(Path::to_path_buf).collect()
    }

    fn visit(&self, dir: &Path) -> Visit {
        let is_hub = |dir: &Path| dir.as_os_str().is_empty() || dir == Path::new(HUB);
        match dir.parent() {
            _ if is_hub(dir) => Visit::Pass,
            Some(above) if is_hub(above) && hf_hub::is_repository(dir) => Visit::Whole,
            _ => Visit::Skip,
        }
    }

    fn step(&self, unit: &Unit<'_>, known: &Known) -> Step {
        hf_hub::step(App::Tgi, unit, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::{
        Entry, EntryKind,
        drive::{Tree, environment},
    };

    const VOLUME: &str = "/var/lib/docker/volumes/tgi/_data";

    #[test]
    fn volumes_with_a_hub_cache_are_roots() {
        let mut environment = environment(&[], &[]);
        let mut put = |dir: &str, entry: &str| {
            let entry = Entry { name: entry.into(), kind: EntryKind::Dir };
            environment.places.insert(dir.into(), vec![entry]);
        };
        put(VOLUME, "models--o--n");
        put("/var/lib/docker/volumes/vllm/_data", "hub");
        put("/var/lib/docker/volumes/vllm/_data/hub", "models--o--n");
        put("/var/lib/docker/volumes/db/_data", "base");
        put("/home/u/x", "models--o--n");
        assert_eq!(
            Tgi.roots(&environment),
            [VOLUME, "/var/lib/docker/volumes/vllm/_data"].map(PathBuf::from)
        );
    }

    #[test]
    fn a_cache_is_read_at_the_top_and_in_hub() {
        let commit = "bee87e088cfcc5fe5b901afd80edd89051f39b9b";
        let tree = Tree::default()
            .file(format!("{VOLUME}/models--o--n/snapshots/{commit}/model.safetensors"), "")
            .file(format!("{VOLUME}/hub/models--o--m/snapshots/{commit}/model.safetensors"), "")
            .file(format!("{VOLUME}/other/models--o--x/snapshots/{commit}/model.safetensors"), "")
            .file(format!("{VOLUME}/token"), "hf_secret");
        let found = tree.found(&Tgi, VOLUME);
        let seen: Vec<_> = found.iter().map(|found| (found.app, found.id.as_str())).collect();
        assert_eq!(seen, [(App::Tgi, "o/m@bee87e08"), (App::Tgi, "o/n@bee87e08")]);
    }
}
