//! Downloads are shown while they grow, with how far they are and how fast; what they become is a model by itself.

use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _, symlink},
    path::{Path, PathBuf},
};
use tests::{
    House,
    files::{Gguf, write},
    house, poll,
    stores::sha256,
    wait_until,
};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Bytes that are written between two looks.
const STEP: usize = 16 << 10;

fn weights(name: &str) -> Vec<u8> {
    Gguf::named(name).rows(64 << 10).bytes()
}

/// A file that grows by a step at a time, as its downloader writes it.
struct Growing {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    at: usize,
    /// Writes down how far it is.
    note: fn(&Path, usize, usize),
}

impl Growing {
    /// One that has its full length from the start has a note of it.
    fn begin(path: PathBuf, bytes: Vec<u8>, note: Option<fn(&Path, usize, usize)>) -> Self {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = File::create(&path).unwrap();
        if note.is_some() {
            file.set_len(bytes.len() as u64).unwrap();
        }
        Self { path, file, bytes, at: 0, note: note.unwrap_or(|_, _, _| ()) }
    }

    fn step(&mut self) {
        let end = (self.at + STEP).min(self.bytes.len());
        self.file.write_all_at(&self.bytes[self.at..end], self.at as u64).unwrap();
        self.at = end;
        (self.note)(&self.path, self.at, self.bytes.len());
    }

    /// Writes what is left, and gives it its final name.
    fn finish(mut self, name: &Path) {
        while self.at < self.bytes.len() {
            self.step();
        }
        fs::rename(&self.path, name).unwrap();
    }
}

/// Steps until the one model that is being downloaded is seen to grow, at a rate; returns it.
#[track_caller]
fn seen_growing(house: &House, growing: &mut Growing) -> Value {
    let mut sizes = Vec::new();
    let seen = poll(30, || {
        growing.step();
        let models = house.list(&["state=downloading"]);
        let model = models.first()?.clone();
        assert_eq!(models.len(), 1, "{models:#?}");
        sizes.extend(model["progress"]["bytes"].as_u64());
        sizes.dedup();
        (sizes.len() >= 3 && model["progress"]["rate"].as_u64()? > 0).then_some(model)
    });
    let model = seen.unwrap_or_else(|| panic!("sizes {sizes:?}, list {:#?}", house.list(&[])));
    assert!(sizes.is_sorted(), "{sizes:?}");
    assert!(growing.at < growing.bytes.len(), "the fixture is too short");
    assert_eq!(model["progress"]["total"], growing.bytes.len(), "{model:#}");
    assert_eq!(model["locations"][0]["progress"], model["progress"]);
    assert_eq!(model["size"], model["progress"]["bytes"], "{model:#}");
    model
}

#[track_caller]
fn becomes_whole(house: &House, name: &str) {
    wait_until("what was downloaded is a model by itself", 10, || {
        house.list(&[]).iter().any(|model| model["state"] == "ok")
    });
    let models = house.list(&[]);
    assert_eq!((models.len(), &models[0]["name"]), (1, &json!(name)), "{models:#?}");
    assert!(models[0].get("progress").is_none(), "{models:#?}");
}

#[test]
fn a_blob_of_the_hub_is_shown_while_it_grows_and_becomes_its_model() {
    let house = house!().started();
    let bytes = weights("qwen");
    let repository = house.home(".cache/huggingface/hub/models--acme--qwen");
    write(repository.join("refs/main"), COMMIT);
    let blob = repository.join("blobs").join(sha256(&bytes));
    let mut growing = Growing::begin(blob.with_extension("0a1b2c3d.incomplete"), bytes, None);
    let model = seen_growing(&house, &mut growing);
    let place = &model["locations"][0];
    assert_eq!((&place["app"], &place["source"]["repo"]), (&json!("huggingface"), &json!("acme/qwen")));
    assert_eq!((&model["name"], &model["architecture"]), (&json!("qwen"), &json!("llama")));
    let table = house.does(&["list"]);
    assert!(table.contains('%') && table.contains("/s"), "{table}");
    let home = house.does(&[]);
    assert!(home.contains("DOWNLOADING") && home.contains("qwen"), "{home}");
    let shown = house.does(&["show", "qwen"]);
    assert!(shown.contains("progress") && shown.contains("MiB"), "{shown}");
    growing.finish(&blob);
    let snapshot = repository.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    symlink(Path::new("../../blobs").join(blob.file_name().unwrap()), snapshot.join("qwen.gguf")).unwrap();
    becomes_whole(&house, "qwen");
}

#[test]
fn sizes_and_sums_grow_with_a_download() {
    let house = house!().started();
    write(house.models("other.gguf"), Gguf::named("other").bytes());
    let mut growing = Growing::begin(house.models("slow.gguf"), weights("slow"), None);
    seen_growing(&house, &mut growing);
    let size = |house: &House| house.list(&["state=downloading"])[0]["disk_size"].as_u64().unwrap();
    let before = size(&house);
    (0..8).for_each(|_| growing.step());
    wait_until("it is seen to have grown", 10, || size(&house) >= before + 8 * STEP as u64);
    let written = fs::metadata(&growing.path).unwrap();
    let other = fs::metadata(house.models("other.gguf")).unwrap().blocks() * 512;
    let model = &house.list(&["state=downloading", &format!("size>={}", written.len())])[0];
    assert_eq!(
        (&model["size"], &model["disk_size"]),
        (&json!(written.len()), &json!(written.blocks() * 512))
    );
    assert_eq!(model["locations"][0]["files"][0]["size"], written.len());
    let all = json!(other + written.blocks() * 512);
    assert_eq!((&house.json(&[])["disk_size"], &house.json(&["df"])["total"]), (&all, &all));
    let roots = house.json(&["roots"])["roots"].take();
    let root = |root: &&Value| root["path"] == house.models("").to_str().unwrap().trim_end_matches('/');
    assert_eq!(roots.as_array().unwrap().iter().find(root).unwrap()["bytes"], all, "{roots:#}");
}

#[test]
fn a_pull_of_ollama_counts_what_has_come_and_not_what_was_reserved() {
    let house = house!();
    let models = house.home(".ollama/models");
    fs::create_dir_all(models.join("blobs")).unwrap();
    fs::create_dir_all(models.join("manifests")).unwrap();
    let house = house.started();
    let bytes = weights("pulled");
    let (whole, length) = (models.join("blobs").join(format!("sha256-{}", sha256(&bytes))), bytes.len());
    let note: fn(&Path, usize, usize) = |path, _, length| {
        // Told at the end of a part only.
        let note = json!({"N": 0, "Offset": 0, "Size": length, "Completed": 0});
        fs::write(format!("{}-0", path.display()), note.to_string()).unwrap();
    };
    let partial = PathBuf::from(format!("{}-partial", whole.display()));
    let mut growing = Growing::begin(partial.clone(), bytes.clone(), Some(note));
    let model = seen_growing(&house, &mut growing);
    assert_eq!((&model["locations"][0]["app"], &model["name"]), (&json!("ollama"), &json!("pulled")));
    assert!(model["progress"]["bytes"].as_u64().unwrap() < length as u64, "{model:#}");
    fs::remove_file(format!("{}-0", partial.display())).unwrap();
    growing.note = |_, _, _| ();
    growing.finish(&whole);
    tests::stores::ollama(&models, "pulled", "latest", &bytes);
    becomes_whole(&house, "pulled");
}

#[test]
fn a_file_of_aria2_is_as_far_as_its_control_file_says() {
    let house = house!().started();
    let bytes = weights("aria");
    let path = house.models("aria.gguf");
    let note: fn(&Path, usize, usize) = |path, done, length| {
        let (piece, length) = (STEP as u32, length as u64);
        let mut pieces = vec![0_u8; length.div_ceil(STEP as u64).div_ceil(8) as usize];
        for n in 0..done / STEP {
            pieces[n / 8] |= 0x80 >> (n % 8);
        }
        let field = (pieces.len() as u32).to_be_bytes();
        let head =
            [&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0][..], &piece.to_be_bytes(), &length.to_be_bytes(), &[0; 8]];
        let control = [&head.concat()[..], &field, &pieces, &[0; 4]].concat();
        let temporary = format!("{}.aria2__temp", path.display());
        fs::write(&temporary, control).unwrap();
        fs::rename(temporary, format!("{}.aria2", path.display())).unwrap();
    };
    let mut growing = Growing::begin(path.clone(), bytes.clone(), Some(note));
    // Reserved as a whole: neither length nor blocks tell.
    growing.file.write_all_at(&vec![0; bytes.len()], 0).unwrap();
    let model = seen_growing(&house, &mut growing);
    assert_eq!(model["locations"][0]["id"], "models/aria.gguf");
    while growing.at < growing.bytes.len() {
        growing.step();
    }
    drop(growing);
    fs::remove_file(house.models("aria.gguf.aria2")).unwrap();
    becomes_whole(&house, "aria");
}

#[test]
fn one_that_is_given_up_says_what_is_missing_and_how_to_go_on_also_after_a_restart() {
    let mut house = house!().started();
    let bytes = weights("half");
    let repository = house.home(".cache/huggingface/hub/models--acme--half");
    write(repository.join("refs/main"), COMMIT);
    let path = repository.join("blobs").join(format!("{}.0a1b2c3d.incomplete", sha256(&bytes)));
    let mut growing = Growing::begin(path.clone(), bytes.clone(), None);
    let id = seen_growing(&house, &mut growing)["id"].clone();
    drop(growing);
    wait_until("it is told that nothing comes any more", 20, || {
        house.names(&["state=incomplete"]) == ["half"]
    });
    for _ in 0..2 {
        let shown = house.show("half");
        assert_eq!((&shown["id"], &shown["state"]), (&id, &json!("incomplete")), "{shown:#}");
        assert_eq!(shown["progress"]["total"], bytes.len());
        assert_eq!(shown["progress"]["bytes"], fs::metadata(&path).unwrap().len());
        let reason = shown["reason"].as_str().unwrap();
        assert!(reason.contains("hf download acme/half") && reason.contains("rm "), "{reason}");
        house.restart();
        house.sync();
    }
    fs::remove_file(&path).unwrap();
    wait_until("what is removed is gone", 10, || house.list(&[]).is_empty());
}

#[test]
fn every_app_s_downloads_are_seen_wherever_it_keeps_them() {
    let mut house = house!();
    let digest = |n: usize| sha256(&[n as u8]);
    let places = [
        (".cache/huggingface/hub", format!("models--o--a/blobs/{}.part", digest(0)), "huggingface"),
        (
            ".cache/huggingface/hub",
            format!("models--o--b/blobs/{}.downloadInProgress", digest(1)),
            "huggingface",
        ),
        (
            "models",
            format!("repo/.cache/huggingface/download/Q1p2=.{}.99aabbcc.incomplete", digest(2)),
            "loose",
        ),
        ("models", "x.gguf.part".into(), "loose"),
        ("Downloads", "Unconfirmed 482913.crdownload".into(), "loose"),
        (".lmstudio/models", "o/R-GGUF/downloading_r-Q6_K.gguf.part".into(), "lmstudio"),
        (".docker/models", format!("blobs/sha256/{}.incomplete", digest(3)), "docker-model-runner"),
        (
            ".local/share/ramalama",
            format!("store/huggingface/o/n/blobs/sha256-{}.partial", digest(4)),
            "ramalama",
        ),
        (".local/share/nomic.ai/GPT4All", "incomplete-Other.Q4_0.gguf".into(), "gpt4all"),
        (".local/share/Jan/data", "llamacpp/models/half/model.gguf.tmp".into(), "jan"),
        (".cache/llama.cpp", "o_n_x.gguf.downloadInProgress".into(), "llama.cpp"),
        (".cache/modelscope/hub/models", "o/._____temp/x.gguf".into(), "modelscope"),
        ("invokeai/models", "tmpinstall_ab12/x.gguf.downloading".into(), "invokeai"),
        ("localai/models", ".artifacts/.partial/e899.w1/blob".into(), "localai"),
    ];
    write(house.home("invokeai/invokeai.yaml"), "schema_version: 4.0.2\n");
    write(house.home("localai/models/._gallery_x.yaml"), "name: x\n");
    write(house.home(".docker/models/models.json"), r#"{"models":[]}"#);
    places.iter().for_each(|(root, ..)| fs::create_dir_all(house.home(root)).unwrap());
    house.start();
    let mut growing: Vec<Growing> = places
        .iter()
        .zip(0..)
        .map(|((root, below, _), n)| {
            Growing::begin(house.home(root).join(below), weights(&format!("d{n}")), None)
        })
        .collect();
    let mut missing: BTreeSet<(PathBuf, &str)> =
        places.iter().map(|(root, below, app)| (house.home(root).join(below), *app)).collect();
    let done = poll(60, || {
        growing.iter_mut().for_each(Growing::step);
        for model in house.list(&["state=downloading"]) {
            let place = &model["locations"][0];
            let path = place["files"][0]["path"].as_str().unwrap();
            missing.retain(|(wanted, app)| wanted != Path::new(path) || place["app"] != *app);
        }
        missing.is_empty().then_some(())
    });
    assert!(done.is_some(), "not seen: {missing:#?}\nlog:\n{}", house.log());
}
