//! `modelctl events`

use crate::{context::Context, text::clean, wording};
use anyhow::Result;
use api::{Request, client::ClientError};
use clap::Args;
use domain::{ByteSize, Progress};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io;

/// Print what happens, as it happens
///
/// One line an event; with --json one object a line. The first, Listening, says that everything after it is told.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl events
  modelctl events --json | jq -r 'select(.event == \"ModelAdded\") | .model.name'")]
pub(crate) struct EventsArgs {}

/// What a line shows; an event that a newer daemon invented still has its name.
#[derive(Deserialize)]
struct Line {
    at: String,
    event: String,
    model: Option<Subject>,
    run: Option<Run>,
    job: Option<Job>,
    hardware: Option<Machine>,
}

/// What may be taken now.
#[derive(Deserialize)]
struct Machine {
    gpus: Vec<Gpu>,
    ram: Ram,
}

#[derive(Deserialize)]
struct Gpu {
    id: String,
    free: u64,
}

#[derive(Deserialize)]
struct Ram {
    available: u64,
}

#[derive(Deserialize)]
struct Job {
    job: String,
    name: Option<String>,
    done: u64,
    total: u64,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    state: Option<String>,
    progress: Option<Progress>,
}

#[derive(Deserialize)]
struct Run {
    run: String,
    engine: String,
    model: Subject,
    state: String,
    url: Option<String>,
}

impl EventsArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let Self {} = self;
        context.follow(&Request::Events {}, |event, context| {
            if context.json {
                context.print_json(event)?;
            } else {
                print(event, context)?;
            }
            Ok(())
        })
    }
}

fn print(event: &RawValue, context: &mut Context<'_>) -> Result<()> {
    let line: Line = serde_json::from_str(event.get()).map_err(ClientError::Garbled)?;
    write!(context.out, "{}  {}", clean(&line.at), clean(&line.event))?;
    if let Some(model) = &line.model {
        write!(context.out, "  {}", clean(&model.name))?;
        if let Some(state) = model.state.as_deref().filter(|state| *state != "ok") {
            write!(context.out, "  {}", clean(state))?;
        }
        if let Some(progress) = &model.progress {
            write!(context.out, "  {}", wording::progress(progress))?;
        }
    }
    if let Some(run) = &line.run {
        let words = [&run.run, &run.state, &run.engine, &run.model.name];
        words.into_iter().chain(&run.url).try_for_each(|word| write!(context.out, "  {}", clean(word)))?;
    }
    if let Some(Job { job, name, done, total }) = &line.job {
        write!(context.out, "  {}  {} of {}", clean(job), ByteSize(*done), ByteSize(*total))?;
        name.iter().try_for_each(|name| write!(context.out, "  {}", clean(name)))?;
    }
    if let Some(Machine { gpus, ram }) = &line.hardware {
        write!(context.out, "  memory {} free", ByteSize(ram.available))?;
        gpus.iter()
            .try_for_each(|gpu| write!(context.out, "  {} {} free", clean(&gpu.id), ByteSize(gpu.free)))?;
    }
    end_line(context)?;
    Ok(())
}

fn end_line(context: &mut Context<'_>) -> io::Result<()> {
    writeln!(context.out)?;
    context.out.flush()
}
