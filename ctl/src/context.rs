//! What a command works with: the caller's world, the two streams, and the daemon behind them.

use crate::{connect, environment::Environment, style::Style};
use anyhow::Result;
use api::{Request, client::Client};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::io::{self, Write};

pub(crate) struct Context<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) out: &'a mut dyn Write,
    pub(crate) err: &'a mut dyn Write,
    pub(crate) json: bool,
    /// For `out`.
    pub(crate) style: Style,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        environment: &'a Environment,
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        json: bool,
    ) -> Self {
        Self { environment, out, err, json, style: Style::new(environment.colours_stdout()) }
    }

    /// Connects, and starts the daemon where none answers.
    pub(crate) fn connect(&mut self) -> Result<Client> {
        connect::connect(self.environment, self.err)
    }

    /// Asks. Returns the reply to be shown; with `--json` it is printed as it came instead, and None is returned.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<Option<T>> {
        let reply = self.connect()?.ask_raw(request)?;
        if self.json {
            self.print_json(&reply)?;
            return Ok(None);
        }
        let value = serde_json::from_str(reply.get()).map_err(api::client::ClientError::Garbled)?;
        Ok(Some(value))
    }

    /// Prints a value of the wire on a line of its own, and hands it on at once.
    pub(crate) fn print_json(&mut self, value: &RawValue) -> io::Result<()> {
        self.out.write_all(value.get().as_bytes())?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}
