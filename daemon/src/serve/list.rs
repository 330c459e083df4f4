//! The list: models lie encoded in the index, and are sent as they are.

use super::{
    answer::{Done, refusal},
    hub::Hub,
    varlink::Out,
};
use crate::index::Reader;
use api::ApiError;
use domain::{
    Model,
    filter::{NotUnderstood, Query, Sort},
};
use jiff::Timestamp;

/// Models in one answer of a streamed list: the client reads one while the next is on its way.
const CHUNK: usize = 100;

pub(super) async fn list(
    hub: &Hub,
    filters: &[String],
    sort: Option<&str>,
    is_more: bool,
    out: &mut Out<'_>,
) -> Done {
    hub.first_scan().await;
    let query = Query::parse(filters).map_err(bad)?;
    let sort = sort.map(Sort::parse).transpose().map_err(bad)?;
    let texts = hub.read(move |reader| select(reader, &query, sort)).await.map_err(refusal)?;
    let size = if is_more { CHUNK } else { usize::MAX };
    let mut chunks = texts.chunks(size).peekable();
    if chunks.peek().is_none() {
        return Ok(out.last(&serde_json::json!({ "models": [] })).await?);
    }
    while let Some(chunk) = chunks.next() {
        // Models lie encoded in the index: they are sent as they are.
        let continues = if chunks.peek().is_some() { r#","continues":true"# } else { "" };
        let mut message =
            format!(r#"{{"parameters":{{"models":[{}]}}{continues}}}"#, chunk.join(",")).into_bytes();
        message.push(api::END);
        out.send(&message).await?;
    }
    Ok(())
}

pub(super) fn bad(why: NotUnderstood) -> ApiError {
    ApiError::BadFilter { filter: why.filter, why: why.why }
}

/// The models that pass, as they are encoded.
pub(super) fn select(reader: &Reader, query: &Query, sort: Option<Sort>) -> anyhow::Result<Vec<String>> {
    let now = Timestamp::now();
    let mut texts: Vec<String> = Vec::new();
    let mut parsed: Vec<(Model, u32)> = Vec::new();
    let is_plain = !query.has_conditions() && sort.is_none();
    let mut take = |rank: u32, text: &str| {
        if !is_plain {
            let model: Model = serde_json::from_str(text)?;
            if !query.passes(&model, now) {
                return Ok(());
            }
            parsed.push((model, rank));
        }
        texts.push(text.to_owned());
        Ok(())
    };
    if query.words.is_empty() {
        reader.models(|text| take(0, text))?;
    } else {
        let matching = reader.matching(&query.words)?;
        reader.models_of(&matching, |row, text| take(matching.get(&row).copied().unwrap_or(0), text))?;
    }
    let Some(sort) = sort else { return Ok(texts) };
    let mut both: Vec<((Model, u32), String)> = parsed.into_iter().zip(texts).collect();
    both.sort_by(|((a, a_rank), _), ((b, b_rank), _)| sort.compare((a, *a_rank), (b, *b_rank)));
    Ok(both.into_iter().map(|(_, text)| text).collect())
}
