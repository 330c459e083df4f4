//! `modelctl` alone: the home screen.

use super::roots::write_roots;
use crate::{
    context::Context,
    style::Style,
    text::{clean, wrapped},
    wording,
};
use anyhow::Result;
use api::{Download, Overview, Problem, Request};
use domain::{ByteSize, Safety, Verification, engines};
use std::io;

/// More is read with `modelctl list state!=ok`.
const PROBLEMS: usize = 5;

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let Some(overview) = context.ask::<Overview>(&Request::Overview {})? else { return Ok(()) };
    if overview.models == 0 {
        return Ok(write_empty(&overview, context)?);
    }
    write_summary(&overview, context)?;
    writeln!(context.out)?;
    write_roots(&overview.roots, context)?;
    write_downloads(&overview, context)?;
    write_problems(&overview, context)?;
    write_notices(&overview, context)?;
    write_runs(&overview, context)?;
    Ok(write_next(&overview, context)?)
}

fn write_summary(overview: &Overview, context: &mut Context<'_>) -> io::Result<()> {
    let Overview { models, locations, disk_size, duplicates, reclaimable, scanning, .. } = overview;
    let Style { strong, off, .. } = context.style;
    let places = if locations == models { String::new() } else { format!(" in {locations} places") };
    let still = if *scanning { ", still looking" } else { "" };
    let size = ByteSize(*disk_size);
    let out = &mut *context.out;
    writeln!(out, "{strong}{}{off}{places}, {size} on disk{still}", wording::models(*models))?;
    if *duplicates > 0 {
        let what = if *duplicates == 1 { "1 is".to_owned() } else { format!("{duplicates} are") };
        writeln!(out, "{what} stored more than once: one copy each would free {}", ByteSize(*reclaimable))?;
    }
    if let (Some(total), Some(available)) = (overview.ram_total, overview.ram_available) {
        writeln!(out, "memory: {} of {} available", ByteSize(available), ByteSize(total))?;
    }
    for job in &overview.jobs {
        let at = job.name.as_deref().map_or_else(String::new, |name| format!(", at {}", clean(name)));
        writeln!(out, "{}: {} of {}{at}", clean(&job.job), ByteSize(job.done), ByteSize(job.total))?;
    }
    Ok(())
}

fn write_downloads(overview: &Overview, context: &mut Context<'_>) -> io::Result<()> {
    if overview.downloads.is_empty() {
        return Ok(());
    }
    title(context, "DOWNLOADING")?;
    for Download { name, progress, .. } in &overview.downloads {
        let how_far = progress.as_ref().map(wording::progress).unwrap_or_default();
        writeln!(context.out, "{}  {how_far}", clean(name))?;
    }
    Ok(())
}

fn write_problems(overview: &Overview, context: &mut Context<'_>) -> io::Result<()> {
    if overview.problems.is_empty() {
        return Ok(());
    }
    title(context, "PROBLEMS")?;
    let Style { warn, off, .. } = context.style;
    for problem in overview.problems.iter().take(PROBLEMS) {
        let (word, reason) = told(problem);
        let reason = reason.map_or_else(String::new, |reason| format!(": {}", clean(reason)));
        writeln!(context.out, "{}  {warn}{word}{off}{reason}", clean(&problem.name))?;
    }
    let more = overview.problems.len().saturating_sub(PROBLEMS);
    if more > 0 {
        writeln!(context.out, "and {more} more: modelctl list 'state!=ok'")?;
    }
    Ok(())
}

/// The worst of a model, and why: as STATE of the list has it.
fn told(problem: &Problem) -> (&'static str, Option<&str>) {
    if problem.danger.is_some() {
        return (Safety::Dangerous.name(), problem.danger.as_deref());
    }
    let mismatch = problem.verification.filter(|told| *told == Verification::Mismatch);
    (mismatch.map_or(problem.state.name(), Verification::name), problem.reason.as_deref())
}

fn write_notices(overview: &Overview, context: &mut Context<'_>) -> io::Result<()> {
    if overview.notices.is_empty() {
        return Ok(());
    }
    title(context, "NOTICES")?;
    let room = context.environment.width;
    let lines = overview.notices.iter().flat_map(|notice| wrapped(&clean(notice), room));
    lines.into_iter().try_for_each(|line| writeln!(context.out, "{line}"))
}

fn write_runs(overview: &Overview, context: &mut Context<'_>) -> io::Result<()> {
    if overview.runs.is_empty() {
        return Ok(());
    }
    title(context, "RUNNING")?;
    for run in &overview.runs {
        let state = super::ps::state(run.state);
        let since = wording::ago(context.environment.now, run.since);
        let (name, engine) = (clean(&run.model.name), clean(&run.engine));
        let url = run.url.as_deref().map_or_else(String::new, |url| format!("  {}", clean(url)));
        writeln!(context.out, "{}  {name}  {engine}  {state}, {since}{url}", clean(&run.run))?;
    }
    Ok(())
}

fn write_next(overview: &Overview, context: &mut Context<'_>) -> io::Result<()> {
    let engine = engines::ENGINES.first().map_or("ENGINE", |engine| engine.name());
    let third =
        if overview.problems.is_empty() { "modelctl show MODEL" } else { "modelctl list 'state!=ok'" };
    title(context, "NEXT")?;
    writeln!(context.out, "modelctl list\n{third}\nmodelctl launch {engine} MODEL")
}

/// Nothing found: where was looked, and what to do now.
fn write_empty(overview: &Overview, context: &mut Context<'_>) -> io::Result<()> {
    let Style { strong, off, .. } = context.style;
    let still = if overview.scanning { " yet; still looking" } else { "" };
    writeln!(context.out, "{strong}no models{off}{still}")?;
    if overview.roots.is_empty() {
        writeln!(context.out, "no folder of any known app was found, and no other place was added")?;
    } else {
        title(context, "LOOKED IN")?;
        write_roots(&overview.roots, context)?;
    }
    write_notices(overview, context)?;
    title(context, "NEXT")?;
    writeln!(
        context.out,
        "modelctl roots suggest    look for folders of models elsewhere\n\
         modelctl roots add DIR    where your models are\nmodelctl inspect FILE     what a file is\n\
         modelctl events           watch them being found"
    )
}

fn title(context: &mut Context<'_>, words: &str) -> io::Result<()> {
    let Style { strong, off, .. } = context.style;
    writeln!(context.out, "\n{strong}{words}{off}")
}
