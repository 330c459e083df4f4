//! Writes GGUF files for tests, right ones and wrong ones.

pub(super) const U32: u32 = 4;
pub(super) const I32: u32 = 5;
pub(super) const F32: u32 = 6;
pub(super) const BOOL: u32 = 7;
pub(super) const STRING: u32 = 8;
pub(super) const ARRAY: u32 = 9;

/// A file as its parts; `bytes` puts them together.
#[derive(Clone)]
pub(super) struct File {
    pub(super) version: u32,
    pub(super) big_endian: bool,
    pub(super) pairs: Vec<Vec<u8>>,
    pub(super) tensors: Vec<Vec<u8>>,
    pub(super) data: usize,
}

impl File {
    pub(super) fn new() -> Self {
        Self { version: 3, big_endian: false, pairs: Vec::new(), tensors: Vec::new(), data: 0 }
    }

    pub(super) fn u32(&self, n: u32) -> Vec<u8> {
        if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() }.to_vec()
    }

    pub(super) fn u64(&self, n: u64) -> Vec<u8> {
        if self.big_endian { n.to_be_bytes() } else { n.to_le_bytes() }.to_vec()
    }

    pub(super) fn text(&self, text: impl AsRef<[u8]>) -> Vec<u8> {
        [self.u64(text.as_ref().len() as u64), text.as_ref().to_vec()].concat()
    }

    pub(super) fn pair(mut self, key: impl AsRef<[u8]>, kind: u32, value: impl Fn(&Self) -> Vec<u8>) -> Self {
        self.pairs.push([self.text(key), self.u32(kind), value(&self)].concat());
        self
    }

    pub(super) fn string(self, key: &str, value: &str) -> Self {
        self.pair(key, STRING, |file| file.text(value))
    }

    pub(super) fn number(self, key: &str, value: u32) -> Self {
        self.pair(key, U32, |file| file.u32(value))
    }

    pub(super) fn array(self, key: &str, kind: u32, len: u64, items: impl Fn(&Self) -> Vec<u8>) -> Self {
        self.pair(key, ARRAY, |file| [file.u32(kind), file.u64(len), items(file)].concat())
    }

    pub(super) fn strings(self, key: &str, items: &[String]) -> Self {
        self.array(key, STRING, items.len() as u64, |file| {
            items.iter().flat_map(|item| file.text(item)).collect()
        })
    }

    pub(super) fn tensor(mut self, name: impl AsRef<[u8]>, dims: &[u64], kind: u32, offset: u64) -> Self {
        let n_dims = u32::try_from(dims.len()).unwrap();
        let dims = dims.iter().flat_map(|dim| self.u64(*dim)).collect();
        self.tensors
            .push([self.text(name), self.u32(n_dims), dims, self.u32(kind), self.u64(offset)].concat());
        self
    }

    pub(super) fn data(mut self, bytes: usize) -> Self {
        self.data = bytes;
        self
    }

    pub(super) fn header(&self) -> Vec<u8> {
        let counts = [self.u64(self.tensors.len() as u64), self.u64(self.pairs.len() as u64)].concat();
        [b"GGUF".to_vec(), self.u32(self.version), counts, self.pairs.concat(), self.tensors.concat()]
            .concat()
    }

    /// With data after it, padded to 32 bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(32) + self.data, 0);
        bytes
    }
}
