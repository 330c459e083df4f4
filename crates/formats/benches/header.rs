//! Times a header with a vocabulary of 151,936 tokens against a loop that only walks it, and counts allocations.
//! `MODELCTL_BIG_HEADER` names a file to read in place of the generated one.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a bench has a clock and a file")]
#![expect(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use formats::gguf::{self, Header, Value};
use formats::{Input, Slice, Windowed};

const RUNS: usize = 61;
const N_TOKENS: u64 = 151_936;
const N_MERGES: u64 = 151_387;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "only an allocator can count allocations")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn pair(out: &mut Vec<u8>, key: &str, kind: u32) {
    text(out, key);
    out.extend(kind.to_le_bytes());
}

fn array(out: &mut Vec<u8>, key: &str, kind: u32, len: u64) {
    pair(out, key, 9);
    out.extend(kind.to_le_bytes());
    out.extend(len.to_le_bytes());
}

/// A header like that of a Qwen3 32B.
fn generated() -> Vec<u8> {
    let mut pairs = Vec::new();
    for key in ["architecture", "type", "name", "basename", "size_label", "license"] {
        pair(&mut pairs, &format!("general.{key}"), 8);
        text(&mut pairs, "qwen3");
    }
    for n in 0..14_u32 {
        pair(&mut pairs, &format!("qwen3.some_length_{n}"), 4);
        pairs.extend(n.to_le_bytes());
    }
    pair(&mut pairs, "tokenizer.chat_template", 8);
    text(&mut pairs, &"{%- for m in messages %}".repeat(100));
    let mut state = 1_u64;
    let mut random = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    array(&mut pairs, "tokenizer.ggml.tokens", 8, N_TOKENS);
    for _ in 0..N_TOKENS {
        text(&mut pairs, &"tokentoken"[..usize::try_from(3 + random(7)).unwrap()]);
    }
    array(&mut pairs, "tokenizer.ggml.token_type", 5, N_TOKENS);
    pairs.extend((0..N_TOKENS).flat_map(|_| 1_u32.to_le_bytes()));
    array(&mut pairs, "tokenizer.ggml.merges", 8, N_MERGES);
    for _ in 0..N_MERGES {
        text(&mut pairs, &"merge merge"[..usize::try_from(5 + random(6)).unwrap()]);
    }
    let mut tensors = Vec::new();
    let mut offset = 0_u64;
    for n in 0..707 {
        text(&mut tensors, &format!("blk.{}.ffn_down_{}.weight", n / 11, n % 11));
        tensors.extend(2_u32.to_le_bytes());
        tensors.extend([5120_u64, 1024].map(u64::to_le_bytes).as_flattened());
        tensors.extend(12_u32.to_le_bytes());
        tensors.extend(offset.to_le_bytes());
        offset += 5120 * 1024 / 256 * 144;
    }
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend(707_u64.to_le_bytes());
    out.extend(24_u64.to_le_bytes());
    out.extend(pairs);
    out.extend(tensors);
    out.resize(out.len().next_multiple_of(32), 0);
    out
}

/// The least anyone could do: step over every key, value and tensor info, check nothing but the end, keep a count.
struct Bare<'a>(&'a [u8]);

impl Bare<'_> {
    fn skip(&mut self, n: u64) {
        self.0 = &self.0[usize::try_from(n).unwrap()..];
    }

    fn u32(&mut self) -> u32 {
        let n = u32::from_le_bytes(*self.0.first_chunk().unwrap());
        self.skip(4);
        n
    }

    fn u64(&mut self) -> u64 {
        let n = u64::from_le_bytes(*self.0.first_chunk().unwrap());
        self.skip(8);
        n
    }

    fn text(&mut self) {
        let n = self.u64();
        self.skip(n);
    }

    fn value(&mut self, kind: u32) -> u64 {
        match kind {
            8 => self.text(),
            9 => return self.array(),
            kind => self.skip(width(kind)),
        }
        0
    }

    /// Returns the strings it stepped over.
    fn array(&mut self) -> u64 {
        let (kind, len) = (self.u32(), self.u64());
        if kind != 8 {
            self.skip(len * width(kind));
            return 0;
        }
        for _ in 0..len {
            self.text();
        }
        len
    }
}

fn width(kind: u32) -> u64 {
    [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][usize::try_from(kind).unwrap()]
}

/// Returns how many strings its arrays have.
fn bare(bytes: &[u8]) -> u64 {
    let mut bare = Bare(bytes);
    bare.skip(8);
    let (n_tensors, n_keys) = (bare.u64(), bare.u64());
    let mut strings = 0;
    for _ in 0..n_keys {
        bare.text();
        let kind = bare.u32();
        strings += bare.value(kind);
    }
    for _ in 0..n_tensors {
        bare.text();
        let n_dims = bare.u32();
        bare.skip(u64::from(n_dims) * 8 + 12);
    }
    black_box(bare.0.len());
    strings
}

/// The bare loop over a file: read it all first, into a buffer that is there already.
fn bare_file(file: &File, buffer: &mut [u8]) -> u64 {
    file.read_exact_at(buffer, 0).unwrap();
    bare(buffer)
}

fn windowed(file: &File, len: u64) -> Header {
    gguf::parse(&mut Windowed::new(len, |at, buffer: &mut [u8]| file.read_at(buffer, at))).unwrap()
}

fn micros(run: impl FnOnce()) -> f64 {
    let started = Instant::now();
    run();
    started.elapsed().as_secs_f64() * 1e6
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn allocations(mut input: impl Input) -> (Header, usize) {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let header = gguf::parse(&mut input).unwrap();
    (header, ALLOCATIONS.load(Ordering::Relaxed) - before)
}

/// Header bytes, and a file whose start they are.
fn given() -> (Vec<u8>, File) {
    if let Some(path) = std::env::var_os("MODELCTL_BIG_HEADER") {
        let file = File::open(path).unwrap();
        let len = file.metadata().unwrap().len();
        let start = windowed(&file, len).data_start.min(len);
        let mut bytes = vec![0; usize::try_from(start).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        return (bytes, file);
    }
    let bytes = generated();
    let path = std::env::temp_dir().join(format!("modelctl-header-{}.gguf", std::process::id()));
    File::create(&path).unwrap().write_all(&bytes).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    (bytes, file)
}

fn main() {
    let (bytes, file) = given();
    let len = file.metadata().unwrap().len();
    let (header, n_allocations) = allocations(Slice(&bytes));
    let kept = header.metadata.len() + header.tensors.len();
    let strings: u64 = header
        .metadata
        .iter()
        .map(|(_, value)| if let Value::Array { len, .. } = value { *len } else { 0 })
        .sum();
    println!(
        "{} bytes of header, {} keys, {} tensors, {strings} array items",
        bytes.len(),
        header.metadata.len(),
        header.tensors.len()
    );
    println!("{n_allocations} allocations for {kept} keys and tensors");
    assert!(n_allocations < 64 + 6 * kept, "an allocation per token");

    let mut buffer = vec![0; bytes.len()];
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..RUNS {
        times[0].push(micros(|| _ = black_box(bare(black_box(&bytes)))));
        times[1].push(micros(|| drop(black_box(gguf::parse(&mut Slice(black_box(&bytes))).unwrap()))));
        times[2].push(micros(|| _ = black_box(bare_file(&file, &mut buffer))));
        times[3].push(micros(|| drop(black_box(windowed(&file, len)))));
    }
    let [bare, slice, bare_file, windowed] = times.map(median);
    println!("in memory: walk {bare:.0} us, parse {slice:.0} us, ratio {:.2}", slice / bare);
    println!(
        "from a file: walk {bare_file:.0} us, parse {windowed:.0} us, ratio {:.2}",
        windowed / bare_file
    );
}
