//! The socket: who may connect, how long a call may be, how long a peer may be slow. Holds no rule.

mod answer;
mod events;
mod hub;
mod inspect;
mod kin;
mod list;
mod machine;
mod overview;
mod pulse;
mod runs;
mod said;
mod space;
mod varlink;
mod verify;

pub(crate) use hub::{Found, Hub, Links};
pub(crate) use kin::with_its_projector;

use anyhow::{Context as _, bail};
use std::{
    io::ErrorKind,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt},
        net::UnixListener as StdListener,
    },
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::{UnixListener, UnixStream, unix::SocketAddr},
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// Connections at once: every real client has one, and a browser of models a handful.
const CONNECTIONS: usize = 1024;

/// How long calls in flight may take when the daemon stops.
const LAST_CALLS: Duration = Duration::from_millis(500);

/// Makes the socket, for this user only; one that another process left behind is taken over.
pub(crate) fn bind(path: &Path, inherited: Option<StdListener>) -> anyhow::Result<UnixListener> {
    let listener = match inherited {
        Some(listener) => listener,
        None => make(path)?,
    };
    listener.set_nonblocking(true)?;
    Ok(UnixListener::from_std(listener)?)
}

fn make(path: &Path) -> anyhow::Result<StdListener> {
    let dir = path.parent().context("the socket has no directory")?;
    crate::config::make_private(dir)?;
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700))
        .with_context(|| format!("{} must belong to you alone", dir.display()))?;
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("looking at {}", path.display())),
        Ok(meta) if !meta.file_type().is_socket() => {
            bail!("{} is in the way: it is no socket. Move it away, then start again", path.display())
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            bail!("another program answers on {} already", path.display())
        }
        Ok(_) => std::fs::remove_file(path)
            .with_context(|| format!("removing the dead socket {}", path.display()))?,
    }
    // Bound under another name first: nobody can connect before the mode is right.
    let making = path.with_extension(format!("new-{}", std::process::id()));
    let listener =
        StdListener::bind(&making).with_context(|| format!("making the socket {}", path.display()))?;
    std::fs::set_permissions(&making, PermissionsExt::from_mode(0o600))?;
    std::fs::rename(&making, path).with_context(|| format!("making the socket {}", path.display()))?;
    Ok(listener)
}

/// Accepts until `shutdown` resolves.
pub(crate) async fn run(
    listener: UnixListener,
    hub: Arc<Hub>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let own = rustix::process::geteuid().as_raw();
    let mut strangers = Strangers::default();
    tokio::pin!(shutdown);
    tell_service_manager(&[sd_notify::NotifyState::Ready]);
    tracing::info!(socket = %hub.config.socket.display(), "listening");
    loop {
        let (permit, accepted) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &permits) => accepted?,
        };
        match accepted {
            Ok((stream, _)) if peer(&stream) == Some(own) => {
                let hub = Arc::clone(&hub);
                tokio::spawn(async move {
                    if let Err(error) = varlink::serve(stream, &hub).await {
                        tracing::debug!(error = format!("{error:#}"), "connection ended");
                    }
                    drop(permit);
                });
            }
            Ok((stream, _)) => strangers.turn_away(peer(&stream)),
            Err(error) => {
                tracing::warn!(%error, "accepting failed");
                tokio::time::sleep(Duration::from_millis(100)).await; // out of descriptors, most likely
            }
        }
    }
    tell_service_manager(&[sd_notify::NotifyState::Stopping]);
    // Calls that were made are answered; who only listens is not waited for.
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    drop(tokio::time::timeout(LAST_CALLS, permits.acquire_many(all)).await);
    tracing::info!("stopping");
    Ok(())
}

/// Waits for room, then for a connection.
async fn accept(
    listener: &UnixListener,
    permits: &Arc<Semaphore>,
) -> anyhow::Result<(OwnedSemaphorePermit, std::io::Result<(UnixStream, SocketAddr)>)> {
    let permit = Arc::clone(permits).acquire_owned().await?;
    Ok((permit, listener.accept().await))
}

/// The peer's user, asked of the kernel before a byte is read.
fn peer(stream: &UnixStream) -> Option<u32> {
    stream.peer_cred().ok().map(|credentials| credentials.uid())
}

/// Says in the log that other users knock, once a minute at most.
#[derive(Default)]
struct Strangers {
    last: Option<Instant>,
}

impl Strangers {
    fn turn_away(&mut self, uid: Option<u32>) {
        if self.last.is_none_or(|last| last.elapsed() > Duration::from_secs(60)) {
            tracing::warn!(uid, "another user was turned away");
            self.last = Some(Instant::now());
        }
    }
}

fn tell_service_manager(states: &[sd_notify::NotifyState<'_>]) {
    drop(sd_notify::notify(states)); // there may be none
}
