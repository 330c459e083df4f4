//! The bare socket, for what `modelctl` would never send.

use serde_json::{Value, json};
use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// Longer than any honest answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Wire(BufReader<UnixStream>);

impl Wire {
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends bytes as they are; the daemon may have hung up already.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    #[track_caller]
    pub fn send(&mut self, message: &Value) {
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.send_raw(&bytes).unwrap();
    }

    /// Returns the next message; None where the daemon has hung up.
    #[track_caller]
    pub fn receive(&mut self) -> Option<Value> {
        let mut bytes = Vec::new();
        match self.0.read_until(0, &mut bytes) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("no answer: {error}"),
        }
        assert_eq!(bytes.pop(), Some(0), "a message without its end");
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    /// Calls a method of the manager and returns the whole reply.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        let method =
            if method.contains('.') { method.to_owned() } else { format!("org.modelctl.Manager.{method}") };
        self.send(&json!({ "method": method, "parameters": parameters }));
        self.receive().expect("the daemon hung up")
    }

    /// Says that no more will be sent; returns all that still comes.
    pub fn finish(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        drop(self.0.get_ref().shutdown(std::net::Shutdown::Write));
        drop(self.0.read_to_end(&mut rest));
        rest
    }
}
