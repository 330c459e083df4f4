//! A model of real size whose data is a hole: a header of a few KB in a file that takes no room.

use std::{fs::File, io::Write as _, path::Path};

const LAYERS: u64 = 32;
const EMBEDDING: u64 = 4096;
const FEED_FORWARD: u64 = 14336;
const VOCABULARY: u64 = 128_256;

/// Writes Llama 3.1 8B in Q8_0 (8.5 GB), or one with so many experts in each layer (8: 47 GB).
#[track_caller]
pub fn llama(path: &Path, name: &str, experts: u64) {
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), vec![EMBEDDING, VOCABULARY]),
        ("output.weight".to_owned(), vec![EMBEDDING, VOCABULARY]),
    ];
    for layer in 0..LAYERS {
        let mut add =
            |part: &str, dims: &[u64]| tensors.push((format!("blk.{layer}.{part}.weight"), dims.to_vec()));
        add("attn_q", &[EMBEDDING, EMBEDDING]);
        add("attn_k", &[EMBEDDING, 1024]);
        add("attn_v", &[EMBEDDING, 1024]);
        add("attn_output", &[EMBEDDING, EMBEDDING]);
        for (part, row, rows) in [
            ("gate", EMBEDDING, FEED_FORWARD),
            ("up", EMBEDDING, FEED_FORWARD),
            ("down", FEED_FORWARD, EMBEDDING),
        ] {
            match experts {
                0 => add(&format!("ffn_{part}"), &[row, rows]),
                _ => add(&format!("ffn_{part}_exps"), &[row, rows, experts]),
            }
        }
    }
    let (header, size) = header(name, experts, &tensors);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::create(path).unwrap();
    file.write_all(&header).unwrap();
    file.set_len(header.len() as u64 + size).unwrap();
}

fn header(name: &str, experts: u64, tensors: &[(String, Vec<u64>)]) -> (Vec<u8>, u64) {
    let mut pairs = vec![string("general.architecture", "llama"), string("general.name", name)];
    let numbers = [
        ("block_count", LAYERS),
        ("context_length", 131_072),
        ("embedding_length", EMBEDDING),
        ("feed_forward_length", FEED_FORWARD),
        ("attention.head_count", 32),
        ("attention.head_count_kv", 8),
        ("vocab_size", VOCABULARY),
        ("expert_count", experts),
        ("expert_used_count", experts.min(2)),
    ];
    pairs.extend(numbers.map(|(key, number)| {
        [text(&format!("llama.{key}")), 10_u32.to_le_bytes().into(), number.to_le_bytes().into()].concat()
    }));
    let mut infos = Vec::new();
    let mut size = 0;
    for (name, dims) in tensors {
        infos.extend(text(name));
        infos.extend(u32::try_from(dims.len()).unwrap().to_le_bytes());
        dims.iter().for_each(|dim| infos.extend(dim.to_le_bytes()));
        infos.extend(8_u32.to_le_bytes());
        infos.extend(u64::to_le_bytes(size));
        size += (dims.iter().product::<u64>() / 32 * 34).next_multiple_of(32);
    }
    let counts = [(tensors.len() as u64).to_le_bytes(), (pairs.len() as u64).to_le_bytes()].concat();
    let mut header = [b"GGUF\x03\0\0\0".to_vec(), counts, pairs.concat(), infos].concat();
    header.resize(header.len().next_multiple_of(32), 0);
    (header, size)
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn string(key: &str, value: &str) -> Vec<u8> {
    [text(key), 8_u32.to_le_bytes().into(), text(value)].concat()
}
