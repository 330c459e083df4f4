//! `modelctl inspect`

use super::show::{Fields, write_facts};
use crate::{context::Context, failure::Failure};
use anyhow::Result;
use api::{Inspected, Request, client::ClientError};
use clap::Args;
use domain::{ByteSize, Safety, WirePath};
use std::path::PathBuf;

/// Say what a file is, whatever it is called and wherever it lies
///
/// Exits with 4 where loading the file runs code (`dangerous`); where that cannot be ruled out (`unverifiable`), with 0.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl inspect ~/Downloads/model.gguf
  modelctl inspect pytorch_model.bin --json | jq .safety")]
pub(crate) struct InspectArgs {
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

impl InspectArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let path = WirePath::from(&*context.environment.absolute(&self.path));
        let reply = context.connect()?.ask_raw(&Request::Inspect { path })?;
        let inspected: Inspected = serde_json::from_str(reply.get()).map_err(ClientError::Garbled)?;
        if context.json {
            context.print_json(&reply)?;
        } else {
            write(&inspected, context)?;
        }
        if inspected.verdict.safety == Some(Safety::Dangerous) {
            let why = format!("{} runs code when it is loaded", inspected.path.text());
            return Err(Failure::Unsafe { why }.into());
        }
        Ok(())
    }
}

fn write(inspected: &Inspected, context: &mut Context<'_>) -> std::io::Result<()> {
    let Inspected { path, size, verdict } = inspected;
    let mut fields = Fields::new(context.out, context.style);
    fields.title(path.text())?;
    fields.field("format", verdict.format.map_or("unknown", |format| format.name()))?;
    fields.field("state", verdict.state.name())?;
    fields.maybe("reason", verdict.reason.as_deref())?;
    fields.safety(verdict.safety)?;
    fields.field("size", &ByteSize(*size).to_string())?;
    fields.each("warning", &verdict.warnings)?;
    if let Some(facts) = &verdict.facts {
        write_facts(facts, &mut fields)?;
    }
    Ok(())
}
