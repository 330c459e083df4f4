//! `modelctl doctor`

use crate::{context::Context, style::Style, text::clean};
use anyhow::Result;
use api::{Examined, Request};
use clap::Args;
use domain::doctor::Severity;

/// Say what is wrong on this machine, what follows from it, and the line that mends it
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl doctor
  modelctl doctor --json | jq -r '.findings[].fix'")]
pub(crate) struct DoctorArgs {}

impl DoctorArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let Self {} = self;
        let environment = context.environment.callers();
        let Some(Examined { findings }) = context.ask(&Request::Doctor { environment })? else {
            return Ok(());
        };
        let Style { strong, warn, faint, off, .. } = context.style;
        for finding in &findings {
            let word = match finding.severity {
                Severity::Problem => format!("{warn}problem{off}"),
                Severity::Warning => "warning".to_owned(),
            };
            writeln!(
                context.out,
                "{word}  {strong}{}{off}: {}",
                clean(&finding.about),
                clean(&finding.what)
            )?;
            writeln!(context.out, "         {}", clean(&finding.means))?;
            if let Some(fix) = &finding.fix {
                writeln!(context.out, "         {faint}hint:{off} {}", clean(fix))?;
            }
        }
        if findings.is_empty() {
            writeln!(context.out, "nothing is wrong")?;
        }
        Ok(())
    }
}
