//! `modeld`: flags, logging, signals; the rest is `daemon::run`.

use anyhow::Context as _;
use std::{os::unix::net::UnixListener, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
modeld: watches model directories, keeps the index, starts engines. Ask it with modelctl.

Usage: modeld [--version | --help]

It runs in the foreground and logs to stderr (RUST_LOG=debug for more); systemd/ has units for it.
Settings: $XDG_CONFIG_HOME/modeld/config.toml (optional).";

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let text = match argument.as_deref() {
        None => return start(),
        Some("--version" | "-V") => concat!("modeld ", env!("CARGO_PKG_VERSION")),
        Some("--help" | "-h") => USAGE,
        Some(_) => {
            say(&mut std::io::stderr(), USAGE);
            return ExitCode::from(2);
        }
    };
    say(&mut std::io::stdout(), text);
    ExitCode::SUCCESS
}

fn start() -> ExitCode {
    daemon::be_frugal();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&mut std::io::stderr(), &format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn serve() -> anyhow::Result<()> {
    let config = daemon::Config::from_environment()?;
    let listener: Option<UnixListener> = listenfd::ListenFd::from_env().take_unix_listener(0)?;
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

/// Writes a line; a closed pipe is no error.
fn say(to: &mut impl std::io::Write, text: &str) {
    drop(writeln!(to, "{text}"));
}
