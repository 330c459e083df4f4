//! `modelctl alias`

use crate::context::Context;
use anyhow::Result;
use api::Request;
use clap::Args;
use domain::Model;
use std::ffi::OsString;

/// Give a model further names, or take them away
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl alias qwen3-8b-q4 daily
  modelctl launch llama.cpp daily
  modelctl alias daily daily --remove")]
pub(crate) struct AliasArgs {
    /// Name, unique prefix, alias, id, an app's handle, or path
    model: OsString,
    /// The further names
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Take these names away
    #[arg(long)]
    remove: bool,
}

impl AliasArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let model = context.environment.model(&self.model);
        let (add, remove) = if self.remove { (Vec::new(), self.names) } else { (self.names, Vec::new()) };
        context.ask::<Model>(&Request::Alias { model, add, remove })?;
        Ok(())
    }
}
