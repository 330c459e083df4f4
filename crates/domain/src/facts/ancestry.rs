//! Where a file says it came from and what it was made from: its own claims, none of them checked.

use super::{Facts, claims::file_name, keys::Keys, short};
use crate::{
    Ancestor, Confidence, Kind, Relation, Source,
    hashes::sha256,
    lineage::{MOST, is_repository},
    stores::web::Address,
};
use serde_json::Value;

const MAX_NAME: usize = 256;
/// A merge of dozens takes a few KiB.
const MAX_RECIPE: usize = 64 << 10;
/// Mixes that have not been quantised, as `Facts::quant` names them.
const FULL: &[&str] = &["F64", "F32", "F16", "BF16"];

/// Returns the pages that a GGUF calls its own.
pub(super) fn claims(keys: &Keys<'_>) -> Vec<Source> {
    let mut claims: Vec<Source> = Vec::new();
    for key in ["general.repo_url", "general.url"] {
        let Some(Address { kind, repo, url, .. }) = keys.text(key).and_then(Address::parse) else { continue };
        match claims.iter_mut().find(|claim| claim.url.as_ref() == Some(&url)) {
            Some(claim) => claim.evidence.push(key.to_owned()),
            None => claims.push(Source {
                kind: Some(kind),
                repo,
                url: Some(url),
                confidence: Confidence::Claimed,
                evidence: vec![key.to_owned()],
            }),
        }
    }
    claims
}

/// Returns what a GGUF says it was made from: what was converted, and what that was based on.
pub(super) fn of_gguf(keys: &Keys<'_>, facts: &Facts) -> Vec<Ancestor> {
    let relation = match keys.text("general.finetune") {
        _ if facts.kind == Some(Kind::Lora) => Relation::Adapter,
        _ if facts.base_models.len() > 1 => Relation::Merge,
        Some(_) if facts.tuning.as_ref().is_some_and(|tuning| tuning.is_instruct) => Relation::Finetune,
        _ => Relation::Base,
    };
    // Such a name is a repository where it was written as an address, else it was put together of two words.
    let base = |(at, name): (usize, &String)| {
        let key = format!("general.base_model.{at}");
        let is_page = keys.text(&format!("{key}.repo_url")).is_some();
        let make = if is_page { Ancestor::on_hub } else { Ancestor::named };
        make(relation, name, Confidence::Claimed, &key)
    };
    let bases = facts.base_models.iter().enumerate().map(base);
    converted(keys, facts).into_iter().chain(bases).collect()
}

fn converted(keys: &Keys<'_>, facts: &Facts) -> Option<Ancestor> {
    let page = |key: &'static str| Some((key, Address::parse(keys.text(key)?)?.repo?));
    let named = |key: &'static str| {
        keys.text(key).filter(|name| is_repository(name)).map(|name| (key, name.to_owned()))
    };
    let (key, repo) = page("general.source.repo_url")
        .or_else(|| page("general.source.url"))
        .or_else(|| named("general.source.huggingface.repository"))?;
    let own = keys.text("general.repo_url").and_then(Address::parse).and_then(|address| address.repo);
    if own.as_ref() == Some(&repo) {
        return None;
    }
    let is_full = facts.quant.as_deref().is_none_or(|quant| FULL.contains(&quant));
    let relation = if is_full { Relation::Base } else { Relation::Quantized };
    let mut converted = Ancestor::on_hub(relation, &repo, Confidence::Claimed, key);
    let by = keys.text("general.quantized_by").and_then(|by| short(by, 64));
    converted.evidence.extend(by.map(|by| format!("general.quantized_by is {by}")));
    Some(converted)
}

/// Returns what a safetensors file says it was trained on or merged from.
pub(super) fn of_safetensors(metadata: &[(String, String)], kind: Option<Kind>) -> Vec<Ancestor> {
    let text = |key: &str| metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let trained = (kind == Some(Kind::Lora)).then(|| trained(&text)).flatten();
    let recipe = |key: &str| {
        let text = text(key).filter(|text| text.len() <= MAX_RECIPE)?;
        serde_json::from_str::<Value>(text).ok()
    };
    let listed = text("modelspec.merged_from").into_iter().flat_map(|names| names.split(','));
    let listed = listed.filter_map(|name| short(name, MAX_NAME));
    let listed = listed
        .map(|name| Ancestor::on_hub(Relation::Merge, &name, Confidence::Claimed, "modelspec.merged_from"));
    let models = recipe("sd_merge_models").map(|models| merged(&models)).unwrap_or_default();
    let hashes = || recipe("sd_merge_recipe").map(|recipe| of_recipe(&recipe)).unwrap_or_default();
    let merged = if models.is_empty() { hashes() } else { models };
    trained.into_iter().chain(listed).chain(merged).take(MOST).collect()
}

/// What kohya's trainers note of the checkpoint.
fn trained<'a>(text: &impl Fn(&str) -> Option<&'a str>) -> Option<Ancestor> {
    let sha256 = text("ss_new_sd_model_hash").and_then(sha256);
    let name = text("ss_sd_model_name").and_then(|name| short(file_name(name), MAX_NAME));
    let key = if name.is_some() { "ss_sd_model_name" } else { "ss_new_sd_model_hash" };
    let name = name.or_else(|| sha256.as_ref().map(|hash| hash.chars().take(10).collect()))?;
    // `runwayml/stable-diffusion-v1-5` where it was trained on a repository.
    Some(Ancestor { sha256, ..Ancestor::on_hub(Relation::Adapter, &name, Confidence::Claimed, key) })
}

/// `{"SHA256": {"name": "a.safetensors"}}`, as the web UI's merger writes it.
fn merged(models: &Value) -> Vec<Ancestor> {
    let models = models.as_object().into_iter().flatten().take(MOST);
    let one = |(hash, model): (&String, &Value)| {
        let name = short(file_name(model.get("name")?.as_str()?), MAX_NAME)?;
        let ancestor = Ancestor::named(Relation::Merge, &name, Confidence::Claimed, "sd_merge_models");
        Some(Ancestor { sha256: stated(hash), ..ancestor })
    };
    models.filter_map(one).collect()
}

fn of_recipe(recipe: &Value) -> Vec<Ancestor> {
    let keys = ["primary_model_hash", "secondary_model_hash", "tertiary_model_hash"];
    let hashes = keys.into_iter().filter_map(|key| stated(recipe.get(key)?.as_str()?));
    let one = |hash: String| {
        let name: String = hash.chars().take(10).collect();
        let ancestor = Ancestor::named(Relation::Merge, &name, Confidence::Claimed, "sd_merge_recipe");
        Ancestor { sha256: Some(hash), ..ancestor }
    };
    hashes.map(one).collect()
}

fn stated(hash: &str) -> Option<String> {
    sha256(hash.trim().trim_start_matches("0x"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::Build;

    fn lines(ancestors: &[Ancestor]) -> Vec<String> {
        let line = |one: &Ancestor| format!("{} {} {}", one.relation, one.name, one.evidence.join("; "));
        ancestors.iter().map(line).collect()
    }

    #[test]
    fn a_gguf_names_what_was_quantised_and_what_that_was_based_on() {
        let (facts, _) = Build::model("llama")
            .text("general.finetune", "Instruct")
            .text("general.repo_url", "https://huggingface.co/acme-ai/TinyAcme-1.1B-Instruct-GGUF")
            .text("general.source.repo_url", "https://huggingface.co/acme-ai/TinyAcme-1.1B-Instruct")
            .text("general.quantized_by", "Acme Quants")
            .number("general.base_model.count", 1)
            .text("general.base_model.0.organization", "Acme Ai")
            .text("general.base_model.0.name", "TinyAcme 1.1B")
            .tensor("blk.0.attn_q.weight", &[256, 4], 12)
            .facts();
        assert_eq!(
            lines(&facts.ancestors),
            [
                "quantized acme-ai/TinyAcme-1.1B-Instruct general.source.repo_url; general.quantized_by is Acme Quants",
                "finetune Acme Ai/TinyAcme 1.1B general.base_model.0",
            ]
        );
        let [claim] = facts.claims.as_slice() else { panic!("{:?}", facts.claims) };
        assert_eq!(claim.repo.as_deref(), Some("acme-ai/TinyAcme-1.1B-Instruct-GGUF"));
        assert_eq!(
            (claim.confidence, claim.evidence.as_slice()),
            (Confidence::Claimed, &["general.repo_url".into()][..])
        );
    }

    #[test]
    fn a_lora_names_its_checkpoint_and_a_merge_its_parts() {
        let of = |pairs: &[(&str, &str)], kind| {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            of_safetensors(&pairs, kind)
        };
        let hash = "ab".repeat(32);
        let lora =
            [("ss_sd_model_name", "/home/u/sd_xl_base_1.0.safetensors"), ("ss_new_sd_model_hash", &hash)];
        let found = of(&lora, Some(Kind::Lora));
        assert_eq!(lines(&found), ["adapter sd_xl_base_1.0.safetensors ss_sd_model_name"]);
        assert_eq!(found[0].sha256.as_deref(), Some(hash.as_str()));
        assert_eq!(of(&lora, Some(Kind::Checkpoint)), []);
        let models = format!(r#"{{"{hash}": {{"name": "a.safetensors"}}, "x": {{"name": 3}}}}"#);
        let found = of(&[("sd_merge_models", &models), ("modelspec.merged_from", "o/a, b")], None);
        let expected = [
            "merge o/a modelspec.merged_from",
            "merge b modelspec.merged_from",
            "merge a.safetensors sd_merge_models",
        ];
        assert_eq!(lines(&found), expected);
        let recipe = format!(r#"{{"primary_model_hash": "{hash}", "secondary_model_hash": null}}"#);
        assert_eq!(lines(&of(&[("sd_merge_recipe", &recipe)], None)), ["merge ababababab sd_merge_recipe"]);
        assert_eq!(of(&[("sd_merge_models", "[1,2"), ("sd_merge_recipe", "3")], None), []);
    }
}
