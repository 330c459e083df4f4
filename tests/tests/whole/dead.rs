//! Network filesystems whose other side is gone: whoever looks at one waits until it is taken away.

use crate::kernel::{in_namespace, inside, root};
use std::{fs, path::Path};
use tests::{
    files::{gguf, write},
    house, skip, wait_until,
};

/// `fd` is free and stays open: nobody answers what the kernel asks there.
fn dead_mount(fd: u32, at: &Path) -> String {
    let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
    format!("exec {fd}<>/dev/fuse && mount -i -t fuse -o {options} dead {}", at.display())
}

#[test]
fn a_dead_folder_in_the_home_does_not_keep_the_daemon_from_starting() {
    let mut house = house!();
    fs::create_dir_all(house.home("nas")).unwrap();
    write(house.models("m.gguf"), gguf("m"));
    let mount = dead_mount(3, &house.home("nas"));
    if let Err(why) = in_namespace(&mut house, "-m", &mount) {
        skip!("{why}");
    }
    house.start();
    house.sync();
    assert_eq!(house.names(&[]), ["m"]);
}

#[test]
fn two_dead_roots_hold_up_no_other_and_are_told() {
    let mut house = house!();
    let dead = ["Downloads", "nas"].map(|dir| house.home(dir));
    dead.iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    write(house.home(".config/modeld/config.toml"), format!("roots = [{:?}]\n", dead[1]));
    write(house.models("m.gguf"), gguf("m"));
    let mounts = [dead_mount(3, &dead[0]), dead_mount(4, &dead[1])].join(" && ");
    if let Err(why) = in_namespace(&mut house, "-m", &mounts) {
        skip!("{why}");
    }
    house.start();
    // Both workers are stuck at once; others take over.
    wait_until("the other root is listed", 30, || house.names(&[]) == ["m"]);
    write(house.models("late.gguf"), gguf("late"));
    wait_until("and watched", 30, || house.names(&[]) == ["late", "m"]);
    house.sync();
    let status = root(&house, &dead[0]);
    assert!(status["online"] == false, "{status}");
    assert!(status["reason"].as_str().unwrap().contains("does not answer"), "{status}");
    for command in [&["df"][..], &[], &["duplicates"], &["doctor"]] {
        house.ctl(command);
    }
    write(house.at("disk/back.gguf"), gguf("back"));
    let (disk, at) = (house.at("disk"), dead[0].display());
    inside(&house, "-m", &format!("umount -l {at} && mount --bind {} {at}", disk.display()));
    wait_until("what is there now is listed", 30, || house.names(&["name=back"]) == ["back"]);
    house.sync();
}
