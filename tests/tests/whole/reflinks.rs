//! Copies that share their blocks take their bytes once: on real filesystems, on loop devices.

use serde_json::Value;
use std::{fs, path::PathBuf, process::Command};
use tests::{House, files::Gguf, house, skip};

/// A filesystem in an image, mounted at the models of a house; unmounted at the end.
struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Says why not where that is not possible here.
    fn mounted(house: &House, make: &[&str]) -> Result<Self, String> {
        let image = house.at("image");
        fs::File::create(&image)
            .and_then(|file| file.set_len(400 << 20))
            .map_err(|error| error.to_string())?;
        let image = image.display().to_string();
        let at = house.models("");
        run(&[make, &[image.as_str()]].concat())?;
        run(&["mount", "-o", "loop", &image, at.to_str().unwrap()])?;
        Ok(Self { at })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(run(&["umount", "-l", self.at.to_str().unwrap()]));
    }
}

fn run(words: &[&str]) -> Result<(), String> {
    let said = Command::new(words[0]).args(&words[1..]).output();
    let said = said.map_err(|error| format!("{}: {error}", words[0]))?;
    let told = || format!("{}: {}", words.join(" "), String::from_utf8_lossy(&said.stderr).trim());
    if said.status.success() { Ok(()) } else { Err(told()) }
}

/// One content four times: written, cloned, cloned and partly written anew, copied.
#[track_caller]
fn check(make: &[&str]) {
    let mut house = house!();
    let disk = match Disk::mounted(&house, make) {
        Ok(disk) => disk,
        Err(why) => skip!("{why}"),
    };
    let bytes = Gguf::named("cloned").rows(16 << 10).bytes();
    let models = house.models("");
    let at = |name: &str| models.join(name).display().to_string();
    fs::write(at("a.gguf"), &bytes).unwrap();
    run(&["sync", "-f", &at("a.gguf")]).unwrap();
    run(&["cp", "--reflink=always", &at("a.gguf"), &at("b.gguf")]).unwrap();
    let copied = |house: &House| {
        house.sync();
        let answer = house.json(&["duplicates"]);
        let reflinks = |group: &Value| {
            let copies = group["copies"].as_array().unwrap().iter();
            copies.map(|copy| copy["reflink"].as_bool().unwrap()).collect::<Vec<_>>()
        };
        (answer["groups"].as_array().unwrap().iter().flat_map(reflinks).collect::<Vec<_>>(), answer)
    };
    house.start();
    let (reflinks, answer) = copied(&house);
    assert_eq!(
        (reflinks, &answer["reclaimable"], &answer["duplicates"]),
        (vec![false, true], &0.into(), &0.into())
    );
    assert!(!answer["notes"].to_string().contains("reflink"), "{answer:#}");
    let allocated = house.show("a")["disk_size"].as_u64().unwrap();
    assert!(allocated >= 2 * bytes.len() as u64, "each inode says that it has all");
    let total = house.json(&["df"])["total"].as_u64().unwrap();
    assert!(total.abs_diff(bytes.len() as u64) < 64 << 10, "{total}, and the file has {}", bytes.len());

    fs::write(at("c.gguf"), &bytes).unwrap();
    run(&["sync", "-f", &at("c.gguf")]).unwrap();
    let (reflinks, answer) = copied(&house);
    assert_eq!((reflinks, &answer["duplicates"]), (vec![false, true, false], &1.into()), "{answer:#}");
    let won = answer["reclaimable"].as_u64().unwrap();
    assert!(won.abs_diff(bytes.len() as u64) < 64 << 10, "{answer:#}");
    let total = house.json(&["df"])["total"].as_u64().unwrap();
    assert!(total.abs_diff(2 * bytes.len() as u64) < 128 << 10, "{total}");
    drop(house);
    drop(disk);
}

#[test]
fn clones_on_btrfs_are_one_copy() {
    check(&["mkfs.btrfs", "-q"]);
}

#[test]
fn clones_on_xfs_are_one_copy() {
    check(&["mkfs.xfs", "-q", "-m", "reflink=1"]);
}
