//! `modelctl engines`

use super::hardware::devices;
use crate::{
    context::Context,
    failure::how_to_install,
    table::{Column, Table},
    text::clean,
};
use anyhow::Result;
use api::{AddedEngine, EngineStatus, Engines, Request};
use clap::{Args, Subcommand};
use domain::WirePath;
use serde::de::IgnoredAny;
use std::{io, path::PathBuf};

/// Show the engines that can run models, where they were found and what they see; remember one, forget one
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
EXAMPLES:
  modelctl engines
  modelctl engines add ~/llama.cpp/build/bin/llama-server
  modelctl engines --json | jq -r '.engines[] | select(.found) | .program'"
)]
pub(crate) struct EnginesArgs {
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(Debug, Subcommand)]
enum Change {
    Add(AddArgs),
    Remove(RemoveArgs),
}

/// Remember an engine that is not on your PATH; it is run with --help to see what it is
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  modelctl engines add ~/llama.cpp/build/bin/llama-server\n  \
                        modelctl engines add ~/llama.cpp/build/bin")]
struct AddArgs {
    /// The program, or the folder that it is in
    path: PathBuf,
}

/// Forget an engine that was added; its files are not touched
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES:\n  modelctl engines remove ~/llama.cpp/build/bin/llama-server\n  \
                        modelctl engines remove ~/llama.cpp/build/bin")]
struct RemoveArgs {
    /// The program, as modelctl engines shows it, or the folder that was added
    path: PathBuf,
}

impl EnginesArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let environment = context.environment.callers();
        let absolute = |path: PathBuf| WirePath::from(&*context.environment.absolute(&path));
        match self.change {
            None => {
                let Some(Engines { engines }) = context.ask(&Request::Engines { environment })? else {
                    return Ok(());
                };
                Ok(write_engines(&engines, context)?)
            }
            Some(Change::Add(AddArgs { path })) => {
                let request = Request::AddEngine { path: absolute(path), environment };
                let Some(AddedEngine { engine }) = context.ask(&request)? else { return Ok(()) };
                Ok(write_engines(&[engine], context)?)
            }
            Some(Change::Remove(RemoveArgs { path })) => {
                context.ask::<IgnoredAny>(&Request::RemoveEngine { path: absolute(path) })?;
                Ok(())
            }
        }
    }
}

fn write_engines(engines: &[EngineStatus], context: &mut Context<'_>) -> io::Result<()> {
    let mut table = Table::new(
        [
            Column::Left("ENGINE"),
            Column::Left("STATE"),
            Column::Left("SEES"),
            Column::Left("PROGRAM"),
            Column::Left("VERSION"),
        ],
        4,
    );
    for engine in engines {
        let state = match (engine.found, engine.added) {
            (false, _) => "not found",
            (true, true) => "added",
            (true, false) => "found",
        };
        table.push([
            clean(&engine.engine).into_owned(),
            state.into(),
            if engine.found { devices(&engine.devices) } else { String::new() },
            engine.program.as_deref().map(|program| clean(program).into_owned()).unwrap_or_default(),
            engine.version.as_deref().map(|version| clean(version).into_owned()).unwrap_or_default(),
        ]);
    }
    let below = |out: &mut dyn io::Write, number: usize| {
        let Some(engine) = engines.get(number) else { return Ok(()) };
        if !engine.found {
            let looked: Vec<_> = engine.looked.iter().map(|place| clean(place)).collect();
            writeln!(out, "  looked in {}", looked.join(" "))?;
            writeln!(out, "  {}", how_to_install(&engine.engine))?;
        }
        engine.note.iter().try_for_each(|note| writeln!(out, "  {}", clean(note)))
    };
    table.write_below(context.out, context.style, context.environment.width, below)
}
