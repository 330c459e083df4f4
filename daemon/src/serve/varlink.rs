//! Varlink on one connection: calls in, answers out, in order.

use super::{answer, hub::Hub};
use anyhow::{Context as _, bail};
use api::{ApiError, Call, END, INTERFACE, INTERFACE_FILE, MAX_CALL, Request, encode};
use serde::Serialize;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// A peer that takes nothing for this long is gone.
const SLOW: Duration = Duration::from_secs(30);

/// The writing side of a connection, for one call.
pub(crate) struct Out<'a> {
    write: &'a mut OwnedWriteHalf,
    /// The caller wants no answer.
    is_oneway: bool,
}

#[derive(Serialize)]
struct Answer<'a, T> {
    parameters: &'a T,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    continues: bool,
}

impl Out<'_> {
    pub(crate) async fn last(&mut self, parameters: &impl Serialize) -> anyhow::Result<()> {
        self.send(&encode(&Answer { parameters, continues: false })?).await
    }

    pub(crate) async fn more(&mut self, parameters: &impl Serialize) -> anyhow::Result<()> {
        self.send(&encode(&Answer { parameters, continues: true })?).await
    }

    /// Sends a message that is encoded already, with its end.
    pub(crate) async fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        if self.is_oneway {
            return Ok(());
        }
        tokio::time::timeout(SLOW, self.write.write_all(message))
            .await
            .context("the peer takes nothing")??;
        Ok(())
    }
}

/// Answers calls until the peer hangs up.
pub(super) async fn serve(stream: UnixStream, hub: &Arc<Hub>) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut message = Vec::new();
    while receive(&mut read, &mut message).await? {
        let call: Call<'_> = match serde_json::from_slice(&message) {
            Ok(call) => call,
            Err(error) => bail!("not a call: {error}"), // the framing cannot be trusted any more
        };
        let (is_more, mut out) = (call.more, Out { write: &mut write, is_oneway: call.oneway });
        let answered = match understand(&call) {
            Ok(Understood::Service(parameters)) => out.last(&parameters).await.map_err(Into::into),
            Ok(Understood::Request(request)) => {
                answer::answer(*request, is_more, hub, &mut out, &mut read).await
            }
            Err(refusal) => Err(answer::Failure::Refused(refusal)),
        };
        match answered {
            Ok(()) => {}
            Err(answer::Failure::Refused(refusal)) => out.send(&encode(&refusal)?).await?,
            Err(answer::Failure::Broken(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Reads one message into `message`, without its end; false when the peer has hung up.
async fn receive(read: &mut BufReader<OwnedReadHalf>, message: &mut Vec<u8>) -> anyhow::Result<bool> {
    message.clear();
    loop {
        let available = read.fill_buf().await?;
        if available.is_empty() {
            return if message.is_empty() { Ok(false) } else { bail!("hung up inside a call") };
        }
        let end = available.iter().position(|byte| *byte == END);
        let (taken, used) = match end {
            Some(at) => (available.get(..at).unwrap_or_default(), at + 1),
            None => (available, available.len()),
        };
        message.extend_from_slice(taken);
        read.consume(used);
        if message.len() > MAX_CALL {
            bail!("a call longer than {MAX_CALL} bytes");
        }
        if end.is_some() {
            return Ok(true);
        }
    }
}

enum Understood {
    Request(Box<Request>),
    /// The answer of `org.varlink.service`.
    Service(serde_json::Value),
}

fn understand(call: &Call<'_>) -> Result<Understood, ApiError> {
    let parameters: serde_json::Value = match call.parameters {
        Some(raw) => serde_json::from_str(raw.get())
            .map_err(|_| ApiError::InvalidParameter { parameter: "parameters".into() })?,
        None => json!({}),
    };
    let (interface, name) = call.method.rsplit_once('.').unwrap_or(("", &call.method));
    match interface {
        "org.varlink.service" => service(name, &parameters).map(Understood::Service),
        INTERFACE => request(&call.method, &parameters).map(Box::new).map(Understood::Request),
        other => Err(ApiError::InterfaceNotFound { interface: other.into() }),
    }
}

fn service(name: &str, parameters: &serde_json::Value) -> Result<serde_json::Value, ApiError> {
    match name {
        "GetInfo" => Ok(json!({
            "vendor": "modelctl", "product": "modeld", "version": env!("CARGO_PKG_VERSION"),
            "url": "https://modelctl.org/", "interfaces": ["org.varlink.service", INTERFACE],
        })),
        "GetInterfaceDescription" => match parameters.get("interface").and_then(|name| name.as_str()) {
            Some(INTERFACE) => Ok(json!({ "description": INTERFACE_FILE })),
            Some("org.varlink.service") => Ok(json!({ "description": SERVICE })),
            Some(other) => Err(ApiError::InterfaceNotFound { interface: other.into() }),
            None => Err(ApiError::InvalidParameter { parameter: "interface".into() }),
        },
        _ => Err(ApiError::MethodNotFound { method: format!("org.varlink.service.{name}") }),
    }
}

fn request(method: &str, parameters: &serde_json::Value) -> Result<Request, ApiError> {
    let value = json!({ "method": method, "parameters": parameters });
    serde_json::from_value(value.clone()).map_err(|error| {
        let text = error.to_string();
        if text.starts_with("unknown variant") {
            return ApiError::MethodNotFound { method: method.into() };
        }
        // serde writes "missing field `model`".
        let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let parameter = missing.map(str::to_owned).or_else(|| culprit(&value, &text));
        ApiError::InvalidParameter { parameter: parameter.unwrap_or_else(|| "parameters".into()) }
    })
}

/// The parameter without which the complaint is another one.
fn culprit(value: &serde_json::Value, complaint: &str) -> Option<String> {
    let parameters = value.get("parameters")?.as_object()?;
    let is_to_blame = |name: &&String| {
        let mut rest = parameters.clone();
        rest.remove(*name);
        let value = json!({ "method": value.get("method"), "parameters": rest });
        serde_json::from_value::<Request>(value).map_or_else(|error| error.to_string() != complaint, |_| true)
    };
    parameters.keys().find(is_to_blame).cloned()
}

/// The interface that every Varlink service has (<https://varlink.org/Service>).
const SERVICE: &str = "\
# The Varlink Service Interface is provided by every varlink service. It
# describes the service and the interfaces it implements.
interface org.varlink.service

# Get a list of all the interfaces a service provides and information
# about the implementation.
method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)

# Get the description of an interface that is implemented by this service.
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
";
