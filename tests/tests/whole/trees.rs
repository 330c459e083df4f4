//! What sysfs shows of 22 real cards, each as its owner sent it in: the whole set in `shared/hardware`, where it is at hand.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tests::{house, skip};

const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/hardware");

/// A tree, what of it can be planned with (backend, bytes, shared), and what cannot (name).
type Expected = (&'static str, &'static [(&'static str, u64, bool)], &'static [&'static str]);

const RAM: u64 = 64 << 30;

/// Figures are those of the trees' own files; names by their PCI ids.
const TREES: &[Expected] = &[
    ("amd-hd7870", &[], &["AMD graphics 1002:6818"]),
    ("amd-phoenix", &[("ROCm", 4_294_967_296 + 31_433_977_856, true)], &[]),
    ("amd-r7-240", &[("Vulkan", 2_147_483_648, false)], &[]),
    ("amd-r9-280", &[], &["AMD graphics 1002:679A"]),
    ("amd-rx5500xt", &[], &["AMD graphics 1002:7340"]),
    ("amd-rx5700xt", &[], &["AMD graphics 1002:731F"]),
    ("amd-rx580", &[("ROCm", 4_294_967_296, false)], &[]),
    ("amd-rx6600", &[], &["AMD graphics 1002:73FF"]),
    ("amd-rx6600xt", &[], &["AMD graphics 1002:73FF"]),
    ("amd-rx7600s", &[], &["AMD graphics 1002:7480"]),
    ("amd-rx7700s", &[], &["AMD graphics 1002:7480"]),
    ("amd-rx7800xt", &[], &["AMD graphics 1002:747E"]),
    ("amd-rx9070", &[], &["AMD graphics 1002:7550"]),
    ("amd-rx9070xt", &[], &["AMD graphics 1002:7550"]),
    ("amd-strixpoint", &[("ROCm", 536_870_912 + 16_441_004_032, true)], &[]),
    ("amd-vega56", &[("ROCm", 8_573_157_376, false)], &[]),
    ("intel-a380-i915", &[], &["Intel Arc A380"]),
    ("intel-a380-xe", &[], &["Intel Arc A380"]),
    ("intel-b580", &[], &["Intel Arc B580"]),
    ("intel-cometlake", &[("SYCL", RAM, true)], &[]),
    ("intel-tigerlake", &[("SYCL", RAM, true)], &[]),
    ("nvidia-rtx4080", &[], &["NVIDIA graphics 10DE:2704"]),
];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::write(to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

#[track_caller]
fn check((tree, gpus, cards): &Expected) {
    let mut house = house!();
    copy(&Path::new(SHARED).join(tree), &house.at("sys"));
    house.memory(32 << 10);
    house.install_nvml(); // no card is there: what NVML of this machine tells is no part of the tree
    let house = house.started();
    let report = house.json(&["hardware"]);
    let list = |name: &str| report[name].as_array().unwrap();
    let told: Vec<(&str, u64, bool)> = list("gpus")
        .iter()
        .map(|gpu| {
            let (backend, total) = (gpu["backend"].as_str().unwrap(), gpu["total"].as_u64().unwrap());
            assert!(gpu["free"].as_u64().unwrap() <= total, "{tree}: {gpu}");
            (backend, total, gpu["shares_ram"].as_bool().unwrap())
        })
        .collect();
    assert_eq!(told, *gpus, "{tree}: {report}");
    let names: Vec<&str> = list("cards").iter().map(|card| card["name"].as_str().unwrap()).collect();
    assert_eq!(names, *cards, "{tree}: {report}");
    for card in list("cards") {
        assert_eq!((&card["total"], &card["state"]), (&Value::Null, &"untold".into()), "{tree}: {card}");
        assert!(card["why"].as_str().is_some_and(|why| !why.is_empty()) && card["pci"].is_string(), "{card}");
    }
    house.does(&["hardware"]);
}

#[test]
fn every_real_tree_is_told_as_what_it_is() {
    let Ok(entries) = fs::read_dir(SHARED) else { skip!("shared/hardware is not there") };
    let mut there: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    there.retain(|path| path.is_dir());
    assert_eq!(there.len(), TREES.len(), "a tree without an expectation: {there:?}");
    TREES.iter().for_each(check);
}
