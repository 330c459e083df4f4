//! `modelctl completions`

use super::Cli;
use crate::context::Context;
use anyhow::Result;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

/// Print the completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES:
  modelctl completions bash > ~/.local/share/bash-completion/completions/modelctl
  modelctl completions zsh > ~/.zfunc/_modelctl
  modelctl completions fish > ~/.config/fish/completions/modelctl.fish")]
pub(crate) struct CompletionsArgs {
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self, context: &mut Context<'_>) -> Result<()> {
        // Rendered to memory first: the generator panics where its stream is closed.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "modelctl", &mut script);
        super::print_text(context, &script)
    }
}
