//! Facts of the formats before GGUF, and of whisper.cpp's.

use super::{Adapter, Facts, TensorUse, adapter, quant, weights};
use crate::Kind;
use formats::ggml::{Container, Header, Hyperparameters, QUANT_VERSION_FACTOR, Tensor};

/// Reads what such a file says about itself.
pub(crate) fn ggml(header: &Header) -> Facts {
    let mut facts = of_container(header.container);
    for tensor in &header.tensors {
        let elements = tensor.dims.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
        let used = TensorUse {
            name: tensor.kind.to_owned(),
            tensors: 1,
            elements: elements.unwrap_or(u64::MAX),
            bytes: tensor.size,
        };
        weights::add_use(&mut facts.tensor_types, used);
    }
    let parameters = weights::total(&facts.tensor_types);
    weights::describe(&mut facts, parameters);
    let known = |number: u32| Some(u64::from(number)).filter(|number| *number > 0);
    match header.hyperparameters {
        Hyperparameters::Llama { vocabulary, width, layers, file_type, .. } => {
            facts.kind = Some(Kind::Llm);
            let is_llama = |tensor: &Tensor| tensor.name.starts_with("tok_embeddings.");
            facts.architecture = header.tensors.iter().any(is_llama).then(|| "llama".to_owned());
            (facts.vocabulary, facts.embedding_length, facts.block_count) =
                (known(vocabulary), known(width), known(layers));
            facts.quant = mix(&facts.tensor_types, file_type);
            facts.capabilities.push("completion".to_owned());
        }
        Hyperparameters::Whisper { vocabulary, width, layers, file_type } => {
            facts.kind = Some(Kind::Asr);
            facts.architecture = Some("whisper".to_owned());
            (facts.vocabulary, facts.embedding_length, facts.block_count) =
                (known(vocabulary), known(width), known(layers));
            // As they are trained, models have no name of a mix.
            let quant = mix(&facts.tensor_types, file_type % QUANT_VERSION_FACTOR);
            facts.quant = quant.filter(|quant| !matches!(quant.as_str(), "F16" | "F32"));
        }
        Hyperparameters::Lora { rank, alpha } => {
            let shapes: Vec<(&str, Vec<u64>)> = header
                .tensors
                .iter()
                .map(|tensor| (tensor.name.as_str(), tensor.dims.iter().rev().copied().collect()))
                .collect();
            let named: Vec<_> = shapes.iter().map(|(name, shape)| (*name, shape.as_slice())).collect();
            let read = adapter::read(&named);
            facts.adapter = read.map(|read| Adapter {
                rank: read.rank.or(known(rank)),
                alpha: Some(f64::from(alpha)),
                ..read
            });
        }
    }
    facts
}

/// What the magic alone says: only llama.cpp wrote `ggmf` and `ggjt`, and adapters as `ggla`.
pub(crate) fn of_container(container: Container) -> Facts {
    let kind = match container {
        Container::Ggml => None,
        Container::Ggmf | Container::Ggjt => Some(Kind::Llm),
        Container::Ggla => Some(Kind::Lora),
    };
    Facts { kind, ..Facts::default() }
}

/// The type of most elements, or the mix that the file type says where that is of such.
fn mix(uses: &[TensorUse], file_type: u32) -> Option<String> {
    let majority = uses.iter().max_by_key(|used| used.elements)?;
    let named = quant::named(u64::from(file_type), &majority.name);
    Some(named.map_or_else(|| majority.name.clone(), str::to_owned))
}
