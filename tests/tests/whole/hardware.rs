//! What there is to run models on, with a tree that stands in for the machine and a fake NVIDIA driver.

use serde_json::Value;
use std::fs;
use tests::{House, files::write, house, nvml, wait_until};

const GIB: u64 = 1 << 30;

fn card(name: &str, used: u64, bus: u8, held: &str) -> String {
    format!("{name}|24564|{used}|GPU-{bus}|00000000:0{bus}:00.0|{held}")
}

fn gpus(house: &House) -> Vec<Value> {
    house.json(&["hardware"])["gpus"].as_array().unwrap().clone()
}

#[test]
fn a_machine_without_a_gpu_reads_well() {
    let house = house!();
    write(house.at("sys/proc/meminfo"), "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n");
    write(house.at("sys/proc/cpuinfo"), "processor: 0\nmodel name\t: Fake CPU\nphysical id: 0\ncore id: 0\n");
    write(house.at("sys/sys/class/drm/version"), "drm 1.1.0 20060810\n");
    let house = house.started();
    let report = house.json(&["hardware"]);
    assert_eq!(report["ram"], serde_json::json!({"total": 16 * GIB, "available": 8 * GIB}));
    assert_eq!(report["cpu"], serde_json::json!({"cores": 1, "threads": 1, "name": "Fake CPU"}));
    let shown = house.does(&["hardware"]);
    for line in [
        "memory     8.0 GiB of 16.0 GiB available, 8.0 GiB used",
        "processor  Fake CPU, 1 core, 1 thread",
        "no GPU that can be used was found: models run on the processor",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    assert_eq!(house.json(&[])["ram_available"], 8 * GIB);
}

#[test]
fn the_limit_of_our_control_group_is_what_may_be_used() {
    let house = house!();
    write(house.at("sys/proc/meminfo"), "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n");
    write(house.at("sys/proc/self/cgroup"), "0::/user.slice/modeld.service\n");
    let group = house.at("sys/sys/fs/cgroup/user.slice");
    for (name, text) in [
        ("memory.max", "max\n"),
        ("memory.high", "4294967296\n"),
        ("memory.current", "3221225472\n"),
        ("memory.stat", "anon 5\ninactive_file 1073741824\n"),
    ] {
        write(group.join(name), text);
    }
    let house = house.started();
    let report = house.json(&["hardware"]);
    assert_eq!(report["ram"], serde_json::json!({"total": 4 * GIB, "available": 2 * GIB}));
    assert!(report["notes"][0].as_str().unwrap().contains("/sys/fs/cgroup/user.slice"), "{report}");
}

#[test]
fn an_nvidia_card_is_told_with_who_holds_it() {
    let mut house = house!();
    nvml!(house);
    house.start();
    house.cards(&[card("NVIDIA GeForce RTX 4090", 4096, 1, &format!("{}:3000 4194303:500", house.pid()))]);
    let report = house.json(&["hardware"]);
    let gpu = &report["gpus"][0];
    assert_eq!((&gpu["id"], &gpu["backend"]), (&"CUDA0".into(), &"CUDA".into()));
    assert_eq!((&gpu["pci"], &gpu["uuid"]), (&"0000:01:00.0".into(), &"GPU-1".into()));
    assert_eq!((&gpu["total"], &gpu["free"]), (&(24564_u64 << 20).into(), &(20468_u64 << 20).into()));
    assert_eq!((&gpu["driver"], &gpu["shares_ram"]), (&"580.82.07".into(), &false.into()));
    assert!(gpu["overhead"].as_u64().unwrap() > 256 << 20, "NVML has seen no context: {gpu}");
    let shown = house.does(&["hardware"]);
    let pid = house.pid();
    assert!(shown.contains(&format!("  {pid} test-modeld holds 2.9 GiB")), "{shown}");
    assert!(shown.contains("  4194303 ? holds 500.0 MiB"), "one that is gone has no name: {shown}");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(!maps.contains("libnvidia-ml"), "the driver is let go");
}

#[test]
fn two_cards_are_counted_in_the_order_of_their_addresses() {
    let mut house = house!();
    nvml!(house);
    house.start();
    house.install_engine();
    house.cards(&[card("NVIDIA B", 0, 4, ""), card("NVIDIA A", 1024, 2, "")]);
    write(house.home("devices"), "  CUDA0: NVIDIA A (24080 MiB, 23000 MiB free)\n");
    let report = house.json(&["hardware"]);
    let ids: Vec<_> =
        report["gpus"].as_array().unwrap().iter().map(|gpu| (&gpu["id"], &gpu["pci"])).collect();
    let (one, two): (Value, Value) = ("0000:02:00.0".into(), "0000:04:00.0".into());
    assert_eq!(ids, [(&"CUDA0".into(), &one), (&"CUDA1".into(), &two)]);
    // The engine's own list was made this moment, with a context in place.
    let device = &report["engines"][0]["devices"][0];
    assert_eq!((&device["free"], &device["overhead"]), (&(23000_u64 << 20).into(), &0.into()));
    assert!(report["engines"][0]["note"].as_str().unwrap().contains("NVIDIA B (0000:04:00.0)"), "{report}");
    house.set("CUDA_VISIBLE_DEVICES", "1");
    write(house.home("devices"), "  CUDA0: NVIDIA B (24080 MiB, 23000 MiB free)\n");
    let engine = &house.json(&["hardware"])["engines"][0];
    assert_eq!(engine["devices"][0]["pci"], two);
    assert!(engine["note"].as_str().unwrap().contains("left out by CUDA_VISIBLE_DEVICES"), "{engine}");
}

#[test]
fn an_engine_that_does_not_see_the_card_is_a_surprise_that_is_told() {
    let mut house = house!();
    nvml!(house);
    house.start();
    house.install_engine();
    house.cards(&[card("NVIDIA GeForce RTX 4090", 0, 1, "")]);
    let shown = house.does(&["hardware"]);
    assert!(
        shown.contains("NVIDIA GeForce RTX 4090 (0000:01:00.0) is there, and this engine does not see it"),
        "{shown}"
    );
    assert!(house.does(&["engines"]).contains("install a CUDA or Vulkan build"));
}

#[test]
fn graphics_of_the_processor_that_no_engine_sees_come_with_the_build_that_would() {
    let house = house!();
    let device = house.at("sys/sys/class/drm/card0/device");
    write(device.join("vendor"), "0x8086\n");
    write(device.join("uevent"), "DRIVER=i915\nPCI_ID=8086:9A49\nPCI_SLOT_NAME=0000:00:02.0\n");
    let mut house = house.started();
    let line = "models run on the processor";
    let shown = house.does(&["hardware"]);
    assert!(shown.contains("Intel graphics 8086:9A49") && !shown.contains(line), "{shown}");
    house.install_engine();
    let shown = house.does(&["hardware"]);
    assert!(shown.contains(&format!("\nno engine sees any of these GPUs: {line}\nGPU ")), "{shown}");
    assert!(shown.contains("install a Vulkan build"), "{shown}");
}

#[test]
fn a_driver_that_is_not_there_or_not_loaded_is_no_error() {
    let mut house = house!();
    let has_fake = house.install_nvml();
    house.pci_card(1, "active\n");
    house.start();
    if has_fake {
        assert_eq!(gpus(&house), [Value::Null; 0]);
        let notes = house.json(&["hardware"])["notes"].to_string();
        assert!(notes.contains("driver is not loaded"), "{notes}");
        house.does(&["hardware"]);
        let told = house.log().matches("a card could not be read").count();
        assert_eq!(told, 1, "once, not at each look: {}", house.log());
    }
    house.unset("LD_LIBRARY_PATH");
    house.restart();
    if gpus(&house).is_empty() {
        let notes = house.json(&["hardware"])["notes"].to_string();
        assert!(notes.contains("not installed") || notes.contains("not loaded"), "{notes}");
    }
}

#[test]
fn a_sleeping_card_is_not_woken() {
    let mut house = house!();
    nvml!(house);
    house.cards(&[card("NVIDIA GeForce RTX 4070 Laptop GPU", 0, 1, "")]);
    house.pci_card(1, "suspended\n");
    let mut house = house.started();
    house.install_engine();
    for _ in 0..2 {
        let report = house.json(&["hardware"]);
        assert!(report["notes"][0].as_str().unwrap().contains("0000:01:00.0 sleeps"), "{report}");
    }
    assert!(!house.home("nvml-inits").exists(), "NVML was opened");
    house.pci_card(1, "active\n");
    wait_until("the card that woke is read", 10, || gpus(&house).len() == 1);
    assert!(house.home("nvml-inits").exists());
}

#[test]
fn who_watches_is_told_when_memory_is_taken_and_a_card_goes() {
    let mut house = house!();
    nvml!(house);
    write(house.at("sys/proc/meminfo"), "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n");
    house.start();
    house.cards(&[card("NVIDIA A", 0, 1, "")]);
    let watching = house.stream(&["hardware", "--watch", "--json"]);
    let free = |report: &Value| report["gpus"][0]["free"].as_u64();
    watching.event("the card", |report| (free(report) == Some(24564 << 20)).then_some(()));
    house.cards(&[card("NVIDIA A", 100, 1, "")]);
    house.cards(&[card("NVIDIA A", 2048, 1, "")]);
    let next = watching.event("less memory", free);
    assert_eq!(next, 22516 << 20, "100 MiB are no news");
    house.cards(&[]);
    watching.event("no card", |report| report["gpus"].as_array().unwrap().is_empty().then_some(()));
}

#[test]
fn a_radeon_is_read_from_sysfs() {
    let house = house!();
    house.radeon();
    let mut house = house.started();
    let card = &gpus(&house)[0];
    assert_eq!((&card["id"], &card["backend"]), (&"card1".into(), &"ROCm".into()));
    assert_eq!((&card["pci"], &card["free"]), (&"0000:03:00.0".into(), &16_089_350_144_u64.into()));
    house.install_engine();
    write(
        house.home("devices"),
        "  Vulkan0: AMD Radeon RX 7800 XT (RADV NAVI32) (16368 MiB, 15000 MiB free)\n",
    );
    let seen = gpus(&house);
    assert_eq!((&seen[0]["id"], &seen[0]["pci"]), (&"Vulkan0".into(), &"0000:03:00.0".into()));
    assert_eq!(seen.len(), 1, "{seen:?}");
}
