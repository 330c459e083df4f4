//! `modelctl doctor`

use crate::{
    context::Context,
    style::Style,
    text::{clean, shorten},
};
use anyhow::Result;
use api::{Examined, Request};
use clap::Args;
use domain::doctor::Severity;

/// Columns of a path that are shown; what is longer hides the words around it.
const LONGEST: usize = 120;

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
                brief(&finding.about),
                brief(&finding.what)
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

/// Clean text with the middle of very long words left out.
fn brief(text: &str) -> String {
    let text = clean(text);
    let words: Vec<_> = text.split(' ').map(|word| shorten(word, LONGEST)).collect();
    words.join(" ")
}
