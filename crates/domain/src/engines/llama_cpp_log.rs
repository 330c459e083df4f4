//! What a llama-server says that it has allocated, read from its log (`--log-verbosity 4`).

use crate::memory::sum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes that one backend's buffers take, by what they hold. Printed with two decimals of a MiB: true to 5 KiB each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocated {
    pub weights: u64,
    /// KV cache and recurrent state.
    pub context: u64,
    pub compute: u64,
    pub output: u64,
}

impl Allocated {
    pub fn total(&self) -> u64 {
        sum([self.weights, self.context, self.compute, self.output])
    }
}

/// Tokens a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Of a prompt that is read.
    pub prompt: Option<f64>,
    /// Of an answer that is written.
    pub answer: Option<f64>,
}

/// Fewer tokens of a prompt or an answer say nothing of how fast it goes.
const FEW: u64 = 16;

/// Reads how fast the last answers were: `prompt eval time = 21.4 ms / 45 tokens (0.5 ms per token, 2.1 tokens per second)`.
pub(super) fn rates<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Rates> {
    let mut told = Rates { prompt: None, answer: None };
    for line in lines {
        let Some((before, rest)) = line.split_once("eval time =") else { continue };
        let Some((tokens, rate)) = rate(rest) else { continue };
        if tokens < FEW {
            continue;
        }
        let place = if before.ends_with("prompt ") { &mut told.prompt } else { &mut told.answer };
        *place = Some(rate);
    }
    (told.prompt.is_some() || told.answer.is_some()).then_some(told)
}

/// Tokens, and tokens a second.
fn rate(text: &str) -> Option<(u64, f64)> {
    let (_, rest) = text.split_once(" / ")?;
    let (tokens, rest) = rest.split_once(" tokens")?;
    let (_, rate) = rest.split_once("per token,")?;
    let (rate, _) = rate.split_once("tokens per second")?;
    let rate: f64 = rate.trim().parse().ok()?;
    (rate.is_finite() && rate > 0.0).then_some((tokens.trim().parse().ok()?, rate))
}

/// What main memory is called among devices.
pub const HOST: &str = "host";

/// Reads the buffers from a log; main memory's are one, under `HOST`. Where a component prints twice (it measures before
/// it allocates), the last word counts.
pub(super) fn allocated<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, Allocated> {
    let mut buffers: BTreeMap<(String, &'static str), Vec<u64>> = BTreeMap::new();
    // Weights have a line for each file, caches one for each kind of layer; the rest one for each backend.
    let mut has_contexts = false;
    for (backend, kind, bytes) in lines.into_iter().filter_map(buffer) {
        if kind == "model" && has_contexts {
            buffers.clear();
            has_contexts = false;
        }
        has_contexts |= kind == "compute";
        let sizes = buffers.entry((backend.to_owned(), kind)).or_default();
        if !matches!(kind, "model" | "KV") {
            sizes.clear();
        }
        sizes.push(bytes);
    }
    let mut all: BTreeMap<String, Allocated> = BTreeMap::new();
    for ((backend, kind), sizes) in buffers {
        let place = all.entry(place(&backend)).or_default();
        let bytes = sum(sizes);
        let part = match kind {
            "model" => &mut place.weights,
            "KV" | "RS" => &mut place.context,
            "compute" => &mut place.compute,
            _ => &mut place.output,
        };
        *part = part.saturating_add(bytes);
    }
    all
}

const KINDS: [&str; 5] = ["model", "KV", "RS", "compute", "output"];

/// `load_tensors:      Vulkan0 model buffer size =     8.88 MiB`, behind any prefix.
fn buffer(line: &str) -> Option<(&str, &'static str, u64)> {
    let (before, size) = line.split_once(" buffer size = ")?;
    let mut words = before.split_whitespace().rev();
    let kind = words.next()?;
    let kind = KINDS.into_iter().find(|known| *known == kind)?;
    let backend = words.next()?;
    words.next()?.strip_suffix(':')?;
    let bytes = mebibytes(size.trim().strip_suffix("MiB")?.trim())?;
    Some((backend, kind, bytes))
}

/// `8.88` in bytes, without floating point.
fn mebibytes(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let hundredths: u64 = format!("{part:0<2}").get(..2)?.parse().ok()?;
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1 << 20)?.checked_add(hundredths * (1 << 20) / 100)
}

/// All that is not on a device is main memory: `CPU`, `CPU_Mapped`, `CPU_REPACK`, `BLAS`, `CUDA_Host`.
fn place(backend: &str) -> String {
    let is_host =
        backend == "CPU" || backend.starts_with("CPU_") || backend == "BLAS" || backend.ends_with("_Host");
    if is_host { HOST.to_owned() } else { backend.split('[').next().unwrap_or(backend).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_real_log_says_what_lies_where() {
        // llama-server 0.7.0 with two of five layers on a Vulkan device.
        let log = "\
0.00.138.174 I load_tensors:   CPU_Mapped model buffer size =     7.81 MiB
0.00.138.174 I load_tensors:   CPU_Mapped model buffer size =     0.80 MiB
0.00.138.175 I load_tensors:      Vulkan0 model buffer size =     8.08 MiB
0.00.145.119 I llama_context: Vulkan_Host  output buffer size =     0.12 MiB
0.00.145.240 I llama_kv_cache:        CPU KV buffer size =     3.00 MiB
0.00.145.240 I llama_kv_cache:    Vulkan0 KV buffer size =     1.00 MiB
0.00.150.038 I sched_reserve:    Vulkan0 compute buffer size =    10.50 MiB
0.00.150.038 I sched_reserve: Vulkan_Host compute buffer size =     9.02 MiB
0.05.435.232 I srv  llama_server: listening on http://127.0.0.1:18081
";
        let found = allocated(log.lines());
        let hundredths = |n: u64| n * MIB / 100;
        let device =
            Allocated { weights: hundredths(808), context: MIB, compute: hundredths(1050), output: 0 };
        let host = Allocated {
            weights: hundredths(781) + hundredths(80),
            context: 3 * MIB,
            compute: hundredths(902),
            output: hundredths(12),
        };
        assert_eq!(found, BTreeMap::from([("Vulkan0".to_owned(), device), (HOST.to_owned(), host)]));
    }

    #[test]
    fn two_caches_add_up_and_a_measurement_before_does_not_count() {
        let log = "\
load_tensors:        CUDA0 model buffer size =   100.00 MiB
llama_kv_cache:      CUDA0 KV buffer size =    10.00 MiB
sched_reserve:      CUDA0 compute buffer size =    5.00 MiB
load_tensors:        CUDA0 model buffer size =   200.00 MiB
llama_kv_cache:      CUDA0 KV buffer size =    20.00 MiB
llama_kv_cache:      CUDA0 KV buffer size =     4.00 MiB
llama_memory_recurrent:      CUDA0 RS buffer size =     1.50 MiB
sched_reserve:      CUDA0 compute buffer size =    6.00 MiB
sched_reserve:      CUDA0 compute buffer size =    7.00 MiB
";
        let found = allocated(log.lines());
        let context = 24 * MIB + 3 * MIB / 2;
        assert_eq!(found["CUDA0"], Allocated { weights: 200 * MIB, context, compute: 7 * MIB, output: 0 });
        assert_eq!(found["CUDA0"].total(), 232 * MIB + MIB / 2);
    }

    #[test]
    fn a_real_log_says_how_fast_the_last_answer_was() {
        // llama-server 0.7.0.
        let log = "\
1.05.170.687 I slot print_timing: id  0 | task 0 | prompt eval time =   21402.26 ms /    45 tokens ( 4280.45 ms per token,     0.23 tokens per second)
1.05.170.702 I slot print_timing: id  0 | task 0 |        eval time =    1456.05 ms /    30 tokens (   50.21 ms per token,    19.92 tokens per second)
2.05.170.702 I slot print_timing: id  0 | task 9 |        eval time =    1000.05 ms /     2 tokens (  500.21 ms per token,     2.00 tokens per second)
2.05.170.702 I slot print_timing: id  0 | task 9 |        eval time =      ms /  20 tokens ( , inf tokens per second)
";
        assert_eq!(rates(log.lines()), Some(Rates { prompt: Some(0.23), answer: Some(19.92) }));
        assert_eq!(rates(["eval time", "eval time = 1 / 99 tokens (x per token, - tokens per second"]), None);
    }

    #[test]
    fn words_that_only_look_like_it_are_left_alone() {
        for line in [
            "",
            " buffer size = 1.00 MiB",
            "model buffer size = 1.00 MiB",
            "x: y model buffer size = -1.00 MiB",
            "x: y model buffer size = 99999999999999999999 MiB",
            "x: y model buffer size = 18446744073709551615.0 MiB",
            "x: y story buffer size = 1.00 MiB",
            "x: y model buffer size = 1.ä MiB",
        ] {
            assert_eq!(allocated([line]), BTreeMap::new(), "{line}");
        }
    }
}
