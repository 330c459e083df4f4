//! `modelctl pin`

use crate::context::Context;
use anyhow::Result;
use api::Request;
use clap::Args;
use domain::Model;
use std::ffi::OsString;

/// Mark a model as one to keep
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl pin qwen3
  modelctl pin qwen3 --off
  modelctl list pinned")]
pub(crate) struct PinArgs {
    /// Name, unique prefix, alias, id, an app's handle, or path
    model: OsString,
    /// Take the mark away
    #[arg(long)]
    off: bool,
}

impl PinArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let model = context.environment.model(&self.model);
        context.ask::<Model>(&Request::Pin { model, pinned: !self.off })?;
        Ok(())
    }
}
