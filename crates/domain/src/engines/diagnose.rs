//! How a run ended, from its last lines and how its process went: what to tell, and what to do next.
//! Never says more than lines, code or kernel have said.

/// The end of a process, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    pub engine: &'a str,
    pub model: &'a str,
    /// The context that was planned or had, tokens.
    pub ctx: Option<u64>,
    /// What it said last, oldest first.
    pub lines: &'a [String],
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The kernel has killed for memory meanwhile.
    pub oom_kill: bool,
    /// It had got ready before.
    pub was_ready: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndClass {
    OutOfMemory,
    PortTaken,
    /// The file is not whole.
    Damaged,
    BadModel,
    BadFlag,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    pub class: EndClass,
    pub why: String,
    pub hint: Option<String>,
}

/// Words of ggml and its backends, lower case (ENGINES 1.6, and Ollama's own list).
const MEMORY: &[&str] = &[
    "out of memory",
    "failed to allocate",
    "unable to allocate",
    "cudamalloc failed",
    "hipmalloc failed",
    "bad_alloc",
    "erroroutofdevicememory",
];

/// It tries again after that, with less.
const NOT_THE_END: &str = "retrying without pipeline parallelism";

/// What some of its words mean.
struct Reading {
    class: EndClass,
    /// Lower case.
    words: &'static [&'static str],
    hint: fn(&End<'_>) -> Option<String>,
}

/// The most telling first: a general line often follows the one that says why.
const READINGS: &[Reading] = &[
    Reading { class: EndClass::OutOfMemory, words: MEMORY, hint: |end| Some(with_less(end)) },
    Reading {
        class: EndClass::PortTaken,
        words: &["couldn't bind", "could not bind", "address already in use", "failed to bind"],
        hint: |_| None,
    },
    Reading {
        class: EndClass::BadFlag,
        words: &[
            "error: invalid argument",
            "error while handling argument",
            "unknown argument",
            "unrecognized argument",
            "unrecognised option",
        ],
        hint: |end| {
            let engine = end.engine;
            let what = "what stands after -- is passed on as it is";
            Some(format!("what this {engine} takes is in its --help; {what}"))
        },
    },
    Reading {
        class: EndClass::Damaged,
        words: &[
            "corrupted or incomplete",
            "not within the file bounds",
            "invalid magic",
            "failed to read magic",
            "failed to read key-value pairs",
            "failed to read tensor info",
            "failed to read tensor data",
        ],
        hint: |_| Some("the file is damaged or was cut off: download it again".to_owned()),
    },
    Reading {
        class: EndClass::BadModel,
        words: &["failed to open gguf file"],
        hint: |_| Some("it was moved, or may not be read: modelctl scan looks again".to_owned()),
    },
    Reading {
        class: EndClass::BadModel,
        words: &["unknown model architecture"],
        hint: |end| Some(format!("a newer {} may know it", end.engine)),
    },
    Reading {
        class: EndClass::BadModel,
        words: &["check_tensor_dims", "key not found in model", "wrong number of tensors", "missing tensor"],
        hint: |end| {
            let engine = end.engine;
            Some(format!(
                "this {engine} expects other contents: try a newer one, or another file of the model"
            ))
        },
    },
    Reading { class: EndClass::BadModel, words: &["error loading model"], hint: |end| Some(shown(end)) },
    Reading {
        class: EndClass::BadModel,
        words: &["failed to load model", "unable to load model"],
        hint: |end| Some(shown(end)),
    },
];

/// Where the code stands that gave up.
const ASSERT: &[&str] = &["ggml_assert", ".cpp:", ".cu:"];

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// Says what an end means.
pub fn diagnose(end: &End<'_>) -> Diagnosis {
    let how = how_it_went(end);
    let quoted = |line: &str| format!("{} ({how})", line.trim());
    if end.oom_kill {
        let why = "the kernel killed it: memory was used up (oom_kill)".to_owned();
        return Diagnosis { class: EndClass::OutOfMemory, why, hint: Some(with_less(end)) };
    }
    let told = READINGS.iter().find_map(|reading| Some((reading, said(end, reading.words)?)));
    if let Some((reading, line)) = told {
        let is_memory = reading.class == EndClass::OutOfMemory;
        let why = if is_memory { format!("out of memory: {}", quoted(line)) } else { quoted(line) };
        return Diagnosis { class: reading.class, why, hint: (reading.hint)(end) };
    }
    let has_aborted = end.signal == Some(SIGABRT) || end.code == Some(128 + SIGABRT);
    let why = match said(end, ASSERT).filter(|_| has_aborted) {
        Some(line) => format!("it aborted: {}", quoted(line)),
        None if has_aborted => format!("it aborted without saying why ({how})"),
        None if end.code == Some(0) && !end.was_ready => {
            format!("it ended by itself before it was ready ({how})")
        }
        None => how,
    };
    let hint = (end.signal == Some(SIGKILL))
        .then(|| "somebody killed it; nothing says that memory was short".into());
    Diagnosis { class: EndClass::Other, why, hint }
}

/// The last line with one of these words.
fn said<'a>(end: &End<'a>, words: &[&str]) -> Option<&'a str> {
    let has_one = |line: &&String| {
        let line = line.to_lowercase();
        words.iter().any(|word| line.contains(word)) && !line.contains(NOT_THE_END)
    };
    end.lines.iter().rev().find(has_one).map(String::as_str)
}

fn shown(end: &End<'_>) -> String {
    format!("modelctl show {} says what is known of its files", end.model)
}

/// Leaves out what a debugger or glibc prints of stack and threads after an abort: the reason stands before it.
pub fn telling(lines: Vec<String>) -> Vec<String> {
    let is_frame = |line: &str| {
        let number = line.strip_prefix('#').and_then(|rest| rest.split_whitespace().next());
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // As backtrace_symbols(3) writes them: `/usr/lib/libggml-base.so.0(ggml_abort+0x11e)[0x7f3a5394e7de]`.
    let is_symbol = |line: &str| line.contains("+0x") && line.contains(")[0x") && line.ends_with(']');
    let is_noise = |line: &str| {
        is_frame(line) || is_symbol(line) || line.starts_with("[New LWP ") || line.starts_with("[Inferior ")
    };
    lines.into_iter().filter(|line| !is_noise(line)).collect()
}

fn how_it_went(end: &End<'_>) -> String {
    match (end.code, end.signal) {
        (_, Some(signal)) => format!("signal {signal}"),
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => "it vanished".to_owned(),
    }
}

/// Half the context, or more left free.
fn with_less(end: &End<'_>) -> String {
    let command = format!("modelctl launch {} {}", end.engine, end.model);
    match end.ctx.map(|ctx| ctx / 2).filter(|ctx| *ctx >= 512) {
        Some(half) => format!("{command} --ctx {half}, or {command} --margin 2048"),
        None => format!("{command} with a smaller --ctx, or with --margin 2048"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(lines: &[String]) -> End<'_> {
        let (engine, model) = ("llama.cpp", "m");
        let (ctx, code, signal) = (Some(8192), Some(1), None);
        End { engine, model, ctx, lines, code, signal, oom_kill: false, was_ready: false }
    }

    #[track_caller]
    fn check(line: &str, class: EndClass, why: &str) {
        let lines = ["load_model: loading".to_owned(), line.to_owned()];
        let diagnosis = diagnose(&end(&lines));
        assert_eq!(diagnosis.class, class, "{line}");
        assert!(diagnosis.why.contains(why), "{line}: {diagnosis:?}");
    }

    #[test]
    fn the_last_words_of_llama_cpp_are_understood() {
        use EndClass::{BadFlag, BadModel, Damaged, Other, OutOfMemory, PortTaken};
        for (line, class) in [
            (
                "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory",
                OutOfMemory,
            ),
            ("failed to initialize the context: std::bad_alloc", OutOfMemory),
            (
                "ggml_vulkan: Device memory allocation of size 1073741824 failed: ErrorOutOfDeviceMemory",
                OutOfMemory,
            ),
            ("alloc_tensor_range: failed to allocate CPU buffer of size 99", OutOfMemory),
            ("ggml_backend_cuda: hipMalloc failed", OutOfMemory),
            (
                "graph_reserve: failed to allocate compute buffers, retrying without pipeline parallelism",
                Other,
            ),
            ("srv  start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080", PortTaken),
            ("bind: Address already in use", PortTaken),
            ("error: invalid argument: --nonsense", BadFlag),
            (
                "llama_model_load: error loading model: tensor 'blk.0' data is not within the file bounds",
                Damaged,
            ),
            (r#"error while handling argument "--temp": stof"#, BadFlag),
            ("gguf_init_from_reader: failed to read magic", Damaged),
            ("gguf_init_from_file_impl: failed to open GGUF file '/m' (No such file or directory)", BadModel),
            ("llama_model_load: error loading model: unknown model architecture: 'x'", BadModel),
            ("bye", Other),
        ] {
            check(line, class, "exit code 1");
        }
    }

    #[test]
    fn memory_is_blamed_only_where_kernel_or_log_say_so() {
        let killed = diagnose(&End { code: None, signal: Some(9), oom_kill: true, ..end(&[]) });
        assert_eq!((killed.class, killed.why.contains("oom_kill")), (EndClass::OutOfMemory, true));
        let aborted = diagnose(&End { code: Some(134), ..end(&[]) });
        assert_eq!(
            (aborted.class, aborted.why.as_str()),
            (EndClass::Other, "it aborted without saying why (exit code 134)")
        );
        let at_once = diagnose(&End { code: Some(0), ..end(&[]) });
        assert_eq!(at_once.why, "it ended by itself before it was ready (exit code 0)");
        let by_hand = diagnose(&End { code: None, signal: Some(9), ..end(&[]) });
        assert_eq!((by_hand.class, by_hand.why.as_str()), (EndClass::Other, "signal 9"));
    }

    /// The last lines of llama-server 0.7.0 for a file that lacks something.
    #[test]
    fn the_line_that_says_why_is_told_not_the_last_one() {
        for (said, class, hint) in [
            (
                "tensor 'x' data is not within the file bounds, model is corrupted or incomplete",
                EndClass::Damaged,
                "download it again",
            ),
            ("unknown model architecture: 'x'", EndClass::BadModel, "a newer llama.cpp"),
            ("check_tensor_dims: tensor 'x' not found", EndClass::BadModel, "another file"),
            (
                "error loading model hyperparameters: key not found in model: llama.block_count",
                EndClass::BadModel,
                "another file",
            ),
            ("something new", EndClass::BadModel, "modelctl show m"),
        ] {
            let lines = [
                format!("0.00.351.586 E llama_model_load: error loading model: {said}"),
                "0.00.351.615 E llama_model_load_from_file_impl: failed to load model".to_owned(),
                "0.00.351.625 E srv    load_model: failed to load model, '/m.gguf'".to_owned(),
                "0.00.354.060 E srv  llama_server: exiting due to model loading error".to_owned(),
            ];
            let diagnosis = diagnose(&end(&lines));
            assert_eq!(diagnosis.class, class, "{said}");
            assert!(diagnosis.why.contains(said), "{diagnosis:?}");
            assert!(diagnosis.hint.unwrap().contains(hint), "{said}");
        }
    }

    #[test]
    fn an_abort_is_told_by_what_stands_before_its_backtrace() {
        let said = [
            "ggml-backend.cpp:1089: pre-allocated tensor",
            "[New LWP 7]",
            "#0  0x0 in ?? ()",
            "#22 main ()",
            "/usr/lib/libggml-base.so.0(ggml_abort+0x11e)[0x7f3a5394e7de]",
            "/usr/bin/llama-server(+0x11b1)[0x55937e57c1b1]",
        ];
        let lines = telling(said.map(str::to_owned).into());
        assert_eq!(lines, said[..1]);
        let diagnosis = diagnose(&End { code: None, signal: Some(6), ..end(&lines) });
        assert!(diagnosis.why.ends_with("pre-allocated tensor (signal 6)"), "{diagnosis:?}");
    }

    #[test]
    fn the_hint_is_half_the_context_where_that_is_known() {
        let lines = ["out of memory".to_owned()];
        let hint = |ctx| diagnose(&End { ctx, ..end(&lines) }).hint.unwrap();
        assert_eq!(
            hint(Some(8192)),
            "modelctl launch llama.cpp m --ctx 4096, or modelctl launch llama.cpp m --margin 2048"
        );
        assert!(hint(None).contains("a smaller --ctx"));
    }
}
