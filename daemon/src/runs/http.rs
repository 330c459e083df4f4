//! One GET to a loopback engine: enough to ask whether it is ready. Not a client for anything else.

use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// A loopback server that is alive answers far sooner.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest answer that is read, bytes.
const LONGEST: u64 = 4 << 20;

/// Returns the body of an answer with status 200. `key` is what the engine was told to ask for.
pub(super) async fn get(url: &str, page: &str, key: Option<&String>) -> Option<Vec<u8>> {
    timeout(PATIENCE, ask(url.strip_prefix("http://")?, page, key)).await.ok()?.ok()?
}

async fn ask(host: &str, page: &str, key: Option<&String>) -> std::io::Result<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect(host).await?;
    // HTTP/1.0: the body is neither chunked nor kept open.
    let key = key.map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"));
    stream.write_all(format!("GET {page} HTTP/1.0\r\nHost: {host}\r\n{key}\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await?;
    let status = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let is_ok = status.split(|byte| *byte == b' ').nth(1) == Some(b"200");
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").and_then(|at| answer.get(at + 4..));
    Ok(body.filter(|_| is_ok).map(<[u8]>::to_vec))
}
