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
    filter::{Filter, NotUnderstood, Sort},
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
    let bad = |filter: &str, why: NotUnderstood| ApiError::BadFilter {
        filter: filter.to_owned(),
        why: why.to_string(),
    };
    let filters: Vec<Filter> = filters
        .iter()
        .map(|text| Filter::parse(text).map_err(|why| bad(text, why)))
        .collect::<Result<_, _>>()?;
    let sort = sort.map(|text| Sort::parse(text).map_err(|why| bad(text, why))).transpose()?;
    let texts = hub.read(move |reader| select(reader, &filters, sort)).await.map_err(refusal)?;
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

fn select(reader: &Reader, filters: &[Filter], sort: Option<Sort>) -> anyhow::Result<Vec<String>> {
    let now = Timestamp::now();
    let mut texts: Vec<String> = Vec::new();
    let mut parsed: Vec<Model> = Vec::new();
    reader.models(|text| {
        if filters.is_empty() && sort.is_none() {
            texts.push(text.to_owned());
            return Ok(());
        }
        let model: Model = serde_json::from_str(text)?;
        if filters.iter().all(|filter| filter.passes(&model, now)) {
            texts.push(text.to_owned());
            parsed.push(model);
        }
        Ok(())
    })?;
    let Some(sort) = sort else { return Ok(texts) };
    let mut both: Vec<(Model, String)> = parsed.into_iter().zip(texts).collect();
    both.sort_by(|(a, _), (b, _)| sort.compare(a, b));
    Ok(both.into_iter().map(|(_, text)| text).collect())
}
