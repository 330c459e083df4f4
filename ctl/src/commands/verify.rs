//! `modelctl verify`

use crate::{
    context::Context,
    failure::Failure,
    style::Style,
    text::{clean, shorten},
};
use anyhow::Result;
use api::{Checked, CheckedSum, Job, Request, Verifying, client::ClientError};
use clap::Args;
use domain::{ByteSize, Verification};
use serde_json::value::{RawValue, to_raw_value};
use std::{collections::BTreeSet, ffi::OsString, io, path::PathBuf};

/// Compare the bytes of models with the SHA-256 that their sources recorded
///
/// Without a model: all that can be used. What was computed before is not computed again while the file is the same.
/// Exits with 1 where a file is not what was recorded; of a model that was named by a path, the file there.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl verify
  modelctl verify qwen3 llama3:8b
  modelctl verify qwen3 --again
  modelctl verify --json | jq '.results[] | select(.verification == \"mismatch\")'")]
pub(crate) struct VerifyArgs {
    /// Names, unique prefixes, aliases, ids, apps' handles, or paths
    #[arg(value_name = "MODEL")]
    models: Vec<OsString>,
    /// Read every byte again, also of files whose SHA-256 is known
    #[arg(long)]
    again: bool,
}

/// What a progress line may take where the terminal does not tell its width.
const PROGRESS_WIDTH: usize = 80;
const BAR: usize = 20;

impl VerifyArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let models: Vec<String> = self.models.iter().map(|typed| context.environment.model(typed)).collect();
        let request = Request::Verify { models: models.clone(), again: self.again };
        let mut results: Vec<Checked> = Vec::new();
        let mut client = context.connect()?;
        let is_shown = context.environment.stderr_is_terminal;
        let mut has_bar = false;
        client.stream(&request, |answer| {
            let update: Verifying = serde_json::from_str(answer.get()).map_err(ClientError::Garbled)?;
            if let Some(job) = update.progress.filter(|_| is_shown) {
                write_progress(&job, context)?;
                has_bar = true;
            }
            if let Some(checked) = update.results {
                results = checked;
                if context.json {
                    context
                        .print_json(&to_raw_value(&serde_json::from_str::<Document<'_>>(answer.get())?)?)?;
                }
            }
            anyhow::Ok(true)
        })?;
        if has_bar {
            write!(context.err, "\r\x1b[2K")?;
        }
        if !context.json {
            write(&results, context)?;
        }
        let (meant, others) = meant(&results, &models);
        if others.iter().any(|checked| checked.verification == Verification::Mismatch) {
            writeln!(context.err, "note: another copy of it is not what the source recorded")?;
        }
        outcome(&meant)
    }
}

/// The results as they came.
#[derive(serde::Deserialize, serde::Serialize)]
struct Document<'a> {
    #[serde(borrow)]
    results: &'a RawValue,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    sum: Option<&'a RawValue>,
}

/// The results that were asked for, and those of other copies: where a model was named by the path of one.
fn meant<'a>(results: &'a [Checked], typed: &[String]) -> (Vec<&'a Checked>, Vec<&'a Checked>) {
    let paths: Vec<PathBuf> =
        typed.iter().filter(|typed| typed.starts_with('/')).map(PathBuf::from).collect();
    let real = paths.iter().filter_map(|path| path.canonicalize().ok());
    let paths: Vec<PathBuf> = real.chain(paths.iter().cloned()).collect();
    let is_named = |checked: &Checked| {
        let path = checked.path.to_path();
        let real = path.canonicalize().ok();
        paths.iter().any(|named| path.starts_with(named) || real.as_ref() == Some(named))
    };
    let named: BTreeSet<&str> =
        results.iter().filter(|checked| is_named(checked)).map(|checked| &*checked.id).collect();
    results.iter().partition(|checked| !named.contains(&*checked.id) || is_named(checked))
}

fn write_progress(job: &Job, context: &mut Context<'_>) -> io::Result<()> {
    let share = u128::from(job.done) * BAR as u128 / u128::from(job.total.max(1));
    let filled = usize::try_from(share).unwrap_or(BAR).min(BAR);
    let (done, total) = (ByteSize(job.done), ByteSize(job.total));
    let name = job.name.as_deref().map(clean).unwrap_or_default();
    let words = format!("[{}{}] {done} of {total}  {name}", "#".repeat(filled), " ".repeat(BAR - filled));
    let room = context.environment.width.unwrap_or(PROGRESS_WIDTH).saturating_sub(1);
    write!(context.err, "\r\x1b[2K{}", shorten(&words, room))?;
    context.err.flush()
}

fn write(results: &[Checked], context: &mut Context<'_>) -> io::Result<()> {
    if results.is_empty() {
        return writeln!(context.err, "no files to verify\nhint: `modelctl list` shows what there is");
    }
    let Style { good, bad, faint, off, .. } = context.style;
    let mut last = None;
    for checked in results {
        if last != Some(&checked.id) {
            writeln!(context.out, "{}", clean(&checked.model))?;
        }
        last = Some(&checked.id);
        let (colour, word) = match checked.verification {
            Verification::Verified => (good, "verified"),
            Verification::Mismatch => (bad, "MISMATCH"),
            Verification::Unverified if checked.actual.is_none() => (faint, "unread"),
            Verification::Unverified => (faint, "unverified"),
        };
        writeln!(context.out, "  {colour}{word:<10}{off}  {}", clean(checked.path.text()))?;
        for (label, words) in details(checked) {
            writeln!(context.out, "              {faint}{label}{off} {}", clean(&words))?;
        }
    }
    writeln!(context.out, "\n{}", summed(CheckedSum::of(results)))
}

fn summed(CheckedSum { verified, mismatch, unrecorded, unread }: CheckedSum) -> String {
    let parts = [
        (verified, "verified"),
        (mismatch, "not what the source recorded"),
        (unrecorded, "read, with no SHA-256 recorded by a source"),
        (unread, "unread"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let files = match verified + mismatch + unrecorded + unread {
        1 => "1 file".to_owned(),
        all => format!("{all} files"),
    };
    format!("{files}: {}", parts.collect::<Vec<_>>().join(", "))
}

/// What of a result is not said by its first line.
fn details(checked: &Checked) -> Vec<(&'static str, String)> {
    let actual = || checked.actual.clone().unwrap_or_default();
    match checked.verification {
        Verification::Verified => vec![("sha256  ", actual())],
        Verification::Mismatch => {
            let expected = checked.expected.clone().unwrap_or_default();
            vec![("expected", format!("{expected} (recorded by {})", checked.app)), ("actual  ", actual())]
        }
        Verification::Unverified => match &checked.reason {
            Some(reason) => vec![("because ", reason.clone())],
            None => vec![("sha256  ", format!("{} (no source recorded one)", actual()))],
        },
    }
}

fn outcome(results: &[&Checked]) -> Result<()> {
    let hint = |words: &str| Some(words.to_owned());
    let wrong: Vec<&&Checked> =
        results.iter().filter(|checked| checked.verification == Verification::Mismatch).collect();
    if !wrong.is_empty() {
        let files = if wrong.len() == 1 { "file is" } else { "files are" };
        let why = format!("{} {files} not what the source recorded", wrong.len());
        let lines = wrong.iter().map(|checked| checked.path.text().to_owned()).collect();
        let hint = hint(
            "they were changed or damaged since: get them anew, or keep them if you changed them yourself",
        );
        return Err(Failure::Differs { why, lines, hint }.into());
    }
    let unread = results.iter().find(|checked| checked.actual.is_none());
    match unread.filter(|_| results.iter().all(|checked| checked.actual.is_none())) {
        None => Ok(()),
        Some(checked) => {
            let why = format!(
                "nothing could be read: {}",
                checked.reason.as_deref().unwrap_or("no reason is known")
            );
            let lines = vec![checked.path.text().to_owned()];
            Err(Failure::Differs { why, lines, hint: None }.into())
        }
    }
}
