//! Apps that are installed, or set otherwise, while the daemon runs: their models appear with no command.

use std::{fs, process::Command};
use tests::{
    House,
    files::{gguf, safetensors, write},
    house, skip,
    stores::ollama,
    wait_until,
};

/// Waits until a model is listed by this app, without any command that looks again.
#[track_caller]
fn appears(house: &House, app: &str, name: &str) {
    let filters = [format!("app={app}"), format!("name={name}")];
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    wait_until(&format!("{name} of {app} is listed"), 10, || house.list(&filters).len() == 1);
}

#[test]
fn apps_that_are_installed_while_the_daemon_runs_are_found_by_what_they_make() {
    let house = house!().started();
    house.sync();
    // A clone is made step by step, as git makes it.
    fs::create_dir_all(house.home("projects/clone/.git")).unwrap();
    write(
        house.home("projects/clone/.git/config"),
        "[remote \"origin\"]\n\turl = https://huggingface.co/a/b\n",
    );
    write(house.home("projects/clone/.gitattributes"), "*.gguf filter=lfs diff=lfs merge=lfs -text\n");
    write(house.home("projects/clone/cloned.gguf"), gguf("cloned"));
    appears(&house, "git", "*");
    for file in ["main.py", "folder_paths.py"] {
        write(house.home("ai/ComfyUI").join(file), "");
    }
    write(house.home("ai/ComfyUI/models/loras/drawn.safetensors"), safetensors(1));
    appears(&house, "comfyui", "drawn");
    // An app of a sandbox, and one whose default place was not there.
    ollama(&house.home(".ollama/models"), "pulled", "8b", &gguf("pulled"));
    appears(&house, "ollama", "pulled*");
    write(
        house.home(".var/app/io.example.App/cache/huggingface/hub/models--o--r/snapshots/c0/boxed.gguf"),
        gguf("boxed"),
    );
    write(house.home(".var/app/io.example.App/cache/huggingface/hub/models--o--r/refs/main"), "c0");
    appears(&house, "huggingface", "*");
}

#[test]
fn settings_that_change_while_the_daemon_runs_move_roots_with_them() {
    let mut house = house!();
    write(house.home(".lmstudio/settings.json"), "{}");
    house.start();
    house.sync();
    write(house.at("lm/publisher/repo/studio.gguf"), gguf("studio"));
    // As apps write settings: beside, then renamed.
    let settings = format!("{{\"downloadsFolder\": \"{}\"}}", house.at("lm").display());
    write(house.home(".lmstudio/settings.json.tmp"), settings);
    fs::rename(house.home(".lmstudio/settings.json.tmp"), house.home(".lmstudio/settings.json")).unwrap();
    appears(&house, "lmstudio", "*");
    ollama(&house.at("service"), "served", "8b", &gguf("served"));
    let line = format!("OLLAMA_MODELS={}\n", house.at("service").display());
    write(house.home(".config/environment.d/50-ollama.conf"), line);
    appears(&house, "ollama", "served*");
    // In place, as an editor that keeps the inode; and the file is a link into a folder of dotfiles.
    write(house.at("dotfiles/zshrc"), "");
    std::os::unix::fs::symlink(house.at("dotfiles/zshrc"), house.home(".zshrc")).unwrap();
    house.sync();
    write(house.at("flat/a_b-GGUF_set-Q8_0.gguf"), gguf("set"));
    write(house.at("flat/a_b-GGUF_set-Q8_0.gguf.etag"), "x");
    write(house.at("dotfiles/zshrc"), format!("export LLAMA_CACHE={}\n", house.at("flat").display()));
    appears(&house, "llama.cpp", "*");
}

#[test]
fn sync_tells_of_the_models_of_an_app_that_was_installed_just_before() {
    let house = house!().started();
    house.sync();
    for round in 0..10 {
        let app = house.home(format!("apps-{round}/ComfyUI"));
        write(app.join("main.py"), "");
        write(app.join("folder_paths.py"), "");
        write(app.join("models/loras/l.safetensors"), safetensors(round));
        house.sync();
        assert_eq!(house.list(&["app=comfyui"]).len(), usize::from(round) + 1, "{}", house.log());
    }
}

#[test]
fn a_home_in_which_folders_come_and_go_does_not_keep_the_daemon_looking() {
    let mut house = house!();
    house.set("RUST_LOG", "debug");
    house.start();
    house.sync();
    let busy = std::time::Instant::now();
    let mut made = 0;
    while busy.elapsed() < std::time::Duration::from_secs(3) {
        let dir = house.home(format!("build-{made}"));
        fs::create_dir(&dir).unwrap();
        fs::remove_dir(&dir).unwrap();
        made += 1;
    }
    house.sync();
    let looks = house.log().lines().filter(|line| line.contains("an app may have come")).count();
    assert!(made > 100 && (1..=6).contains(&looks), "{looks} looks for {made} folders");
}

#[test]
fn without_watches_for_the_home_an_app_is_found_by_sync_and_doctor_says_so() {
    let mut house = house!();
    for n in 0..30 {
        fs::create_dir_all(house.home(format!("projects/p{n}"))).unwrap();
    }
    let limit = "echo 24 > /proc/sys/user/max_inotify_watches";
    let allowed = Command::new("unshare").args(["-Ur", "sh", "-c", limit]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        skip!("the limit of watches cannot be set");
    }
    house.wrap(&["unshare", "-Ur", "sh", "-c", &format!("{limit} && exec \"$0\"")]);
    house.start();
    house.sync();
    let findings = house.json(&["doctor"])["findings"].to_string();
    assert!(findings.contains("have no inotify watch"), "{findings}");
    write(house.home("projects/p29/main.py"), "");
    write(house.home("projects/p29/folder_paths.py"), "");
    write(house.home("projects/p29/models/loras/l.safetensors"), safetensors(1));
    house.sync();
    assert_eq!(house.list(&["app=comfyui"]).len(), 1);
}
