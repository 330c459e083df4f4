//! ggml's formats before GGUF: llama.cpp's ggml, ggmf, ggjt and ggla, and whisper.cpp's, which is still in use.
//! Other families share the first of these magics; what is of none of them is said to be unknown, not guessed at.

use crate::{Error, Input, cursor::Cursor, gguf::TensorType, quoted};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub container: Container,
    /// None for `ggml`, which has no versions.
    pub version: Option<u32>,
    pub hyperparameters: Hyperparameters,
    pub tensors: Vec<Tensor>,
    /// Where the last tensor ends, bytes from the start of the file. More than the file's length: data is missing.
    pub data_end: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    Ggml,
    Ggmf,
    Ggjt,
    /// A LoRA.
    Ggla,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hyperparameters {
    Llama { vocabulary: u32, width: u32, heads: u32, layers: u32, file_type: u32 },
    Whisper { vocabulary: u32, width: u32, layers: u32, file_type: u32 },
    Lora { rank: u32, alpha: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    /// As ggml called it then: `F16`, `Q4_0`, `Q4_2`.
    pub kind: &'static str,
    /// Elements per dimension, fastest first.
    pub dims: Vec<u64>,
    /// Bytes of data.
    pub size: u64,
}

/// A header is walked over to its last tensor, wherever that is.
const NO_LIMIT: u64 = u64::MAX;
/// Larger numbers are no model's, whatever they count.
const MAX_NUMBER: u32 = 1 << 24;
/// Longest word of a vocabulary, bytes.
const MAX_WORD: u32 = 1 << 16;
const MAX_NAME: u32 = 1024;
const MAX_DIMS: u32 = 4;
const MAX_TENSORS: usize = 1 << 16;
/// What tensors of ggjt and ggla are aligned to, bytes.
const ALIGNMENT: u64 = 32;
/// Of mel filters, by whisper's models.
const MELS: [u32; 2] = [80, 128];
/// `GGML_QNT_VERSION_FACTOR`: whisper.cpp keeps the version of the quantisation in the file type.
pub const QUANT_VERSION_FACTOR: u32 = 1000;

impl Container {
    fn of(magic: [u8; 4]) -> Option<Self> {
        Some(match &magic {
            b"lmgg" => Self::Ggml,
            b"fmgg" => Self::Ggmf,
            b"tjgg" => Self::Ggjt,
            b"algg" => Self::Ggla,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Ggml => "ggml",
            Self::Ggmf => "ggmf",
            Self::Ggjt => "ggjt",
            Self::Ggla => "ggla",
        }
    }

    fn newest(self) -> u32 {
        match self {
            Self::Ggml | Self::Ggmf | Self::Ggla => 1,
            Self::Ggjt => 3,
        }
    }

    fn is_aligned(self) -> bool {
        matches!(self, Self::Ggjt | Self::Ggla)
    }
}

/// Returns the container of a file that begins so.
pub fn container(head: &[u8]) -> Option<Container> {
    head.first_chunk().and_then(|magic| Container::of(*magic))
}

/// Reads a header and the places of all tensors.
pub fn parse(input: &mut impl Input) -> Result<Header, Error> {
    let mut cursor = Cursor::new(input, NO_LIMIT);
    let Some(container) = Container::of(cursor.take()?) else {
        return Err(Error::BadMagic { expected: "ggml" });
    };
    let version = if container == Container::Ggml { None } else { Some(cursor.u32()?) };
    if let Some(version) = version.filter(|version| !(1..=container.newest()).contains(version)) {
        let what = format!("{} of version {version}, which is not known", container.name());
        return Err(Error::Unsupported { what });
    }
    let read = match container {
        Container::Ggla => lora(&mut cursor),
        Container::Ggmf | Container::Ggjt => llama(&mut cursor, true),
        Container::Ggml => unversioned(&mut cursor),
    };
    let hyperparameters = read?;
    let mut header =
        Header { container, version, hyperparameters, tensors: Vec::new(), data_end: cursor.at() };
    tensors(&mut cursor, &mut header)
        .map_err(|error| if header.is_guessed() { guessed(error) } else { error })?;
    // The first LLMs of other families have the same numbers in another order.
    let is_llama = header.tensors.iter().any(|tensor| tensor.name.starts_with("tok_embeddings."));
    if header.is_guessed() && !is_llama && !header.tensors.is_empty() {
        return Err(unknown_family());
    }
    Ok(header)
}

fn lora(cursor: &mut Cursor<'_, impl Input>) -> Result<Hyperparameters, Error> {
    Ok(Hyperparameters::Lora { rank: cursor.u32()?, alpha: cursor.u32()? })
}

/// Tells whisper's from llama's by numbers that only whisper has.
fn unversioned(cursor: &mut Cursor<'_, impl Input>) -> Result<Hyperparameters, Error> {
    const NUMBERS: usize = 11;
    let start = cursor.at();
    let mut numbers = [0_u32; NUMBERS];
    for number in &mut numbers {
        *number = cursor.u32()?;
    }
    let [vocabulary, _, audio, _, _, _, width, _, layers, mels, file_type] = numbers;
    if MELS.contains(&mels) && audio == width && vocabulary <= MAX_NUMBER {
        return whisper(cursor, Hyperparameters::Whisper { vocabulary, width, layers, file_type });
    }
    cursor.go_back_to(start);
    llama(cursor, false).map_err(guessed)
}

fn unknown_family() -> Error {
    Error::Unsupported { what: "a ggml file of a family that is not known here".to_owned() }
}

/// What is wrong with a file may be that it is another family's.
fn guessed(error: Error) -> Error {
    if matches!(error, Error::Corrupt { .. }) { unknown_family() } else { error }
}

/// Steps over the mel filters and the words.
fn whisper(
    cursor: &mut Cursor<'_, impl Input>,
    hyperparameters: Hyperparameters,
) -> Result<Hyperparameters, Error> {
    let (mels, bins) = (number(cursor, "mel filters")?, number(cursor, "mel filters")?);
    cursor.skip(u64::from(mels) * u64::from(bins), 4)?;
    let words = number(cursor, "words")?;
    words_of(cursor, words, false)?;
    Ok(hyperparameters)
}

fn llama(cursor: &mut Cursor<'_, impl Input>, has_scores: bool) -> Result<Hyperparameters, Error> {
    let vocabulary = number(cursor, "words")?;
    let width = number(cursor, "values in an embedding")?;
    cursor.skip(1, 4)?;
    let heads = number(cursor, "heads")?;
    let layers = number(cursor, "layers")?;
    cursor.skip(1, 4)?;
    let file_type = cursor.u32()?;
    words_of(cursor, vocabulary, has_scores)?;
    Ok(Hyperparameters::Llama { vocabulary, width, heads, layers, file_type })
}

fn number(cursor: &mut Cursor<'_, impl Input>, what: &str) -> Result<u32, Error> {
    let number = cursor.u32()?;
    if number > MAX_NUMBER {
        return cursor.corrupt(format!("its header says {number} {what}, which is more than any model has"));
    }
    Ok(number)
}

fn words_of(cursor: &mut Cursor<'_, impl Input>, count: u32, has_scores: bool) -> Result<(), Error> {
    let score = if has_scores { 4 } else { 0 };
    // Each word has its length at least.
    cursor.need(u64::from(count), 4 + score)?;
    for _ in 0..count {
        let length = cursor.u32()?;
        if length > MAX_WORD {
            return cursor.corrupt(format!("a word of {length} bytes"));
        }
        cursor.skip(u64::from(length) + score, 1)?;
    }
    Ok(())
}

fn tensors(cursor: &mut Cursor<'_, impl Input>, header: &mut Header) -> Result<(), Error> {
    while cursor.at() < cursor.len() {
        if header.tensors.len() >= MAX_TENSORS {
            return cursor.corrupt(format!("more than {MAX_TENSORS} tensors"));
        }
        let tensor = tensor(cursor, header)?;
        let start = cursor.at();
        let start = if header.container.is_aligned() { start.next_multiple_of(ALIGNMENT) } else { start };
        let Some(end) = start.checked_add(tensor.size) else {
            return cursor.corrupt(format!("tensor {} is larger than any file", quoted(&tensor.name)));
        };
        header.data_end = end;
        header.tensors.push(tensor);
        if end > cursor.len() {
            return Ok(());
        }
        cursor.skip(end - cursor.at(), 1)?;
    }
    Ok(())
}

fn tensor(cursor: &mut Cursor<'_, impl Input>, header: &Header) -> Result<Tensor, Error> {
    let (n_dims, length, kind) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
    if !(1..=MAX_DIMS).contains(&n_dims) || length > MAX_NAME {
        return cursor.corrupt(format!("a tensor of {n_dims} dimensions with a name of {length} bytes"));
    }
    let mut dims = Vec::new();
    for _ in 0..n_dims {
        let dim = cursor.u32()?;
        if i32::try_from(dim).is_err() {
            return cursor.corrupt(format!("a tensor with {dim} elements in a row"));
        }
        dims.push(u64::from(dim));
    }
    let name = cursor.bytes(u64::from(length), MAX_NAME as usize)?;
    let name = String::from_utf8_lossy(&name).into_owned();
    let Some((kind, block, bytes)) = header.block(kind) else {
        return cursor.corrupt(format!("tensor {} is of the unknown type {kind}", quoted(&name)));
    };
    let elements = dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
    let size = elements
        .filter(|elements| elements.is_multiple_of(block))
        .and_then(|n| (n / block).checked_mul(bytes));
    let Some(size) = size else {
        return cursor.corrupt(format!("tensor {} is of no whole number of blocks", quoted(&name)));
    };
    Ok(Tensor { name, kind, dims, size })
}

impl Header {
    /// Returns how many bytes of tensor data a file of `len` bytes lacks.
    pub fn missing_bytes(&self, len: u64) -> u64 {
        self.data_end.saturating_sub(len)
    }

    /// Name, elements and bytes of a block: with 32-bit scales, before ggjt had its third version.
    fn block(&self, kind: u32) -> Option<(&'static str, u64, u64)> {
        Some(match kind {
            2 if self.has_wide_scales() => ("Q4_0", 32, 20),
            3 if self.has_wide_scales() => ("Q4_1", 32, 24),
            4 if self.has_wide_scales() => ("Q4_2", 16, 10),
            5 if self.has_wide_scales() => ("Q4_3", 16, 12),
            8 if self.has_wide_scales() => ("Q8_0", 32, 36),
            kind => {
                let kind = TensorType::from_id(kind)?;
                (kind.name(), kind.block_len(), kind.block_size())
            }
        })
    }

    /// Without a version nothing but its numbers says that a file is llama's.
    fn is_guessed(&self) -> bool {
        self.container == Container::Ggml && matches!(self.hyperparameters, Hyperparameters::Llama { .. })
    }

    fn has_wide_scales(&self) -> bool {
        match self.hyperparameters {
            Hyperparameters::Whisper { file_type, .. } => file_type / QUANT_VERSION_FACTOR < 2,
            Hyperparameters::Llama { .. } | Hyperparameters::Lora { .. } => {
                self.container != Container::Ggjt || self.version < Some(3)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slice;

    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// A matrix of 32 times 2 of this type, with `size` bytes of data from `at` on, aligned or not.
    fn matrix(name: &str, kind: u32, at: usize, is_aligned: bool, size: usize) -> Vec<u8> {
        let length = u32::try_from(name.len()).unwrap();
        let mut bytes = [numbers(&[2, length, kind, 32, 2]), name.as_bytes().to_vec()].concat();
        if is_aligned {
            bytes.resize((at + bytes.len()).next_multiple_of(32) - at, 0);
        }
        bytes.resize(bytes.len() + size, 7);
        bytes
    }

    /// llama's numbers and a vocabulary of one word.
    fn llama(magic: &[u8], version: Option<u32>, kind: u32, size: usize) -> Vec<u8> {
        let version = version.map(u32::to_le_bytes);
        let head = [magic, version.as_ref().map_or(&[][..], |bytes| bytes)].concat();
        let score = if version.is_some() { &[0; 4][..] } else { &[] };
        let head = [head, numbers(&[1, 32, 256, 4, 2, 8, 2, 3]), b"abc".to_vec(), score.to_vec()].concat();
        let matrix = matrix("tok_embeddings.weight", kind, head.len(), magic == b"tjgg", size);
        [head, matrix].concat()
    }

    fn read(bytes: &[u8]) -> Header {
        parse(&mut Slice(bytes)).unwrap()
    }

    #[test]
    fn every_version_has_its_own_size_of_a_block() {
        for (magic, version, kind, size, name) in [
            (b"lmgg", None, 2, 40, "Q4_0"),
            (b"fmgg", Some(1), 3, 48, "Q4_1"),
            (b"tjgg", Some(1), 4, 40, "Q4_2"),
            (b"tjgg", Some(2), 8, 72, "Q8_0"),
            (b"tjgg", Some(3), 2, 36, "Q4_0"),
            (b"tjgg", Some(3), 1, 128, "F16"),
        ] {
            let bytes = llama(magic, version, kind, size);
            let header = read(&bytes);
            let tensor = &header.tensors[0];
            assert_eq!((tensor.kind, tensor.size), (name, size as u64));
            assert_eq!((tensor.dims.as_slice(), header.missing_bytes(bytes.len() as u64)), (&[32, 2][..], 0));
            let llama =
                Hyperparameters::Llama { vocabulary: 1, width: 32, heads: 4, layers: 2, file_type: 2 };
            assert_eq!((header.hyperparameters, header.version), (llama, version));
        }
    }

    #[test]
    fn whisper_is_told_from_llama() {
        let head = [b"lmgg".to_vec(), numbers(&[1, 1500, 8, 1, 1, 448, 8, 1, 4, 80, 2008, 1, 2]), vec![0; 8]]
            .concat();
        let head = [head, numbers(&[1, 1]), b"a".to_vec()].concat();
        let bytes = [head.clone(), matrix("encoder.conv1.weight", 8, 0, false, 68)].concat();
        let header = read(&bytes);
        let whisper = Hyperparameters::Whisper { vocabulary: 1, width: 8, layers: 4, file_type: 2008 };
        assert_eq!((header.hyperparameters, header.missing_bytes(bytes.len() as u64)), (whisper, 0));
        assert_eq!(read(&head).tensors, []);
    }

    #[test]
    fn adapters_and_what_is_not_known_are_said_to_be_so() {
        let adapter = read(&[b"algg".to_vec(), numbers(&[1, 8, 16])].concat());
        assert_eq!(adapter.hyperparameters, Hyperparameters::Lora { rank: 8, alpha: 16 });
        for unknown in [
            [b"tjgg".to_vec(), numbers(&[9])].concat(),
            [b"lmgg".to_vec(), numbers(&[1, 1024, 768, 12, 12, 1, 1, 1, 1, 33, 1, 34, 1])].concat(),
        ] {
            assert!(matches!(parse(&mut Slice(&unknown)), Err(Error::Unsupported { .. })));
        }
        assert!(matches!(parse(&mut Slice(b"GGUF\x03\0\0\0")), Err(Error::BadMagic { .. })));
    }

    #[test]
    fn every_shorter_file_is_cut_off_and_no_changed_byte_panics() {
        for bytes in
            [llama(b"tjgg", Some(3), 2, 36), llama(b"fmgg", Some(1), 2, 40), llama(b"lmgg", None, 2, 40)]
        {
            for end in 0..bytes.len() {
                match parse(&mut Slice(&bytes[..end])) {
                    Ok(header) => {
                        assert!(header.missing_bytes(end as u64) > 0 || header.tensors.is_empty(), "{end}");
                    }
                    Err(error) => assert!(matches!(error, Error::Truncated { .. }), "{end}: {error}"),
                }
            }
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1 << bit;
                    drop(parse(&mut Slice(&changed)));
                }
            }
        }
    }
}
