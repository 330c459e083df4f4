//! The true name of a mix, from its tensors. `general.file_type` is believed where the tensors bear it out.

use super::weights::{MatrixUse, Place};

/// `enum llama_ftype`: number, name, and the tensor types that llama-quantize bases it on (src/llama-quant.cpp).
const FILE_TYPES: &[(u64, &str, &[&str])] = &[
    (0, "F32", &["F32"]),
    (1, "F16", &["F16"]),
    (2, "Q4_0", &["Q4_0"]),
    (3, "Q4_1", &["Q4_1"]),
    (7, "Q8_0", &["Q8_0"]),
    (8, "Q5_0", &["Q5_0"]),
    (9, "Q5_1", &["Q5_1"]),
    (10, "Q2_K", &["Q2_K"]),
    (11, "Q3_K_S", &["Q3_K"]),
    (12, "Q3_K_M", &["Q3_K"]),
    (13, "Q3_K_L", &["Q3_K"]),
    (14, "Q4_K_S", &["Q4_K"]),
    (15, "Q4_K_M", &["Q4_K"]),
    (16, "Q5_K_S", &["Q5_K"]),
    (17, "Q5_K_M", &["Q5_K"]),
    (18, "Q6_K", &["Q6_K"]),
    (19, "IQ2_XXS", &["IQ2_XXS"]),
    (20, "IQ2_XS", &["IQ2_XS"]),
    (21, "Q2_K_S", &["Q2_K"]),
    (22, "IQ3_XS", &["IQ3_XXS", "IQ3_S"]),
    (23, "IQ3_XXS", &["IQ3_XXS"]),
    (24, "IQ1_S", &["IQ1_S"]),
    (25, "IQ4_NL", &["IQ4_NL"]),
    (26, "IQ3_S", &["IQ3_S"]),
    (27, "IQ3_M", &["IQ3_S"]),
    (28, "IQ2_S", &["IQ2_XS"]),
    (29, "IQ2_M", &["IQ2_S"]),
    (30, "IQ4_XS", &["IQ4_XS"]),
    (31, "IQ1_M", &["IQ1_M"]),
    (32, "BF16", &["BF16"]),
    (36, "TQ1_0", &["TQ1_0"]),
    (37, "TQ2_0", &["TQ2_0"]),
    (38, "MXFP4", &["MXFP4"]),
    (39, "NVFP4", &["NVFP4"]),
];
/// `LLAMA_FTYPE_GUESSED`: set by llama.cpp where it had to guess.
const GUESSED: u64 = 1024;
/// Types that are no quantisation.
const PLAIN_TYPES: &[&str] = &["F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"];
/// F32 and F16, which converters write and other tools leave behind when they change the tensors.
const LEFT_BEHIND: &[u64] = &[0, 1];

/// Returns the name of a mix by its number alone, if it is one of tensors that are mostly of this type.
pub(super) fn named(file_type: u64, majority: &str) -> Option<&'static str> {
    let (_, name, bases) = FILE_TYPES.iter().find(|(known, ..)| *known == file_type)?;
    bases.contains(&majority).then_some(*name)
}

/// Returns the name of a mix, and a warning where the file claims another.
pub(super) fn name(mix: &[MatrixUse], file_type: Option<u64>) -> (Option<String>, Option<String>) {
    let counted = counted(mix);
    let Some(base) = majority(&counted) else { return (None, None) };
    let found = name_of(&base.name, &counted);
    let number = file_type.map(|number| number & !GUESSED);
    let Some((number, claimed, bases)) = FILE_TYPES.iter().find(|(known, ..)| Some(*known) == number) else {
        return (Some(found), None);
    };
    // The small mixes favor no matrix with the types of the larger ones.
    let is_larger = claimed
        .strip_suffix("_S")
        .is_some_and(|family| found.strip_prefix(family).is_some_and(|size| matches!(size, "_M" | "_L")));
    if bears_out(&counted, base, bases) && !is_larger {
        return (Some((*claimed).to_owned()), None);
    }
    let warning = format!("general.file_type says {claimed}, the tensors are {found}");
    (Some(found), (!LEFT_BEHIND.contains(number)).then_some(warning))
}

/// Returns the weight matrices; embedding and output only where there is nothing else, for mixes spare them.
fn counted(mix: &[MatrixUse]) -> Vec<&MatrixUse> {
    let of = |wanted: fn(&MatrixUse) -> bool| mix.iter().filter(|used| wanted(used)).collect::<Vec<_>>();
    let matrices = of(|used| matches!(used.place, Place::Plain | Place::Favored) && used.elements > 0);
    if !matrices.is_empty() {
        return matrices;
    }
    let edges = of(|used| used.place == Place::Edge && used.elements > 0);
    if !edges.is_empty() {
        return edges;
    }
    // A lone vector says something only if it is quantised: norms are F32 in every mix.
    of(|used| used.elements > 0 && !PLAIN_TYPES.contains(&used.name.as_str()))
}

/// Returns the type that most elements have; of two with as many the smaller, which is the base of the mix.
fn majority<'a>(counted: &[&'a MatrixUse]) -> Option<&'a MatrixUse> {
    counted.iter().copied().max_by(|a, b| {
        let elements = |used: &MatrixUse| elements(counted, |other| other.name == used.name);
        elements(a).cmp(&elements(b)).then_with(|| is_larger_type(a, b).cmp(&is_larger_type(b, a)).reverse())
    })
}

fn is_larger_type(a: &MatrixUse, b: &MatrixUse) -> bool {
    u128::from(a.bytes) * u128::from(b.elements) > u128::from(b.bytes) * u128::from(a.elements)
}

fn elements(counted: &[&MatrixUse], wanted: impl Fn(&MatrixUse) -> bool) -> u128 {
    counted.iter().filter(|used| wanted(used)).map(|used| u128::from(used.elements)).sum()
}

/// Whether a mix on these types may look like this: most of it is of them, or a quarter where the rest is larger
/// (a mix favors some matrices, in some architectures the most).
fn bears_out(counted: &[&MatrixUse], majority: &MatrixUse, bases: &[&str]) -> bool {
    let is_of = |used: &MatrixUse| bases.iter().any(|base| used.name == *base || falls_back(used, base));
    let smallest = counted
        .iter()
        .filter(|used| is_of(used))
        .copied()
        .reduce(|a, b| if is_larger_type(a, b) { b } else { a });
    let Some(smallest) = smallest else { return false };
    let is_quarter = elements(counted, is_of) * 4 >= elements(counted, |_| true);
    is_of(majority) || is_quarter && !is_larger_type(smallest, majority)
}

/// Whether a matrix got its type because its rows do not fill the blocks of 256 that `base` needs.
fn falls_back(used: &MatrixUse, base: &str) -> bool {
    used.short_rows
        && match base {
            "Q4_K" => used.name == "Q5_0",
            "Q5_K" => used.name == "Q5_1",
            "Q6_K" => used.name == "Q8_0",
            "Q2_K" | "Q3_K" | "TQ1_0" | "TQ2_0" => matches!(used.name.as_str(), "Q4_0" | "IQ4_NL"),
            base => base.starts_with("IQ") && used.name == "IQ4_NL",
        }
}

/// Names the mix that llama-quantize would have made such tensors with.
fn name_of(base: &str, counted: &[&MatrixUse]) -> String {
    let favored = |name: &str| elements(counted, |used| used.place == Place::Favored && used.name == name);
    let size = match base {
        "Q4_K" if favored("Q6_K") > 0 => "_M",
        "Q4_K" if favored("Q5_K") > 0 => "_S",
        "Q5_K" if favored("Q6_K") > 0 => "_M",
        "Q5_K" => "_S",
        "Q3_K" => {
            let larger = favored("Q4_K") + favored("Q5_K");
            if larger < elements(counted, |used| used.place == Place::Favored).div_ceil(4) || larger == 0 {
                "_S"
            } else if favored("Q5_K") > favored("Q4_K") {
                "_L"
            } else {
                "_M"
            }
        }
        "Q2_K" if favored("Q3_K") == 0 && favored("Q4_K") > 0 => "_S",
        _ => "",
    };
    format!("{base}{size}")
}

#[cfg(test)]
mod tests {
    use crate::facts::testing::Build;

    const F32: u32 = 0;
    const F16: u32 = 1;
    const Q5_0: u32 = 6;
    const Q8_0: u32 = 8;
    const Q2_K: u32 = 10;
    const Q3_K: u32 = 11;
    const Q4_K: u32 = 12;
    const Q5_K: u32 = 13;
    const Q6_K: u32 = 14;
    const IQ3_XXS: u32 = 18;
    const IQ3_S: u32 = 21;
    const MXFP4: u32 = 39;

    /// Two layers whose plain matrices are of one type, with `attn_v` and `ffn_down` of others in the first.
    fn mix(plain: u32, favored: u32) -> Build {
        let model =
            Build::model("llama").tensor("token_embd.weight", &[256, 32], Q6_K).tensor("n", &[256], F32);
        ["blk.0.", "blk.1."].iter().zip([favored, plain]).fold(model, |model, (layer, favored)| {
            let name = |matrix: &str| format!("{layer}{matrix}.weight");
            model
                .tensor(&name("attn_q"), &[256, 256], plain)
                .tensor(&name("attn_v"), &[256, 64], favored)
                .tensor(&name("attn_output"), &[256, 256], plain)
                .tensor(&name("ffn_gate"), &[256, 512], plain)
                .tensor(&name("ffn_up"), &[256, 512], plain)
                .tensor(&name("ffn_down"), &[512, 256], favored)
        })
    }

    #[track_caller]
    fn check(model: Build, file_type: Option<u32>, expected: &str, is_warned: bool) {
        let model = match file_type {
            Some(number) => model.number("general.file_type", number),
            None => model,
        };
        let (facts, warnings) = model.facts();
        assert_eq!(facts.quant.as_deref(), Some(expected));
        assert_eq!(!warnings.is_empty(), is_warned, "{warnings:?}");
    }

    #[test]
    fn what_the_file_claims_holds_where_the_tensors_bear_it_out() {
        check(mix(Q4_K, Q6_K), Some(15), "Q4_K_M", false);
        check(mix(Q4_K, Q4_K), Some(15), "Q4_K_M", false);
        check(mix(Q4_K, Q5_K), Some(14), "Q4_K_S", false);
        check(mix(Q4_K, Q6_K), Some(15 + 1024), "Q4_K_M", false);
        check(mix(IQ3_XXS, IQ3_S), Some(22), "IQ3_XS", false);
        check(mix(IQ3_S, IQ3_S), Some(27), "IQ3_M", false);
        check(mix(MXFP4, Q8_0), Some(38), "MXFP4", false);
        check(mix(F16, F16), Some(1), "F16", false);
    }

    #[test]
    fn the_tensors_win_over_the_claim() {
        check(mix(Q8_0, Q8_0), Some(15), "Q8_0", true);
        check(mix(Q4_K, Q6_K), Some(18), "Q4_K_M", true);
        check(mix(Q4_K, Q6_K), Some(14), "Q4_K_M", true);
        check(mix(Q6_K, Q6_K), Some(15), "Q6_K", true);
        // gpt-oss is MXFP4 from the start, and its converted file still says F16.
        check(mix(MXFP4, MXFP4), Some(1), "MXFP4", false);
        check(mix(Q4_K, Q6_K), Some(999), "Q4_K_M", false);
    }

    #[test]
    fn a_mix_without_a_claim_has_the_name_of_its_recipe() {
        for (plain, favored, expected) in [
            (Q4_K, Q6_K, "Q4_K_M"),
            (Q4_K, Q5_K, "Q4_K_S"),
            (Q4_K, Q4_K, "Q4_K"),
            (Q5_K, Q6_K, "Q5_K_M"),
            (Q5_K, Q5_K, "Q5_K_S"),
            (Q3_K, Q3_K, "Q3_K_S"),
            (Q3_K, Q4_K, "Q3_K_M"),
            (Q3_K, Q5_K, "Q3_K_L"),
            (Q2_K, Q3_K, "Q2_K"),
            (Q2_K, Q4_K, "Q2_K_S"),
            (Q6_K, Q6_K, "Q6_K"),
            (IQ3_S, IQ3_S, "IQ3_S"),
            (MXFP4, MXFP4, "MXFP4"),
        ] {
            check(mix(plain, favored), None, expected, false);
        }
    }

    #[test]
    fn rows_too_short_for_k_quants_count_as_what_they_stand_for() {
        // Qwen2.5-0.5B: 896 is no multiple of 256, so most of its Q4_K_M is Q5_0.
        let model = Build::model("qwen2")
            .tensor("blk.0.attn_q.weight", &[896, 896], Q5_0)
            .tensor("blk.0.ffn_up.weight", &[896, 4864], Q5_0)
            .tensor("blk.0.ffn_down.weight", &[4864, 896], Q6_K);
        check(model, Some(15), "Q4_K_M", false);
    }

    #[test]
    fn embedding_and_vectors_count_only_where_there_is_nothing_else() {
        check(Build::model("bert").tensor("token_embd.weight", &[256, 1], Q4_K), Some(15), "Q4_K_M", false);
        check(Build::model("llama").tensor("output_norm.weight", &[32], 2), Some(2), "Q4_0", false);
        let (facts, _) = Build::model("llama").tensor("output_norm.weight", &[32], F32).facts();
        assert_eq!(facts.quant, None);
    }
}
