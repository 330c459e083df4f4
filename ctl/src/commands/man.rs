//! `modelctl man`

use super::Cli;
use crate::context::Context;
use anyhow::{Result, bail};
use clap::{Args, CommandFactory as _};

/// Print the manual page, in troff
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl man | man -l -
  modelctl man launch > ~/.local/share/man/man1/modelctl-launch.1")]
pub(crate) struct ManArgs {
    /// The page of one command
    command: Option<String>,
}

impl ManArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        let mut program = Cli::command();
        program.build();
        let page = match &self.command {
            None => program,
            Some(name) => match program.find_subcommand(name) {
                Some(command) => command.clone(),
                None => bail!("there is no command `{name}`"),
            },
        };
        let mut text = Vec::new();
        clap_mangen::Man::new(page).render(&mut text)?;
        super::print_text(context, &text)
    }
}
