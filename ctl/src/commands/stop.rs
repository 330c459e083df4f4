//! `modelctl stop`

use crate::{context::Context, text::clean};
use anyhow::Result;
use api::{Request, RunState, Runs, Stopped, client::Client};
use clap::Args;

/// Stop runs; returns when nothing of them is left
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
        let mut failed = None;
        for run in runs {
            if let Err(error) = stop(&mut client, run, context) {
                failed = failed.or(Some(error));
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

fn live(client: &mut Client) -> Result<Vec<String>> {
    let Runs { runs } = client.ask(&Request::Ps {})?;
    Ok(runs.into_iter().filter(|run| run.state.is_live()).map(|run| run.run).collect())
}

fn stop(client: &mut Client, run: String, context: &mut Context<'_>) -> Result<()> {
    let reply = client.ask_raw(&Request::Stop { run })?;
    if context.json {
        return Ok(context.print_json(&reply)?);
    }
    let Stopped { run } = serde_json::from_str(reply.get()).map_err(api::client::ClientError::Garbled)?;
    let how = if run.state == RunState::Exited { "stopped" } else { super::ps::state(run.state) };
    writeln!(context.out, "{}  {}  {how}", clean(&run.run), clean(&run.model.name))?;
    Ok(context.out.flush()?)
}
