//! `modelctl sync`

use crate::{context::Context, wording};
use anyhow::Result;
use api::{Request, Synced};
use clap::Args;

/// Wait until every earlier change on disk is in the index
///
/// A file that a program still has open for writing is read when it is closed, or has been still for a while.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  cp new.gguf ~/models/ && modelctl sync && modelctl show new")]
pub(crate) struct SyncArgs {}

impl SyncArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let Self {} = self;
        let Some(Synced { models }) = context.ask(&Request::Sync {})? else { return Ok(()) };
        writeln!(context.out, "{}", wording::models(models))?;
        Ok(())
    }
}
