//! `modelctl stop`

use crate::{context::Context, text::clean};
use anyhow::Result;
use api::{
    Request, RunState, Runs, Stopped,
    client::{Client, ClientError},
};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// Stop runs; returns when nothing of them is left
///
/// With --json one document: what ps tells of the run, and of several or with --all a list of them.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl stop r4hx2ka
  modelctl stop qwen3
  modelctl stop --all")]
pub(crate) struct StopArgs {
    /// A run's word as ps shows it, the start of it, or its model
    #[arg(required_unless_present = "all", value_name = "RUN")]
    runs: Vec<String>,
    /// Stop everything that runs
    #[arg(long, conflicts_with = "runs")]
    all: bool,
}

impl StopArgs {
    /// The first that cannot be stopped does not keep the others running; it is told at the end.
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let mut client = context.connect()?;
        let runs = if self.all { live(&mut client)? } else { self.runs };
        if runs.is_empty() && !context.json {
            writeln!(context.err, "nothing runs")?;
        }
        let is_list = self.all || runs.len() > 1;
        let (mut stopped, mut failed) = (Vec::new(), None);
        for run in runs {
            match stop(&mut client, run, context) {
                Ok(reply) => stopped.push(reply),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if context.json {
            print(&stopped, is_list, context)?;
        }
        failed.map_or(Ok(()), Err)
    }
}

fn live(client: &mut Client) -> Result<Vec<String>> {
    let Runs { runs } = client.ask(&Request::Ps {})?;
    Ok(runs.into_iter().filter(|run| run.state.is_live()).map(|run| run.run).collect())
}

/// Stops a run and says so; with `--json` that comes at the end.
fn stop(client: &mut Client, run: String, context: &mut Context<'_>) -> Result<Box<RawValue>> {
    let reply = client.ask_raw(&Request::Stop { run })?;
    if !context.json {
        let Stopped { run } = serde_json::from_str(reply.get()).map_err(ClientError::Garbled)?;
        let how = if run.state == RunState::Exited { "stopped" } else { super::ps::state(run.state) };
        writeln!(context.out, "{}  {}  {how}", clean(&run.run), clean(&run.model.name))?;
        context.out.flush()?;
    }
    Ok(reply)
}

/// One document: the reply of one run that was named, else a list as `ps` prints it.
fn print(stopped: &[Box<RawValue>], is_list: bool, context: &mut Context<'_>) -> Result<()> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        #[serde(borrow)]
        run: &'a RawValue,
    }
    #[derive(Serialize)]
    struct List<'a> {
        runs: Vec<&'a RawValue>,
    }
    if !is_list {
        return Ok(stopped.iter().try_for_each(|reply| context.print_json(reply))?);
    }
    let mut runs = Vec::new();
    for reply in stopped {
        let Reply { run } = serde_json::from_str(reply.get()).map_err(ClientError::Garbled)?;
        runs.push(run);
    }
    Ok(context.print_json(&to_raw_value(&List { runs })?)?)
}
