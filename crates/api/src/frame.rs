//! Varlink framing: one JSON object, ended by a NUL byte.

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

/// Ends every message.
pub const END: u8 = 0;

/// Longest call that the daemon reads, bytes: every honest one is a few hundred.
pub const MAX_CALL: usize = 1 << 20;

/// Longest single reply that a client reads, bytes; longer lists come in several.
pub const MAX_REPLY: usize = 256 << 20;

/// The envelope of a call, its parameters not yet understood.
#[derive(Debug, Deserialize)]
pub struct Call<'a> {
    pub method: String,
    #[serde(default, borrow)]
    pub parameters: Option<&'a RawValue>,
    #[serde(default)]
    pub more: bool,
    #[serde(default)]
    pub oneway: bool,
}

/// The envelope of a reply.
#[derive(Debug, Serialize, Deserialize)]
pub struct Frame<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    #[serde(default, skip_serializing)]
    pub upgrade: Option<IgnoredAny>,
}

/// Writes a message with its end.
pub fn encode(message: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(END);
    Ok(bytes)
}
