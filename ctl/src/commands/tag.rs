//! `modelctl tag`

use crate::{context::Context, text::clean};
use anyhow::Result;
use api::{Request, Shown};
use clap::Args;
use domain::Model;
use std::ffi::OsString;

/// Add tags to a model, remove them, or show them
///
/// Tags follow the content through renames and moves.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl tag qwen3 daily coding
  modelctl tag qwen3 +daily --remove coding
  modelctl tag qwen3
  modelctl list tag=daily")]
pub(crate) struct TagArgs {
    /// Name, unique prefix, alias, id, an app's handle, or path
    model: OsString,
    /// Tags to add; a leading + may be written; without any the tags are shown
    #[arg(value_name = "TAG")]
    add: Vec<String>,
    /// Tags to remove
    #[arg(long, value_name = "TAG", num_args = 1..)]
    remove: Vec<String>,
}

impl TagArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let model = context.environment.model(&self.model);
        if self.add.is_empty() && self.remove.is_empty() {
            return show(model, context);
        }
        let add = self.add.iter().map(|tag| tag.strip_prefix('+').unwrap_or(tag).to_owned()).collect();
        context.ask::<Model>(&Request::Tag { model, add, remove: self.remove })?;
        Ok(())
    }
}

fn show(model: String, context: &mut Context<'_>) -> Result<()> {
    let Some(shown) = context.ask::<Shown>(&Request::Show { model })? else { return Ok(()) };
    for tag in &shown.model.tags {
        writeln!(context.out, "{}", clean(tag))?;
    }
    Ok(())
}
