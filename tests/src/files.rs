//! Bytes that are models, small and valid.

use crate::wait_until;
use std::{fs, os::unix::ffi::OsStrExt as _, path::Path};

/// What a GGUF says of itself; `bytes` writes it.
#[derive(Debug, Clone)]
pub struct Gguf {
    name: String,
    architecture: String,
    context: u32,
    quant: Quant,
    rows: u64,
    split: Option<(u16, u16)>,
    /// Key-value pairs as they are written.
    more: Vec<Vec<u8>>,
}

/// Element types: number, elements a block, bytes a block.
#[derive(Debug, Clone, Copy)]
pub enum Quant {
    F16,
    Q8_0,
}

impl Quant {
    fn layout(self) -> (u32, u64, u64) {
        match self {
            Self::F16 => (1, 1, 2),
            Self::Q8_0 => (8, 32, 34),
        }
    }
}

/// Elements of a row.
const COLUMNS: u64 = 64;

impl Gguf {
    /// A language model of two small F16 tensors.
    pub fn named(name: &str) -> Self {
        let (name, architecture) = (name.to_owned(), "llama".to_owned());
        Self { name, architecture, context: 4096, quant: Quant::F16, rows: 64, split: None, more: vec![] }
    }

    pub fn architecture(self, architecture: &str) -> Self {
        Self { architecture: architecture.into(), ..self }
    }

    pub fn context(self, context: u32) -> Self {
        Self { context, ..self }
    }

    pub fn quant(self, quant: Quant) -> Self {
        Self { quant, ..self }
    }

    pub fn rows(self, rows: u64) -> Self {
        Self { rows, ..self }
    }

    pub fn text(mut self, key: &str, value: &str) -> Self {
        self.more.push(string(key, value));
        self
    }

    pub fn number(mut self, key: &str, value: u32) -> Self {
        self.more.push(number(key, value));
        self
    }

    pub fn texts(mut self, key: &str, values: &[String]) -> Self {
        let head = [text(key), 9_u32.to_le_bytes().into(), 8_u32.to_le_bytes().into()].concat();
        let count = (values.len() as u64).to_le_bytes().to_vec();
        let values = values.iter().flat_map(|value| text(value));
        self.more.push([head, count, values.collect()].concat());
        self
    }

    /// One part of several; `no` counts from 0.
    pub fn part(self, no: u16, count: u16) -> Self {
        Self { split: Some((no, count)), ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut pairs = vec![
            string("general.architecture", &self.architecture),
            string("general.name", &self.name),
            number(&format!("{}.context_length", self.architecture), self.context),
            number(&format!("{}.block_count", self.architecture), 1),
        ];
        if let Some((no, count)) = self.split {
            let short =
                |key: &str, n: u16| [text(key), 2_u32.to_le_bytes().into(), n.to_le_bytes().into()].concat();
            let signed = [
                text("split.tensors.count"),
                5_u32.to_le_bytes().into(),
                i32::from(count).to_le_bytes().into(),
            ];
            pairs.extend([short("split.no", no), short("split.count", count), signed.concat()]);
        }
        pairs.extend(self.more.iter().cloned());
        let no = self.split.map_or(0, |(no, _)| no);
        let names = [format!("blk.{no}.attn_q.weight"), format!("blk.{no}.ffn_up.weight")];
        let names = if self.split.is_some() { &names[..1] } else { &names[..] };
        let (kind, per_block, block) = self.quant.layout();
        let size = COLUMNS * self.rows / per_block * block;
        let tensors = names.iter().zip(0_u64..).map(|(name, n)| {
            let shape =
                [2_u32.to_le_bytes().to_vec(), COLUMNS.to_le_bytes().into(), self.rows.to_le_bytes().into()];
            let place = [kind.to_le_bytes().to_vec(), (n * size).to_le_bytes().into()];
            [text(name), shape.concat(), place.concat()].concat()
        });
        let counts = [(names.len() as u64).to_le_bytes(), (pairs.len() as u64).to_le_bytes()].concat();
        let tensors: Vec<u8> = tensors.flatten().collect();
        let mut bytes = [b"GGUF\x03\0\0\0".to_vec(), counts, pairs.concat(), tensors].concat();
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        let seed = self
            .name
            .bytes()
            .fold(no.to_le_bytes()[0], |seed, byte| seed.wrapping_mul(31).wrapping_add(byte));
        bytes.extend((0..size * names.len() as u64).map(|n| seed.wrapping_add(n.to_le_bytes()[0])));
        bytes
    }
}

/// A language model named so.
pub fn gguf(name: &str) -> Vec<u8> {
    Gguf::named(name).bytes()
}

/// One matrix of F16; another `salt` is another content.
pub fn safetensors(salt: u8) -> Vec<u8> {
    let json = br#"{"__metadata__":{"format":"pt"},"model.norm.weight":{"dtype":"F16","shape":[8,8],"data_offsets":[0,128]}}"#;
    [&(json.len() as u64).to_le_bytes()[..], json, &[salt; 128]].concat()
}

/// Writes a file and the directories above it; nobody has it open for writing afterwards.
#[track_caller]
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    let_go(path);
}

/// Waits until no child has a file of ours open. What another thread is about to start holds copies of all that is open
/// until it is that program, and the kernel tells of the end of writing when the last copy is closed: on a busy machine
/// that is after a `sync` which was asked for after the file was closed here.
#[track_caller]
pub fn let_go(path: &Path) {
    let (own, path) = (fs::read_link("/proc/self/exe").unwrap(), fs::canonicalize(path).unwrap());
    let us = std::process::id().to_string();
    let is_open = |process: fs::DirEntry| {
        let at = process.path();
        let is_child =
            process.file_name() != *us && fs::read_link(at.join("exe")).is_ok_and(|exe| exe == own);
        let mut open =
            is_child.then(|| fs::read_dir(at.join("fd"))).into_iter().flatten().flatten().flatten();
        open.any(|file| fs::read_link(file.path()).is_ok_and(|file| file == path))
    };
    wait_until("a child lets go of what was written", 20, || {
        !fs::read_dir("/proc").unwrap().flatten().any(is_open)
    });
}

/// The bytes of a path of the wire: of `path_bytes` where there are such, else of `path`.
#[track_caller]
pub fn path_of(file: &serde_json::Value) -> Vec<u8> {
    use base64::Engine as _;
    match file["path_bytes"].as_str() {
        Some(exact) => base64::engine::general_purpose::STANDARD.decode(exact).unwrap(),
        None => Path::new(file["path"].as_str().unwrap()).as_os_str().as_bytes().to_vec(),
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn string(key: &str, value: &str) -> Vec<u8> {
    [text(key), 8_u32.to_le_bytes().into(), text(value)].concat()
}

fn number(key: &str, value: u32) -> Vec<u8> {
    [text(key), 4_u32.to_le_bytes().into(), value.to_le_bytes().into()].concat()
}
