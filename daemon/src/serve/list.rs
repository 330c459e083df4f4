//! The list: models lie encoded in the index, and are sent as they are.

use super::{
    answer::{Done, Failure, refusal},
    hub::Hub,
    varlink::Out,
};
use crate::{core::Live, fits::View, index::Reader};
use anyhow::Context as _;
use api::ApiError;
use domain::{
    Model,
    filter::{NotUnderstood, Place, Query, Sort},
    plan::Fit,
};
use jiff::Timestamp;
use serde::Deserialize;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Models in one answer of a streamed list: the client reads one while the next is on its way.
const CHUNK: usize = 100;

/// Bytes that are sent at once: an answer of many megabytes is never held whole.
const PIECE: usize = 64 << 10;
/// Pieces that wait for a slow client.
const PIECES: usize = 4;

pub(super) async fn list(
    hub: &Hub,
    (filters, sort): (&[String], Option<&str>),
    callers: BTreeMap<String, String>,
    is_more: bool,
    out: &mut Out<'_>,
) -> Done {
    hub.first_scan().await;
    let query = Query::parse(filters).map_err(bad)?;
    let bad_sort = |key: &str, why| ApiError::BadSort { sort: key.to_owned(), why };
    let sort = sort.map(|key| Sort::parse(key).map_err(|why| bad_sort(key, why))).transpose()?;
    let live = hub.live().await.map_err(refusal)?;
    let fitting = hub.fits(callers, query.asks_fits()).await?;
    let (pieces, mut waiting) = mpsc::channel(PIECES);
    let reading = hub.read(move |reader| {
        let mut models = Models { pieces, buffer: Vec::new(), count: 0, size: is_more.then_some(CHUNK) };
        let mut now = Now { live: &live, fits: Fitting::new(fitting.as_ref(), query.asks_fits()) };
        select(reader, &query, sort, &mut now, |text| models.push(text))?;
        let is_left = now.fits.is_left;
        models.end()?;
        Ok(fitting.filter(|_| is_left))
    });
    let sending = async move {
        let mut is_begun = false;
        while let Some(piece) = waiting.recv().await {
            is_begun = true;
            out.send(&piece).await?;
        }
        anyhow::Ok(is_begun)
    };
    match tokio::join!(reading, sending) {
        (_, Err(error)) => Err(Failure::Broken(error)),
        (Ok(left), Ok(_)) => {
            left.iter().for_each(|view| hub.fit_the_rest(view));
            Ok(())
        }
        (Err(error), Ok(false)) => Err(refusal(error)),
        (Err(error), Ok(true)) => Err(Failure::Broken(error)), // the caller has half of an answer
    }
}

/// Messages of models, written as the index gives them.
struct Models {
    pieces: mpsc::Sender<Vec<u8>>,
    buffer: Vec<u8>,
    /// Models in this message.
    count: usize,
    /// Models in each message of a streamed answer.
    size: Option<usize>,
}

impl Models {
    fn push(&mut self, text: &str) -> anyhow::Result<()> {
        if self.size == Some(self.count) {
            self.close(br#"]},"continues":true}"#)?;
        }
        self.open();
        self.buffer.extend_from_slice(text.as_bytes());
        if self.buffer.len() >= PIECE { self.send() } else { Ok(()) }
    }

    fn end(mut self) -> anyhow::Result<()> {
        if self.count == 0 {
            self.buffer.extend_from_slice(START);
        }
        self.close(b"]}}")
    }

    fn open(&mut self) {
        self.buffer.extend_from_slice(if self.count == 0 { START } else { b"," });
        self.count += 1;
    }

    fn close(&mut self, end: &[u8]) -> anyhow::Result<()> {
        self.buffer.extend_from_slice(end);
        self.buffer.push(api::END);
        self.count = 0;
        self.send()
    }

    fn send(&mut self) -> anyhow::Result<()> {
        Ok(self.pieces.blocking_send(std::mem::take(&mut self.buffer))?)
    }
}

const START: &[u8] = br#"{"parameters":{"models":["#;

/// Puts in how far a download is; other models stay as they are encoded.
fn as_of_now<'a>(text: &'a str, live: &Live) -> Cow<'a, str> {
    if live.files.is_empty() || !text.contains(r#""progress":"#) {
        return text.into();
    }
    let Ok(mut model) = serde_json::from_str::<Model>(text) else { return text.into() };
    model.set_live(&live.files);
    serde_json::to_string(&model).map_or(text.into(), Cow::from)
}

/// How long a list works out itself what came since the background was through.
const OWN_WORK: Duration = Duration::from_millis(10);

/// How models fit, as far as a list is told.
pub(super) struct Fitting<'a> {
    view: Option<&'a View>,
    /// None: there is no end to it.
    until: Option<Instant>,
    /// Some are not known.
    is_left: bool,
}

impl<'a> Fitting<'a> {
    pub(super) fn new(view: Option<&'a View>, is_needed: bool) -> Self {
        let until = Some(Instant::now() + OWN_WORK).filter(|_| !is_needed);
        Self { view, until, is_left: false }
    }

    fn of(&mut self, reader: &Reader, text: &str) -> anyhow::Result<Option<Fit>> {
        let Some(view) = self.view else { return Ok(None) };
        if let Some(known) = view.of(text) {
            return Ok(known);
        }
        self.is_left = true;
        if self.until.is_some_and(|until| Instant::now() > until) {
            return Ok(None);
        }
        let found = reader.model(&id_of(text)?)?.map(|found| view.how(reader, found));
        Ok(found.transpose()?.flatten())
    }
}

/// What is put into the models of the index as they are sent.
pub(super) struct Now<'a> {
    pub(super) live: &'a Live,
    pub(super) fits: Fitting<'a>,
}

/// The id of an encoded model.
pub(super) fn id_of(text: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    Ok(serde_json::from_str::<Id>(text)?.id)
}

/// An encoded model, and how it fits.
fn with_fit(text: &str, fit: Option<Fit>) -> anyhow::Result<String> {
    let open = text.strip_suffix(r#","fits":null}"#).or_else(|| text.strip_suffix('}'));
    let open = open.context("a model is no object")?;
    Ok(format!("{open},\"fits\":{}}}", serde_json::to_string(&fit)?))
}

pub(super) fn bad(why: NotUnderstood) -> ApiError {
    ApiError::BadFilter { filter: why.filter, why: why.why }
}

/// Hands over the models that pass, as they are encoded, those that grow as they are now.
pub(super) fn select(
    reader: &Reader,
    query: &Query,
    sort: Option<Sort>,
    told: &mut Now<'_>,
    mut each: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let has_conditions = query.has_conditions();
    let asks_fits = query.asks_fits(); // else how a model fits is asked of those alone that are shown
    let mut places: Vec<(Place, i64, Option<Option<Fit>>)> = Vec::new();
    let mut take = |row: i64, rank: u32, text: &str| {
        let fit = if asks_fits { Some(told.fits.of(reader, text)?) } else { None };
        let shown = as_of_now(text, told.live);
        if has_conditions || sort.is_some() {
            let model = Model { fits: fit.flatten(), ..serde_json::from_str(&shown)? };
            if !query.passes(&model, now) {
                return Ok(());
            }
            if let Some(sort) = sort {
                places.push((sort.place(&model, rank), row, fit));
                return Ok(());
            }
        }
        let fit = fit.map_or_else(|| told.fits.of(reader, text), Ok)?;
        each(&with_fit(&shown, fit)?)
    };
    reader.begin()?; // one view of the index
    if query.words.is_empty() {
        reader.models(|row, text| take(row, 0, text))?;
    } else {
        let matching = reader.matching(&query.words)?;
        reader.models_of(&matching, |row, text| take(row, matching.get(&row).copied().unwrap_or(0), text))?;
    }
    if let Some(sort) = sort {
        places.sort_by(|(a, ..), (b, ..)| sort.compare(a, b));
        for (_, row, fit) in places {
            reader.model_at(row, |text| {
                let fit = fit.map_or_else(|| told.fits.of(reader, text), Ok)?;
                each(&with_fit(&as_of_now(text, told.live), fit)?)
            })?;
        }
    }
    reader.end()
}
