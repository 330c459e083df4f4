//! `modeld`: flags, logging, signals; the rest is `daemon::run`.

use anyhow::Context as _;
use std::{ffi::OsString, os::unix::net::UnixListener, path::Path, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
modeld: watches model directories, keeps the index, starts engines. Ask it with modelctl.

Usage: modeld [--version | --help]

It runs in the foreground and logs to stderr (RUST_LOG=debug for more); systemd/ has units for it.
Settings: $XDG_CONFIG_HOME/modeld/config.toml (optional).";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        // How the daemon starts itself beside an engine; nobody types these.
        [command, dir] if command == "supervise" => return supervise(Path::new(dir)),
        [command, dir, supervisor] if command == "exec-engine" => {
            let Err(error) = daemon::exec_engine(Path::new(dir), supervisor);
            say(&mut std::io::stderr(), &format!("modeld: {error:#}"));
            return ExitCode::from(127);
        }
        _ => {}
    }
    let text = match arguments.first().map(|argument| argument.to_str().unwrap_or_default()) {
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

fn supervise(dir: &Path) -> ExitCode {
    daemon::be_frugal();
    match daemon::supervise(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&mut std::io::stderr(), &format!("modeld supervise: {error:#}"));
            ExitCode::FAILURE
        }
    }
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
