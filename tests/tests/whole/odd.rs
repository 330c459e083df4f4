//! Odd entries beside good ones, names that are no text, and what must not leak.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener},
    path::Path,
    process::Command,
};
use tests::{
    files::{gguf, path_of, write},
    house, wait_until,
};

#[test]
fn what_only_looks_like_a_model_harms_nobody() {
    let mut house = house!();
    write(house.models("before.gguf"), gguf("before"));
    house.start();
    house.sync();
    symlink("nowhere.gguf", house.models("dangling.gguf")).unwrap();
    symlink("self.gguf", house.models("self.gguf")).unwrap();
    symlink("..", house.models("loop")).unwrap();
    symlink("/dev/zero", house.models("zero.gguf")).unwrap();
    fs::create_dir(house.models("x.gguf")).unwrap();
    write(house.models("x.gguf/inner.gguf"), gguf("inner"));
    assert!(Command::new("mkfifo").arg(house.models("y.gguf")).status().unwrap().success());
    let _socket = UnixListener::bind(house.models("s.gguf")).unwrap();
    write(house.models("empty.gguf"), b"");
    write(house.models("page.gguf"), "<html>404</html>");
    write(house.models("after.gguf"), gguf("after"));
    house.sync();
    assert_eq!(house.names(&["--sort", "name"]), ["after", "before", "inner"]);
    for _ in 0..2 {
        let paths: Vec<_> =
            house.list(&[]).iter().map(|model| model["locations"][0]["files"][0]["path"].clone()).collect();
        assert_eq!(paths.len(), 3, "{paths:?}");
        assert!(house.is_alive());
        house.json(&["scan"]);
    }
}

#[test]
fn names_that_are_no_text_come_back_byte_for_byte() {
    let house = house!().started();
    let odd: [&[u8]; 6] = [
        b"non\xff\xfeutf8.gguf",
        b"\xed\xa0\x80.gguf",
        b"new\nline.gguf",
        b"\x1b[31mred.gguf",
        b"tab\there.gguf",
        "rtl\u{202e}gpj.gguf".as_bytes(),
    ];
    for (n, name) in odd.iter().enumerate() {
        write(house.models(OsStr::from_bytes(name)), gguf(&format!("odd{n}")));
    }
    house.sync();
    let models = house.list(&[]);
    let ids: Vec<&str> = models.iter().map(|model| model["id"].as_str().unwrap()).collect();
    let shown: Vec<_> = ids.iter().map(|id| house.show(id)).collect();
    let named = |n: usize| {
        shown
            .iter()
            .find(|model| model["facts"]["name"] == format!("odd{n}"))
            .unwrap_or_else(|| panic!("odd{n} is not listed: {shown:#?}"))
    };
    for (n, name) in odd.iter().enumerate() {
        let file = named(n)["locations"][0]["files"][0].clone();
        let path = house.models(OsStr::from_bytes(name));
        assert_eq!(path_of(&file), path.as_os_str().as_bytes(), "{file}");
        assert_eq!(file["path_bytes"].is_string(), std::str::from_utf8(name).is_err(), "{file}");
        let said = house.ctl(&[OsStr::new("inspect"), path.as_os_str(), OsStr::new("--json")]);
        assert!(said.code == 0 && said.out.contains(r#""state":"ok""#), "{said:?}");
        for verb in ["show", "verify", "tag"] {
            let said = house.ctl(&[OsStr::new(verb), path.as_os_str(), OsStr::new("--json")]);
            assert_eq!(said.code, 0, "{verb}: {said:?}");
        }
    }
    // As they are printed.
    for (n, printed) in [(2, r"new\nline"), (3, r"\x1b[31mred"), (5, r"rtl\u{202e}gpj")] {
        let id = &named(n)["id"];
        assert_eq!(house.show(&format!("models/{printed}.gguf"))["id"], *id);
        assert_eq!(house.show(house.models(format!("{printed}.gguf")).to_str().unwrap())["id"], *id);
    }
    let human =
        house.does(&["list"]) + &house.does(&["show", named(3)["id"].as_str().unwrap()]) + &house.does(&[]);
    assert!(!human.contains('\x1b') && !human.contains('\u{202e}'), "{human:?}");
    let id = named(0)["id"].as_str().unwrap();
    house.does(&["tag", id, "mine"]);
    fs::rename(house.models(OsStr::from_bytes(odd[0])), house.models(OsStr::from_bytes(b"other\xff.gguf")))
        .unwrap();
    house.sync();
    assert_eq!(house.list(&["tag=mine"])[0]["id"], id);
}

/// All regular files below a directory.
fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path()),
            Ok(kind) if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        })
        .collect()
}

#[test]
fn a_token_is_nowhere_in_state_log_or_replies() {
    const CANARY: &str = "hf_CANARYdoNotLeakMe0123456789";
    let mut house = house!();
    write(house.home(".cache/huggingface/token"), CANARY);
    write(house.home(".cache/huggingface/stored_tokens"), format!("[mine]\nhf_token = {CANARY}\n"));
    write(house.home(".cache/huggingface/hub/.locks/token.gguf"), CANARY);
    write(house.home(".ollama/id_ed25519"), CANARY);
    write(house.home(".ollama/models/manifests/registry.ollama.ai/library/x/latest"), "{}");
    write(house.models("m.gguf"), gguf("m"));
    house.set("HF_TOKEN", CANARY);
    house.set("HUGGING_FACE_HUB_TOKEN", CANARY);
    house.set("RUST_LOG", "debug");
    house.start();
    house.sync();
    let mut said = String::new();
    for args in [
        &["list", "--json"][..],
        &["show", "m", "--json"],
        &["roots", "--json"],
        &["--json"],
        &["scan"],
        &["launch", "llama.cpp", "m", "--print"],
        &["inspect", "/nowhere"],
    ] {
        let reply = house.ctl(args);
        said += &(reply.out + &reply.err);
    }
    house.end(rustix::process::Signal::TERM);
    said += &house.log();
    assert!(!said.contains(CANARY), "{said}");
    let mut looked = 0;
    for path in
        files_below(&house.state("")).into_iter().chain(files_below(house.user_db().parent().unwrap()))
    {
        let bytes = fs::read(&path).unwrap();
        assert!(
            !bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()),
            "in {}",
            path.display()
        );
        looked += 1;
    }
    assert!(looked >= 2, "index.db and user.db at least");
}

#[test]
fn what_is_private_is_for_this_user_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = house!().started();
    wait_until("both databases are there", 10, || {
        house.state("index.db").exists() && house.user_db().exists()
    });
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for dir in [
        house.state(""),
        house.user_db().parent().unwrap().to_owned(),
        house.socket().parent().unwrap().to_owned(),
    ] {
        assert_eq!(mode(&dir), 0o700, "{}", dir.display());
    }
    assert_eq!(mode(&house.socket()), 0o600);
}
