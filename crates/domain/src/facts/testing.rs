//! Writes small GGUF headers for tests: no tensor data, which `parse` does not look at.

use super::Facts;
use formats::{Slice, gguf};

#[derive(Default)]
pub(super) struct Build {
    pairs: Vec<u8>,
    n_pairs: u64,
    tensors: Vec<u8>,
    n_tensors: u64,
    offset: u64,
}

impl Build {
    /// Starts with an architecture and what most tests need of it: 2 layers of 4 heads, 64 wide.
    pub(super) fn model(architecture: &str) -> Self {
        let own = |key: &str| format!("{architecture}.{key}");
        Self::default()
            .text("general.architecture", architecture)
            .number(&own("block_count"), 2)
            .number(&own("embedding_length"), 64)
            .number(&own("attention.head_count"), 4)
    }

    pub(super) fn text(self, key: &str, text: &str) -> Self {
        self.pair(key, 8, &string(text))
    }

    pub(super) fn number(self, key: &str, number: u32) -> Self {
        self.pair(key, 4, &number.to_le_bytes())
    }

    pub(super) fn float(self, key: &str, number: f32) -> Self {
        self.pair(key, 6, &number.to_le_bytes())
    }

    pub(super) fn flag(self, key: &str, flag: bool) -> Self {
        self.pair(key, 7, &[flag.into()])
    }

    pub(super) fn numbers(self, key: &str, numbers: &[i32]) -> Self {
        let items: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let head = [&5_u32.to_le_bytes()[..], &(numbers.len() as u64).to_le_bytes()].concat();
        self.pair(key, 9, &[head, items].concat())
    }

    pub(super) fn flags(self, key: &str, flags: &[bool]) -> Self {
        let items: Vec<u8> = flags.iter().map(|flag| u8::from(*flag)).collect();
        let head = [&7_u32.to_le_bytes()[..], &(flags.len() as u64).to_le_bytes()].concat();
        self.pair(key, 9, &[head, items].concat())
    }

    pub(super) fn texts(self, key: &str, texts: &[&str]) -> Self {
        let items: Vec<u8> = texts.iter().flat_map(|text| string(text)).collect();
        let head = [&8_u32.to_le_bytes()[..], &(texts.len() as u64).to_le_bytes()].concat();
        self.pair(key, 9, &[head, items].concat())
    }

    /// Adds a tensor of a type by ggml's number.
    pub(super) fn tensor(mut self, name: &str, dims: &[u64], kind: u32) -> Self {
        let known = gguf::TensorType::from_id(kind).expect("a ggml type");
        self.tensors.extend(string(name));
        self.tensors.extend(u32::try_from(dims.len()).expect("few").to_le_bytes());
        dims.iter().for_each(|dim| self.tensors.extend(dim.to_le_bytes()));
        self.tensors.extend(kind.to_le_bytes());
        self.tensors.extend(self.offset.to_le_bytes());
        let elements: u64 = dims.iter().product();
        self.offset += (elements / known.block_len() * known.block_size()).next_multiple_of(32);
        self.n_tensors += 1;
        self
    }

    pub(super) fn facts(&self) -> (Facts, Vec<String>) {
        let head = [self.n_tensors.to_le_bytes(), self.n_pairs.to_le_bytes()].concat();
        let bytes = [b"GGUF", &3_u32.to_le_bytes()[..], &head, &self.pairs, &self.tensors].concat();
        super::gguf(&gguf::parse(&mut Slice(&bytes)).expect("a valid header"))
    }

    fn pair(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.pairs.extend(string(key));
        self.pairs.extend(kind.to_le_bytes());
        self.pairs.extend(value);
        self.n_pairs += 1;
        self
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}
