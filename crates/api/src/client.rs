//! A blocking client: std and serde, nothing else, so that `modelctl` starts in a millisecond.

use crate::{ApiError, END, Frame, MAX_REPLY, Request, encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::Shutdown,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

/// One connection to the daemon.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<UnixStream>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Refused(#[from] ApiError),
    #[error("the daemon closed the connection")]
    Closed,
    #[error("the daemon's answer cannot be understood: {0}")]
    Garbled(#[from] serde_json::Error),
    #[error("talking to the daemon failed: {0}")]
    Io(#[from] io::Error),
}

#[derive(Serialize)]
struct Outgoing<'a> {
    #[serde(flatten)]
    request: &'a Request,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

impl Client {
    pub fn connect(socket: &Path) -> io::Result<Self> {
        Ok(Self { reader: BufReader::with_capacity(64 << 10, UnixStream::connect(socket)?) })
    }

    /// Asks, and returns the one answer's parameters as JSON text.
    pub fn ask_raw(&mut self, request: &Request) -> Result<Box<RawValue>, ClientError> {
        self.ask_while(request, |_| Ok(()))
    }

    /// Like `ask_raw`, and lets `wait` wait on the socket first, for as long as it likes.
    pub fn ask_while(
        &mut self,
        request: &Request,
        wait: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<Box<RawValue>, ClientError> {
        self.send(request, false)?;
        wait(self.reader.get_ref().as_fd())?;
        self.receive().map(|(parameters, _)| parameters)
    }

    /// Asks, and returns the one answer.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        let parameters = self.ask_raw(request)?;
        Ok(serde_json::from_str(parameters.get())?)
    }

    /// Asks for a stream and hands each answer's parameters to `each` until the last, or until it says `false`.
    pub fn stream<E: From<ClientError>>(
        &mut self,
        request: &Request,
        each: impl FnMut(&RawValue) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.stream_while(request, |_| Ok(()), each)
    }

    /// Like `stream`, and lets `wait` wait for each answer on the socket: its failure ends the stream.
    pub fn stream_while<E: From<ClientError>>(
        &mut self,
        request: &Request,
        mut wait: impl FnMut(BorrowedFd<'_>) -> Result<(), E>,
        mut each: impl FnMut(&RawValue) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.send(request, true)?;
        loop {
            if self.reader.buffer().is_empty() {
                wait(self.reader.get_ref().as_fd())?;
            }
            let (parameters, continues) = self.receive()?;
            if !each(&parameters)? || !continues {
                return Ok(());
            }
        }
    }

    /// Like `stream`, and hands over each whole answer for `read`, which says whether more follow. Where answers are
    /// long this saves a pass over them and a copy.
    pub fn stream_text<E: From<ClientError>>(
        &mut self,
        request: &Request,
        mut each: impl FnMut(&str) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.send(request, true)?;
        loop {
            let bytes = self.receive_bytes()?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
            if !each(text.map_err(ClientError::Io)?)? {
                return Ok(());
            }
        }
    }

    /// Returns a handle that ends the stream from another thread: the daemon sees that no more is wanted.
    pub fn hang_up(&self) -> io::Result<HangUp> {
        Ok(HangUp(self.reader.get_ref().try_clone()?))
    }

    fn send(&mut self, request: &Request, more: bool) -> Result<(), ClientError> {
        let bytes = encode(&Outgoing { request, more })?;
        Ok(self.reader.get_mut().write_all(&bytes)?)
    }

    fn receive_bytes(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_REPLY).unwrap_or(u64::MAX);
        self.reader.by_ref().take(limit).read_until(END, &mut bytes)?;
        if bytes.pop() != Some(END) {
            return Err(ClientError::Closed);
        }
        Ok(bytes)
    }

    fn receive(&mut self) -> Result<(Box<RawValue>, bool), ClientError> {
        let bytes = self.receive_bytes()?;
        let frame: Frame<'_> = serde_json::from_slice(&bytes)?;
        if frame.error.is_some() {
            return Err(refusal(&bytes)?.into());
        }
        let parameters =
            frame.parameters.map_or_else(|| RawValue::from_string("{}".into()), |p| Ok(p.to_owned()))?;
        Ok((parameters, frame.continues))
    }
}

/// Reads an answer in one pass; what `T` borrows, it borrows from the text. Returns it with whether more follow.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<(T, bool), ClientError> {
    #[derive(Deserialize)]
    struct Answer<T> {
        parameters: T,
        #[serde(default)]
        continues: bool,
    }
    serde_json::from_str(text).map(|Answer { parameters, continues }| (parameters, continues)).or_else(
        |garbled| {
            let is_refusal = serde_json::from_str::<Frame<'_>>(text).is_ok_and(|frame| frame.error.is_some());
            Err(if is_refusal { refusal(text.as_bytes())?.into() } else { garbled.into() })
        },
    )
}

/// Ends a stream from another thread.
#[derive(Debug)]
pub struct HangUp(UnixStream);

impl HangUp {
    pub fn hang_up(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }
}

/// Reads an error; one that a newer daemon invented keeps its name and parameters.
fn refusal(bytes: &[u8]) -> serde_json::Result<ApiError> {
    #[derive(Deserialize)]
    struct Unknown {
        error: String,
        #[serde(default)]
        parameters: serde_json::Value,
    }
    serde_json::from_slice(bytes).or_else(|_| {
        let Unknown { error, parameters } = serde_json::from_slice(bytes)?;
        Ok(ApiError::Internal { message: format!("{error} {parameters}") })
    })
}
