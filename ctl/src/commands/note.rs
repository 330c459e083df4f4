//! `modelctl note`

use crate::{context::Context, text::clean};
use anyhow::Result;
use api::{Request, Shown};
use clap::Args;
use domain::Model;
use std::ffi::OsString;

/// Write a note on a model, or show it
///
/// The note follows the content through renames and moves.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl note qwen3 good at SQL, slow at prose
  modelctl note qwen3
  modelctl note qwen3 --clear")]
pub(crate) struct NoteArgs {
    /// Name, unique prefix, alias, id, an app's handle, or path
    model: OsString,
    /// The note; without it the note is shown
    #[arg(value_name = "TEXT", conflicts_with = "clear")]
    text: Vec<String>,
    /// Remove the note
    #[arg(long)]
    clear: bool,
}

impl NoteArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let model = context.environment.model(&self.model);
        if self.text.is_empty() && !self.clear {
            return show(model, context);
        }
        let note = (!self.clear).then(|| self.text.join(" "));
        context.ask::<Model>(&Request::Note { model, note })?;
        Ok(())
    }
}

fn show(model: String, context: &mut Context<'_>) -> Result<()> {
    let Some(shown) = context.ask::<Shown>(&Request::Show { model })? else { return Ok(()) };
    for line in shown.model.note.iter().flat_map(|note| note.lines()) {
        writeln!(context.out, "{}", clean(line))?;
    }
    Ok(())
}
