//! `modeld`: flags, logging, signals; the rest is `daemon::run`.

use anyhow::Context as _;
use std::{ffi::OsString, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
modeld: watches model directories, keeps the index, starts engines. Ask it with modelctl.

Usage: modeld [--version | --help]

It runs in the foreground and logs to stderr (RUST_LOG=debug for more); systemd/ has units for it.
Settings: $XDG_CONFIG_HOME/modeld/config.toml (optional).";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(ended) = daemon::beside_an_engine(&arguments) {
        return ended.map_or_else(|(code, error)| fail(code, &format!("modeld: {error:#}")), |()| 0.into());
    }
    let text = match arguments.first().map(|argument| argument.to_str().unwrap_or_default()) {
        None => {
            return serve().map_or_else(|error| fail(1, &told(&error)), |()| 0.into());
        }
        Some("--version" | "-V") => concat!("modeld ", env!("CARGO_PKG_VERSION")),
        Some("--help" | "-h") => USAGE,
        Some(_) => return fail(2, USAGE),
    };
    say(&mut std::io::stdout(), text);
    ExitCode::SUCCESS
}

fn serve() -> anyhow::Result<()> {
    daemon::be_frugal();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    log.log_internal_errors(false).init(); // telling stderr that stderr is full would panic
    let config = daemon::Config::from_environment()?;
    let listener = listenfd::ListenFd::from_env().take_unix_listener(0)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        };
        daemon::run(config, listener, shutdown).await
    })
}

/// Two lines that `modelctl` looks for, where it started us.
fn told(error: &anyhow::Error) -> String {
    let hint = daemon::config::hint(error).map_or_else(String::new, |hint| format!("\nhint: {hint}"));
    format!("error: {error:#}{hint}")
}

fn fail(code: u8, text: &str) -> ExitCode {
    say(&mut std::io::stderr(), text);
    code.into()
}

/// Writes a line; a closed pipe is no error.
fn say(to: &mut impl std::io::Write, text: &str) {
    drop(writeln!(to, "{text}"));
}
