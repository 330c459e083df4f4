//! `modelctl duplicates`

use crate::{
    context::Context,
    table::{Column, Table},
    text::clean,
};
use anyhow::Result;
use api::{Duplicates, Request};
use clap::Args;
use domain::{
    ByteSize, Link, Role,
    duplicates::{CopyAt, Group, Sameness},
};
use std::io;

/// Show what is stored more than once, and what one copy of each would free
///
/// Copies are alike in every byte, or in their weights alone. Hard links and symlinks take their bytes once. Nothing
/// is removed: beside each copy that an app keeps records of stands the app's own way to remove it, where that removes
/// this copy alone and frees it; else what stands in the way.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl duplicates
  modelctl duplicates app=ollama 'size>4G'
  modelctl duplicates --json | jq '.groups[] | select(.certain) | .copies[].path'")]
pub(crate) struct DuplicatesArgs {
    /// Conditions that a model has to pass, as of `modelctl list`
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Also those of which nothing can be freed: links, and what hard links elsewhere keep
    #[arg(long)]
    all: bool,
}

impl DuplicatesArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let request =
            Request::Duplicates { filters: self.filters, environment: context.environment.callers() };
        let Some(answer) = context.ask::<Duplicates>(&request)? else { return Ok(()) };
        let (won, rest): (Vec<&Group>, Vec<&Group>) =
            answer.groups.iter().partition(|group| group.reclaimable > 0);
        let shown = if self.all { answer.groups.iter().collect() } else { won };
        if shown.is_empty() {
            writeln!(context.err, "nothing is stored twice that could be freed")?;
            return Ok(write_rest(&rest, context)?);
        }
        write_groups(&shown, context)?;
        writeln!(context.out)?;
        let (contents, bytes) = (answer.duplicates, ByteSize(answer.reclaimable));
        let what = if contents == 1 { "content takes" } else { "contents take" };
        writeln!(context.out, "{contents} {what} space more than once; one copy of each would free {bytes}")?;
        if !self.all {
            write_rest(&rest, context)?;
        }
        answer.notes.iter().try_for_each(|note| writeln!(context.err, "note: {}", clean(note)))?;
        writeln!(context.err, "hint: keep one copy; let an app remove what it holds in its own way")?;
        Ok(())
    }
}

fn write_rest(rest: &[&Group], context: &mut Context<'_>) -> io::Result<()> {
    match rest.len() {
        0 => Ok(()),
        1 => writeln!(context.err, "1 more has several paths and nothing to free: --all"),
        more => writeln!(context.err, "{more} more have several paths and nothing to free: --all"),
    }
}

fn write_groups(groups: &[&Group], context: &mut Context<'_>) -> io::Result<()> {
    let mut table = Table::new(
        [
            Column::Right("TO WIN"),
            Column::Right("EACH"),
            Column::Right("PATHS"),
            Column::Left("ALIKE"),
            Column::Left("NAME"),
        ],
        4,
    );
    for group in groups {
        let size = group.copies.first().map_or(0, |copy| copy.size);
        table.push([
            ByteSize(group.reclaimable).to_string(),
            ByteSize(size).to_string(),
            group.copies.len().to_string(),
            alike(group).to_owned(),
            name(group),
        ]);
    }
    let (faint, off) = (context.style.faint, context.style.off);
    let below = |out: &mut dyn io::Write, number: usize| {
        let copies = groups.get(number).into_iter().flat_map(|group| &group.copies);
        copies.into_iter().try_for_each(|copy| {
            let said = said(copy);
            writeln!(out, "  {}  {}{faint}{said}{off}", copy.app, clean(copy.path.text()))
        })
    };
    table.write_below(context.out, context.style, context.environment.width, below)
}

fn alike(group: &Group) -> &'static str {
    match (group.kind, group.certain) {
        (Sameness::Exact, true) => "exact",
        (Sameness::Exact, false) => "probable",
        (Sameness::SameWeights, _) => "weights",
    }
}

fn name(group: &Group) -> String {
    let first = group.models.first().map_or("", |model| &model.name);
    match group.models.len().saturating_sub(1) {
        0 => clean(first).into_owned(),
        more => format!("{} and {more} more", clean(first)),
    }
}

/// What is to be known of a copy besides its place.
fn said(copy: &CopyAt) -> String {
    let link = copy.link.filter(|link| *link != Link::Dangling).map(|link| link.to_string());
    let role = (copy.role != Role::Weights).then(|| copy.role.to_string());
    let offline = (!copy.online).then(|| "offline".to_owned());
    let elsewhere = copy.held_elsewhere.then(|| "a hard link elsewhere keeps it".to_owned());
    let remove = copy.remove.as_ref().map(|way| format!("remove: {}", clean(way)));
    let note = copy.remove_note.as_ref().map(|note| clean(note).into_owned());
    let reflink = copy.reflink.then(|| "shares the blocks of those above".to_owned());
    let parts = [role, link, reflink, offline, elsewhere, remove, note].into_iter().flatten();
    parts.map(|part| format!("  {part}")).collect()
}
