use super::*;
use crate::hardware::{CUDA_CONTEXT, Cpu, Pool, Ram};

const GIB: u64 = 1 << 30;

fn card(number: u8, name: &str) -> Gpu {
    Gpu {
        id: format!("CUDA{number}"),
        name: name.into(),
        backend: "CUDA".into(),
        total: 24 * GIB,
        free: 20 * GIB + u64::from(number),
        overhead: CUDA_CONTEXT,
        uuid: Some(format!("GPU-{number}aaa")),
        pci: Some(format!("0000:0{number}:00.0")),
        ..Gpu::default()
    }
}

fn device(id: &str, name: &str, total: u64) -> Gpu {
    let backend = id.trim_end_matches(|c: char| c.is_ascii_digit()).into();
    Gpu { id: id.into(), name: name.into(), backend, total, free: 19 * GIB, ..Gpu::default() }
}

fn machine(gpus: Vec<Gpu>) -> Hardware {
    Hardware { gpus, ram: Ram { total: 64 * GIB, available: 32 * GIB }, cpu: Cpu::default() }
}

fn check(devices: &[Gpu], is_fresh: bool, visible: Option<&str>, probed: &Hardware) -> Seen {
    let listing =
        Listing { devices, is_fresh, cards: &[], others: &[], complaint: None, cuda_visible: visible };
    see(&listing, probed)
}

#[test]
fn a_fresh_listing_keeps_its_own_figures_and_an_old_one_gets_the_drivers() {
    let probed = machine(vec![card(1, "NVIDIA GeForce RTX 4090")]);
    let listed = [device("CUDA0", "NVIDIA GeForce RTX 4090", 24080 << 20)];
    let fresh = check(&listed, true, None, &probed).hardware.gpus;
    assert_eq!((fresh[0].free, fresh[0].overhead), (19 * GIB, 0));
    assert_eq!(fresh[0].pci.as_deref(), Some("0000:01:00.0"));
    let old = check(&listed, false, None, &probed).hardware.gpus;
    assert_eq!((old[0].free, old[0].overhead, old[0].total), (20 * GIB + 1, CUDA_CONTEXT, 24080 << 20));
}

#[test]
fn what_a_context_takes_is_measured_where_it_can_be() {
    let probed = machine(vec![card(1, "NVIDIA H200")]);
    let listed = [Gpu { free: 149_557_346_304, ..device("CUDA0", "NVIDIA H200", 24 * GIB) }];
    let measured = |before: u64| {
        let cards = [Gpu { free: before, ..card(1, "NVIDIA H200") }];
        let listing = Listing {
            devices: &listed,
            is_fresh: false,
            cards: &cards,
            others: &[],
            complaint: None,
            cuda_visible: None,
        };
        see(&listing, &probed).hardware.gpus[0].overhead
    };
    assert_eq!(measured(150_109_880_320), 552_534_016); // 2026-11-27, driver 580.159.04
    assert_eq!(measured(149_557_346_305), CUDA_CONTEXT); // a program has ended in between
    assert_eq!(measured(149_557_346_303), CUDA_CONTEXT);
    assert_eq!(measured(160_000_000_000), CUDA_CONTEXT); // one has begun
}

#[test]
fn two_equal_cards_are_told_apart_by_their_order() {
    let probed = machine(vec![card(1, "RTX 3090"), card(2, "RTX 3090")]);
    let listed = [device("CUDA0", "RTX 3090", 24 * GIB), device("CUDA1", "RTX 3090", 24 * GIB)];
    let pci = |visible: Option<&str>, count: usize| -> Vec<Option<String>> {
        let seen = check(&listed[..count], false, visible, &probed);
        seen.hardware.gpus.into_iter().map(|gpu| gpu.pci).collect()
    };
    let (one, two) = (Some("0000:01:00.0".to_owned()), Some("0000:02:00.0".to_owned()));
    assert_eq!(pci(None, 2), [one.clone(), two.clone()]);
    assert_eq!(pci(Some("1,0"), 2), [two.clone(), one]);
    assert_eq!([pci(Some("1"), 1), pci(Some("GPU-2a"), 1)].concat(), [two.clone(), two]);
    assert_eq!(check(&listed[..1], false, Some("1"), &probed).notes.len(), 1);
    assert_eq!(check(&[], false, Some("-1"), &probed).notes.len(), 2);
}

#[test]
fn a_build_for_the_processor_alone_is_told_of_on_a_machine_with_a_gpu() {
    let probed = machine(vec![card(1, "NVIDIA GeForce RTX 4090")]);
    let seen = check(&[], true, None, &probed);
    assert!(seen.hardware.gpus.is_empty());
    assert_eq!(seen.unseen, probed.gpus);
    assert_eq!(
        seen.notes,
        [
            "NVIDIA GeForce RTX 4090 (0000:01:00.0) is there, and this engine does not see it: it is built for the \
          processor alone, or a library is missing: install a CUDA or Vulkan build"
        ]
    );
}

#[test]
fn what_computes_in_main_memory_is_known() {
    let probed = machine(Vec::new());
    for (name, total, shares) in [
        ("llvmpipe (LLVM 22.1.8, 256 bits)", 24 * GIB, true),
        ("Intel(R) Iris(R) Xe Graphics", 63 * GIB + GIB / 2, true),
        ("NVIDIA GeForce RTX 4090", 24 * GIB, false),
        ("NVIDIA RTX PRO 6000", 64 * GIB, false), // the machine has as much by chance
        ("NVIDIA Thor", 60 * GIB, true),
    ] {
        let seen = check(&[device("Vulkan0", name, total)], true, None, &probed);
        assert_eq!(seen.hardware.gpus[0].shares_ram, shares, "{name}");
    }
    let tight = Hardware { ram: Ram { total: 64 * GIB, available: GIB }, ..probed };
    let seen = check(&[device("Vulkan0", "llvmpipe", 64 * GIB)], true, None, &tight);
    assert_eq!(seen.hardware.gpus[0].free, GIB);
    let old = check(&[device("Vulkan0", "llvmpipe", 64 * GIB)], false, None, &machine(Vec::new()));
    assert_eq!(old.hardware.gpus[0].free, 32 * GIB); // 19 were free when the list was made
}

#[test]
fn graphics_of_the_processor_are_missed_where_an_engine_sees_nothing_else() {
    let of_processor = Gpu { pci: Some("0000:64:00.0".into()), ..radeon("card1", 4, 28, true) };
    let probed = machine(vec![of_processor.clone(), card(0, "NVIDIA GeForce RTX 4090")]);
    let beside = check(&[device("CUDA0", "NVIDIA GeForce RTX 4090", 24 * GIB)], true, None, &probed);
    assert_eq!((beside.notes.len(), beside.unseen.len()), (0, 1));
    let alone = check(&[], true, None, &machine(vec![of_processor]));
    let said = "AMD graphics 1002:1586 (0000:64:00.0) is there, and this engine does not see it: it is built for the \
                processor alone, or a library is missing: install a Vulkan build";
    assert_eq!(alone.notes, [said]);
}

fn radeon(id: &str, own: u64, gtt: u64, shares_ram: bool) -> Gpu {
    let pool = |name: &str, total: u64| Pool { name: name.into(), total: total * GIB, used: 0 };
    let pools = if gtt > 0 { vec![pool("vram", own), pool("gtt", gtt)] } else { Vec::new() };
    let total = if shares_ram { own + gtt } else { own } * GIB;
    Gpu {
        id: id.into(),
        name: "AMD graphics 1002:1586".into(),
        backend: "ROCm".into(),
        total,
        free: total,
        shares_ram,
        pools,
        ..Gpu::default()
    }
}

#[test]
fn graphics_of_a_processor_is_known_whatever_part_of_memory_a_backend_shows() {
    let whole = machine(vec![
        Gpu { total: 64 * GIB, free: 32 * GIB, shares_ram: true, ..radeon("card0", 0, 0, true) },
        radeon("card1", 16, 0, false),
    ]);
    let listed = [
        device("Vulkan0", "AMD Radeon 890M Graphics (RADV STRIX1)", 40 * GIB),
        device("Vulkan1", "AMD Radeon RX 9070 XT (RADV GFX1201)", 16 * GIB),
    ];
    let seen = check(&listed, true, None, &whole).hardware.gpus;
    assert_eq!(seen.iter().map(|gpu| gpu.shares_ram).collect::<Vec<_>>(), [true, false]);

    // A Strix Halo with 96 of 128 GiB cut out for graphics: those are not the machine's any more.
    let large = machine(vec![radeon("card0", 96, 16, false)]);
    let listed =
        [Gpu { free: 110 * GIB, ..device("Vulkan0", "AMD Radeon Graphics (RADV STRIX_HALO)", 111 * GIB) }];
    let seen = &check(&listed, true, None, &large).hardware.gpus[0];
    assert_eq!((seen.free, seen.shares_ram, seen.pools.len()), (96 * GIB, false, 2));
}

#[test]
fn an_arc_is_told_from_the_graphics_of_the_processor_beside_it() {
    let intel = Gpu {
        name: "Intel graphics 8086:a780".into(),
        backend: "SYCL".into(),
        total: 64 * GIB,
        free: 32 * GIB,
        shares_ram: true,
        pci: Some("0000:00:02.0".into()),
        ..Gpu::default()
    };
    let arc = Card {
        name: "Intel Arc A380".into(),
        backend: "SYCL".into(),
        pci: Some("0000:08:00.0".into()),
        ..Card::default()
    };
    let probed = machine(vec![intel]);
    let seen = |devices: &[Gpu]| {
        let others = std::slice::from_ref(&arc);
        let listing =
            Listing { devices, is_fresh: true, cards: &[], others, complaint: None, cuda_visible: None };
        see(&listing, &probed)
    };
    let one = device("Vulkan0", "Intel(R) Arc(tm) A380 Graphics (DG2)", 6 * GIB);
    let two = device("Vulkan1", "Intel(R) UHD Graphics 770 (ADL-S GT1)", 48 * GIB);
    let both = seen(&[one, two.clone()]);
    let told: Vec<_> =
        both.hardware.gpus.iter().map(|gpu| (gpu.pci.as_deref().unwrap(), gpu.shares_ram)).collect();
    assert_eq!(told, [("0000:08:00.0", false), ("0000:00:02.0", true)]);
    assert_eq!((both.notes.len(), both.others.len()), (0, 0));
    let alone = seen(&[two]);
    assert_eq!(alone.others, std::slice::from_ref(&arc));
    assert_eq!(
        alone.notes,
        [
            "Intel Arc A380 (0000:08:00.0) is there, and this engine does not see it: a SYCL or Vulkan build would"
        ]
    );
}

#[test]
fn cuda_that_does_not_start_is_told_with_what_mends_it() {
    let probed = machine(vec![card(1, "NVIDIA GeForce RTX 4090")]);
    let notes = |complaint: &str| {
        let complaint = Some(complaint);
        let listing =
            Listing { devices: &[], is_fresh: true, cards: &[], others: &[], complaint, cuda_visible: None };
        see(&listing, &probed).notes
    };
    assert_eq!(
        notes("unknown error"),
        [
            "CUDA does not start: unknown error; if the machine has slept, sudo rmmod nvidia_uvm && sudo modprobe \
             nvidia_uvm mends it, else a restart"
        ]
    );
    assert_eq!(notes("out of memory"), ["CUDA does not start: out of memory"]);
}

#[test]
fn one_part_of_a_divided_card_is_no_surprise() {
    let part = |number: u8| Gpu { uuid: Some(format!("MIG-{number}")), ..card(1, "NVIDIA H200 MIG 1g.18gb") };
    let probed = machine(vec![part(1), part(2)]);
    let seen = check(&[device("CUDA0", "NVIDIA H200 MIG 1g.18gb", 24 * GIB)], true, None, &probed);
    assert_eq!(seen.hardware.gpus[0].uuid.as_deref(), Some("MIG-1"));
    assert!(seen.notes[0].contains("CUDA_VISIBLE_DEVICES=MIG-2"), "{:?}", seen.notes);
    let second = check(&[device("CUDA0", "NVIDIA H200 MIG 1g.18gb", 24 * GIB)], true, Some("MIG-2"), &probed);
    assert_eq!(second.hardware.gpus[0].uuid.as_deref(), Some("MIG-2"));
}

#[test]
fn of_two_equal_cards_the_sleeping_one_keeps_its_number() {
    let awake = Gpu { id: "CUDA1".into(), ..card(2, "RTX 3090") };
    let asleep = Card {
        name: "NVIDIA graphics 10DE:2204".into(),
        backend: "CUDA".into(),
        pci: Some("0000:01:00.0".into()),
        state: CardState::Asleep,
        ..Card::default()
    };
    let probed = machine(vec![awake]);
    let devices = [device("CUDA0", "RTX 3090", 24 * GIB), device("CUDA1", "RTX 3090", 24 * GIB)];
    let others = std::slice::from_ref(&asleep);
    let listing = Listing {
        devices: &devices,
        is_fresh: false,
        cards: &[],
        others,
        complaint: None,
        cuda_visible: None,
    };
    let seen = see(&listing, &probed);
    let told: Vec<_> = seen.hardware.gpus.iter().map(|gpu| (gpu.pci.as_deref(), gpu.free)).collect();
    assert_eq!(told, [(Some("0000:01:00.0"), 19 * GIB), (Some("0000:02:00.0"), 20 * GIB + 2)]);
    assert_eq!((seen.others.as_slice(), seen.notes.len()), (others, 0));
}
