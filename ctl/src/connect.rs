//! Where the daemon's socket is, and the connection to it.

use crate::{autostart, environment::Environment, failure::Failure};
use anyhow::Result;
use api::client::Client;
use std::{
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

/// Connects; where nobody listens, starts the daemon first.
pub(crate) fn connect(environment: &Environment, err: &mut dyn Write) -> Result<Client> {
    let socket = socket(environment)?;
    match Client::connect(&socket) {
        Ok(client) => Ok(client),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            if environment.variable("MODELCTL_AUTOSTART").is_some_and(|value| value == "0") {
                let hint = "start it with: modeld (MODELCTL_AUTOSTART=0 keeps modelctl from doing so)";
                return Err(unreachable(&socket, &error, hint).into());
            }
            autostart::start(environment, &socket, err)
        }
        Err(error) => {
            Err(unreachable(&socket, &error, "restart modeld: systemctl --user restart modeld").into())
        }
    }
}

fn unreachable(socket: &Path, error: &std::io::Error, hint: &str) -> Failure {
    let why = format!("cannot reach modeld at {}: {error}", socket.display());
    Failure::Unreachable { why, lines: Vec::new(), hint: hint.to_owned() }
}

fn socket(environment: &Environment) -> Result<PathBuf> {
    let (runtime, state) = (environment.directory_in("XDG_RUNTIME_DIR"), environment.state_home());
    api::socket(runtime.as_deref(), state.as_deref()).ok_or_else(|| {
        Failure::Unreachable {
            why: "cannot tell where modeld's socket is: XDG_RUNTIME_DIR, XDG_STATE_HOME and HOME are unset"
                .into(),
            lines: Vec::new(),
            hint: "set HOME to your home directory".into(),
        }
        .into()
    })
}
