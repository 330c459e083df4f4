//! The processor: how many cores and threads there are, and what it is called.

use domain::hardware::Cpu;
use std::{collections::BTreeSet, fs, path::Path, thread};

pub(super) fn read(sysroot: &Path) -> Cpu {
    let base = super::base(sysroot, "proc/cpuinfo");
    let text = super::files::text(&base.join("proc/cpuinfo")).unwrap_or_default();
    let listed = text.lines().filter(|line| field(line, "processor").is_some()).count() as u64;
    // What we may run on, which taskset and control groups limit; another machine's tree can only be counted.
    let ours = thread::available_parallelism().ok().map(|threads| threads.get() as u64);
    let threads = ours.filter(|_| base == Path::new("/")).or(Some(listed).filter(|count| *count > 0));
    let features = features(&text);
    Cpu { cores: cores(&text).or_else(|| cores_of(&base)), threads, name: name(&text), features }
}

/// What llama.cpp and its like have code of their own for, by the kernel's name (`arch/x86/include/asm/cpufeatures.h`,
/// `arch/arm64/kernel/cpuinfo.c`) and by the one that engines use.
const FEATURES: &[(&str, &str)] = &[
    ("sse4_2", "sse4_2"),
    ("avx", "avx"),
    ("f16c", "f16c"),
    ("fma", "fma"),
    ("bmi2", "bmi2"),
    ("avx2", "avx2"),
    ("avx_vnni", "avx_vnni"),
    ("avx512f", "avx512f"),
    ("avx512vbmi", "avx512_vbmi"),
    ("avx512_vnni", "avx512_vnni"),
    ("avx512_bf16", "avx512_bf16"),
    ("amx_tile", "amx_tile"),
    ("amx_int8", "amx_int8"),
    ("amx_bf16", "amx_bf16"),
    ("neon", "neon"),
    ("asimd", "neon"),
    ("asimddp", "dotprod"),
    ("asimdhp", "fp16"),
    ("i8mm", "i8mm"),
    ("bf16", "bf16"),
    ("sve", "sve"),
    ("sve2", "sve2"),
    ("sme", "sme"),
];

/// Those that every processor here has: a thread may move.
fn features(cpuinfo: &str) -> Vec<String> {
    let flags = |line| field(line, "flags").or_else(|| field(line, "Features"));
    let mut all: Vec<BTreeSet<&str>> =
        cpuinfo.lines().filter_map(flags).map(|flags| flags.split_whitespace().collect()).collect();
    all.dedup();
    let has = |name: &str| !all.is_empty() && all.iter().all(|flags| flags.contains(name));
    FEATURES.iter().filter(|(kernel, _)| has(kernel)).map(|(_, name)| (*name).to_owned()).collect()
}

/// Distinct cores over all sockets; None where the kernel does not say, as on ARM.
fn cores(cpuinfo: &str) -> Option<u64> {
    let mut socket = None;
    let mut cores = BTreeSet::new();
    for line in cpuinfo.lines() {
        if let Some(id) = field(line, "physical id") {
            socket = Some(id);
        }
        if let Some(id) = field(line, "core id") {
            cores.insert((socket, id));
        }
    }
    (!cores.is_empty()).then_some(cores.len() as u64)
}

/// Threads of one core share a list of siblings.
fn cores_of(base: &Path) -> Option<u64> {
    let cpus = fs::read_dir(base.join("sys/devices/system/cpu")).ok()?.flatten();
    let siblings = |dir: &Path| fs::read_to_string(dir.join("topology/thread_siblings_list")).ok();
    let cores: BTreeSet<String> = cpus.filter_map(|cpu| siblings(&cpu.path())).collect();
    (!cores.is_empty()).then_some(cores.len() as u64)
}

fn name(cpuinfo: &str) -> Option<String> {
    let find = |key: &str| cpuinfo.lines().find_map(|line| field(line, key));
    // ARM boards name themselves at the end.
    let name = find("model name").or_else(|| find("Hardware")).or_else(|| find("Model"))?;
    (!name.is_empty() && name != "unknown").then(|| name.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    Some(line.strip_prefix(key)?.trim_start().strip_prefix(':')?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_counted_over_sockets_and_threads() {
        let thread = |socket: u8, core: u8| {
            format!("processor\t: 0\nphysical id\t: {socket}\ncore id\t\t: {core}\n\n")
        };
        let of = |threads: &[(u8, u8)]| -> String { threads.iter().map(|(s, c)| thread(*s, *c)).collect() };
        for (text, expected) in [
            (of(&[(0, 0), (0, 0), (0, 1), (0, 1)]), Some(2)),
            (of(&[(0, 0), (1, 0)]), Some(2)),
            ("processor\t: 0\nBogoMIPS\t: 48\n".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(cores(&text), expected, "{text}");
        }
    }

    #[test]
    fn features_are_those_of_every_processor() {
        let zen4 =
            "flags\t\t: fpu sse4_2 avx fma f16c bmi2 avx2 avx512f avx512vbmi avx512_vnni avx512_bf16\n";
        let zen2 = "flags\t\t: fpu sse4_2 avx fma f16c bmi2 avx2\n";
        let pi = "Features\t: fp asimd evtstrm aes asimddp\n";
        for (text, expected) in [
            (zen4, "sse4_2 avx f16c fma bmi2 avx2 avx512f avx512_vbmi avx512_vnni avx512_bf16"),
            (&[zen4, zen2].concat(), "sse4_2 avx f16c fma bmi2 avx2"),
            (pi, "neon dotprod"),
            ("", ""),
        ] {
            assert_eq!(features(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn the_name_is_the_kernels() {
        for (text, expected) in [
            ("model\t\t: 17\nmodel name\t: AMD Ryzen  9 7950X\n", Some("AMD Ryzen 9 7950X")),
            ("processor\t: 0\nModel\t\t: Raspberry Pi 5\n", Some("Raspberry Pi 5")),
            ("model name\t: unknown\n", None),
            ("model name\t:\n", None),
            ("", None),
        ] {
            assert_eq!(name(text).as_deref(), expected, "{text}");
        }
    }
}
