//! `modelctl`: parses what was typed, asks the daemon, shows the answer. Has no rules about models of its own.

mod autostart;
mod commands;
mod connect;
mod context;
mod environment;
mod failure;
mod style;
mod table;
mod text;
mod wording;

use clap::Parser as _;
use commands::Cli;
use context::Context;
use std::{ffi::OsString, io::Write};

pub use environment::Environment;

/// Does what the arguments say and returns the exit code.
pub fn run(
    args: impl Iterator<Item = OsString>,
    environment: &Environment,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let done = match Cli::try_parse_from(args) {
        Ok(cli) => {
            let mut context = Context::new(environment, &mut *out, &mut *err, cli.json);
            cli.run(&mut context).and_then(|()| Ok(out.flush()?))
        }
        Err(refusal) => return usage(&refusal, environment, out, err),
    };
    match done {
        Ok(()) => failure::DONE,
        Err(error) => failure::report(&error, environment, err),
    }
}

/// Help and version are answers; everything else clap has to say is a usage error.
fn usage<'a>(
    refusal: &clap::Error,
    environment: &Environment,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
) -> u8 {
    let is_error = refusal.use_stderr();
    let coloured = if is_error { environment.colours_stderr() } else { environment.colours_stdout() };
    let text = refusal.render();
    let text = if coloured { text.ansi().to_string() } else { text.to_string() };
    let (stream, code) = if is_error { (err, failure::USAGE) } else { (out, failure::DONE) };
    // Nobody is left to tell where even this cannot be written.
    drop(stream.write_all(text.as_bytes()).and_then(|()| stream.flush()));
    code
}
