//! Cards that sleep, go, come back or tell little: each is shown as what it is, and the others go on.

use serde_json::{Value, json};
use std::fs;
use tests::{House, files::write, house, nvml, wait_until};

fn card(name: &str, bus: u8, held: &str, state: &str) -> String {
    format!("{name}|24564|1024|GPU-{bus}|00000000:0{bus}:00.0|{held}|{state}")
}

/// What sysfs tells of a card that stands on a bus.
fn listed(house: &House, bus: u8, status: &str) {
    let uevent = house.at(format!("sys/sys/bus/pci/devices/0000:0{bus}:00.0/uevent"));
    write(uevent, "DRIVER=nvidia\nPCI_ID=10DE:2704\n");
    house.pci_card(bus, status);
}

type Pairs = Vec<(String, String)>;

/// Ids and addresses of what can be used, and addresses and states of what cannot.
fn told(report: &Value) -> (Pairs, Pairs) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let list = |name: &str| report[name].as_array().unwrap().clone();
    (
        list("gpus").iter().map(|gpu| (text(&gpu["id"]), text(&gpu["pci"]))).collect(),
        list("cards").iter().map(|card| (text(&card["pci"]), text(&card["state"]))).collect(),
    )
}

fn pairs(list: &[(&str, &str)]) -> Pairs {
    list.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
}

#[test]
fn of_two_cards_the_one_that_sleeps_is_left_asleep() {
    let mut house = house!();
    nvml!(house);
    house.cards(&[card("NVIDIA A", 1, "", ""), card("NVIDIA B", 2, "", "")]);
    listed(&house, 1, "suspended\n");
    listed(&house, 2, "active\n");
    let house = house.started();
    let report = house.json(&["hardware"]);
    let expected = (pairs(&[("CUDA1", "0000:02:00.0")]), pairs(&[("0000:01:00.0", "asleep")]));
    assert_eq!(told(&report), expected, "{report}");
    assert_eq!(report["cards"][0]["total"], Value::Null);
    let shown = house.does(&["hardware"]);
    let row = shown.lines().find(|line| line.contains("0000:01:00.0") && line.ends_with("asleep"));
    assert!(row.is_some_and(|row| row.contains("?")), "{shown}");
    // NVML_INIT_FLAG_NO_GPUS and NVML_INIT_FLAG_NO_ATTACH: nothing else opens the library without waking all.
    let opened = fs::read_to_string(house.home("nvml-inits")).unwrap();
    assert!(opened.lines().all(|line| line == "init 3"), "{opened}");
    let asked = fs::read_to_string(house.home("nvml-asked")).unwrap();
    assert!(asked.lines().all(|line| line == "0000:02:00.0"), "{asked}");
}

#[test]
fn a_card_that_went_to_sleep_is_shown_once_and_by_the_name_that_an_engine_knows() {
    let mut house = house!();
    nvml!(house);
    house.cards(&[card("NVIDIA RTX 4070", 1, "", "")]);
    listed(&house, 1, "active\n");
    let mut house = house.started();
    house.install_engine();
    write(house.home("devices"), "  CUDA0: NVIDIA RTX 4070 (24080 MiB, 23000 MiB free)\n");
    assert_eq!(told(&house.json(&["hardware"])), (pairs(&[("CUDA0", "0000:01:00.0")]), Vec::new()));
    listed(&house, 1, "suspended\n");
    let rows = || -> Vec<String> {
        let shown = house.does(&["hardware"]);
        shown.lines().filter(|line| line.contains("0000:01:00.0 ")).map(str::to_owned).collect()
    };
    let is_asleep = |rows: &[String]| {
        rows.iter().any(|row| row.starts_with("CUDA0  NVIDIA RTX 4070") && row.ends_with("asleep"))
    };
    wait_until("it is shown asleep", 10, || is_asleep(&rows()));
    let rows = rows();
    assert_eq!(rows.iter().filter(|row| row.starts_with("CUDA0")).count(), 1, "{rows:?}");
    assert!(rows[0].contains("  ?  23.5 GiB  "), "{rows:?}");
    let asked = fs::read_to_string(house.home("asked")).unwrap();
    assert_eq!(asked.matches("--list-devices").count(), 1, "an engine has woken it: {asked}");
}

#[test]
fn a_lost_card_is_told_with_what_to_do_and_the_other_goes_on() {
    let mut house = house!();
    nvml!(house);
    let both = |state: &str| [card("NVIDIA A", 1, "", state), card("NVIDIA B", 2, "", "")];
    house.cards(&both(""));
    listed(&house, 1, "active\n");
    listed(&house, 2, "active\n");
    let house = house.started();
    let whole = pairs(&[("CUDA0", "0000:01:00.0"), ("CUDA1", "0000:02:00.0")]);
    assert_eq!(told(&house.json(&["hardware"])).0, whole);
    house.cards(&both("lost"));
    let is_lost = || {
        let report = house.json(&["hardware"]);
        (told(&report).1 == pairs(&[("0000:01:00.0", "lost")])).then_some(report)
    };
    wait_until("the lost card is told", 10, || is_lost().is_some());
    let report = is_lost().unwrap();
    assert_eq!(told(&report).0, pairs(&[("CUDA1", "0000:02:00.0")]));
    let why = report["cards"][0]["why"].as_str().unwrap();
    assert!(why.contains("NVIDIA A") && why.contains("Restart the machine"), "{why}");
    house.cards(&both(""));
    wait_until("it is back", 10, || told(&house.json(&["hardware"])) == (whole.clone(), Vec::new()));
}

#[test]
fn a_card_that_goes_and_comes_back_is_called_as_before_and_the_library_is_kept_meanwhile() {
    let mut house = house!();
    nvml!(house);
    let both = [card("NVIDIA A", 1, &format!("{}:512", std::process::id()), ""), card("NVIDIA B", 2, "", "")];
    house.cards(&both);
    house.memory(32768);
    listed(&house, 1, "active\n");
    listed(&house, 2, "active\n");
    let house = house.started();
    let mut watching = house.stream(&["hardware", "--watch", "--json"]);
    let whole = pairs(&[("CUDA0", "0000:01:00.0"), ("CUDA1", "0000:02:00.0")]);
    let is_whole = |report: &Value| (told(report).0 == whole).then_some(report.clone());
    let report = watching.event("both", is_whole);
    assert!(report["holders"][std::process::id().to_string()].is_string(), "{report}");
    let opened = || fs::read_to_string(house.home("nvml-inits")).unwrap().lines().count();
    for available in [24576, 16384, 8192] {
        house.memory(available);
        watching.event("memory", |report| (report["ram"]["available"] == available << 20).then_some(()));
    }
    assert!(opened() <= 2, "opened {} times for four looks", opened());
    house.cards(&both[1..]);
    watching.event("one", |report| (told(report).0.len() == 1).then_some(()));
    house.cards(&both);
    watching.event("both again", is_whole);
    watching.signal(rustix::process::Signal::TERM);
    watching.end(10);
    let is_let_go =
        || !fs::read_to_string(format!("/proc/{}/maps", house.pid())).unwrap().contains("libnvidia-ml");
    wait_until("the library is let go", 10, is_let_go);
}

#[test]
fn a_library_newer_than_the_kernels_module_is_told() {
    let mut house = house!();
    nvml!(house);
    house.cards(&["!mismatch".to_owned()]);
    listed(&house, 1, "active\n");
    let house = house.started();
    let report = house.json(&["hardware"]);
    assert_eq!(told(&report), (Vec::new(), pairs(&[("0000:01:00.0", "untold")])));
    assert!(report["notes"].to_string().contains("updated under the running kernel module"), "{report}");
    let shown = house.does(&["hardware"]);
    assert_eq!(shown.matches("restart the machine").count(), 1, "{shown}");
}

#[test]
fn a_board_with_one_memory_for_both_has_the_machines() {
    let mut house = house!();
    nvml!(house);
    house.cards(&[card("NVIDIA GB10", 1, "", "unified")]);
    house.memory(32768);
    let house = house.started();
    let gpu = &house.json(&["hardware"])["gpus"][0];
    assert_eq!((&gpu["total"], &gpu["free"]), (&json!(64_u64 << 30), &json!(32_u64 << 30)));
    assert_eq!(gpu["shares_ram"], true);
}

#[test]
fn a_cuda_that_does_not_start_after_a_sleep_is_told_with_what_mends_it() {
    let mut house = house!();
    nvml!(house);
    house.cards(&[card("NVIDIA A", 1, "", "")]);
    let mut house = house.started();
    house.install_engine();
    write(house.home("complaint"), "unknown error");
    let report = house.json(&["hardware"]);
    let note = report["engines"][0]["note"].as_str().unwrap();
    let mends = "modprobe nvidia_uvm";
    assert!(note.starts_with("CUDA does not start: unknown error; ") && note.contains(mends), "{note}");
    assert!(house.ctl(&["doctor"]).out.contains(mends));
}

#[test]
fn the_parts_of_a_divided_card_stand_in_its_place() {
    let mut house = house!();
    nvml!(house);
    let part = |number: u8| format!("NVIDIA H100 MIG 1g.10gb|9856|{number}|MIG-{number}|-||part");
    house.cards(&[card("NVIDIA H100", 1, "", "divided"), part(1), part(2)]);
    let house = house.started();
    let report = house.json(&["hardware"]);
    assert_eq!(told(&report).0, pairs(&[("CUDA0", "0000:01:00.0"), ("CUDA1", "0000:01:00.0")]));
    let parts = report["gpus"].as_array().unwrap().iter().map(|gpu| (&gpu["uuid"], &gpu["total"]));
    let bytes = json!(9856_u64 << 20);
    assert_eq!(parts.collect::<Vec<_>>(), [(&json!("MIG-1"), &bytes), (&json!("MIG-2"), &bytes)]);
}

#[test]
fn listeners_are_told_of_changes_and_wake_no_card() {
    let mut house = house!();
    nvml!(house);
    house.cards(&[card("NVIDIA A", 1, "", "")]);
    listed(&house, 1, "suspended\n");
    house.memory(32768);
    let house = house.started();
    let (json, plain) = (house.stream(&["events", "--json"]), house.stream(&["events"]));
    let changed = |event: &Value| (event["event"] == "HardwareChanged").then(|| event["hardware"].clone());
    json.event("the start", |event| (event["event"] == "Listening").then_some(()));
    plain.find("the start", 15, |line| line.contains("Listening").then_some(()));
    house.memory(16384);
    let machine = json.event("less memory", changed);
    assert_eq!(machine["ram"]["available"], 16_u64 << 30);
    assert_eq!(machine["cards"][0]["state"], "asleep");
    plain.find("a line", 15, |line| line.ends_with("HardwareChanged  memory 16.0 GiB free").then_some(()));
    house.memory(32768);
    json.event("more memory", changed);
    assert!(!house.home("nvml-inits").exists(), "NVML was opened");
    listed(&house, 1, "active\n");
    let machine = json.event("the card is awake", changed);
    assert_eq!(machine["gpus"][0]["id"], "CUDA0");
}

#[test]
fn who_holds_a_radeon_is_told_by_name() {
    let house = house!();
    house.radeon();
    let held =
        "drm-driver:\tamdgpu\ndrm-client-id:\t7\ndrm-pdev:\t0000:03:00.0\ndrm-memory-vram:\t524288 KiB\n";
    write(house.at("sys/proc/4242/fdinfo/5"), held);
    write(house.at("sys/proc/4242/comm"), "llama-server\n");
    // One that is just ending has files without a word in them, or none.
    write(house.at("sys/proc/4243/fdinfo/5"), "");
    fs::create_dir_all(house.at("sys/proc/4244")).unwrap();
    let house = house.started();
    let report = house.json(&["hardware"]);
    assert_eq!(report["gpus"][0]["processes"], json!({"4242": 512 << 20}));
    assert_eq!(report["holders"], json!({"4242": "llama-server"}));
    let shown = house.does(&["hardware"]);
    assert!(shown.contains("\n  4242 llama-server holds 512.0 MiB\n"), "{shown}");
}

#[test]
fn what_bears_on_a_machine_besides_is_told() {
    let house = house!();
    house.memory(32768);
    let cpu = "processor: 0\nmodel name\t: Fake CPU\nflags\t\t: fpu avx2 avx512f amx_int8\n";
    write(house.at("sys/proc/cpuinfo"), cpu);
    write(house.at("sys/proc/pressure/memory"), "some avg10=12.50 avg60=0.00 avg300=0.00 total=1\n");
    write(house.at("sys/proc/sys/kernel/osrelease"), "5.15.153.1-microsoft-standard-WSL2\n");
    for node in 0..2 {
        let text = format!("Node {node} MemTotal: 33554432 kB\nNode {node} MemFree: 16777216 kB\n");
        write(house.at(format!("sys/sys/devices/system/node/node{node}/meminfo")), text);
    }
    let house = house.started();
    let report = house.json(&["hardware"]);
    assert_eq!(report["cpu"]["features"], json!(["avx2", "avx512f", "amx_int8"]));
    let node = |node: u8| json!({"node": node, "total": 32_u64 << 30, "free": 16_u64 << 30});
    assert_eq!(
        report["host"],
        json!({"numa": [node(0), node(1)], "pressure": 12.5, "wsl": true, "limited_by": null})
    );
    let shown = house.does(&["hardware"]);
    for line in [
        "           avx2 avx512f amx_int8",
        "node 1     16.0 GiB of 32.0 GiB free",
        "pressure   in 12 % of the last 10 s some process waited for memory",
        "system     Linux inside Windows: memory= in .wslconfig says how much it gets",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
}

#[test]
fn no_file_of_the_kernels_breaks_a_look() {
    let house = house!();
    house.memory(32768);
    let device = |card: u8| house.at(format!("sys/sys/class/drm/card{card}/device"));
    for card in 0..6 {
        write(device(card).join("vendor"), if card % 2 == 0 { "0x1002\n" } else { "0x8086\n" });
    }
    write(device(0).join("mem_info_vram_total"), "18446744073709551615\n");
    write(device(0).join("uevent"), b"PCI_SLOT_NAME=\xff\xfe\nDRIVER=\n");
    fs::create_dir_all(device(1).join("uevent")).unwrap();
    fs::create_dir_all(device(2).join("mem_info_vram_total")).unwrap();
    write(device(3).join("tile0/physical_vram_size_bytes"), "99999999999999999999\n");
    write(device(3).join("resource"), "0x1 0x2\n0x3\n0xffffffffffffffff 0x0 0x0\n");
    write(device(4).join("mem_info_vram_total"), "4294967296\n");
    write(device(4).join("mem_info_vram_used"), "9999999999999\n");
    write(device(4).join("mem_info_gtt_total"), "-1\n");
    write(device(4).join("uevent"), "PCI_SLOT_NAME=0000:03:00.0\nPCI_ID=1002\n");
    write(house.at("sys/sys/class/kfd/kfd/topology/nodes/1/gpu_id"), "\n");
    write(
        house.at("sys/sys/class/kfd/kfd/topology/nodes/2/properties"),
        "location_id 99999999999999999999\n",
    );
    write(house.at("sys/proc/17/fdinfo/4"), b"drm-pdev:\t0000:03:00.0\ndrm-total-vram:\t\xff KiB\n");
    fs::create_dir_all(house.at("sys/proc/18/fdinfo/4")).unwrap();
    write(house.at("sys/proc/pressure/memory"), "some avg10=\n");
    let house = house.started();
    let report = house.json(&["hardware"]);
    let free: Vec<_> = report["gpus"].as_array().unwrap().iter().map(|gpu| &gpu["free"]).collect();
    assert_eq!(free, [&json!(0)], "{report}");
    assert_eq!(report["cards"].as_array().unwrap().len(), 5, "{report}");
    house.does(&["hardware"]);
}
