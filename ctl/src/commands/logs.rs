//! `modelctl logs`

use crate::{context::Context, text::clean};
use anyhow::Result;
use api::{Logged, Request, client::ClientError};
use clap::Args;
use serde_json::value::RawValue;

/// Print what an engine has said
///
/// With --json one document; with --json and --follow one object a line.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl logs r4hx2ka
  modelctl logs qwen3 -f
  modelctl logs qwen3 | tail -n 50")]
pub(crate) struct LogsArgs {
    /// A run's word as ps shows it, the start of it, or its model
    run: String,
    /// Go on with what it says from now on, until it ends or Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

impl LogsArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let Self { run, follow } = self;
        let request = Request::Logs { run, follow };
        if !follow && context.json {
            // One document, which has room for the end of a long log only.
            return context.ask::<Logged>(&request).map(drop);
        }
        if !follow {
            // A pager takes its time, and the daemon does not wait for so long.
            let mut all = Logged { lines: Vec::new() };
            context.connect()?.stream(&request, |lines| {
                all.lines.extend(parsed(lines)?.lines);
                Ok::<_, anyhow::Error>(true)
            })?;
            return print(&all, context);
        }
        context.follow(&request, |lines, context| {
            if context.json {
                context.print_json(lines)?;
            } else {
                print(&parsed(lines)?, context)?;
            }
            Ok(())
        })
    }
}

fn parsed(lines: &RawValue) -> Result<Logged, ClientError> {
    serde_json::from_str(lines.get()).map_err(ClientError::Garbled)
}

fn print(logged: &Logged, context: &mut Context<'_>) -> Result<()> {
    logged.lines.iter().try_for_each(|line| writeln!(context.out, "{}", clean(line)))?;
    Ok(context.out.flush()?)
}
