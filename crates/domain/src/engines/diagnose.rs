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
    "cudamalloc failed",
    "hipmalloc failed",
    "bad_alloc",
    "erroroutofdevicememory",
];

/// It tries again after that, with less.
const NOT_THE_END: &str = "retrying without pipeline parallelism";

const PORT: &[&str] = &["couldn't bind", "could not bind", "address already in use", "failed to bind"];

const FLAG: &[&str] =
    &["error: invalid argument", "unknown argument", "unrecognized argument", "unrecognised option"];

const MODEL: &[&str] = &[
    "failed to open gguf file",
    "invalid magic",
    "failed to read magic",
    "failed to load model",
    "error loading model",
    "tensor data is not within the file bounds",
    "unknown model architecture",
    "unable to load model",
];

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// Says what an end means.
pub fn diagnose(end: &End<'_>) -> Diagnosis {
    let how = how_it_went(end);
    let said = |words: &[&str]| {
        end.lines.iter().rev().find(|line| {
            let line = line.to_lowercase();
            words.iter().any(|word| line.contains(word)) && !line.contains(NOT_THE_END)
        })
    };
    let quoted = |line: &String| format!("{} ({how})", line.trim());
    // While weights are loaded a failed allocation aborts without a word.
    let aborted = end.signal == Some(SIGABRT) || end.code == Some(128 + SIGABRT);
    let says_memory = said(MEMORY);
    if end.oom_kill || says_memory.is_some() || (aborted && !end.was_ready) {
        let why = match says_memory {
            _ if end.oom_kill => "the kernel killed it: memory was used up (oom_kill)".to_owned(),
            Some(line) => format!("out of memory: {}", quoted(line)),
            None => match said(&["ggml_assert", ".cpp:", ".cu:"]) {
                Some(line) => {
                    format!("it aborted while it loaded, often for want of memory: {}", quoted(line))
                }
                None => format!("it aborted while it loaded, most likely out of memory ({how})"),
            },
        };
        return Diagnosis { class: EndClass::OutOfMemory, why, hint: Some(with_less(end)) };
    }
    if let Some(line) = said(PORT) {
        return Diagnosis { class: EndClass::PortTaken, why: quoted(line), hint: None };
    }
    if let Some(line) = said(FLAG) {
        let hint = format!(
            "what this {} takes is in its --help; what stands after -- is passed on as it is",
            end.engine
        );
        return Diagnosis { class: EndClass::BadFlag, why: quoted(line), hint: Some(hint) };
    }
    if let Some(line) = said(MODEL) {
        let hint = format!("modelctl show {} says what is known of its files", end.model);
        return Diagnosis { class: EndClass::BadModel, why: quoted(line), hint: Some(hint) };
    }
    let hint = (end.signal == Some(SIGKILL))
        .then(|| "somebody killed it; nothing says that memory was short".into());
    Diagnosis { class: EndClass::Other, why: how, hint }
}

/// Leaves out what a debugger prints of stack and threads after an abort: the reason stands before it.
pub fn telling(lines: Vec<String>) -> Vec<String> {
    let is_frame = |line: &str| {
        let number = line.strip_prefix('#').and_then(|rest| rest.split_whitespace().next());
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_noise =
        |line: &str| is_frame(line) || line.starts_with("[New LWP ") || line.starts_with("[Inferior ");
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
        use EndClass::{BadFlag, BadModel, Other, OutOfMemory, PortTaken};
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
                BadModel,
            ),
            ("gguf_init_from_file_impl: failed to open GGUF file '/m' (No such file or directory)", BadModel),
            ("llama_model_load: error loading model: unknown model architecture: 'x'", BadModel),
            ("bye", Other),
        ] {
            check(line, class, "exit code 1");
        }
    }

    #[test]
    fn memory_is_blamed_for_what_the_kernel_and_an_abort_say_too() {
        let killed = diagnose(&End { code: None, signal: Some(9), oom_kill: true, ..end(&[]) });
        assert_eq!((killed.class, killed.why.contains("oom_kill")), (EndClass::OutOfMemory, true));
        let aborted = End { code: Some(134), ..end(&[]) };
        assert_eq!(diagnose(&aborted).class, EndClass::OutOfMemory);
        assert_eq!(diagnose(&End { was_ready: true, ..aborted }).class, EndClass::Other);
        let by_hand = diagnose(&End { code: None, signal: Some(9), ..end(&[]) });
        assert_eq!((by_hand.class, by_hand.why.as_str()), (EndClass::Other, "signal 9"));
    }

    #[test]
    fn an_abort_is_told_by_what_stands_before_its_backtrace() {
        let said =
            ["ggml-backend.cpp:1089: pre-allocated tensor", "[New LWP 7]", "#0  0x0 in ?? ()", "#22 main ()"];
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
