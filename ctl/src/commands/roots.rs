//! `modelctl roots`

use crate::{
    context::Context,
    table::{Column, Table},
    text::clean,
    wording,
};
use anyhow::Result;
use api::{Added, Request, Roots, Suggested};
use clap::{Args, Subcommand};
use domain::{ByteSize, RootStatus, WirePath};
use serde::de::IgnoredAny;
use std::{io, path::PathBuf};

/// Show where models are looked for and how well that works; add a place, remove one
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
EXAMPLES:
  modelctl roots
  modelctl roots add /mnt/big/models
  modelctl roots suggest
  modelctl roots --json | jq '.roots[] | select(.watched | not)'"
)]
pub(crate) struct RootsArgs {
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(Debug, Subcommand)]
enum Change {
    Add(AddArgs),
    Remove(RemoveArgs),
    Suggest(SuggestArgs),
}

/// Look for models in a directory from now on
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  modelctl roots add /mnt/big/models")]
struct AddArgs {
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Look for models in a directory no longer; nothing on disk is touched
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  modelctl roots remove /mnt/big/models")]
struct RemoveArgs {
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Show folders of the home and of other disks that look as if they held models and are not looked at; adds nothing
#[derive(Debug, Args)]
#[command(
    after_help = "EXAMPLES:\n  modelctl roots suggest\n  modelctl roots suggest --json | jq -r '.suggestions[].command'"
)]
struct SuggestArgs {}

impl RootsArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let absolute = |directory: PathBuf| WirePath::from(&*context.environment.absolute(&directory));
        match self.change {
            None => {
                let Some(Roots { roots }) = context.ask(&Request::Roots {})? else { return Ok(()) };
                Ok(write_roots(&roots, context)?)
            }
            Some(Change::Add(AddArgs { directory })) => {
                let path = absolute(directory);
                let Some(Added { root }) = context.ask(&Request::AddRoot { path })? else { return Ok(()) };
                Ok(write_roots(&[root], context)?)
            }
            Some(Change::Suggest(SuggestArgs {})) => {
                let Some(suggested) = context.ask(&Request::SuggestRoots {})? else { return Ok(()) };
                Ok(write_suggested(&suggested, context)?)
            }
            Some(Change::Remove(RemoveArgs { directory })) => {
                let path = absolute(directory);
                context.ask::<IgnoredAny>(&Request::RemoveRoot { path })?;
                Ok(())
            }
        }
    }
}

pub(super) fn write_roots(roots: &[RootStatus], context: &mut Context<'_>) -> io::Result<()> {
    if roots.is_empty() {
        return writeln!(context.err, "no roots\nhint: modelctl roots add DIR");
    }
    let mut table = Table::new(
        [
            Column::Left("PATH"),
            Column::Left("APP"),
            Column::Left("STATE"),
            Column::Right("MODELS"),
            Column::Right("SIZE"),
        ],
        0,
    );
    for root in roots {
        table.push([
            clean(&context.environment.shown(root.path.text())).into_owned(),
            root.app.to_string(),
            state(root, context),
            root.models.to_string(),
            ByteSize(root.bytes).to_string(),
        ]);
    }
    let (faint, off) = (context.style.faint, context.style.off);
    let environment = context.environment;
    let below = |out: &mut dyn io::Write, number: usize| {
        let Some(root) = roots.get(number) else { return Ok(()) };
        if let Some(from) = &root.derived_from {
            writeln!(out, "  {faint}linked from {}{off}", clean(&environment.shown(from)))?;
        }
        root.reason
            .iter()
            .flat_map(|reason| reason.lines())
            .try_for_each(|line| writeln!(out, "  {}", clean(line)))
    };
    table.write_below(context.out, context.style, context.environment.width, below)
}

fn write_suggested(suggested: &Suggested, context: &mut Context<'_>) -> io::Result<()> {
    let Suggested { suggestions, looked, complete } = suggested;
    if !complete {
        writeln!(context.err, "not everything was looked at: the look was ended after {looked} folders")?;
    }
    if suggestions.is_empty() {
        return writeln!(context.err, "nothing found in {looked} folders that is not looked at already");
    }
    let columns = [Column::Left("PATH"), Column::Left("APP"), Column::Right("FILES"), Column::Right("SIZE")];
    let mut table = Table::new(columns, 0);
    for one in suggestions {
        let path = clean(&context.environment.shown(one.path.text())).into_owned();
        let app = one.app.to_string();
        table.push([path, app, one.models.to_string(), ByteSize(one.bytes).to_string()]);
    }
    let (faint, off) = (context.style.faint, context.style.off);
    let below = |out: &mut dyn io::Write, number: usize| {
        let Some(one) = suggestions.get(number) else { return Ok(()) };
        one.evidence.iter().try_for_each(|evidence| writeln!(out, "  {faint}{}{off}", clean(evidence)))?;
        writeln!(out, "  {}", clean(&one.command))
    };
    table.write_below(context.out, context.style, context.environment.width, below)
}

fn state(root: &RootStatus, context: &Context<'_>) -> String {
    match (root.online, root.offline_since) {
        (false, Some(since)) => format!("offline, {}", wording::ago(context.environment.now, since)),
        (false, None) => "offline".into(),
        (true, _) if root.watched && root.degraded => "watched in part".into(),
        (true, _) if root.watched => "watched".into(),
        (true, _) => "polled".into(),
    }
}
