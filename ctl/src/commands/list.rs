//! `modelctl list`

use crate::{
    context::Context,
    table::{Column, Table},
    text::clean,
    wording,
};
use anyhow::Result;
use api::{
    Request,
    client::{self, ClientError},
};
use clap::Args;
use domain::{ByteSize, Progress, State, plan::Fit};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::HashMap};

/// List the models
///
/// A model is listed when it passes every filter. A filter is FIELD=VALUE or FIELD!=VALUE (name format kind app arch
/// family quant state license spdx license-class tag repo source base can safety verification owner id path root fits;
/// several values with commas, * and ? in them stand for any text and any character, an empty one for what is not
/// known; fits is gpu, partial, cpu or no), a number with < <= > >= (size disk params ctx bpw), an age (unused>90d used<7d added<7d), one of pinned
/// dup offline partial verified unverified used unused fits, or a word that is looked for in names, handles, paths, tags,
/// notes and model cards. A leading ! turns any of them round.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl list
  modelctl list format=gguf app=ollama,lmstudio
  modelctl list arch=qwen3 'size>4G' coder
  modelctl list 'unused>90d' --sort size
  modelctl list fits=gpu,partial 'ctx>=32k'
  modelctl list 'name=qwen3*' '!offline' root=/mnt/big
  modelctl list coding assistant --sort match
  modelctl list 'state!=ok' --json")]
pub(crate) struct ListArgs {
    /// Conditions that a model has to pass
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Sort by name, match, size, disk, params, ctx, bpw, quant, app, state, used or added; -KEY the other way
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    sort: Option<String>,
}

/// What the table needs of a model; the rest is skipped unread.
#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    architecture: Option<Text<'a>>,
    parameters: Option<u64>,
    active_parameters: Option<u64>,
    #[serde(borrow)]
    quant: Option<Text<'a>>,
    context_length: Option<u64>,
    size: u64,
    #[serde(borrow)]
    state: Text<'a>,
    #[serde(borrow, default)]
    safety: Option<Text<'a>>,
    #[serde(borrow)]
    verification: Text<'a>,
    pinned: bool,
    #[serde(borrow)]
    locations: Vec<Place<'a>>,
    progress: Option<Progress>,
    #[serde(default)]
    fits: Option<Fit>,
}

#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow)]
    app: Text<'a>,
}

/// Borrows where the JSON has no escapes, also inside an `Option`, where a bare `Cow` would not.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    models: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct RawPart<'a> {
    #[serde(borrow)]
    models: &'a RawValue,
}

impl ListArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let environment = context.environment.callers();
        let request = Request::List { filters: self.filters, sort: self.sort, environment };
        if context.json { print_json(&request, context) } else { print_table(&request, context) }
    }
}

const NAME: usize = 1;
const ID: usize = 2;
const ARCH: usize = 3;
const PARAMS: usize = 4;
const QUANT: usize = 5;
const CTX: usize = 6;
const FITS: usize = 8;
const STATE: usize = 9;
const APPS: usize = 10;

/// The name has to be typed: the rest gives way first.
const GIVE_WAY: &[(usize, usize)] = &[
    (APPS, 9),
    (ARCH, 8),
    (STATE, 15),
    (QUANT, 8),
    (NAME, 36),
    (CTX, 0),
    (PARAMS, 0),
    (ARCH, 0),
    (QUANT, 0),
    (NAME, 24),
    (APPS, 0),
    (FITS, 0),
    (NAME, 8),
];

/// Enough of an id to mean one model of many thousands.
const SHORT_ID: usize = 8;

fn print_table(request: &Request, context: &mut Context<'_>) -> Result<()> {
    let is_filtered = matches!(request, Request::List { filters, .. } if !filters.is_empty());
    let mut table = Table::giving_way(
        [
            Column::Left(""),
            Column::Left("NAME"),
            Column::Left("ID"),
            Column::Left("ARCH"),
            Column::Right("PARAMS"),
            Column::Left("QUANT"),
            Column::Right("CTX"),
            Column::Right("SIZE"),
            Column::Left("FITS"),
            Column::Left("STATE"),
            Column::Left("APPS"),
        ],
        GIVE_WAY,
    );
    let mut ids: Vec<String> = Vec::new();
    context.connect()?.stream_text(request, |answer| {
        let (Part { models }, continues) = client::read(answer)?;
        for row in &models {
            table.push(row.cells());
            ids.push(clean(&row.id.0).chars().take(SHORT_ID).collect());
        }
        anyhow::Ok(continues)
    })?;
    if table.is_empty() {
        let hint = if is_filtered {
            "`modelctl list` shows all"
        } else {
            "`modelctl` shows where they were looked for"
        };
        writeln!(context.err, "no models\nhint: {hint}")?;
        return Ok(());
    }
    tell_apart(&mut table, ids);
    let width = context.environment.width;
    if !table.fits(width) {
        let apps: Vec<String> = table.column(APPS).map(first_of).collect();
        table.replace(APPS, apps);
    }
    let is_offline: Vec<bool> = table.column(STATE).map(|state| state == State::Offline.name()).collect();
    let is_faint = |number: usize| is_offline.get(number) == Some(&true);
    table.write_greyed(context.out, context.style, width, is_faint)?;
    Ok(())
}

/// Gives models of the same name the id that means only one of them.
fn tell_apart<const N: usize>(table: &mut Table<N>, ids: Vec<String>) {
    let mut count: HashMap<&str, usize> = HashMap::new();
    for name in table.column(NAME) {
        *count.entry(name).or_default() += 1;
    }
    let is_shared: Vec<bool> =
        table.column(NAME).map(|name| count.get(name).is_some_and(|count| *count > 1)).collect();
    let ids = ids.into_iter().zip(is_shared);
    table.replace(ID, ids.map(|(id, is_shared)| if is_shared { id } else { String::new() }));
}

/// The first of several apps, and how many more there are.
fn first_of(apps: &str) -> String {
    match apps.split_once(',') {
        Some((first, rest)) => format!("{first} +{}", rest.split(',').count()),
        None => apps.to_owned(),
    }
}

impl Row<'_> {
    fn cells(&self) -> [String; 11] {
        let text =
            |text: &Option<Text<'_>>| text.as_ref().map_or_else(String::new, |t| clean(&t.0).into_owned());
        [
            if self.pinned { "*".into() } else { String::new() },
            clean(&self.name.0).into_owned(),
            String::new(),
            text(&self.architecture),
            wording::parameters(self.parameters, self.active_parameters),
            text(&self.quant),
            self.context_length.map_or_else(String::new, wording::tokens),
            ByteSize(self.size).to_string(),
            self.fits.as_ref().map_or_else(String::new, wording::fit),
            self.state(),
            self.apps(),
        ]
    }

    /// What is not as it should be; that loading it runs code comes first.
    fn state(&self) -> String {
        let safety = self.safety.as_ref().map(|safety| &*safety.0).filter(|safety| *safety != "tensors_only");
        // Bytes that are not those that were recorded: nothing else that is said of them may be true.
        let is_mismatch = self.verification.0 == "mismatch";
        let state = if is_mismatch { &*self.verification.0 } else { &*self.state.0 };
        let state = Some(state).filter(|state| match safety {
            None => *state != "ok",
            Some(_) => !matches!(*state, "ok" | "ok_with_warning"),
        });
        let words: Vec<&str> = safety.into_iter().chain(state).collect();
        let words = clean(&words.join(",")).into_owned();
        match &self.progress {
            Some(progress) => [words, wording::progress_short(progress)].join(" ").trim_end().to_owned(),
            None => words,
        }
    }

    fn apps(&self) -> String {
        let mut apps: Vec<&str> = Vec::new();
        for place in &self.locations {
            if !apps.contains(&&*place.app.0) {
                apps.push(&place.app.0);
            }
        }
        clean(&apps.join(",")).into_owned()
    }
}

/// Prints one document: an answer that came whole as it came, one in parts with its parts joined.
fn print_json(request: &Request, context: &mut Context<'_>) -> Result<()> {
    let mut first: Option<Box<RawValue>> = None;
    let mut parts = 0;
    let mut separator = "";
    let mut client = context.connect()?;
    client.stream(request, |part| {
        parts += 1;
        let Some(held) = &first else {
            first = Some(part.to_owned());
            return anyhow::Ok(true);
        };
        if parts == 2 {
            let elements = elements(held)?;
            write!(context.out, "{{\"models\":[{elements}")?;
            separator = if elements.is_empty() { "" } else { "," };
        }
        let elements = elements(part)?;
        if !elements.is_empty() {
            write!(context.out, "{separator}{elements}")?;
            separator = ",";
        }
        Ok(true)
    })?;
    match first {
        Some(whole) if parts == 1 => context.print_json(&whole)?,
        _ => writeln!(context.out, "]}}")?,
    }
    Ok(())
}

/// What stands between the brackets of the part's list.
fn elements(part: &RawValue) -> Result<&str, ClientError> {
    let RawPart { models } = serde_json::from_str(part.get())?;
    let text = models.get().trim();
    Ok(text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).trim())
}
