//! `modelctl scan`

use crate::{context::Context, wording};
use anyhow::Result;
use api::{Request, Scanned};
use clap::Args;

/// Look at every root again
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl scan
  modelctl scan --json | jq .read")]
pub(crate) struct ScanArgs {}

impl ScanArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let Self {} = self;
        let Some(Scanned { models, read }) = context.ask(&Request::Scan {})? else { return Ok(()) };
        let files = if read == 1 { "file" } else { "files" };
        writeln!(context.out, "{}, {read} {files} read again", wording::models(models))?;
        Ok(())
    }
}
