//! What the null servers have in common, whatever their protocol: they accept connections until the process ends.

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// Lets others go on while nothing can be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the process ends, and lets `converse` have each of them. `started` is told the address, which
/// differs from `listen` when that asks for a free port.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn accept<F, E>(
    listen: SocketAddr,
    started: impl FnOnce(SocketAddr),
    converse: impl Fn(TcpStream) -> F,
) -> std::io::Result<()>
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display,
{
    let listener = TcpListener::bind(listen).await?;
    started(listener.local_addr()?);
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, for example: others still need serving.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let conversation = converse(stream);
        tokio::spawn(async move {
            if let Err(error) = conversation.await {
                tracing::debug!(%error, "connection");
            }
        });
    }
}
