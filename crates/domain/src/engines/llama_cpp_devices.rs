//! What llama.cpp's own answers say: `--list-devices`, `--help`, `--version`.

use crate::hardware::Gpu;
use std::collections::BTreeSet;

/// Reads the answer of `--list-devices`; None where it is no such answer.
pub fn listed_devices(text: &str) -> Option<Vec<Gpu>> {
    let mut lines = text.lines().skip_while(|line| line.trim() != "Available devices:");
    lines.next()?;
    Some(lines.map_while(|line| line.strip_prefix("  ")).filter_map(device).collect())
}

/// `Vulkan0: llvmpipe (LLVM 22.1.8, 256 bits) (24105 MiB, 23623 MiB free)`
fn device(line: &str) -> Option<Gpu> {
    let (id, rest) = line.trim().split_once(": ")?;
    let (name, sizes) = rest.rsplit_once(" (")?;
    let (total, free) = sizes.strip_suffix(" MiB free)")?.split_once(" MiB, ")?;
    let bytes = |mib: &str| mib.parse::<u64>().ok()?.checked_mul(1 << 20);
    let backend = id.split(|c: char| c.is_ascii_digit() || c == '[').next().unwrap_or(id);
    let backend = if backend == "MTL" { "Metal" } else { backend };
    // A BLAS library is listed by some builds; it holds nothing.
    (backend != "BLAS").then_some(Gpu {
        id: id.into(),
        name: name.into(),
        backend: backend.into(),
        total: bytes(total)?,
        free: bytes(free)?,
        ..Gpu::default()
    })
}

/// Why CUDA did not start, as ggml-cuda tells it: `ggml_cuda_init: failed to initialize CUDA: unknown error`. That there is
/// no card is no failure.
pub fn cuda_complaint(text: &str) -> Option<String> {
    let (_, why) = text.lines().find_map(|line| line.split_once("failed to initialize CUDA: "))?;
    let why: String = why.trim().chars().take(200).collect();
    (!why.is_empty() && !why.contains("no CUDA-capable device")).then_some(why)
}

/// Every flag that a `--help` lists, and `FLASH_SWITCH` where it is of an older version.
pub fn listed_flags(text: &str) -> BTreeSet<String> {
    let is_flag = |word: &&str| word.starts_with('-') && word.len() > 1;
    let words =
        text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '=' | '|' | '[' | ']' | '(' | ')'));
    let mut flags: BTreeSet<String> = words.filter(is_flag).map(str::to_owned).collect();
    // What a flag takes stands one blank behind it, what it is good for further away.
    let after = text.lines().find_map(|line| line.split_once("--flash-attn").map(|(_, after)| after));
    if after.is_some_and(|after| after.starts_with("  ")) {
        flags.insert(FLASH_SWITCH.to_owned());
    }
    flags
}

/// No flag: it stands for a `--flash-attn` that is off unless given, and takes no value, as it was until August 2025.
pub(super) const FLASH_SWITCH: &str = "--flash-attn (a switch)";

/// Whether these are the flags of a server that this module's engine can start.
pub fn is_server(flags: &BTreeSet<String>) -> bool {
    ["--model", "--host", "--port"].iter().all(|flag| flags.contains(*flag))
}

/// The line of `--version` that names the version, as it was printed. Build numbers are 0 in some packages, so nothing
/// is made of them.
pub fn listed_version(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_version = |line: &&str| line.starts_with("version");
    let line = lines.clone().find(is_version).or_else(|| lines.next())?;
    let line = line.strip_prefix("version:").unwrap_or(line).trim();
    (!line.is_empty()).then(|| line.chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cuda_that_does_not_start_is_heard() {
        let said =
            |why: &str| cuda_complaint(&format!("ggml_cuda_init: failed to initialize CUDA: {why}\nx\n"));
        assert_eq!(said("unknown error").as_deref(), Some("unknown error"));
        assert_eq!(said("no CUDA-capable device is detected"), None);
        assert_eq!((said(""), cuda_complaint("Available devices:\n")), (None, None));
    }

    #[test]
    fn devices_are_read_as_every_backend_names_them() {
        let text = "load_backend: loaded\nAvailable devices:\n\
            \x20 CUDA0: NVIDIA GeForce RTX 4090 (24080 MiB, 23592 MiB free)\n\
            \x20 ROCm1: AMD Radeon RX 7800 XT (16368 MiB, 16294 MiB free)\n\
            \x20 Vulkan0: llvmpipe (LLVM 22.1.8, 256 bits) (24105 MiB, 23623 MiB free)\n\
            \x20 SYCL0: Intel(R) Arc(TM) A770 Graphics (15473 MiB, 15473 MiB free)\n\
            \x20 RPC0[127.0.0.1:50152]: RPC0[127.0.0.1:50152] (24105 MiB, 24105 MiB free)\n\
            \x20 RPC[10.0.0.2:50052]: RPC[10.0.0.2:50052] (1 MiB, 1 MiB free)\n\
            \x20 MTL0: Apple M3 (12124 MiB, 12123 MiB free)\n\
            \x20 BLAS: OpenBLAS (0 MiB, 0 MiB free)\n\
            \x20 odd line\nafter: it (1 MiB, 1 MiB free)\n";
        let devices = listed_devices(text).unwrap();
        let shown: Vec<_> = devices
            .iter()
            .map(|gpu| (&*gpu.id, &*gpu.backend, &*gpu.name, gpu.total >> 20, gpu.free >> 20))
            .collect();
        assert_eq!(
            shown,
            [
                ("CUDA0", "CUDA", "NVIDIA GeForce RTX 4090", 24080, 23592),
                ("ROCm1", "ROCm", "AMD Radeon RX 7800 XT", 16368, 16294),
                ("Vulkan0", "Vulkan", "llvmpipe (LLVM 22.1.8, 256 bits)", 24105, 23623),
                ("SYCL0", "SYCL", "Intel(R) Arc(TM) A770 Graphics", 15473, 15473),
                ("RPC0[127.0.0.1:50152]", "RPC", "RPC0[127.0.0.1:50152]", 24105, 24105),
                ("RPC[10.0.0.2:50052]", "RPC", "RPC[10.0.0.2:50052]", 1, 1),
                ("MTL0", "Metal", "Apple M3", 12124, 12123),
            ]
        );
    }

    #[test]
    fn no_device_is_not_the_same_as_no_answer() {
        for (text, devices) in [
            ("Available devices:\n", Some(vec![])),
            ("Available devices:\n  (none)\n", Some(vec![])),
            ("", None),
            ("error: invalid argument: --list-devices\n", None),
            ("Available devices:\n  CUDA0: x (99999999999999999999 MiB, 1 MiB free)\n", Some(vec![])),
            ("Available devices:\n  CUDA0: x (1 MiB, 18446744073709551615 MiB free)\n", Some(vec![])),
        ] {
            assert_eq!(listed_devices(text), devices, "{text}");
        }
    }

    #[test]
    fn a_version_is_kept_as_it_was_printed() {
        for (text, version) in [
            (
                "version: 0.7.0 (build 11669, commit Debian)\nbuilt with GNU 16.2.0 for Linux x86_64\n",
                Some("0.7.0 (build 11669, commit Debian)"),
            ),
            ("ggml_cuda_init: found 1\nversion: 6301 (abc)\n", Some("6301 (abc)")),
            ("llama 1.0\n", Some("llama 1.0")),
            ("version:\n", None),
            ("\n", None),
        ] {
            assert_eq!(listed_version(text).as_deref(), version, "{text}");
        }
    }

    #[test]
    fn a_switch_is_told_from_a_flag_with_a_value() {
        let is_switch = |line: &str| listed_flags(line).contains(FLASH_SWITCH);
        assert!(is_switch(
            "-fa,   --flash-attn                     enable Flash Attention (default: disabled)"
        ));
        assert!(!is_switch(
            "-fa,   --flash-attn [on|off|auto]       set Flash Attention use ('on', 'off', or"
        ));
        assert!(!is_switch(
            "-fa,   --flash-attn FA                  set Flash Attention use ('on', 'off', or"
        ));
        assert!(!is_switch("--port N                               port"));
    }

    #[test]
    fn a_server_is_told_from_other_programs_by_its_flags() {
        assert!(is_server(&listed_flags("-m, --model FNAME\n--host HOST\n--port=PORT [--jinja|--no-jinja]")));
        assert!(!is_server(&listed_flags("-m, --model FNAME\n-p, --prompt TEXT")));
    }
}
