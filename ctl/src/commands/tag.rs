//! `modelctl tag`

use crate::context::Context;
use anyhow::Result;
use api::Request;
use clap::Args;
use domain::Model;
use std::ffi::OsString;

/// Add tags to a model, or remove them
///
/// Tags follow the content through renames and moves.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl tag qwen3 daily coding
  modelctl tag qwen3 +daily --remove coding
  modelctl list tag=daily")]
pub(crate) struct TagArgs {
    /// Name, unique prefix, alias, id, an app's handle, or path
    model: OsString,
    /// Tags to add; a leading + may be written
    #[arg(value_name = "TAG", required_unless_present = "remove")]
    add: Vec<String>,
    /// Tags to remove
    #[arg(long, value_name = "TAG", num_args = 1..)]
    remove: Vec<String>,
}

impl TagArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let add = self.add.iter().map(|tag| tag.strip_prefix('+').unwrap_or(tag).to_owned()).collect();
        let model = context.environment.model(&self.model);
        context.ask::<Model>(&Request::Tag { model, add, remove: self.remove })?;
        Ok(())
    }
}
