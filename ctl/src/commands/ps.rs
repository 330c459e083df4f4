//! `modelctl ps`

use crate::{
    context::Context,
    table::{Column, Table},
    text::clean,
    wording,
};
use anyhow::Result;
use api::{Request, Run, RunState, Runs};
use clap::Args;
use domain::ByteSize;
use std::io;

/// Show what runs, and what has ended lately
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl ps
  modelctl ps --json | jq -r '.runs[] | select(.state == \"ready\") | .url'")]
pub(crate) struct PsArgs {}

impl PsArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let Self {} = self;
        let Some(Runs { runs }) = context.ask(&Request::Ps {})? else { return Ok(()) };
        if runs.is_empty() {
            let engine = domain::engines::ENGINES.first().map_or("ENGINE", |engine| engine.name());
            writeln!(context.err, "nothing runs\nhint: modelctl launch {engine} MODEL --detach")?;
            return Ok(());
        }
        Ok(write(&runs, context)?)
    }
}

fn write(runs: &[Run], context: &mut Context<'_>) -> io::Result<()> {
    let mut table = Table::new(
        [
            Column::Left("RUN"),
            Column::Left("MODEL"),
            Column::Left("ENGINE"),
            Column::Left("STATE"),
            Column::Right("PID"),
            Column::Right("CTX"),
            Column::Right("MEMORY"),
            Column::Left("SINCE"),
            Column::Left("URL"),
        ],
        1,
    );
    for run in runs {
        let memory: u64 = run.memory.values().sum();
        table.push([
            clean(&run.run).into_owned(),
            clean(&run.model.name).into_owned(),
            clean(&run.engine).into_owned(),
            state(run.state).into(),
            run.pid.map_or_else(String::new, |pid| pid.to_string()),
            run.ctx.map_or_else(String::new, wording::tokens),
            if memory == 0 { String::new() } else { ByteSize(memory).to_string() },
            wording::ago(context.environment.now, run.since),
            run.url
                .as_deref()
                .filter(|_| run.state.is_live())
                .map_or_else(String::new, |url| clean(url).into_owned()),
        ]);
    }
    let below = |out: &mut dyn io::Write, number: usize| {
        let Some(run) = runs.get(number) else { return Ok(()) };
        let told = run.notes.iter().filter(|_| run.state.is_live()).chain(&run.why).chain(&run.hint);
        told.map(|line| clean(line)).try_for_each(|line| writeln!(out, "  {line}"))
    };
    table.write_below(context.out, context.style, context.environment.width, below)
}

pub(super) fn state(state: RunState) -> &'static str {
    match state {
        RunState::Starting => "starting",
        RunState::Ready => "ready",
        RunState::Stopping => "stopping",
        RunState::Exited => "exited",
        RunState::Failed => "failed",
    }
}
