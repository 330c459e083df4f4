//! What a command works with: the caller's world, the two streams, and the daemon behind them.

use crate::{
    connect,
    environment::Environment,
    style::Style,
    text::{clean, hanging, in_locale},
};
use anyhow::Result;
use api::{Request, client::Client};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::{
    io::{self, ErrorKind, Write},
    os::fd::BorrowedFd,
};

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
        let is_told = self.environment.stderr_is_terminal && asks_engines(request);
        let waiting = in_locale("asking the engines what they can do…", self.environment.is_utf8());
        let mut client = self.connect()?;
        let reply = client.ask_while(request, |socket| {
            if is_told { tell_if_long(socket, &waiting, self.err) } else { Ok(()) }
        })?;
        if self.json {
            self.print_json(&reply)?;
            return Ok(None);
        }
        let value = serde_json::from_str(reply.get()).map_err(api::client::ClientError::Garbled)?;
        Ok(Some(value))
    }

    /// Asks for a stream that may be silent for long, and ends with it or when nobody reads stdout any more.
    pub(crate) fn follow(
        &mut self,
        request: &Request,
        mut each: impl FnMut(&RawValue, &mut Self) -> Result<()>,
    ) -> Result<()> {
        let is_piped = self.environment.stdout_is_pipe;
        let wait = |socket: BorrowedFd<'_>| if is_piped { Ok(wait(socket)?) } else { Ok(()) };
        self.connect()?.stream_while(request, wait, |reply| each(reply, self).map(|()| true))
    }

    /// Writes a sentence behind what begins its line, broken where the terminal ends.
    pub(crate) fn say(&mut self, begin: &str, sentence: &str) -> io::Result<()> {
        self.say_in("", begin, sentence)
    }

    /// The same in a colour.
    pub(crate) fn say_in(&mut self, colour: &str, begin: &str, sentence: &str) -> io::Result<()> {
        let off = if colour.is_empty() { "" } else { self.style.off };
        let sentence = in_locale(sentence, self.environment.is_utf8());
        let lines = hanging(begin, &clean(&sentence), self.environment.prose_width());
        lines.iter().try_for_each(|line| writeln!(self.out, "{colour}{line}{off}"))
    }

    /// Prints a value of the wire on a line of its own, and hands it on at once.
    pub(crate) fn print_json(&mut self, value: &RawValue) -> io::Result<()> {
        self.out.write_all(value.get().as_bytes())?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

/// What may have to run an engine first: one that reads its libraries from a slow disk takes its time.
fn asks_engines(request: &Request) -> bool {
    use Request::{AddEngine, Doctor, Engines, Hardware, Plan};
    matches!(request, Doctor { .. } | Engines { .. } | AddEngine { .. } | Hardware { .. } | Plan { .. })
}

/// How long an answer may take before it is said what is waited for.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

fn tell_if_long(socket: BorrowedFd<'_>, waiting: &str, err: &mut dyn Write) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], Some(&PATIENCE)) {
        Ok(0) => writeln!(err, "{waiting}"),
        _ => Ok(()), // the reading that follows waits as well, and tells what fails
    }
}

/// Waits until there is something to read; a reader of stdout that leaves meanwhile is a broken pipe already now, not
/// only when the next line is written.
fn wait(socket: BorrowedFd<'_>) -> io::Result<()> {
    let stdout = io::stdout();
    loop {
        let mut both =
            [PollFd::from_borrowed_fd(socket, PollFlags::IN), PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut both, None) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let [_, out] = both;
                return if out.revents().is_empty() { Ok(()) } else { Err(ErrorKind::BrokenPipe.into()) };
            }
        }
    }
}
