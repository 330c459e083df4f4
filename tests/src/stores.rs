//! Small copies of what apps leave on the disk.

use crate::files::write;
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// How a revision's files lie in a hub cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hub {
    /// A link to the repository's blob.
    Links,
    /// The blob is a link itself, to a store that repositories share.
    Shared,
    /// Plain files: a filesystem without links.
    Copies,
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes one revision of a repository into a hub cache; returns its snapshot directory.
pub fn hugging_face(hub: &Path, kind: Hub, repo: &str, commit: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let repository = hub.join(format!("models--{}", repo.replace('/', "--")));
    write(repository.join("refs/main"), commit);
    let snapshot = repository.join("snapshots").join(commit);
    for (name, bytes) in files {
        let path = snapshot.join(name);
        if kind == Hub::Copies {
            write(path, bytes);
            continue;
        }
        let digest = sha256(bytes);
        let blob = repository.join("blobs").join(&digest);
        if kind == Hub::Shared {
            let payload = format!("blobs/{}/{}", &digest[..2], digest.chars().rev().collect::<String>());
            write(hub.join(&payload), bytes);
            fs::create_dir_all(blob.parent().unwrap()).unwrap();
            symlink(Path::new("../..").join(payload), &blob).unwrap();
        } else {
            write(&blob, bytes);
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let up = "../".repeat(2 + name.matches('/').count());
        symlink(format!("{up}blobs/{digest}"), &path).unwrap();
    }
    snapshot
}

/// Writes what `hf download --local-dir` leaves: the file, and its record.
pub fn local_dir(dir: &Path, name: &str, commit: &str, bytes: &[u8]) {
    write(dir.join(name), bytes);
    let record = format!("{commit}\n{}\n1763800000.0\n", sha256(bytes));
    write(dir.join(".cache/huggingface/download").join(format!("{name}.metadata")), record);
}

/// Writes one tag of a model as `ollama pull` does.
pub fn ollama(models: &Path, model: &str, tag: &str, weights: &[u8]) {
    let blob = |bytes: &[u8]| {
        let digest = sha256(bytes);
        write(models.join("blobs").join(format!("sha256-{digest}")), bytes);
        digest
    };
    let config = blob(br#"{"model_format":"gguf","model_family":"llama","file_type":"F16"}"#);
    let weights = blob(weights);
    let layer = |kind: &str, digest: &str| {
        format!(r#"{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"sha256:{digest}"}}"#)
    };
    let config = format!(
        r#"{{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"sha256:{config}"}}"#
    );
    let manifest =
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layer("model", &weights));
    write(models.join("manifests/registry.ollama.ai/library").join(model).join(tag), manifest);
}
