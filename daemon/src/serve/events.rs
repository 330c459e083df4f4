//! The live stream, until the peer hangs up or falls behind. Tells what is published, and keeps nothing.

use super::{answer::Done, hub::Hub, varlink::Out};
use api::{ApiError, EventKind};
use jiff::Timestamp;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::unix::OwnedReadHalf,
    sync::broadcast::error::RecvError,
};

pub(super) async fn events(hub: &Hub, out: &mut Out<'_>, read: &mut BufReader<OwnedReadHalf>) -> Done {
    let mut published = hub.subscribe();
    let _eye = hub.pulse.listen().await;
    out.more(&api::Event::new(Timestamp::now(), EventKind::Listening)).await?;
    loop {
        let received = tokio::select! {
            received = published.recv() => received,
            // Whatever it is, the peer does not listen any more.
            _ = read.fill_buf() => return Ok(()),
        };
        match received {
            Ok(event) => out.more(&*event).await?,
            Err(RecvError::Closed) => return Ok(()),
            Err(RecvError::Lagged(missed)) => {
                let why = format!("{missed} events were missed: connect again, and list");
                return Err(ApiError::Refused { why, hint: None }.into());
            }
        }
    }
}
