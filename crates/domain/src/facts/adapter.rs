//! What an adapter changes in its base, from the names and shapes of its tensors alone.

use super::pairing::{Adapter, Module};
use std::collections::{BTreeMap, HashMap};

/// Distinct modules that are kept; an adapter of every matrix of a model has a few dozen.
const MAX_MODULES: usize = 64;
/// Longer names are cut.
const MAX_NAME: usize = 160;
/// Below this a rank or a width is believed.
const MAX_WIDTH: u64 = 1 << 24;

/// Which matrix of an adapted module a tensor is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    /// Rank rows of the input's width.
    Down,
    /// Rows of the output's width, rank wide.
    Up,
    /// LyCORIS' Kronecker factors, whole or in two.
    Left,
    LeftA,
    LeftB,
    Right,
    RightA,
    RightB,
    /// A difference that is added as it is.
    Whole,
    /// Nothing more than that the module is changed.
    Mark,
}

/// Ends of tensor names, what they are of, and the method (ComfyUI, comfy/weight_adapter; llama.cpp for `lora_a`).
const ENDS: &[(&str, Part, &str)] = &[
    (".lora_down.weight", Part::Down, "lora"),
    (".lora_up.weight", Part::Up, "lora"),
    (".lora_A.weight", Part::Down, "lora"),
    (".lora_B.weight", Part::Up, "lora"),
    (".lora_A.default.weight", Part::Down, "lora"),
    (".lora_B.default.weight", Part::Up, "lora"),
    (".lora.down.weight", Part::Down, "lora"),
    (".lora.up.weight", Part::Up, "lora"),
    ("_lora.down.weight", Part::Down, "lora"),
    ("_lora.up.weight", Part::Up, "lora"),
    (".lora_linear_layer.down.weight", Part::Down, "lora"),
    (".lora_linear_layer.up.weight", Part::Up, "lora"),
    (".lora_a", Part::Down, "lora"),
    (".lora_b", Part::Up, "lora"),
    (".dora_scale", Part::Mark, "dora"),
    (".lora_magnitude_vector", Part::Mark, "dora"),
    (".lora_magnitude_vector.weight", Part::Mark, "dora"),
    (".hada_w1_b", Part::Down, "loha"),
    (".hada_w1_a", Part::Up, "loha"),
    (".lokr_w1", Part::Left, "lokr"),
    (".lokr_w1_a", Part::LeftA, "lokr"),
    (".lokr_w1_b", Part::LeftB, "lokr"),
    (".lokr_w2", Part::Right, "lokr"),
    (".lokr_w2_a", Part::RightA, "lokr"),
    (".lokr_w2_b", Part::RightB, "lokr"),
    (".oft_blocks", Part::Mark, "oft"),
    (".oft_R.weight", Part::Mark, "oft"),
    (".diff", Part::Whole, "diff"),
    (".diff_b", Part::Mark, "diff"),
    (".set_weight", Part::Mark, "diff"),
    (".w_norm", Part::Mark, "diff"),
    (".b_norm", Part::Mark, "diff"),
];

/// Where an adapter has several methods: the first of these names it.
const METHODS: &[&str] = &["oft", "lokr", "loha", "dora", "lora", "diff"];

type Parts<'a> = HashMap<Part, &'a [u64]>;

/// Reads an adapter; None where no tensor is of one, or where the base is in the file as well.
pub(crate) fn read(tensors: &[(&str, &[u64])]) -> Option<Adapter> {
    let mut order: Vec<&str> = Vec::new();
    let mut modules: HashMap<&str, Parts<'_>> = HashMap::new();
    let mut methods: Vec<&str> = Vec::new();
    for (name, shape) in tensors {
        if name.contains(".base_layer.") {
            return None;
        }
        let Some((module, part, method)) = split(name) else { continue };
        let parts = modules.entry(module).or_insert_with(|| {
            order.push(module);
            Parts::new()
        });
        parts.insert(part, shape);
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    let method = METHODS.iter().find(|method| methods.contains(method))?;
    let mut ranks: BTreeMap<u64, usize> = BTreeMap::new();
    let mut found: Vec<Module> = Vec::new();
    for (name, parts) in order.into_iter().filter_map(|name| Some((name, modules.get(name)?))) {
        if let Some(rank) = rank(parts) {
            *ranks.entry(rank).or_default() += 1;
        }
        let (input, output) = widths(parts);
        let module = Module { name: without_numbers(name), input, output };
        if found.len() < MAX_MODULES && !found.contains(&module) {
            found.push(module);
        }
    }
    let rank = ranks.into_iter().max_by_key(|(_, count)| *count).map(|(rank, _)| rank);
    Some(Adapter { method: (*method).to_owned(), rank, alpha: None, modules: found })
}

fn split(name: &str) -> Option<(&str, Part, &'static str)> {
    let found = ENDS.iter().find_map(|(end, part, method)| Some((name.strip_suffix(end)?, *part, *method)));
    found.filter(|(module, ..)| !module.is_empty())
}

fn rank(parts: &Parts<'_>) -> Option<u64> {
    let down = [Part::Down, Part::RightB, Part::LeftB].iter().find_map(|part| parts.get(part));
    down?.first().copied().filter(|rank| (1..MAX_WIDTH).contains(rank))
}

/// Returns the widths of what goes into a module and of what comes out.
fn widths(parts: &Parts<'_>) -> (Option<u64>, Option<u64>) {
    let dim = |part: Part, at: usize| parts.get(&part)?.get(at).copied();
    let product = |a: Option<u64>, b: Option<u64>| a?.checked_mul(b?);
    let left = |at: usize, half: Part| dim(Part::Left, at).or_else(|| dim(half, at));
    let right = |at: usize, half: Part| dim(Part::Right, at).or_else(|| dim(half, at));
    let input = dim(Part::Down, 1)
        .or_else(|| dim(Part::Whole, 1))
        .or_else(|| product(left(1, Part::LeftB), right(1, Part::RightB)));
    let output = dim(Part::Up, 0)
        .or_else(|| dim(Part::Whole, 0))
        .or_else(|| product(left(0, Part::LeftA), right(0, Part::RightA)));
    let believed = |width: &u64| (1..MAX_WIDTH).contains(width);
    (input.filter(believed), output.filter(believed))
}

/// Writes `*` for each number between dots or underscores, and leaves out what PEFT puts in front.
fn without_numbers(name: &str) -> String {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    let mut text = String::new();
    for word in name.split_inclusive(['.', '_']) {
        let (word, end) = word.split_at(word.trim_end_matches(['.', '_']).len());
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        text.push_str(if is_number { "*" } else { word });
        text.push_str(end);
    }
    text.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        tensors: &[(&str, &[u64])],
        method: &str,
        rank: Option<u64>,
        modules: &[(&str, Option<u64>, Option<u64>)],
    ) {
        let adapter = read(tensors).unwrap();
        assert_eq!((adapter.method.as_str(), adapter.rank), (method, rank));
        let found: Vec<_> = adapter.modules.iter().map(|m| (m.name.as_str(), m.input, m.output)).collect();
        assert_eq!(found, modules);
    }

    #[test]
    fn kohya_peft_diffusers_and_gguf_say_the_same_in_their_ways() {
        let kohya = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k";
        check(
            &[
                (&format!("{kohya}.alpha"), &[]),
                (&format!("{kohya}.lora_down.weight"), &[32, 2048]),
                (&format!("{kohya}.lora_up.weight"), &[640, 32]),
            ],
            "lora",
            Some(32),
            &[("lora_unet_input_blocks_*_*_transformer_blocks_*_attn2_to_k", Some(2048), Some(640))],
        );
        check(
            &[
                ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", &[4, 16]),
                ("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", &[32, 4]),
                ("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight", &[4, 16]),
                ("base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight", &[32, 4]),
            ],
            "lora",
            Some(4),
            &[("model.layers.*.self_attn.q_proj", Some(16), Some(32))],
        );
        check(
            &[
                ("unet.down_blocks.0.attentions.1.processor.to_q_lora.down.weight", &[8, 320]),
                ("unet.down_blocks.0.attentions.1.processor.to_q_lora.up.weight", &[320, 8]),
            ],
            "lora",
            Some(8),
            &[("unet.down_blocks.*.attentions.*.processor.to_q", Some(320), Some(320))],
        );
        check(
            &[("blk.0.attn_q.weight.lora_a", &[2, 256]), ("blk.0.attn_q.weight.lora_b", &[4, 2])],
            "lora",
            Some(2),
            &[("blk.*.attn_q.weight", Some(256), Some(4))],
        );
    }

    #[test]
    fn the_methods_of_lycoris_tell_their_widths_too() {
        check(
            &[("m.hada_w1_a", &[640, 16]), ("m.hada_w1_b", &[16, 320])],
            "loha",
            Some(16),
            &[("m", Some(320), Some(640))],
        );
        check(
            &[("m.lokr_w1", &[8, 4]), ("m.lokr_w2_a", &[80, 6]), ("m.lokr_w2_b", &[6, 160])],
            "lokr",
            Some(6),
            &[("m", Some(640), Some(640))],
        );
        check(
            &[("m.lokr_w1", &[8, 4]), ("m.lokr_w2", &[80, 160])],
            "lokr",
            None,
            &[("m", Some(640), Some(640))],
        );
        check(&[("m.oft_blocks", &[4, 80, 80])], "oft", None, &[("m", None, None)]);
        check(&[("m.diff", &[320, 640]), ("m.diff_b", &[320])], "diff", None, &[("m", Some(640), Some(320))]);
        check(
            &[("m.lora_down.weight", &[4, 8]), ("m.lora_up.weight", &[8, 4]), ("m.dora_scale", &[8])],
            "dora",
            Some(4),
            &[("m", Some(8), Some(8))],
        );
    }

    #[test]
    fn what_is_no_adapter_or_has_its_base_with_it_is_none() {
        assert_eq!(read(&[("model.layers.0.self_attn.q_proj.weight", &[4, 4])]), None);
        assert_eq!(read(&[(".lora_a", &[4, 4])]), None);
        let with_base = [
            ("layers.0.q_proj.base_layer.weight", &[4, 4][..]),
            ("layers.0.q_proj.lora_A.default.weight", &[2, 4]),
        ];
        assert_eq!(read(&with_base), None);
    }

    #[test]
    fn absurd_shapes_are_unknown_and_modules_are_few() {
        check(
            &[("m.lora_down.weight", &[u64::MAX, 0]), ("m.lora_up.weight", &[])],
            "lora",
            None,
            &[("m", None, None)],
        );
        let names: Vec<String> = (0..500).map(|n| format!("m{n}.lora_down.weight")).collect();
        let tensors: Vec<(&str, &[u64])> = names.iter().map(|name| (name.as_str(), &[2, 2][..])).collect();
        assert_eq!(read(&tensors).unwrap().modules.len(), 64);
    }
}
