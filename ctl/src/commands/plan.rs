//! `modelctl plan`, and what `launch` shares with it.

use crate::{context::Context, text::clean};
use anyhow::Result;
use api::{Launch, LaunchRequest, Request};
use clap::Args;

/// Show the command that launch would run, and why; nothing is started
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl plan llama.cpp qwen3
  modelctl plan llama.cpp qwen3 --max-ctx --json
  modelctl plan llama.cpp qwen3 -- --jinja --temp 0.6")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    order: Order,
}

/// What to start on what.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The engine, such as llama.cpp
    engine: String,
    /// Name, unique prefix, alias, id, an app's handle, or path
    model: String,
    /// Take the largest context that fits
    #[arg(long)]
    max_ctx: bool,
    /// Passed on to the engine as it is
    #[arg(last = true, value_name = "EXTRA")]
    extra: Vec<String>,
}

impl Order {
    pub(crate) fn request(self, context: &Context<'_>) -> LaunchRequest {
        let environment = context.environment.callers();
        let Self { engine, model, max_ctx, extra } = self;
        LaunchRequest { engine, model: context.environment.model(&model), max_ctx, extra, environment }
    }
}

impl PlanArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let launch = self.order.request(context);
        let Some(Launch { plan }) = context.ask(&Request::Plan { launch })? else { return Ok(()) };
        writeln!(context.out, "{}", plan.command)?;
        for file in &plan.files {
            writeln!(context.out, "would write {}", clean(&file.path))?;
        }
        let (explain, alternatives) = (plan.explain.iter(), plan.alternatives.iter());
        for (mark, line) in explain.map(|line| ("-", line)).chain(alternatives.map(|line| ("or", line))) {
            writeln!(context.out, "{mark} {}", clean(line))?;
        }
        Ok(())
    }
}
